"""Every registered decoder of trials keeps the contract; settings that do not fit are refused before any training."""

import mne
import pytest

from brainbench.core.errors import UserError
from brainbench.decoders.base import TrialContext
from brainbench.decoders.check import SFREQ, check_trial_decoder
from brainbench.recipes.pipelines import PIPELINES

NAMES = ["C3", "C4", "CP3", "CP4", "Cz", "FC3"]
FAST = {"max_epochs": 30, "patience": 30, "learning_rate": 5e-3}
CASES = {
    "csp_lda": {"n_filters": 4},
    "fbcsp_lda": None,  # takes a filter bank, which tests of the workflow give it
    "fgmdm": {},
    "tangent_lr": {},
    "braindecode": {"model": "ShallowFBCSPNet", **FAST},
    "mvcnet": None,  # tests/heads hold its classifier against `check_decoder`
    "rbtransformer": None,
    "token_probe": None,  # it needs a trained network: tests/decoders/test_tokens.py
}


def context():
    info = mne.create_info(NAMES, SFREQ, "eeg")
    info.set_montage("colin27_1005" if "colin27_1005" in mne.channels.get_builtin_montages() else "standard_1005")
    return TrialContext(info, n_times=160)


def make(name, **settings):
    return PIPELINES.builder(name)(PIPELINES[name](name="x", **settings), context())


def test_every_decoder_has_a_case():
    assert set(CASES) == set(PIPELINES)


@pytest.mark.parametrize("name", [name for name, settings in CASES.items() if settings is not None])
def test_the_contract(name):
    check_trial_decoder(make(name, **CASES[name]))


@pytest.mark.parametrize("align", ["euclidean", "riemannian"])
def test_alignment_keeps_the_contract(align):
    check_trial_decoder(make("csp_lda", n_filters=4, align=align))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "EEGNt"}, "did you mean 'EEGNet'"),
        ({"model": "EEGNet", "parameters": {"F_1": 4}}, "has no setting 'F_1'; did you mean 'F1'"),
        ({"model": "EEGNet", "parameters": {"n_chans": 4}}, "n_chans comes from the data"),
    ],
)
def test_misspelt_networks_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        make("braindecode", **settings)
