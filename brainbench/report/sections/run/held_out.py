"""What was held out, and what the certificate found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 920


def applies(facts: Facts) -> bool:
    """Return whether rows were held out; a kind that holds out people says so itself."""
    return bool(facts["schemes"])


def draw(page: Page) -> dict[str, Any]:
    """Return what the facts do not say by themselves."""
    return {"trials": "trials" in page.findings}
