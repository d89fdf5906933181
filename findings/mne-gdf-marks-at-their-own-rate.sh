#!/usr/bin/env bash
# MNE 1.13.2: the table of events of a GDF 1.x file states the rate that its positions count at. read_raw_gdf reads that
# rate and divides positions by the rate of the samples, so that onsets are wrong by the ratio of the two and events of
# the second half are dropped as outside of the data. The unit "mV" of the same version is read as volts.
# Seen 2026-11-28. Exits 0 while this holds.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet mne==1.13.2
cd "$place"; env/bin/python - <<'PY'
import warnings

import mne
import numpy as np

rate, marks_hz, seconds = 100, 200, 10
times = [2.0, 4.0, 8.0]
head = b"GDF 1.25" + b"X X".ljust(80) + b"made".ljust(80) + b"2026010112000000"
head += np.array([512], "<i8").tobytes() + bytes(44) + np.array([seconds], "<i8").tobytes()
head += np.array([1, 1, 1], "<u4").tobytes() + b"Cz".ljust(16) + b" " * 80 + b"mV".ljust(8)
head += np.array([-10, 10], "<f8").tobytes() + np.array([-10, 10], "<i8").tobytes()
head += b" " * 80 + np.array([rate, 16], "<i4").tobytes() + bytes(32)
data = np.full(rate * seconds, 2.0, "<f4").tobytes()  # two millivolts
table = bytes([1]) + marks_hz.to_bytes(3, "little") + np.array([len(times)], "<u4").tobytes()
table += (np.array(times) * marks_hz + 1).astype("<u4").tobytes() + np.full(len(times), 769, "<u2").tobytes()
with open("a.gdf", "wb") as file:
    file.write(head + data + table)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    raw = mne.io.read_raw_gdf("a.gdf", preload=True, verbose="error")
print(f"MNE {mne.__version__}: marks at {times} s are read at {raw.annotations.onset.tolist()} s")
print(f"2 mV are read as {raw.get_data()[0, 0]:g} V")
assert raw.annotations.onset.tolist() == [4.0, 8.0] and np.isclose(raw.get_data()[0, 0], 2.0)
PY
