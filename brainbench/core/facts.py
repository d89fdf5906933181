"""``facts.json``: what a run says besides its scores, with a number for its format.

Format 2 keeps what single sections of the report show under ``findings``, by the name of the section. Format 1, which
has no number, kept it at the top; it is read as format 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from brainbench.core.errors import UserError
from brainbench.core.files import read_json

FORMAT = 2
_FINDINGS_OF_1 = ("best_layer", "confusion", "rsa_ceilings", "trials", "reconstruction", "exploration")


def read_facts(folder: Path) -> dict[str, Any]:
    """Return the facts of a run folder in today's format.

    Raises
    ------
    UserError
        If a newer brainbench wrote them.
    """
    facts: dict[str, Any] = read_json(folder / "facts.json")
    written = facts.get("format", 1)
    if written > FORMAT:
        raise UserError(
            f"{folder / 'facts.json'} has format {written}; this brainbench reads up to {FORMAT}",
            hint="update brainbench",
        )
    if written == 1:
        found = {name: value for name in _FINDINGS_OF_1 if (value := facts.pop(name, None))}
        facts |= {"format": FORMAT, "findings": found}
    for name in ("data", "doubts"):  # the table of what was used, and the doubts of the first box, came later
        facts.setdefault(name, [])
    facts.setdefault("titles", {})  # names of metrics for people
    facts.setdefault("answer", facts.get("claims", [])[:3])  # to the question, in three sentences
    return facts
