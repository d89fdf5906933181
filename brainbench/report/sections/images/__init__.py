"""Sections on reconstructed and explored images."""
