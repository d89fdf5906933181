"""Encoders: networks and filter banks that turn stimuli into per-layer features."""

from __future__ import annotations

from brainbench.encoders.base import Encoder, Layer, open_encoder
from brainbench.recipes.encoders import ENCODERS

__all__ = ["ENCODERS", "Encoder", "Layer", "open_encoder"]
