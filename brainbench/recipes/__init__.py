"""Recipes: the YAML files that say all of an analysis; strict models, and a reader that keeps line numbers."""
