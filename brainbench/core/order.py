"""The order in which people count: ``run-2`` before ``run-10``."""

from __future__ import annotations

import re


def natural(text: str) -> str:
    """Return a key to sort names by, in which every number counts as a number."""
    return re.sub(r"\d+", lambda number: number.group().lstrip("0").zfill(12), text)
