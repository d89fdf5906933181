"""Training of EEG networks: an epoch beside braindecode's own loop, and MVCNet beside another build.

    python benchmarks/networks.py [--against /path/to/other/venv/bin/python] [--rounds 2] [--trials 256]

One thread, CPU seconds of one more epoch (the difference of fits of three epochs and of one), medians of alternating
rounds, trials of 64 electrodes x 480 samples in batches of 64. That loss and gradients of a step are those of the
library is tested (`tests/networks/zoo`). Exit code 1 if a target is missed.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
from common import Targets

AT_MOST = 0.7
EPOCHS = 1, 3

MVCNET = """
import sys, time, warnings, numpy as np
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(1)
try:
    from brainbench.networks.classifiers import MVCNetClassifier
except ModuleNotFoundError:  # release 540e7c1 had it elsewhere
    from brainbench.heads.networks import MVCNetClassifier
rng = np.random.default_rng(0)
NAMES = "Fz FC3 FC1 FCz FC2 FC4 C5 C3 C1 Cz C2 C4 C6 CP3 CP1 CPz CP2 CP4 P1 Pz P2 POz".split()
X, y = rng.standard_normal((int(sys.argv[1]), 22, 480)).astype(np.float32), np.arange(int(sys.argv[1])) % 2
seconds = []
for n_epochs in (1, 1, 3):
    start = time.process_time()
    MVCNetClassifier(160.0, NAMES, n_epochs=n_epochs, validation=0, device="cpu").fit(X, y)
    seconds.append(time.process_time() - start)
print((seconds[2] - seconds[1]) / 2)
"""


def epoch(fit: Callable[[int], object]) -> float:
    """Return the CPU seconds of one more epoch."""
    seconds = []
    for n_epochs in EPOCHS:
        start = time.process_time()
        fit(n_epochs)
        seconds.append(time.process_time() - start)
    return (seconds[1] - seconds[0]) / (EPOCHS[1] - EPOCHS[0])


def here(name: str, X: np.ndarray, y: np.ndarray) -> Callable[[int], object]:
    """Return a fit as recipes make it."""
    from brainbench.networks.classifiers import NetworkClassifier

    return lambda n_epochs: NetworkClassifier(
        f"braindecode.{name}", n_epochs=n_epochs, validation=0, batch_size=64, device="cpu", sfreq=160.0
    ).fit(X, y)


def there(name: str, X: np.ndarray, y: np.ndarray) -> Callable[[int], object]:
    """Return a fit by braindecode's classifier, with the same optimiser and batches."""
    import torch
    from braindecode import EEGClassifier, models

    def fit(n_epochs: int) -> object:
        network = getattr(models, name)(n_chans=X.shape[1], n_outputs=2, n_times=X.shape[2], sfreq=160.0)
        return EEGClassifier(
            network, criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.AdamW, batch_size=64, train_split=None,
            max_epochs=n_epochs, verbose=0, device="cpu", classes=[0, 1],
        ).fit(X, y)  # fmt: skip

    return fit


def main() -> None:
    """Print a line a network."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", help="the python of an environment with the other build, for MVCNet")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--trials", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    X = np.random.default_rng(0).standard_normal((options.trials, 64, 480)).astype(np.float32)
    y = np.arange(len(X)) % 2
    targets = Targets()

    def line(what: str, pairs: list[tuple[float, float]]) -> None:
        found = statistics.median(one / other for one, other in pairs)
        one, other = (statistics.median(side) for side in zip(*pairs, strict=True))
        targets.at_most(f"an epoch of {what}", found, AT_MOST, f"{one:.2f} s, there {other:.2f} s")

    for name in ("EEGNet", "ShallowFBCSPNet"):
        fits = here(name, X, y), there(name, X, y)
        for fit in fits:
            fit(1)  # warm
        line(f"{name} over braindecode's loop", [(epoch(fits[0]), epoch(fits[1])) for _ in range(options.rounds)])
    if options.against:
        pairs = [
            tuple(
                float(
                    subprocess.run(
                        [python, "-P", "-c", MVCNET, str(options.trials // 2)],  # not the build of this folder
                        check=True,
                        capture_output=True,
                        text=True,
                    ).stdout
                )
                for python in (sys.executable, options.against)
            )
            for _ in range(options.rounds)
        ]
        line("MVCNet over the other build's", pairs)
    else:
        targets.left_out("an epoch of MVCNet over the other build's", "--against is not given")
    targets.leave()


if __name__ == "__main__":
    main()
