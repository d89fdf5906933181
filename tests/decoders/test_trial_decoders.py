"""Every registered decoder of trials keeps the contract; settings that do not fit are refused before any training."""

import mne
import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.decoders.base import TrialContext
from brainbench.decoders.check import SFREQ, check_trial_decoder, planted_trials
from brainbench.recipes.pipelines import PIPELINES

NAMES = ["C3", "C4", "CP3", "CP4", "Cz", "FC3"]
FAST = {"max_epochs": 30, "patience": 30, "learning_rate": 5e-3}
CASES = {
    "csp_lda": {"n_filters": 4},
    "fbcsp_lda": None,  # takes a filter bank, which tests of the workflow give it
    "fgmdm": {},
    "tangent_lr": {},
    "power_lr": {"C": 0.1},
    "duin": None,  # without activations before attention it needs more trials: tests/networks/zoo/test_duin.py
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
    ("name", "settings"),
    [
        ("csp_lda", {"n_filters": 4}),
        ("fbcsp_lda", {"bands": [[8.0, 12.0], [12.0, 16.0]], "n_features": 2}),
        ("braindecode", {"model": "ShallowFBCSPNet", "max_epochs": 1}),
    ],
)
def test_trials_without_labels_are_the_reference_of_a_new_person(name, settings):
    """All tested trials are what transductive alignment takes; others are the reference for whatever comes."""
    X, _, _ = planted_trials()
    y = np.random.default_rng(0).permutation(np.repeat(["left", "right"], 24))  # nothing to be sure of
    who = np.repeat(["a", "new"], 24)
    aligned, transductive = (make(name, **settings, align=align) for align in ("euclidean", "euclidean_transductive"))
    rows = aligned.prepare(X if aligned.bands is None else np.stack([X, X], axis=1))
    for one in (aligned, transductive):
        one.fit_prepared(rows[:24], y[:24], domains=who[:24])
    test, domains = rows[24:], who[24:]
    plain, whole = aligned.probability_of(test, domains=domains), transductive.probability_of(test, domains=domains)
    aligned.adapt(test, domains=domains)
    assert not np.allclose(plain, whole) and np.allclose(aligned.probability_of(test, domains=domains), whole)
    transductive.adapt(test[:5], domains=domains[:5])
    few = transductive.probability_of(test[5:], domains=domains[5:])
    alone = [transductive.probability_of(test[i : i + 1], domains=domains[:1])[0] for i in range(5, 24)]
    assert np.allclose(few, alone, atol=1e-5) and not np.allclose(few, whole[5:])


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
