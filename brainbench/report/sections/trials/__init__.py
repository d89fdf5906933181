"""Sections on decoded trials."""
