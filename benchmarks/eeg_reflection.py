"""What channel reflection and the contrastive terms of MVCNet are worth on real left/right trials.

    python benchmarks/eeg_reflection.py [--data FOLDER] [--part reflection|contrast|both] [--quick] [--out TABLE.txt]

Leave one subject out, executed and imagined fists (runs 3, 4, 7, 8, 11, 12), 8-32 Hz, 0-3 s after the cue, last epoch.

Reflection: the convolutional branch with cross-entropy only, trained on (a) the trials, (b) the trials and their
reflected copies with swapped labels, (c) the trials for twice the epochs, so that (b) and (c) take equally many steps.
Contrast: MVCNet with all three views, time pooled by 4 before the Transformer, with both contrastive terms and with
neither: equal batches, equal steps.

Every subject, the test subject too, is aligned by the mean covariance of all of its own trials (no labels). That is
transductive: the scores hold for a decoder that has seen the whole unlabelled test recording.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from brainbench.networks.classifiers import MVCNetClassifier, NetworkClassifier
from brainbench.networks.zoo.views import mirror_order, plain_name, symmetrised

RUNS, SFREQ = (3, 4, 7, 8, 11, 12), 160.0
KERNEL, POOL = 41, 60

Trials = dict[str, tuple[np.ndarray, np.ndarray]]


def read(folder: Path, subject: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    import mne

    trials, labels, names = [], [], []
    for run in RUNS:
        path = folder / "files" / "eegmmidb" / "1.0.0" / subject / f"{subject}R{run:02d}.edf"
        raw = mne.io.read_raw_edf(path, preload=True, verbose="error")
        raw.filter(8, 32, method="iir", verbose="error")
        events, _ = mne.events_from_annotations(raw, {"T1": 1, "T2": 2}, verbose="error")
        epochs = mne.Epochs(
            raw, events, {"left": 1, "right": 2}, 0, 3 - 1 / SFREQ, baseline=None, preload=True, verbose="error"
        )
        trials.append(epochs.get_data(copy=False))
        labels += ["left" if code == 1 else "right" for code in epochs.events[:, 2]]
        names = [plain_name(name) for name in raw.ch_names]
    return np.concatenate(trials), np.array(labels), names


def align(X: np.ndarray, order: np.ndarray, how: str) -> np.ndarray:
    """Whiten by the inverse square root of the mean covariance, ``(n_trials, n_channels, n_times)``."""
    if how == "none":
        return X
    covariance = np.einsum("nct,ndt->cd", X, X) / (X.shape[0] * X.shape[2])
    if how == "symmetrised":
        covariance = symmetrised(covariance, order)
    values, vectors = np.linalg.eigh(covariance)
    # Channels that are sums of others leave directions without signal, which must not be blown up.
    keep = values > values[-1] * 1e-10
    whiten = vectors[:, keep] / np.sqrt(values[keep]) @ vectors[:, keep].T
    return np.einsum("dc,nct->ndt", whiten, X)


def decoders(part: str, names: list[str], epochs: int, seed: int) -> dict[str, NetworkClassifier | MVCNetClassifier]:
    common = {"sfreq": SFREQ, "ch_names": names, "batch_size": 32, "validation": 0.0, "random_state": seed}
    if part == "reflection":
        sizes = {"module_params": {"kernel_times": KERNEL, "pool_times": POOL}}
        return {
            f"plain, {epochs} epochs": NetworkClassifier("ifnet", **sizes, **common, n_epochs=epochs),
            f"+ reflected copies, {epochs} epochs": NetworkClassifier(
                "ifnet", **sizes, **common, n_epochs=epochs, augment=("reflection",)
            ),
            f"plain, {2 * epochs} epochs (equal steps)": NetworkClassifier(
                "ifnet", **sizes, **common, n_epochs=2 * epochs
            ),
        }
    sizes = {"kernel_times": KERNEL, "pool_times": POOL, "time_pool": 4, "n_epochs": epochs}
    return {
        "views, neither term": MVCNetClassifier(**common, **sizes, cross_view=0.0, cross_model=0.0),
        "views, both terms": MVCNetClassifier(**common, **sizes),
    }


def compare(part: str, data: Trials, names: list[str], epochs: int, seeds: int) -> dict[str, np.ndarray]:
    """Return per condition whether each trial was right, ``(n_subjects, n_seeds, n_trials)``."""
    right: dict[str, list[list[np.ndarray]]] = {}
    for subject in data:
        X = np.concatenate([trials for other, (trials, _) in data.items() if other != subject])
        y = np.concatenate([labels for other, (_, labels) in data.items() if other != subject])
        X_new, y_new = data[subject]
        for name in decoders(part, names, epochs, 0):
            right.setdefault(name, []).append([])
        for seed in range(seeds):
            for name, decoder in decoders(part, names, epochs, seed).items():
                start = time.perf_counter()
                right[name][-1].append(decoder.fit(X, y).predict(X_new) == y_new)
                seconds = time.perf_counter() - start
                print(f"{subject} seed {seed} {name}: {right[name][-1][-1].mean():.3f} ({seconds:.0f} s)", flush=True)
    return {name: np.array(values) for name, values in right.items()}


def interval(a: np.ndarray, b: np.ndarray, n_draws: int = 10_000) -> tuple[float, float, float]:
    """Return the mean gain of `a` over `b` and its 95 % interval: trials redrawn within subjects, seeds redrawn."""
    rng = np.random.default_rng(0)
    gain = a.astype(float) - b.astype(float)
    n_seeds, n_trials = gain.shape[1:]
    draws = np.empty(n_draws)
    for k in range(n_draws):
        parts = [
            part[rng.integers(0, n_seeds, n_seeds)][:, rng.integers(0, n_trials, n_trials)].mean() for part in gain
        ]
        draws[k] = np.mean(parts)
    return float(gain.mean()), *(float(q) for q in np.quantile(draws, [0.025, 0.975]))


def table(title: str, data: Trials, right: dict[str, np.ndarray], against: list[tuple[str, str]]) -> list[str]:
    lines = [title, f"{'training':40} " + " ".join(f"{name:>6}" for name in data) + "   mean  sd over seeds"]
    for name, values in right.items():
        per_seed = values.mean(axis=(0, 2))
        row = " ".join(f"{score:6.3f}" for score in values.mean(axis=(1, 2)))
        spread = f"{per_seed.std(ddof=1):.3f}" if len(per_seed) > 1 else "one seed"
        lines.append(f"{name:40} {row}  {per_seed.mean():.3f}  {spread}")
    for a, b in against:
        gain, low, high = interval(right[a], right[b])
        verdict = "above zero" if low > 0 else "below zero" if high < 0 else "not told from zero"
        lines.append(f"{a} - {b}: {gain:+.3f} [{low:+.3f}, {high:+.3f}], {verdict}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/MNE-eegbci-data"))
    parser.add_argument("--subjects", nargs="+", default=["S001", "S002", "S003"])
    parser.add_argument("--part", choices=["reflection", "contrast", "both"], default="both")
    parser.add_argument("--alignment", choices=["plain", "symmetrised", "none"], default="plain")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--contrast-epochs", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="two epochs, one seed: whether it runs")
    parser.add_argument("--out", type=Path, help="file to write the tables to")
    options = parser.parse_args()
    read_all = {subject: read(options.data, subject) for subject in options.subjects}
    names = next(iter(read_all.values()))[2]
    order = mirror_order(names)
    data: Trials = {subject: (align(X, order, options.alignment), y) for subject, (X, y, _) in read_all.items()}
    n_trials = min(len(y) for _, y in data.values())
    data = {subject: (X[:n_trials], y[:n_trials]) for subject, (X, y) in data.items()}
    lines = [
        f"leave one subject out, {len(data)} subjects x {n_trials} trials, executed and imagined fists, accuracy",
        f"alignment: {options.alignment}"
        + ("" if options.alignment == "none" else ", the test subject's from its own unlabelled trials (transductive)"),
        "intervals: 95 %, trials and seeds redrawn; they hold for these subjects, not for others",
    ]
    for part in ("reflection", "contrast"):
        if options.part not in (part, "both"):
            continue
        epochs = options.epochs if part == "reflection" else options.contrast_epochs
        epochs, seeds = (2, 1) if options.quick else (epochs, 5 if part == "reflection" else 3)
        start = time.perf_counter()
        right = compare(part, data, names, epochs, seeds)
        conditions = list(right)
        if part == "reflection":
            against = [(conditions[1], conditions[2]), (conditions[1], conditions[0])]
            title = f"channel reflection with swapped labels, CNN branch, cross-entropy, {seeds} seeds"
        else:
            against = [(conditions[1], conditions[0])]
            title = f"contrastive terms, three views, time pooled by 4, {epochs} epochs, {seeds} seeds"
        lines += ["", *table(title, data, right, against), f"{time.perf_counter() - start:.0f} s"]
        if options.out:
            options.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
