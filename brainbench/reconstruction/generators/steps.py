"""Time steps of diffusers' schedules, and DDIM from each to the next one.

diffusers' DDIM leads from every time step a whole number of them onward: by their number over that of the steps,
rounded down. Where it does not divide evenly that is not the next one that is taken, and noise stays in the images: of
600 steps, each goes 1 onward where the next is 1.67.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from brainbench.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

LEAST_COVERED = 0.8
"""Share of a schedule that its steps must span: what is drawn from noise begins at its end."""


def time_steps(schedule: Any, steps: int, device: str = "cpu") -> Tensor:
    """Set a diffusers schedule to so many steps, and return its time steps.

    Counted back from the last one in steps of a fraction, rounding may add one more, before the first: at -1 a network
    knows nothing, and would spoil the finished image.

    Raises
    ------
    UserError
        If the schedule, counting from its begin in whole steps, ends far before its end, or goes beyond.
    """
    schedule.set_timesteps(steps, device=device)
    times: Tensor = schedule.timesteps
    if times.is_floating_point():
        return times
    total, first = int(schedule.config["num_train_timesteps"]), int(times[0])
    each = total // steps
    offset = first - each * (steps - 1)

    def fits(n: int) -> bool:
        return total // n * n >= LEAST_COVERED * total and total // n * (n - 1) + offset < total

    if first + each < LEAST_COVERED * total or first >= total:
        nearest = [
            next((n for n in some if fits(n)), None) for some in (range(steps - 1, 0, -1), range(steps + 1, total + 1))
        ]
        raise UserError(
            f"generator: `steps: {steps}` begins at time {first} of 0 to {total - 1}: the model's schedule counts in "
            f"whole steps of {each}",
            hint=f"take {' or '.join(str(n) for n in nearest if n is not None)}",
        )
    return times[times >= 0]


def to_the_next(schedule: Any, times: Tensor) -> Any:
    """Return a DDIM schedule of these time steps alone, in which each leads to the next and the last to the image.

    Its own time steps are places among them, counted from the last one: ``len(times) - 1`` to 0.
    """
    short = copy.deepcopy(schedule)
    short.register_to_config(num_train_timesteps=len(times))
    short.num_inference_steps = len(times)
    short.alphas_cumprod = schedule.alphas_cumprod[times.flip(0).cpu()]
    return short
