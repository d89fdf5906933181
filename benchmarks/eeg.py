"""Decoding of trials beside MOABB's own evaluation, and how fast each network trains.

    python benchmarks/eeg.py [--data FOLDER] [--subjects 1 2 3] [--part classical|networks|folding] [--quick]

Classical: six pipelines on imagined fists (PhysioNet), five stratified folds within a session, one job and one thread
each. Both sides start at the EDF files, filter, cut, fit, score and store; both hold the same trials, which is checked
first, and the same folds, so that ROC-AUC must agree to 1e-6 (MOABB keeps scores as float32). MOABB runs pyRiemann's
and scikit-learn's estimators.
Networks: passes over the training trials per second, with one thread and with two.
Folding: one epoch of EEGNet and ShallowFBCSPNet beside braindecode's own loop (skorch), same trials and batches.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import alternate, ratio

BAND, TMIN, TMAX, N_SPLITS, SEED = (8.0, 30.0), 0.5, 3.0, 5, 0
BANK = [[8.0, 12.0], [12.0, 16.0], [16.0, 20.0], [20.0, 24.0], [24.0, 28.0], [28.0, 32.0]]
TOLERANCE = 1e-6
TARGET, FOLDING_TARGET = 3.0, 0.7

PIPELINES: list[dict[str, Any]] = [
    {"name": "csp_lda", "decoder": "csp_lda"},
    {"name": "csp_lda_ea", "decoder": "csp_lda", "align": "euclidean"},
    {"name": "fbcsp_lda", "decoder": "fbcsp_lda", "bands": BANK},
    {"name": "tangent_lr", "decoder": "tangent_lr"},
    {"name": "tangent_lr_ra", "decoder": "tangent_lr", "align": "riemannian"},
    {"name": "fgmdm", "decoder": "fgmdm"},
]
NETWORKS: list[dict[str, Any]] = [
    *(
        {"name": model, "decoder": "braindecode", "model": model}
        for model in ("EEGNet", "ShallowFBCSPNet", "EEGConformer", "ATCNet")
    ),
    {"name": "MVCNet", "decoder": "mvcnet"},
    {"name": "RBTransformer", "decoder": "rbtransformer"},
]


def recipe_of(root: Path, subjects: list[int], **sections: Any) -> Any:
    """Return the recipe of the classical pipelines; without permutations and draws, which MOABB does not make."""
    import yaml

    from brainbench.recipes.reader import parse_recipe

    content = {
        "kind": "decode",
        "seed": SEED,
        "dataset": {
            "name": "physionet-mi", "root": str(root), "subjects": [f"S{number:03d}" for number in subjects],
            "paradigm": "imagery_left_right", "band": list(BAND), "tmin": TMIN, "tmax": TMAX, "filter": "iir",
        },
        "pipelines": PIPELINES,
        "evaluate": [{"scheme": "k-fold", "n_splits": N_SPLITS}],
        "significance": {"n_permutations": 0},
        "bootstrap": {"n_draws": 0},
        **sections,
    }  # fmt: skip
    return parse_recipe(yaml.safe_dump(content), "benchmark")


def ours(recipe: Any, jobs: int = 1) -> dict[tuple[str, str], float]:
    """Return ROC-AUC by subject and pipeline: the mean over folds, as MOABB takes it."""
    import pandas as pd

    from brainbench.core.progress import Stages
    from brainbench.runs.engines import LocalEngine, Runner
    from brainbench.runs.folder import RunFolder
    from brainbench.studies.base import study_of
    from brainbench.studies.compute import compute
    from brainbench.studies.opened import open_all

    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder) / "run")
        with run.writing():
            opened = open_all(recipe, Path(folder) / "cache")
            outcome = compute(study_of(opened, Runner(run, LocalEngine(jobs), Stages(quiet=True))))
    rows = pd.DataFrame(outcome.rows)
    rows = rows[(rows["metric"] == "roc_auc") & (rows["fold"] != "all")]
    means: dict[tuple[str, str], float] = rows.groupby(["subject", "pipeline"])["value"].mean().to_dict()
    return means


class Moabb:
    """MOABB's within-session evaluation on the local copy of the recordings."""

    def __init__(self, root: Path, subjects: list[int]) -> None:
        import mne
        import moabb
        from moabb.datasets import PhysionetMI
        from moabb.paradigms import FilterBankLeftRightImagery, LeftRightImagery

        os.environ["MNE_DATASETS_EEGBCI_PATH"] = str(root.parent)
        moabb.set_log_level("error")
        mne.set_log_level("ERROR")
        # Runs of feet are not needed here, and files that are there must not be looked for on the net.
        self.dataset = type("PhysionetMI", (PhysionetMI,), {"nemar_id": None})(subjects=subjects)
        self.dataset.feet_runs = []
        times = {"tmin": TMIN, "tmax": TMAX}
        self.paradigm = LeftRightImagery(fmin=BAND[0], fmax=BAND[1], **times)
        self.bank = FilterBankLeftRightImagery(filters=BANK, **times)

    def pipelines(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return estimators of one band and of the filter bank."""
        from moabb.pipelines.utils import FilterBank
        from pyriemann.classification import FgMDM
        from pyriemann.estimation import Covariances
        from pyriemann.preprocessing import Whitening
        from pyriemann.spatialfilters import CSP
        from pyriemann.tangentspace import TangentSpace
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from sklearn.feature_selection import SelectKBest, mutual_info_classif
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        def after(*steps: Any) -> Any:
            return make_pipeline(Covariances("oas"), *steps)

        csp = (CSP(6), LinearDiscriminantAnalysis())
        tangent = (TangentSpace(metric="riemann"), LogisticRegression(max_iter=2000))
        chosen = SelectKBest(partial(mutual_info_classif, random_state=SEED), k=8)
        return {
            "csp_lda": after(*csp),
            "csp_lda_ea": after(Whitening(metric="euclid"), *csp),
            "tangent_lr": after(*tangent),
            "tangent_lr_ra": after(Whitening(metric="riemann"), *tangent),
            "fgmdm": after(FgMDM(metric="riemann")),
        }, {"fbcsp_lda": make_pipeline(FilterBank(after(CSP(4))), chosen, LinearDiscriminantAnalysis())}

    def evaluate(self) -> dict[tuple[str, str], float]:
        """Return ROC-AUC by subject and pipeline."""
        from moabb.evaluations import WithinSessionEvaluation

        class AllBands(WithinSessionEvaluation):
            """Without this, the evaluation of MOABB 1.7 hands over the first pass band of a filter bank only."""

            def _load_data(self, dataset: Any, *_: Any, subjects: Any = None) -> Any:
                return self.paradigm.get_data(dataset, subjects=subjects)

        found = {}
        for paradigm, pipelines in zip((self.paradigm, self.bank), self.pipelines(), strict=True):
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                evaluation = (AllBands if paradigm is self.bank else WithinSessionEvaluation)(
                    paradigm=paradigm, datasets=[self.dataset], random_state=SEED, n_splits=N_SPLITS, n_jobs=1,
                    overwrite=True, hdf5_path=folder,
                )  # fmt: skip
                table = evaluation.process(pipelines)
            for row in table.itertuples():
                found[f"S{int(row.subject):03d}", row.pipeline] = float(row.score)
        return found

    def trials(self, subject: int) -> np.ndarray:
        """Return trials in volts."""
        X: np.ndarray = self.paradigm.get_data(self.dataset, subjects=[subject])[0]
        return X * 1e-6


def classical(root: Path, subjects: list[int], repeats: int) -> None:
    from brainbench.studies.opened import open_all

    recipe, moabb = recipe_of(root, subjects), Moabb(root, subjects)
    with tempfile.TemporaryDirectory() as folder:
        dataset = open_all(recipe, Path(folder)).dataset
        apart = max(
            float(np.abs(dataset.trials(f"S{number:03d}").X - moabb.trials(number)).max()) for number in subjects
        )
    print(f"trials of {len(subjects)} subjects are the same: largest difference {apart * 1e6:.1e} microvolts")

    found: dict[str, dict[tuple[str, str], float]] = {}

    def keep(name: str, scores: dict[tuple[str, str], float]) -> None:
        found[name] = scores

    contenders = {
        "brainbench": lambda: keep("brainbench", ours(recipe)),
        "moabb": lambda: keep("moabb", moabb.evaluate()),
    }
    seconds = alternate(contenders, repeats)
    print(f"\n{'pipeline':16}" + "".join(f"{f'S{number:03d}':>22}" for number in subjects) + "   ROC-AUC ours / MOABB")
    worst = 0.0
    for settings in PIPELINES:
        cells = []
        for number in subjects:
            key = (f"S{number:03d}", settings["name"])
            a, b = found["brainbench"][key], found["moabb"][key]
            worst = max(worst, abs(a - b))
            cells.append(f"{a:.6f} / {b:.6f}".rjust(22))
        print(f"{settings['name']:16}" + "".join(cells))
    print(f"largest difference {worst:.1e}: {'equal' if worst <= TOLERANCE else 'NOT equal'} to {TOLERANCE:g}")
    faster = 1 / ratio(seconds, "brainbench", "moabb")
    for name, times in seconds.items():
        print(f"{name:11} {statistics.median(times):7.2f} s, median of {len(times)} alternating runs")
    print(f"brainbench is {faster:.1f} times as fast (target {TARGET:g}: {'met' if faster >= TARGET else 'NOT met'})")


def networks(root: Path, subject: int, epochs: int) -> None:
    from sklearn.base import clone

    from brainbench.decoders.base import TrialContext
    from brainbench.recipes.pipelines import PIPELINES
    from brainbench.studies.opened import open_all

    with tempfile.TemporaryDirectory() as folder:
        trials = open_all(recipe_of(root, [subject]), Path(folder)).dataset.trials(f"S{subject:03d}", [4.0, 38.0])
    n, n_channels, n_times = trials.X.shape
    print(f"\n{n} trials of {n_channels} channels x {n_times} samples, batches of 16, every trial in every pass")
    print(f"{'network':18}{'parameters':>12}{'1 thread':>30}{'2 threads':>30}")
    for settings in NETWORKS:
        cells, size = [], 0
        for threads in (1, 2):
            context = TrialContext(trials.info, n_times, seed=SEED, threads=threads)
            asked = PIPELINES[settings["decoder"]].model_validate({**settings, "max_epochs": epochs + 1})
            decoder = PIPELINES.builder(settings["decoder"])(asked, context)
            taken: list[float] = []
            decoder.classifier = clone(decoder.classifier).set_params(
                validation=0.0, patience=None, progress=lambda record, taken=taken: taken.append(record["seconds"])
            )
            decoder.fit(trials.X, trials.label)
            each = statistics.median(taken[1:])  # the first pass warms up
            cells.append(f"{1 / each:.2f} epochs/s, {n / each:.0f} trials/s".rjust(30))
            size = sum(weight.numel() for weight in decoder.classifier_.network_.parameters())
        print(f"{settings['name']:18}{size:12,}" + "".join(cells))


def folding(root: Path, subject: int, epochs: int) -> None:
    """One epoch of our loop against braindecode's, on the same trials in batches of the same size."""
    import torch
    from braindecode import EEGClassifier

    from brainbench.networks.builders import find_builder
    from brainbench.networks.classification import train_classifier
    from brainbench.networks.options import Training
    from brainbench.networks.pipelines import microvolts
    from brainbench.studies.opened import open_all

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        trials = open_all(recipe_of(root, [subject]), Path(folder)).dataset.trials(f"S{subject:03d}", [4.0, 38.0])
    X, y = microvolts(trials.X), np.unique(trials.label, return_inverse=True)[1].astype(np.int64)
    X /= X.std()
    torch.set_num_threads(1)
    print(f"\n{len(X)} trials, batches of 16, one thread: CPU seconds an epoch, median of {epochs}")
    for model in ("EEGNet", "ShallowFBCSPNet"):
        networks = []
        for _ in range(2):
            torch.manual_seed(SEED)
            networks.append(find_builder(f"braindecode.{model}")(n_chans=X.shape[1], n_outputs=2, n_times=X.shape[2]))
        taken: dict[str, list[float]] = {"brainbench": [], "braindecode": []}
        theirs = EEGClassifier(
            networks[0], criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.AdamW, train_split=None,
            batch_size=16, max_epochs=1, verbose=0, callbacks=[], warm_start=True, lr=1e-3, classes=[0, 1],
        )  # fmt: skip
        for _ in range(epochs + 1):
            start = time.process_time()
            theirs.partial_fit(X, y)
            taken["braindecode"].append(time.process_time() - start)
        last = [time.process_time()]

        def note(record: dict[str, Any], last: list[float] = last, taken: dict[str, list[float]] = taken) -> None:
            taken["brainbench"].append(time.process_time() - last[0])
            last[0] = time.process_time()

        training = Training(n_epochs=epochs + 1, batch_size=16, validation=0.0)
        train_classifier(networks[1], X, y, training, n_classes=2, progress=note)
        ours, other = (statistics.median(taken[name][1:]) for name in ("brainbench", "braindecode"))
        met = "met" if ours <= FOLDING_TARGET * other else "NOT met"
        print(
            f"{model:18}{ours:8.3f} s, braindecode {other:8.3f} s: ratio {ours / other:.2f} ({FOLDING_TARGET}: {met})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/MNE-eegbci-data"))
    parser.add_argument("--subjects", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--part", choices=["classical", "networks", "folding", "all"], default="all")
    parser.add_argument("--quick", action="store_true", help="one subject, one run of each")
    options = parser.parse_args()
    root = options.data.resolve()
    subjects = options.subjects[:1] if options.quick else options.subjects
    start = time.perf_counter()
    if options.part in ("classical", "all"):
        classical(root, subjects, repeats=1 if options.quick else 3)
    if options.part in ("networks", "all"):
        networks(root, subjects[0], epochs=2 if options.quick else 5)
    if options.part in ("folding", "all"):
        folding(root, subjects[0], epochs=2 if options.quick else 9)
    print(f"\n{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
