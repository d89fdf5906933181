"""Encoders: networks and filter banks that turn stimuli into per-layer features."""

from __future__ import annotations

from brainbench.encoders.base import ENCODERS, Encoder, Layer, open_encoder

__all__ = ["ENCODERS", "Encoder", "Layer", "open_encoder"]
