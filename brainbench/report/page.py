"""Puts the page together: reads a run folder, draws figures, fills the template, keeps to its size."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.core.facts import read_facts
from brainbench.core.files import atomic_open, write_text
from brainbench.core.made import MadeFiles, escaped
from brainbench.core.tables import read_table
from brainbench.data.account import RunUse, shortened
from brainbench.evaluation.decoding import PAIR
from brainbench.evaluation.metrics import BEST, MEDIAN, metric_of
from brainbench.report import figures
from brainbench.report.tables import (
    ALL,
    GROUP,
    LEVEL,
    MEAN,
    Matrix,
    lead_subject,
    matrix,
    name_of,
    number,
    over_folds,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MAX_BYTES = 5_000_000
MAX_MAPS = 8
MAX_PANELS = 24
NAMES = (
    "subject", "scheme", "encoder", "role", "layer", "pipeline", "roi", "stage", "row", "folds", "stimulus", "fold",
    "metric",
)  # fmt: skip
"""Columns of ``scores.csv`` that hold names."""


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` and ``figures/*.png`` of a run folder from what lies in it.

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
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from matplotlib import rc_context

    root = Path(folder)
    facts, manifest, scores = _read(root)
    page = _Page(root, facts, scores)
    environment = Environment(
        loader=PackageLoader("brainbench.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    environment.filters["metric"] = name_of
    with rc_context({"text.parse_math": False}):  # names are drawn as they are written: `$` begins no formula
        sections = page.sections()
    text = environment.get_template("report.html").render(
        facts=facts,
        manifest=manifest,
        page=page,
        recipe=(root / "recipe.yaml").read_text(encoding="utf-8"),
        **sections,
    )
    if len(text.encode()) > MAX_BYTES:
        raise RuntimeError(f"the report has {len(text.encode()) / 1e6:.1f} MB; its figures must be made smaller")
    write_text(root / "report.html", text)
    return root / "report.html"


def _read(root: Path) -> tuple[dict[str, Any], dict[str, Any], pd.DataFrame]:
    try:
        facts = read_facts(root)
        manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
        scores = read_table(root / "scores.csv", NAMES)  # older runs have fewer columns
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: the run has not finished", hint="run its recipe again") from None
    return facts, manifest, scores


class _Page:
    """Draws what the template shows; sections without data are None."""

    def __init__(self, root: Path, facts: dict[str, Any], scores: pd.DataFrame) -> None:
        self.root = root
        self.made = MadeFiles(root)
        self.facts = facts
        self.findings: dict[str, Any] = facts["findings"]
        self.scores = scores
        self.lead = lead_subject(scores)
        main = [scheme for scheme in facts["schemes"] if scheme["main"]]
        self.scheme: str = main[0]["label"] if main else ""
        self.mark = "simulated: no brain was measured" if facts["simulated"] else ""
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
        self._bytes = 0

    def sections(self) -> dict[str, Any]:
        """Return everything the template asks for."""
        return {
            "overview": self.overview(),
            "unique": self.of_metric("unique_r2", self.lead),
            "further": self.further(),
            "unseen": self.table_of("two_vs_two"),
            "geometry": [item for metric in ("rsa", "cka") if (item := self.of_metric(metric, self.lead))],
            "best": self.best(),
            "decoding": None if "trials" in self.findings else self.decoding(),
            "trials": self.trials(),
            "images": self.images(),
            "exploration": self.exploration(),
            "participants": self.participants(),
            "used": shortened(RunUse(**row) for row in self.facts["data"]),
            "maps": self.maps(),
            "medians": self.medians(),
            "who": {GROUP: "the mean response over participants", MEAN: "the mean over participants"}.get(
                self.lead, self.lead
            ),
            "level": LEVEL,
        }

    def save(self, figure: Figure | None, name: str, alt: str) -> dict[str, str] | None:
        """Write a figure as a PNG file and return it for the page; too much for the page stays a file."""
        if figure is None:
            return None
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        data = buffer.getvalue()
        file = self.made.claim("figures", escaped(name, keep="_"), ".png")
        with atomic_open(self.root / file) as handle:
            handle.write(data)
        self._bytes += len(data) * 4 // 3
        if self._bytes > MAX_BYTES * 0.8:
            return {"src": "", "alt": alt, "file": file}
        return {"src": "data:image/png;base64," + base64.b64encode(data).decode(), "alt": alt, "file": ""}

    def matrix(self, metric: str, subject: str, scheme: str | None = None) -> Matrix | None:
        """Return the layer x ROI table of one metric and subject."""
        rows = over_folds(self.scores, metric=metric, scheme=scheme, subject=subject)
        return matrix(rows[rows["encoder"] != ""], self.layers, self.rois)

    def overview(self) -> dict[str, Any] | None:
        """Heat map and depth curves of the leading metric."""
        metric = self.facts["metric"]
        table = self.matrix(metric, self.lead, self.scheme)
        if table is None:
            return None
        truth = self.facts["dataset"]["truth"].get("rois", {})
        return {
            "metric": metric,
            "heat": self.save(
                figures.heat_map(table, metric, self.mark),
                "layer_by_roi",
                f"{name_of(metric)} of every layer and region",
            ),
            "curves": self.save(
                figures.depth_curves(table, metric, self.mark, truth),
                "depth_curves",
                f"{name_of(metric)} against depth",
            ),
            "table": table,
            "planted": bool(truth),
        }

    def of_metric(self, metric: str, subject: str) -> dict[str, Any] | None:
        """Heat map of another metric, for the subject that heads the page."""
        table = self.matrix(metric, subject)
        if table is None:
            return None
        return {
            "metric": metric,
            "heat": self.save(
                figures.heat_map(table, metric, self.mark), metric, f"{name_of(metric)} by layer and region"
            ),
            "table": table,
        }

    def table_of(self, metric: str) -> list[dict[str, Any]] | None:
        """Rows of a metric that has few, for a plain table."""
        rows = over_folds(self.scores, metric=metric)
        return rows.to_dict("records") if len(rows) else None  # type: ignore[return-value]

    def medians(self) -> list[dict[str, Any]]:
        """Median scores with their null, where regions have many targets."""
        rows = over_folds(self.scores, metric=f"{MEDIAN}{self.facts['metric']}")
        rows = rows[(rows["n_targets"] > 20) & ~rows["subject"].isin([MEAN])]
        return rows.to_dict("records") if len(rows) <= 60 else []  # type: ignore[return-value]

    def further(self) -> list[dict[str, Any]]:
        """Return the other schemes, each with its own heat map."""
        shown = []
        for scheme in self.facts["schemes"]:
            if scheme["main"]:
                continue
            table = self.matrix(self.facts["metric"], self.lead, scheme["label"])
            if table is not None:
                mark = (
                    self.mark if scheme["certificate"]["ok"] else "; ".join(filter(None, [self.mark, "leaking scheme"]))
                )
                name = f"layer_by_roi_{scheme['label'].replace('+', '_')}"
                alt = f"scores with {scheme['label']} held out"
                shown.append(
                    {
                        "scheme": scheme,
                        "heat": self.save(figures.heat_map(table, self.facts["metric"], mark), name, alt),
                    }
                )
        return shown

    def best(self) -> list[dict[str, Any]]:
        """Best layers per encoder with more than one layer: of the group, or of all participants."""
        shown = []
        for encoder in self.facts["encoders"]:
            entries = [
                entry for entry in self.findings.get("best_layer", [])
                if entry["encoder"] == encoder["name"] and entry["scheme"] == self.scheme
                and (entry["subject"] == self.lead or self.lead == MEAN)
            ]  # fmt: skip
            if not entries:
                continue
            names = [layer["name"] for layer in encoder["layers"]]
            figure = figures.best_layers(
                entries, names, [roi for roi in self.rois if any(e["roi"] == roi for e in entries)], self.mark
            )
            truth = self.facts["dataset"]["truth"].get("rois", {})
            shown.append(
                {
                    "encoder": encoder["name"],
                    "figure": self.save(figure, f"best_layer_{encoder['name']}", f"best layer of {encoder['name']}"),
                    "entries": [
                        {
                            **entry,
                            "planted": truth[entry["roi"]]["layer"]
                            if truth.get(entry["roi"], {}).get("encoder") == encoder["name"]
                            else None,
                        }
                        for entry in entries
                    ],
                }
            )
        return shown

    def decoding(self) -> dict[str, Any] | None:
        """Accuracies, pairs and confusion matrices."""
        rows = over_folds(self.scores, metric="accuracy")
        if not len(rows):
            return None
        pairs = self.scores[(self.scores["fold"] == ALL) & self.scores["metric"].str.startswith(PAIR)]
        matrices, confusion = [], self.findings.get("confusion", [])
        for index, entry in enumerate(confusion[:MAX_MAPS]):
            figure = figures.confusion(entry["labels"], np.array(entry["counts"]), self.mark)
            title = f"{entry['subject']}, {entry['roi']}, {entry['pipeline']}"
            matrices.append(
                {"title": title, "figure": self.save(figure, f"confusion_{index + 1}", f"confusion, {title}")}
            )
        return {
            "rows": rows.to_dict("records"),
            "pairs": pairs[pairs["subject"] == self.lead].to_dict("records"),
            "matrices": matrices,
            "chance": self.facts.get("chance", {}).get("accuracy") if confusion else None,
        }

    def trials(self) -> dict[str, Any] | None:
        """Sections of a recipe that decodes trials."""
        if "trials" not in self.findings:
            return None
        from brainbench.report.trials import trial_sections

        return trial_sections(self.facts, self.scores, self.scheme, self.mark, self.save)

    def images(self) -> dict[str, Any] | None:
        """Sections of a recipe that reconstructs."""
        if "reconstruction" not in self.findings:
            return None
        from brainbench.report.images import image_sections

        return image_sections(self.root, self.facts, self.scores, self.mark, self.save)

    def exploration(self) -> list[dict[str, Any]] | None:
        """Sections of a recipe that explores regions."""
        if "exploration" not in self.findings:
            return None
        from brainbench.report.exploration import exploration_sections

        return exploration_sections(self.root, self.facts, self.mark, self.save)

    def participants(self) -> dict[str, Any] | None:
        """Each participant's best model layer per region, who is above chance, and a panel each."""
        names = [subject["subject"] for subject in self.facts["subjects"] if subject["subject"] not in (GROUP, MEAN)]
        metric = self.facts["metric"]
        rows = over_folds(self.scores, metric=metric, scheme=self.scheme)
        rows = rows[rows["subject"].isin(names) & (rows["role"] == "model")]
        if len(names) < 2 or not len(rows):
            return None
        best = rows.sort_values("value", ascending=self.toward > 0).groupby(["subject", "roi"]).tail(1)
        values: dict[str, dict[str, float]] = {}
        above: dict[str, list[str]] = {name: [] for name in names}
        for row in best.itertuples():
            values.setdefault(str(row.roi), {})[str(row.subject)] = float(row.value)  # type: ignore[arg-type]
        # One test a region: over all layers of a model.
        tested = over_folds(self.scores, metric=BEST + metric, scheme=self.scheme)
        tested = tested[tested["subject"].isin(names) & (tested["role"] == "model")]
        for row in tested[(tested["q"] < LEVEL) & (self.toward * tested["value"] > 0)].itertuples():
            if str(row.roi) not in above[str(row.subject)]:
                above[str(row.subject)].append(str(row.roi))
        panels = []
        if len(names) <= MAX_PANELS:
            for name in names:
                table = self.matrix(metric, name, self.scheme)
                if table is not None:
                    figure = figures.heat_map(table, metric, self.mark)
                    panels.append(
                        {"name": name, "figure": self.save(figure, f"layer_by_roi_{name}", f"scores of {name}")}
                    )
        return {
            "figure": self.save(
                figures.participants(values, [roi for roi in self.rois if roi in values], metric, self.mark),
                "participants", "best model layer of every participant",
            ),
            "above": above,
            "panels": panels,
        }  # fmt: skip

    def maps(self) -> list[dict[str, Any]]:
        """Return maps of the best model layer of every participant."""
        metric = self.facts["metric"]
        rows = over_folds(self.scores, metric=metric, scheme=self.scheme)
        rows = rows[rows["role"] == "model"]
        shown: list[dict[str, Any]] = []
        for subject in dict.fromkeys(entry["subject"] for entry in self.facts["maps"]):
            mine = rows[rows["subject"] == subject]
            means = mine.groupby(["encoder", "layer"], sort=False)["value"].mean()
            if not len(means):
                continue
            encoder, layer = (self.toward * means).idxmax()
            for entry in self.facts["maps"]:
                chosen = (entry["subject"], entry["scheme"], entry["encoder"], entry["layer"], entry["metric"])
                if chosen != (subject, self.scheme, encoder, layer, metric) or len(shown) >= MAX_MAPS:
                    continue
                background = self.root / entry["background"] if entry["background"] else None
                title = f"{subject}: {encoder} {layer}, {name_of(metric)}"
                file = self.root / entry["file"]
                figure = None  # grayordinates and other meshes are drawn by Connectome Workbench
                if entry["space"] == "volume":
                    figure = figures.brain_map(file, background, title, self.mark)
                elif entry["space"] == "fsaverage5":
                    figure = figures.surface_map(file, title, self.mark)
                shown.append(
                    {"title": title, "file": entry["file"], "figure": self.save(figure, f"map_{subject}", title)}
                )
        return shown
