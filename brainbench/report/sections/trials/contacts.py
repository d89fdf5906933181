"""Where in the head: groups of channels alone and left out, what each contact contributes, and how many are enough."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from brainbench.recordings.intracranial.contacts import contact_of
from brainbench.report.figures import contacts as figures
from brainbench.report.sections.trials.shared import chance_of, decodes_trials
from brainbench.report.tables import MEAN, number

if TYPE_CHECKING:
    import pandas as pd

    from brainbench.report.page import Page

PLACE = 545
MAX_PEOPLE = 12
EVERYTHING = "all channels"
"""What runs call the group of all."""
MAX_LISTED = 10
applies = decodes_trials


def draw(page: Page) -> dict[str, Any] | None:
    """Return the groups, the contacts, and the curve over their number; None where nothing was asked of channels."""
    groups, contacts = _groups(page), _contacts(page)
    return {"groups": groups, "contacts": contacts} if groups or contacts else None


def _rows(page: Page, scheme: str) -> pd.DataFrame:
    rows = page.over_folds("accuracy", scheme)
    return rows[rows["subject"] != MEAN].sort_values("subject", kind="stable")


def _groups(page: Page) -> dict[str, Any] | None:
    trials = page.findings["trials"]
    facts, left = trials.get("region"), trials.get("without")
    if not facts:
        return None
    alone = _rows(page, facts["scheme"])
    without = _rows(page, left["scheme"]) if left else alone.iloc[:0]
    people = list(dict.fromkeys(alone["subject"]))[:MAX_PEOPLE]
    groups = [part["name"] for part in facts["parts"] if part["name"] != EVERYTHING]
    names = [*groups, EVERYTHING]
    figure = partial(
        figures.by_group, alone[alone["subject"].isin(people)], without[without["subject"].isin(people)], names,
        chance_of(page.facts), page.mark,
    )  # fmt: skip
    table = [
        {"name": name, "subject": subject, "alone": _cell(alone, subject, name, page.level),
         "without": _cell(without, subject, name, page.level)}
        for subject in dict.fromkeys(alone["subject"]) for name in names
    ]  # fmt: skip
    said = []
    for subject in people:
        mine = alone[(alone["subject"] == subject) & (alone["roi"] != EVERYTHING)]
        best = mine.iloc[int(mine["value"].argmax())]
        said.append(f"{subject} highest in {best['roi']}, {number(best['value'])}")
    return {
        **facts,
        "figure": page.save(figure, "accuracy_by_region", f"Accuracy by group of channels: {'; '.join(said)}."),
        "n_left_out": alone["subject"].nunique() - len(people),
        "table": [row for row in table if row["alone"] is not None],
        "not_grouped": trials.get("not_grouped") or [],
    }


def _cell(rows: pd.DataFrame, subject: str, name: str, level: float) -> dict[str, Any] | None:
    mine = rows[(rows["subject"] == subject) & (rows["roi"] == name)]
    if not len(mine):
        return None
    row = mine.iloc[0]
    return {"value": row["value"], "q": row["q"], "n": int(row["n_targets"]), "sure": row["q"] < level}


def _contacts(page: Page) -> dict[str, Any] | None:
    facts = page.findings["trials"].get("contacts")
    if not facts:
        return None
    rows = _rows(page, facts["scheme"])
    people = list(dict.fromkeys(rows["subject"]))[:MAX_PEOPLE]
    shown = rows[rows["subject"].isin(people)]
    ends = []
    for subject in people:
        mine = shown[shown["subject"] == subject]
        best = mine.iloc[int(mine["value"].argmax())]
        ends.append(f"{subject} highest with {best['roi']}, {number(best['value'])}")
    curve = partial(figures.by_number, shown, chance_of(page.facts), page.mark)
    planted = page.facts["dataset"]["truth"].get("contacts", {})
    maps = [_map(page, entry, facts["weights"], planted.get(entry["subject"], [])) for entry in facts["maps"]]
    return {
        **facts,
        "curve": page.save(curve, "accuracy_by_contacts", f"Accuracy by number of contacts: {'; '.join(ends)}."),
        "maps": maps[:MAX_PEOPLE],
        "n_left_out": rows["subject"].nunique() - len(people),
        "planted": bool(planted),
    }


def _map(page: Page, entry: dict[str, Any], weights: bool, planted: list[str]) -> dict[str, Any]:
    names = entry["names"]
    values = dict(zip(names, entry["mean"], strict=True))
    places = {name: (found.shaft, found.number) for name in names if (found := contact_of(name)) is not None}
    order = sorted(range(len(names)), key=lambda at: entry["rank"][at])
    listed = [
        {key: entry[key][at] for key in ("mean", "low", "high", "rank")} | {"name": names[at]}
        for at in order[:MAX_LISTED]
    ]
    picture = None
    if len(places) == len(names) and len(set(places.values())) == len(names):
        label = "mean |weight|" if weights else "accuracy alone"
        best = ", ".join(row["name"] for row in listed[:3])
        marked = [name for name in names if set(name.split("-")) & set(planted)]
        figure = figures.contribution(places, values, label, marked, page.mark)
        picture = page.save(figure, f"contacts_{entry['subject']}", f"Contacts of {entry['subject']}: first {best}.")
    return {"subject": entry["subject"], "figure": picture, "listed": listed, "folds": entry["folds"]}
