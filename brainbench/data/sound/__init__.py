"""Sounds: recordings on disk or in memory, and which piece of which each stimulus is."""
