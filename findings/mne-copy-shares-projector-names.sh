#!/usr/bin/env bash
# MNE 1.13.2: `raw.copy()` shares the channel names inside of projectors with its original. Channels renamed in the copy
# are renamed in the original's projectors too, so that `apply_proj` on the original leaves those channels out without a
# word and calls the projector active: an average reference whose mean is not zero. Seen 2026-11-27. Exits 0 while this
# holds.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet mne==1.13.2
"$place/env/bin/python" - <<'PY'
import mne
import numpy as np

data = np.random.default_rng(0).normal(size=(4, 200)) + 5
raw = mne.io.RawArray(data, mne.create_info(["a", "b", "c", "d"], 100.0, "eeg"), verbose="error")
raw.set_eeg_reference("average", projection=True, verbose="error")
untouched = raw.copy()
alone = mne.io.RawArray(data, mne.create_info(["a", "b", "c", "d"], 100.0, "eeg"), verbose="error")
alone.set_eeg_reference("average", projection=True, verbose="error")
untouched.rename_channels({"a": "A", "b": "B"}, verbose="error")
raw.apply_proj(verbose="error")
alone.apply_proj(verbose="error")
mean, expected = np.abs(raw.get_data().mean(axis=0)).max(), np.abs(alone.get_data().mean(axis=0)).max()
print(f"names in the original's projector: {raw.info['projs'][0]['data']['col_names']}; active: {raw.info['projs'][0]['active']}")
print(f"largest mean over channels after the average reference: {mean:.2f}; without the renamed copy {expected:.2g}")
assert mean > 0.1 and expected < 1e-9 and raw.info["projs"][0]["active"]
PY
