"""What each row of the responses stands for: a showing of a stimulus, or a moment of a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.account import RunUse, rows_by_run
from brainbench.data.base import Continuous
from brainbench.data.stimulus_files import StimulusTable
from brainbench.data.tables import Problems, Table, read_table

GAP_S = 60.0
"""Silence between runs that are laid on one clock: longer than a haemodynamic response (32 s)."""

_ROUNDING = 1e-3
"""Seconds by which times in a table may be rounded."""


@dataclass(frozen=True)
class Design:
    """The rows of one subject's responses.

    Attributes
    ----------
    run : str ndarray (n_rows,)
    stimulus : int ndarray (n_rows,) or None
        Trial designs.
    continuous : Continuous or None
        Continuous designs.
    labels : mapping of str to str ndarray (n_rows,)
    path : Path or None
        The table; None when ``t_r`` alone says when rows were measured.
    account : list of RunUse
        What was used of every run; empty where counting rows says it.
    """

    run: np.ndarray
    stimulus: np.ndarray | None = None
    continuous: Continuous | None = None
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    path: Path | None = None
    account: list[RunUse] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.run)


def read_trials(path: Path, stimuli: StimulusTable, subject: str) -> Design:
    """Read a table with a row per presentation.

    Parameters
    ----------
    path : Path
        Columns ``stimulus`` (an id of the stimuli), ``run``, optionally ``repeat`` (which showing this is; checked, not
        used), and labels.
    stimuli : StimulusTable
    subject : str

    Raises
    ------
    UserError
        With every row whose stimulus is unknown, whose run is empty, or whose repeat was met before.
    """
    table = read_table(path)
    table.require("stimulus", "run")
    stimulus = table.indices("stimulus", stimuli.stimuli.ids, stimuli.path.name)
    run = np.array(table.texts("run"))
    if "repeat" in table:
        table.texts("repeat")
        table.unique("stimulus", "repeat")
    table.finish()
    account = [
        replace(row, used=f"{row.used} of {len(np.unique(stimulus[run == row.run]))} stimuli")
        for row in rows_by_run(subject, run)
    ]
    return Design(run, stimulus, labels=table.others("stimulus", "run", "repeat"), path=path, account=account)


@dataclass(frozen=True)
class Recording:
    """Rows of a continuous recording, each run on its own clock unless `one_clock`.

    Attributes
    ----------
    run : str ndarray (n_rows,)
    time : ndarray (n_rows,)
        Seconds.
    t_r : float
    labels : mapping of str to str ndarray (n_rows,)
    path : Path or None
    """

    run: np.ndarray
    time: np.ndarray
    t_r: float
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    path: Path | None = None


def read_recording(path: Path, t_r: float | None) -> Recording:
    """Read a table with a row per volume.

    Parameters
    ----------
    path : Path
        Columns ``time`` (s) unless `t_r` is given, ``run`` (without it there is one), and labels.
    t_r : float or None
        Seconds between volumes; without it the distance of the first two times.

    Raises
    ------
    UserError
        If the volumes of a run are not `t_r` apart.
    """
    table = read_table(path)
    run = np.array(table.texts("run") if "run" in table else ["run-1"] * len(table))
    if t_r is None:
        table.require("time")
    time = table.numbers("time") if "time" in table else None
    _check_runs_together(table, run)
    table.finish()
    if time is None:
        assert t_r is not None
        time = _count_in_runs(run) * t_r
    elif t_r is None:
        same = np.flatnonzero(run[1:] == run[:-1])
        if not len(same):
            raise UserError(f"{path}: no run has two rows, so the time between volumes is unknown")
        t_r = round(float(time[same[0] + 1] - time[same[0]]), 6)
        if t_r <= 0:
            line = table.lines[same[0] + 1]
            raise UserError(f"{path}:{line}  column 'time': does not rise ({time[same[0] + 1]:g} s)")
    for row in np.flatnonzero(run[1:] == run[:-1]) + 1:
        step = time[row] - time[row - 1]
        if abs(step - t_r) > max(_ROUNDING, 1e-3 * t_r):
            table.problems.add(
                f"column 'time': {step:g} s after the row above; volumes of a run are {t_r:g} s apart",
                table.lines[row],
            )
    table.finish()
    return Recording(run, time, t_r, table.others("time", "run"), path)


def regular_recording(n_rows: int, t_r: float) -> Recording:
    """Return the rows of a recording of one run that begins with the stimuli's clock."""
    return Recording(np.full(n_rows, "run-1"), np.arange(n_rows) * t_r, t_r)


@dataclass(frozen=True)
class Clock:
    """Where each run begins on the clock that all runs share.

    Attributes
    ----------
    offset : mapping of str to float
        Seconds to add to the times of a run; empty when the tables already share one clock.
    """

    offset: Mapping[str, float]

    def place(self, run: Sequence[str] | np.ndarray, time: np.ndarray) -> np.ndarray:
        """Return times on the shared clock."""
        if not self.offset:
            return time
        return time + np.array([self.offset[str(name)] for name in run])


def common_clock(stimuli: StimulusTable, recordings: Mapping[str, Recording]) -> Clock:
    """Lay the runs of a continuous design one after the other.

    When stimuli.csv has a column ``run``, onsets and times are counted from the start of each run; runs then follow
    each other with `GAP_S` of silence, the same for all subjects. Without it they must share one clock already.

    Raises
    ------
    UserError
        If runs of the two tables do not match, or times begin again without a column ``run``.
    """
    if stimuli.run is None:
        for subject, recording in recordings.items():
            back = np.flatnonzero(np.diff(recording.time) <= 0)
            if len(back):
                row = int(back[0]) + 1
                raise UserError(
                    f"{recording.path or subject}: time begins again in run '{recording.run[row]}' (row {row + 1}), "
                    f"but {stimuli.path.name} does not say which run an onset is counted in",
                    hint=f"add a column 'run' to {stimuli.path.name}, or count all times from one start",
                )
        return Clock({})
    order = list(dict.fromkeys(stimuli.run))
    onset, duration = stimuli.stimuli.onset, stimuli.stimuli.duration
    assert onset is not None
    end = onset if duration is None else onset + duration
    length = {name: float(end[np.array(stimuli.run) == name].max()) for name in order}
    for recording in recordings.values():
        for name in dict.fromkeys(recording.run.tolist()):
            if name not in length:
                problems = Problems(recording.path or stimuli.path)
                problems.add(f"run '{name}' has no stimulus in {stimuli.path.name} (its runs: {', '.join(order)})")
                problems.finish()
            last = float(recording.time[recording.run == name].max()) + recording.t_r
            length[name] = max(length[name], last)
    starts = np.concatenate([[0.0], np.cumsum([length[name] + GAP_S for name in order])])
    return Clock({name: float(start) for name, start in zip(order, starts, strict=False)})


def covered(stimuli: StimulusTable, recording: Recording, subject: str) -> list[RunUse]:
    """Refuse stimuli that begin after their run's recording has ended; say what was shown before it began.

    Returns
    -------
    account : list of RunUse
        Rows and stimuli of every run, and stimuli whose response was not, or not wholly, measured.
    """
    onset, duration = stimuli.stimuli.onset, stimuli.stimuli.duration
    assert onset is not None
    ends = onset if duration is None else onset + duration
    runs = np.array(stimuli.run) if stimuli.run is not None else np.full(len(onset), "")
    problems = Problems(stimuli.path)
    account = rows_by_run(subject, recording.run, f"rows, {recording.t_r:g} s apart")
    early, heard = 0, 0
    for name in dict.fromkeys(runs.tolist()):
        rows = recording.run == name if stimuli.run is not None else np.ones(len(recording.run), dtype=bool)
        mine = np.flatnonzero(runs == name)
        if not rows.any():
            account.append(
                RunUse(
                    subject, run=name, left_out=f"{len(mine)} stimuli", why="the subject was not recorded in this run"
                )
            )
            continue
        first, end = recording.time[rows].min(), recording.time[rows].max() + recording.t_r
        heard += len(mine)
        before, cut = mine[onset[mine] < first - GAP_S], mine[ends[mine] > end]
        early += len(before)
        for at in mine[onset[mine] >= end]:
            problems.add(
                f"'{stimuli.stimuli.ids[int(at)]}' begins at {onset[at]:g} s, but the recording of {subject}"
                f"{f' (run {name!r})' if name else ''} ends at {end:g} s",
                stimuli.lines[at],
            )
        account.append(RunUse(subject, run=name, used=f"{len(mine) - len(before)} stimuli"))
        if len(before):
            why = f"they begin more than {GAP_S:g} s before the first row ({first:g} s)"
            account.append(RunUse(subject, run=name, left_out=f"{len(before)} stimuli", why=why))
        if len(cut):
            why = f"they last beyond the recording, which ends at {end:g} s"
            account.append(RunUse(subject, run=name, left_out=f"the end of {len(cut)} stimuli", why=why))
    problems.finish("onsets and times are seconds on one clock; check the first volume's time and the TR")
    if not heard or early == heard:
        raise UserError(
            f"{stimuli.path}: every stimulus lies before the recording of {subject} or in runs it does not have"
        )
    order = list(dict.fromkeys([*recording.run.tolist(), *runs.tolist()]))
    return sorted(account, key=lambda row: order.index(row.run))


def _count_in_runs(run: np.ndarray) -> np.ndarray:
    """Return the position of every row within its run."""
    count = np.zeros(len(run))
    for name in np.unique(run):
        rows = run == name
        count[rows] = np.arange(rows.sum())
    return count


def _check_runs_together(table: Table, run: np.ndarray) -> None:
    seen: set[str] = set()
    for row, name in enumerate(run.tolist()):
        if row and run[row - 1] == name:
            continue
        if name in seen:
            table.problems.add(f"run '{name}' begins a second time; keep its rows together", table.lines[row])
        seen.add(name)
