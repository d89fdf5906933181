"""``kind: pretrain``."""
