"""Linear probes of tokenizers: the contract, leaks, and a whole recipe beside the untrained network."""

import json

import numpy as np
import pandas as pd
import pytest

import brainbench as bb
from brainbench.core.errors import UserError
from brainbench.decoders.base import TrialContext
from brainbench.decoders.check import SFREQ, check_trial_decoder, planted_trials
from brainbench.networks.store import NetworkStore
from brainbench.networks.tokens import training as tokens
from brainbench.recipes.pipelines import PIPELINES
from brainbench.recipes.tokenizers import PretrainTraining, TokenizerSettings
from tests.data.test_trials import write_folder

mne = pytest.importorskip("mne")

from brainbench.recordings.reading import mark_of  # noqa: E402
from brainbench.recordings.whole.sensors import normalised, sensors_of  # noqa: E402

NAMES = ["C3", "C4", "CP3", "CP4", "Cz", "FC3"]
SMALL = TokenizerSettings(
    window=80, n_filters=4, ratios=[4, 2], width=16, n_heads=2, n_sources=4, n_levels=2, n_codes=8
)  # fmt: skip


def keep(root, sfreq, files=()):
    """Train a tokenizer for a moment, of some files, and return its key."""
    info = mne.create_info(NAMES, sfreq, "eeg").set_montage("standard_1005")
    sensors = sensors_of(info, "made")
    X = normalised(np.random.default_rng(0).normal(size=(8, 6, 160)), sensors.kind)
    person = tokens.Person(X, sensors.place, sensors.kind, "made", "p1", {mark_of(file): str(file) for file in files})
    training = tokens.TokenTraining(
        SMALL, PretrainTraining(steps=2, batch_size=4), [person], [], sfreq, NetworkStore(root), device="cpu"
    )
    training.trained()
    return training.key


def make(root, key, montage="standard_1005", **settings):
    info = mne.create_info(NAMES, SFREQ, "eeg")
    if montage:
        info.set_montage(montage)
    model = PIPELINES["token_probe"](name="x", decoder="token_probe", network=key, **settings)
    return PIPELINES.builder("token_probe")(model, TrialContext(info, n_times=160, networks=root))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    root = tmp_path_factory.mktemp("networks")
    return root, keep(root, SFREQ)


@pytest.mark.parametrize("weights", ["trained", "random"])
def test_the_contract(kept, weights):
    check_trial_decoder(make(*kept, layer="codec", weights=weights))


def test_labels_that_change_places_are_fitted_alike(kept):
    X, y, _ = planted_trials()
    decoder = make(*kept, layer="sources", C=0.1)
    prepared, classes = decoder.prepare(X), (y == "right").astype(int)
    orders = np.stack([classes, 1 - classes])
    found = decoder.exchanged(prepared[:32], orders[:, :32], prepared[32:])
    alone = decoder.fit_prepared(prepared[:32], classes[:32]).probability_of(prepared[32:])
    np.testing.assert_allclose(found[:, 0], alone, atol=2e-3)
    np.testing.assert_allclose(found[:, 1], alone[:, ::-1], atol=2e-3)


def test_what_does_not_fit_is_refused(kept):
    with pytest.raises(UserError, match="layer pattern 'source' matches none of its 4 layers; did you mean 'sources'"):
        make(*kept, layer="source").check_trials(6, 160, 2)
    with pytest.raises(UserError, match="one layer by its name, not 'levels"):
        make(*kept, layer="levels.*").check_trials(6, 160, 2)
    with pytest.raises(UserError, match="position of channels C3"):
        make(*kept, montage=None).check_trials(6, 160, 2)
    with pytest.raises(ValueError, match="`align` gives trials no sensors"):
        make(*kept, align="euclidean")


def test_another_content_of_a_published_file_is_another_preparation(tmp_path):
    file = tmp_path / "published.pt"
    file.write_bytes(b"one")
    decoder = make(tmp_path, str(file), published="tiny")
    before = decoder.preparation()
    assert decoder.preparation() == before
    file.write_bytes(b"two")
    assert decoder.preparation() != before


def test_a_run_folder_stands_for_the_network_that_it_trained(kept, tmp_path):
    root, key = kept
    facts = {"format": 2, "findings": {"training": [{"name": "tokenizer", "network": key}]}}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    named, plain = make(root, str(tmp_path), layer="sources"), make(root, key, layer="sources")
    assert named.preparation() == plain.preparation()
    X = planted_trials()[0][:2]
    assert np.array_equal(named.prepare(X), plain.prepare(X))
    (tmp_path / "facts.json").unlink()
    with pytest.raises(UserError, match="is no finished run of `kind: pretrain`"):
        make(root, str(tmp_path)).check_trials(6, 160, 2)


RECIPE = """\
kind: decode
dataset: {{name: eeg-folder, root: {root}, montage: standard_1005, band: [4.0, 30.0], tmin: 0.0, tmax: 2.0}}
pipelines:
  - {{name: tokens, decoder: token_probe, network: {key}, layer: codec}}
  - {{name: untrained, decoder: token_probe, network: {key}, layer: codec, weights: random}}
  - {{name: csp, decoder: csp_lda, n_filters: 2}}
evaluate: [{{scheme: leave-one-run-out}}]
significance: {{n_permutations: 99}}
bootstrap: {{n_draws: 20}}
execution: {{jobs: 1}}
"""


def test_a_recipe_probes_tokens_beside_classical_pipelines(tmp_path):
    root, networks = tmp_path / "data", tmp_path / "cache" / "networks"
    root.mkdir()
    write_folder(root)
    other = tmp_path / "somebody_raw.fif"
    other.write_bytes(b"")
    key = keep(networks, 100.0, [other])
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(root=root, key=key))
    found = bb.run(path, out=tmp_path / "run", cache=tmp_path / "cache")
    scores = found.scores
    rows = scores[(scores["metric"] == "accuracy") & (scores["fold"] == "all")].set_index("pipeline")
    assert {"tokens", "untrained", "csp"} <= set(rows.index) and rows.loc["tokens", "value"] > 0.6
    assert 0 < rows.loc["tokens", "p"] <= 0.05
    mine = sorted(root.glob("*_raw.fif"))
    key = keep(networks, 100.0, mine[:1])
    trained_on = pd.read_json((networks / f"{key}.json"), typ="series")["training"]["origins"]
    if list(trained_on.values()) != [str(mine[0])]:  # the store knows a network by its data, not by where they lie
        for file in networks.glob(f"{key}*"):
            file.unlink()
        keep(networks, 100.0, mine[:1])
    path.write_text(RECIPE.format(root=root, key=key))
    with pytest.raises(UserError, match=r"pipeline 'tokens', s1: its network learned from .* such as .*s1_0_raw\.fif"):
        bb.run(path, out=tmp_path / "again", cache=tmp_path / "cache")
