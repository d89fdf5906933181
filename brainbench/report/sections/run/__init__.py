"""Sections that every report has: data, folds, warnings, provenance."""
