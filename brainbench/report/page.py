"""Puts the page together: reads a run folder, lets every section draw, fills the frame, keeps to its size."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from brainbench.core.errors import UserError, did_you_mean
from brainbench.core.facts import read_facts
from brainbench.core.files import write_text
from brainbench.core.made import MadeFiles, escaped
from brainbench.core.tables import read_table
from brainbench.evaluation.decoding import classes_of
from brainbench.evaluation.metrics import metric_of, title_of
from brainbench.report.figures.drawing import STYLE, WIDTH
from brainbench.report.frame import Panels, Picture, environment, written
from brainbench.report.section import sections
from brainbench.report.tables import (
    GROUP,
    LEVEL,
    MEAN,
    Matrix,
    in_words,
    lead_subject,
    matrix,
    over_folds,
)

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Environment
    from markupsafe import Markup
    from matplotlib.figure import Figure


MAX_BYTES = 5_000_000
NAMES = (
    "subject", "scheme", "encoder", "role", "layer", "pipeline", "roi", "stage", "row", "folds", "stimulus", "fold",
    "metric",
)  # fmt: skip
"""Columns of ``scores.csv`` that hold names."""


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` and ``figures/*`` (SVG and PDF) of a run folder from what lies in it.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    Path
        The page: one file, at most 5 MB, that loads nothing from a network.

    Raises
    ------
    UserError
        If the folder holds no finished tables.
    """
    from matplotlib import rc_context

    page = Page(Path(folder))
    with rc_context(STYLE):
        text = page.html()
    if len(text.encode()) > MAX_BYTES:
        raise RuntimeError(f"the report has {len(text.encode()) / 1e6:.1f} MB; its figures must be made smaller")
    write_text(page.root / "report.html", text)
    return page.root / "report.html"


def draw_figure(folder: Path, name: str) -> Figure:
    """Return one figure of a report; see `brainbench.commands.run.Run.plot`."""
    from matplotlib import rc_context

    page = _OneFigure(folder, name)
    with rc_context(STYLE):
        try:
            page.html()
        except _Found as found:
            page.like = found.figure
    if page.like is not None:
        page.like.set_facecolor("white")
        return page.like
    known = sorted(page.names)
    raise UserError(
        f"the report of {folder} has no figure '{name}'{did_you_mean(name, known)}",
        hint=f"its figures: {', '.join(known) or 'none'}",
    )


class _Found(Exception):
    def __init__(self, figure: Figure) -> None:
        self.figure = figure


class Page:
    """The report of a run, as its sections see it.

    Parameters
    ----------
    root : Path
        The run folder.

    Attributes
    ----------
    facts, findings, manifest : dict
        ``facts.json``, what it holds for single sections, and ``manifest.json``.
    scores : DataFrame
        ``scores.csv``; columns that the run does not have are empty.
    lead : str
        Whose scores head the page: the group, else the mean over participants, else the only one.
    scheme : str
        Label of the main scheme.
    mark : str
        What every figure says below itself: that data are simulated, that weights are untrained.
    level : float
        Below which q counts.
    """

    level = LEVEL

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self.facts: dict[str, Any] = read_facts(root)
            self.manifest: dict[str, Any] = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
            self.scores: pd.DataFrame = read_table(root / "scores.csv", NAMES)  # older runs have fewer columns
            self.recipe = (root / "recipe.yaml").read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise UserError(
                f"{error.filename} is missing: the run has not finished", hint="run its recipe again"
            ) from None
        facts = self.facts
        self.made = MadeFiles(root)
        self.findings: dict[str, Any] = facts["findings"]
        self.lead = lead_subject(self.scores)
        self.scheme: str = next((scheme["label"] for scheme in facts["schemes"] if scheme["main"]), "")
        self.mark = "simulated: no brain was measured" if facts["simulated"] else ""
        if facts["dataset"].get("made"):
            self.mark = "; ".join(filter(None, [self.mark, "synthetic stimuli"]))
        if facts["untrained"]:
            self.mark = "; ".join(filter(None, [self.mark, f"untrained weights: {', '.join(facts['untrained'])}"]))
        lead = metric_of(facts["metric"])
        self.toward = 1 if lead is None else lead.direction
        self.rois = list(dict.fromkeys(roi for subject in facts["subjects"] for roi in subject["rois"]))
        self.layers = [
            (encoder["name"], layer["name"], encoder["role"])
            for encoder in facts["encoders"]
            for layer in encoder["layers"]
        ]
        self.contents: list[tuple[str, str]] = []
        """Title and anchor of every heading so far."""
        self._bytes = 0

    @cached_property
    def confidence(self) -> float:
        """Coverage of the run's intervals; older runs do not say, and have them at 95 %."""
        return float((yaml.safe_load(self.recipe).get("bootstrap") or {}).get("confidence", 0.95))

    @property
    def who(self) -> str:
        """Whose scores head the page, in words."""
        return self.called(self.lead)

    def called(self, subject: str) -> str:
        """Return who a row is of, in words."""
        words = {GROUP: "the mean response over participants", MEAN: "the mean over participants"}
        return words.get(subject, subject)

    @property
    def truth(self) -> dict[str, Any]:
        """What was planted in each region of simulated participants."""
        found: dict[str, Any] = self.facts["dataset"]["truth"].get("rois", {})
        return found

    def title_of(self, metric: str) -> str:
        """Return a metric's name for people: as the run calls it, else as brainbench does."""
        pair = classes_of(metric)
        if pair is not None:
            return " vs ".join(pair)
        return str(self.facts["titles"].get(metric) or title_of(metric))

    def over_folds(self, metric: str, scheme: str | None = None, subject: str | None = None) -> pd.DataFrame:
        """Return the rows over folds of one metric."""
        return over_folds(self.scores, metric=metric, scheme=scheme, subject=subject)

    def matrix(self, metric: str, subject: str, scheme: str | None = None) -> Matrix | None:
        """Return the layer x ROI table of one metric and subject."""
        rows = self.over_folds(metric, scheme, subject)
        return matrix(rows[rows["encoder"] != ""], self.layers, self.rois)

    def heat_map(self, metric: str, subject: str) -> Picture | None:
        """Draw the layer x ROI table of a metric that has no scheme of its own; None where there is none."""
        from brainbench.report.figures.layers import heat_map

        table = self.matrix(metric, subject)
        if table is None:
            return None
        title = self.title_of(metric)
        return self.save(partial(heat_map, table, title, self.mark), metric, in_words(table, title, self.toward))

    def save(self, figure: Figure | Panels | None, name: str, alt: str) -> Picture | None:
        """Write a figure as SVG and PDF files and return it for the page; too much for the page stays a file.

        Parameters
        ----------
        figure : Figure, or callable, optional
            What is made of several panels is given as a function of the inches across: it is drawn a second time for
            phones, with its panels below one another.
        name : str
            Of its files.
        alt : str
            What a reader who does not see it is told: what it shows and what it says.
        """
        drawn = figure(room=WIDTH) if callable(figure) else figure
        if drawn is None:
            return None
        files = [self.made.claim("figures", escaped(name, keep="_"), ending) for ending in (".svg", ".pdf")]
        picture = written(drawn, alt, self.root, files, figure if callable(figure) else None)
        if self.fitting(picture.src) is None:
            return replace(picture, src="", narrow=None)
        if picture.narrow is not None and self.fitting(picture.narrow.src) is None:
            return replace(picture, narrow=None)
        return picture

    def fitting(self, text: str | None) -> str | None:
        """Return what is to stand on the page, or None where it has no more room for it."""
        if text is None or self._bytes + len(text) > MAX_BYTES * 0.8:
            return None
        self._bytes += len(text)
        return text

    def heading(self, title: str) -> Markup:
        """Return the heading of a section, and enter it into the contents."""
        anchor = re.sub(r"\W+", "-", title.lower()).strip("-") or "section"
        taken = {known for _, known in self.contents}
        numbered = (f"{anchor}-{number}" for number in range(2, len(taken) + 3))
        anchor = anchor if anchor not in taken else next(one for one in numbered if one not in taken)
        self.contents.append((title, anchor))
        return self._parts.heading(title, anchor)

    def picture(self, figure: Picture | None, caption: str = "") -> Markup:
        """Return a saved figure with links to its files and its caption; nothing where there is no figure."""
        return self._parts.picture(figure, caption)

    def html(self) -> str:
        """Let every section that applies draw, and return the whole page."""
        shown = []
        for section in sections():
            try:
                values = section.draw(self) if section.applies(self.facts) else None
                if values is not None:
                    template = self._environment.from_string(section.template.read_text(encoding="utf-8"))
                    shown.append(template.render(values))
            except Exception as error:
                error.add_note(f"while the section {section.name} of {self.root / 'report.html'} was drawn")
                raise
        return self._environment.get_template("page.html").render(sections=shown)

    @cached_property
    def _environment(self) -> Environment:
        found = environment()
        found.filters |= {"metric": self.title_of}
        found.globals |= {"page": self, "facts": self.facts, "heading": self.heading, "picture": self.picture}
        return found

    @cached_property
    def _parts(self) -> Any:
        return self._environment.get_template("parts.html").module


class _OneFigure(Page):
    """A page that stops at a figure and writes nothing."""

    def __init__(self, root: Path, wanted: str) -> None:
        super().__init__(root)
        self.wanted = wanted
        self.names: list[str] = []
        self.like: Figure | None = None

    def save(self, figure: Figure | Panels | None, name: str, alt: str) -> Picture | None:
        """Stop at the figure that is wanted."""
        drawn = figure(room=WIDTH) if callable(figure) else figure
        if drawn is not None:
            self.names.append(name)
            if name == self.wanted:
                raise _Found(drawn)
            if self.like is None and name.startswith(f"{self.wanted}_"):  # layer_by_roi: the first participant's
                self.like = drawn
        return None
