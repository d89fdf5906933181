"""What every data set's section has."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from pydantic import Field

from brainbench.core.errors import did_you_mean
from brainbench.recipes.base import Name
from brainbench.recipes.catalogue import Noun

STARTERS: dict[str, list[dict[str, Any]]] = {
    "image": [
        {"name": "efficientnet", "family": "image", "weights": "installed", "layers": ["blocks.*"]},
        {"name": "pixels", "family": "pixels"},
    ],
    "text": [{"name": "minilm", "family": "text"}, {"name": "random", "family": "random"}],
    "word": [{"name": "minilm", "family": "text"}, {"name": "word_rate", "family": "word_rate"}],
    "sound": [{"name": "log_mel", "family": "log_mel", "role": "model"}, {"name": "envelope", "family": "envelope"}],
    "clip": [{"name": "motion", "family": "motion_energy", "role": "model"}, {"name": "random", "family": "random"}],
    "array": [{"name": "pixels", "family": "pixels", "role": "model"}, {"name": "gabor", "family": "gabor"}],
}
"""Encoders that a template begins with, by what the stimuli are: a model that needs no download, and a control."""


class DatasetSettings(Noun):
    """What every data set's section has."""

    needs_root: ClassVar[bool] = True
    """Whether its files lie in a folder; a simulation has none."""
    keeps_own_root: ClassVar[bool] = False
    """Whether, without a `root`, the library that downloads it knows where it lies."""
    official: ClassVar[bool] = False
    """Whether its files lie as somebody published them, so that a folder is known by them."""
    fetched_by: ClassVar[str | None] = None
    """Function that downloads it to a folder, as ``module:name``, where its card does not say what to download."""
    shows: ClassVar[str | None] = None
    """What its stimuli are in every recipe: image, text, word, sound, clip or array; None where its settings decide."""
    example: ClassVar[dict[str, Any]] = {}
    """What a template needs of its section; everything else comes from the defaults."""
    begins: ClassVar[dict[str, Any]] = {}
    """What a template says outside of the section, where a kind has it: how rows are held out, and into which folds."""
    holds: ClassVar[Literal["responses", "distances", "nothing"]] = "responses"
    """What it holds beside stimuli: responses to them, distances between them, or nothing."""
    decodes: ClassVar[str | None] = None
    """A label of its rows that a template decodes; None where it has none."""
    name: str
    """Which data set (`brainbench list datasets`)."""
    root: str | None = Field(None, examples=["/data/my-study"])
    """Folder of the data set; without it BRAINBENCH_DATA/<name>."""
    subjects: Literal["all"] | list[Name] = "all"
    """`all`, or a list of subjects by name, or by number where only one has it."""

    @property
    def modality_shown(self) -> str | None:
        """What its stimuli are, as far as the settings say it."""
        return getattr(self, "modality", self.shows)

    @property
    def shown_otherwise(self) -> str:
        """What settings make other stimuli of the same data, for messages."""
        return ""

    @property
    def starters(self) -> list[dict[str, Any]]:
        """Encoders that a template begins with."""
        return STARTERS.get(self.modality_shown or "", [])


def check_pattern(value: str | None, allowed: tuple[str, ...]) -> str | None:
    """Refuse placeholders that a path may not have."""
    for name in re.findall(r"\{([^{}]*)\}", value or ""):
        if name not in allowed:
            known = ", ".join(f"{{{one}}}" for one in allowed) or "none"
            near = did_you_mean(name, allowed)
            raise ValueError(f"unknown placeholder '{{{name}}}'{near} (allowed: {known})")
    if value is not None and not value.strip():
        raise ValueError("a path cannot be empty")
    return value


def check_pair(value: str | None) -> str | None:
    """Refuse the path of a pair of files that does not say where the hemisphere stands."""
    if value is not None and "{hemi}" not in value:
        raise ValueError("a pair of files, one a hemisphere: write {hemi} where they say L and R")
    return check_pattern(value, ("hemi",))
