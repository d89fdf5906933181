"""Null participants through a study: the numbers of one set of them, and what many sets say of p, intervals, ceilings.

Tests of one data set share its noise, so that rates are counted over all tests and their intervals over data sets
(`Rate.of_clusters`). Without an effect every rejection is false: the share of data sets with any is the false
discovery rate.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.files import temporary_for
from brainbench.core.progress import Stages
from brainbench.evaluation.calibration import CONFIDENCE, Rate
from brainbench.evaluation.ceilings import Ceiling
from brainbench.evaluation.decoding import classes_of
from brainbench.evaluation.metrics import BEST, MEDIAN, metric_of
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.runs.folder import RunFolder
from brainbench.simulation.null import NullDataset, truths
from brainbench.studies.base import study_of
from brainbench.studies.cases.across import T_TEST
from brainbench.studies.compute import compute
from brainbench.studies.opened import Opened
from brainbench.studies.outcome import ALL, TOGETHER, Outcome

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("subject", "scheme", "encoder", "layer", "pipeline", "roi", "metric", "test")
NUMBERS = ("value", "p", "q", "ci_low", "ci_high", "ceiling", "planted", "n_rows")
"""What is kept of every score; `planted` is the true ceiling."""

ENOUGH = 10
"""Data sets from which the mean of a score stands for its expectation."""

SEEN = 0.3
"""Planted ceilings, in the unit of the metric, from which an estimate is held against the truth."""

MANY = 100
"""Rows from which it is."""

SLACK = 0.03
"""What coverage may be under its promise: .92 of .95, as everywhere in the house."""

COVERED = ", expected score covered"

WIDE = {0.05: 0.05, 0.01: 0.025}
"""Level -> half the width of an interval beyond which it says too little."""


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes
    ----------
    part : {"p", "claims", "intervals", "ceilings", "planted"}
    name : str
    n : int
        Tests, data sets, intervals or ceilings; of null participants, but for those of ``planted``.
    found : str
        Rates or means with their intervals.
    verdict : {"holds", "below", "open", "FAILS", ""}
        ``FAILS``: the interval lies wholly on the wrong side of what is promised. ``below``: wholly on the cautious
        side. ``open``: too wide to say.
    """

    part: str
    name: str
    n: int
    found: str
    verdict: str


def null_set(opened: Opened[Any], number: int, folder: Path) -> dict[str, np.ndarray]:
    """Take one set of null participants through all stages of a recipe, and return its numbers.

    Parameters
    ----------
    opened : Opened
        Its data set is a `NullDataset`.
    number : int
        Which set.
    folder : Path
        Where units lie until the set is done.
    """
    start, execution = time.process_time(), opened.recipe.execution
    dataset = opened.dataset
    assert isinstance(dataset, NullDataset)
    dataset.draw(number)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=temporary_for(folder / f"set-{number}-").name, dir=folder) as path:
        engine = LocalEngine(execution.jobs, execution.threads_per_unit)
        runner = Runner(RunFolder(path), engine, Stages(quiet=True))
        with runner.folder.writing():
            outcome = compute(study_of(replace(opened), runner))
    text = numbers_of(outcome, dataset, opened.subjects).to_csv(index=False, float_format="%.6g")
    return {
        "numbers": np.frombuffer(text.encode(), dtype=np.uint8),
        "cpu_seconds": np.array(time.process_time() - start),
    }


def read_numbers(arrays: Sequence[dict[str, np.ndarray]]) -> pd.DataFrame:
    """Return the numbers of several sets as one table, with the number of the set as ``set``."""
    import pandas as pd

    dtype = dict.fromkeys(NAMES, str)
    empty = dict.fromkeys(NUMBERS, "")
    tables = [
        pd.read_csv(io.BytesIO(one["numbers"].tobytes()), dtype=dtype, keep_default_na=False, na_values=empty)
        for one in arrays
    ]
    return pd.concat([table.assign(set=number) for number, table in enumerate(tables)], ignore_index=True)


def numbers_of(outcome: Outcome, dataset: NullDataset, subjects: list[str]) -> pd.DataFrame:
    """Return every score over folds with its p, interval and ceiling, also one that failed, and the true ceiling."""
    import pandas as pd

    known = {subject: Ceiling(ceiling, 1) for subject, ceiling in truths(dataset, subjects).items()}
    kept = []
    for number, row in enumerate(outcome.rows):
        if row["fold"] != ALL:
            continue
        one = {name: row.get(name) or "" for name in NAMES} | {name: row.get(name) for name in NUMBERS}
        one["ceiling"] = outcome.failed_ceilings.get(number, one["ceiling"])
        record, subject = metric_of(row["metric"]), row["subject"]
        if subject in known and one["ceiling"] is not None and record is not None and record.power is not None:
            mask = np.asarray(dataset.responses(subject).rois[row["roi"]])
            planted = known[subject].region(mask, record.power)
            one["planted"] = None if planted is None else planted.value
        kept.append(one)
    return pd.DataFrame(kept, columns=[*NAMES, *NUMBERS])


# The table -----------------------------------------------------------------------------------------------------------


def lines_of(numbers: pd.DataFrame, confidence: float, *, alike: bool = False) -> list[Line]:
    """Return what all sets say.

    Parameters
    ----------
    numbers : DataFrame
        See `read_numbers`.
    confidence : float
        That the recipe's intervals promise.
    alike : bool
        Whether participants answer to stimuli alike. A t test over participants is about these stimuli, and says of
        others nothing: its rate is stated then and not judged.
    """
    numbers = _named(numbers).assign(judged=(numbers["test"] != T_TEST) if alike else True)
    return [*_of_tests(numbers), *_of_claims(numbers), *_of_intervals(numbers, confidence), *_of_ceilings(numbers)]


def planted_lines(numbers: pd.DataFrame, confidence: float, found_by: str) -> list[Line]:
    """Return how often a planted effect was found, which is stated, and whether intervals cover, which is judged.

    Parameters
    ----------
    numbers : DataFrame
        Of sets with an effect; see `read_numbers`.
    confidence : float
    found_by : str
        The encoder whose tests look for the effect; empty where all do.
    """
    numbers = _named(numbers)
    looked = numbers[numbers["p"].notna() & (numbers["encoder"].eq(found_by) if found_by else True)]
    found = []
    for (who, what), rows in _by(looked, "who", "what"):
        rates = [f"p {level:g}: {_rate(rows['p'] <= level + 1e-12, rows['set'])}" for level in WIDE]
        claimed = f"   q .05: {_rate(rows['q'] < 0.05, rows['set'])}" if rows["q"].notna().all() else ""
        found.append(Line("planted", f"{who}: {what}, found", len(rows), "   ".join(rates) + claimed, ""))
    covered = [line for line in _of_intervals(numbers, confidence) if line.name.endswith(COVERED)]
    return [*found, *(replace(line, part="planted") for line in covered)]


def _named(numbers: pd.DataFrame) -> pd.DataFrame:
    """Add who a score is of, and what it is called."""
    return numbers.assign(
        who=np.where(numbers["subject"].isin(TOGETHER), numbers["subject"], "participants"),
        what=[_what(*row) for row in zip(numbers["metric"], numbers["test"] == T_TEST, strict=True)],
    )


def verdict_of(lines: Sequence[Line]) -> str:
    """Return one sentence about all lines."""
    failed = [f"{line.name} ({line.part})" for line in lines if line.verdict == "FAILS"]
    if failed:
        return f"FAILS: {'; '.join(failed)}"
    open_ones = sum(line.verdict == "open" for line in lines)
    more = f"; {open_ones} of {len(lines)} lines are open: more sets would tell" if open_ones else ""
    return f"nothing is told from what it promises{more}"


def _what(metric: str, over_people: bool) -> str:
    """Return what a metric's tests are called: those of pairs of classes together."""
    if metric.startswith(BEST):
        return f"{metric}, one test a region over all layers"
    return f"{'accuracy of pairs' if classes_of(metric) else metric}{', t test' if over_people else ''}"


def _of_tests(numbers: pd.DataFrame) -> Iterator[Line]:
    tested = numbers[numbers["p"].notna()]
    for (who, what), rows in _by(tested, "who", "what"):
        yield _of_p(f"{who}: {what}", rows)
    best = tested[tested["metric"].str.startswith(BEST) & (tested["who"] == "participants")]
    if best["roi"].nunique() > 1:
        for (metric, roi), rows in _by(best, "metric", "roi"):
            yield _of_p(f"participants: {metric}, region {roi}", rows)


def _of_p(name: str, rows: pd.DataFrame) -> Line:
    rates = {level: _rate(rows["p"] <= level + 1e-12, rows["set"]) for level in WIDE}
    verdicts = [_below(rate, level) for level, rate in rates.items()]
    verdict = "FAILS" if "FAILS" in verdicts else verdicts[0]
    verdict = verdict if rows["judged"].all() else ""
    return Line("p", name, len(rows), "   ".join(f".{100 * at:02.0f}: {rate}" for at, rate in rates.items()), verdict)


def _of_claims(numbers: pd.DataFrame) -> Iterator[Line]:
    """Yield how many data sets have a claim: what the false discovery rate is where nothing is there."""
    tested = numbers[numbers["q"].notna()]
    for (who, what), rows in _by(tested, "who", "what"):
        if not what.startswith(BEST) and tested["metric"][tested["who"] == who].str.startswith(BEST).any():
            continue  # a region's one test makes the claim
        any_claim = rows.groupby(["set", "scheme"])["q"].min().reset_index()
        rate = _rate(any_claim["q"] < 0.05, any_claim["set"])
        verdict = _below(rate, 0.05) if rows["judged"].all() else ""
        yield Line("claims", f"{who}: any q < .05, {what}", len(any_claim), str(rate), verdict)


def _of_intervals(numbers: pd.DataFrame, confidence: float) -> Iterator[Line]:
    given = numbers[numbers["ci_low"].notna() & numbers["ci_high"].notna()]
    if given["set"].nunique() < ENOUGH:
        return
    cells = [name for name in NAMES if given[name].nunique() > 1] or ["metric"]
    truth = given.groupby(cells)["value"].transform("mean")
    inside = (given["ci_low"] <= truth) & (truth <= given["ci_high"])
    for (who, what), rows in _by(given, "who", "what"):
        covered = _rate(inside[rows.index], rows["set"])
        wide = covered.high - covered.low > 0.1 or covered.share < confidence - SLACK
        verdict = "FAILS" if covered.high < confidence - SLACK else "open" if wide else "holds"
        yield Line("intervals", f"{who}: {what}{COVERED}", len(rows), str(covered), verdict)
        record = metric_of(str(rows["metric"].iloc[0]))
        if record is not None and record.chance is not None and record.direction == 1:
            above, most = _rate(rows["ci_low"] > record.chance, rows["set"]), (1 - confidence + SLACK) / 2
            verdict = "FAILS" if above.low > most else "open" if above.share > most else "holds"
            yield Line("intervals", f"{who}: {what}, wholly above chance", len(rows), str(above), verdict)


def _of_ceilings(numbers: pd.DataFrame) -> Iterator[Line]:
    from scipy import stats

    made = numbers["metric"].str.startswith((BEST, MEDIAN))
    known = numbers[numbers["planted"].notna() & numbers["ceiling"].notna() & ~made]
    known = known.drop_duplicates(["set", "subject", "scheme", "roi", "metric"])
    for (metric, seen), rows in known.groupby(["metric", known["planted"] >= SEEN], sort=False):
        each = (rows["ceiling"] - rows["planted"]).groupby(rows["set"]).mean()
        if len(each) < 2:
            continue
        bias = float(each.mean())
        half = float(each.std(ddof=1) / np.sqrt(len(each)) * stats.t.ppf((1 + CONFIDENCE) / 2, len(each) - 1))
        verdict = ""
        if seen and rows["n_rows"].min() >= MANY:
            verdict = "FAILS" if abs(bias) - half > 0.02 else "open" if half > 0.02 else "holds"
        where = f"from {SEEN:g} on" if seen else f"below {SEEN:g}"
        mean = f"mean {rows['ceiling'].mean():.3f}, planted {rows['planted'].mean():.3f}"
        found = f"{mean}: bias {bias:+.3f} [{bias - half:+.3f}, {bias + half:+.3f}]"
        yield Line("ceilings", f"{metric}, planted {where}", len(rows), found, verdict)


def _by(numbers: pd.DataFrame, *names: str) -> Iterator[tuple[list[str], pd.DataFrame]]:
    """Yield groups of rows by the values of columns, in order of appearance."""
    for values, rows in numbers.groupby(list(names), sort=False):
        yield [str(value) for value in values], rows


def _rate(hit: pd.Series, cluster: pd.Series) -> Rate:
    of_cluster = hit.groupby(cluster).agg(["sum", "count"])
    return Rate.of_clusters(of_cluster["sum"].tolist(), of_cluster["count"].tolist())


def _below(rate: Rate, level: float) -> str:
    if rate.low > level:
        return "FAILS"
    if (rate.high - rate.low) / 2 > WIDE[level]:
        return "open"
    return "below" if rate.high < level else "holds"
