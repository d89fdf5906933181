import json

import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.recipes.reconstruction import CODECS, codec_settings
from tests.reconstruction.pretrained_models import pictures, write_autoencoder, write_tiny_autoencoder


def codec(model, image_size=16):
    settings = codec_settings({"codec": "autoencoder", "model": str(model), "image_size": image_size})
    return CODECS.builder("autoencoder")(settings, 0, "cpu")


@pytest.fixture(scope="module")
def kl(tmp_path_factory):
    return write_autoencoder(tmp_path_factory.mktemp("kl"), scaling_factor=0.2, shift_factor=0.1)


def test_latents_are_the_scaled_mode_of_the_posterior(kl):
    from diffusers import AutoencoderKL

    ours, images = codec(kl), pictures(3, 16)
    latents = ours.encode(images)
    network = AutoencoderKL.from_pretrained(kl)
    with torch.inference_mode():
        posterior = network.encode(torch.from_numpy(images.transpose(0, 3, 1, 2)) * 2 - 1).latent_dist
    expected = ((posterior.mean - 0.1) * 0.2).flatten(1).numpy()
    assert latents.shape == (3, 4 * 8 * 8) and latents.dtype == np.float32
    np.testing.assert_allclose(latents, expected, atol=1e-5)
    assert np.abs(posterior.std.numpy()).min() > 0.1, "a sample would have been another value"
    np.testing.assert_array_equal(latents, ours.encode(images))


def test_decoding_is_the_networks_and_needs_no_seed(kl):
    from diffusers import AutoencoderKL

    ours, images = codec(kl), pictures(3, 16)
    latents = ours.encode(images)
    decoded = ours.decode(latents, [0, 1, 2])
    with torch.inference_mode():
        raw = AutoencoderKL.from_pretrained(kl).decode(torch.from_numpy(latents).view(3, 4, 8, 8) / 0.2 + 0.1).sample
    np.testing.assert_allclose(decoded, (raw / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy(), atol=1e-5)
    np.testing.assert_array_equal(decoded, ours.decode(latents, [7, 8, 9]))
    np.testing.assert_allclose(ours.decode(latents[1:2], [0])[0], decoded[1], atol=1e-5)


def test_the_tiny_autoencoder_and_the_vae_of_a_pipeline(tmp_path, kl):
    small = codec(write_tiny_autoencoder(tmp_path / "tiny"))
    images = pictures(2, 16)
    assert small.decode(small.encode(images), [0, 1]).shape == images.shape
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "vae").symlink_to(kl)
    np.testing.assert_array_equal(codec(tmp_path / "pipeline").encode(images), codec(kl).encode(images))


def test_parameters_name_the_weights(kl, tmp_path):
    parameters = codec(kl).parameters()
    assert parameters == codec(kl).parameters()
    assert parameters["latents"] == "posterior mode" and parameters["shape"] == [4, 8, 8]
    other = write_autoencoder(tmp_path / "other", scaling_factor=0.3)
    assert codec(other).parameters()["weights"] != parameters["weights"]
    assert [path.name for path in codec(kl).weight_files()] == ["diffusion_pytorch_model.safetensors"]


def test_messages_come_before_any_work(kl, tmp_path):
    with pytest.raises(UserError, match=r"image_size: 17` is no multiple of 2.*nearest is 16"):
        codec(kl, image_size=17)
    with pytest.raises(UserError, match=r"latents of shape \(2, 100\) do not fit .* has 256 \(4 x 8 x 8\)"):
        codec(kl).decode(np.zeros((2, 100), np.float32), [0, 1])
    with pytest.raises(UserError, match=r"it takes"):
        codec(kl).encode(pictures(2, 8))
    with pytest.raises(UserError, match=r"neither a folder nor a hub name"):
        codec(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"lacks vae"):
        codec(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"holds a UNet2DModel; an autoencoder is one of AutoencoderKL, AutoencoderTiny"
    ):
        codec(tmp_path)


def test_a_damaged_file_and_missing_tensors_are_one_message(kl, tmp_path):
    from safetensors.torch import load_file, save_file

    (tmp_path / "config.json").write_text((kl / "config.json").read_text())
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"could not be loaded"):
        codec(tmp_path).encode(pictures(1, 16))
    state = load_file(kl / "diffusion_pytorch_model.safetensors")
    del state["decoder.conv_in.weight"]
    save_file(state, weights)
    with pytest.raises(UserError, match=r"lacks 1 of its weights, the first is decoder.conv_in.weight"):
        codec(tmp_path).encode(pictures(1, 16))


def test_a_hub_name_without_network_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"huggingface-cli download nobody/nothing"):
        codec("nobody/nothing")


def test_a_model_in_the_hubs_cache_is_found_offline(monkeypatch, tmp_path, kl):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--somebody--vae"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / ("0" * 40)).symlink_to(kl)
    images = pictures(2, 16)
    np.testing.assert_array_equal(codec("somebody/vae").encode(images), codec(kl).encode(images))


def test_an_old_configuration_has_the_defaults_of_its_class(tmp_path):
    """The official autoencoders of Stable Diffusion 1.x do not name their scaling."""
    images = pictures(2, 16)
    named = codec(write_autoencoder(tmp_path / "named")).encode(images)
    folder = write_autoencoder(tmp_path / "old")
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("scaling_factor") == 0.18215
    for name in ("shift_factor", "latent_channels", "mid_block_add_attention"):
        config.pop(name)
    (folder / "config.json").write_text(json.dumps(config))
    np.testing.assert_array_equal(codec(folder).encode(images), named)
