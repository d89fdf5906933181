"""Splitters of trials: scikit-learn style, over rows that know their subject, session and run.

Trials are dealt into folds before anything is computed from them, so that windows of one trial, or trials of one
run, can never stand on both sides of a fold that says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from brainbench.evaluation.splitters import Fold
from brainbench.evaluation.trials.modes import MODES, ModeName

SCHEMES = (
    "k-fold",
    "leave-one-run-out",
    "leave-one-session-out",
    "leave-one-subject-out",
    "chronological",
    "few-shot",
)
ACROSS = ("leave-one-subject-out", "few-shot")
"""Schemes whose training rows are of other subjects than the test rows."""
_COLUMNS = ("subject", "session", "run", "trial", "label", "onset")


@dataclass(frozen=True)
class TrialRows:
    """Where every trial came from, and what it was.

    Parameters
    ----------
    subject, session, run : str ndarray (n_trials,)
        A run is named within its session, a session within its subject.
    trial : int ndarray (n_trials,)
        Order within the run.
    label : str ndarray (n_trials,)
    onset : float ndarray (n_trials,)
        Seconds from the start of the run.
    length : float
        Seconds that a trial lasts, for overlaps.
    content : float ndarray (n_trials, n), optional
        Fingerprints of the trials' samples, see `brainbench.evaluation.trials.content`.
    """

    subject: np.ndarray
    session: np.ndarray
    run: np.ndarray
    trial: np.ndarray
    label: np.ndarray
    onset: np.ndarray
    length: float
    content: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.subject)

    @property
    def sessions(self) -> np.ndarray:
        """Name of each trial's session, unique over subjects."""
        return _joined(self.subject, self.session)

    @property
    def runs(self) -> np.ndarray:
        """Name of each trial's run, unique over subjects."""
        return _joined(self.subject, self.session, self.run)

    def take(self, rows: np.ndarray) -> TrialRows:
        """Return some of the rows."""
        columns: dict[str, np.ndarray] = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return TrialRows(**columns, length=self.length, content=None if self.content is None else self.content[rows])

    @classmethod
    def joined(cls, parts: Sequence[TrialRows]) -> TrialRows:
        """Return the rows of several subjects, one after the other."""
        columns: dict[str, np.ndarray] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS
        }
        prints = [part.content for part in parts if part.content is not None]
        content = np.concatenate(prints) if len(prints) == len(parts) else None
        return cls(**columns, length=parts[0].length, content=content)


def _joined(*columns: np.ndarray) -> np.ndarray:
    out = columns[0].astype(str)
    for column in columns[1:]:
        out = np.char.add(np.char.add(out, "/"), column.astype(str))
    return out


@dataclass(frozen=True)
class TrialSplitter:
    """Deals trials into test folds.

    Parameters
    ----------
    scheme : str
        ``k-fold``: stratified and shuffled within every session. ``leave-one-run-out``,
        ``leave-one-session-out``: within a subject. ``chronological``: the first trials of every session train, the
        last ones test. ``leave-one-subject-out``. ``few-shot``: the other subjects and the first `shots` trials of
        each class of the new subject train; trials up to the last one that any of `all_shots` takes are never
        tested, so that every number of shots is tested on the same trials.
    n_splits : int
        Folds of ``k-fold``.
    test_share : float
        Of ``chronological``.
    shots, all_shots : int, sequence of int
        Of ``few-shot``.
    mode : str
        Of ``leave-one-subject-out``, one of `MODES`.
    seed : int
        Order in which ``k-fold`` deals.
    """

    scheme: str
    n_splits: int = 5
    test_share: float = 0.5
    shots: int = 0
    all_shots: tuple[int, ...] = ()
    mode: ModeName = "train"
    seed: int = 0

    def split(self, X: object = None, y: object = None, groups: TrialRows | None = None) -> Iterator[Fold]:
        """Yield (train, test) row indices.

        Parameters
        ----------
        X, y
            Ignored; for scikit-learn's signature.
        groups : TrialRows

        Raises
        ------
        ValueError
            If the trials cannot be dealt so, with the counts.
        """
        if groups is None:
            raise ValueError("split needs `groups`, the TrialRows")
        if self.scheme not in SCHEMES:
            raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}, got {self.scheme!r}")
        yield from getattr(self, "_" + self.scheme.replace("-", "_"))(groups)

    def get_n_splits(self, X: object = None, y: object = None, groups: TrialRows | None = None) -> int:
        """Return the number of folds."""
        return sum(1 for _ in self.split(X, y, groups))

    def unlabelled(self, rows: TrialRows, test: np.ndarray) -> np.ndarray:
        """Return the rows of a fold's new subject that are there beforehand without labels; most schemes have none."""
        mode = MODES[self.mode]
        if mode.labelled or not mode.share:
            return np.empty(0, dtype=int)
        return _first_of_sessions(rows, np.flatnonzero(rows.subject == rows.subject[test[0]]), mode.share)

    def _k_fold(self, rows: TrialRows) -> Iterator[Fold]:
        from sklearn.model_selection import StratifiedKFold

        for session in _in_order(rows.sessions):
            here = np.flatnonzero(rows.sessions == session)
            labels, counts = np.unique(rows.label[here], return_counts=True)
            if counts.min() < self.n_splits:
                raise ValueError(
                    f"{self.n_splits} folds are too many for the {counts.min()} trials of "
                    f"'{labels[counts.argmin()]}' in session {session}"
                )
            folds = StratifiedKFold(self.n_splits, shuffle=True, random_state=self.seed)
            for train, test in folds.split(here, rows.label[here]):
                yield here[train], here[test]

    def _leave_one_run_out(self, rows: TrialRows) -> Iterator[Fold]:
        yield from self._leave_out(rows.runs, rows.subject, "run")

    def _leave_one_session_out(self, rows: TrialRows) -> Iterator[Fold]:
        yield from self._leave_out(rows.sessions, rows.subject, "session")

    def _leave_one_subject_out(self, rows: TrialRows) -> Iterator[Fold]:
        names = _in_order(rows.subject)
        if len(names) < 2:
            raise ValueError("subjects cannot be held out: there is only one")
        mode = MODES[self.mode]
        for name in names:
            train, test = np.flatnonzero(rows.subject != name), np.flatnonzero(rows.subject == name)
            if 0 < mode.share < 1:
                known = _first_of_sessions(rows, test, mode.share)
                test = np.setdiff1d(test, known)
                if not len(test):
                    raise ValueError(f"mode '{self.mode}' leaves no trial of {name} to test")
                train = np.concatenate([train, known]) if mode.labelled else train
            yield train, test

    def _leave_out(self, groups: np.ndarray, subject: np.ndarray, what: str) -> Iterator[Fold]:
        for person in _in_order(subject):
            mine = subject == person
            names = _in_order(groups[mine])
            if len(names) < 2:
                raise ValueError(f"{what}s cannot be held out: {person} has only one")
            for name in names:
                yield np.flatnonzero(mine & (groups != name)), np.flatnonzero(groups == name)

    def _chronological(self, rows: TrialRows) -> Iterator[Fold]:
        for session in _in_order(rows.sessions):
            here = _by_time(rows, rows.sessions == session)
            n_test = round(self.test_share * len(here))
            if not 0 < n_test < len(here):
                raise ValueError(f"test_share {self.test_share:g} leaves nothing to train or test in session {session}")
            yield here[:-n_test], here[-n_test:]

    def _few_shot(self, rows: TrialRows) -> Iterator[Fold]:
        names = _in_order(rows.subject)
        if len(names) < 2:
            raise ValueError("few-shot calibration needs other subjects: there is only one")
        most = max((self.shots, *self.all_shots))
        for name in names:
            here = _by_time(rows, rows.subject == name)
            taken = _first_of_each(rows.label[here], most)
            if taken.max(initial=-1) + 1 >= len(here):
                raise ValueError(f"{most} shots of each class leave no trial of {name} to test")
            test = here[taken.max(initial=-1) + 1 :]
            calibration = here[_first_of_each(rows.label[here], self.shots)]
            others = np.flatnonzero(rows.subject != name)
            yield np.concatenate([others, calibration]), test


def _in_order(values: np.ndarray) -> list[str]:
    return [str(value) for value in dict.fromkeys(values.tolist())]


def _by_time(rows: TrialRows, chosen: np.ndarray) -> np.ndarray:
    """Return chosen rows in the order they were recorded; sessions and runs come in the order of the rows."""
    index = np.flatnonzero(chosen)
    place = {name: number for number, name in enumerate(_in_order(rows.runs[index]))}
    run = np.array([place[name] for name in rows.runs[index].tolist()])
    order: np.ndarray = index[np.lexsort((rows.onset[index], run))]
    return order


def _first_of_sessions(rows: TrialRows, index: np.ndarray, share: float) -> np.ndarray:
    """Return the first trials of every session among some rows: the share rounded down, at least one, never all."""
    if share == 1:
        return index
    found = []
    for session in _in_order(rows.sessions[index]):
        here = _by_time(rows, rows.sessions == session)
        found.append(here[: min(max(int(share * len(here)), 1), len(here) - 1)])
    return np.sort(np.concatenate(found))


def _first_of_each(labels: np.ndarray, n: int) -> np.ndarray:
    """Return where the first `n` rows of every class stand."""
    if n == 0:
        return np.empty(0, dtype=int)
    found = []
    for name in np.unique(labels):
        places = np.flatnonzero(labels == name)
        if len(places) < n:
            raise ValueError(f"{n} shots are too many: there are {len(places)} trials of '{name}'")
        found.append(places[:n])
    return np.sort(np.concatenate(found))
