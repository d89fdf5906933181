"""Which of braindecode's foundation models read a small EEG cap, offline, as they come.

    OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 python benchmarks/foundation_models.py

Each is built with random weights for 19 channels and 4 s at 200 Hz, without and with positions (``chs_info``). It reads
two segments twice, and the first alone. No weights are downloaded, and none is compared with published numbers.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from typing import Any

import torch

MODELS = (
    "Labram", "BIOT", "CBraMod", "EEGPT", "EEGDINO", "LUNA", "SignalJEPA", "CodeBrain", "STEEGFormer", "REVE", "BENDR",
)  # fmt: skip
NAMES = "Fp1 Fp2 F7 F3 Fz F4 F8 T7 C3 Cz C4 T8 P7 P3 Pz P4 P8 O1 O2".split()
SFREQ, N_TIMES = 200.0, 800


def verdict(name: str, info: Any, *, positions: bool) -> str:
    """Return what a model does with two segments of noise, or why it cannot be built."""
    import braindecode.models

    builder = getattr(braindecode.models, name)
    declared = inspect.signature(builder).parameters
    given = {"n_outputs": 2, "n_chans": len(NAMES), "n_times": N_TIMES, "sfreq": SFREQ}
    given |= {"chs_info": info["chs"]} if positions else {}
    torch.manual_seed(0)
    try:
        network = builder(**{key: value for key, value in given.items() if key in declared}).eval()
        X = torch.randn(2, len(NAMES), N_TIMES)
        with torch.inference_mode():
            first, again, alone = network(X), network(X), network(X[:1])
    except Exception as error:  # whatever a model refuses with
        return f"{type(error).__name__}: {str(error).splitlines()[0][:110]}"
    n = sum(weight.numel() for weight in network.parameters())
    same = "equal" if torch.equal(first, again) else "not equal"
    apart = float((first[:1] - alone).abs().max())
    return f"{n:,} weights; gives {tuple(first.shape)}; two passes {same}; alone within {apart:.0e}"


def main() -> None:
    """Print a line for every model."""
    import mne

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    info = mne.create_info(NAMES, SFREQ, "eeg", verbose="ERROR").set_montage("standard_1005", verbose="ERROR")
    for name in MODELS:
        for positions in (False, True):
            print(f"{name:12} {'positions' if positions else '         '}  {verdict(name, info, positions=positions)}")


if __name__ == "__main__":
    main()
