"""The leak certificate: what training and test rows of a split share, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from brainbench.evaluation.splitters import Fold

LEAK = "LEAK:"
"""What a finding begins with that lets a score rise without the brain."""


@dataclass
class Certificate:
    """What was found.

    Attributes
    ----------
    ok : bool
        False when something lets a score rise without the brain.
    findings : list of str
    counts : mapping of str to int
        Folds in which training and test share rows, stimuli, runs, content, or neighbouring samples.
    """

    ok: bool = True
    findings: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def promise(self, broken: bool, finding: str) -> None:
        """Add a finding on something that the split may have promised to keep apart."""
        self.ok = self.ok and not broken
        self.findings.append(f"{LEAK} {finding[0].lower()}{finding[1:]}" if broken else finding)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"ok": self.ok, "findings": list(self.findings), "counts": dict(self.counts)}


def leak_certificate(
    splits: Sequence[Fold],
    *,
    stimulus: np.ndarray,
    run: np.ndarray,
    row_time: np.ndarray | None = None,
    content_digest: np.ndarray | None = None,
    labels: Mapping[str, np.ndarray] | None = None,
    hold_out: Sequence[str] = (),
    min_gap: float = 10.0,
) -> Certificate:
    """Examine a split.

    Parameters
    ----------
    splits : sequence of (train, test)
    stimulus, run : ndarray (n_rows,)
    row_time : ndarray (n_rows,), optional
        Seconds; continuous designs.
    content_digest : ndarray (n_rows,), optional
        Digest of each row's stimulus content.
    labels : mapping of str to ndarray (n_rows,), optional
        A label that is constant within every run lets a score rise with no brain in it when its runs are shared.
    hold_out : sequence of {"stimulus", "run"}
        What the split promises to keep out of training; sharing it is a leak.
    min_gap : float
        Seconds that must lie between training and test rows of one run (continuous designs).
    """
    found = Certificate()
    n_folds = len(splits)
    gaps = [] if row_time is None else _gaps(splits, np.asarray(row_time), run)
    share = {
        "rows": sum(len(np.intersect1d(train, test)) > 0 for train, test in splits),
        "stimuli": _sharing(splits, stimulus) if row_time is None else 0,
        "runs": _sharing(splits, run),
        "content": 0 if content_digest is None else _sharing(splits, content_digest),
        "neighbours": sum(gap < min_gap for gap in gaps),
    }
    found.counts = share
    if share["rows"]:
        found.ok = False
        found.findings.append(f"{LEAK} the same rows stand in training and test in {share['rows']} of {n_folds} folds.")
    if row_time is None:
        text = "no stimulus stands in training and test" if not share["stimuli"] else (
            f"stimuli are shared by training and test in {share['stimuli']} of {n_folds} folds"
        )  # fmt: skip
        found.promise("stimulus" in hold_out and share["stimuli"] > 0, f"Stimuli: {text}.")
        if share["content"] > share["stimuli"]:
            found.ok = False
            found.findings.append(
                f"{LEAK} equal content under different stimulus ids is shared in {share['content']} of {n_folds} folds."
            )
    else:
        if share["neighbours"]:
            found.ok = False
            found.findings.append(
                f"{LEAK} training rows lie within {min_gap:g} s of test rows in {share['neighbours']} of {n_folds} "
                "folds."
            )
        else:
            closest = min(gaps)
            apart = f"at least {closest:g} s lie" if np.isfinite(closest) else "whole runs lie"
            found.findings.append(f"Time: {apart} between training and test rows.")
    several = len(np.unique(run)) > 1
    if several:
        text = "no run stands in training and test" if not share["runs"] else (
            f"runs are shared by training and test in {share['runs']} of {n_folds} folds"
        )  # fmt: skip
        found.promise("run" in hold_out and share["runs"] > 0, f"Runs: {text}.")
    for name, values in (labels or {}).items():
        values = np.asarray(values, dtype=str)
        constant = all(len(np.unique(values[run == one])) == 1 for one in np.unique(run))
        if several and constant and len(np.unique(values)) > 1:
            if share["runs"]:
                found.ok = False
                found.findings.append(
                    f"{LEAK} '{name}' is constant within every run and runs are shared: a score can rise with no "
                    "brain in it, from what the rows of a run have in common."
                )
            else:
                found.findings.append(f"'{name}' is constant within every run; runs are held out, so it cannot help.")
    return found


def _sharing(splits: Sequence[Fold], values: np.ndarray) -> int:
    values = np.asarray(values)
    return sum(bool(np.isin(values[test], values[train]).any()) for train, test in splits)


def _gaps(splits: Sequence[Fold], time: np.ndarray, run: np.ndarray) -> list[float]:
    """Return the seconds between training and test rows of one run at their closest, fold by fold."""
    found = []
    for train, test in splits:
        closest = np.inf
        for one in np.unique(run[test]):
            a, b = np.sort(time[train[run[train] == one]]), time[test[run[test] == one]]
            if len(a) and len(b):
                at = np.searchsorted(a, b)
                before, after = a[np.clip(at - 1, 0, len(a) - 1)], a[np.clip(at, 0, len(a) - 1)]
                closest = min(closest, float(np.minimum(np.abs(b - before), np.abs(b - after)).min()))
        found.append(closest)
    return found
