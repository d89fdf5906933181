"""Small recipes that need no network and no torch."""

from pathlib import Path

SMALL = """\
kind: encode
title: A small simulation
seed: 3
dataset:
  name: simulated
  n_subjects: 2
  n_stimuli: 90
  n_repeats: 2
  n_runs: 3
  rois:
    - {roi: fine, encoder: gabor, layer: scale.0, n_voxels: 12, ceiling: 0.8}
    - {roi: coarse, encoder: gabor, layer: scale.3, n_voxels: 12, ceiling: 0.8}
    - {roi: silent, n_voxels: 12}
hold_out: [stimulus]
folds: {n_splits: 3}
encoders:
  - {name: gabor, family: gabor, role: model, image_size: 48, layers: ["scale.*"]}
  - {name: pixels, family: pixels, image_size: 8}
head: {n_alphas: 9, inner_folds: 3}
unique: {over: controls}
similarity: [rsa, cka]
significance: {n_permutations: 99}
bootstrap: {n_draws: 50}
"""


def write_recipe(folder: Path, text: str = SMALL, name: str = "small") -> Path:
    """Write a recipe and return its path."""
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path
