"""`kind: encode`."""
