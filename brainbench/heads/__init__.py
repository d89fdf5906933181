"""Heads: estimators from features to responses, and from responses to labels."""

from __future__ import annotations

from brainbench.heads.banded import BandedRidgeCV
from brainbench.heads.ridge import RidgeCV

__all__ = ["BandedRidgeCV", "RidgeCV"]
