"""Sections of the report: a module and its template each; see `brainbench.report.section`."""
