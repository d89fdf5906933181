#!/usr/bin/env bash
# MNE 1.13.2: the records of an EDF+D file ("discontinuous") say when each of them began. read_raw_edf puts the records
# one after the other without a mark between, and leaves annotations at the times of the clock, so that after an
# interruption they lie too late by its length, and the last ones are dropped as outside of the data.
# Seen 2026-11-28. Exits 0 while this holds.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet mne==1.13.2
cd "$place"; env/bin/python - <<'PY'
import mne
import numpy as np

rate, begin, marks = 100, [0, 1, 2, 3, 4, 7, 8, 9, 10, 11], {1.5: "one", 7.5: "two", 11.5: "three"}
samples = np.zeros(rate * len(begin), "<i2")
for at in marks:  # a step where each mark was set
    record = max(k for k, start in enumerate(begin) if start <= at)
    first = round((record + at - begin[record]) * rate)
    samples[first : first + 20] = 1000
head = b"0".ljust(8) + b"X X X X".ljust(80) + b"Startdate 01-JAN-2020 X X X".ljust(80) + b"01.01.2010.00.00"
for text, width in ((256 * 3, 8), ("EDF+D", 44), (len(begin), 8), (1, 8), (2, 4)):
    head += str(text).ljust(width).encode()
for width, pair in ((16, ("Cz", "EDF Annotations")), (80, ("", "")), (8, ("uV", "")), (8, (-100, -1)), (8, (100, 1)),
                    (8, (-32768, -32768)), (8, (32767, 32767)), (80, ("", "")), (8, (rate, 60)), (32, ("", ""))):
    head += b"".join(str(one).ljust(width).encode() for one in pair)
with open("a.edf", "wb") as file:
    file.write(head)
    for record, start in enumerate(begin):
        file.write(samples[record * rate : (record + 1) * rate].tobytes())
        said = f"+{start}\x14\x14\0" + "".join(f"+{at}\x14{m}\x14\0" for at, m in marks.items() if 0 <= at - start < 1)
        file.write(said.encode().ljust(120, b"\0"))
raw = mne.io.read_raw_edf("a.edf", preload=True, verbose="error")
steps = (np.flatnonzero(np.diff(raw.get_data()[0]) > 1e-6) + 1) / rate
print(f"MNE {mne.__version__}: steps at {steps.tolist()} s, marks at {raw.annotations.onset.tolist()} s")
assert steps.tolist() == [1.5, 5.5, 9.5] and raw.annotations.onset.tolist() == [1.5, 7.5]
PY
