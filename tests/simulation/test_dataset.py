"""Simulated participants with any number of voxels have a volume that their maps fit into."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from brainbench.data.base import Context
from brainbench.recipes.datasets import DATASETS, dataset_settings
from brainbench.simulation.dataset import VOLUME, blob_masker


@pytest.mark.parametrize("sizes", [[40, 40], [5000, 4000, 1]])
def test_every_voxel_has_a_place(sizes):
    masker, background = blob_masker(sizes)
    values = np.arange(1, sum(sizes) + 1, dtype=np.float32)
    volume = np.asarray(masker.inverse_transform(values).dataobj)
    assert sorted(volume[volume > 0]) == values.tolist()
    assert volume.shape == background.shape
    finer = volume.shape[0] // VOLUME[0]
    assert finer == (1 if sum(sizes) < 1000 else 2)
    # A region is a ball about its centre: its voxels are near one another, at the same places of the head.
    first = np.argwhere(np.isin(volume, values[: sizes[0]])) / finer
    assert np.linalg.norm(first.mean(axis=0) - [14, 10.5, 8.5]) < 1.5


def test_a_folder_with_fewer_images_than_are_asked_for_says_so(tmp_path):
    for number in range(9):
        Image.new("RGB", (20, 20), (9 * number, 0, 0)).save(tmp_path / f"{number}.png")
    settings = {"name": "simulated", "rois": [{"roi": "a", "n_voxels": 3}], "n_subjects": 1, "n_runs": 2}
    for n, notes in ((8, []), (12, [f"9 images, which is all that {tmp_path} holds: `n_stimuli: 12` asks for more"])):
        chosen = dataset_settings({**settings, "root": str(tmp_path), "n_stimuli": n})
        found = DATASETS.builder("simulated").open(chosen, None, Context()).responses("sim-01")
        assert found.notes == ["simulated: no brain was measured", *notes]
