"""RidgeCV beside himalaya, scikit-learn and the products that no exact solver can avoid.

Every measurement is a process of its own, so that peak memory is that of one fit; runs of the contenders alternate, and
ratios are medians over rounds. Run `python benchmarks/ridge.py`, or with `--quick` for sizes of a few seconds.

The floor is X'X + X'Y + one validation prediction of every row and target, in the same type and with the same threads.
Regret is the R2 that the chosen penalties lose against the best ones by a direct computation in float64. Targets stand
below the tables, in CPU seconds but for a second thread, which is worth what it saves by the clock: run it alone. Exit
code 1 if one is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import Targets

CHECKED = 500
"""Targets whose scores are computed directly in float64."""


@dataclass(frozen=True)
class Shape:
    """One problem; `spectrum` is how the features' variances fall off."""

    name: str
    n: int
    p: int
    t: int
    n_alphas: int = 20
    spectrum: str = "flat"
    contenders: tuple[str, ...] = ("brainbench", "himalaya RidgeCV")


EVERYBODY = ("brainbench", "brainbench torch", "himalaya RidgeCV", "himalaya RidgeCV torch", "scikit-learn")
KERNEL = (
    "brainbench no weights",
    "brainbench predictions",
    "brainbench",
    "brainbench torch",
    "himalaya KernelRidgeCV",
    "himalaya KernelRidgeCV predictions",
    "himalaya KernelRidgeCV torch",
)
FULL = [
    Shape("n > p", 3000, 768, 8000, contenders=EVERYBODY),
    Shape("n < p", 1500, 3000, 8000, contenders=KERNEL),
    Shape(
        "n < p, correlated",
        1500,
        3000,
        8000,
        spectrum="power",
        contenders=("brainbench no weights", "himalaya KernelRidgeCV"),
    ),
    Shape("many targets", 1000, 300, 30000),
    Shape("many alphas", 2000, 500, 4000, n_alphas=60),
    Shape("correlated", 3000, 768, 4000, spectrum="power"),
    Shape("ill-conditioned", 2000, 500, 4000, spectrum="exponential"),
]
ASKED = {
    "n > p": [("brainbench", "himalaya RidgeCV", 10.0)],
    "n < p": [
        ("brainbench predictions", "himalaya KernelRidgeCV predictions", 4.0),
        ("brainbench", "himalaya KernelRidgeCV", 4.0),
    ],
}
"""Of the full shapes: how many times as long the other one takes at least."""

MOST_OF_FLOOR = {"n > p": 4.0}
LEAST_OF_TWO_THREADS = 1.7
LARGEST_REGRET = 1e-4

QUICK = [
    Shape("n > p", 600, 150, 800, contenders=EVERYBODY),
    Shape("n < p", 300, 500, 400, contenders=KERNEL),
    Shape("correlated", 600, 150, 800, spectrum="power"),
    Shape("ill-conditioned", 600, 150, 800, spectrum="exponential"),
]


def make(shape: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((shape.n, shape.p))
    falls = {"flat": np.ones(shape.p), "power": np.arange(1, shape.p + 1.0) ** -1}
    falls["exponential"] = np.exp(-12.0 * np.arange(shape.p) / shape.p)
    fall = falls[shape.spectrum]
    if shape.spectrum != "flat":
        X = (X * fall) @ np.linalg.qr(rng.standard_normal((shape.p, shape.p)))[0]
    X *= np.sqrt(shape.p) / np.linalg.norm(fall)
    Y = X[:, : min(shape.p, 200)] @ rng.standard_normal((min(shape.p, 200), shape.t)) / 14
    Y = rng.uniform(0, 1, shape.t) * Y + rng.standard_normal((shape.n, shape.t))
    return X.astype(np.float32), Y.astype(np.float32), np.logspace(-1, 5, shape.n_alphas)


def contender(name: str) -> Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return a function of X, Y and alphas that fits and gives chosen alphas and the scores of these."""
    library, *rest = name.split()

    def brainbench(X, Y, alphas):
        from brainbench.heads import RidgeCV

        if "torch" in rest:
            import torch

            X, Y = torch.from_numpy(X), torch.from_numpy(Y)
        # himalaya's kernel ridge keeps dual weights; weights of features are a large product that it does not make.
        head = RidgeCV(alphas=alphas, store_coef="no" not in rest and "predictions" not in rest)
        if "predictions" in rest:
            head.fit_then_predict(X, Y, X[: len(X) // 5])
        else:
            head.fit(X, Y)
        return np.asarray(head.best_alphas_), np.asarray(head.cv_scores_).max(axis=0)

    def himalaya(X, Y, alphas):
        from himalaya.backend import set_backend
        from himalaya.kernel_ridge import KernelRidgeCV
        from himalaya.ridge import RidgeCV
        from himalaya.scoring import r2_score
        from sklearn.model_selection import KFold

        backend = set_backend("torch" if "torch" in rest else "numpy")
        X, Y, alphas = backend.asarray(X), backend.asarray(Y), backend.asarray(alphas.astype(np.float32))
        solver = {"score_func": r2_score}
        if rest[0] == "RidgeCV":
            head = RidgeCV(alphas=alphas, fit_intercept=True, cv=KFold(5), solver_params={**solver, "warn": False})
        else:
            head = KernelRidgeCV(alphas=alphas, kernel="linear", fit_intercept=True, cv=KFold(5), solver_params=solver)
        head.fit(X, Y)
        if "predictions" in rest:
            head.predict(X[: len(X) // 5])
        return backend.to_numpy(head.best_alphas_), backend.to_numpy(head.cv_scores_)

    def scikit(X, Y, alphas):
        from sklearn.linear_model import RidgeCV

        head = RidgeCV(alphas=alphas, alpha_per_target=True).fit(X, Y)  # leave-one-out: it has no other for many alphas
        return head.alpha_, 1 + head.best_score_ / Y.var(axis=0)

    return {"brainbench": brainbench, "himalaya": himalaya, "scikit-learn": scikit}[library]


def floor(X: np.ndarray, Y: np.ndarray) -> float:
    """Return the CPU seconds of the products that no exact solver avoids."""
    times = []
    for _ in range(5):
        start = time.process_time()
        _ = X.T @ X
        cross = X.T @ Y
        for rows in np.array_split(np.arange(len(X)), 5):
            _ = X[rows[0] : rows[-1] + 1] @ cross
        times.append(time.process_time() - start)
    return float(np.median(times))


class Peak:
    """Peak of anonymous memory above that at the start, sampled from a thread."""

    def __enter__(self) -> Peak:
        self.start = self.peak = anonymous_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self.peak = max(self.peak, anonymous_bytes())

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def mib(self) -> float:
        """Return the rise in MiB."""
        return (self.peak - self.start) / 2**20


def anonymous_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return 0


def child(shape: Shape, name: str, out: str) -> None:
    """Measure one fit; imports and threads are warm, memory is not."""
    X, Y, alphas = make(shape)
    run = contender(name)
    run(X[:100, :50].copy(), Y[:100, :10].copy(), alphas[:3])
    with Peak() as peak:
        start, cpu = time.perf_counter(), time.process_time()
        chosen, scores = run(X, Y, alphas)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    np.savez(out, chosen=chosen, scores=scores, seconds=seconds, cpu=cpu, mib=peak.mib, floor=floor(X, Y))


def direct_scores(X: np.ndarray, Y: np.ndarray, alphas: np.ndarray, n_folds: int) -> np.ndarray:
    """Return R2 of every penalty by the textbook in float64, for the first targets, in contiguous folds."""
    X, Y = X.astype(np.float64), Y[:, :CHECKED].astype(np.float64)
    scores = np.zeros((len(alphas), Y.shape[1]))
    for test in np.array_split(np.arange(len(X)), n_folds):
        train = np.setdiff1d(np.arange(len(X)), test)
        mean_x, mean_y = X[train].mean(axis=0), Y[train].mean(axis=0)
        U, s, Vt = np.linalg.svd(X[train] - mean_x, full_matrices=False)
        B, Z = U.T @ (Y[train] - mean_y), (X[test] - mean_x) @ Vt.T
        total = ((Y[test] - Y[test].mean(axis=0)) ** 2).sum(axis=0)
        for index, alpha in enumerate(alphas):
            left = Y[test] - mean_y - Z @ ((s / (s**2 + alpha))[:, None] * B)
            scores[index] += (1 - (left**2).sum(axis=0) / total) / n_folds
    return scores


def at_chosen(scores: np.ndarray, alphas: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the scores of the first targets with the penalties that were chosen."""
    index = np.abs(np.log(alphas)[:, None] - np.log(chosen[: scores.shape[1]])).argmin(axis=0)
    return np.asarray(scores[index, np.arange(scores.shape[1])])


def regret(X: np.ndarray, Y: np.ndarray, alphas: np.ndarray, chosen: np.ndarray, n_folds: int) -> float:
    """Return the most R2 that one of the first targets loses by the penalty that was chosen."""
    scores = direct_scores(X, Y, alphas, n_folds)
    return float((scores.max(axis=0) - at_chosen(scores, alphas, chosen)).max())


@dataclass
class Measured:
    """CPU seconds of every round of the contenders, those of the floor, and the regret of the first contender."""

    cpu: dict[str, list[float]]
    floor: float
    regret: float


def run_child(shape: Shape, name: str, out: str, threads: int | None = None) -> dict[str, np.ndarray]:
    """Measure one fit in a process of its own."""
    command = [sys.executable, __file__, "--child", json.dumps([asdict(shape), name, out])]
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS") if threads else ()
    environment = os.environ | dict.fromkeys(variables, str(threads))
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env=environment)
    with np.load(out) as found:
        return dict(found)


def measure(shape: Shape, rounds: int) -> Measured:
    X, Y, alphas = make(shape)
    scores = direct_scores(X, Y, alphas, 5)
    results: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in shape.contenders}
    with TemporaryDirectory() as folder:
        out = str(Path(folder) / "result.npz")
        for _ in range(rounds):
            for name in shape.contenders:
                results[name].append(run_child(shape, name, out))
    lowest = float(np.median([one["floor"] for runs in results.values() for one in runs]))
    size = f"{shape.n} x {shape.p} -> {shape.t} targets, {shape.n_alphas} alphas"
    print(f"\n{shape.name}: {size}, {shape.spectrum} spectrum")
    print(
        f"{'':30s}{'time s':>9s}{'ratio':>8s}{'x floor':>9s}{'CPU s':>8s}{'ratio':>8s}{'peak MiB':>10s}"
        f"{'score diff':>12s}{'regret':>10s}"
    )
    print(f"{'floor':30s}{'':17s}{1.0:9.1f}{lowest:8.2f}")
    reference = shape.contenders[0]
    own, own_cpu = ([float(one[what]) for one in results[reference]] for what in ("seconds", "cpu"))
    for name, runs in results.items():
        seconds = [float(one["seconds"]) for one in runs]
        ratio = np.median([a / b for a, b in zip(seconds, own, strict=True)])
        cpu = [float(one["cpu"]) for one in runs]
        cpu_ratio = np.median([a / b for a, b in zip(cpu, own_cpu, strict=True)])
        mib = np.median([float(one["mib"]) for one in runs])
        there, best = at_chosen(scores, alphas, runs[0]["chosen"]), runs[0]["scores"][: scores.shape[1]]
        ends = f"{np.abs(best - there).max():12.1e}{(scores.max(axis=0) - there).max():10.1e}"
        if name == "scikit-learn":
            ends = f"{'leave-one-out':>22s}"  # another score, so that neither column means anything
        print(
            f"{name:30s}{np.median(seconds):9.2f}{ratio:8.1f}{np.median(cpu) / lowest:9.1f}"
            f"{np.median(cpu):8.2f}{cpu_ratio:8.1f}{mib:10.0f}{ends}",
            flush=True,
        )
    lost = scores.max(axis=0) - at_chosen(scores, alphas, results[reference][0]["chosen"])
    seconds_of = {name: [float(one["cpu"]) for one in runs] for name, runs in results.items()}
    return Measured(seconds_of, lowest, float(lost.max()))


def second_thread(shape: Shape, rounds: int) -> float:
    """Return how many times as long one thread takes by the clock, over two."""
    with TemporaryDirectory() as folder:
        out = str(Path(folder) / "result.npz")
        rounds_of = [[float(run_child(shape, "brainbench", out, n)["seconds"]) for n in (1, 2)] for _ in range(rounds)]
    return float(np.median([one / two for one, two in rounds_of]))


def targets_of(found: dict[str, Measured], rounds: int) -> None:
    """Print the targets of the full shapes that were measured, and end."""
    print()
    targets = Targets()
    for shape in FULL:
        if shape.name not in found:
            continue
        one, what = found[shape.name], f"{shape.name}, {shape.n} x {shape.p} -> {shape.t}"
        for ours, other, least in ASKED.get(shape.name, ()):
            ratio = np.median([a / b for a, b in zip(one.cpu[other], one.cpu[ours], strict=True)])
            targets.at_least(f"{what}, {other} over {ours}", float(ratio), least)
        if shape.name in MOST_OF_FLOOR:
            over_floor = float(np.median(one.cpu["brainbench"])) / one.floor
            targets.at_most(f"{what}, over the floor", over_floor, MOST_OF_FLOOR[shape.name])
            gain = second_thread(shape, rounds)
            targets.at_least(f"{what}, one thread over two, by the clock", gain, LEAST_OF_TWO_THREADS)
        targets.at_most(f"{what}, regret", one.regret, LARGEST_REGRET)
    targets.leave()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="sizes of a few seconds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="name of one shape")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        shape, name, out = json.loads(options.child)
        child(Shape(**shape), name, out)
        return
    print("ratio: over the first line, median over rounds; CPU seconds are what to trust on a machine that is shared")
    asked = [shape for shape in (QUICK if options.quick else FULL) if options.only in (None, shape.name)]
    found = {shape.name: measure(shape, options.rounds) for shape in asked}
    if not options.quick:
        targets_of(found, options.rounds)


if __name__ == "__main__":
    main()
