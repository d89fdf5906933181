"""Networks of trials as encoders: the contract, their taps, and the whole way to a report of layers."""

import json
import os
import shutil
import signal

import numpy as np
import pandas as pd
import pytest

import brainbench as bb
from brainbench.commands.plan import plan
from brainbench.core.errors import UserError
from brainbench.encoders.base import open_encoder
from brainbench.encoders.check import check_encoder
from brainbench.networks import training as loop
from tests.data.test_trials import folder, write_folder
from tests.figures import undrawn
from tests.processes import SERVER

pytest.importorskip("mne")
EEGNET = {"decoder": "braindecode", "model": "EEGNet", "max_epochs": 2, "batch_size": 8}
POWER = {"bands": {"alpha": [8.0, 13.0]}, "groups": {"left": ["C3"], "right": ["C4"]}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two runs to look at (recordings.csv) and two to train on (other.csv), of one folder."""
    path = write_folder(tmp_path_factory.mktemp("eeg"), runs=4)
    table = pd.read_csv(path / "recordings.csv")
    table.iloc[:2].to_csv(path / "recordings.csv", index=False)
    table.iloc[2:].to_csv(path / "other.csv", index=False)
    events = pd.read_csv(path / "events.csv")
    mine = events["path"].isin(table["path"].iloc[:2])
    events[mine].to_csv(path / "events.csv", index=False)
    events[~mine].to_csv(path / "other_events.csv", index=False)
    return path


def encoder(root, decoder=EEGNET, tmax=2.0, montage=None, **settings):
    recordings = {
        "name": "eeg-folder", "root": str(root), "recordings": "other.csv", "events": "other_events.csv", "tmin": 0.0,
        "tmax": tmax, "montage": montage,
    }  # fmt: skip
    return open_encoder(
        {"name": "net", "family": "eeg", "decoder": decoder, "trained_on": recordings, **settings}, device="cpu"
    )


def signals(root):
    return folder(root, tmin=0.0, tmax=2.0, band_power=POWER).stimuli("s1")


@pytest.mark.parametrize("weights", ["trained", "random"])
def test_the_contract(root, weights):
    check_encoder(lambda: encoder(root, weights=weights), signals(root))


def test_trials_that_are_too_short_for_the_network(root):
    with pytest.raises(UserError, match=r"encoder 'net': trials of 20 samples .* reads 27 samples"):
        encoder(root, tmax=0.2)


def test_the_contract_of_the_control(root):
    settings = {"name": "power", "family": "band_power", "bands": POWER["bands"]}
    check_encoder(lambda: open_encoder(settings, device="cpu"), signals(root))


def test_training_changes_layers_and_the_untrained_says_so(root):
    trained, untrained, stimuli = encoder(root), encoder(root, weights="random"), signals(root)
    assert not trained.untrained and untrained.untrained and trained.digest() != untrained.digest()
    assert "trained here on 22 trials of s1 from 2 other recordings" in trained.note and "random" in untrained.note
    a, b = (one.features(stimuli, ["input", "conv_temporal"]) for one in (trained, untrained))
    assert np.allclose(a["input"], b["input"]) and not np.allclose(a["conv_temporal"], b["conv_temporal"])


def test_taps_leave_out_what_changes_nothing_and_take_power_over_time(root):
    made, stimuli = encoder(root, weights="random"), signals(root)
    names = [layer.name for layer in made.layers()]
    assert names[0] == "input" and names[-1] == "final_layer"
    assert not {"ensuredims", "dimshuffle", "drop_1", "drop_2"} & set(names)
    found = made.features(stimuli)
    assert found["input"].shape == (22, 4) and found["conv_temporal"].shape == (22, 8 * 4)
    assert found["final_layer"].shape == (22, 2)
    X = np.stack([stimuli.load(i) for i in range(22)]) * 1e6
    expected = np.log10(np.square(X / made._classifier().scale_).mean(axis=-1))
    assert np.allclose(found["input"], expected, atol=1e-4)


@pytest.mark.parametrize(
    "decoder",
    [
        {"decoder": "mvcnet", "max_epochs": 1, "views": ["time"]},
        {"decoder": "rbtransformer", "max_epochs": 1, "width": 16, "depth": 2},
        {"decoder": "duin", "max_epochs": 1, "depth": 2, "n_filters": 8, "n_neural": 4, "n_heads": 2, "head_width": 8},
        {"decoder": "braindecode", "model": "ShallowFBCSPNet", "max_epochs": 1},
        {"decoder": "braindecode", "model": "EEGConformer", "max_epochs": 1},
    ],
    ids=["mvcnet", "rbtransformer", "duin", "shallow", "conformer"],
)
def test_any_network(root, decoder):
    made = encoder(root, decoder, weights="random")
    found = made.features(signals(root))
    assert len(found) >= 3 and all(np.isfinite(values).all() and len(values) == 22 for values in found.values())


SMALL = {"max_epochs": 1, "parameters": {"patch_size": 50, "embed_dim": 40, "num_layers": 2, "num_heads": 4}}


@pytest.mark.parametrize(
    ("decoder", "units"),
    [
        ({"decoder": "rbtransformer", "max_epochs": 1, "width": 16, "depth": 2}, {"cm"}),
        ({"decoder": "duin", "max_epochs": 1, "depth": 2, "n_filters": 8, "n_neural": 4, "n_heads": 2, "head_width": 8,
          "patch": 0.2}, {"ms"}),
        ({"decoder": "braindecode", "model": "Labram", **SMALL}, {"cm", "ms"}),
        ({"decoder": "braindecode", "model": "LUNA", "max_epochs": 1}, {"ms"}),
    ],
    ids=["rbtransformer", "duin", "labram", "luna"],
)  # fmt: skip
def test_the_lens_reads_blocks_that_it_knows(root, decoder, units):
    """Places of tokens are those of the sensors and stretches that move them most; a class token is none."""
    made = encoder(root, decoder, montage="standard_1005", weights="random")
    stimuli = folder(root, tmin=0.0, tmax=2.0, band_power=POWER, montage="standard_1005").stimuli("s1")
    stimuli = stimuli.take(np.arange(4))
    table = bb.lens(made, stimuli, diagnostics=["stream", "attention", "units"])
    assert len(table) >= 2 and table["layer"].str.contains("blocks").all()
    assert np.isfinite(table[["r_attn", "r_mlp", "nmi", "attn_entropy", "n95"]]).all(axis=None)
    assert np.isfinite(table["distance_cm"]).all() == ("cm" in units)
    assert np.isfinite(table["lag_ms"]).all() == ("ms" in units)
    inputs = made.inputs(stimuli, range(1))
    assert set(inputs.places) == units
    if decoder["decoder"] == "rbtransformer":
        positions = np.array([channel["loc"][:3] for channel in stimuli.layout.info["chs"]])
        np.testing.assert_allclose(inputs.places["cm"], 100 * positions, rtol=1e-5)
        return
    # Whose samples move a token most, before any attention.
    given = {}
    (x,) = inputs.args
    x = x.clone().requires_grad_(True)
    handle = made.network.get_submodule(made.stream[0].module).register_forward_pre_hook(
        lambda _module, args: given.setdefault("tokens", args[0])
    )
    made.network(x)
    handle.remove()
    channels, (n_prefix, n_tokens) = stimuli.layout.info["chs"], (made.stream[1].n_prefix, given["tokens"].shape[1])
    assert all(len(places) == n_tokens for places in inputs.places.values())
    for token in range(n_prefix, n_tokens):
        x.grad = None
        given["tokens"][0, token].square().sum().backward(retain_graph=True)
        size = x.grad[0].square()
        if "cm" in units:
            most = channels[int(size.sum(1).argmax())]
            np.testing.assert_allclose(inputs.places["cm"][token], 100 * most["loc"][:3], rtol=1e-5)
        times = 10 * (np.arange(x.shape[-1]) + 0.5)  # 100 samples per second
        length = 2 * float(inputs.places["ms"][n_prefix])
        inside = np.abs(times - float(inputs.places["ms"][token])) < length / 2
        assert float(size.sum(0)[inside].sum()) > 0.5 * float(size.sum())


def test_the_lens_of_other_networks_says_why_it_is_empty(root):
    table = bb.lens(encoder(root, weights="random"), signals(root), diagnostics=["stream"])
    assert len(table) == 0 and "sites of its blocks are not known" in table.attrs["reasons"]["r_attn"]


def test_as_many_channels_are_not_the_same_ones(root):
    made = encoder(root, weights="random")
    other = folder(root, tmin=0.0, tmax=2.0, band_power=POWER, channels=["Cz", "C3", "C4", "Pz"]).stimuli("s1")
    with pytest.raises(UserError, match=r"encoder 'net': training and .* differ .*stand in another order"):
        made.features(other, ["input"])


RECIPE = """
kind: encode
dataset:
  name: eeg-folder
  root: {root}
  tmin: 0.0
  tmax: 2.0
  band_power: {{bands: {{alpha: [8.0, 13.0]}}, groups: {{left: [C3], right: [C4]}}}}
hold_out: [run]
encoders:
  - name: eegnet
    family: eeg
    decoder: {{decoder: braindecode, model: EEGNet, max_epochs: 4, batch_size: 8}}
    trained_on: {trained_on}
    layers: [input, conv_temporal, final_layer]
  - {{name: power, family: band_power, bands: {{alpha: [8.0, 13.0]}}}}
significance: {{n_permutations: 99}}
bootstrap: {{n_draws: 50}}
"""


def run_recipe(root, folder):
    text = RECIPE.format(root=root, trained_on="{recordings: other.csv, events: other_events.csv}")
    folder.mkdir(exist_ok=True)
    (folder / "x.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        undrawn(patch)
        return bb.run(str(folder / "x.yaml"), out=folder / "run", cache=folder / "cache")


@pytest.fixture(scope="module")
def done(root, tmp_path_factory):
    return run_recipe(root, tmp_path_factory.mktemp("whole"))


def test_from_recipe_to_report(done):
    rows = done.scores[(done.scores["fold"] == "all") & (done.scores["metric"] == "pearson_r")]
    value = rows.set_index(["encoder", "layer", "roi"])["value"]
    # The rhythm that tells the classes apart is the power of these electrodes.
    assert value["power", "power", "left alpha"] > 0.9 and value["eegnet", "conv_temporal", "left alpha"] > 0.8
    (network,) = (done.path.parent / "cache" / "networks").glob("*.json")
    report = (done.path / "report.html").read_text()
    assert "trained here on 22 trials of s1" in report and f"key {network.stem}; epoch " in report
    data = [(row["subject"], row["run"], row["used"]) for row in done.facts["data"]]
    trained = [(f"{who}, trains eegnet", f"r{number}", used) for number, (who, _, used) in enumerate(data[:2], start=2)]
    assert data[2:] == trained and "11 trials (6 left, 5 right), 4 channels" in report
    facts = json.loads(network.read_text())
    best = facts["training"]["history"][facts["training"]["best_epoch"] - 1]["validation_accuracy"]
    assert f"{best:.0%} of the trials kept for validation right" in report


def test_training_is_a_unit_that_the_plan_counts(root, tmp_path):
    text = RECIPE.format(root=root, trained_on="{recordings: other.csv, events: other_events.csv}")
    (tmp_path / "x.yaml").write_text(text)
    planned = plan(tmp_path / "x.yaml", out=tmp_path / "run", cache=tmp_path / "cache")
    assert planned.units["train"] == (1, 1) and not (tmp_path / "cache" / "networks").exists()


def run_and_die(root, folder):
    """Run the recipe, and die in the middle of training, when the second checkpoint has been written."""
    loop.CHECKPOINT_S, loop.CHECKPOINT_SHARE = 0.0, np.inf
    save, written = loop._State.save, []

    def save_and_die(state, file, key):
        save(state, file, key)
        written.append(key)
        if len(written) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    loop._State.save = save_and_die
    run_recipe(root, folder)


def test_a_run_that_was_killed_in_training_continues_it_to_the_same_bytes(root, done, tmp_path, monkeypatch):
    process = SERVER.Process(target=run_and_die, args=(root, tmp_path))
    process.start()
    process.join(timeout=300)
    assert process.exitcode == -signal.SIGKILL
    epochs, one_epoch = [], loop._one_epoch

    def count(state, *arguments):
        epochs.append(len(state.trained.history) + 1)
        return one_epoch(state, *arguments)

    monkeypatch.setattr(loop, "_one_epoch", count)
    again = run_recipe(root, tmp_path)
    assert epochs == [3, 4]

    def files(folder):
        return {path.name: path.read_bytes() for path in (folder / "cache" / "networks").iterdir() if path.is_file()}

    assert files(tmp_path) == files(done.path.parent)
    assert (again.path / "scores.csv").read_bytes() == (done.path / "scores.csv").read_bytes()


@pytest.mark.parametrize("copied", [False, True])
def test_recordings_that_are_stimuli_and_training_are_refused_wherever_they_lie(root, tmp_path, copied):
    where = shutil.copytree(root, tmp_path / "copy") if copied else root
    if copied:
        for path in where.glob("*_raw.fif"):
            path.rename(path.with_name(path.name.replace("_raw.fif", "_again_raw.FIF")))
        for name in ("recordings.csv", "events.csv"):
            (where / name).write_text((where / name).read_text().replace("_raw.fif", "_again_raw.FIF"))
    text = RECIPE.format(root=root, trained_on=f"{{subjects: [s1], root: {where}}}")
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match="trained on recordings that are its stimuli too"):
        bb.run(str(tmp_path / "x.yaml"), out=tmp_path / "run", cache=tmp_path / "cache")


@pytest.mark.parametrize("model", ["BIOT", "LUNA"])
def test_modules_that_fold_trials_are_no_layers_and_are_named(root, model):
    """LUNA attends over channels with trials and patches as one axis; BIOT runs its patch embedding per channel."""
    made = encoder(root, decoder={"decoder": "braindecode", "model": model}, weights="random", montage="standard_1005")
    stimuli = signals(root)
    found = made.features(stimuli, ["*"])
    assert {len(values) for values in found.values()} == {len(stimuli)}
    assert ("or fold trials: cross_attn" in made.note) == (model == "LUNA")
    assert "cross_attn" not in found and len(found) == (3 if model == "BIOT" else 14)


def test_branches_are_no_layer_and_are_named(root):
    """MEDFormer cuts a trial into patches of several lengths: the first of them alone would be a part of a layer."""
    made = encoder(root, decoder={"decoder": "braindecode", "model": "MEDFormer"}, weights="random")
    assert "not read, since they give several streams: enc_embedding" in made.note
    assert [tap.name for tap in made.taps] == ["input", "encoder", "activation_layer", "final_layer"]
