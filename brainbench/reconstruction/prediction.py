"""From responses to latents and features: one ridge factorisation for all, and the calibration of what it gives.

Ridge shrinks: predicted features vary less than true ones, and a generator takes them for others than they are.
Calibration gives every dimension the training targets' mean and spread back, divided by a spread of predictions that
comes from cross-validation on the training rows (``train-cv``), from the fit itself (``train-fit``), or, as published
(Ozcelik & VanRullen 2023), from the test rows together (``test-batch``): transductive, and undefined for one row.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from brainbench.recipes.reconstruction import Calibration
from brainbench.ridge.ridge import RidgeCV
from brainbench.ridge.solver.folds import inner_splits
from brainbench.ridge.streaming import fit_to_disk

MAX_TARGET_BYTES = 1 << 29
"""Larger targets of training rows are streamed from disk in blocks of columns."""


@dataclass(frozen=True)
class Target:
    """What is predicted of every row.

    Attributes
    ----------
    name : str
        ``low_level``, or the name of a condition.
    values : ndarray or memory map (n_sources, n_dimensions)
        True values, one row per stimulus or per row.
    """

    name: str
    values: np.ndarray


@dataclass(frozen=True)
class DecodingSettings:
    """Settings of the regression that are the same in every fold.

    Attributes
    ----------
    alphas : ndarray (n_alphas,)
        Penalties for responses that are z-scored and divided by the square root of their number.
    fixed : mapping of str to float
        Penalties that are given and not chosen, for z-scored responses, by name of target.
    inner_folds : int
    calibration : {"none", "train-cv", "train-fit", "test-batch"}
    """

    alphas: np.ndarray
    fixed: dict[str, float] = field(default_factory=dict)
    inner_folds: int = 4
    calibration: Calibration = "train-cv"


def predict_targets(
    X_train: np.ndarray,
    X_test: np.ndarray,
    targets: Sequence[Target],
    source: np.ndarray,
    settings: DecodingSettings,
    *,
    groups: np.ndarray | None = None,
    folder: Path | None = None,
) -> dict[str, np.ndarray]:
    """Predict the targets of test rows from responses; everything is fitted on training rows.

    Parameters
    ----------
    X_train : ndarray (n_train, n_responses)
    X_test : ndarray (n_test, n_responses)
    targets : sequence of Target
    source : int ndarray (n_train,)
        The row of every target's values that belongs to each training row.
    settings : DecodingSettings
    groups : ndarray (n_train,), optional
        Rows that inner folds keep together.
    folder : path, optional
        Where large targets are streamed through; the system's temporary folder without it.

    Returns
    -------
    dict of str to float32 ndarray (n_test, n_dimensions)

    Raises
    ------
    ValueError
        If ``test-batch`` calibration is asked for one test row.
    """
    if settings.calibration == "test-batch" and len(X_test) < 2:
        raise ValueError("calibration 'test-batch' needs two test rows or more in a fold")
    train, test = _scaled(X_train, X_test)
    found: dict[str, np.ndarray] = {}
    for alphas, members in _by_penalty(targets, settings, train.shape[1]):
        stacked = _Stacked(members, source, folder)
        predicted = stacked.calibrated(train, test, alphas, settings, groups)
        edges = np.cumsum([0, *(target.values.shape[1] for target in members)])
        for target, start, stop in zip(members, edges[:-1], edges[1:], strict=True):
            found[target.name] = predicted[:, start:stop]
    return {target.name: found[target.name] for target in targets}


def _by_penalty(
    targets: Sequence[Target], settings: DecodingSettings, n_responses: int
) -> list[tuple[np.ndarray, list[Target]]]:
    """Group targets that share their penalties, so that they share a factorisation."""
    chosen = [target for target in targets if target.name not in settings.fixed]
    groups = [(np.asarray(settings.alphas, dtype=np.float64), chosen)] if chosen else []
    for value in dict.fromkeys(settings.fixed.get(target.name) for target in targets):
        if value is not None:
            mine = [target for target in targets if settings.fixed.get(target.name) == value]
            groups.append((np.array([value / n_responses]), mine))
    return groups


class _Stacked:
    """Targets side by side, as training rows see them; in memory, or in a file when they are large."""

    def __init__(self, targets: Sequence[Target], source: np.ndarray, folder: Path | None) -> None:
        self.targets = targets
        self.source = source
        self.folder = folder
        self.width = sum(target.values.shape[1] for target in targets)

    def _write(self, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
        start = 0
        for target in self.targets:
            stop = start + target.values.shape[1]
            for block in np.array_split(np.arange(len(rows)), max(1, len(rows) // 256)):
                out[block, start:stop] = target.values[self.source[rows[block]]]
            start = stop
        return out

    def predict(
        self, X: np.ndarray, rows: np.ndarray, new: np.ndarray, alphas: np.ndarray, cv: int, groups: np.ndarray | None
    ) -> np.ndarray:
        """Fit on training rows `rows` and predict `new`, ``(n_new, width)`` float32."""
        head = RidgeCV(alphas=alphas, cv=cv, store_coef=False)
        mine = None if groups is None else groups[rows]
        if len(rows) * self.width * 4 <= MAX_TARGET_BYTES:
            # Float64 where it is cheap: few rows and many responses are the ill-conditioned case.
            Y = self._write(rows, np.empty((len(rows), self.width), dtype=np.float64))
            return np.asarray(head.fit_then_predict(X[rows], Y, new, groups=mine), dtype=np.float32)
        with tempfile.TemporaryDirectory(prefix=".tmp-targets-", dir=self.folder) as place:
            Y = np.lib.format.open_memmap(
                Path(place) / "targets.npy", mode="w+", dtype=np.float32, shape=(len(rows), self.width)
            )
            self._write(rows, Y)
            found = fit_to_disk(
                head, X[rows].astype(np.float32), Y, Path(place) / "fit", X_new=new.astype(np.float32), groups=mine
            )
            return np.array(found["predicted"], dtype=np.float32)

    def calibrated(
        self,
        train: np.ndarray,
        test: np.ndarray,
        alphas: np.ndarray,
        settings: DecodingSettings,
        groups: np.ndarray | None,
    ) -> np.ndarray:
        """Predict test rows and give every dimension the mean and spread that it should have."""
        rows = np.arange(len(train))
        new = np.concatenate([test, train]) if settings.calibration == "train-fit" else test
        both = self.predict(train, rows, new, alphas, settings.inner_folds, groups)
        predicted, fitted = both[: len(test)], both[len(test) :]
        if settings.calibration == "none":
            return predicted
        true = _Moments(self.width)
        for block in np.array_split(rows, max(1, len(rows) // 256)):
            true.add(self._write(block, np.empty((len(block), self.width))))
        seen = _Moments(self.width)
        if settings.calibration == "test-batch":
            seen.add(predicted)
        elif settings.calibration == "train-fit":
            seen.add(fitted)
        else:
            for fold in inner_splits(settings.inner_folds, len(rows), groups):
                seen.add(self.predict(train, fold.train, train[fold.test], alphas, settings.inner_folds, groups))
        # What is not predicted at all stays at the training mean: its spread is numerical noise.
        predictable = seen.spread > 1e-4 * true.spread
        scale = np.where(predictable, true.spread / np.where(predictable, seen.spread, 1.0), 0.0)
        return ((predicted - seen.mean) * scale + true.mean).astype(np.float32)


class _Moments:
    """Mean and population standard deviation of columns, block by block (Chan et al. 1983)."""

    def __init__(self, width: int) -> None:
        self.n = 0
        self.mean = np.zeros(width)
        self._squares = np.zeros(width)

    def add(self, values: np.ndarray) -> None:
        n, mean = len(values), values.mean(axis=0, dtype=np.float64)
        squares = ((values - mean) ** 2).sum(axis=0, dtype=np.float64)
        total = self.n + n
        self._squares += squares + (mean - self.mean) ** 2 * self.n * n / total
        self.mean = self.mean + (mean - self.mean) * n / total
        self.n = total

    @property
    def spread(self) -> np.ndarray:
        spread: np.ndarray = np.sqrt(self._squares / self.n)
        return spread


def _scaled(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Z-score responses by the training rows, and divide by the square root of their number."""
    train, test = np.asarray(train, dtype=np.float64), np.asarray(test, dtype=np.float64)
    center, spread = train.mean(axis=0), train.std(axis=0)
    factor = np.where(spread > 0, spread, np.inf) * np.sqrt(train.shape[1])
    return (train - center) / factor, (test - center) / factor
