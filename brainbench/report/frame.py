"""What all pages share: the frame with its style and script, and figures as they stand on a page and beside it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from brainbench.core.files import atomic_open
from brainbench.report.figures.drawing import for_both_themes, vectors
from brainbench.report.tables import interval, number

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A saved figure.

    Parameters
    ----------
    src : str
        Its bytes as an address; empty where the page has no room for it.
    alt : str
    width, height : int
        Pixels at which text has the size that it has in all figures.
    links : list of (str, str)
        Kind and address of its files, beside the page.
    """

    src: str
    alt: str
    width: int
    height: int
    links: list[tuple[str, str]]


def written(figure: Figure, alt: str, folder: Path, files: Sequence[str]) -> Picture:
    """Write a figure as SVG and PDF and return it for a page.

    Parameters
    ----------
    figure : Figure
    alt : str
        What a reader who does not see it is told: what it shows and what it says.
    folder : Path
        Of the page.
    files : sequence of str
        Names of the SVG and of the PDF, below `folder`.
    """
    svg, pdf = vectors(figure)
    for file, data in zip(files, (svg.encode(), pdf), strict=True):
        with atomic_open(folder / file) as handle:
            handle.write(data)
    source = "data:image/svg+xml;base64," + base64.b64encode(for_both_themes(figure, svg).encode()).decode()
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return Picture(
        source, alt, width, height, [(kind, quote(file)) for kind, file in zip(("SVG", "PDF"), files, strict=True)]
    )


def environment() -> Environment:
    """Return jinja2 with the templates of pages; what users write is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("brainbench.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    found.filters |= {"number": number, "interval": interval}
    return found
