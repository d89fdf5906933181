"""Simulated regions that prefer a category of drawn pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.recipes.datasets import SimulatedSettings
from brainbench.simulation.dataset import Simulated
from brainbench.simulation.participants import preferring_signal


def simulated(**roi: object) -> Simulated:
    settings = SimulatedSettings.model_validate(
        {"images": "drawings", "n_subjects": 1, "n_stimuli": 60, "n_repeats": 2, "n_runs": 4, "rois": [roi]}
    )
    return Simulated.open(settings, None, Context(seed=0, cache=Path(), encoders={}, device="cpu"))


def test_voxels_answer_most_to_the_category_they_prefer() -> None:
    categories = np.repeat(["a", "b", "c"], 20)
    signal = preferring_signal(categories, "b", 15, np.random.default_rng(0))
    np.testing.assert_allclose(signal.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(signal.std(axis=0), 1)
    means = np.array([signal[categories == name].mean(axis=0) for name in "abc"])
    assert (means.argmax(axis=0) == 1).all()
    assert len(np.unique(means[0].round(6))) == 15  # every voxel has a tuning of its own


def test_a_region_that_prefers_stripes_answers_to_stripes_and_can_be_read() -> None:
    data = simulated(roi="area", prefers="stripes", n_voxels=12, ceiling=0.9)
    stimuli, responses = data.stimuli("sim-01"), data.responses("sim-01")
    assert responses.stimulus is not None
    answer = np.asarray(responses.data).mean(axis=1)
    shown = np.asarray(stimuli.labels["category"])[responses.stimulus]
    means = {name: answer[shown == name].mean() for name in np.unique(shown)}
    assert max(means, key=lambda name: means[name]) == "stripes"
    assert data.truth()["rois"]["area"]["prefers"] == "stripes"
    assert data.truth()["rois"]["area"]["ceiling"] == 0.9
    assert data.files() == []


def test_an_unknown_category_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"area prefers 'stripe', which is no category.*did you mean 'stripes'"):
        simulated(roi="area", prefers="stripe").responses("sim-01")
