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
from brainbench.lens import edits
from brainbench.lens.running import edited, means
from brainbench.networks.store import NetworkStore
from brainbench.networks.tokens import training as tokens
from brainbench.networks.zoo.brainomni import rotate
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


def by_hand(trained, stimuli, rows=3):
    """The masked-code model, what its first block is given, and which tokens of a source begin within the signal."""
    omni, sensors = trained[2].network().eval(), stimuli.layout.sensors()
    x = torch.from_numpy(normalised(np.stack([stimuli.load(i) for i in range(rows)]).astype(float), sensors.kind))
    place, kind = (torch.from_numpy(part).expand(rows, *part.shape) for part in (sensors.place, sensors.kind))
    with torch.inference_mode():
        given = omni.embedded(omni.tokenizer.tokenize(x, place, kind, 0.25)[0])
    return omni, given, omni.tokenizer.spans(x.shape[-1], 0.25)


def test_the_lens_reads_attention_between_sources_and_along_time(trained, stimuli):
    """Every number of attention by hand, from queries and keys: each head along its own line of tokens."""
    few = stimuli.take(np.arange(3))
    table = bb.lens(encoder(trained, trained[2].key), few, diagnostics=["attention", "stream"])
    omni, x, spans = by_hand(trained, few)
    inside = spans[:, 0] < 200
    assert len(inside) > inside.sum() > 2
    ms = spans.double().mean(1) * 10
    apart = (ms[inside][:, None] - ms[inside][None]).abs()
    assert table["layer"].tolist() == ["blocks.0", "blocks.1"]
    with torch.inference_mode():
        for index, block in enumerate(omni.blocks):
            along, across = block.pre_attn_norm(x).double().chunk(2, dim=-1)
            block = block.double()
            found = {}
            for name, part, values in (
                ("time", block.time_attn, along), ("source", block.spatial_attn, across.transpose(1, 2))
            ):  # fmt: skip
                q, k, _ = part.qkv(values).chunk(3, dim=-1)  # one head of each kind
                q, k = (rotate(one, "correct") for one in (q, k)) if name == "time" else (q, k)
                P = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
                A = P[:, :, inside][..., inside] if name == "time" else P[:, inside]
                A = A / A.sum(-1, keepdim=True)
                N, received = A.shape[-1], A.mean(-2)
                keys = -(received * received.log()).sum(-1)
                rows = -(A * A.log()).sum(-1).mean(-1)
                nmi = (keys - rows) / (np.log(N) * keys).sqrt()
                found[name] = {
                    "nmi": nmi.mean(1), "attn_entropy": (rows / np.log(N)).mean(1),
                    "eff_window": (N ** (1 - nmi) / N).mean(1), "inside_sink": received.amax(-1).mean(1),
                }  # fmt: skip
                if name == "time":
                    found[name]["lag_ms"] = (A * apart).sum(-1).mean((1, 2))
            for column in ("nmi", "attn_entropy", "eff_window", "inside_sink"):
                both = (found["time"][column] + found["source"][column]) / 2
                np.testing.assert_allclose(table.attrs["values"][column][index], both, atol=2e-5, err_msg=column)
            ends = torch.stack([found["time"]["nmi"], found["source"]["nmi"]])
            np.testing.assert_allclose(table.attrs["values"]["nmi_high"][index], ends.amax(0), atol=2e-5)
            np.testing.assert_allclose(table.attrs["values"]["lag_ms"][index], found["time"]["lag_ms"], rtol=1e-5)
            block = block.float()
            h, a = (one[:, :, inside].flatten(1, 2) for one in (x, block.mixed(x)))
            np.testing.assert_allclose(
                table.attrs["values"]["r_attn"][index], (a.norm(dim=-1) / h.norm(dim=-1)).mean(1), rtol=1e-4
            )
            x = block(x)
    assert (table["nmi_mask"] == 0).all()  # no line hides a token from another
    assert {"distance", "distance_cm"} <= set(table.attrs["reasons"])
    depth = [tap.depth for tap in encoder(trained, trained[2].key).taps[-3:]]
    np.testing.assert_allclose(table["depth"], [(depth[0] + depth[1]) / 2, (depth[1] + depth[2]) / 2])


def test_patterns_are_what_the_network_computes_and_hold_no_other_line(trained, stimuli):
    made = encoder(trained, trained[2].key)
    few = stimuli.take(np.arange(3))
    at = made.site(1, "pattern")
    with torch.inference_mode():
        pattern = made.run(made.inputs(few, range(3)), [at])[at.name]
    omni, x, spans = by_hand(trained, few)
    S, T = x.shape[1], len(spans)
    assert pattern.shape == (3, 2, S * T, S * T)
    with torch.inference_mode():
        along, across = omni.blocks[1].pre_attn_norm(omni.blocks[0](x)).chunk(2, dim=-1)
        q, k, _ = omni.blocks[1].spatial_attn.qkv(across.transpose(1, 2)).chunk(3, dim=-1)
        between = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
        q, k, _ = omni.blocks[1].time_attn.qkv(along).chunk(3, dim=-1)
        q, k = rotate(q, "correct"), rotate(k, "correct")
        later = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
    whole = torch.zeros(3, 2, S, T, S, T)
    for s in range(S):
        whole[:, 1, s, :, s] = later[:, s]
    for t in range(T):
        whole[:, 0, :, t, :, t] = between[:, t]
    torch.testing.assert_close(pattern, whole.reshape(pattern.shape), atol=1e-6, rtol=1e-5)


def test_edits_of_sources_are_those_of_a_forward_pass_by_hand(trained, stimuli):
    """Skipped, erased and without a head; layers before are the same bits, those of the tokenizer too."""
    few, rows = stimuli.take(np.arange(3)), range(3)
    made = encoder(trained, trained[2].key)
    mean = means(made, few, rows, [(1, "resid_pre"), (0, "z")])
    omni, x, spans = by_hand(trained, few)
    inside = spans[:, 0] < 200
    first, second = omni.blocks
    changes = [edits.skip(0), edits.erase(1, mean[1, "resid_pre"]), edits.ablate_heads(0, [1])]
    with torch.inference_mode():
        behind = first(x)
        token = behind[:, :, inside].flatten(0, 2).mean(0)
        np.testing.assert_allclose(mean[1, "resid_pre"], token, atol=1e-6)
        erased = behind.clone()
        erased[:, :, inside] = token
        silent = torch.zeros_like(first.time_attn.proj.bias).expand(*x.shape[:3], -1)
        added = first.mixed(x)
        added = torch.cat([added[..., : added.shape[-1] // 2], first.time_attn.proj(silent)], dim=-1)
        less = x + added
        less = less + first.ff(first.pre_ff_norm(less))
        expected = [second(x), second(erased), second(less)]
    for resume in (True, False):
        clean, changed = edited(made, few, rows, changes, "blocks.1", "flatten", resume=resume)
        assert all(np.abs(one - clean).max() > 1e-3 for one in changed)
        for one, by in zip(changed, expected, strict=True):
            np.testing.assert_allclose(one, by[:, :, inside].flatten(1), atol=1e-5)
    for layer in ("codec", "sources", "levels.1"):
        clean, changed = edited(made, few, rows, changes, layer, "flatten")
        assert all(np.array_equal(one, clean) for one in changed)
    clean, changed = edited(made, few, rows, changes, "blocks.0", "flatten")
    assert [np.array_equal(one, clean) for one in changed] == [False, True, False]


def test_a_tokenizer_has_no_blocks_and_says_so(trained, stimuli):
    table = bb.lens(encoder(trained, trained[1].key), stimuli)
    assert len(table) == 0 and len(set(table.attrs["reasons"].values())) == 1
    assert "a tokenizer has no blocks" in table.attrs["reasons"]["r_attn"]


def test_long_signals_are_read_in_smaller_batches(trained, stimuli, monkeypatch):
    monkeypatch.setattr("brainbench.encoders.sensors.PATTERNS", 3 * 4 * 2 * (3 * 32) ** 2)
    made = encoder(trained, trained[2].key)
    made.features(stimuli.take(np.arange(2)), ["blocks.1"])
    assert made.batch_size() == 3


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
