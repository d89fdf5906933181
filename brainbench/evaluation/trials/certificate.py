"""The leak certificate of trials: what training and test share, and whether their samples overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainbench.evaluation.certificate import LEAK, Certificate
from brainbench.evaluation.splitters import Fold
from brainbench.evaluation.trials.content import reach, repeated
from brainbench.evaluation.trials.splitters import TrialRows


def trial_certificate(splits: Sequence[Fold], rows: TrialRows) -> Certificate:
    """Examine a split of trials.

    Rows in training and test, test trials whose samples overlap with a training trial of the same run, and test trials
    whose samples stand in training under another name (a run that is in two files) are leaks. Shared runs, sessions
    and subjects are what the scheme is: they are named, since a label that goes with them would be read from them.
    """
    found = Certificate()
    n = len(splits)
    shared = {
        "rows": sum(len(np.intersect1d(train, test)) > 0 for train, test in splits),
        "overlaps": sum(_overlap(rows, train, test) for train, test in splits),
        "runs": _sharing(splits, rows.runs),
        "sessions": _sharing(splits, rows.sessions),
        "subjects": _sharing(splits, rows.subject),
    }
    if rows.content is not None:
        within = reach(rows.content)
        repeats = [int(repeated(rows.content[test], rows.content[train], within).sum()) for train, test in splits]
        shared["repeats"] = sum(count > 0 for count in repeats)
    found.counts = shared
    if shared["rows"]:
        found.ok = False
        found.findings.append(f"{LEAK} the same trials stand in training and test in {shared['rows']} of {n} folds.")
    if shared["overlaps"]:
        found.ok = False
        found.findings.append(
            f"{LEAK} samples of test trials are also in training trials in {shared['overlaps']} of {n} folds."
        )
    elif not shared.get("repeats"):
        found.findings.append("Samples: no sample stands in training and test.")
    if shared.get("repeats"):
        found.ok = False
        found.findings.append(
            f"LEAK: {sum(repeats)} test trials have the samples of a training trial that goes by another name, in "
            f"{shared['repeats']} of {n} folds: a recording stands in the data twice."
        )
    for what, values in (("run", rows.runs), ("session", rows.sessions), ("subject", rows.subject)):
        if len(np.unique(values)) < 2:
            continue
        count = shared[f"{what}s"]
        text = f"no {what} stands in training and test" if not count else (
            f"{what}s are shared by training and test in {count} of {n} folds"
        )  # fmt: skip
        found.findings.append(f"{what.capitalize()}s: {text}.")
    for what, values in (("run", rows.runs), ("session", rows.sessions), ("subject", rows.subject)):
        _constant_labels(found, what, values, rows.label, shared[f"{what}s"])
    return found


def _constant_labels(found: Certificate, what: str, values: np.ndarray, label: np.ndarray, n_shared: int) -> None:
    """Say where a label goes with runs, sessions or subjects, and refuse to trust it where training knows them."""
    names = np.unique(values)
    if len(names) < 2 or not all(len(np.unique(label[values == name])) == 1 for name in names):
        return
    if n_shared:
        found.ok = False
        found.findings.append(
            f"{LEAK} the label is constant within every {what} and {what}s are shared: a score can rise with no brain "
            f"in it, from what the trials of a {what} have in common."
        )
    elif what == "run":
        found.findings.append("The label is constant within every run: labels cannot be permuted within runs.")


def _sharing(splits: Sequence[Fold], values: np.ndarray) -> int:
    return sum(bool(np.isin(values[test], values[train]).any()) for train, test in splits)


def _overlap(rows: TrialRows, train: np.ndarray, test: np.ndarray) -> bool:
    runs = rows.runs
    for run in np.unique(runs[test]):
        known = np.sort(rows.onset[train[runs[train] == run]])
        asked = rows.onset[test[runs[test] == run]]
        if not len(known):
            continue
        at = np.searchsorted(known, asked)
        before = np.abs(asked - known[np.clip(at - 1, 0, len(known) - 1)])
        after = np.abs(asked - known[np.clip(at, 0, len(known) - 1)])
        if np.any(np.minimum(before, after) < rows.length * (1 - 1e-9)):
            return True
    return False
