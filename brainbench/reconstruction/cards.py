"""Cards of weights: what a codec or generator downloads, how large it is, and under which licence."""

from __future__ import annotations

from functools import cache
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from brainbench.core.errors import UserError
from brainbench.core.share import card_path
from brainbench.recipes.reconstruction import CODECS, GENERATORS


class Weights(BaseModel):
    """One model that is downloaded."""

    model_config = ConfigDict(extra="forbid")
    model: str
    what: str
    licence: str
    commercial: bool
    """Whether the licence allows commercial use."""
    gigabytes: float
    fetch: str


class WeightsCard(BaseModel):
    """A card (``weights/<name>.yaml``)."""

    model_config = ConfigDict(extra="forbid")
    name: str
    kind: Literal["codec", "generator"]
    title: str
    citation: str
    weights: list[Weights] = []
    notes: list[str] = []

    @property
    def licence(self) -> str:
        """Licences of all its weights, each once."""
        return "; ".join(dict.fromkeys(one.licence for one in self.weights)) or "no weights"

    @property
    def needs_acceptance(self) -> bool:
        """Whether a licence forbids commercial use."""
        return any(not one.commercial for one in self.weights)


@cache
def load_weights_card(name: str) -> WeightsCard | None:
    """Return the card of a codec or generator, or None for one that has none (a third party's)."""
    path = card_path("weights", name, CODECS.models.get(name) or GENERATORS.models.get(name))
    if not path.is_file():
        return None
    try:
        return WeightsCard.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not a card: {error}") from None


def check_licence(name: str, *, accepted: bool) -> None:
    """Refuse weights whose licence forbids commercial use, unless the recipe accepts it.

    Raises
    ------
    UserError
        Naming the weights, the licence, and what to write.
    """
    card = load_weights_card(name)
    if card is None or not card.needs_acceptance or accepted:
        return
    bound = [one for one in card.weights if not one.commercial]
    raise UserError(
        f"generator '{name}': the weights of {' and '.join(one.model for one in bound)} are for non-commercial use "
        f"only ({'; '.join(dict.fromkeys(one.licence for one in bound))})",
        hint="read the licence on the model's page; if you keep to it, write `accept_license: true` under `generator:`",
    )
