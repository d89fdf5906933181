"""Commands: what the command line and Python do, a module each."""
