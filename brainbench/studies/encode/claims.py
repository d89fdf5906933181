"""What an encoding recipe found, in plain words: what beats its controls, and what does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from brainbench.evaluation.metrics import BEST, METRICS, UNIQUE, Metric, title_of
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.report.tables import probability
from brainbench.studies.cases.across import lead_subject
from brainbench.studies.cases.geometry import rsa_claims
from brainbench.studies.cases.labels import reading_claims
from brainbench.studies.outcome import ALL, Outcome
from brainbench.studies.words import Row, distinct, joined, number, significant, untested

WHOLE = ALL
"""The region of all targets."""
ALL_TARGETS = "all targets together"


def encoding_claims(recipe: EncodeRecipe, outcome: Outcome) -> list[str]:
    """Return sentences on the main scheme, for whoever heads the report: one a region, `all` last."""
    subject = lead_subject(outcome)
    main, lead = _main(recipe, outcome, subject), METRICS[recipe.metrics[0]]
    scored, unique = (_by_region([row for row in main if row["metric"] == name]) for name in (lead.name, UNIQUE))
    tests, beyond_tests = (_tests(main, name) for name in (lead.name, UNIQUE))
    sentences = []
    for roi in _in_order([*scored, *unique]):
        said = _against_controls(scored.get(roi, []), lead, tests)
        beyond = _unique(unique.get(roi, []), beyond_tests)
        text = "; beyond the controls: ".join(filter(None, [said, "; ".join(beyond)]))
        sentences += [f"{roi} ({subject}): {text}."] if text else []
    return [
        *sentences,
        *rsa_claims(outcome, subject),
        *_zero_shot([row for row in outcome.rows if row["metric"] == "two_vs_two" and row["fold"] == ALL]),
        *reading_claims(outcome, subject),
    ]


def encoding_answer(recipe: EncodeRecipe, outcome: Outcome) -> list[str]:
    """Return three sentences at most: where layers are above chance, where beyond the controls, and how far."""
    subject = lead_subject(outcome)
    main, lead = _main(recipe, outcome, subject), METRICS[recipe.metrics[0]]
    models = [
        row for row in main
        if row.get("role") == "model" and row["value"] is not None and np.isfinite(row["value"])  # not what is decoded
    ]  # fmt: skip
    scored = _by_region([row for row in models if row["metric"] == lead.name])
    regions = [roi for roi in _in_order(scored) if roi != WHOLE or len(scored) == 1]
    if not regions:
        return encoding_claims(recipe, outcome)[:3]
    best = {roi: max(scored[roi], key=lambda row: lead.direction * row["value"]) for roi in regions}
    tested, tested_beyond = (
        {roi: [row for (_, of), row in _tests(main, name).items() if of == roi and row["role"] == "model"]
         for roi in regions}
        for name in (lead.name, UNIQUE)
    )  # fmt: skip
    names = " or ".join(distinct(models, "encoder"))
    better = "above chance" if lead.direction > 0 else "better than chance"
    said = [_where(names, f"is {better}", {roi: _verdict(tested[roi] or scored[roi], lead) for roi in regions})]
    unique = _by_region([row for row in models if row["metric"] == UNIQUE])
    if unique:
        beyond = {roi: _verdict(tested_beyond[roi] or unique[roi], METRICS[UNIQUE]) for roi in regions if roi in unique}
        said.append(_where(names, "explains variance beyond the controls", beyond))
    else:
        said += _not_beaten(
            best, [row for row in main if row["metric"] == lead.name and row["role"] == "control"], lead
        )
    top = max(regions, key=lambda roi: lead.direction * best[roi]["value"])
    row = best[top]
    ceiling = f", of a ceiling of {number(row['ceiling'], 2)}" if row.get("ceiling") is not None else ""
    where = ALL_TARGETS if top == WHOLE else top
    text = f"The best score is that of {row['encoder']} {row['layer']} in {where}"
    return [*said, f"{text}: {title_of(lead.name)} {number(row['value'], 2)}{ceiling}."]


def _main(recipe: EncodeRecipe, outcome: Outcome, subject: str) -> list[Row]:
    rows = [row for row in outcome.rows if row["fold"] == ALL and row["subject"] == subject]
    return [row for row in rows if row.get("scheme", "") == recipe.schemes[0].label]


def _tests(rows: Sequence[Row], metric: str) -> dict[tuple[str, str], Row]:
    """Return the one test of a region over the layers of an encoder, by encoder and region."""
    return {(row["encoder"], row["roi"]): row for row in rows if row["metric"] == BEST + metric}


def _by_region(rows: Sequence[Row]) -> dict[str, list[Row]]:
    return {roi: [row for row in rows if row["roi"] == roi] for roi in distinct(rows, "roi")}


def _in_order(rois: Iterable[str]) -> list[str]:
    """Return regions as the recipe has them, all targets together last."""
    return sorted(dict.fromkeys(rois), key=lambda roi: roi == WHOLE)


def _verdict(rows: Sequence[Row], metric: Metric) -> bool | None:
    """Return whether a score is on the right side of chance and significant; None where nothing was tested."""
    if all(map(untested, rows)):
        return None
    return any(significant(row) and bool(metric.beyond_chance(row["value"])) for row in rows)


def _not_beaten(best: Mapping[str, Row], controls: Sequence[Row], metric: Metric) -> list[str]:
    """Return in which regions a control scores as well as the best layer, where there are controls."""
    if not controls:
        return []
    rivals = _by_region([row for row in controls if row["value"] is not None and np.isfinite(row["value"])])
    as_good = [
        roi for roi, row in best.items()
        if any(metric.direction * (rival["value"] - row["value"]) >= 0 for rival in rivals.get(roi, []))
    ]  # fmt: skip
    n = len(best)
    if not as_good:
        return [f"No control scores as well{'' if n == 1 else f', in any of {n} regions'}."]
    shown = joined(as_good) if len(as_good) <= 8 else f"{len(as_good)} of {n} regions"
    return [f"A control scores as well or better{'' if n == 1 else f' in {shown}'}."]


def _where(who: str, does: str, found: Mapping[str, bool | None]) -> str:
    """Return in which regions a layer does something; None where that was not tested."""
    yes = [roi for roi, verdict in found.items() if verdict]
    unknown = [roi for roi, verdict in found.items() if verdict is None]
    n = len(found)
    only = ALL_TARGETS if list(found) == [WHOLE] else next(iter(found))
    if len(unknown) == n:
        return f"Whether a layer of {who} {does} was not tested."
    missing = f"; {joined(unknown)} {'was' if len(unknown) == 1 else 'were'} not tested" if unknown else ""
    if not yes:
        return f"No layer of {who} {does} in {only if n == 1 else f'any of {n} regions'}{missing}."
    listed = f" ({joined(yes)})" if len(yes) <= 8 else ""
    return f"A layer of {who} {does} in {only if n == 1 else f'{len(yes)} of {n} regions{listed}'}{missing}."


def _unique(rows: Sequence[Row], tests: Mapping[tuple[str, str], Row]) -> list[str]:
    """Return for every encoder what its layers explain of one region beyond the controls: one test over layers."""
    found = []
    for encoder in distinct(rows, "encoder"):
        layers = [row for row in rows if row["encoder"] == encoder]
        best = max(layers, key=lambda row: row["value"])
        above = [row for row in layers if significant(row) and row["value"] > 0]
        test = tests.get((encoder, best["roi"]))
        detail = f"best {best['layer']}: unique R2 {number(best['value'])}"
        if best.get("ci_low") is not None:
            detail += f", interval {number(best['ci_low'], 2)} to {number(best['ci_high'], 2)}"
        if test is not None:
            detail += f", q {probability(test.get('q'))} over its layers"
        else:
            detail += "" if untested(best) else f", q {probability(best.get('q'))}"
        if all(map(untested, layers)):
            text = f"whether {encoder} explains variance beyond the controls was not tested"
        elif test is not None and significant(test) and test["value"] > 0 and not above:
            text = f"a {encoder} layer explains variance that the controls do not, by the test over all of them"
        elif not above or (test is not None and not (significant(test) and test["value"] > 0)):
            text = f"no {encoder} layer explains variance beyond the controls"
        else:
            text = f"{len(above)} of {len(layers)} {encoder} layers explain variance that the controls do not"
            known = [row["ci_low"] for row in above if row.get("ci_low") is not None]
            if known and max(known) <= 0:
                text += " by the permutation test, though no interval excludes zero"
        found.append(f"{text} ({detail})")
    return found


def _against_controls(rows: Sequence[Row], metric: Metric, tests: Mapping[tuple[str, str], Row]) -> str:
    """Hold the best layer of a model against the best control, in one region; above chance is one test over layers."""

    def good(row: Row) -> float:
        return metric.direction * float(row["value"])

    here = [row for row in rows if row["value"] is not None and np.isfinite(row["value"])]
    models = [row for row in here if row["role"] == "model"]
    controls = [row for row in here if row["role"] == "control"]
    if not models:
        return ""
    best = max(models, key=good)
    ceiling = f" of a ceiling of {number(best['ceiling'], 2)}" if best.get("ceiling") is not None else ""
    text = f"{best['encoder']} {best['layer']} reaches {number(best['value'], 2)}{ceiling}"
    test = tests.get((best["encoder"], best["roi"]), best)
    text += f" (q {probability(test.get('q'))} over its layers)" if test.get("q") is not None else ""
    if untested(test):
        text += ", which was not tested"
    elif not significant(test) or not metric.beyond_chance(best["value"]):
        text += ", which is not above chance" if metric.direction > 0 else ", which is no better than chance"
    if controls:
        rival = max(controls, key=good)
        reached = f"{rival['encoder']} at {number(rival['value'], 2)}"
        if good(best) <= good(rival):
            text += f"; it does not beat its control {reached}"
        elif best.get("ci_low") is None:
            text += f"; its best control is {reached}, and there is no interval to hold them against each other"
        elif _surely_better(best, rival, metric):
            beyond = "above" if metric.direction > 0 else "below"
            text += f"; its confidence interval lies {beyond} the best control, {reached}"
        else:
            text += f"; its confidence interval includes the best control, {reached}"
    return text


def _surely_better(best: Row, rival: Row, metric: Metric) -> bool:
    """Return whether the whole confidence interval is better than the rival's score."""
    end = best["ci_low"] if metric.direction > 0 else best["ci_high"]
    return bool(metric.direction * end > metric.direction * rival["value"])


def _zero_shot(rows: Sequence[Row]) -> list[str]:
    """Say for every participant and region which encoders tell unseen stimuli apart, models before controls."""
    sentences = []
    for subject in distinct(rows, "subject"):
        for roi in distinct(rows, "roi"):
            here = [row for row in rows if row["subject"] == subject and row["roi"] == roi]
            told = [_told_apart([row for row in here if row["encoder"] == name]) for name in _by_role(here)]
            sentences.append(f"{roi} ({subject}), two stimuli that training never saw: {'; '.join(told)}.")
    return sentences


def _told_apart(layers: Sequence[Row]) -> str:
    best = max(layers, key=lambda row: row["value"])
    above = sum(significant(row) for row in layers)
    name = f"{best['encoder']} {best['layer']}"
    share = f"{name} tells {number(best['value'], 2)} of pairs apart"
    null = f"refitted shuffles reach {number(best.get('null_95'), 2)}, q {probability(best.get('q'))}"
    if len(layers) == 1:
        return f"{share} ({null})"
    return f"{share}, its best layer ({null}); {above or 'none'} of its {len(layers)} layers are above chance"


def _by_role(rows: Sequence[Row]) -> list[str]:
    return distinct(sorted(rows, key=lambda row: row["role"] != "model"), "encoder")
