#!/usr/bin/env bash
# MNE 1.13.2: `mne.pick_info(info, ...)` copies, but opens the Info it is given for writing while it checks it and closes it
# again, so that two threads which pick from one Info fail with "... cannot be set directly".
# Seen 2026-11-28. Exits 0 while this holds.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet mne==1.13.2
cd "$place"; env/bin/python - <<'PY'
from concurrent.futures import ThreadPoolExecutor

import mne

info = mne.create_info([f"A{n}" for n in range(200)], 100.0, "seeg")


def pick(thread):
    for n in range(500):
        try:
            mne.pick_info(info, [n % 200])
        except RuntimeError as error:
            return str(error)
    return ""


for attempt in range(10):  # which threads meet is chance
    with ThreadPoolExecutor(8) as threads:
        failed = [one for one in threads.map(pick, range(8)) if one]
    if failed:
        break
print(failed[:1])
assert any("cannot be set directly" in one for one in failed), failed
PY
