"""Studies: what each kind of recipe computes, gathers and claims."""
