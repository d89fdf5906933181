"""Decoders: from trials of a recording, or from responses, to labels."""
