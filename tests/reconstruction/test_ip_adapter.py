import json

import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.encoders.check import check_encoder
from brainbench.recipes.reconstruction import GENERATORS, generator_settings
from brainbench.reconstruction.generators.clip import without_captions
from tests.reconstruction.generators import check_generator, true_features
from tests.reconstruction.pretrained_models import (
    pictures,
    stimuli,
    write_adapter,
    write_image_encoder,
    write_stable_diffusion,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sd")
    network = write_stable_diffusion(folder / "sd")
    write_adapter(folder / "base", network)
    write_adapter(folder / "plus", network, plus=True)
    return folder


def generator(models, adapter="base", **options):
    values = {
        "name": "ip-adapter", "model": str(models / "sd"), "adapter": str(models / adapter), "image_size": 16,
        "adapter_weights": "models/ip.safetensors", "steps": 4, "adapter_scale": 1.0, **options,
    }  # fmt: skip
    return GENERATORS.builder("ip-adapter")(generator_settings(values), {}, 0, "cpu")


@pytest.mark.parametrize("adapter", ["base", "plus"])
def test_the_contract(models, adapter):
    ours = generator(models, adapter)
    check_generator(ours)
    shapes = {condition.name: condition.shape for condition in ours.conditions()}
    assert shapes == {"clip_image": (24,) if adapter == "base" else (5, 64), "clip_text": (77, 32)}


def test_strength_zero_is_the_codec_and_one_is_noise(models):
    initial = pictures(2, 16)
    kept = generator(models, strength=0.0)
    features = true_features(kept, stimuli(2))
    images = kept.generate(features, initial, [1, 2])
    with torch.inference_mode():
        latents = kept.autoencoder.encode(torch.from_numpy(initial.transpose(0, 3, 1, 2)) * 2 - 1)
        decoded = (kept.autoencoder.decode(latents) / 2 + 0.5).clamp(0, 1)
    np.testing.assert_allclose(images, decoded.permute(0, 2, 3, 1).numpy(), atol=1e-5)
    anew = generator(models, strength=1.0)
    np.testing.assert_array_equal(anew.generate(features, initial, [1, 2]), anew.generate(features, None, [1, 2]))
    # The less is replaced, the nearer to the codec's image.
    distances = [
        np.abs(generator(models, strength=strength, steps=10).generate(features, initial, [1, 2]) - images).mean()
        for strength in (0.1, 0.5, 0.9)
    ]
    assert distances == sorted(distances)


def test_the_loop_is_the_pipelines(models):
    """The same images as diffusers' own pipeline, given the same noise."""
    from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline

    ours = generator(models, strength=0.75, guidance=7.5, steps=8, adapter_scale=0.6)
    initial, features = pictures(1, 16), true_features(ours, stimuli(1))
    images = ours.generate(features, initial, [5])
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    root = models / "sd"
    theirs = StableDiffusionImg2ImgPipeline(
        vae=AutoencoderKL.from_pretrained(root / "vae"), unet=UNet2DConditionModel.from_pretrained(root / "unet"),
        text_encoder=CLIPTextModel.from_pretrained(root / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(root / "tokenizer"),
        scheduler=DDIMScheduler.from_pretrained(root / "scheduler"), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    theirs.load_ip_adapter(
        str(models / "base"), subfolder="models", weight_name="ip.safetensors", image_encoder_folder="image_encoder"
    )
    theirs.set_ip_adapter_scale(0.6)
    theirs.set_progress_bar_config(disable=True)
    text, image = torch.from_numpy(features["clip_text"]), torch.from_numpy(features["clip_image"])
    with torch.inference_mode():
        latents = ours.autoencoder.encode(torch.from_numpy(initial.transpose(0, 3, 1, 2)) * 2 - 1)
        expected = theirs(
            image=latents, strength=0.75, guidance_scale=7.5, num_inference_steps=8, prompt_embeds=text,
            negative_prompt_embeds=ours.text.read([""])["tokens.hidden"],
            ip_adapter_image_embeds=[torch.stack([torch.zeros_like(image), image])],
            generator=torch.Generator().manual_seed(5), output_type="np",
        ).images  # fmt: skip
    np.testing.assert_allclose(images, expected, atol=1e-4)


def test_without_guidance_the_negative_pass_is_left_out(models):
    features, initial = None, pictures(2, 16)
    counts = {}
    for guidance in (1.0, 2.0):
        ours = generator(models, guidance=guidance)
        features = features or true_features(ours, stimuli(2))
        rows = []
        ours.unet.register_forward_pre_hook(lambda module, args, rows=rows: rows.append(len(args[0])))
        ours.generate(features, initial, [1, 2])
        counts[guidance] = rows
    assert counts == {1.0: [2, 2, 2], 2.0: [4, 4, 4]}


@pytest.mark.parametrize("which", [0, 1])
def test_condition_extractors_keep_the_encoder_contract(models, which):
    check_encoder(lambda: generator(models).conditions()[which].encoder, stimuli(5))


def test_captions_are_averaged_and_missing_ones_are_the_empty_text(models):
    text = generator(models).text
    found = text.features(stimuli(5), ["tokens.hidden"], "flatten")["tokens.hidden"].reshape(5, 77, 32)

    def of(*texts):
        return text.read(texts)["tokens.hidden"].mean(0).numpy()

    np.testing.assert_allclose(found[0], of("a red cat"), atol=1e-5)
    np.testing.assert_allclose(found[1], of("the dog on the grass", "a photo of a dog"), atol=1e-5)
    np.testing.assert_allclose(found[3], of(""), atol=1e-5)
    bare = text.features(stimuli(5, captions=False), ["tokens.hidden"], "flatten")["tokens.hidden"]
    np.testing.assert_allclose(bare, np.broadcast_to(of("").ravel(), bare.shape), atol=1e-5)
    assert np.abs(found[0] - found[2]).max() > 1e-3


def test_what_does_not_fit_is_refused_at_once(models, tmp_path):
    with pytest.raises(UserError, match=r"lacks unet, vae.*tokenizer") as error:
        generator(models, model=str(tmp_path))
    assert "hf download" in str(error.value)
    with pytest.raises(UserError, match=r"lacks models/absent.safetensors"):
        generator(models, adapter_weights="models/absent.safetensors")
    with pytest.raises(UserError, match=r"image_size: 15` is no multiple of 2"):
        generator(models, image_size=15)
    write_image_encoder(tmp_path / "wide" / "models" / "image_encoder", projection=40)
    (tmp_path / "wide" / "models" / "ip.safetensors").symlink_to(models / "base" / "models" / "ip.safetensors")
    with pytest.raises(UserError, match=r"reads image features of 24 numbers, models/image_encoder gives 40"):
        generator(models, adapter=tmp_path / "wide")
    wide = tmp_path / "wide-unet"
    write_stable_diffusion(wide, cross_attention_dim=48)
    with pytest.raises(UserError, match=r"attends to tokens of 48 numbers, the adapter makes 32"):
        generator(models, model=str(wide))
    config = json.loads((wide / "unet" / "config.json").read_text())
    (wide / "unet" / "config.json").write_text(json.dumps(config | {"addition_embed_type": "text_time"}))
    with pytest.raises(UserError, match=r"no Stable Diffusion 1.x or 2.x"):
        generator(models, model=str(wide))
    (tmp_path / "wide" / "models" / "text.safetensors").write_text("no")
    with pytest.raises(UserError, match=r"no safetensors file"):
        generator(models, adapter=tmp_path / "wide", adapter_weights="models/text.safetensors")


def test_parameters_name_settings_and_weights(models):
    ours = generator(models)
    parameters = ours.parameters()
    assert parameters["strength"] == 0.75 and parameters["sampler"] == "DDIM"
    assert set(parameters["weights"]) == {"model", "image encoder"}
    assert parameters["adapter digest"] != generator(models, "plus").parameters()["adapter digest"]


def test_files_as_the_hub_has_them(models, tmp_path):
    """Text encoders with a `text_model.` prefix and a left-over buffer, a short configuration, weights as .bin."""
    from safetensors.torch import load_file

    for path in (models / "sd").iterdir():
        if path.name != "text_encoder":
            (tmp_path / path.name).symlink_to(path)
    old, new = models / "sd" / "text_encoder", tmp_path / "text_encoder"
    new.mkdir()
    state = {
        f"text_model.{name.removeprefix('text_model.')}": value
        for name, value in load_file(old / "model.safetensors").items()
    }
    torch.save(state | {"text_model.embeddings.position_ids": torch.arange(77)[None]}, new / "pytorch_model.bin")
    config = json.loads((old / "config.json").read_text())
    config = {name: config[name] for name in config if name not in ("max_position_embeddings", "layer_norm_eps")}
    (new / "config.json").write_text(json.dumps(config))
    ours, plain = generator(models, model=str(tmp_path)), generator(models)
    assert [path.name for path in ours.text.weight_files()] == ["pytorch_model.bin"]
    assert torch.equal(ours.text.read(["a red cat"])["tokens.hidden"], plain.text.read(["a red cat"])["tokens.hidden"])


def test_stimuli_without_captions_are_counted(models):
    conditions = generator(models).conditions()
    assert without_captions(conditions, stimuli(5)) == 1  # the others have at least one that is not blank
    assert without_captions(conditions, stimuli(5, captions=False)) == 5
    assert without_captions([one for one in conditions if one.name == "clip_image"], stimuli(5)) == 0
