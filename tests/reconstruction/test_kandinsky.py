import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.encoders.check import check_encoder
from brainbench.recipes.reconstruction import GENERATORS, generator_settings
from tests.reconstruction.generators import check_generator, true_features
from tests.reconstruction.pretrained_models import pictures, stimuli, write_image_encoder, write_kandinsky


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_kandinsky(tmp_path_factory.mktemp("k22"))


def generator(models, **options):
    values = {
        "name": "kandinsky22", "model": str(models / "decoder"), "prior": str(models / "prior"), "image_size": 16,
        "steps": 4, **options,
    }  # fmt: skip
    return GENERATORS.builder("kandinsky22")(generator_settings(values), {}, 0, "cpu")


def test_the_contract(models):
    ours = generator(models)
    check_generator(ours)
    assert {one.name: one.shape for one in ours.conditions()} == {"clip_image": (24,)}
    check_encoder(lambda: generator(models).conditions()[0].encoder, stimuli(4))


def test_strength_zero_is_the_codec(models):
    kept, initial = generator(models, strength=0.0), pictures(2, 16)
    images = kept.generate(true_features(kept, stimuli(2)), initial, [0, 1])
    with torch.inference_mode():
        pixels = torch.from_numpy(initial.transpose(0, 3, 1, 2)) * 2 - 1
        decoded = (kept.decode(kept.encode(pixels)) / 2 + 0.5).clamp(0, 1)
    np.testing.assert_allclose(images, decoded.permute(0, 2, 3, 1).numpy(), atol=1e-5)


def test_the_loop_is_the_pipelines(models):
    """The same images as diffusers' own pipeline, given the same noise."""
    from diffusers import DDPMScheduler, KandinskyV22Img2ImgPipeline, UNet2DConditionModel, VQModel

    ours, initial = generator(models, strength=0.75, guidance=4.0, steps=8), pictures(1, 16)
    features = true_features(ours, stimuli(1))
    root = models / "decoder"
    theirs = KandinskyV22Img2ImgPipeline(
        unet=UNet2DConditionModel.from_pretrained(root / "unet"), movq=VQModel.from_pretrained(root / "movq"),
        scheduler=DDPMScheduler.from_pretrained(root / "scheduler"),
    )  # fmt: skip
    theirs.set_progress_bar_config(disable=True)
    zero = ours.image.read(torch.zeros(1, 3, 16, 16))["pooled"]
    expected = theirs(
        torch.from_numpy(features["clip_image"]), torch.from_numpy(initial.transpose(0, 3, 1, 2)) * 2 - 1, zero,
        height=16, width=16, num_inference_steps=8, guidance_scale=4.0, strength=0.75,
        generator=torch.Generator().manual_seed(3), output_type="np",
    ).images  # fmt: skip
    np.testing.assert_allclose(ours.generate(features, initial, [3]), expected, atol=1e-4)


def test_what_does_not_fit_is_refused_at_once(models, tmp_path):
    with pytest.raises(UserError, match=r"lacks unet, movq.*scheduler"):
        generator(models, model=str(tmp_path))
    write_image_encoder(tmp_path / "image_encoder", projection=40)
    (tmp_path / "image_processor").symlink_to(models / "prior" / "image_processor")
    with pytest.raises(UserError, match=r"takes image vectors of 24 numbers, .* gives 40"):
        generator(models, prior=str(tmp_path))
    with pytest.raises(UserError, match=r"image_size: 17` is no multiple of 2"):
        generator(models, image_size=17)
