"""Cards: what a data set is, where it comes from, under which licence, and its traps."""

from __future__ import annotations

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.core.share import card_path, share_folder
from brainbench.recipes.datasets import DATASETS


class CardFile(BaseModel):
    """A file or group of files of a data set."""

    model_config = ConfigDict(extra="forbid")
    path: str
    what: str
    sha256: str | None = None
    url: str | None = None


class Card(BaseModel):
    """A data set's card (``datasets/<name>.yaml``)."""

    model_config = ConfigDict(extra="forbid")
    name: str
    title: str
    source: str
    licence: str
    citation: str
    simulated: bool = False
    files: list[CardFile] = []
    fetch: str
    traps: list[str] = []

    def render(self) -> str:
        """Return the card as text."""
        lines = [self.title, f"licence   {self.licence}", f"source    {self.source}", f"citation  {self.citation}"]
        if self.files:
            lines.append("files")
            lines += [f"  {file.path}: {file.what}" for file in self.files]
        if self.traps:
            lines.append("traps")
            lines += [f"  - {trap}" for trap in self.traps]
        lines += ["how to get it", *[f"  {line}" for line in self.fetch.strip().splitlines()]]
        return "\n".join(lines)


def card_names() -> list[str]:
    """Return the names of all cards."""
    return sorted({*(path.stem for path in share_folder("datasets").glob("*.yaml")), *DATASETS})


def load_card(name: str) -> Card:
    """Return the card of a data set.

    Raises
    ------
    UserError
        If there is none, or it is not as it should be.
    """
    model = DATASETS[name] if name in DATASETS else None
    path = card_path("datasets", name, model)
    if not path.is_file() and model is not None:
        raise UserError(f"data set '{name}' has no card", hint=f"its package is to hold {path}")
    if not path.is_file():
        raise UserError(
            f"no data set '{name}'{did_you_mean(name, card_names())}", hint=f"known: {one_of(card_names())}"
        )
    try:
        return Card.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not a card: {error}") from None
