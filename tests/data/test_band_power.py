"""Trials as stimuli and band power as responses: the numbers, and what may not leak from one into the other."""

import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.recipes.reader import parse_recipe
from brainbench.recordings.power import electrode_groups, log_band_power
from tests.data.test_trials import folder, write_folder

pytest.importorskip("mne")
GROUPS = {"left": ["C3"], "right": ["C4"]}


def test_a_sine_has_half_its_squared_amplitude_in_its_band():
    time = np.arange(400) / 100
    X = 3e-6 * np.sin(2 * np.pi * 10 * time)[None, None]
    alpha, beta = log_band_power(X, 100.0, [[8, 13], [15, 30]])[0, 0]
    assert np.isclose(10**alpha, (3e-6) ** 2 / 2, rtol=0.05) and beta < alpha - 2
    louder = log_band_power(2 * X, 100.0, [[8, 13]])[0, 0, 0]
    assert np.isclose(louder - alpha, np.log10(4))


def test_what_a_piece_cannot_resolve_is_refused():
    with pytest.raises(UserError, match="needs more than 100 samples"):
        log_band_power(np.ones((1, 1, 100)), 100.0, [[30, 50]])
    with pytest.raises(UserError, match=r"cannot be told from 0\.5 s"):
        log_band_power(np.ones((1, 1, 50)), 100.0, [[1, 4]])


def test_groups_by_name():
    names = ["Fp1", "AFz", "C3", "Cz", "CP4", "T7", "P10", "Oz", "EOG"]
    found = {group: [name for name, one in zip(names, mask, strict=True) if one]
             for group, mask in electrode_groups(names, None, "s1").items()}  # fmt: skip
    assert found == {
        "frontal": ["Fp1", "AFz"], "temporal": ["T7"], "parietal": ["P10"], "occipital": ["Oz"],
        "central_left": ["C3"], "central_middle": ["Cz"], "central_right": ["CP4"],
    }  # fmt: skip
    with pytest.raises(UserError, match="no channel 'C33'; did you mean 'C3'"):
        electrode_groups(names, {"x": ["C33"]}, "s1")
    with pytest.raises(UserError, match="10-10 system"):
        electrode_groups(["A1x", "B2y"], None, "s1")


def test_the_same_part(tmp_path):
    write_folder(tmp_path)
    dataset = folder(tmp_path, tmin=0.0, tmax=3.0, band_power={"bands": {"alpha": [8.0, 13.0]}, "groups": GROUPS})
    stimuli, responses = dataset.stimuli("s1"), dataset.responses("s1")
    assert stimuli.load(0).shape == (4, 300) and stimuli.sfreq == 100 and len(stimuli) == 22
    assert responses.data.shape == (22, 4) and list(responses.rois) == ["left alpha", "right alpha"]
    # Rhythms of classes are planted at C3 and C4.
    side = (
        responses.data[:, responses.rois["left alpha"]][:, 0] - responses.data[:, responses.rois["right alpha"]][:, 0]
    )
    assert ((side > 0) == (responses.labels["label"] == "left")).all()
    for run in np.unique(responses.run):
        assert np.allclose(responses.data[responses.run == run].mean(axis=0), 0, atol=1e-9)


def test_a_later_part_starts_where_the_filter_no_longer_reaches(tmp_path):
    write_folder(tmp_path)
    bands = {"bands": {"beta": [14.0, 30.0]}, "groups": GROUPS}
    with pytest.raises(UserError, match=r"carries signals 0.8\d s into the past"):
        folder(tmp_path, tmin=0.0, tmax=1.0, band_power={"tmin": 1.5, "tmax": 2.5, **bands}).stimuli("s1")
    with pytest.raises(UserError, match="has no end"):
        folder(
            tmp_path, tmin=0.0, tmax=1.0, filter="iir", band_power={"tmin": 2.5, "tmax": 3.5, **bands}
        ).stimuli("s1")  # fmt: skip
    apart = folder(tmp_path, tmin=0.0, tmax=1.0, band_power={"tmin": 2.0, "tmax": 3.0, "detrend": False, **bands})
    later = apart.trials("s1", span=(2.0, 3.0), unfiltered=True).X[:, :, :100]
    expected = log_band_power(later, 100.0, [[14.0, 30.0]])[:, :, 0]
    assert np.allclose(apart.responses("s1").data, expected)


RECIPE = """
kind: encode
dataset: {{name: eeg-folder, root: ., tmin: 0.0, tmax: 2.0, band_power: {{bands: {{alpha: [8.0, 13.0]}}}}}}
hold_out: [run]
encoders:
  - {{name: net, family: eeg, decoder: {decoder}, trained_on: {trained_on}}}
"""
NET = "{decoder: braindecode, model: EEGNet}"


@pytest.mark.parametrize(
    ("decoder", "trained_on", "message"),
    [
        ("{decoder: tangent_lr}", "{recordings: other.csv}", "no network"),
        ("{decoder: braindecode, model: EEGNet, band: [8.0, 30.0]}", "{recordings: other.csv}", "give neither"),
        ("{decoder: rbtransformr}", "{recordings: other.csv}", "did you mean 'rbtransformer'"),
        (NET, "{recording: other.csv}", "did you mean 'recordings'"),
        (NET, "{recordings: other.csv, band: [4.0, 40.0]}", "must be that of `dataset`"),
        ("{decoder: braindecode, model: EEGNet, max_epoch: 3}", "{recordings: other.csv}", "did you mean 'max_epochs'"),
    ],
)
def test_settings_of_a_network_are_checked(decoder, trained_on, message):
    with pytest.raises(UserError, match=message):
        parse_recipe(RECIPE.format(decoder=decoder, trained_on=trained_on), "x.yaml")


def test_a_network_needs_signals():
    text = RECIPE.format(decoder=NET, trained_on="{recordings: other.csv}")
    with pytest.raises(UserError, match="`band_power` section"):
        parse_recipe(text.replace(", band_power: {bands: {alpha: [8.0, 13.0]}}", ""), "x.yaml")
    with pytest.raises(UserError, match="must not lie before"):
        parse_recipe(text.replace("{bands:", "{tmin: 1.0, tmax: 3.0, bands:"), "x.yaml")
