"""Writes the reference of all settings from their models: nothing here names a data set, an encoder or a key."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from brainbench.recipes.base import names_of
from brainbench.recipes.catalogue import Catalogue, Noun, catalogues
from brainbench.recipes.kinds import Recipe
from brainbench.recipes.template import descriptions, inline, templates

_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any value"}
_BOUNDS = (("ge", "at least {}"), ("gt", "above {}"), ("le", "at most {}"), ("lt", "below {}"))


@dataclass(frozen=True)
class Setting:
    """One key of a recipe.

    Attributes
    ----------
    key : str
        With the sections it stands in: ``"folds.n_splits"``; ``[]`` follows a list of sections.
    field : FieldInfo
    owner : type of BaseModel
        The model that has it.
    """

    key: str
    field: FieldInfo
    owner: type[BaseModel]

    @property
    def meaning(self) -> str:
        """What stands below it in the model."""
        return descriptions(self.owner).get(self.key.split(".")[-1], "").replace("\n", " ")

    @property
    def is_section(self) -> bool:
        """Whether its value is a section, or a list of them."""
        return bool(_sections(self.field.annotation))

    @property
    def type(self) -> str:
        """What values it takes, in words."""
        text = _type(self.field.annotation)
        names = [name for one in self.field.metadata for name in names_of(one)]
        if names:
            text = _one_of(names)
        bounds = [
            words.format(f"{value:g}" if isinstance(value, float) else value)
            for one in self.field.metadata
            for name, words in _BOUNDS
            if (value := getattr(one, name, None)) is not None
        ]
        return ", ".join([text, *bounds])

    @property
    def default(self) -> str:
        """What holds without it, as YAML; empty where it has to be given."""
        if self.field.is_required():
            return ""
        value = self.field.get_default(call_default_factory=True)
        return "its own defaults" if isinstance(value, BaseModel) else inline(value)

    @property
    def example(self) -> Any:
        """A value that it takes: what the model names, another one than the default, or the default."""
        if self.field.examples:
            return self.field.examples[0]
        default = None if self.field.is_required() else self.field.get_default(call_default_factory=True)
        names = [name for one in self.field.metadata for name in names_of(one)] or _choices(self.field.annotation)
        if names:
            return next((name for name in names if name != default), names[0])
        return not default if isinstance(default, bool) else default


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    """Yield every key of a model in order, and below a section those of the section; nouns have pages of their own."""
    for name, field in model.model_fields.items():
        yield Setting(f"{prefix}{name}", field, model)
        for inner, several in _sections(field.annotation):
            if _catalogue_of(inner) is None:
                yield from settings_of(inner, f"{prefix}{name}{'[]' if several else ''}.")


def pages() -> dict[str, str]:
    """Return every page of the reference by its path: an overview, one per noun, one per kind of recipe."""
    found = {}
    lines = ["# Reference", "", "Every setting, generated from the models that read recipes.", ""]
    kinds = {f"reference/kinds/{name}.md": (name, model) for name, model in templates().items()}
    lines += ["## Kinds of recipe", "", "| kind | what it does |", "|---|---|"]
    for path, (name, model) in kinds.items():
        found[path] = kind_page(name, model)
        lines.append(f"| [{name}](kinds/{name}.md) | {_first_line(model)} |")
    for name, nouns in catalogues().items():
        lines += ["", f"## {name.capitalize()}", "", f"| {nouns.kind} | what it is |", "|---|---|"]
        for noun, model in nouns.items():
            found[f"reference/{name}/{noun}.md"] = noun_page(nouns, noun)
            lines.append(f"| [{noun}]({name}/{noun}.md) | {_first_line(model)} |")
    return {"reference/index.md": "\n".join(lines) + "\n", **found}


def noun_page(nouns: Catalogue[Any], name: str) -> str:
    """Return the page of one data set, encoder, decoder, codec or generator."""
    model: type[Noun] = nouns[name]
    where = f"`{nouns.section}:`" + (", an entry of its list" if nouns.several else "")
    return _page(f"{nouns.kind} {name}", model, f"Section {where}.", f"{nouns.tag}: {name}")


def kind_page(name: str, model: type[Recipe]) -> str:
    """Return the page of one kind of recipe."""
    return _page(name, model, f"`brainbench new {name}` writes it with every setting.", f"kind: {_kind(model)}")


def _page(title: str, model: type[BaseModel], where: str, begins: str) -> str:
    lines = [f"# {title}", "", " ".join((model.__doc__ or "").split()), "", f"{where} It begins with `{begins}`.", ""]
    lines += ["| key | type | default | what it means | example |", "|---|---|---|---|---|"]
    for one in settings_of(model):
        last = one.key.split(".")[-1]
        example = "" if one.is_section else f"`{_cell(f'{last}: {inline(one.example)}')}`"
        default = f"`{_cell(one.default)}`" if one.default and not one.is_section else _cell(one.default)
        if one.field.is_required():
            default = "**needed**"
        lines.append(f"| `{one.key}` | {_cell(one.type)} | {default} | {_cell(one.meaning)} | {example} |")
    return "\n".join(lines) + "\n"


def _kind(model: type[Recipe]) -> str:
    return str(model.model_fields["kind"].default)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _catalogue_of(model: type[BaseModel]) -> Catalogue[Any] | None:
    return next((nouns for nouns in catalogues().values() if nouns.base is model), None)


def _sections(annotation: Any, several: bool = False) -> list[tuple[type[BaseModel], bool]]:
    """Return the sections that a field holds, and whether it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [(annotation, several)]
    inside = several or get_origin(annotation) is list
    return [found for part in get_args(annotation) for found in _sections(part, inside)]


def _choices(annotation: Any) -> list[Any]:
    """Return the values that a field names one by one, itself or as one of several types."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return [choice for part in get_args(annotation) for choice in _choices(part)]
    return []


def _one_of(names: list[Any]) -> str:
    return "one of " + ", ".join(f"`{name}`" for name in names) if len(names) > 1 else f"`{names[0]}`"


def _type(annotation: Any) -> str:
    """Return what values an annotation takes, in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if annotation is type(None):
        return "null"
    if origin is Literal:
        return _one_of(list(parts))
    if origin in (Union, types.UnionType):
        return " or ".join(_type(part) for part in parts)
    if origin is list:
        return f"list ({_type(parts[0])})"
    if origin is dict:
        return f"mapping ({_type(parts[0])}: {_type(parts[1])})"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        nouns = _catalogue_of(annotation)
        if nouns is None:
            return "section"
        return f"section: one of the [{nouns.name}](../index.md#{nouns.name})"
    if origin is not None and parts:  # Annotated
        return _type(parts[0])
    return str(annotation)
