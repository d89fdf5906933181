"""What all models of a recipe share: unknown keys are refused, types are not guessed, values are frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from brainbench.core.errors import did_you_mean, one_of


class Section(BaseModel):
    """A strict, frozen part of a recipe."""

    # Built when something is first validated: nouns of packages, which extend these models, are known only then.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, BeforeValidator(_as_text)]
"""The name of a subject, a session or a run, which people write as a number too."""


@dataclass(frozen=True)
class OneOf:
    """A name out of a list that is asked when a recipe is read: a literal that third parties can add to.

    Used as ``Annotated[str, choice(names)]``.

    Parameters
    ----------
    names : callable
        Returns the names that are allowed.
    """

    names: Callable[[], Iterable[str]]

    def __call__(self, value: str) -> str:
        """Return the value, refused where it is not allowed."""
        known = list(self.names())
        if value not in known:
            raise ValueError(f"{value!r} is not one of {one_of(known)}{did_you_mean(value, known)}")
        return value


def choice(names: Callable[[], Iterable[str]]) -> AfterValidator:
    """Return the validator of one name out of `names`."""
    return AfterValidator(OneOf(names))


def names_of(annotation: object) -> list[str]:
    """Return the names that the validator of a `choice` allows; none for anything else in an annotation."""
    of = getattr(annotation, "func", None)
    return list(of.names()) if isinstance(of, OneOf) else []
