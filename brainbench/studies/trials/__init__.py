"""`kind: decode` from recordings."""
