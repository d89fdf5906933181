"""`kind: reconstruct`."""
