"""`kind: explore`."""
