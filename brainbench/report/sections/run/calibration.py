"""The last calibration of the run's recipe, data and code: whether p values and intervals keep what they promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainbench.core.files import read_json

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 925


def applies(facts: Facts) -> bool:
    """Whether it can be calibrated stands in the manifest."""
    return True


def draw(page: Page) -> dict[str, Any] | None:
    """Return the calibration, or None with the command of one; nothing for recipes that cannot be calibrated."""
    about = page.manifest.get("calibration")
    if about is None:
        return None
    file = page.root / "calibration.json"
    found = read_json(file) if file.is_file() else None
    return {"found": found if found is None or found["key"] == about["key"] else None, "command": about["command"]}
