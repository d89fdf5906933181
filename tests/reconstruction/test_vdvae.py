import numpy as np
import pytest
import torch
from pydantic import ValidationError

from brainbench.core.digests import digest_file
from brainbench.core.errors import UserError
from brainbench.recipes.reconstruction import CODECS, codec_settings
from brainbench.reconstruction.codecs.vdvae_network import MEAN, STD, Architecture, VeryDeepVae, sample_pixels
from tests.reconstruction.pretrained_models import pictures

TINY = {
    "codec": "vdvae", "weights": "random", "encoder_blocks": "16x1,16d2,8x1,8d4,2d2,1x1",
    "decoder_blocks": "1x1,2m1,8m2,8x1,16m8,16x1", "width": 16, "z_channels": 3, "n_layers": 4, "n_mixtures": 2,
}  # fmt: skip


def codec(seed=0, **options):
    return CODECS.builder("vdvae")(codec_settings(TINY | options), seed, "cpu")


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_the_official_size():
    settings = codec_settings({"codec": "vdvae", "weights": "random"})
    sizes = Architecture.of(settings)
    with torch.device("meta"):
        network = VeryDeepVae(sizes)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 1) == 125.0
    shapes = sizes.shapes(31)
    assert sum(int(np.prod(shape)) for shape in shapes) == 91_168
    assert [sum(shape[1] == side for shape in shapes) for side in (1, 4, 8, 16, 32, 64)] == [2, 4, 8, 16, 1, 0]
    assert len(sizes.decoder) == 75 and sizes.image_size == 64
    names = list(network.state_dict())
    for name in (
        "encoder.in_conv.weight", "encoder.enc_blocks.0.c1.weight", "decoder.dec_blocks.74.enc.c4.bias",
        "decoder.dec_blocks.0.prior.c4.weight", "decoder.dec_blocks.3.z_proj.weight", "decoder.bias_xs.5",
        "decoder.out_net.out_conv.weight", "decoder.gain", "decoder.bias", "decoder.dec_blocks.9.resnet.c2.bias",
    ):  # fmt: skip
        assert name in names
    assert network.state_dict()["decoder.out_net.out_conv.weight"].shape == (100, 512, 1, 1)
    assert network.encoder.enc_blocks[-1].c2.kernel_size == (1, 1)
    assert network.encoder.enc_blocks[0].c2.kernel_size == (3, 3)


def test_shapes_range_seeds_and_order():
    ours, images = codec(), pictures(4, 16)
    latents = ours.encode(images)
    assert latents.shape == (4, ours.n_latents) == (4, 3 * (1 + 4 + 64 + 64)) and latents.dtype == np.float32
    decoded = ours.decode(latents, [1, 2, 3, 4])
    assert decoded.shape == images.shape and 0 <= decoded.min() and decoded.max() <= 1
    np.testing.assert_array_equal(decoded, ours.decode(latents, [1, 2, 3, 4]))
    np.testing.assert_allclose(ours.decode(latents[[2, 0]], [3, 1]), decoded[[2, 0]], atol=1e-5)
    assert np.abs(ours.decode(latents, [1, 2, 3, 5])[3] - decoded[3]).max() > 1e-3
    assert ours.untrained and ours.parameters()["n_latents"] == ours.n_latents
    assert codec(seed=1).parameters()["weights"] != ours.parameters()["weights"]


def test_latents_are_means_or_seeded_samples():
    images = pictures(3, 16)
    mean, drawn = codec(), codec(latents="sample")
    np.testing.assert_array_equal(mean.encode(images), mean.encode(images))
    sample = drawn.encode(images)
    np.testing.assert_array_equal(sample, drawn.encode(images))
    np.testing.assert_allclose(drawn.encode(images[[2, 1]]), sample[[2, 1]], atol=1e-5)
    assert np.abs(sample - mean.encode(images)).max() > 0.1
    # The first layer's samples scatter around its mean with the posterior's own standard deviation.
    network = drawn.network
    pixels = torch.from_numpy((images[:1].transpose(0, 3, 1, 2) * 255 - MEAN) / STD).float()
    with torch.inference_mode():
        many = network.infer(pixels.expand(400, -1, -1, -1), generators(*range(400)))[0][0].flatten(1)
        first = network.infer(pixels)[0][0].flatten()
        top = network.decoder.dec_blocks[0]
        seen = network.encoder(pixels)[1]
        log_std = top.enc(torch.cat([network.decoder.bias_xs[0], seen], 1)).chunk(2, 1)[1].flatten()
    np.testing.assert_allclose(many.mean(0), first, atol=0.25)
    np.testing.assert_allclose(many.std(0) / log_std.exp(), 1, atol=0.15)


def test_decoding_given_latents_is_the_posterior_pass():
    """z -> decode gives what the pass that found z saw, layer by layer; with fewer layers the prior takes over."""
    network = codec().network
    pixels = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        latents, out = network.infer(pixels)
        np.testing.assert_allclose(network.generate(latents, generators(1, 2)), out, atol=1e-5)
        first = network.generate(latents[:4], generators(1, 2))
        assert (first - out).abs().max() > 1e-3
        assert torch.equal(first, network.generate(latents[:4], generators(1, 2)))
        cold = network.generate(latents[:4], generators(1, 2), temperature=1e-6)
        np.testing.assert_allclose(cold, network.generate(latents[:4], generators(3, 4), 1e-6), atol=1e-4)


def test_a_trained_one_comes_back():
    """A few steps on images of one colour each: they keep their colour, and z -> decode -> encode finds z again."""
    small = {"encoder_blocks": "8x1,8d4,2d2,1x1", "decoder_blocks": "1x1,2m1,8m2", "n_layers": 3, "n_mixtures": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ours = codec(**small)
        network = ours.network.train().requires_grad_(True)
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
        losses = []
        for _ in range(100):
            colours = torch.rand(8, 3, 1, 1)
            _, out = network.infer((colours.expand(-1, -1, 8, 8) * 255 - MEAN) / STD)
            loss = (out[:, 1:].reshape(8, 3, 3, 8, 8)[:, :, 0] - (colours * 2 - 1)).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    network.eval().requires_grad_(False)
    last = network.decoder.out_net["out_conv"]
    last.weight[1:].view(3, 3, -1)[:, 1:] = 0  # narrow pixels that do not lean on each other
    last.bias[1:].view(3, 3)[:, 1:] = torch.tensor([-6.0, 0.0])
    shown = np.broadcast_to(np.random.default_rng(1).random((8, 1, 1, 3)), (8, 8, 8, 3)).astype(np.float32)
    latents = ours.encode(shown)
    decoded = ours.decode(latents, range(8))
    assert np.abs(decoded.mean((1, 2)) - shown[:, 0, 0]).mean() < 0.1
    apart = np.linalg.norm(latents[:, None] - ours.encode(decoded)[None], axis=2)
    assert (apart.argmin(0) == np.arange(8)).mean() >= 0.75, "an image's latents lie nearest to their own"


def test_gradients_reach_every_parameter():
    network = codec().network.train().requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.2)  # a new network has zeros, behind which nothing flows
        pixels = torch.randn(2, 3, 16, 16)
    _, out = network.infer(pixels, generators(1, 2))
    out.square().sum().backward()
    assert not [name for name, one in network.named_parameters() if one.grad is None or not one.grad.abs().sum() > 0]


def test_pixels_follow_the_mixture():
    out = torch.zeros(1, 20, 64, 64)
    rest = out[:, 2:].view(1, 3, 3, 2, 64, 64)
    out[:, 0] = torch.log(torch.tensor(3.0))  # three quarters take the first logistic
    rest[:, :, 0, 0], rest[:, :, 0, 1] = -0.3, 0.5
    rest[:, :, 1] = -4.0
    rest[:, 0, 2] = 10.0  # green moves one for one with red
    pixels = sample_pixels(out, generators(0))[0]
    red, green, blue = pixels
    assert float((red < 0).float().mean()) == pytest.approx(0.75, abs=0.03)
    first = red[red < 0]
    assert float(first.mean()) == pytest.approx(-0.3, abs=0.01)
    assert float(first.std()) == pytest.approx(np.exp(-4) * np.pi / np.sqrt(3), rel=0.1)
    np.testing.assert_allclose((green - red)[red < 0].mean(), -0.3, atol=0.01)
    assert np.corrcoef(red[red < 0], green[red < 0])[0, 1] > 0.6
    assert abs(np.corrcoef(red[red < 0], blue[red < 0])[0, 1]) < 0.1


def test_weights_are_read_and_every_tensor_accounted_for(tmp_path):
    source = codec(seed=3)
    state = {f"module.{name}": value for name, value in source.network.state_dict().items()}
    path = tmp_path / "model-ema.th"
    torch.save(state, path)
    images = pictures(2, 16)
    loaded = codec(weights=str(path), sha256=digest_file(path))
    np.testing.assert_array_equal(loaded.encode(images), source.encode(images))
    assert not loaded.untrained and loaded.weight_files() == [path]
    assert loaded.parameters()["weights"] == source.parameters()["weights"]
    with pytest.raises(UserError, match=r"SHA-256 [0-9a-f]{64}, the recipe asks for 0{64}"):
        codec(weights=str(path), sha256="0" * 64)
    with pytest.raises(UserError, match=r"decoder.gain is \(1, 16, 1, 1\), not \(1, 8, 1, 1\)|is .*, not "):
        codec(weights=str(path), width=8)
    del state["module.decoder.gain"]
    torch.save(state | {"module.more": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"decoder.gain is missing; more is left over"):
        codec(weights=str(path))
    with pytest.raises(UserError, match=r"do not exist"):
        codec(weights=str(tmp_path / "nothing.th"))
    torch.save({"model": print}, path)
    with pytest.raises(UserError, match=r"cannot be read"):
        codec(weights=str(path))


def test_wrong_sizes_are_refused():
    ours = codec()
    with pytest.raises(UserError, match=r"its first 4 layers have 399 values"):
        ours.decode(np.zeros((2, 100), np.float32), [0, 1])
    with pytest.raises(UserError, match=r"it takes \(16, 16, 3\)"):
        ours.encode(pictures(1, 8))
    with pytest.raises(UserError, match=r"1 seeds for 2 images"):
        ours.decode(np.zeros((2, ours.n_latents), np.float32), [0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encoder_blocks": "16x1,16q2"}, "'16q2' is no block; write 8x2 or 8d2"),
        ({"encoder_blocks": "16x1,8x1"}, "has a block at 8, but reaches"),
        ({"decoder_blocks": "1x1,4m1,16m4"}, "needs 4 x 4, the encoder has"),
        ({"decoder_blocks": "1x1,8m2,16m8"}, "comes before any block at 2"),
        ({"decoder_blocks": "1x1,8m1", "n_layers": 1}, "never reaches the image's resolution, 16"),
        ({"n_layers": 7}, "but the decoder has 6"),
    ],
)
def test_block_strings_are_checked_in_the_recipe(options, words):
    with pytest.raises(ValidationError) as error:
        codec_settings(TINY | options)
    assert words in str(error.value)
