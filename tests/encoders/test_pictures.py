"""Networks of pictures in transformers and torchvision, small, with random weights, saved to disk."""

import json

import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.encoders.check import check_encoder
from tests.encoders.tiny import features, images, make, photographs, write_vision

PICTURES = images()
KINDS = {
    "vit": (1, "cls", []),
    "deit": (2, "cls", []),
    "beit": (1, "cls", []),
    "dinov2": (1, "cls", []),
    "dinov2_with_registers": (5, "cls", []),
    "dinov3_vit": (4, "cls", []),
    "siglip": (0, None, ["reads the part 'vision_model' of SiglipModel"]),
    "siglip_vision_model": (0, None, []),
    "clip": (1, "cls", ["reads the part 'vision_model' of CLIPModel"]),
    "clip_vision_model": (1, "cls", []),
}


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_the_librarys_hidden_states(kind, tmp_path):
    n_prefix, class_token, said = KINDS[kind]
    encoder = make("image", model=str(write_vision(kind, tmp_path)), batch_size=2)
    mean = features(encoder, PICTURES)
    pixels = encoder.processor(list(photographs()), return_tensors="pt", input_data_format="channels_last")
    with torch.inference_mode():
        states = encoder.network(**pixels, output_hidden_states=True).hidden_states
    layers = [layer.name for layer in encoder.layers()]
    assert len(layers) == 4 and layers[0] == "stem"
    # The last state may be what a final norm makes of the last layer.
    for name, state in zip(layers[:-1], states, strict=False):
        np.testing.assert_allclose(mean[name], state[:, n_prefix:].mean(1), atol=1e-5)
        if class_token:
            np.testing.assert_allclose(features(encoder, PICTURES, [name], "cls")[name], state[:, 0], atol=1e-5)
    last = encoder.run(encoder.inputs(PICTURES, range(5)), [encoder.taps[-1]])[layers[-1]]
    np.testing.assert_allclose(mean[layers[-1]], last[:, n_prefix:].mean(1), atol=1e-5)
    norm = getattr(encoder.network, "norm", torch.nn.Identity())
    assert any(torch.allclose(of(last), states[-1], atol=1e-5) for of in (torch.nn.Identity(), norm))
    assert encoder.pools == (("cls", "mean", "flatten") if class_token else ("mean", "flatten"))
    assert all(one in encoder.note for one in said)
    assert states[0].shape[1] - n_prefix == 16
    assert encoder.weight_files() and not encoder.untrained


def test_a_vit_of_transformers_keeps_the_contract(tmp_path):
    folder = write_vision("deit", tmp_path)
    check_encoder(lambda: make("image", model=str(folder)), PICTURES)
    check_encoder(lambda: make("image", model=str(folder), weights="random"), PICTURES)


def test_pictures_are_prepared_by_the_models_own_processor(tmp_path):
    folder = write_vision("vit", tmp_path)
    one = make("image", model=str(folder))
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "image_mean": [0.1, 0.2, 0.3]}))
    other = make("image", model=str(folder))
    assert one.digest() != other.digest()
    assert not np.allclose(features(one, PICTURES)["stem"], features(other, PICTURES)["stem"])
    np.testing.assert_allclose(
        other.prepare([np.full((9, 9, 3), 51, np.uint8)])[0, :, 0, 0],
        (0.2 - np.array([0.1, 0.2, 0.3])) / 0.5,
        atol=1e-6,
    )


def test_pictures_that_a_processor_leaves_of_several_sizes_are_one_message(tmp_path):
    folder = write_vision("dinov2", tmp_path)
    path = folder / "preprocessor_config.json"
    kept = {**json.loads(path.read_text()), "do_resize": False}
    path.write_text(json.dumps(kept))
    encoder = make("image", model=str(folder))
    pictures = [np.zeros((64, width, 3), np.uint8) for width in (64, 80)]
    assert encoder.prepare(pictures[:1]).shape[-1] == 64
    with pytest.raises(UserError, match=r"64 x 64, 80 x 64 pixels do not fit into one batch: the network's ViT"):
        encoder.prepare(pictures)


def test_what_cannot_be_read_is_refused_by_name(tmp_path):
    folder = write_vision("vit", tmp_path / "vit")
    with pytest.raises(UserError, match=r"image_size: the processor of .* says how large pictures become"):
        make("image", model=str(folder), image_size=64)
    with pytest.raises(UserError, match=r"weights: 'x.pth': a model of transformers .* allowed: pretrained, random"):
        make("image", model=str(folder), weights="x.pth")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"preprocessing of the model .* could not be loaded"):
        make("image", model=str(folder))
    masked = write_vision("vit_mae", tmp_path / "mae")
    with pytest.raises(UserError, match=r"ViTMAEModel gives .* for a picture of 16 patches and 1 tokens before them"):
        make("image", model=str(masked))


def test_a_checkpoint_that_lacks_a_block_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = write_vision("vit", tmp_path)
    path = folder / "model.safetensors"
    state = {name: value for name, value in load_file(path).items() if ".1." not in name}
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"its layers need .* of those that are missing"):
        make("image", model=str(folder))


# torchvision -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (
            "alexnet",
            ["features.1", "features.4", "features.7", "features.9", "features.11", "classifier.2", "classifier.5"],
        ),
        ("torchvision:resnet18", ["layer1", "layer2", "layer3", "layer4"]),
    ],
)
def test_layers_are_torchvisions_own(model, names):
    from torchvision.models.feature_extraction import create_feature_extractor

    encoder = make("image", model=model, weights="random", image_size=64)
    assert [layer.name for layer in encoder.layers()] == ["stem", *names]
    found = features(encoder, PICTURES)
    with torch.inference_mode():
        own = create_feature_extractor(encoder.network, names)(encoder.prepare(list(photographs())))
    for name, value in own.items():
        np.testing.assert_allclose(found[name], value.mean((2, 3)) if value.ndim == 4 else value, atol=1e-5)
    assert encoder.untrained


def test_torchvision_models_are_prepared_as_their_weights_ask():
    from torchvision.models import AlexNet_Weights

    image = photographs(1, height=60, width=45)[0]
    encoder = make("image", model="alexnet", weights="random")
    theirs = AlexNet_Weights.DEFAULT.transforms()(torch.from_numpy(image).permute(2, 0, 1))
    np.testing.assert_allclose(encoder.prepare([image])[0], theirs, atol=1e-6)


def test_torchvision_models_see_the_same_part_of_a_picture_at_every_size():
    bright = np.zeros((256, 256, 3), np.uint8)
    bright[:24] = 255  # inside the crop of 224 from 256, outside of one of 112 from 256
    for size in (56, 112, 224, 448):
        encoder = make("image", model="torchvision:resnet18", weights="random", image_size=size)
        seen = encoder.prepare([bright])[0, 0]
        assert float((seen.mean(1) > 0).float().mean()) == pytest.approx(8 / 224, abs=0.01)


def test_torchvision_has_no_such_model():
    with pytest.raises(UserError, match=r"torchvision .* has no model 'alexnett'; did you mean 'alexnet'"):
        make("image", model="torchvision:alexnett", weights="random")
