#!/usr/bin/env bash
# nilearn 0.14.1: a FirstLevelModel with `smoothing_fwhm` smooths the images, and its `masker_` smooths once more whatever it
# transforms: `model.masker_.transform(model.compute_contrast(...))`, the way to an effect per voxel, gives a map smoothed
# twice. It equals the effect within the mask only where no smoothing was asked for.
# Seen 2026-11-27. Exits 0 while this holds.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet nilearn==0.14.1
cd "$place"; env/bin/python -W ignore - <<'PY'
import nibabel
import numpy as np
import pandas as pd
from nilearn.glm.first_level import FirstLevelModel

rng = np.random.default_rng(0)
affine = np.diag([2.0, 2.0, 2.0, 1.0])
image = nibabel.Nifti1Image((100 + rng.normal(size=(6, 6, 6, 80))).astype(np.float32), affine)
mask = nibabel.Nifti1Image(np.ones((6, 6, 6), np.uint8), affine)
events = pd.DataFrame({"onset": [10.0, 50.0, 90.0], "duration": 4.0, "trial_type": "a"})
apart = {}
for fwhm in (None, 4.0):
    model = FirstLevelModel(t_r=2.0, mask_img=mask, smoothing_fwhm=fwhm).fit(image, events=events)
    effect = model.compute_contrast("a", output_type="effect_size")
    within, read = np.asarray(effect.dataobj).ravel(), model.masker_.transform(effect).ravel()
    apart[fwhm] = float(np.abs(read - within).max() / within.std())
    print(f"smoothing_fwhm={fwhm}: through masker_ the effects differ by up to {apart[fwhm]:.2f} standard deviations")
assert apart[None] < 1e-5 and apart[4.0] > 0.3, apart
PY
