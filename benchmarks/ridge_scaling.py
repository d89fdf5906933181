"""Time of ridge against every size of a study beside himalaya and scikit-learn, as a table, a CSV file and a plot.

    python benchmarks/ridge_scaling.py --plot docs/images/scaling.svg

CPU seconds of one thread; every contender and size that varies is a process of its own. Peers get what is best for
them: participants who met the same stimuli are stacked as targets of one fit, layers are fitted one after the other.
scikit-learn scores rows left out one by one (it has no other way to give every target its penalty), the others five
folds. Exchanges are a null of 20 targets that refits: five outer folds of all exchanged responses. brainbench chooses
penalties for some and carries the rest (`brainbench.evaluation.refit`); himalaya has no null, so that exchanged
responses are further targets of its fits; scikit-learn has `permutation_test_score`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Size:
    """What is fitted; with `exchanges`, a null."""

    rows: int = 1000
    features: int = 250
    targets: int = 1000
    penalties: int = 20
    layers: int = 1
    participants: int = 1
    exchanges: int = 0

    @property
    def alphas(self) -> np.ndarray:
        """Penalties."""
        return np.logspace(-1, 5, self.penalties)


VARIED = {
    "targets": [250, 1000, 4000],
    "rows": [500, 1000, 2000],
    "features": [125, 250, 500, 1000],
    "penalties": [5, 10, 20, 40],
    "layers": [1, 2, 4],
    "participants": [1, 2, 4],
    "exchanges": [5, 20, 40],
}
TESTED = 20
"""Targets of a null."""

FOLDS = 5

ONE_THREAD = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def made(size: Size) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return features of every layer and responses of every participant, float32."""
    rng = np.random.default_rng(0)
    layers = [rng.standard_normal((size.rows, size.features), dtype=np.float32) for _ in range(size.layers)]
    signal = layers[0][:, :20]
    people = [
        signal @ rng.standard_normal((20, size.targets), dtype=np.float32) / 5
        + rng.standard_normal((size.rows, size.targets), dtype=np.float32)
        for _ in range(size.participants)
    ]
    return layers, people


def outer(n_rows: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return training and test rows of the outer folds."""
    rows = np.arange(n_rows)
    return [(rows[rows % FOLDS != fold], rows[rows % FOLDS == fold]) for fold in range(FOLDS)]


def orders(size: Size) -> np.ndarray:
    """Return the exchanges."""
    rng = np.random.default_rng(1)
    return np.stack([rng.permutation(size.rows) for _ in range(size.exchanges)])


def brainbench(size: Size, layers: list[np.ndarray], people: list[np.ndarray]) -> None:
    """Fit, or draw a null."""
    from brainbench.heads import RidgeCV

    if not size.exchanges:
        for X in layers:
            for Y in people if size.participants == 1 else [np.hstack(people)]:
                RidgeCV(alphas=size.alphas, cv=FOLDS).fit(X, Y)
        return
    from significance import null_of

    from brainbench.evaluation.exchange import make_exchange
    from brainbench.ridge.encoding import FoldDesign, FoldSettings

    settings = FoldSettings(alphas=size.alphas, inner_folds=FOLDS)
    designs = [
        FoldDesign(layers, train, test, settings, inner_groups=None, run=np.zeros(size.rows))
        for train, test in outer(size.rows)
    ]
    exchange = make_exchange(size.rows, kind="rows", n_exchanges=size.exchanges)
    null_of(people[0], exchange, designs, {"region": np.ones(size.targets, dtype=bool)})


def himalaya(size: Size, layers: list[np.ndarray], people: list[np.ndarray]) -> None:
    """Fit, or fit exchanged responses as further targets."""
    from himalaya.ridge import RidgeCV
    from himalaya.scoring import r2_score
    from sklearn.model_selection import KFold

    solver = {"score_func": r2_score, "warn": False}
    head = RidgeCV(alphas=size.alphas.astype(np.float32), cv=KFold(FOLDS), solver_params=solver)
    if not size.exchanges:
        for X in layers:
            head.fit(X, np.hstack(people))
        return
    exchanged = np.hstack([people[0][order] for order in orders(size)])
    for train, test in outer(size.rows):
        head.fit(layers[0][train], exchanged[train]).score(layers[0][test], exchanged[test])


def scikit(size: Size, layers: list[np.ndarray], people: list[np.ndarray]) -> None:
    """Fit, or test by permutations."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, permutation_test_score

    head = RidgeCV(alphas=size.alphas, alpha_per_target=True)
    if not size.exchanges:
        for X in layers:
            head.fit(X, np.hstack(people))
        return
    cv = KFold(FOLDS, shuffle=True, random_state=0)
    permutation_test_score(head, layers[0], people[0], cv=cv, n_permutations=size.exchanges, random_state=0)


CONTENDERS: dict[str, Callable[[Size, list[np.ndarray], list[np.ndarray]], None]] = {
    "brainbench": brainbench,
    "himalaya": himalaya,
    "scikit-learn": scikit,
}


def child(name: str, sizes: list[Size]) -> None:
    """Print the CPU seconds of every size; imports are warm."""
    call = CONTENDERS[name]
    small = replace(sizes[0], rows=100, features=20, targets=10, exchanges=min(sizes[0].exchanges, 2))
    call(small, *made(small))
    seconds = []
    for size in sizes:
        data = made(size)
        start = time.process_time()
        call(size, *data)
        seconds.append(time.process_time() - start)
    print(json.dumps(seconds))


def main() -> None:
    """Print tables, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, help="also write a figure, and its numbers as CSV beside it")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], [Size(**one) for one in json.loads(options.child[1])])
        return
    base = Size()
    print(
        f"CPU seconds; where not varied {base.rows} rows, {base.features} features, {base.targets} targets, "
        f"{base.penalties} penalties, one layer, one participant; exchanges of {TESTED} targets"
    )
    found: dict[str, dict[str, list[float]]] = {}
    for what, values in VARIED.items():
        start = replace(base, targets=TESTED) if what == "exchanges" else base
        sizes = json.dumps([asdict(replace(start, **{what: value})) for value in values])
        found[what] = {}
        for name in CONTENDERS:
            command = [sys.executable, __file__, "--child", name, sizes]
            done = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ONE_THREAD
            )
            found[what][name] = json.loads(done.stdout)
        print(f"\n{what:>12s}" + "".join(f"{name:>14s}" for name in CONTENDERS))
        for index, value in enumerate(values):
            print(f"{value:12d}" + "".join(f"{seconds[index]:14.2f}" for seconds in found[what].values()), flush=True)
    if options.plot:
        draw(found, options.plot)
        with options.plot.with_suffix(".csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["varied", "size", *(f"{name}_cpu_s" for name in CONTENDERS)])
            for what, curves in found.items():
                for index, value in enumerate(VARIED[what]):
                    table.writerow([what, value, *(f"{seconds[index]:.3f}" for seconds in curves.values())])


def draw(found: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Draw a panel for every size that varies."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "brainbench"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(10, 5), sharey=True, layout="constrained")
    panels = axes.ravel()
    for axis, (what, curves) in zip(panels, found.items(), strict=False):
        for (name, seconds), color in zip(curves.items(), ("#0072B2", "#D55E00", "#009E73"), strict=True):
            axis.loglog(VARIED[what], seconds, "o-", label=name, color=color, markersize=3.5)
        axis.set_xlabel(what)
        axis.set_xticks(VARIED[what], [f"{value:,}" for value in VARIED[what]], minor=False, fontsize=7)
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("CPU seconds, one thread")
    panels[-1].axis("off")
    panels[-1].legend(*panels[0].get_legend_handles_labels(), frameon=False, loc="center")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
