"""Tokenizers of sensors as encoders: the contract, what each layer is, and what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import brainbench as bb
from brainbench.core.errors import UserError
from brainbench.encoders.base import open_encoder
from brainbench.encoders.check import check_encoder
from brainbench.networks.store import NetworkStore
from brainbench.networks.tokens import training as tokens
from brainbench.networks.zoo.official import as_official
from brainbench.networks.zoo.tokenizer import BrainTokenizer
from brainbench.recipes.tokenizers import MaskedSettings, PretrainTraining, TokenizerSettings
from tests.data.test_trials import CHANNELS, folder, write_folder

mne = pytest.importorskip("mne")

from brainbench.recordings.whole.sensors import normalised, sensors_of  # noqa: E402

POWER = {"bands": {"alpha": [8.0, 13.0]}, "groups": {"left": ["C3"], "right": ["C4"]}}
SMALL = TokenizerSettings(
    window=64, n_filters=2, ratios=[4, 2], width=8, n_heads=2, n_sources=3, n_levels=2, n_codes=8
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("sensors"))


@pytest.fixture(scope="module")
def stimuli(root):
    return folder(root, tmin=0.0, tmax=2.0, band_power=POWER, montage="standard_1005").stimuli("s1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tokenizer and a model of its codes, trained for a moment; returns store, tokenizer and model."""
    rng = np.random.default_rng(0)
    info = mne.create_info(["Fz", *CHANNELS], 100.0, "eeg").set_montage("standard_1005")
    sensors = sensors_of(info, "made")
    X = normalised(rng.normal(size=(8, 5, 128)), sensors.kind)
    person = tokens.Person(X, sensors.place, sensors.kind, "made", "p1", {"a mark": "/nowhere/p1.fif"})
    store = NetworkStore(tmp_path_factory.mktemp("networks"))
    tokenizer = tokens.TokenTraining(
        SMALL, PretrainTraining(steps=2, batch_size=4), [person], [], 100.0, store, device="cpu"
    )
    masked = tokens.MaskedTraining(MaskedSettings(width=12, n_heads=2, depth=2, steps=2), tokenizer)
    masked.trained()
    return store, tokenizer, masked


def encoder(trained, network, **settings):
    values = {"name": "net", "family": "sensor", "network": network, **settings}
    return open_encoder(values, device="cpu", networks=trained[0].root)


@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.parametrize("weights", ["trained", "random"])
def test_the_contract(trained, stimuli, which, weights):
    made = encoder(trained, trained[which].key, weights=weights)
    check_encoder(lambda: encoder(trained, trained[which].key, weights=weights), stimuli)
    assert made.untrained == (weights == "random")
    assert ("p1" in made.note and trained[which].key in made.note) == (weights == "trained")


def test_the_lens_refuses_what_is_no_sequence(trained, stimuli):
    for which in (1, 2):
        with pytest.raises(UserError, match=r"encoder 'net'.*the lens reads sequences"):
            bb.lens(encoder(trained, trained[which].key), stimuli)


def test_layers_are_what_the_network_computes(trained, stimuli):
    """Every layer by hand, of a layout of sensors that the network was not trained on."""
    few = stimuli.take(np.arange(3))
    network, omni = trained[1].network(), trained[2].network()
    sensors = stimuli.layout.sensors()
    assert len(sensors.names) == 4  # it was trained on five
    x = torch.from_numpy(normalised(np.stack([few.load(i) for i in range(3)]).astype(float), sensors.kind))
    place, kind = (torch.from_numpy(part).expand(3, *part.shape) for part in (sensors.place, sensors.kind))
    found = encoder(trained, trained[1].key).features(few, pool="flatten")
    assert list(found) == ["codec", "sources", "levels.0", "levels.1"]
    kept = -(-200 // 8)  # tokens of 8 samples that begin within 200
    with torch.inference_mode():
        expected, _ = network.tokenize(x, place, kind)
        codec = network.encoder.codec(network.windows(x))
        logs = encoder(trained, trained[1].key).features(few)["levels.1"]
        power = expected[:, :, :kept].square().mean(2).log10().flatten(1).numpy()
    assert expected.shape[2] == 32
    np.testing.assert_allclose(found["levels.1"], expected[:, :, :kept].flatten(1), atol=1e-5)
    np.testing.assert_allclose(found["codec"], codec[:, :, :kept].flatten(1), atol=1e-5)
    np.testing.assert_allclose(logs, power, atol=1e-3)
    found = encoder(trained, trained[2].key).features(few)
    assert list(found)[-2:] == ["blocks.0", "blocks.1"]
    inside = network.spans(200, 0.25)[:, 0] < 200
    with torch.inference_mode():
        first = torch.nn.functional.normalize(
            omni.blocks[0](omni.embedded(omni.tokenizer.tokenize(x, place, kind, 0.25)[0])), dim=-1
        )
        own = omni.encode(x, place, kind)
        torch.testing.assert_close(first, own)
        block = omni.blocks[0](omni.embedded(omni.tokenizer.tokenize(x, place, kind, 0.25)[0]))
    np.testing.assert_allclose(found["blocks.0"], block[:, :, inside].mean(2).flatten(1), atol=1e-5)


def test_a_tokenizer_with_a_field_has_no_layer_of_channels(trained, stimuli):
    """Its codec reads sources; layers are the network's own tokens, of narrow codes, and a masked model's blocks."""
    settings = SMALL.model_copy(update={"mixing": "field", "code_width": 4})
    tokenizer = tokens.TokenTraining(
        settings, trained[1].training, trained[1].people, [], 100.0, trained[0], device="cpu"
    )
    masked = tokens.MaskedTraining(trained[2].settings, tokenizer)
    assert tokenizer.key != trained[1].key
    masked.trained()
    few = stimuli.take(np.arange(3))
    found = encoder(trained, tokenizer.key).features(few, pool="flatten")
    assert list(found) == ["sources", "levels.0", "levels.1"]
    sensors = stimuli.layout.sensors()
    x = torch.from_numpy(normalised(np.stack([few.load(i) for i in range(3)]).astype(float), sensors.kind))
    place, kind = (torch.from_numpy(part).expand(3, *part.shape) for part in (sensors.place, sensors.kind))
    with torch.inference_mode():
        expected = tokenizer.network().tokenize(x, place, kind)[0][:, :, : -(-200 // 8)]
    np.testing.assert_allclose(found["levels.1"], expected.flatten(1), atol=1e-5)
    assert list(encoder(trained, masked.key).features(few))[-2:] == ["blocks.0", "blocks.1"]
    with pytest.raises(UserError, match="'codec' matches none"):
        encoder(trained, tokenizer.key).select(["codec"])


def test_positions_matter_and_must_be_known(trained, root, stimuli):
    made = encoder(trained, trained[1].key)
    other = folder(root, tmin=0.0, tmax=2.0, band_power=POWER, montage=None).stimuli("s1")
    assert other.digest() != stimuli.digest()
    with pytest.raises(UserError, match="position of channels C3, Cz, C4, Pz is unknown") as error:
        made.features(other, ["sources"])
    assert "dataset.montage" in error.value.hint
    info = stimuli.layout.info.copy()
    info["chs"][0]["loc"][:3] += 0.05
    moved = replace(stimuli, layout=replace(stimuli.layout, info=info))
    assert moved.digest() != stimuli.digest()
    assert not np.allclose(*(made.features(one.take(np.arange(2)), ["sources"])["sources"] for one in (stimuli, moved)))


def test_what_it_cannot_read_is_refused(trained, stimuli):
    made = encoder(trained, trained[1].key)
    with pytest.raises(UserError, match="trained at 100 samples per second, the stimuli have 128"):
        made.features(replace(stimuli, sfreq=128.0), ["sources"])
    with pytest.raises(UserError, match="say nothing of them"):
        made.features(replace(stimuli, layout=None), ["sources"])
    with pytest.raises(UserError, match=f"no tokenizer '{trained[1].key[:-1]}x' is kept .*; did you mean"):
        encoder(trained, trained[1].key[:-1] + "x").layers()
    with pytest.raises(UserError, match=r"`network`: nothing.pt does not exist"):
        encoder(trained, "nothing.pt", published="tiny").layers()


def test_a_published_file_is_read(trained, stimuli, tmp_path):
    torch.manual_seed(0)
    network = BrainTokenizer()
    for layer in network.quantizer.rvq.layers:
        layer.codebook.embed.normal_()
    torch.save(as_official(network), tmp_path / "BrainTokenizer.pt")
    made = encoder(trained, str(tmp_path / "BrainTokenizer.pt"), published="braintokenizer")
    few = replace(stimuli.take(np.arange(2)), sfreq=256.0)
    found = made.features(few, ["levels.3"], pool="flatten")["levels.3"]
    sensors = stimuli.layout.sensors()
    x = torch.from_numpy(normalised(np.stack([few.load(i) for i in range(2)]).astype(float), sensors.kind))
    place, kind = (torch.from_numpy(part).expand(2, *part.shape) for part in (sensors.place, sensors.kind))
    with torch.inference_mode():
        expected = network.eval().tokenize(x, place, kind)[0]
    np.testing.assert_allclose(found, expected[:, :, :4].flatten(1), atol=1e-4)
    assert "published weights of braintokenizer" in made.note and made.weight_files()
    broken = as_official(network)
    del broken["encoder.neuros"]
    torch.save(broken, tmp_path / "BrainTokenizer.pt")
    with pytest.raises(UserError, match=r"encoder.neuros is missing"):
        encoder(trained, str(tmp_path / "BrainTokenizer.pt"), published="braintokenizer").layers()


RECIPES = """\
kind: pretrain
dataset: {{name: eeg-folder, root: {root}, recordings: other.csv, events: annotations, montage: standard_1005}}
held_out: [s2]
seconds: 2.0
tokenizer: {{window: 64, n_filters: 2, ratios: [4, 2], width: 8, n_heads: 2, n_sources: 3, n_levels: 2, n_codes: 8}}
training: {{steps: 2, batch_size: 4}}
least_perplexity: 0.0
---
kind: encode
dataset:
  {{name: eeg-folder, root: {root}, tmin: 0.0, tmax: 2.0, montage: standard_1005,
   band_power: {{bands: {{alpha: [8.0, 13.0]}}, groups: {{left: [C3], right: [C4]}}}}}}
hold_out: [run]
encoders:
  - {{name: tokenizer, family: sensor, network: KEY}}
  - {{name: untrained, family: sensor, network: KEY, weights: random, role: control}}
ceiling: {{method: none}}
significance: {{n_permutations: 20}}
bootstrap: {{n_draws: 20}}
"""


def test_from_training_to_a_report_of_layers(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    write_folder(root, subjects=("s1", "s2", "s3"))
    table = pd.read_csv(root / "recordings.csv")
    table[table["subject"] == "s3"].to_csv(root / "recordings.csv", index=False)
    table[table["subject"] != "s3"].to_csv(root / "other.csv", index=False)
    events = pd.read_csv(root / "events.csv")
    events[events["path"].isin(table["path"][table["subject"] == "s3"])].to_csv(root / "events.csv", index=False)
    pretrain, encode = RECIPES.format(root=root).split("---\n")
    (tmp_path / "pretrain.yaml").write_text(pretrain)
    bb.run(tmp_path / "pretrain.yaml", out=tmp_path / "a", cache=tmp_path / "cache")
    (key,) = [file.stem for file in (tmp_path / "cache" / "networks").glob("*.json")]
    (tmp_path / "encode.yaml").write_text(encode.replace("KEY", key))
    found = bb.run(tmp_path / "encode.yaml", out=tmp_path / "b", cache=tmp_path / "cache")
    scores = found.scores
    assert set(scores["layer"]) >= {"codec", "sources", "levels.0", "levels.1"}
    page = (found.path / "report.html").read_text()
    assert "trained without labels on recordings of s1" in page and "untrained" in page
    # Its own recordings are no test of it.
    table[table["subject"] == "s1"].to_csv(root / "recordings.csv", index=False)
    pd.read_csv(root / "events.csv").assign(path="s1_0_raw.fif").to_csv(root / "events.csv", index=False)
    with pytest.raises(UserError, match=r"trained on recordings .*, such as .*s1_0_raw\.fif"):
        bb.run(tmp_path / "encode.yaml", out=tmp_path / "c", cache=tmp_path / "cache")
