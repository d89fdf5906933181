#!/usr/bin/env bash
# MNE 1.13.2: `Raw.resample` by its default (FFT) moves a recording by up to half a sample of the new rate, by how long it is:
# it pads both ends, and rounds what it takes off again. From 512 to 128 Hz, where every fourth sample has a place of its
# own, signals come up to 3.9 ms early or late. Seen 2026-11-28. Exits 0 while this holds.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet mne==1.13.2
cd "$place"; env/bin/python - <<'PY'
import mne
import numpy as np

mne.set_log_level("ERROR")
worst = {}
for rate, new in ((512.0, 128.0), (1000.0, 250.0), (250.0, 100.0)):
    lags = []
    for n in range(20_000, 20_040):
        signal = np.sin(2 * np.pi * 5 * np.arange(n) / rate)
        raw = mne.io.RawArray(signal[None], mne.create_info(1, rate, "eeg")).resample(new)
        times = np.arange(1000, 1500) / new  # far from both ends
        found = raw.get_data()[0, 1000:1500]
        phase = np.angle(np.sum(found * np.exp(-2j * np.pi * 5 * times))) + np.pi / 2  # of a sine: 0
        lags.append(1000 * np.angle(np.exp(1j * phase)) / (2 * np.pi * 5))
    worst[rate, new] = max(np.abs(lags)) / (1000 / new)
    print(mne.__version__, f"{rate:g} -> {new:g} Hz, 40 lengths: {min(lags):.2f} to {max(lags):.2f} ms off")
assert all(0.4 < one < 0.6 for one in worst.values()), worst
PY
