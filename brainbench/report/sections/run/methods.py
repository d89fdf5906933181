"""A methods paragraph, ready for a paper, with its references."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from brainbench.report.methods import methods, references

if TYPE_CHECKING:
    from brainbench.report.page import Page
    from brainbench.report.section import Facts

PLACE = 935


def applies(facts: Facts) -> bool:
    """Every report has it."""
    return True


def draw(page: Page) -> dict[str, Any]:
    """Return the sentences and the BibTeX."""
    return {
        "sentences": methods(page.facts, page.manifest, yaml.safe_load(page.recipe)),
        "references": references(page.facts, page.manifest),
    }
