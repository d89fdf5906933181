"""What is planted in simulated sensors, and whether it is found.

``--part words``: contacts of simulated sEEG that answer words. In each of five data sets contacts are ranked by
training trials of every fold; at least four of the five planted ones must be among the first five (by median rank over
folds). With labels that were permuted before anything else, decoding must stay within what guessing gives.

    python benchmarks/sensors.py --part words
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.stats import binom

import brainbench as bb
from brainbench.simulation.words import SimulatedSeeg

SEEDS = range(5)
WORDS = """
kind: decode
seed: {seed}
dataset: {{name: simulated-seeg, n_subjects: 1}}
pipelines: [{{name: power, decoder: power_lr, ranges: {{beta_gamma: [10.0, 45.0]}}, window: 0.2, C: 0.1}}]
evaluate: [{{scheme: leave-one-run-out}}]
contacts: {{counts: [1, 5, 20]}}
significance: {{n_permutations: 0}}
bootstrap: {{n_draws: 100}}
"""


def words(seed: int, folder: Path) -> tuple[int, dict[str, float]]:
    """Return how many planted contacts are among the first five, and accuracy by number of contacts."""
    path = folder / f"words{seed}.yaml"
    path.write_text(WORDS.format(seed=seed), encoding="utf-8")
    done = bb.run(path, out=folder / f"run{seed}", cache=folder / f"cache{seed}")
    (drawn,) = done.facts["findings"]["trials"]["contacts"]["maps"]
    first = [name for _, name in sorted(zip(drawn["rank"], drawn["names"], strict=True))[:5]]
    planted = done.facts["dataset"]["truth"]["contacts"]["sim-01"]
    rows = done.scores.query("fold == 'all' and metric == 'accuracy' and scheme == 'leave-one-run-out, best contacts'")
    return len(set(first) & set(planted)), dict(zip(rows["roi"], rows["value"], strict=True))


def permuted(seed: int, folder: Path) -> dict[str, float]:
    """Return the same with labels that were permuted within runs."""
    recordings = SimulatedSeeg.recordings

    def shuffled(self: SimulatedSeeg, subject: str) -> list:
        rng = np.random.default_rng([seed, 5])
        found = recordings(self, subject)
        for one in found:
            rng.shuffle(one.labels)
        return found

    SimulatedSeeg.recordings = shuffled  # type: ignore[method-assign]
    try:
        return words(seed, folder / "permuted")[1]
    finally:
        SimulatedSeeg.recordings = recordings  # type: ignore[method-assign]


def print_words() -> bool:
    """Print a row a seed; return whether all planted contacts but one are found, and permuted labels are at chance."""
    n = 160
    low, high = binom.interval(1 - 0.05 / (3 * len(SEEDS)), n, 1 / 8)
    print(
        f"\n| seed | planted among the first five | 1 contact | 5 | all 20 | permuted: 1 | 5 | all 20 |\n|{'---|' * 8}"
    )
    good, start = True, time.process_time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "permuted").mkdir()
        for seed in SEEDS:
            hits, found = words(seed, folder)
            guess = permuted(seed, folder)
            shown = [f"{value:.2f}" for value in (*found.values(), *guess.values())]
            print(f"| {seed} | {hits} of 5 | {' | '.join(shown)} |", flush=True)
            good &= hits >= 4 and all(low <= n * value <= high for value in guess.values())
    print(
        f"\nChance is .125; within {low / n:.2f} to {high / n:.2f} all {3 * len(SEEDS)} accuracies of guesses lie with "
        f"95 %. {'Held' if good else 'NOT held'}. {time.process_time() - start:.0f} CPU s."
    )
    return good


def main() -> None:
    """Run the part that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["words"], required=True)
    parser.parse_args()
    sys.exit(0 if print_words() else 1)


if __name__ == "__main__":
    main()
