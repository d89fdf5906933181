"""braindecode's foundation models get the channels they know, by name and place, and give what they give alone."""

import mne
import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.networks.classifiers import NetworkClassifier
from brainbench.networks.pipelines import Given
from brainbench.networks.pipelines import braindecode as pipeline
from brainbench.networks.zoo.foundation import FOUNDATION, REFUSED, FoundationBuilder
from brainbench.recipes.pipelines import BraindecodeSettings

models = pytest.importorskip("braindecode.models")
NAMES = ["C3", "Cz", "T3", "C4", "XY9"]
SMALL = {
    "Labram": {"num_layers": 1, "embed_dim": 16, "num_heads": 2},
    "BIOT": {"embed_dim": 16, "num_heads": 2, "num_layers": 1},
    "LUNA": {"depth": 1, "embed_dim": 16, "num_queries": 2, "num_heads": 2},
    "SignalJEPA_PreLocal": {},
}


def places(names):
    at = mne.channels.make_standard_montage("colin27_1005").get_positions()["ch_pos"]
    return np.array([at.get(name, at["Fz"]) for name in names])


def builder(model, names=tuple(NAMES), **settings):
    return FoundationBuilder(model, list(names), places(names), parameters=SMALL.get(model, {}), **settings)


def trials(n_times=400):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, len(NAMES), n_times)).astype(np.float32))


@pytest.mark.parametrize("model", SMALL)
def test_a_model_gives_what_it_gives_alone(model):
    network, x = builder(model)(len(NAMES), 2, 400, 200.0).eval(), trials()
    with torch.inference_mode():
        ours = network(x)
        network._forward_pre_hooks.clear()  # the model as braindecode has it
        theirs = network(x[:, :4], ch_names=["C3", "CZ", "T3", "C4"]) if model == "Labram" else network(x)
    assert torch.allclose(ours, theirs, atol=1e-6) and ours.shape == (2, 2)
    said = builder(model).said()
    wanted = "4 of 5 channels are read; left out, since Labram does not know them: XY9; known by name"
    assert said.startswith(wanted if model == "Labram" else "5 of 5 channels are read")
    assert said.endswith("weights: random, trained here")
    assert builder(model, weights="a.safetensors").said().endswith("not the scale that these weights were trained at")


def test_places_are_those_of_the_recording():
    luna = builder("LUNA")(5, 2, 400, 200.0)
    template = luna.build_channel_location_template(5)
    assert np.allclose(template.numpy(), places(NAMES), atol=1e-6)
    bare = models.LUNA(n_chans=5, n_outputs=2, n_times=400, sfreq=200.0, **SMALL["LUNA"])
    assert np.allclose(bare.build_channel_location_template(5).numpy()[:, 0], np.linspace(-1, 1, 5))  # invented


def test_weights_fit_whole_or_not_at_all(tmp_path):
    first = builder("Labram")(5, 2, 400, 200.0)
    file = tmp_path / "labram.pt"
    torch.save({name: tensor + 1 for name, tensor in first.state_dict().items()}, file)
    second = builder("Labram", weights=str(file))(5, 3, 400, 200.0).state_dict()  # three classes in place of two
    for name, tensor in first.state_dict().items():
        assert name.startswith("final_layer.") or torch.equal(second[name], tensor + 1)
    broken = {name: tensor for name, tensor in first.state_dict().items() if name != "cls_token"} | {
        "more": torch.ones(1)
    }
    torch.save(broken, file)
    with pytest.raises(UserError, match=r"does not fit Labram: cls_token is missing; more is left over"):
        builder("Labram", weights=str(file))(5, 2, 400, 200.0)
    with pytest.raises(UserError, match="was trained at 200 samples per second, the trials have 160"):
        builder("Labram", weights=str(file))(5, 2, 400, 160.0)


def test_other_names_are_another_network():
    """The trials may be the same: a network that was trained under other names is not served."""
    X, y = trials().numpy(), np.array([0, 1])
    one, other = (
        NetworkClassifier(builder("Labram", names), sfreq=200.0, random_state=0).describe_training(X, y)
        for names in (NAMES, ["C4", *NAMES[1:3], "C3", "XY9"])
    )
    assert one["first_weights"] == other["first_weights"] and one != other


def test_channels_that_are_missing_are_zero_and_said():
    bendr = builder("BENDR", weights="none.pt")
    index, names = bendr.channels()
    assert len(names) == 20 and [index[names.index(name)] for name in ("C3", "T7", "SCALE")] == [0, 2, -1]
    said = bendr.said()
    assert "4 of 5 channels are read; left out, since BENDR does not know them: XY9; added as zeros: FP1" in said
    assert builder("BENDR").said().startswith("5 of 5 channels are read")  # random weights know no order


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("REVE", {}, r"brain-bzh/reve-positions: positions.json"),
        ("SignalJEPA", {}, "gives tokens and no classes"),
        ("EEGNet", {"weights": "a.pt"}, "`weights` are for foundation models, and EEGNet is none"),
        ("Labram", {"parameters": {"n_layers": 2}}, "did you mean 'num_layers'"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(model, settings, message):
    chosen = BraindecodeSettings(name="x", model=model, **settings)
    with pytest.raises(UserError, match=message):
        pipeline(chosen, Given(200.0, NAMES, positions=places(NAMES)))


def test_what_a_model_must_know_is_asked_for():
    with pytest.raises(UserError, match="asks where channels lie"):
        FoundationBuilder("LUNA", NAMES)(5, 2, 400, 200.0)
    with pytest.raises(UserError, match="Labram knows none of the channels A, B"):
        FoundationBuilder("Labram", ["A", "B"])(2, 2, 400, 200.0)
    with pytest.raises(UserError, match=r"braindecode/STEEGFormer-small: steegformer_channels\.json"):
        builder("STEEGFormer", weights="a.pt")(5, 2, 400, 200.0)
    assert all(hasattr(models, name) for name in (*FOUNDATION, *REFUSED))
