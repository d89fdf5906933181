#!/usr/bin/env bash
# nilearn 0.14.1: the height of an event of duration 0 in a regressor depends on the repetition time. Beside an event of
# 2 s it is 192, 96 and 53 times lower at a TR of 0.5, 1 and 2 s: a run that mixes durations of 0 and more gives betas
# of very different scale and noise. Seen 2026-11-27. Exits 0 while this holds.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet nilearn==0.14.1
"$place/env/bin/python" - <<'PY'
import numpy as np
from nilearn.glm.first_level import compute_regressor

ratios = []
for t_r in (0.5, 1.0, 2.0):
    times = np.arange(0, 60, t_r)
    height = [compute_regressor(np.array([[10.0], [d], [1.0]]), "glover", times)[0].max() for d in (0.0, 2.0)]
    ratios.append(height[1] / height[0])
    print(f"TR {t_r} s: an event of 2 s is {ratios[-1]:.0f} times higher than one of 0 s")
assert np.allclose(ratios, [192, 96, 53], rtol=0.05), ratios
PY
