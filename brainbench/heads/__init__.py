"""Heads: estimators from features to responses, and from responses to labels."""

from __future__ import annotations

from brainbench.heads.banded import BandedRidgeCV
from brainbench.heads.layers import MultiLayer
from brainbench.heads.ridge import RidgeCV

__all__ = ["BandedRidgeCV", "MultiLayer", "RidgeCV"]
