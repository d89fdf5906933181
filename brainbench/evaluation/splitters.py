"""Splitters: scikit-learn style, over rows that know their stimulus and run.

``hold_out`` says what training never sees. With both stimuli and runs held out, a test cell is the intersection of
held-out stimuli and a held-out run, and training drops every row that shares either; cells are never merged into
connected components, which collapse as soon as stimuli repeat across runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Fold = tuple[np.ndarray, np.ndarray]
TRAIN = "train"
"""The predefined fold that is trained on and never tested."""


@dataclass(frozen=True)
class RowSplitter:
    """Deals rows into test folds.

    Parameters
    ----------
    hold_out : sequence of {"stimulus", "run"}
    scheme : {"auto", "k-fold", "leave-one-out", "contiguous", "predefined", "grouped", "paper"}
        ``auto`` is k-fold over stimuli and leave-one-out over runs; ``paper`` is scikit-learn's ``KFold`` over rows in
        their order, which holds out nothing but rows.
    n_splits : int
        Folds of ``k-fold``, ``contiguous`` and ``grouped``.
    trim : int
        Rows beside a contiguous test block that training drops.
    seed : int
        Order in which stimuli are dealt into folds.
    predefined : ndarray (n_rows,), optional
        Fold of each row (``predefined``), of which ``train`` is never tested; or the group that each row belongs to
        (``grouped``).
    """

    hold_out: tuple[str, ...]
    scheme: str = "auto"
    n_splits: int = 5
    trim: int = 0
    seed: int = 0
    predefined: np.ndarray | None = None

    def split(
        self,
        X: object = None,
        y: object = None,
        groups: object = None,
        *,
        stimulus: np.ndarray | None = None,
        run: np.ndarray | None = None,
    ) -> Iterator[Fold]:
        """Yield (train, test) row indices.

        Parameters
        ----------
        X, y
            Ignored; for scikit-learn's signature.
        groups : ndarray (n_rows,), optional
            The stimulus or run of each row, whichever is held out, as scikit-learn passes it.
        stimulus, run : ndarray (n_rows,), optional
            What is held out must be given here or, if it is one of them, as `groups`.

        Raises
        ------
        ValueError
            If the rows cannot be dealt so, with the counts.
        """
        stimulus, run = self._rows(groups, stimulus, run)
        if self.scheme == "predefined":
            yield from self._predefined(len(stimulus))
        elif self.scheme == "grouped":
            yield from self._grouped(len(stimulus))
        elif self.scheme == "paper":
            yield from self._in_order(len(stimulus))
        elif self.scheme == "contiguous":
            yield from self._contiguous(run)
        elif set(self.hold_out) == {"stimulus", "run"}:
            yield from self._cells(stimulus, run)
        else:
            groups_ = stimulus if self.hold_out == ("stimulus",) else run
            for held in self._parts(groups_, self.hold_out[0]):
                test = np.isin(groups_, held)
                yield np.flatnonzero(~test), np.flatnonzero(test)

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None, **rows: np.ndarray) -> int:
        """Return the number of folds."""
        return sum(1 for _ in self.split(X, y, groups, **rows))

    def _rows(
        self, groups: object, stimulus: np.ndarray | None, run: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return stimulus and run of each row; what is not held out may be unknown."""
        given = {"stimulus": stimulus, "run": run}
        if len(self.hold_out) == 1 and given[self.hold_out[0]] is None:
            given[self.hold_out[0]] = None if groups is None else np.asarray(groups)
        if any(given[what] is None for what in self.hold_out):
            raise ValueError(f"split needs the {' and '.join(self.hold_out)} of each row, by name")
        known = {what: np.asarray(values) for what, values in given.items() if values is not None}
        unknown = np.zeros(len(known[self.hold_out[0]]), dtype=int)
        return known.get("stimulus", unknown), known.get("run", unknown)

    def _parts(self, groups: np.ndarray, what: str) -> list[np.ndarray]:
        """Return the groups that are held out together, fold by fold."""
        names = np.unique(groups)
        noun = {"stimulus": "stimuli", "run": "runs"}[what]
        if len(names) < 2:
            raise ValueError(f"{noun} cannot be held out: there is only one")
        scheme = self.scheme
        if scheme == "auto":
            scheme = "leave-one-out" if what == "run" else "k-fold"
        if scheme == "leave-one-out":
            return [names[i : i + 1] for i in range(len(names))]
        if len(names) < self.n_splits:
            raise ValueError(f"folds.n_splits: {self.n_splits} folds are too many for {len(names)} {noun}")
        if what == "stimulus":
            names = np.random.default_rng(self.seed).permutation(names)
        return [np.sort(part) for part in np.array_split(names, self.n_splits)]

    def _cells(self, stimulus: np.ndarray, run: np.ndarray) -> Iterator[Fold]:
        parts = self._parts(stimulus, "stimulus")
        runs = np.unique(run)
        if len(runs) < 2:
            raise ValueError("runs cannot be held out: there is only one")
        for held_run in runs:
            in_run = run == held_run
            for held in parts:
                in_part = np.isin(stimulus, held)
                test, train = in_run & in_part, ~in_run & ~in_part
                if not test.any():
                    continue
                if train.sum() < 2:
                    raise ValueError(
                        f"holding out run '{held_run}' and {len(held)} stimuli leaves {train.sum()} rows to train on"
                    )
                yield np.flatnonzero(train), np.flatnonzero(test)

    def _contiguous(self, run: np.ndarray) -> Iterator[Fold]:
        n = len(run)
        if n < 2 * self.n_splits:
            raise ValueError(f"folds.n_splits: {self.n_splits} contiguous blocks are too many for {n} rows")
        rows = np.arange(n)
        for test in np.array_split(rows, self.n_splits):
            near = (rows >= test[0] - self.trim) & (rows <= test[-1] + self.trim)
            if "run" in self.hold_out:
                near |= np.isin(run, run[test])
            # Rows of another run are not neighbours in time, however close their indices.
            near &= np.isin(run, run[test])
            train = np.flatnonzero(~near)
            if len(train) < 2:
                raise ValueError(
                    f"trimming {self.trim} rows beside {self.n_splits} test blocks leaves {len(train)} to train on"
                )
            yield train, test

    def _predefined(self, n: int) -> Iterator[Fold]:
        if self.predefined is None or len(self.predefined) != n:
            raise ValueError("a predefined split needs one fold label per row")
        names = np.unique(self.predefined)
        if len(names) < 2:
            raise ValueError(f"the predefined split has one fold only: '{names[0]}'")
        for name in names:
            if name == TRAIN:
                continue
            test = self.predefined == name
            yield np.flatnonzero(~test), np.flatnonzero(test)

    def _in_order(self, n: int) -> Iterator[Fold]:
        if n < self.n_splits:
            raise ValueError(f"folds.n_splits: {self.n_splits} folds are too many for {n} rows")
        for test in np.array_split(np.arange(n), self.n_splits):
            yield np.setdiff1d(np.arange(n), test), test

    def _grouped(self, n: int) -> Iterator[Fold]:
        if self.predefined is None or len(self.predefined) != n:
            raise ValueError("a grouped split needs one group per row")
        names = np.unique(self.predefined)
        if len(names) < self.n_splits:
            raise ValueError(f"folds.n_splits: {self.n_splits} folds are too many for {len(names)} groups")
        for part in np.array_split(np.random.default_rng(self.seed).permutation(names), self.n_splits):
            test = np.isin(self.predefined, part)
            yield np.flatnonzero(~test), np.flatnonzero(test)


def make_splitter(
    hold_out: Sequence[str],
    *,
    scheme: str = "auto",
    n_splits: int = 5,
    trim: int = 0,
    seed: int = 0,
    predefined: np.ndarray | None = None,
) -> RowSplitter:
    """Return the splitter of a recipe's ``hold_out`` and ``folds``."""
    order = tuple(what for what in ("stimulus", "run") if what in hold_out)
    if not order or set(hold_out) - set(order):
        raise ValueError(f"hold_out must name 'stimulus', 'run' or both, got {list(hold_out)}")
    return RowSplitter(order, scheme, n_splits, trim, seed, predefined)


def inner_groups(hold_out: Sequence[str], *, stimulus: np.ndarray, run: np.ndarray) -> np.ndarray:
    """Return the groups that inner folds of a training fold keep together.

    Inner folds hold out what the outer ones do. With both stimuli and runs held out, runs are kept together when
    there are enough of them: a run shares more than a stimulus does (its noise, its style).
    """
    by = run if "run" in hold_out and len(np.unique(run)) > 1 else stimulus
    groups: np.ndarray = np.unique(by, return_inverse=True)[1]
    return groups
