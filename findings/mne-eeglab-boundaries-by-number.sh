#!/usr/bin/env bash
# MNE 1.13.2: where all events of an EEGLAB file are numbers, EEGLAB (`option_boundary99`) and ERPLAB call a cut -99, not
# 'boundary'. MNE warns of 'boundary' events alone: of -99 it says nothing, and epochs span the cut. Seen 2026-11-28.
# Exits 0 while this holds.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet mne==1.13.2 pymatreader==1.3.2
cd "$place"; env/bin/python - <<'PY'
import warnings

import mne
import numpy as np
from scipy.io import savemat

mne.set_log_level("WARNING")
rng, cut = np.random.default_rng(0), 1000
data = rng.normal(size=(2, 3000)).astype(np.float32)
data[:, cut:] += 500  # what came after the stretch that was cut out
said, spanning = {}, {}
for name in ("boundary", -99.0):
    kinds = [("type", object), ("latency", object), ("duration", object)]
    events = np.array([(1.0, 950.0, 0.0), (name, cut + 0.5, 250.0), (2.0, 2000.0, 0.0)], dtype=kinds)
    eeg = {
        "nbchan": 2.0, "trials": 1.0, "pnts": 3000.0, "srate": 250.0, "xmin": 0.0, "xmax": 12.0, "data": data,
        "chanlocs": np.array([("Cz",), ("Pz",)], dtype=[("labels", object)]), "event": events, "epoch": [],
        "chaninfo": {"plotrad": 1.0}, "icawinv": [], "icasphere": [], "icaweights": [], "icachansind": [],
    }
    savemat("a.set", {"EEG": eeg}, appendmat=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        raw = mne.io.read_raw_eeglab("a.set", preload=True)
    said[name] = any("boundary" in str(one.message).lower() for one in caught)
    found, codes = mne.events_from_annotations(raw, verbose="ERROR")
    epochs = mne.Epochs(raw, found, codes, tmin=0.0, tmax=1.0, baseline=None, preload=True, verbose="ERROR")
    spanning[name] = int(sum(np.ptp(one, axis=-1).max() > 400e-6 for one in epochs.get_data()))
    print(mne.__version__, name, "events:", sorted(codes), "warned of:", said[name], "epochs with the jump:", spanning[name])
assert said["boundary"] and not said[-99.0] and spanning[-99.0] == 1, (said, spanning)
PY
