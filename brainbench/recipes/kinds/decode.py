"""``kind: decode`` with ``decoding:``: a label read from the responses."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from brainbench.recipes.datasets import DatasetSettings, RecordingSettings
from brainbench.recipes.kinds.base import ResponseRecipe, Told
from brainbench.recipes.parts import Decoding


class DecodeRecipe(ResponseRecipe):
    """Decode a label from the responses."""

    studied_by: ClassVar[str] = "brainbench.studies.decode.study:DecodeStudy"
    example: ClassVar[dict[str, Any]] = {
        "title": "Which category did the participant see?",
        "dataset": {"name": "haxby2001"},
        "hold_out": ["run"],
        "decoding": {"label": "category", "decoders": [{"name": "lda"}]},
    }
    told_by: ClassVar[Told | None] = Told("decoding", "responses", "`hold_out` and `folds` hold out")
    one_scheme: ClassVar[bool] = True

    kind: Literal["decode"] = "decode"
    """What the recipe does."""
    decoding: Decoding
    """What is decoded, and with which classifiers."""

    @classmethod
    def beginning(cls, dataset: DatasetSettings) -> dict[str, Any] | None:
        """Return the label that rows of the data have; trials of recordings are the other model's."""
        if dataset.decodes is None or isinstance(dataset, RecordingSettings):
            return None
        return {"decoding": {"label": dataset.decodes, "decoders": [{"name": "lda"}]}, **cls.held_out_of(dataset)}

    @property
    def null_answers(self) -> bool:
        """No: a label of the stimuli could be read from answers to the stimuli."""
        return False
