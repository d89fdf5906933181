"""Which of braindecode's foundation models read a small EEG cap through the adapter, offline.

    OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 python benchmarks/foundation_models.py

Each is built with random weights for 19 channels and 4 s at 200 Hz, told names and places as the adapter tells them. It
reads two segments twice, and the first alone; its own forward on the channels that it was given must give the same. No
weights are downloaded, and none is compared with published numbers.
"""

from __future__ import annotations

import logging
import warnings

import numpy as np
import torch

from brainbench.core.errors import UserError
from brainbench.networks.zoo.foundation import FOUNDATION, REFUSED, FoundationBuilder

NAMES = "Fp1 Fp2 F7 F3 Fz F4 F8 T7 C3 Cz C4 T8 P7 P3 Pz P4 P8 O1 O2".split()
SFREQ, N_TIMES = 200.0, 800


def verdict(name: str, positions: np.ndarray) -> str:
    """Return what a model does with two segments of noise, or why it cannot be built."""
    builder = FoundationBuilder(name, NAMES, positions)
    torch.manual_seed(0)
    try:
        network = builder(len(NAMES), 2, N_TIMES, SFREQ).eval()
        index, names = builder.channels()
        X = torch.randn(2, len(NAMES), N_TIMES)
        with torch.inference_mode():
            first, again, alone = network(X), network(X), network(X[:1])
            network._forward_pre_hooks.clear()  # the model as braindecode has it
            told = {"ch_names": names} if builder.rule.asked else {}
            own = network(X[:, index], **told)
    except UserError as error:
        return f"refused: {error.message}"
    n = sum(weight.numel() for weight in network.parameters())
    same = "equal" if torch.equal(first, again) else "not equal"
    apart, off = float((first[:1] - alone).abs().max()), float((first - own).abs().max())
    passes = f"two passes {same}; alone within {apart:.0e}; its own forward within {off:.0e}"
    return f"{n:,} weights; {passes}; {builder.said()}"


def main() -> None:
    """Print a line for every model."""
    import mne

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    info = mne.create_info(NAMES, SFREQ, "eeg", verbose="ERROR").set_montage("colin27_1005", verbose="ERROR")
    positions = np.array([channel["loc"][:3] for channel in info["chs"]])
    for name in (*FOUNDATION, *REFUSED):
        print(f"{name:22} {verdict(name, positions)}", flush=True)


if __name__ == "__main__":
    main()
