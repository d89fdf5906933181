"""Splitters, metrics, noise ceilings and significance: arrays in, arrays out; no head is imported here."""
