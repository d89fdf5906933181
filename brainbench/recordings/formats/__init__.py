"""Formats of recordings that MNE does not read."""
