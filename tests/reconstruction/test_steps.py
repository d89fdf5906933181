"""Time steps of diffusion: none too many, none too early, and each leads to the next."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.reconstruction.generators.latent_diffusion import sample
from brainbench.reconstruction.generators.small_training import noise_schedule
from brainbench.reconstruction.generators.steps import time_steps, to_the_next

STABLE_DIFFUSION = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": False, "steps_offset": 1,
}  # fmt: skip
"""The schedule of Stable Diffusion 1.5."""


def ddim(**settings: Any) -> Any:
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    return DDIMScheduler(**(STABLE_DIFFUSION | settings))


@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
@pytest.mark.parametrize("n", [334, 501, 600, 700])
def test_a_gaussian_is_drawn_with_its_own_spread(spacing: str, n: int) -> None:
    """The best denoiser of N(.2, .3) is known; by diffusers' own steps 501 give a spread of .34 to .55."""
    schedule = ddim(timestep_spacing=spacing)
    mean, spread = 0.2, 0.3

    def noise_of(z: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        share = schedule.alphas_cumprod[time].double()
        variance = share * spread**2 + 1 - share
        return (1 - share).sqrt() * (z - share.sqrt() * mean) / variance

    generators = [torch.Generator().manual_seed(0)]
    drawn = sample(
        schedule, noise_of, None, (20_000,), generators, steps=n, strength=1.0, device="cpu", tick=lambda: None
    )
    assert drawn.std().item() == pytest.approx(spread, abs=0.02)
    assert drawn.mean().item() == pytest.approx(mean, abs=0.02)


@pytest.mark.parametrize("n", [4, 50, 125])
def test_where_steps_divide_evenly_it_is_diffusers_own(n: int) -> None:
    for schedule in (ddim(), noise_schedule()):
        times = time_steps(schedule, n)
        ours = to_the_next(schedule, times)
        z, predicted = torch.randn(2, 3, generator=torch.Generator().manual_seed(1)).unsqueeze(0).unbind(1)
        for left, time in enumerate(times.flip(0)):
            expected = schedule.step(predicted, time, z).prev_sample
            torch.testing.assert_close(ours.step(predicted, left, z).prev_sample, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("n", "first", "hint"),
    [(350, 699, "take 333 or 400"), (501, 501, "take 500 or 800"), (1000, 1000, "take 999")],
)
def test_a_number_of_steps_that_begins_early_or_late_is_refused(n: int, first: int, hint: str) -> None:
    with pytest.raises(UserError, match=f"`steps: {n}` begins at time {first} of 0 to 999") as error:
        time_steps(ddim(), n)
    assert error.value.hint == hint
    taken = [int(number) for number in hint.removeprefix("take ").split(" or ")]
    assert all(len(time_steps(ddim(), one)) == one for one in taken)
