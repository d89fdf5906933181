"""Ridge as recipes run it, against its targets: beside himalaya, beside single fits, beside another build.

    python benchmarks/ridge_targets.py [--only bands] [--against /path/to/other/venv/bin/python] [--rounds 3]

One BLAS thread, CPU seconds, medians of alternating runs. Features are in float64, standardised, as a fold of a recipe
has them; himalaya gets its own float32. Every line prints the measured ratio, the target and whether it is met, and the
type in which penalties were compared (`RidgeCV.compared_in_`); regret is the R2 that the chosen penalties lose against
the best ones by a direct computation (`ridge.py`). Exit code 1 if a target is missed.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is imported

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from common import Targets, alternate, ratio
from ridge import regret

ALPHAS = np.logspace(-3, 5, 17)
INNER = 4
LARGEST_REGRET = 1e-4


def scaled(X: np.ndarray) -> np.ndarray:
    """Return features as a fold has them."""
    X = np.asarray(X, dtype=np.float64)
    spread = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(spread > 0, spread, np.inf) / np.sqrt(X.shape[1])


def responses(X: np.ndarray, t: int) -> np.ndarray:
    """Return responses of which features explain between nothing and half."""
    rng = np.random.default_rng(1)
    signal = X @ rng.standard_normal((X.shape[1], t))
    return rng.uniform(0, 1, t) * signal / signal.std(axis=0) + rng.standard_normal((len(X), t))


def made(n: int, p: int) -> np.ndarray:
    """Return features whose variances fall off, as those of layers do."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p)) * np.arange(1, p + 1) ** -0.5
    return X @ np.linalg.qr(rng.standard_normal((p, p)))[0]


def himalaya_ridge(X: np.ndarray, Y: np.ndarray) -> Callable[[], object]:
    """Return a fit and predictions by himalaya, kernel ridge where there are more features than rows."""
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import KernelRidgeCV
    from himalaya.ridge import RidgeCV
    from himalaya.scoring import r2_score
    from sklearn.model_selection import KFold

    set_backend("numpy")
    X, Y, alphas = X.astype(np.float32), Y.astype(np.float32), ALPHAS.astype(np.float32)
    solver = {"score_func": r2_score}

    def fit() -> object:
        if X.shape[1] < len(X):
            head = RidgeCV(alphas=alphas, fit_intercept=True, cv=KFold(INNER), solver_params={**solver, "warn": False})
        else:
            head = KernelRidgeCV(alphas=alphas, kernel="linear", fit_intercept=True, cv=KFold(INNER),
                                 solver_params=solver)  # fmt: skip
        return head.fit(X, Y).predict(X[: len(X) // 5])

    return fit


def beside_himalaya(
    targets: Targets, what: str, X: np.ndarray, Y: np.ndarray, least: float, rounds: int, weights: bool = False
) -> None:
    """Print how many times as long himalaya takes, and what the penalties chosen here lose."""
    from brainbench.heads import RidgeCV

    head = RidgeCV(ALPHAS, cv=INNER, store_coef=weights)
    calls = {"here": lambda: head.fit_then_predict(X, Y, X[: len(X) // 5]), "himalaya": himalaya_ridge(X, Y)}
    seconds = alternate(calls, rounds, time.process_time)
    lost = regret(X, Y, ALPHAS, head.best_alphas_, INNER)
    remark = f"penalties in {head.compared_in_}"
    targets.at_least(f"{what}, himalaya over here", 1 / ratio(seconds, "here", "himalaya"), least, remark)
    targets.at_most(f"{what}, regret", lost, LARGEST_REGRET)


def shapes(targets: Targets, rounds: int) -> None:
    """Print the synthetic shapes."""
    for n, p, t, bound in ((3000, 768, 4000, 10.0), (1500, 3000, 4000, 4.0)):
        X = scaled(made(n, p))
        Y = responses(X, t)
        for weights in (False, True):
            what = f"{n} x {p} -> {t}, {'weights' if weights else 'predictions'}"
            beside_himalaya(targets, what, X, Y, bound, rounds, weights)


def layers(targets: Targets, rounds: int) -> None:
    """Print layers of EfficientNet-Lite0 on photographs."""
    from brainbench.encoders.base import open_encoder
    from brainbench.recipes.encoders import ImageSettings
    from brainbench.simulation.photos import sample_crops

    stimuli = sample_crops(400, 0)
    settings = ImageSettings(
        name="e", family="image", model="tf_efficientnet_lite0", weights="installed", image_size=128
    )
    encoder, wanted = open_encoder(settings, seed=0, device="cpu"), ["blocks.2", "blocks.6"]
    for pool in ("mean", "flatten"):
        batches = list(encoder.encode(stimuli, wanted, pool))
        for layer in wanted:
            X = scaled(np.concatenate([batch[layer] for batch in batches])[:, :6000])
            what = f"{layer}, {pool}, 400 x {X.shape[1]} -> 2000"
            beside_himalaya(targets, what, X, responses(X, 2000), 4.0, rounds)


def bands(targets: Targets, rounds: int) -> None:
    """Print banded ridge with seven mixtures; himalaya draws as many."""
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
    from himalaya.scoring import r2_score
    from sklearn.model_selection import KFold

    from brainbench.heads import BandedRidgeCV

    set_backend("numpy")
    for n, p in ((600, 1500), (1000, 300)):
        X = scaled(made(n, p))
        Y, parts = responses(X, 1500), [slice(0, p // 3), slice(p // 3, p)]
        head = BandedRidgeCV(parts, ALPHAS, cv=INNER, n_draws=4)
        X32, Y32 = X.astype(np.float32), (Y - Y.mean(axis=0)).astype(np.float32)

        def himalaya(X: np.ndarray = X32, Y: np.ndarray = Y32, parts: list[slice] = parts) -> object:
            kernels = np.stack([X[:, part] @ X[:, part].T for part in parts])
            return solve_multiple_kernel_ridge_random_search(
                kernels, Y, n_iter=7, alphas=ALPHAS.astype(np.float32), cv=KFold(INNER), score_func=r2_score,
                return_weights="dual", progress_bar=False, random_state=0,
            )  # fmt: skip

        calls = {
            "here": lambda head=head, X=X, Y=Y: head.fit_then_predict(X, Y, X[: len(X) // 5]), "himalaya": himalaya
        }  # fmt: skip
        seconds = alternate(calls, rounds, time.process_time)
        targets.at_least(
            f"two bands, {n} x {p} -> 1500, himalaya over here", 1 / ratio(seconds, "here", "himalaya"), 6.0
        )


def twelve(targets: Targets, rounds: int) -> None:
    """Print twelve layers fitted to one response matrix together, over twelve fits."""
    from brainbench.heads import MultiLayer, RidgeCV

    rng = np.random.default_rng(2)
    X = {f"layer {index}": scaled(rng.permuted(made(800, 256), axis=1)) for index in range(12)}
    Y = responses(X["layer 0"], 4000)
    new = {name: one[:160] for name, one in X.items()}

    def apart() -> None:
        for name, one in X.items():
            RidgeCV(ALPHAS, cv=INNER, store_coef=False).fit_then_predict(one, Y, new[name])

    def together() -> None:
        MultiLayer(RidgeCV(ALPHAS, cv=INNER, store_coef=False)).fit_then_predict(X, Y, new)

    seconds = alternate({"here": together, "apart": apart}, rounds, time.process_time)
    targets.at_most("12 layers, 800 x 256 -> 4000, over 12 fits", ratio(seconds, "here", "apart"), 0.6)


FIVE_FOLDS = """
import time, numpy as np
try:
    from brainbench.ridge.encoding import FoldSettings, fit_fold
except ModuleNotFoundError:  # where release 540e7c1 has them
    from brainbench.heads.encoding import FoldSettings, fit_fold
rng = np.random.default_rng(0)
X = (rng.standard_normal((1000, 768)) * np.arange(1, 769) ** -0.5) @ np.linalg.qr(rng.standard_normal((768, 768)))[0]
Y = (X @ rng.standard_normal((768, 10_000)) * 0.06 + rng.standard_normal((1000, 10_000))).astype(np.float32)

def fit(fold, Y):
    train, test = np.flatnonzero(np.arange(1000) % 5 != fold), np.flatnonzero(np.arange(1000) % 5 == fold)
    fit_fold([X], Y, train, test, FoldSettings(alphas=np.logspace(-3, 5, 17)), inner_groups=np.arange(800),
             run=np.zeros(1000))

fit(0, Y[:, :10])  # imports what it needs
start = time.process_time()
for fold in range(5):
    fit(fold, Y)
print(time.process_time() - start)
"""


def five_folds(targets: Targets, against: str) -> None:
    """Print five folds of a layer with 10,000 targets, here over another build."""
    there, here = (
        float(subprocess.run([python, "-P", "-c", FIVE_FOLDS], check=True, capture_output=True, text=True).stdout)
        for python in (against, sys.executable)
    )
    remark = f"{here:.1f} s, there {there:.1f} s"
    targets.at_most("five folds, 800 x 768 -> 10000, here over there", here / there, 6 / 24.7, remark)


def main() -> None:
    """Print a line a target."""
    parts = {"shapes": shapes, "layers": layers, "bands": bands, "twelve": twelve}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[*parts, "folds"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", help="the python of an environment with the other build, for `folds`")
    options = parser.parse_args()
    targets = Targets()
    for name in options.only or [*parts, "folds"]:
        if name in parts:
            parts[name](targets, options.rounds)
        elif options.against:
            five_folds(targets, options.against)
        else:
            targets.left_out("five folds, 800 x 768 -> 10000, here over there", "--against is not given")
    targets.leave()


if __name__ == "__main__":
    main()
