import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image

from brainbench.core.errors import UserError
from brainbench.encoders.pixels import square
from tests.encoders.tiny import features, images, make, photographs, stimuli_of

RESNET = {"model": "resnet18", "weights": "random", "image_size": 32}
VIT = {"model": "vit_tiny_patch16_224", "weights": "random", "image_size": 32}


@pytest.mark.parametrize(
    ("photograph", "label", "sure"), [("flower.jpg", 985, 0.12), ("china.jpg", 442, 0.2), ("coffee", 967, 0.85)]
)
def test_the_installed_network_still_classifies(photograph, label, sure):
    """ImageNet: 985 is a daisy, 442 a bell cote, 967 an espresso.

    Wrongly mapped weights would not say so; with symmetric padding or ImageNet's mean it is less sure or wrong.
    """
    encoder = make("image", weights="installed")
    if photograph == "coffee":
        image = pytest.importorskip("skimage.data").coffee()
    else:
        image = load_sample_image(photograph)
    with torch.inference_mode():
        scores = encoder.network(encoder.prepare([image]))
    assert scores.shape == (1, 1000)
    assert int(scores.argmax()) == label
    assert float(scores.softmax(1).max()) > sure
    assert not encoder.untrained and [path.suffix for path in encoder.weight_files()] == [".pth"]


def test_installed_weights_are_of_one_model():
    with pytest.raises(
        UserError, match=r"`weights: installed` exists for tf_efficientnet_lite0 only, not for 'resnet18'"
    ):
        make("image", model="resnet18", weights="installed")


def plain_hooks(network, blocks, pixels):
    """The input of the first block and the output of each, by hooks of the plainest kind, cloned."""
    found, handles = {}, []
    modules = dict(network.named_modules())
    handles.append(modules[blocks[0]].register_forward_pre_hook(lambda m, a: found.setdefault("stem", a[0].clone())))
    for name in blocks:
        handles.append(modules[name].register_forward_hook(lambda m, a, o, name=name: found.update({name: o.clone()})))
    with torch.inference_mode():
        network(pixels)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize(
    ("settings", "blocks"),
    [
        (RESNET, [f"layer{k}" for k in (1, 2, 3, 4)]),
        (VIT, [f"blocks.{k}" for k in range(12)]),
        ({"weights": "installed", "image_size": 64}, [f"blocks.{k}" for k in range(7)]),
    ],
    ids=["resnet", "vit", "efficientnet"],
)
def test_all_layers_equal_plain_forward_hooks(settings, blocks):
    encoder, stimuli = make("image", **settings, batch_size=8), images()
    found = features(encoder, stimuli)
    taps = plain_hooks(encoder.network, blocks, encoder.prepare(list(photographs())))
    assert list(found) == ["stem", *blocks]
    for name, value in taps.items():
        expected = value.mean((2, 3)) if value.ndim == 4 else value[:, 1:].mean(1)
        np.testing.assert_allclose(found[name], expected.numpy(), rtol=1e-5, atol=1e-6)
    flat = features(encoder, stimuli, pool="flatten")
    for name, value in taps.items():
        np.testing.assert_array_equal(flat[name], value.flatten(1).numpy())
    if "cls" in encoder.pools:
        token = features(encoder, stimuli, pool="cls")
        np.testing.assert_array_equal(token["blocks.5"], taps["blocks.5"][:, 0].numpy())


def test_taps_are_numbered_from_the_input_of_the_first_block():
    layers = make("image", **RESNET).layers()
    assert [(layer.name, layer.depth, layer.width) for layer in layers] == [
        ("stem", 0.0, 64), ("layer1", 0.25, 64), ("layer2", 0.5, 128), ("layer3", 0.75, 256), ("layer4", 1.0, 512)
    ]  # fmt: skip
    layers = make("image", **VIT).layers()
    assert [layer.depth for layer in layers] == [t / 12 for t in range(13)]
    assert {layer.width for layer in layers} == {192}


def test_one_forward_pass_a_batch():
    encoder = make("image", **RESNET, batch_size=2)
    encoder.layers()  # widths come from a pass without numbers
    passes = []
    encoder.network.register_forward_hook(lambda module, args, output: passes.append(len(args[0])))
    features(encoder, images(5))
    assert passes == [2, 2, 1]


def test_batch_size_changes_last_digits_at_most():
    one, many = (features(make("image", **RESNET, batch_size=size), images()) for size in (1, 5))
    for name in one:
        np.testing.assert_allclose(one[name], many[name], atol=1e-5 * np.abs(many[name]).max())


def test_random_weights_follow_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    encoder = make("image", **RESNET, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert encoder.untrained and not encoder.network.training
    assert encoder.digest() == make("image", **RESNET, seed=1).digest()
    assert encoder.digest() != make("image", **RESNET, seed=2).digest()


def test_preprocessing_is_part_of_the_digest():
    digests = {make("image", **{**RESNET, "image_size": size}).digest() for size in (32, 48)}
    assert len(digests) == 2
    assert make("image", **RESNET).digest() == make("image", **RESNET, pool="flatten", layers=["stem"]).digest()


def test_prepare_normalises_as_the_model_asks():
    encoder = make("image", **RESNET)
    image = np.full((32, 32, 3), (255, 128, 0), dtype=np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (np.array([255, 128, 0]) / 255 - mean) / std
    pixels = encoder.prepare([image])
    assert pixels.shape == (1, 3, 32, 32) and pixels.dtype == torch.float32
    np.testing.assert_allclose(pixels[0, :, 7, 9].numpy(), expected, rtol=1e-5)


def test_the_whole_image_is_resized_and_no_border_cropped():
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, :16] = 255  # an eighth of the width
    small = square(image, 32, 32)
    assert small.shape == (32, 32, 3)
    np.testing.assert_array_equal(small[:, :3], 255)
    np.testing.assert_array_equal(small[:, 6:], 0)


def test_layers_by_glob_in_order_of_depth():
    encoder = make("image", **RESNET)
    assert [layer.name for layer in encoder.select(["layer4", "st*", "layer[12]"])] == [
        "stem",
        "layer1",
        "layer2",
        "layer4",
    ]
    with pytest.raises(UserError, match="layer pattern 'layer9' matches none of its 5 layers; did you mean") as caught:
        encoder.select(["stem", "layer9"])
    assert "layers: stem, layer1, layer2, layer3, layer4" in str(caught.value)


def test_an_unknown_model_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="has no model 'resnet19'; did you mean 'resnet1"):
        make("image", model="resnet19", weights="random")


def test_a_convolutional_network_has_no_class_token():
    with pytest.raises(UserError, match="cannot pool by 'cls'; allowed: mean, flatten"):
        features(make("image", **RESNET), images(), pool="cls")


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3))])
def test_what_is_no_image_is_refused_by_name(image):
    good = photographs()
    with pytest.raises(UserError, match=r"stimulus 's2': an image must be uint8 of shape \(height, width, 3\)"):
        features(make("image", **RESNET), stimuli_of([good[0], good[1], image], "image"))


def test_other_modalities_are_refused():
    with pytest.raises(UserError, match="'mine' reads image stimuli, the data set has text stimuli"):
        features(make("image", **RESNET), stimuli_of(["a", "b"], "text"))


@pytest.mark.parametrize("settings", [RESNET, VIT])
@pytest.mark.parametrize("pool", ["mean", "flatten"])
def test_the_differentiable_path_gives_the_same_features_and_their_gradient(settings, pool):
    encoder = make("image", **settings)
    layer = encoder.layers()[2].name
    shown = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    expected = encoder.features(list(shown), [layer], pool)[layer]
    forward = encoder.differentiable(layer, pool)
    pictures = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).float() / 255
    np.testing.assert_allclose(forward(pictures).numpy(), expected, rtol=1e-3, atol=1e-4)
    # Larger pictures are resized as `encode` resizes them, but for the rounding of pixels.
    large = photographs(2, height=84, width=80)
    pictures = torch.from_numpy(np.stack(large)).permute(0, 3, 1, 2).float() / 255
    found, expected = forward(pictures).numpy(), encoder.features(list(large), [layer], pool)[layer]
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999
    pictures.requires_grad_()
    forward(pictures)[0].sum().backward()
    assert pictures.grad[0].abs().max() > 0 and not pictures.grad[1].any()


@pytest.mark.parametrize("model", ["resnet18.a1_in1k", "resnet18.tv_in1k"])
def test_the_differentiable_path_resizes_as_the_network_asks(model):
    encoder = make("image", model=model, weights="random", image_size=64)
    assert encoder.parameters()["interpolation"] == ("bilinear" if "tv" in model else "bicubic")
    large, layer = photographs(2, height=300, width=300), encoder.layers()[2].name
    pictures = torch.from_numpy(large).permute(0, 3, 1, 2).float() / 255
    found, expected = encoder.differentiable(layer, "mean")(pictures).numpy(), encoder.features(list(large), [layer])
    assert np.abs(found - expected[layer]).max() < 0.002 * np.abs(expected[layer]).max()


def test_a_network_with_convolutions_over_volumes_opens():
    encoder = make("image", model="lambda_resnet26t", weights="random", image_size=64)
    assert any(tensor.dim() == 5 for tensor in encoder.network.state_dict().values())


@pytest.mark.parametrize(
    ("model", "size", "said"),
    [
        ("test_vit", 33, "does not run on two stimuli of its own kind .*33.* divisible by patch size"),
        ("nest_tiny", 33, "image_size: 33: 'nest_tiny' cannot be built for it .*must divide `img_size` evenly"),
    ],
)
def test_a_size_that_a_network_does_not_take_is_refused(model, size, said):
    with pytest.raises(UserError, match=said) as caught:
        make("image", model=model, weights="random", image_size=size)
    assert "patches divide it" in str(caught.value.hint)
