"""Data sets: stimuli, responses, groups and haemodynamics."""
