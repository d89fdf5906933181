"""Runs side by side: one row per subject, scheme, encoder, layer, pipeline and ROI, one column per run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.runs.folder import Run
from brainbench.studies.outcome import ALL

ROW = ["subject", "scheme", "encoder", "layer", "pipeline", "roi", "stage", "row"]


def compare_runs(folders: Sequence[Path], metric: str | None = None) -> pd.DataFrame:
    """Return the scores over folds of several runs, joined on what was scored.

    Parameters
    ----------
    folders : sequence of Path
        Two or more run folders.
    metric : str, optional
        Which metric; the first run's leading one without it.

    Returns
    -------
    DataFrame
        Columns `ROW`, one per run, and ``difference`` (last minus first) for two runs. A cell is empty where a
        run has no such score.

    Raises
    ------
    UserError
        For fewer than two runs, or a metric that a run does not have.
    """
    if len(folders) < 2:
        raise UserError(f"compare needs two runs or more, got {len(folders)}")
    runs = [Run(folder) for folder in folders]
    metric = metric or str(runs[0].facts["metric"])
    names = _distinct([run.path for run in runs])
    columns = []
    for run, name in zip(runs, names, strict=True):
        scores = run.scores
        known = sorted(scores["metric"].unique())
        if metric not in known:
            raise UserError(
                f"{run.path} has no metric '{metric}'{did_you_mean(metric, known)}", hint=f"it has {one_of(known)}"
            )
        chosen = scores[(scores["metric"] == metric) & (scores["fold"] == ALL) & (scores["stimulus"] == "")]
        columns.append(chosen.set_index(ROW)["value"].rename(name))
    table = pd.concat(columns, axis=1, sort=True)
    if len(runs) == 2:
        table["difference"] = table[names[1]] - table[names[0]]
    table.insert(0, "metric", metric)
    return table.reset_index()


def render(table: pd.DataFrame) -> str:
    """Return the table as text; columns that say nothing are left out."""
    shown = table.loc[:, [column for column in table if not (table[column] == "").all()]]
    return shown.to_string(index=False, float_format=lambda value: f"{value:.3f}", na_rep="-")


def _distinct(paths: Sequence[Path]) -> list[str]:
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return [f"{name} ({index})" if name in names[: index - 1] else name for index, name in enumerate(names, start=1)]
