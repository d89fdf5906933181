"""How often an edit that takes nothing from a region is called beyond its controls; rates at .05 and .01.

    python benchmarks/lens_calibration.py [--n 2000]

An edit takes a part of the stream away; controls take as much in directions drawn as the stream varies
(`brainbench.lens.edits.Spread`), or, with `--elsewhere`, in features chosen at random, where mostly nothing varies.
Three regions: `noise` follows nothing, `untouched` another part of the stream, `hit` the part that is taken.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from brainbench.lens.beyond import Band, band
from brainbench.lens.edits import Spread

N_ROWS, N_FEATURES, PART = 80, 30, 6
PENALTY = 10.0
REGIONS = ("noise", "untouched", "hit")


def simulated(
    rng: np.random.Generator, people: int, folds: int, elsewhere: bool = False, controls: int = 20
) -> list[Band]:
    """Return what is said of one edit and three regions, with ridge heads that stay as they are."""
    base, part = rng.standard_normal((2, N_ROWS, PART))
    features = np.zeros((N_ROWS, N_FEATURES))
    features[:, :PART], features[:, PART : 2 * PART] = base, part
    taken = np.zeros_like(features)
    taken[:, PART : 2 * PART] = part
    mean, part_taken = taken.mean(axis=0), torch.from_numpy(taken)
    spread = Spread.of(*(torch.from_numpy(one) for one in (np.cov(features.T), mean, np.cov(taken.T))))
    edits = [features - taken]
    for _ in range(controls):
        if elsewhere:
            edits.append(features - 0.3 * taken[:, rng.permutation(N_FEATURES)])
        else:
            edits.append(features - spread.turned(part_taken, spread.map([int(rng.integers(2**31))])).numpy())
    weights = rng.standard_normal((2, PART))
    signal = np.stack([np.zeros(N_ROWS), base @ weights[0], part @ weights[1]], axis=1)
    scores = np.zeros((1 + len(edits), people, folds, len(REGIONS)))
    for person in range(people):
        Y = signal + 2.0 * rng.standard_normal(signal.shape)
        for fold, test in enumerate(np.array_split(np.arange(N_ROWS), folds)):
            train = np.setdiff1d(np.arange(N_ROWS), test)
            center = features[train].mean(axis=0)
            X, y = features[train] - center, Y[train] - Y[train].mean(axis=0)
            head = np.linalg.solve(X.T @ X + PENALTY * np.eye(N_FEATURES), X.T @ y)
            for index, one in enumerate([features, *edits]):
                scores[index, person, fold] = correlations((one[test] - center) @ head, Y[test])
    return [
        band(scores[0, ..., region], scores[1, ..., region], scores[2:, ..., region], 1 / (folds - 1))
        for region in range(len(REGIONS))
    ]


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Pearson's r of every column."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return np.asarray((a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0)))


def main() -> None:
    """Print a line a design and region: rates of p among controls alone, and of the largest of three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--elsewhere", action="store_true")
    options = parser.parse_args()
    print(f"{options.n} sets; p < .05 and < .01")
    for people, folds in ((1, 5), (1, 10), (8, 5), (18, 5)):
        rng = np.random.default_rng(0)
        found = [simulated(rng, people, folds, options.elsewhere) for _ in range(max(options.n // people, 100))]
        for region, name in enumerate(REGIONS):
            for what in ("p_controls", "p"):
                p = np.array([getattr(one[region], what) for one in found])
                print(f"  {people:2} participants, {folds:2} folds, {name:9} {what:10} "
                      f"{np.mean(p < 0.05):.3f} {np.mean(p < 0.01):.3f}  ({len(p)} sets)")  # fmt: skip


if __name__ == "__main__":
    main()
