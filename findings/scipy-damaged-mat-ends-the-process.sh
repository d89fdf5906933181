#!/usr/bin/env bash
# SciPy 1.17.1: `loadmat` takes the type of a number in a .mat file (also EEGLAB's .set) for a place in a table of 20 and
# does not ask whether it is one, so that one damaged byte ends the process with a segmentation fault instead of an error:
# no `except` helps, and a server or a batch of subjects ends with it.
# Seen 2026-11-28. Exits 0 while this holds.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet scipy==1.17.1 numpy==2.3.5
cd "$place"; env/bin/python -W error - <<'PY'
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.io import savemat

savemat("a.mat", {"a": np.arange(6.0)})
whole = Path("a.mat").read_bytes()
at = whole.index(np.arange(6.0).tobytes()) - 8
Path("a.mat").write_bytes(whole[:at] + b"\x0e" + whole[at + 1 :])  # type 9, double, is 14, a matrix, now
code = """
import scipy.io
try:
    scipy.io.loadmat("a.mat")
except Exception as error:
    print("an error:", error)
"""
ended = [subprocess.run([sys.executable, "-c", code]).returncode for _ in range(5)]
print(f"byte {at} of {len(whole)} is 14 for 9: loadmat ends with {ended} (negative: killed by that signal)")
assert max(ended) < 0
PY
