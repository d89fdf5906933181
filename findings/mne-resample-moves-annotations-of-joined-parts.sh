#!/usr/bin/env bash
# MNE 1.13.2: `Raw.resample` of recordings that were joined rounds the length of every part for itself, while annotations (the
# boundaries that joining made among them) keep their seconds: by the last of 60 parts they lie samples beside what they
# mark. Sixty parts of 1001 samples at 1000 Hz become 60 x 250 at 250 Hz; a mark in the last part lies 15 samples late.
# Seen 2026-11-28. Exits 0 while this holds.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet mne==1.13.2
cd "$place"; env/bin/python - <<'PY'
import mne
import numpy as np

mne.set_log_level("ERROR")
parts = []
for number in range(60):
    data = np.zeros((1, 1001))
    data[0, 460:541] = 1.0  # a pulse whose centre, sample 500 of every part, is marked
    raw = mne.io.RawArray(data, mne.create_info(["Cz"], 1000.0, "eeg"))
    raw.set_annotations(mne.Annotations([0.5], [0.0], ["pulse"]))
    parts.append(raw)
joined = mne.concatenate_raws(parts)


def late(raw):
    """Return by how many samples every mark lies after the centre of its pulse."""
    marks = [round(float(a["onset"]) * raw.info["sfreq"]) - raw.first_samp for a in raw.annotations if a["description"] == "pulse"]
    high = np.flatnonzero(raw.get_data()[0] > 0.5)
    centres = [run.mean() for run in np.split(high, np.flatnonzero(np.diff(high) > 1) + 1)]
    return [round(float(mark - centre), 1) for mark, centre in zip(marks, centres, strict=True)]


before, after = late(joined), late(joined.copy().resample(250.0))
print(mne.__version__, "samples late, first and last part: before", before[0], before[-1], "after", after[0], after[-1])
assert abs(before[0]) < 1 and abs(before[-1]) < 1, before
assert abs(after[0]) < 1.5 and after[-1] > 10, after
PY
