"""Settings of the lens: which diagnostics of the networks are drawn beside depth."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from brainbench.core.registry import Registry
from brainbench.recipes.base import Section, choice
from brainbench.recipes.parts import distinct_names

ROOM = "lens.diagnostics"
"""Where diagnostics stand, below the package: every module there is one."""


def _built_in() -> dict[str, str]:
    folder = Path(__file__).parents[1].joinpath(*ROOM.split("."))
    return {one.name: f"brainbench.{ROOM}.{one.name}:diagnostic" for one in pkgutil.iter_modules([str(folder)])}


DIAGNOSTICS: Registry[Any] = Registry("diagnostic", _built_in(), entry_point_group="brainbench.diagnostics")
"""Every diagnostic by name (`brainbench.lens.base.Diagnostic`), imported when it is asked for."""


class Inside(Section):
    """What the networks themselves do, block by block."""

    diagnostics: list[Annotated[str, choice(DIAGNOSTICS.names)]] = Field(["stream"], min_length=1)
    """What is computed (`brainbench list diagnostics`)."""
    stimuli: int = Field(200, ge=2)
    """Stimuli that are looked at, of those that any participant was shown, drawn by the seed."""
    labels: str | None = Field(None, examples=["category"])
    """Label of the stimuli (`category`) that `content` reads off every block."""
    words: list[str | int] = Field([], examples=[["rabbit", "cat"]])
    """Words, or numbers of classes, whose probability `content` reads off every block."""

    @field_validator("diagnostics")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        distinct_names(value, "diagnostic")
        return value


class Doses(Section):
    """Hidden units of all blocks switched off at once, of every token the smallest: how much can go."""

    edit: Literal["sparsify"]
    """What is given in doses."""
    doses: list[Annotated[float, Field(gt=0, lt=1)]] = Field(min_length=1, examples=[[0.5, 0.8, 0.9]])
    """Shares of the units, each a run of every stimulus and as many as there are controls."""

    @field_validator("doses")
    @classmethod
    def _rising(cls, value: list[float]) -> list[float]:
        if sorted(set(value)) != value:
            raise ValueError(f"doses rise: {sorted(set(value))}")
        return value


def _form(value: Any) -> str:
    return "in-doses" if isinstance(value, dict | Doses) else "name"


class Lens(Inside):
    """What the networks themselves do, and what happens to regions when they are changed."""

    edits: list[
        Annotated[
            Annotated[Literal["skip", "erase", "heads", "brain-lens"], Tag("name")] | Annotated[Doses, Tag("in-doses")],
            Discriminator(_form),
        ]
    ] = Field([], examples=[["skip", {"edit": "sparsify", "doses": [0.5, 0.8, 0.9]}]])
    """Edits whose effect on regions is computed, with the head frozen and refitted: of every block that it is skipped,
    its input erased, each of its heads silenced, or its output read in the place of the last one's (`brain-lens`, which
    costs a single run); of all blocks together hidden units switched off, in doses. Every stimulus runs once an edit,
    and once a control."""
    controls: int = Field(20, ge=0)
    """Edits of the same kind and size, chosen at random, beside those of every block."""

    @field_validator("edits", mode="before")
    @classmethod
    def _doses_said(cls, value: Any) -> Any:
        if isinstance(value, list) and "sparsify" in value:
            raise ValueError("'sparsify' needs doses, such as {edit: sparsify, doses: [0.5, 0.8, 0.9]}")
        return value

    @field_validator("edits")
    @classmethod
    def _edits_once(cls, value: list[str | Doses]) -> list[str | Doses]:
        distinct_names([one if isinstance(one, str) else one.edit for one in value], "edit")
        return value
