"""Runs side by side: one row per subject, scheme, encoder, layer, pipeline and ROI, one column per run; and a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.evaluation.bootstrap import subject_mean
from brainbench.evaluation.family import fdr
from brainbench.evaluation.trials.scores import compare_subjects
from brainbench.runs.folder import Run
from brainbench.studies.outcome import ALL, TOGETHER
from brainbench.studies.words import joined

ROW = ["subject", "scheme", "encoder", "layer", "pipeline", "roi", "stage", "row"]
CELL = ROW[1:]
WORDS = {"roi": "region", "subject": "participant", "scheme": "way of holding out", "row": "rung"}
"""Columns in words, where they are another one."""


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
    columns = [_over_folds(run, metric)["value"].rename(name) for run, name in zip(runs, names, strict=True)]
    table = pd.concat(columns, axis=1, sort=True)
    if len(runs) == 2:
        table["difference"] = table[names[1]] - table[names[0]]
    table.insert(0, "metric", metric)
    return table.reset_index()


def _over_folds(run: Run, metric: str) -> pd.DataFrame:
    """Return the scores of a metric over folds and stimuli, by `ROW`."""
    scores = run.scores
    known = sorted(scores["metric"].unique())
    if metric not in known:
        raise UserError(
            f"{run.path} has no metric '{metric}'{did_you_mean(metric, known)}", hint=f"it has {one_of(known)}"
        )
    return scores[(scores["metric"] == metric) & (scores["fold"] == ALL) & (scores["stimulus"] == "")].set_index(ROW)


def paired(table: pd.DataFrame) -> pd.DataFrame:
    """Return how every later run differs from the first one over the participants whom both have.

    Parameters
    ----------
    table : DataFrame
        As `compare_runs` returns it.

    Returns
    -------
    DataFrame
        A row per cell (`CELL`) and later run: means of ``first`` and ``other`` over the same participants, their
        ``difference`` with a t interval of 95 % over participants (``low``, ``high``; empty where they are too few for
        it to cover), a two-sided ``p`` by exchanging signs, ``q`` over all rows, and ``n``. Participants are the
        random effect: both runs meet the same ones, so that what they have in common falls out.
    """
    names = _names(table)
    rows: list[dict[str, Any]] = []
    people = table[~table["subject"].isin(TOGETHER)]
    for cell, mine in people.groupby(CELL, sort=False, dropna=False):
        for name in names[1:]:
            both = mine[[names[0], name]].dropna().to_numpy(dtype=float)
            if not len(both):
                continue
            row: dict[str, Any] = {**dict(zip(CELL, cell, strict=True)), "run": name, "n": len(both)}
            row |= {"first": both[:, 0].mean(), "other": both[:, 1].mean()}
            row["difference"] = row["other"] - row["first"]
            if len(both) > 1:
                interval = subject_mean(both[:, 1] - both[:, 0])
                row |= {
                    "low": interval.ci_low,
                    "high": interval.ci_high,
                    "p": compare_subjects(both[:, 1], both[:, 0]).p,
                }
            rows.append(row)
    columns = [*CELL, "run", "n", "first", "other", "difference", "low", "high", "p", "q"]
    found = pd.DataFrame(rows, columns=columns).astype({name: float for name in columns[len(CELL) + 2 :]})
    tested = found["p"].notna()
    if tested.any():
        found.loc[tested, "q"] = fdr(found.loc[tested, "p"].to_numpy(dtype=float))
    return found


def unmatched(table: pd.DataFrame) -> list[str]:
    """Return a sentence for every name that some run lacks: regions, participants, layers and others."""
    names = _names(table)
    found = []
    for column in ROW:
        present = {name: set(table.loc[table[name].notna(), column]) - {""} for name in names}
        known = list(dict.fromkeys(one for one in table[column] if one != ""))
        for one in known:
            lacking = [name for name in names if one not in present[name]]
            if not lacking:
                continue
            owner = next(name for name in names if one in present[name])
            said = f"{WORDS.get(column, column)} {one} is not in {joined(lacking)}"
            alike = did_you_mean(one, sorted(present[lacking[0]] - present[owner])).replace(
                "did you mean", "is it called"
            )
            found.append(said + alike)
    return found


def other_data(folders: Sequence[Path], table: pd.DataFrame) -> list[str]:
    """Return what runs scored that has one name and is not the same: other data, regions of other targets, other rows.

    Parameters
    ----------
    folders : sequence of Path
    table : DataFrame
        As `compare_runs` returns it.
    """
    names, runs = _names(table), [Run(folder) for folder in folders]
    data = [(str(run.facts["dataset"]["name"]), _recipe(run.path).get("dataset", {}).get("root")) for run in runs]
    found = []
    if len({name for name, _ in data}) > 1 or len({root for _, root in data if root is not None}) > 1:
        said = [
            f"{name} of {one}{f' in {root}' if root else ''}" for name, (one, root) in zip(names, data, strict=True)
        ]
        found.append(f"{joined(said)}: participants are taken for the same where they have one name")
    metric = str(table["metric"].iloc[0])
    scores = [_over_folds(run, metric) for run in runs]
    people = [set(one.index.get_level_values("subject")) - set(TOGETHER) for one in scores]
    if any(one != people[0] for one in people):
        said = [f"{len(one)} in {name}" for one, name in zip(people, names, strict=True)]
        both = len(set.intersection(*people))
        found.append(f"means are over other participants: {joined(said)}, {both} of them in all runs")
    for size, place, what in (("n_targets", "roi", "targets"), ("n_rows", "scheme", "rows scored")):
        sizes = pd.concat([one[size].rename(name) for one, name in zip(scores, names, strict=True)], axis=1)
        sizes = sizes.reset_index().query("subject not in @TOGETHER")
        for where, mine in sizes[sizes[names].nunique(axis=1) > 1].groupby(place, sort=False):
            said = [f"{mine[name].iloc[0]:g} {what} in {name}" for name in names if pd.notna(mine[name].iloc[0])]
            found.append(
                f"{WORDS[place]} {where} is not the same: {mine['subject'].iloc[0]} has {joined(said)} (differs in "
                f"{mine['subject'].nunique()} of {sizes['subject'].nunique()} participants)"
            )
    return found


def settings_that_differ(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the settings in which recipes differ: name and value of every run; what changes no number is left out."""
    flat = []
    for folder in folders:
        recipe = _recipe(folder)
        flat.append(dict(_flat({name: value for name, value in recipe.items() if name not in ("execution", "title")})))
    keys = list(dict.fromkeys(key for one in flat for key in one))
    found = [{"name": key, "values": [one.get(key, "–") for one in flat]} for key in keys]
    return [one for one in found if len(set(map(repr, one["values"]))) > 1]


def _recipe(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    return found


def _flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Return every leaf of nested settings with its dotted name; entries of lists go by their names."""
    if isinstance(value, dict):
        return [leaf for key, one in value.items() for leaf in _flat(one, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        named = [(one.get("name") or one.get("roi") or place, one) for place, one in enumerate(value)]
        return [leaf for key, one in named for leaf in _flat(one, f"{name}[{key}]")]
    return [(name, value)]


def write_page(folders: Sequence[Path], page: Path, metric: str | None = None) -> Path:
    """Write the comparison as a page, with its figures as SVG and PDF beside it.

    Raises
    ------
    UserError
        For fewer than two runs, a metric that a run lacks, or a page that does not end in ``.html``.
    """
    from brainbench.report.comparison import write_comparison

    if page.suffix.lower() != ".html":
        raise UserError(f"--page {page}: a page ends in .html")
    table = compare_runs(folders, metric)
    runs = [Run(folder) for folder in folders]
    return write_comparison(
        page, [(name, run.path) for name, run in zip(_names(table), runs, strict=True)], table.drop(columns="metric"),
        str(table["metric"].iloc[0]), paired(table), [*other_data(folders, table), *unmatched(table)],
        settings_that_differ(folders),
    )  # fmt: skip


def _names(table: pd.DataFrame) -> list[str]:
    """Return the columns of a table that are runs."""
    return [str(name) for name in table.columns if name not in (*ROW, "metric", "difference")]


def render(table: pd.DataFrame) -> str:
    """Return the table as text; columns that say nothing are left out."""
    shown = table.loc[:, [column for column in table if not (table[column] == "").all()]]
    return shown.to_string(index=False, float_format=lambda value: f"{value:.3f}", na_rep="-")


def _distinct(paths: Sequence[Path]) -> list[str]:
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return [f"{name} ({index})" if name in names[: index - 1] else name for index, name in enumerate(names, start=1)]
