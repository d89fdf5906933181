"""Data sets of concepts, sentences and passages."""
