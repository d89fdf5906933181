"""``kind: rsa``: layers held against RDMs."""
