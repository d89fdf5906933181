"""Diagnostics of networks: a module each, found by its name; see `brainbench.lens.base.Diagnostic`."""
