"""Sections on scores of responses and of labels decoded from them."""
