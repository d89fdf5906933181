"""Codecs: from images to latents and back."""
