#!/usr/bin/env bash
# nibabel 5.4.2: float data saved with a header of int16 (as after `Nifti1Image(values, affine, atlas.header)`) are spread
# over the whole range of int16 by a slope, so that whole numbers come back off by up to half a step, 0.016 for labels up
# to 2035 (FreeSurfer's), and `.astype(int)` gives another label for every second of them. Nothing is said.
# Seen 2026-11-27. Exits 0 while this holds.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet nibabel==5.4.2
cd "$place"; env/bin/python -W error - <<'PY'
import nibabel
import numpy as np

atlas = nibabel.Nifti1Image(np.zeros((10, 10, 10), np.int16), np.eye(4))
labels = np.zeros((10, 10, 10))
labels.flat[:36] = np.arange(2000, 2036)
nibabel.save(nibabel.Nifti1Image(labels, atlas.affine, atlas.header), "labels.nii")
back = np.asarray(nibabel.load("labels.nii").dataobj)
wrong = int(np.sum(back.astype(int) != labels))
print(f"stored as {nibabel.load('labels.nii').get_data_dtype()}: off by up to {np.abs(back - labels).max():.4f}; "
      f"as whole numbers {wrong} of 36 labels are others")
assert 0.005 < np.abs(back - labels).max() < 0.02 and wrong > 10
PY
