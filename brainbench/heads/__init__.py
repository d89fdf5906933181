"""Heads: estimators from features to responses, and from responses to labels."""

from __future__ import annotations

from brainbench.ridge.banded import BandedRidgeCV
from brainbench.ridge.layers import MultiLayer
from brainbench.ridge.ridge import RidgeCV

__all__ = ["BandedRidgeCV", "MultiLayer", "RidgeCV"]
