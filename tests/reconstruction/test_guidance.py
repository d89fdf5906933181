"""Guidance of a diffusion model by a response: what it raises, its schedule, facets, and a latent model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.recipes.reconstruction import GENERATORS, generator_settings
from brainbench.reconstruction.facets import mean_images
from brainbench.reconstruction.generators.small import SmallGenerator
from brainbench.reconstruction.generators.small_training import noise_schedule
from brainbench.reconstruction.generators.steps import time_steps
from brainbench.reconstruction.guidance import LatentProcess, SmallProcess, guide, linear_response, process_of
from tests.reconstruction.pretrained_models import write_stable_diffusion
from tests.reconstruction.toy import bars, blue

pytestmark = pytest.mark.long


def bluer(pictures: torch.Tensor) -> torch.Tensor:
    """Respond to blue and against red."""
    return 10 * (pictures[:, 2] - pictures[:, 0]).mean(dim=(1, 2))


def redder(pictures: torch.Tensor) -> torch.Tensor:
    return -bluer(pictures)


def test_guided_images_raise_the_response_and_a_contrast_turns_with_its_sign(trained_small: SmallGenerator) -> None:
    process, seeds = process_of(trained_small), list(range(16))
    plain = guide(process, bluer, seeds, scale=0.0, steps=12)
    more = guide(process, bluer, seeds, scale=20.0, steps=12)
    less = guide(process, redder, seeds, scale=20.0, steps=12)
    assert plain.images.shape == more.images.shape == (16, 12, 12, 3)
    assert np.mean(blue(more.images)) > np.mean(blue(plain.images)) + 0.2
    assert np.mean(blue(less.images)) < np.mean(blue(plain.images)) - 0.2
    assert more.trace.shape == (16, 12)
    assert more.trace[:, -1].mean() > plain.trace[:, -1].mean() > -less.trace[:, -1].mean()
    # Steps in which there is next to no signal are not guided.
    np.testing.assert_array_equal(more.trace[:, 0], plain.trace[:, 0])


def test_an_image_depends_on_no_other(trained_small: SmallGenerator) -> None:
    process = process_of(trained_small)
    together = guide(process, bluer, [5, 6, 7], scale=20.0, steps=6).images
    alone = guide(process, bluer, [7], scale=20.0, steps=6).images
    np.testing.assert_allclose(together[2:], alone, atol=2e-3)


def test_an_initial_image_is_kept_where_strength_is_small(trained_small: SmallGenerator) -> None:
    images, _ = bars(6, seed=2)
    process, seeds = process_of(trained_small), list(range(6))
    near = guide(process, bluer, seeds, scale=0.0, steps=12, initial=images, strength=0.2).images
    far = guide(process, bluer, seeds, scale=0.0, steps=12, initial=images, strength=0.9).images
    assert np.abs(near - images).mean() < np.abs(far - images).mean()
    assert np.abs(near - images).mean() < 0.1


def test_finished_image_and_noise_make_up_the_latents(trained_small: SmallGenerator) -> None:
    process = SmallProcess(trained_small)
    z = process.noise([1, 2])
    for step in (100, 500, 900):
        finished, eps = process.split(z, step)
        share = process.alphas[step]
        torch.testing.assert_close(np.sqrt(share) * finished + np.sqrt(1 - share) * eps, z, atol=1e-4, rtol=1e-4)
    assert process.steps(4, 1.0) == [999, 749, 499, 249]
    assert process.steps(4, 0.5) == [499, 249]


@pytest.mark.parametrize("n", [61, 103, 998])
def test_no_number_of_steps_adds_one_before_the_first(trained_small: SmallGenerator, n: int) -> None:
    # Stepping by 1000 / 61, floating point comes to 0 after 61 steps and a little: one step more, at time -1.
    process = SmallProcess(trained_small)
    assert len(process.steps(n, 1.0)) == n
    assert process.steps(n, 1.0)[-1] >= 0
    schedule = noise_schedule()
    assert time_steps(schedule, n).tolist() == process.steps(n, 1.0)


def test_a_linear_reader_reads_normed_features() -> None:
    pictures = torch.rand(3, 3, 4, 4)
    coef = np.random.default_rng(0).standard_normal(48)
    read = linear_response(lambda x: x.flatten(1), coef, 0.25, unit_norm=True, device="cpu")(pictures).numpy()
    flat = pictures.flatten(1).numpy()
    expected = flat / np.linalg.norm(flat, axis=1, keepdims=True) @ coef + 0.25
    np.testing.assert_allclose(read, expected, rtol=1e-4)


def test_facets_are_the_planted_templates() -> None:
    rng = np.random.default_rng(0)
    templates = np.zeros((2, 8, 8, 1), dtype=np.float32)
    templates[0, :4], templates[1, :, :4] = 1, 1
    which = np.array([0] * 12 + [1] * 8)
    images = np.clip(templates[which] + 0.1 * rng.standard_normal((20, 8, 8, 1)), 0, 1).astype(np.float32)
    means, members = mean_images(images, images.reshape(20, -1), n_facets=2, n_mean=6, seed=0)
    np.testing.assert_allclose(means, templates, atol=0.15)  # the larger cluster first
    assert which[members].tolist() == [0, 1]


@pytest.fixture(scope="module")
def latent_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sd")
    write_stable_diffusion(folder)
    return folder


def test_any_stable_diffusion_can_be_guided(latent_model: Path) -> None:
    settings = generator_settings({"name": "stable-diffusion", "model": str(latent_model), "image_size": 16})
    generator = GENERATORS.builder("stable-diffusion")(settings, {}, seed=0, device="cpu")
    assert generator.conditions() == []
    made = generator.generate({}, None, [1, 2])
    assert made.shape == (2, 16, 16, 3)
    process = process_of(generator)
    assert isinstance(process, LatentProcess)
    plain = guide(process, bluer, [1, 2, 3], scale=0.0, steps=8)
    guided = guide(process, bluer, [1, 2, 3], scale=100.0, steps=8)
    assert np.isfinite(guided.images).all()
    assert (guided.trace[:, -1] > plain.trace[:, -1]).all()
    start = guide(process, bluer, [1], scale=0.0, steps=8, initial=made[:1], strength=0.25)
    assert start.trace.shape == (1, 2)


def test_other_generators_cannot_be_guided() -> None:
    with pytest.raises(UserError, match="take `small` or `stable-diffusion`"):
        process_of(object())  # type: ignore[arg-type]
