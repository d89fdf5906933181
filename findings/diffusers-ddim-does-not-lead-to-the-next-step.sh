#!/usr/bin/env bash
# diffusers 0.42.1: DDIMScheduler.step leads from every time step num_train_timesteps // num_inference_steps onward, which
# is not the next one of `timesteps` where the numbers do not divide evenly (spacing "trailing" and "linspace"): of 600
# steps each goes 1 onward where the next is 1.67, and noise stays. A Gaussian of spread .30, drawn with its own best
# denoiser, comes out with .30 by 500 steps and .49 by 600; with "leading" 501 steps begin at time 501 of 1,000, where
# pure noise is not what the network expects; and `set_timesteps(61)` of "trailing" returns 62 times, the last -1.
# Seen 2026-11-28. Exits 0 while this holds.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet torch==2.14.1 diffusers==0.42.1
cd "$place"; env/bin/python -W ignore - 2>/dev/null <<'PY'
import diffusers
import torch
from diffusers import DDIMScheduler


def schedule(spacing, n):
    found = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1, timestep_spacing=spacing,
    )
    found.set_timesteps(n)
    return found


def spread(spacing, n, mean=0.2, sd=0.3):
    one = schedule(spacing, n)
    z = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for time in one.timesteps[one.timesteps >= 0]:
        share = one.alphas_cumprod[time].double()
        noise = (1 - share).sqrt() * (z - share.sqrt() * mean) / (share * sd**2 + 1 - share)
        z = one.step(noise, time, z).prev_sample
    return float(z.std())


found = {n: round(spread("trailing", n), 3) for n in (500, 600)}
times = schedule("trailing", 61).timesteps
begin = int(schedule("leading", 501).timesteps[0])
print(diffusers.__version__, "spread of N(.2, .3) by steps:", found, "; trailing 61:", len(times), "times, the last",
      int(times[-1]), "; leading 501 begins at", begin)
assert abs(found[500] - 0.3) < 0.02 and found[600] > 0.45, found
assert len(times) == 62 and int(times[-1]) == -1 and begin == 501
PY
