"""What the significance stage costs, and whether its p values are those of brute force.

    python benchmarks/significance.py [--part recipes|wide|fit|agreement ...] [--against PYTHON] [--alice ROOT]
        [--only NAME] [--rounds N] [--layers N] [--exact N]

``recipes``: CPU of null, p, intervals and ceilings in whole recipes, with this build and that of `--against`: runs with
and without them (``significance.n_permutations: 0``, ``bootstrap.n_draws: 0``, ``ceiling.method: none``), in folders of
their own and one feature store a build; the stage is the difference, less that of drawing their pages. ``wide``: the
same for 300 stimuli x 10,000 voxels x 12 layers, as functions. ``fit``: one layer's null against one fit of the layer,
1,000 rows x 8,000 targets, as recipes fit it. ``agreement``: p of the shipped null (199 exchanges and the tail) against
10,000 exchanges that are all fitted, for 300 targets and 30 regions. CPU seconds of one thread are printed; exit code 1
where a bound is not kept.

Two p agree where they differ by no more than two standard errors of their difference, which are those of two counts:
sqrt(p (1 - p) (1 / 199 + 1 / 10,000)). Nine of ten regions, and of ten targets, have to agree, over 20 sets of 199
exchanges. Beside it stand how many regions agree where 199 of the exact draws are counted, and where another 10,000 are
fitted (with their errors).
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
from common import Targets  # noqa: E402

from brainbench.evaluation.ceilings import split_half  # noqa: E402
from brainbench.evaluation.exchange import Exchange, make_exchange  # noqa: E402
from brainbench.evaluation.family import fill_p, p_of_draws, p_of_targets  # noqa: E402
from brainbench.evaluation.intervals import Held, jackknife, jackknife_groups  # noqa: E402
from brainbench.evaluation.metrics import METRICS  # noqa: E402
from brainbench.evaluation.refit import Null, column_scores, refit_null  # noqa: E402
from brainbench.evaluation.scoring import Scoring, score_predictions  # noqa: E402
from brainbench.evaluation.splitters import make_splitter  # noqa: E402
from brainbench.ridge.deletion import FoldWithout  # noqa: E402
from brainbench.ridge.encoding import FoldDesign, FoldSettings  # noqa: E402
from brainbench.ridge.fixed import FixedFits  # noqa: E402

HERE = Path(__file__).parent
ALPHAS = np.logspace(-3, 5, 17)
"""As recipes have them by default."""

OTHER = """\
import sys, time
import numpy as np
from brainbench.evaluation.ceilings import split_half
from brainbench.evaluation.scoring import Scoring, score_predictions
held = np.load(sys.argv[1])
rows = np.arange(len(held["true"]))
regions = {str(k): mask for k, mask in enumerate(held["regions"])}
start = time.process_time()
for _ in range(int(sys.argv[2])):
    how = Scoring(metrics=("pearson_r", "r2"))
    score_predictions(held["true"], held["predicted"], held["fold"], how, rois=regions, run=0 * rows, stimulus=rows)
split_half(held["shown"], held["stimulus"])
print(time.process_time() - start)
"""
"""What 540e7c1 does where recipes score a layer: 1,000 exchanges of fixed predictions, and a bootstrap of its rows."""

NOTHING = ("significance.n_permutations=0", "bootstrap.n_draws=0", "ceiling.method=none")
MOST_OF_A_FIT = 3.0


def recipes() -> dict[str, tuple[Path, tuple[str, ...]]]:
    """Return name -> recipe and settings."""
    shipped = HERE.parent / "recipes"
    return {
        "quickstart": (shipped / "quickstart.yaml", ()),
        "alice-language, 2 listeners": (shipped / "alice-language.yaml", ("dataset.subjects=[s18, s22]",)),
    }


def cpu_of(python: str, recipe: Path, settings: Sequence[str], out: Path, cache: Path) -> tuple[float, float]:
    """Run a recipe and draw its page once more; return the CPU seconds of both."""
    options = [part for setting in settings for part in ("--set", setting)]
    run = ["run", str(recipe), "--out", str(out), "--cache", str(cache), "--jobs", "1", "--device", "cpu", "--quiet"]
    taken = []
    for arguments in ([*run, *options], ["report", str(out)]):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [python, "-m", "brainbench", *arguments], cwd=out.parent, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{recipe.name} with {python}: {done.stderr[-2000:]}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return taken[0], taken[1]


def part_recipes(against: str | None, alice: str | None, only: str, rounds: int, targets: Targets) -> None:
    """Print the CPU of the stage for every recipe, beside the other build's.

    A stage is the difference of two runs, less what their pages differ by: with p there is more to draw. Builds take
    turns, and medians over rounds are printed.
    """
    pythons = [sys.executable, *([against] if against else [])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, (recipe, settings) in recipes().items():
            if only not in title:
                continue
            what = f"stage of {title}, here over there"
            if "alice" in title and not alice:
                targets.left_out(what, "--alice is not given")
                continue
            settings += (f"dataset.root={Path(alice).resolve()}",) if alice and "alice" in title else ()

            def both(
                turn: int, whole: Sequence[str] = settings, recipe: Path = recipe
            ) -> list[list[tuple[float, float]]]:
                """Return the CPU of every build, without and with the stage, of run and page."""
                return [
                    [
                        cpu_of(python, recipe, (*whole, *extra), folder / f"{recipe.stem}-{turn}-{build}{len(extra)}",
                               folder / f"cache{build}")
                        for extra in (NOTHING, ())
                    ]
                    for build, python in enumerate(pythons)
                ]  # fmt: skip

            both(-1)  # fills the feature store
            taken = np.array([both(turn) for turn in range(rounds)])  # round, build, without or with, run or page
            without, whole = np.moveaxis(taken[..., 0] - taken[..., 1], -1, 0)
            stages, of = np.median(whole - without, axis=0), np.median(taken[:, :, 1, 0], axis=0)
            said = [f"{stage:.1f} s of {one:.1f}" for stage, one in zip(stages, of, strict=True)]
            if against:
                targets.at_most(what, stages[0] / stages[1], 1.0, ", there ".join(said) + f"; {rounds} rounds")
            else:
                targets.left_out(what, f"{said[0]} here; --against is not given")


def designs_of(X: np.ndarray, seed: int) -> list[FoldDesign]:
    """Return five folds of a design of trials."""
    n_rows, stimulus = len(X), np.arange(len(X))
    folds = make_splitter(["stimulus"], n_splits=5, seed=seed).split(X, stimulus=stimulus)
    settings = FoldSettings(alphas=ALPHAS)
    return [
        FoldDesign([X], train, test, settings, inner_groups=stimulus[train], run=np.zeros(n_rows))
        for train, test in folds
    ]


def null_of(
    Y: np.ndarray, exchange: Exchange, designs: list[FoldDesign], regions: dict[str, np.ndarray], **settings: int
) -> Null:
    """Return the null as recipes draw it."""

    def predict(stacked: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for design in designs:
            yield design.refit(stacked)

    def fixed(alpha: float) -> FixedFits:
        return FixedFits(designs, alpha, len(Y))

    return refit_null(Y, exchange, predict, column_scores("pearson_r", "folds"), regions, fixed=fixed, **settings)


def observed_of(Y: np.ndarray, designs: list[FoldDesign]) -> np.ndarray:
    """Return the score of every target."""
    parts = [(found.y_true, found.y_pred) for found in (design.fit(Y) for design in designs)]
    return column_scores("pearson_r", "folds")(parts)


def part_fit(targets: Targets) -> None:
    """Hold the null of a layer against its fit."""
    rng = np.random.default_rng(0)
    n_rows, n_targets = 1000, 8000
    for width in (300, 768, 2000):
        X = rng.normal(size=(n_rows, width)) * np.linspace(2, 0.05, width)
        Y = rng.normal(size=(n_rows, n_targets)) + 0.3 * X[:, :10] @ rng.normal(size=(10, n_targets))
        start = time.process_time()
        designs = designs_of(X, 0)
        observed_of(Y, designs)
        fit = time.process_time() - start
        regions = {str(k): np.arange(n_targets) * 4 // n_targets == k for k in range(4)}
        exchange = make_exchange(n_rows, kind="rows", n_exchanges=199)
        start = time.process_time()
        found = null_of(Y, exchange, designs_of(X, 0), regions)
        null = time.process_time() - start
        targets.at_most(
            f"null of a layer over its fits, 1,000 x {width} -> 8,000", null / fit, MOST_OF_A_FIT,
            f"{null:.1f} s, fits {fit:.1f} s; {len(found.sampled)} targets drawn, the line explains "
            f"{found.explained:.3f}",
        )  # fmt: skip


def intervals_of(
    Y: np.ndarray, designs: list[FoldDesign], alphas: list[np.ndarray], regions: dict[str, np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the intervals of a layer's correlations and R2 from the penalties of its fits, as recipes find them."""
    home = np.empty(len(Y), dtype=int)
    for number, design in enumerate(designs):
        home[design.test] = number
    group = jackknife_groups(np.arange(len(Y)), home)
    without = [FoldWithout(one.X_train, one.X_test, group[one.train], int(group.max()) + 1) for one in designs]

    def predict(targets: np.ndarray) -> Iterator[Held]:
        for design, chosen, one in zip(designs, alphas, without, strict=True):
            order = np.argsort(chosen[targets], kind="stable")
            mine = targets[order]
            y_train, y_test = design.responses(Y[:, mine])
            yield Held(y_test, *one.predict(y_train, chosen[mine]), order)

    metrics = [METRICS[name] for name in ("pearson_r", "r2")]
    found = jackknife(metrics, predict, [group[design.test] for design in designs], regions)
    return [one.interval() for one in found]


def part_wide(against: str | None, n_layers: int, targets: Targets) -> None:
    """Score, null, p, intervals and ceilings of 300 stimuli, shown twice, x 10,000 voxels in four regions."""
    rng = np.random.default_rng(3)
    n_rows, n_targets, width = 300, 10_000, 384
    X = rng.normal(size=(n_rows, width)) * np.linspace(2, 0.05, width)
    signal = 0.3 * X[:, :10] @ rng.normal(size=(10, n_targets))
    shown = np.concatenate([signal, signal]) + rng.normal(size=(2 * n_rows, n_targets))
    Y, stimulus = (shown[:n_rows] + shown[n_rows:]) / 2, np.tile(np.arange(n_rows), 2)
    regions = {str(k): np.arange(n_targets) * 4 // n_targets == k for k in range(4)}
    designs = designs_of(X, 0)
    fits = [design.fit(Y) for design in designs]
    true, predicted = (np.concatenate([getattr(fit, name) for fit in fits]) for name in ("y_true", "y_pred"))
    fold = np.concatenate([np.full(len(design.test), k) for k, design in enumerate(designs)])
    start = time.process_time()
    for _ in range(n_layers):
        how = Scoring(metrics=("pearson_r", "r2"))
        rows = np.concatenate([design.test for design in designs])
        scored = score_predictions(true, predicted, fold, how, rois=regions, run=0 * rows, stimulus=rows)
        exchange = make_exchange(n_rows, kind="rows", n_exchanges=199)
        fill_p(scored, null_of(Y, exchange, designs_of(X, 0), regions), exchange)
        intervals_of(Y, designs, [fit.best_alphas for fit in fits], regions)
    ceiling = split_half(shown, stimulus).ceiling(2)
    [ceiling.region(mask) for mask in regions.values()]
    ours = time.process_time() - start
    what = f"stage of 300 stimuli x 10,000 voxels x {n_layers} layers, here over there"
    if not against:
        targets.left_out(what, f"{ours:.1f} s here; --against is not given")
        return
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "held.npz"
        masks = np.stack(list(regions.values()))
        np.savez(path, true=true, predicted=predicted, fold=fold, regions=masks, shown=shown, stimulus=stimulus)
        command = [against, "-c", OTHER, str(path), str(n_layers)]
        theirs = float(subprocess.run(command, cwd=name, capture_output=True, text=True, check=True).stdout)
    targets.at_most(what, ours / theirs, 1.0, f"{ours:.1f} s, there {theirs:.1f} s")


AGREE = 0.9
"""Share of regions, or targets, that agree."""

N_SAMPLES = 20
"""How many sets of 199 exchanges are asked; and how often 199 of the exact draws are taken, to print beside it what
counts in them would reach. One set of 30 regions would agree in .80 to 1.00 where the share is .90."""

NOISE = ("white", "AR(1) .5", "heavy-tailed")
LEVELS = (0.2, 0.05, 0.01, 0.001)
N_EXACT, N_TARGETS, N_REGIONS, N_ROWS = 10_000, 300, 30, 60


def noise_of(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Return responses; ten targets of a region share half of their variance."""
    shared = np.repeat(rng.normal(size=(N_ROWS + 100, N_REGIONS)), N_TARGETS // N_REGIONS, axis=1)
    noise = shared + rng.normal(size=(N_ROWS + 100, N_TARGETS))
    if kind.startswith("AR"):
        from scipy.signal import lfilter

        noise = lfilter([1.0], [1.0, -0.5], noise, axis=0)
    return (np.sign(noise) * np.abs(noise) ** 3 if kind.startswith("heavy") else noise)[100:]


def agreement(p: np.ndarray, level: float, n: int, n_exact: int) -> float:
    """Return the share of p from n exchanges that lie within two errors of the level that brute force found."""
    return float(np.mean(np.abs(p - level) <= 2 * np.sqrt(level * (1 - level) * (1 / n + 1 / n_exact))))


def part_agreement(n_exact: int, targets: Targets) -> None:
    """Ask the shipped null for the p of scores that brute force gives a level."""
    least = 1.0
    print(
        "| responses | of | p by brute force | agree | by counts in 199 exact draws | by as many others | shipped p: "
        "median, 5-95 % |\n|---|---|---|---|---|---|---|"
    )
    for number, kind in enumerate(NOISE):
        rng = np.random.default_rng([7, number])
        X = rng.normal(size=(N_ROWS, 30)) * np.linspace(2, 0.1, 30)
        Y, designs = noise_of(kind, rng), designs_of(X, 1)
        regions = {str(k): np.arange(N_TARGETS) * N_REGIONS // N_TARGETS == k for k in range(N_REGIONS)}
        every, another = (
            null_of(Y, make_exchange(N_ROWS, kind="rows", n_exchanges=n_exact, seed=seed), designs, regions,
                    n_refitted=N_TARGETS)
            for seed in (1, 3)
        )  # fmt: skip
        orders = [make_exchange(N_ROWS, kind="rows", n_exchanges=199, seed=100 + turn) for turn in range(N_SAMPLES)]
        shipped = [(few, null_of(Y, few, designs, regions)) for few in orders]
        for level in LEVELS:
            for_regions, for_targets = (np.quantile(one, 1 - level, axis=0) for one in (every.regions, every.targets))
            found = {
                "regions": [
                    p_of_draws(score, draws, few)
                    for few, null in shipped
                    for score, draws in zip(for_regions, null.regions.T, strict=True)
                ],
                "targets": [p for few, null in shipped for p in p_of_targets(for_targets, null, few)],
            }
            # A count in 199 of the exact draws has a margin of 1 / (n + 1) to the safe side.
            some = np.random.default_rng([number, 5]).permuted(np.tile(every.regions, (1, N_SAMPLES)), axis=0)[:199]
            counted = (1 + (some >= np.tile(for_regions, N_SAMPLES)).sum(axis=0)) / 200
            control = (1 + (another.regions >= for_regions).sum(axis=0)) / (n_exact + 1)
            for what, p in found.items():
                within = agreement(np.array(p), level, 199, n_exact)
                beside = ["", ""]
                if what == "regions":
                    both = ((counted, 199), (control, n_exact))
                    beside = [f"{agreement(one, level, n, n_exact):.2f}" for one, n in both]
                least = min(least, within)
                median, low, high = np.quantile(p, [0.5, 0.05, 0.95])
                print(
                    f"| {kind} | {len(p) // N_SAMPLES} {what} | {level} | {within:.2f} | {' | '.join(beside)} | "
                    f"{median:.4f}, {low:.4f} to {high:.4f} |",
                    flush=True,
                )
    targets.at_least(f"p agree with {n_exact:,} fitted exchanges, the least share of the above", least, AGREE)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--part", nargs="*", choices=("recipes", "wide", "fit", "agreement"), default=["recipes", "fit"]
    )
    parser.add_argument("--against", help="Python of the other build, by default none")
    parser.add_argument("--alice", help="root of the data set of alice-language")
    parser.add_argument("--only", default="", help="recipes whose title holds this")
    parser.add_argument("--rounds", type=int, default=3, help="of part recipes")
    parser.add_argument("--layers", type=int, default=12, help="of part wide")
    parser.add_argument("--exact", type=int, default=N_EXACT, help="exchanges that part agreement fits, twice")
    args = parser.parse_args()
    targets = Targets()
    parts = {
        "recipes": lambda: part_recipes(args.against, args.alice, args.only, args.rounds, targets),
        "wide": lambda: part_wide(args.against, args.layers, targets),
        "fit": lambda: part_fit(targets),
        "agreement": lambda: part_agreement(args.exact, targets),
    }
    for part in args.part:
        parts[part]()
    targets.leave()


if __name__ == "__main__":
    main()
