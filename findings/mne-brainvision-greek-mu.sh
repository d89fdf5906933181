#!/usr/bin/env bash
# MNE 1.13.2: a BrainVision header that spells the unit with the Greek mu (U+03BC) in place of the micro sign (U+00B5)
# is read as a channel of kind misc whose counts are not brought to volts; with the micro sign it is EEG in volts.
# Seen 2026-11-27. Exits 0 while this holds.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet mne==1.13.2
cd "$place"; env/bin/python - <<'PY'
import numpy as np
import mne

kinds, sizes = [], []
for name, unit in (("micro", "\u00b5V"), ("greek", "\u03bcV")):
    (np.full((500, 1), 100, "<i2")).tofile(f"{name}.eeg")
    with open(f"{name}.vhdr", "w", encoding="utf-8") as file:
        file.write("Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
                   f"DataFile={name}.eeg\nMarkerFile={name}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
                   "NumberOfChannels=1\nSamplingInterval=4000\n\n[Binary Infos]\nBinaryFormat=INT_16\n\n"
                   f"[Channel Infos]\nCh1=C3,,1,{unit}\n")
    with open(f"{name}.vmrk", "w", encoding="utf-8") as file:
        file.write("Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
                   f"DataFile={name}.eeg\n\n[Marker Infos]\nMk1=New Segment,,1,1,0,20200101000000000000\n")
    raw = mne.io.read_raw_brainvision(f"{name}.vhdr", preload=True, verbose="error")
    kinds.append(raw.get_channel_types()[0])
    sizes.append(float(raw.get_data()[0, 100]))
    print(f"{name}: kind {kinds[-1]}, 100 counts are {sizes[-1]:g}")
assert kinds == ["eeg", "misc"] and np.allclose(sizes, [1e-4, 100.0]), (kinds, sizes)
PY
