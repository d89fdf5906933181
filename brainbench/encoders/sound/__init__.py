"""Encoders that listen: networks of speech and sound, log-mel and envelope baselines."""
