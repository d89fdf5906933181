import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.encoders.check import check_encoder
from brainbench.recipes.reconstruction import GENERATORS, generator_settings
from brainbench.reconstruction.cards import load_weights_card
from tests.reconstruction.generators import check_generator, true_features
from tests.reconstruction.pretrained_models import pictures, stimuli, write_cascade, write_image_encoder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_cascade(tmp_path_factory.mktemp("cascade"))


def generator(models, **options):
    values = {
        "name": "stable-cascade", "model": str(models / "decoder"), "prior": str(models / "prior"), "image_size": 64,
        "steps": 3, "decoder_steps": 4, "accept_license": True, **options,
    }  # fmt: skip
    return GENERATORS.builder("stable-cascade")(generator_settings(values), {}, 0, "cpu")


def test_the_contract(models):
    ours = generator(models)
    check_generator(ours)
    assert {one.name: one.shape for one in ours.conditions()} == {"clip_image": (24,), "clip_text": (20,)}
    assert ours.small_shape == (4, 2, 2) and ours.shape == (4, 16, 16) and ours.n_steps(initial=True) == 3 + 3
    for which in (0, 1):
        check_encoder(lambda which=which: generator(models).conditions()[which].encoder, stimuli(4))


def test_strength_zero_is_the_codec(models):
    kept, initial = generator(models, strength=0.0), pictures(2, 64)
    images = kept.generate(true_features(kept, stimuli(2)), initial, [0, 1])
    with torch.inference_mode():
        vqgan = kept.stages[2]
        decoded = vqgan.decode(vqgan.encode(torch.from_numpy(initial.transpose(0, 3, 1, 2))).latents).sample
    np.testing.assert_allclose(images, decoded.clamp(0, 1).permute(0, 2, 3, 1).numpy(), atol=1e-5)


def test_the_loop_is_the_pipelines(models):
    """From noise, the same images as diffusers' own two pipelines, given the same noise."""
    from diffusers import StableCascadeDecoderPipeline, StableCascadePriorPipeline

    ours = generator(models, guidance=4.0)
    features = true_features(ours, stimuli(1))
    stage_c, stage_b, vqgan = ours.stages
    parts = {"tokenizer": ours.text.tokenizer, "text_encoder": ours.text.network}
    prior = StableCascadePriorPipeline(prior=stage_c, scheduler=ours.schedulers[0], **parts)
    decoder = StableCascadeDecoderPipeline(decoder=stage_b, vqgan=vqgan, scheduler=ours.schedulers[1], **parts)
    for pipeline in (prior, decoder):
        pipeline.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(3)
    empty = ours._empty
    text = torch.from_numpy(features["clip_text"])[:, None]
    made = prior(
        prompt_embeds=empty["tokens"], prompt_embeds_pooled=text, negative_prompt_embeds=empty["tokens"],
        negative_prompt_embeds_pooled=empty["pooled"][:, None], image_embeds=torch.from_numpy(features["clip_image"]),
        height=64, width=64, num_inference_steps=3, guidance_scale=4.0, generator=noise,
    )  # fmt: skip
    # Stage B's latents follow from stage C's by a rounded factor, which for so small an image is not ours.
    latents = torch.randn(1, 4, 16, 16, generator=noise)
    decoder.register_to_config(latent_dim_scale=8)
    expected = decoder(
        image_embeddings=made.image_embeddings, prompt_embeds=empty["tokens"], prompt_embeds_pooled=text,
        negative_prompt_embeds=empty["tokens"], negative_prompt_embeds_pooled=empty["pooled"][:, None],
        num_inference_steps=4, guidance_scale=0.0, generator=noise, latents=latents, output_type="np",
    ).images  # fmt: skip
    np.testing.assert_allclose(ours.generate(features, None, [3]), expected, atol=1e-4)


def test_the_licence_is_asked_for_before_anything_is_read():
    assert load_weights_card("stable-cascade").needs_acceptance
    with pytest.raises(UserError, match=r"stabilityai/stable-cascade-prior and .* non-commercial") as error:
        GENERATORS.builder("stable-cascade")(
            generator_settings({"name": "stable-cascade", "model": "/nowhere"}), {}, 0, "cpu"
        )
    assert "accept_license: true" in str(error.value)


def test_what_does_not_fit_is_refused_at_once(models, tmp_path):
    with pytest.raises(UserError, match=r"lacks decoder, vqgan"):
        generator(models, model=str(tmp_path))
    for path in (models / "prior").iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "image_encoder").unlink()
    write_image_encoder(tmp_path / "image_encoder", projection=40)
    with pytest.raises(UserError, match=r"stage C takes vectors of 24 numbers, .*image_encoder gives 40"):
        generator(models, prior=str(tmp_path))
    with pytest.raises(UserError, match=r"image_size: 66` is no multiple of 4"):
        generator(models, image_size=66)
