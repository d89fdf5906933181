import pickle
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from brainbench.core.errors import UserError
from brainbench.networks import weights
from brainbench.networks.weights import digest_weights
from tests.encoders.tiny import features, images, make

SETTINGS = {"model": "resnet18", "image_size": 32}


@pytest.fixture(scope="module")
def trained():
    """Stands for a trained network: weights that another seed does not give."""
    return make("image", **SETTINGS, weights="random", seed=7)


def state_of(encoder):
    return {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in encoder.network.state_dict().items()
    }


@pytest.mark.parametrize("form", ["safetensors", "pth", "checkpoint", "parallel"])
def test_a_local_file_gives_the_same_features(trained, tmp_path, form):
    state, path = state_of(trained), tmp_path / ("net.safetensors" if form == "safetensors" else "net.pth")
    if form == "safetensors":
        save_file(state, path)
    elif form == "checkpoint":
        torch.save({"epoch": 3, "state_dict": state}, path)
    else:
        torch.save({f"module.{name}": value for name, value in state.items()} if form == "parallel" else state, path)
    encoder = make("image", **SETTINGS, weights=str(path))
    assert not encoder.untrained and encoder.weight_files() == [path]
    assert encoder.digest() == trained.digest()
    expected = features(trained, images())
    for name, values in features(encoder, images()).items():
        np.testing.assert_array_equal(values, expected[name])


@pytest.mark.parametrize("change", ["none", "ten classes"])
def test_a_classifier_of_another_size_is_dropped(trained, tmp_path, change):
    state, path = state_of(trained), tmp_path / "net.safetensors"
    if change == "none":
        del state["fc.weight"], state["fc.bias"]
    else:
        state["fc.weight"], state["fc.bias"] = torch.zeros(10, 512), torch.zeros(10)
    save_file(state, path)
    found = features(make("image", **SETTINGS, weights=str(path)), images())
    np.testing.assert_array_equal(found["layer4"], features(trained, images())["layer4"])


def refused(tmp_path, message, name="net.pth"):
    with pytest.raises(UserError, match=message):
        make("image", **SETTINGS, weights=str(tmp_path / name))


def test_weights_of_another_network_are_refused(trained, tmp_path):
    other = make("image", model="resnet34", weights="random", image_size=32)
    save_file(state_of(other), tmp_path / "net.safetensors")
    refused(tmp_path, r"does not fit ResNet: layer1\.2\..* is left over.*; and \d+ more", "net.safetensors")
    state = state_of(trained)
    del state["conv1.weight"]
    state["bn1.weight"] = torch.ones(3)
    torch.save(state, tmp_path / "net.pth")
    refused(tmp_path, r"conv1\.weight is missing; bn1\.weight is \(3,\), not \(64,\)")


class Evil:
    """What a pickle may do when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_is_never_run(tmp_path):
    touched = tmp_path / "touched"
    torch.save({"conv1.weight": Evil(str(touched))}, tmp_path / "net.pth")
    refused(tmp_path, "cannot be read")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Evil(str(touched))))
    refused(tmp_path, "cannot be read", "raw.pth")
    assert not touched.exists()


@pytest.mark.parametrize("value", [torch.ones(3), [torch.ones(3)], 5])
def test_a_file_without_named_tensors_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "net.pth")
    refused(tmp_path, r"net\.pth.*holds no state dict")


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 half a zip"])
def test_a_damaged_file_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path, "cannot be read", name)


def test_missing_files_and_unknown_words(tmp_path):
    refused(tmp_path, r"net\.pth does not exist")
    with pytest.raises(UserError, match="weights 'imagenet' are none of pretrained, installed, random, or a file"):
        make("image", **SETTINGS, weights="imagenet")


def test_digest_sees_names_shapes_types_and_bytes():
    def digest(**tensors):
        module = torch.nn.Module()
        for name, tensor in tensors.items():
            module.register_buffer(name, tensor)
        return digest_weights(module)

    zeros = torch.zeros(2, 3)
    found = [
        digest(a=zeros), digest(b=zeros), digest(a=zeros.reshape(3, 2)), digest(a=zeros.double()),
        digest(a=zeros.to(torch.bfloat16)), digest(a=zeros.to(torch.float16)), digest(a=-zeros),
        digest(a=zeros, b=zeros), digest(a=torch.zeros(0)),
    ]  # fmt: skip
    assert len(set(found)) == len(found)
    assert digest(a=torch.arange(6.0).reshape(3, 2).T) == digest(a=torch.arange(6.0).reshape(3, 2).T.contiguous())


# The hub -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """An endpoint where nothing listens, and an empty cache."""
    from huggingface_hub import constants

    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize(
    ("family", "settings", "what"),
    [
        ("image", {"model": "resnet18.a1_in1k"}, "weights of timm model 'resnet18.a1_in1k'"),
        ("text", {"model": "nobody/no-such-model"}, "model 'nobody/no-such-model'"),
    ],
)
def test_without_network_a_hub_model_is_refused_at_once(no_network, family, settings, what):
    from huggingface_hub import constants

    before, start = constants.HF_HUB_OFFLINE, time.monotonic()
    with pytest.raises(UserError) as caught:
        make(family, **settings)
    assert time.monotonic() - start < 10
    assert str(caught.value).startswith(f"encoder 'mine': {what} could not be loaded: the hub cannot be reached")
    assert "installed" in caught.value.hint and "Traceback" not in str(caught.value)
    assert constants.HF_HUB_OFFLINE == before


def test_other_errors_of_the_hub_keep_their_first_line(monkeypatch):
    monkeypatch.setattr(weights, "_reachable", lambda endpoint: True)
    with pytest.raises(UserError, match="that could not be loaded: OSError: no such repository") as caught:
        with weights.hub("that"):
            raise OSError("no such repository\nmore lines")
    assert caught.value.message.count("\n") == 0
    with pytest.raises(UserError, match="as it was"):
        with weights.hub("that"):
            raise UserError("as it was")
    with pytest.raises(UserError, match="that could not be loaded: TimeoutError"), weights.hub("that"):
        raise TimeoutError  # without a message
