#!/usr/bin/env bash
# MNE 1.13.2: whether an epoch whose first sample is where a BAD annotation of no length lies (a boundary between two parts)
# is dropped depends on the number of the recording's first sample: times are compared in seconds, the annotation's as
# the difference of two of them. With first_samp 0 none of a hundred such epochs is dropped, with others many are.
# Seen 2026-11-28. Exits 0 while this holds.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet mne==1.13.2
cd "$place"; env/bin/python - <<'PY'
import mne
import numpy as np

mne.set_log_level("ERROR")
dropped = {}
for first in (0, 1000, 3823):
    raw = mne.io.RawArray(np.zeros((1, 900)), mne.create_info(["Cz"], 200.0, "eeg"), first_samp=first)
    dropped[first] = 0
    for at in range(300, 400):
        raw.set_annotations(mne.Annotations([at / 200.0], [0.0], ["BAD boundary"]))
        events = np.array([[at + first, 0, 1]])
        epochs = mne.Epochs(raw, events, tmin=0.0, tmax=0.5, baseline=None, reject_by_annotation=True, preload=True)
        dropped[first] += len(epochs) == 0
print(mne.__version__, "of 100 epochs that begin at the annotation, dropped by first_samp:", dropped)
assert dropped[0] == 0 and dropped[1000] > 10 and dropped[3823] > 10, dropped
PY
