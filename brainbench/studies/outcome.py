"""What a recipe found, gathered while it runs and written at the end: score rows, arrays per target, findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from brainbench.core.files import atomic_open, atomic_path, write_array, write_text
from brainbench.core.made import MadeFiles, escaped, subject_label
from brainbench.core.order import natural
from brainbench.data.account import RunUse
from brainbench.data.base import TargetMasker
from brainbench.data.images import fill_outside
from brainbench.evaluation.decoding import classes_of
from brainbench.evaluation.metrics import BEST
from brainbench.runs.columns import COLUMNS, KEY
from brainbench.runs.folder import RunFolder

ALL = "all"
"""The ``fold`` of a score over folds."""
TOGETHER = ("group", "mean")
"""Subjects that stand for all participants: the mean response, and the mean of the scores."""
MOST_NAMED = 5
"""Regions that one warning names."""
ENDINGS = {"volume": ".nii.gz", "cifti": ".dscalar.nii"}
"""Endings of maps by the space of their targets; surfaces are GIFTI files."""


@dataclass
class TargetMap:
    """One number per target, to be stored and, where the data has a space, drawn."""

    subject: str
    scheme: str
    encoder: str
    layer: str
    metric: str
    values: np.ndarray

    @property
    def stem(self) -> str:
        """File name without its ending, after BIDS derivatives."""
        parts = {"scheme": self.scheme, "encoder": self.encoder, "layer": self.layer}
        labels = [f"{key}-{escaped(name)}" for key, name in parts.items() if name or key != "layer"]
        return "_".join([subject_label(self.subject), *labels, f"stat-{self.metric.replace('_', '')}"])


@dataclass
class ImageFile:
    """Pictures to be stored as ``images/<stem>.npz``, and what is said of them; the parts of the stem are escaped."""

    stem: str
    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


@dataclass
class Outcome:
    """Gathers what a recipe found."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    maps: list[TargetMap] = field(default_factory=list)
    images: dict[str, Any] = field(default_factory=dict)
    """Subject -> (masker, background, space) of subjects whose targets have a place in the brain."""
    subjects: list[dict[str, Any]] = field(default_factory=list)
    data: list[RunUse] = field(default_factory=list)
    """What was used of every run of every subject, and what was left out."""
    schemes: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: dict[str, Any] = field(default_factory=dict)
    """Section of the report -> what it shows besides scores, as ``facts.json`` keeps it."""
    warnings: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    """Warnings that put what the page claims in doubt: leaks, ceilings that failed, claims that were not tested."""
    chance: dict[str, float] = field(default_factory=dict)
    """Chance level of metrics where it is not 0: the highest of the participants'."""
    own_chance: dict[tuple[str, str], float] = field(default_factory=dict)
    """(metric, subject) -> what the best constant guess reaches under the class rates of that subject's test rows."""
    failed_ceilings: dict[int, float] = field(default_factory=dict)
    """Number of a row -> the ceiling that was taken away from it."""
    image_files: list[ImageFile] = field(default_factory=list)
    """Reconstructed images and galleries."""
    picture_files: list[dict[str, Any]] = field(default_factory=list)
    map_files: list[dict[str, Any]] = field(default_factory=list)
    target_files: list[dict[str, Any]] = field(default_factory=list)
    _backgrounds: dict[str, str] = field(default_factory=dict)

    def add(self, **values: Any) -> None:
        """Add one row of ``scores.csv``; columns that are not given are empty."""
        unknown = set(values) - set(COLUMNS)
        if unknown:
            raise KeyError(f"not columns of scores.csv: {sorted(unknown)}")
        self.rows.append(values)

    def note(self, section: str, item: dict[str, Any]) -> None:
        """Add an item to what a section of the report shows."""
        self.findings.setdefault(section, []).append(item)

    def guess(self, metric: str, subject: str, chance: float) -> None:
        """Take what a guess that knows nothing but the class rates reaches of a subject's rows."""
        self.own_chance[metric, subject] = chance
        self.chance[metric] = max(chance, self.chance.get(metric, chance))

    def warn(self, sentence: str) -> None:
        """Add a sentence to the report's warnings, once."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def doubt(self, sentence: str) -> None:
        """Add a sentence to those that stand in the first box of the report, once."""
        if sentence not in self.doubts:
            self.doubts.append(sentence)

    def correct(self) -> None:
        """Fill ``q`` by Benjamini-Hochberg.

        One family of a scheme are the regions' tests over all layers (``best_...``): of all encoders, regions and
        participants; those of the group, and of the mean over participants, are families of their own. Of all other
        metrics a family is encoder x layer x region of a subject and scheme.
        """
        from brainbench.evaluation.family import fdr

        families: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in self.rows:
            if row.get("p") is not None and np.isfinite(row["p"]):
                people = "" if row["metric"].startswith(BEST) and row["subject"] not in TOGETHER else row["subject"]
                family = (people, row.get("scheme", ""), _family(row["metric"]))
                families.setdefault(family, []).append(row)
        for (people, scheme, metric), rows in families.items():
            for row, q in zip(rows, fdr(np.array([row["p"] for row in rows])), strict=True):
                row["q"] = float(q)
            if metric.startswith(BEST):
                self.note(
                    "families",
                    {"scheme": scheme, "subject": people or "every participant", "metric": metric, "tests": len(rows)},
                )

    def hold_ceilings(self, level: float = 0.05) -> None:
        """Take away ceilings that failed, and name scores that lie above a ceiling; after `correct`.

        A ceiling has failed where its interval reaches 0, or where it lies under a score that is above chance: no score
        is divided by it, and a warning says so.
        """
        failed: dict[tuple[str, str, str], dict[str, str]] = {}
        for number, row in enumerate(self.rows):
            ceiling, low = row.get("ceiling"), row.get("ceiling_low")
            if ceiling is None or row["fold"] != ALL:
                continue
            above = row["value"] > ceiling and row.get("q") is not None and row["q"] < level
            if low is not None and (low <= 0 or above):
                reason = "its interval reaches 0" if low <= 0 else "a score above chance lies above it"
                row["ceiling"], self.failed_ceilings[number] = None, ceiling
                of = failed.setdefault((row["subject"], row.get("scheme", ""), reason), {})
                of.setdefault(row["roi"], f"{ceiling:.2f} [{low:.2f}, {row['ceiling_high']:.2f}]")
            elif low is None and row.get("ci_low") is not None and row["ci_low"] > ceiling:
                self.warn(
                    f"{row['roi']} ({row['subject']}, {row.get('scheme', '')}): {row['metric']} {row['value']:.2f} "
                    f"lies above its ceiling of {ceiling:.2f} by more than its sampling error; one of them is not what "
                    "it seems"
                )
        for (subject, scheme, reason), found in failed.items():
            regions = ", ".join(f"{roi} {interval}" for roi, interval in list(found.items())[:MOST_NAMED])
            more = f" and {len(found) - MOST_NAMED} more regions" if len(found) > MOST_NAMED else ""
            self.warn(
                f"{subject}, {scheme}: the noise ceiling was not found in {regions}{more}: {reason}; nothing is "
                "divided by it"
            )

    def scores_csv(self) -> str:
        """Return ``scores.csv``: rows sorted by key, numbers in shortest exact form, nothing that varies by run."""
        import pandas as pd

        frame = pd.DataFrame(self.rows, columns=list(COLUMNS))
        for name in KEY:
            frame[name] = frame[name].astype(object).fillna("").astype(str)
        frame = frame.sort_values(list(KEY), key=_natural, kind="stable")
        for name in ("n_targets", "n_rows"):
            frame[name] = frame[name].astype("Int64")
        return frame.to_csv(index=False, float_format="%.8g", lineterminator="\n")

    def write(self, folder: RunFolder) -> None:
        """Write scores, arrays per target, and maps."""
        write_text(folder / "scores.csv", self.scores_csv())
        for item in self.maps:
            facts = {
                "subject": item.subject, "scheme": item.scheme, "encoder": item.encoder, "layer": item.layer,
                "metric": item.metric,
            }  # fmt: skip
            file = folder.made.claim("targets", item.stem, ".npy")
            write_array(folder / file, item.values.astype(np.float32))
            self.target_files.append({**facts, "file": file})
            if item.subject in self.images:
                self._write_map(folder, item, facts)
        for entry in self.findings.get("models", []):
            entry |= self._write_mask(folder, entry["subject"])
        for pictures in self.image_files:
            file = folder.made.claim("images", pictures.stem, ".npz")
            with atomic_open(folder / file) as handle:
                np.savez_compressed(handle, **pictures.arrays)  # type: ignore[arg-type]
            self.picture_files.append({**pictures.facts, "file": file})

    def _write_map(self, folder: RunFolder, item: TargetMap, facts: Mapping[str, Any]) -> None:
        masker, _, space = self.images[item.subject]
        file = write_image(folder.made, item, masker, space)
        background = self._background(folder, item.subject)
        self.map_files.append({**facts, "file": file, "background": background, "space": space})

    def _write_mask(self, folder: RunFolder, subject: str) -> dict[str, str | None]:
        """Write which voxels have responses, where there is an image to see them on."""
        background = self._background(folder, subject)
        if background is None:
            return {"mask": None, "background": None}
        masker = self.images[subject][0]
        n_targets = next(one["n_targets"] for one in self.subjects if one["subject"] == subject)
        name = folder.made.claim("maps", f"{subject_label(subject)}_mask", ".nii.gz")
        with atomic_path(folder / name) as path:
            masker.inverse_transform(np.ones(n_targets, dtype=np.float32)).to_filename(str(path))
        return {"mask": name, "background": background}

    def _background(self, folder: RunFolder, subject: str) -> str | None:
        """Return the file of the image that a subject's maps are drawn on, written once."""
        background = self.images[subject][1] if subject in self.images else None
        if background is not None and subject not in self._backgrounds:
            name = folder.made.claim("maps", f"{subject_label(subject)}_background", ".nii.gz")
            with atomic_path(folder / name) as path:
                background.to_filename(str(path))
            self._backgrounds[subject] = name
        return self._backgrounds.get(subject)


def write_image(made: MadeFiles, item: TargetMap, masker: TargetMasker, space: str) -> str:
    """Write one number per target as an image into ``maps``, and return its path below the root.

    Where no target lies, outside of a mask or where nothing was measured, scores are 0 and p values 1.
    """
    file = made.claim("maps", item.stem, ENDINGS.get(space, ".gii"))
    image = masker.inverse_transform(item.values.astype(np.float32))
    if item.metric == "p":
        fill_outside(image, masker.inverse_transform(np.ones(len(item.values), dtype=np.float32)), 1.0)
    with atomic_path(made.root / file) as path:
        image.to_filename(str(path))
    return file


def _family(metric: str) -> str:
    """Pairwise accuracies are one family; every other metric is its own."""
    return "accuracy_pair" if classes_of(metric) else metric


def _natural(column: Any) -> Any:
    """Sort ``blocks.10`` after ``blocks.9`` and ``all`` after every fold."""
    return column.map(lambda text: natural(str(text)))
