"""Generators: from conditions to images."""
