"""The signal: spectra before and after filtering, power on the scalp, trials of each class, what was left out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.report.figures.trials import one_a_place, spectra, topographies
from brainbench.report.tables import number

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 500
MAX_PEOPLE = 6


def applies(facts: Facts) -> bool:
    """Return whether the run noted its signal."""
    return "signal" in facts["findings"]


def draw(page: Page) -> dict[str, Any]:
    """Return a figure of spectra, maps where positions are known, and what was left out of every run."""
    found = page.findings["signal"]
    shown = found[:MAX_PEOPLE]
    placed = [one for one in shown if one["positions"] is not None and one["channels"] == shown[0]["channels"]]
    maps = None
    if placed:
        decibels = np.array([one["power"] for one in placed])
        power, names, places = one_a_place(
            10 ** (decibels / 10), placed[0]["channels"], np.array(placed[0]["positions"])
        )
        titles = [one["subject"] for one in placed]
        decibels = 10 * np.log10(power)
        centred = decibels - np.median(decibels, axis=1, keepdims=True)
        maps = partial(topographies, centred, names, places, page.mark, titles)
    left = [row for row in page.facts["data"] if row["left_out"]]
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in left:
        where = " ".join(filter(None, [row["subject"], row["session"], row["run"]]))
        reasons.setdefault((row["left_out"], row["why"]), []).append(where)
    return {
        "about": found[0],
        "on_scalp": page.findings.get("trials", {}).get("on_scalp", True),
        "people": len(found),
        "n_left_out": len(found) - len(shown),
        "figure": page.save(partial(spectra, shown, page.mark), "spectra", _in_words(shown)),
        "maps": page.save(maps, "signal_power", _strongest(placed)),
        "classes": _classes(page),
        "left": [{"what": what, "why": why, "where": where} for (what, why), where in reasons.items()],
    }


def _classes(page: Page) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(label for one in page.facts["subjects"] for label in one["labels"]))
    return [
        {"subject": one["subject"], "counts": [(name, one["labels"].get(name, 0)) for name in names]}
        for one in page.facts["subjects"]
    ]


def _in_words(shown: list[dict[str, Any]]) -> str:
    """Return every participant's strongest frequency, before and after filtering."""
    said = []
    for one in shown:
        before, after = (np.array(one[name])[1] for name in ("before", "filtered"))
        peak = one["filtered_frequencies"][int(after.argmax())]
        said.append(f"{one['subject']}: strongest at {number(peak, 1)} Hz after filtering, {_mains(one, before)}")
    return f"Power spectra before and after filtering, median over channels. {'; '.join(said)}."


def _mains(one: dict[str, Any], before: np.ndarray) -> str:
    """Return how far mains stand out of their neighbourhood before filtering."""
    frequencies = np.array(one["frequencies"])
    found = []
    for mains in (50, 60):
        if frequencies[-1] < mains + 4:
            continue
        at = np.abs(frequencies - mains) <= 1
        around = (np.abs(frequencies - mains) > 2) & (np.abs(frequencies - mains) <= 4)
        found.append((float(before[at].max() - np.median(before[around])), mains))
    if not found:
        return "mains lie above what was recorded"
    above, mains = max(found)
    return f"{mains} Hz stands {above:.0f} dB out before it" if above > 3 else "no mains before it"


def _strongest(placed: list[dict[str, Any]]) -> str:
    said = [f"{one['channels'][int(np.argmax(one['power']))]} ({one['subject']})" for one in placed]
    return (
        f"Power of the filtered trials on the scalp, against each participant's median; strongest at {', '.join(said)}."
    )
