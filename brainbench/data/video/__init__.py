"""Clips: frames of moving pictures, read a few at a time."""
