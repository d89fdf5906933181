"""Figures of the report, each drawn from plain values."""
