"""Presets of ``kind: reconstruct``: published settings by name, filled in where a recipe says nothing.

A preset only fills: what the recipe gives stands, and a section that names another codec or generator is left alone.
The resolved recipe in the run folder shows every value.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

Preset = Literal["brain-diffuser"]

PRESETS: dict[str, dict[str, Any]] = {
    # Ozcelik & VanRullen (2023), Scientific Reports 13, 15666, and its released code.
    "brain-diffuser": {
        "low_level": {"codec": "vdvae", "n_layers": 31, "latents": "sample", "temperature": 1.0},
        "generator": {
            "name": "versatile-diffusion",
            "steps": 50,
            "strength": 0.75,
            "guidance": 7.5,
            "mixing": 0.4,
            "image_size": 512,
        },
        "head": {"fixed": {"low_level": 50_000.0, "clip_image": 60_000.0, "clip_text": 100_000.0}},
        "calibration": "test-batch",
    },
}
_TAGS = {"low_level": "codec", "generator": "name"}


def with_preset(values: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's plain values with its preset filled in; without a known preset, the values themselves."""
    preset = PRESETS.get(values["preset"]) if isinstance(values.get("preset"), str) else None
    if preset is None:
        return values
    filled = dict(values)
    for key, default in preset.items():
        given = filled.get(key)
        if key not in filled:
            filled[key] = copy.deepcopy(default)
        elif isinstance(given, dict) and isinstance(default, dict):
            tag = _TAGS.get(key)
            if tag is None or given.get(tag, default[tag]) == default[tag]:
                filled[key] = {**copy.deepcopy(default), **given}
    return filled
