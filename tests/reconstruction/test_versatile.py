import inspect

import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.encoders.check import check_encoder
from brainbench.recipes.reconstruction import GENERATORS, generator_settings
from brainbench.reconstruction.generators.versatile import UNWANTED, repaired
from tests.reconstruction.generators import check_generator, true_features
from tests.reconstruction.pretrained_models import (
    pictures,
    stimuli,
    unet,
    write_image_encoder,
    write_versatile_diffusion,
)

TOKENS = torch.randn(2, 77 + 5, 32, generator=torch.Generator().manual_seed(1))
LATENTS = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_versatile_diffusion(tmp_path_factory.mktemp("vd"))


def generator(model, **options):
    values = {"name": "versatile-diffusion", "model": str(model), "image_size": 16, "steps": 4, **options}
    return GENERATORS.builder("versatile-diffusion")(generator_settings(values), {}, 0, "cpu")


def test_diffusers_still_needs_the_repair():
    """When this fails, diffusers has mended or changed its dual transformer: revise `versatile.repaired`."""
    from diffusers.models import DualTransformer2DModel

    parameters = inspect.signature(DualTransformer2DModel.forward).parameters
    assert UNWANTED not in parameters
    assert not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    with pytest.raises(TypeError, match=UNWANTED):
        unet(dual_cross_attention=True)(LATENTS, 10, encoder_hidden_states=TOKENS)


def test_the_repaired_network_mixes_both_transformers():
    from diffusers.models import DualTransformer2DModel

    def run(mixing, tokens=TOKENS):
        network = repaired(unet(dual_cross_attention=True), mixing=mixing, lengths=[77, 5])
        with torch.inference_mode():
            return network(LATENTS, 10, encoder_hidden_states=tokens).sample

    image_changed, text_changed = TOKENS.clone(), TOKENS.clone()
    image_changed[:, 77:] += 1
    text_changed[:, :77] += 1
    for mixing, image_moves, text_moves in ((0.0, True, False), (1.0, False, True), (0.4, True, True)):
        assert (not torch.equal(run(mixing), run(mixing, image_changed))) is image_moves
        assert (not torch.equal(run(mixing), run(mixing, text_changed))) is text_moves
    # One block against the formula: h + .4 (T_text(h) - h) + .6 (T_image(h) - h), the text's transformer second.
    block = next(m for m in unet(dual_cross_attention=True).modules() if isinstance(m, DualTransformer2DModel))
    repaired(torch.nn.ModuleList([block]), mixing=0.4, lengths=[77, 5])
    hidden = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        out = block(hidden, encoder_hidden_states=TOKENS, encoder_attention_mask=None, return_dict=False)[0]
        text, image = (
            block.transformers[at](hidden, encoder_hidden_states=tokens, return_dict=False)[0] - hidden
            for at, tokens in ((1, TOKENS[:, :77]), (0, TOKENS[:, 77:]))
        )
    np.testing.assert_allclose(out, hidden + 0.4 * text + 0.6 * image, atol=1e-5)
    with pytest.raises(NotImplementedError):
        block(hidden, encoder_hidden_states=TOKENS, encoder_attention_mask=torch.ones(2, 82))
    with pytest.raises(UserError, match="no cross-attention"):
        repaired(unet(), mixing=0.4, lengths=[77, 5])


def test_the_contract(model):
    ours = generator(model)
    check_generator(ours)
    assert {one.name: one.shape for one in ours.conditions()} == {"clip_image": (5, 32), "clip_text": (77, 32)}


def test_the_papers_steps_and_the_codec_at_strength_zero(model):
    ours = generator(model, steps=50, strength=0.75)
    assert ours.n_steps(initial=True) == 37
    kept = generator(model, strength=0.0)
    initial = pictures(2, 16)
    images = kept.generate(true_features(kept, stimuli(2)), initial, [0, 1])
    with torch.inference_mode():
        pixels = torch.from_numpy(initial.transpose(0, 3, 1, 2)) * 2 - 1
        decoded = (kept.decode(kept.encode(pixels)) / 2 + 0.5).clamp(0, 1)
    np.testing.assert_allclose(images, decoded.permute(0, 2, 3, 1).numpy(), atol=1e-5)


def test_mixing_decides_which_condition_counts(model):
    shown, initial = stimuli(2), pictures(2, 16)
    for mixing, idle in ((0.0, "clip_text"), (1.0, "clip_image")):
        ours = generator(model, mixing=mixing)
        features = true_features(ours, shown)
        moved = {**features, idle: features[idle] + 1}
        np.testing.assert_array_equal(ours.generate(features, initial, [0, 1]), ours.generate(moved, initial, [0, 1]))


def test_tokens_are_divided_by_their_own_norms(model):
    ours, shown = generator(model), stimuli(5)
    features = true_features(ours, shown)
    np.testing.assert_allclose(np.linalg.norm(features["clip_image"][:, 0], axis=1), 1, atol=1e-5)
    image = ours.image.features(shown, ["pooled"], "flatten")["pooled"]
    unit = image / np.linalg.norm(image, axis=1, keepdims=True)
    np.testing.assert_allclose(features["clip_image"][:, 0], unit, atol=1e-5)
    found = ours.text.read(["a red cat"])
    end = ours.text.tokenizer(["a red cat"]).input_ids[0].index(1)
    assert torch.linalg.vector_norm(found["tokens"][0, end]).item() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(found["tokens"][0].numpy(), features["clip_text"][0], atol=1e-5)


@pytest.mark.parametrize("which", [0, 1])
def test_condition_extractors_keep_the_encoder_contract(model, which):
    check_encoder(lambda: generator(model).conditions()[which].encoder, stimuli(5))


def test_what_does_not_fit_is_refused_at_once(model, tmp_path):
    with pytest.raises(UserError, match=r"lacks image_unet, text_unet, vae"):
        generator(tmp_path)
    for path in model.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "image_encoder").unlink()
    write_image_encoder(tmp_path / "image_encoder", projection=40)
    with pytest.raises(UserError, match=r"attends to tokens of 32 numbers, its image_encoder gives 40"):
        generator(tmp_path)


def test_the_network_is_the_pipelines(model):
    """From noise and without guidance, the same images as diffusers' own (repaired) pipeline and its encoders.

    With guidance they differ: the pipeline means a grey image for the unguided pass, but has it scaled to nearly black.
    """
    from diffusers import VersatileDiffusionDualGuidedPipeline
    from PIL import Image

    ours, shown = generator(model, guidance=1.0, mixing=0.4), stimuli(1)
    theirs = VersatileDiffusionDualGuidedPipeline(
        tokenizer=ours.text.tokenizer, image_feature_extractor=_processor(model), text_encoder=ours.text.network,
        image_encoder=ours.image.network, image_unet=ours.unet, text_unet=None, vae=ours.autoencoder.network,
        scheduler=ours.scheduler,
    )  # fmt: skip
    theirs.set_progress_bar_config(disable=True)
    resized = Image.fromarray(shown.load(0)).resize((16, 16), Image.Resampling.BICUBIC)
    expected = theirs(
        ["a red cat"], [resized], text_to_image_strength=0.4, height=16, width=16, num_inference_steps=4,
        guidance_scale=1.0, generator=torch.Generator().manual_seed(3), output_type="np",
    ).images  # fmt: skip
    np.testing.assert_allclose(ours.generate(true_features(ours, shown), None, [3]), expected, atol=1e-4)


def _processor(model):
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor.from_pretrained(model / "image_feature_extractor")
