"""r of sensors that the tokenizer did not see, beside what needs no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainbench.report.sections.tokens.training import applies as applies
from brainbench.report.tables import ALL

if TYPE_CHECKING:
    from brainbench.report.page import Page

PLACE = 710


def draw(page: Page) -> dict[str, Any] | None:
    """Return a row for every person and predictor, and the accuracy of masked codes where there is any."""
    scores = page.scores[page.scores["fold"] == ALL]
    withheld = scores[scores["metric"] == "withheld_r"]
    names = list(dict.fromkeys(withheld["encoder"]))
    rows = []
    for subject, mine in withheld.groupby("subject", sort=False):
        values = mine.set_index("encoder")["value"]
        read = scores[(scores["subject"] == subject) & (scores["metric"] == "seen_r")]["value"]
        rows.append({"subject": subject, "values": [values[name] for name in names], "read": read.iloc[0]})
    masked = scores[scores["metric"] == "masked_accuracy"]
    return {"names": names, "rows": rows, "masked": masked.to_dict("records")}
