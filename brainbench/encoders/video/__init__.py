"""Encoders that watch: networks of clips, and the motion energy they are held against."""
