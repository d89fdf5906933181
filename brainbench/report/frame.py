"""What all pages share: the frame with its style and script, and figures as they stand on a page and beside it."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from brainbench.core.files import atomic_open
from brainbench.report.figures.drawing import PHONE, as_svg, for_both_themes, vectors
from brainbench.report.tables import interval, number, probability

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from matplotlib.figure import Figure


class Panels(Protocol):
    """Draws a figure into a room of some inches across."""

    def __call__(self, *, room: float) -> Figure | None:
        """Return the figure; None where what draws it is not installed."""


@dataclass(frozen=True)
class Drawn:
    """A figure as an address that holds it, for light and dark paper.

    Parameters
    ----------
    src : str
    width, height : int
        Pixels at which text has the size that it has in all figures.
    """

    src: str
    width: int
    height: int


@dataclass(frozen=True)
class Picture(Drawn):
    """A saved figure.

    Parameters
    ----------
    src : str
        Empty where the page has no room for it.
    width, height : int
    alt : str
    links : list of (str, str)
        Kind and address of its files, beside the page.
    narrow : Drawn, optional
        The same for a phone, its panels below one another.
    """

    alt: str
    links: list[tuple[str, str]]
    narrow: Drawn | None = None


def written(figure: Figure, alt: str, folder: Path, files: Sequence[str], draw: Panels | None = None) -> Picture:
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
    draw : Panels, optional
        What draws the figure once more where it is wider than a phone.
    """
    svg, pdf = vectors(figure)
    for file, data in zip(files, (svg.encode(), pdf), strict=True):
        with atomic_open(folder / file) as handle:
            handle.write(data)
    stacked = draw(room=PHONE) if draw is not None and figure.get_figwidth() > PHONE else None
    fits = stacked is not None and stacked.get_figwidth() < figure.get_figwidth()
    return Picture(
        **vars(_drawn(figure, svg)),
        alt=alt,
        links=[(kind, quote(file)) for kind, file in zip(("SVG", "PDF"), files, strict=True)],
        narrow=_drawn(stacked, as_svg(stacked)) if fits and stacked is not None else None,
    )


def _drawn(figure: Figure, svg: str) -> Drawn:
    source = base64.b64encode(for_both_themes(figure, svg).encode()).decode()
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return Drawn(f"data:image/svg+xml;base64,{source}", width, height)


def prose(sentence: str) -> Markup:
    """Return a sentence for a page, with what stands between backticks set as code and all else escaped."""
    from markupsafe import Markup, escape

    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(sentence))))


def environment() -> Environment:
    """Return jinja2 with the templates of pages; what users write is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("brainbench.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    found.filters |= {"number": number, "probability": probability, "interval": interval, "prose": prose}
    return found
