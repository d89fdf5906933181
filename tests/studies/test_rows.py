"""Responses become rows: what centering and scaling of runs leaves of them."""

from types import SimpleNamespace

import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.data.base import Continuous, Responses
from brainbench.recipes.parts import ResponseSettings, Scheme
from brainbench.studies.cases.folds import choose_null
from brainbench.studies.cases.rows import group_responses, make_rows, normalize_runs


@pytest.mark.parametrize("settings", [{"center": "run"}, {"scale": "run"}, {"center": "run", "scale": "run"}])
def test_runs_of_raw_counts_in_float32_are_centered_as_in_float64(settings):
    """Sums in float32 gave each run an offset of its own, up to a fifth of a standard deviation."""
    run = np.repeat(np.arange(4), 500)
    data = (1e6 + 5 * np.random.default_rng(0).normal(size=(2000, 20))).astype(np.float32)
    exact = normalize_runs(data.astype(np.float64), run, ResponseSettings(**settings))
    found = normalize_runs(data, run, ResponseSettings(**settings))
    assert found.dtype == np.float32
    offsets = np.array([(found - exact)[run == one].mean(axis=0) for one in range(4)])
    np.testing.assert_allclose(offsets, 0, atol=2e-3 * exact[run == 0].std(axis=0).min())


@pytest.mark.parametrize("motion", [None, np.zeros((6, 2))])
def test_the_mean_of_participants_says_whether_it_has_their_nuisance(motion):
    rng, time = np.random.default_rng(0), Continuous(2.0 * np.arange(6), 2.0)
    people = [
        Responses(name, rng.normal(size=(6, 3)), None, np.array(["a"] * 6), {}, continuous=time, nuisance=motion)
        for name in ("one", "two")
    ]
    found = group_responses(people)
    assert found.nuisance is None
    assert ("their nuisance is not taken out" in found.notes[0]) == (motion is not None)


def test_rows_that_are_means_over_runs_are_not_said_to_be_exchanged_within_them():
    shown, run = np.repeat(np.arange(6), 2), np.tile(["a", "b"], 6)
    responses = Responses("one", np.zeros((12, 3)), shown, run, {})
    recipe = SimpleNamespace(significance=SimpleNamespace(null="within_run", block_s=None))
    for hold_out, averaged in (("stimulus", True), ("stimulus", False), ("run", True)):
        rows = make_rows(responses, Scheme(hold_out=[hold_out]), ResponseSettings(average_repeats=averaged))
        if hold_out == "stimulus" and averaged:
            with pytest.raises(UserError, match="showings are averaged over runs"):
                choose_null(rows, recipe, None)
        else:
            assert choose_null(rows, recipe, None)[0] == "within_run"


def test_a_region_of_other_targets_in_one_participant_is_none_of_their_mean():
    rng, stimulus = np.random.default_rng(0), np.arange(6)
    masks = {"V1": [[True, False, False], [False, True, False]], "V2": [[False, False, True]] * 2}
    people = [
        Responses(name, rng.normal(size=(6, 3)), stimulus, np.array(["a"] * 6), {
            roi: np.array(mask[index]) for roi, mask in masks.items()} | ({"own": np.ones(3, bool)} if index else {}))
        for index, name in enumerate(("one", "two"))
    ]  # fmt: skip
    found = group_responses(people)
    assert list(found.rois) == ["V2"] and found.notes[1].endswith("left out: V1, own")
