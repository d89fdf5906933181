"""`kind: decode` from responses."""
