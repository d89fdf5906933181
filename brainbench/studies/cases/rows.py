"""From responses to the rows that are fitted and scored under one scheme: centering, averaging, group means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError
from brainbench.data.base import Continuous, Responses
from brainbench.recipes.parts import ResponseSettings, Scheme

GROUP = "group"
"""The pseudo-subject whose responses are the mean over participants."""
AVERAGED = "averaged"
"""The run of a row that is a mean over showings which may be of several runs."""


@dataclass(frozen=True)
class Rows:
    """What is fitted and scored under one scheme.

    Parameters
    ----------
    subject : str
    scheme : Scheme
    Y : ndarray (n_rows, n_targets)
    first : int ndarray (n_rows,)
        A presentation that each row stands for; its features and labels are the row's.
    stimulus : int ndarray (n_rows,)
        Index of the stimulus; for continuous designs every row is its own.
    run : str ndarray (n_rows,)
    group : int ndarray (n_presentations,)
        The row that each presentation went into.
    continuous : Continuous, optional
    nuisance : ndarray (n_rows, n_nuisance), optional
        Of continuous designs.
    labels : mapping of str to ndarray (n_rows,)
    """

    subject: str
    scheme: Scheme
    Y: np.ndarray
    first: np.ndarray
    stimulus: np.ndarray
    run: np.ndarray
    group: np.ndarray
    continuous: Continuous | None
    nuisance: np.ndarray | None
    labels: Mapping[str, np.ndarray]

    @cached_property
    def digest(self) -> str:
        """Digest of everything that can change a fit on these rows.

        What is held out decides what inner folds keep together, whatever the outer folds are.
        """
        return digest(
            {
                "hold_out": sorted(self.scheme.hold_out),
                "Y": digest_array(self.Y),
                "stimulus": digest_array(self.stimulus),
                "run": digest_array(np.asarray(self.run, dtype=str)),
                "nuisance": None if self.nuisance is None else digest_array(self.nuisance),
                "t_r": None if self.continuous is None else self.continuous.t_r,
                "row_time": None if self.continuous is None else digest_array(self.continuous.row_time),
                "labels": {name: digest_array(np.asarray(v, dtype=str)) for name, v in self.labels.items()},
            }
        )

    @property
    def n_averaged(self) -> np.ndarray:
        """Showings averaged into each row, ``(n_rows,)``."""
        return np.bincount(self.group)

    def __len__(self) -> int:
        return len(self.Y)


def regions_digest(responses: Responses) -> str:
    """Digest of the regions of a participant, and of their order: units keep numbers of regions side by side."""
    return digest([[name, digest_array(np.asarray(mask))] for name, mask in responses.rois.items()])


def normalize_runs(data: np.ndarray, run: np.ndarray, settings: ResponseSettings) -> np.ndarray:
    """Center and scale every run by its own rows, as the recipe asks; ``(n_presentations, n_targets)``.

    Sums are float64: those of raw counts in float32 would give every run an offset of its own.
    """
    if settings.center == "none" and settings.scale == "none":
        return data
    out = np.array(data, dtype=data.dtype if data.dtype.kind == "f" else np.float32)
    for name in np.unique(run):
        rows = run == name
        if settings.center == "run":
            out[rows] -= out[rows].mean(axis=0, dtype=np.float64)
        if settings.scale == "run":
            spread = out[rows].std(axis=0, dtype=np.float64)
            out[rows] /= np.where(spread > 0, spread, 1)
    return out


def make_rows(responses: Responses, scheme: Scheme, settings: ResponseSettings) -> Rows:
    """Prepare the rows of one subject under one scheme.

    Showings of a stimulus are averaged within what is held out together: within a run when runs are held out,
    over the whole recording otherwise, and not at all under folds as published. Nothing here looks at features.
    """
    run = np.asarray(responses.run, dtype=str)
    data = normalize_runs(responses.data, run, settings)
    n = len(data)
    if responses.continuous is not None:
        return Rows(
            subject=responses.subject,
            scheme=scheme,
            Y=np.asarray(data),
            first=np.arange(n),
            stimulus=np.arange(n),
            run=run,
            group=np.arange(n),
            continuous=responses.continuous,
            nuisance=responses.nuisance,
            labels=dict(responses.labels),
        )
    assert responses.stimulus is not None
    stimulus = np.asarray(responses.stimulus)
    if not settings.average_repeats or scheme.folds.scheme == "paper":
        return Rows(
            responses.subject,
            scheme,
            np.asarray(data),
            np.arange(n),
            stimulus,
            run,
            np.arange(n),
            None,
            None,
            dict(responses.labels),
        )
    by_run = "run" in scheme.hold_out
    keys = np.char.add(np.char.add(stimulus.astype(str), "|"), run if by_run else np.full(n, ""))
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # keep the order of first showing
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    group = rank[group]
    first = first[order]
    counts = np.bincount(group)
    Y = group_means(np.asarray(data), group, counts)
    return Rows(
        subject=responses.subject,
        scheme=scheme,
        Y=Y,
        first=first,
        stimulus=stimulus[first],
        run=run[first] if by_run else np.where(counts == 1, run[first], AVERAGED),
        group=group,
        continuous=None,
        nuisance=None,
        labels={
            name: np.asarray(values)[first]
            for name, values in responses.labels.items()
            if _constant_within(np.asarray(values), group)
        },
    )


def group_means(data: np.ndarray, group: np.ndarray, counts: np.ndarray, *, block: int = 1024) -> np.ndarray:
    """Return the mean of the rows of each group, ``(n_groups, n_columns)``, in float precision of `data`.

    Means are taken in float64, some columns at a time: a whole copy of large responses would not fit.
    """
    order = np.argsort(group, kind="stable")
    if len(counts) == len(data):
        return data[order]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    means = np.empty((len(counts), data.shape[1]), dtype=data.dtype if data.dtype.kind == "f" else np.float32)
    for first in range(0, data.shape[1], block):
        columns = slice(first, first + block)
        means[:, columns] = np.add.reduceat(data[order, columns].astype(np.float64), starts, axis=0) / counts[:, None]
    return means


def _constant_within(values: np.ndarray, group: np.ndarray) -> bool:
    values = values.astype(str)
    return len(np.unique(np.char.add(np.char.add(group.astype(str), "|"), values))) == len(np.unique(group))


def group_responses(members: Sequence[Responses]) -> Responses:
    """Return the mean of the participants' z-scored responses as one pseudo-subject.

    Nuisance regressors belong to single participants and are not carried over, nor are regions that are not the same
    targets in everybody.

    Raises
    ------
    UserError
        If rows or targets of the participants do not match.
    """
    first = members[0]
    for other in members[1:]:
        if other.data.shape != first.data.shape or not np.array_equal(other.run, first.run):
            raise UserError(
                f"group mean: {other.subject} has {other.data.shape[0]} rows x {other.data.shape[1]} targets, "
                f"{first.subject} has {first.data.shape[0]} x {first.data.shape[1]}",
                hint="choose `dataset.subjects` that were recorded alike",
            )
        mine, theirs = first.stimulus, other.stimulus
        if mine is not None and theirs is not None and not np.array_equal(mine, theirs):
            raise UserError(
                f"group mean: the rows of {other.subject} show other stimuli than those of {first.subject}",
                hint="choose `dataset.subjects` that met the same stimuli",
            )
    shared = set.intersection(*(set(member.extra_features) for member in members))
    kept = "; their nuisance is not taken out" if any(member.nuisance is not None for member in members) else ""
    notes = [f"mean of the z-scored responses of {len(members)} participants{kept}"]
    rois = {
        name: mask
        for name, mask in first.rois.items()
        if all(np.array_equal(mask, one.rois.get(name, ())) for one in members)
    }
    own = [name for name in dict.fromkeys(name for one in members for name in one.rois) if name not in rois]
    if own:
        notes.append(f"regions that are not the same targets in every participant are left out: {', '.join(own)}")
    return replace(
        first,
        subject=GROUP,
        data=np.mean([zscore(member.data) for member in members], axis=0),
        nuisance=None,
        extra_features={
            name: np.mean([np.asarray(member.extra_features[name], dtype=np.float64) for member in members], axis=0)
            for name in sorted(shared)
        },
        rois=rois,
        ceiling=None,
        notes=notes,
    )


def zscore(data: np.ndarray) -> np.ndarray:
    """Return columns with mean 0 and standard deviation 1, float64."""
    data = np.asarray(data, dtype=np.float64)
    return (data - data.mean(axis=0)) / data.std(axis=0)
