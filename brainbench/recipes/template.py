"""Writes a commented recipe from the schema, so that the template can never disagree with it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.recipes.base import names_of
from brainbench.recipes.catalogue import models_behind
from brainbench.recipes.datasets import DATASETS
from brainbench.recipes.kinds import Recipe, kinds

_WIDTH = 108


def templates() -> dict[str, type[Recipe]]:
    """Return what templates can be written of: every kind, and further models of it as ``kind-section``."""
    found = {}
    for kind, models in kinds().items():
        for model in models:
            name = kind if model.told_by is None or model is models[0] else f"{kind}-{model.told_by.section}"
            found[name] = model
    return found


def write_template(name: str, dataset: str | None = None) -> str:
    """Return a commented recipe: one that runs as it is, or one on a data set, whose folder it has to be told.

    Parameters
    ----------
    name : str
        A kind, or another of `templates`.
    dataset : str, optional
        A data set by name; without it the kind's own example.

    Raises
    ------
    UserError
        If there is no such kind or data set, or the kind has no use for what the data set holds.
    """
    known = templates()
    if name not in known:
        raise UserError(f"unknown kind of recipe '{name}'{did_you_mean(name, known)}", hint=f"kinds: {one_of(known)}")
    if dataset is None:
        return render(known[name], known[name].example)
    values = {"name": dataset, **DATASETS[dataset].example}
    found = started(name, values)
    if found is None:
        suited = [kind for kind in kinds() if started(kind, values) is not None]
        raise UserError(
            f"`kind: {name}` has no use for the data set '{dataset}': {_first_line(DATASETS[dataset])}",
            hint=f"kinds for it: {one_of(suited)}",
        )
    return render(*found)


def started(name: str, dataset: dict[str, Any]) -> tuple[type[Recipe], dict[str, Any]] | None:
    """Return the model of a kind and what a template of it on some data says; None where the kind has no use for them.

    Parameters
    ----------
    name : str
        One of `templates`; where a kind has several models, the first that has a use for the data.
    dataset : dict
        The section of the data.
    """
    models = [templates()[name], *(kinds()[name] if name in kinds() else ())]
    for model in models:
        if DATASETS[dataset["name"]].holds not in model.reads:
            continue
        own = model.example.get("dataset", {})
        if own.get("name") == dataset["name"] and dataset == {"name": own["name"], **DATASETS[own["name"]].example}:
            return model, model.example
        begun = model.beginning(DATASETS.settings(dataset))
        if begun is not None:
            return model, {**begun, "dataset": dataset | begun.get("dataset", {})}
    return None


def render(model: type[Recipe], example: dict[str, Any]) -> str:
    """Return a commented recipe of a kind with every setting: what `example` says, and the defaults."""
    lines = [
        f"# {model.__doc__}",
        "# Check it with `brainbench check`, see what it costs with `brainbench plan`.",
        "",
    ]
    # What every recipe has frames what only this kind has; how it runs comes last.
    own = [field for field in model.model_fields if field not in Recipe.model_fields]
    shared = list(Recipe.model_fields)
    place = shared.index("dataset") + 1
    for field in [*shared[:place], *own, *shared[place:]]:
        lines += _field(model, field, example.get(field, PydanticUndefined), 0)
    return "\n".join(lines) + "\n"


def _field(model: type[BaseModel], name: str, example: Any, indent: int) -> list[str]:
    pad, field = " " * indent, model.model_fields[name]
    text = descriptions(model).get(name, "").replace("\n", " ")
    choices = [name for one in field.metadata for name in names_of(one)] or _choices(field.annotation)
    if len(choices) > 1:
        text += f" [{' | '.join(choices)}]"
    lines = textwrap.wrap(text, _WIDTH - indent, initial_indent=f"{pad}# ", subsequent_indent=f"{pad}# ")
    value = example if example is not PydanticUndefined else field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return []
    sections = _sections(field, value)
    if sections is not None:
        if isinstance(sections, list):
            lines.append(f"{pad}{name}:")
            for section, entry in sections:
                body = _body(section, entry, indent + 4)
                first = next(i for i, line in enumerate(body) if not line.lstrip().startswith("#"))
                lines += [line[2:] if line.startswith("  ") else line for line in body[:first]]
                lines.append(f"{pad}  - {body[first].lstrip()}")
                lines += body[first + 1 :]
        else:
            section, entry = sections
            lines.append(f"{pad}{name}:")
            lines += _body(section, entry, indent + 2)
    else:
        lines.append(f"{pad}{name}: {inline(value)}")
    if indent == 0:
        lines.append("")
    return lines


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


@cache
def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return what stands below each setting of a model or of those it extends.

    pydantic can keep it on the fields; it then reads every model's source whenever a recipe is read.
    """
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if not issubclass(one, BaseModel) or one is BaseModel:
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        for field, text in pairwise([*getattr(body, "body", ()), None]):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                    found[name] = inspect.cleandoc(said)
    return found


def _body(model: type[BaseModel], entry: dict[str, Any], indent: int) -> list[str]:
    lines: list[str] = []
    first = [name for name in ("name", "family", "codec", "decoder") if name in model.model_fields]
    for name in [*first, *[name for name in model.model_fields if name not in first]]:
        lines += _field(model, name, entry.get(name, PydanticUndefined), indent)
    return lines


def _sections(field: FieldInfo, value: Any) -> Any:
    """Return (model, values) for a section, a list of them for a list of sections, else None."""
    if isinstance(value, BaseModel):
        return type(value), {}
    models = _models(field.annotation)
    if models and isinstance(value, dict):
        return _model_of(models, value), value
    if models and isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        return [(_model_of(models, entry), entry) for entry in value]
    return None


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the section models of a field, looking through lists, unions and optionals."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return models_behind(annotation)
    return [model for part in get_args(annotation) for model in _models(part)]


def _model_of(models: list[type[BaseModel]], values: dict[str, Any]) -> type[BaseModel]:
    """Return the model whose tag, the only value that a field can have, is that of `values`."""
    tags = {model: {name: _choices(field.annotation) for name, field in model.model_fields.items()} for model in models}
    return next(
        model
        for model in models
        if all(values.get(name, only[0]) == only[0] for name, only in tags[model].items() if len(only) == 1)
    )


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return []


def inline(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).strip()
    return text.removesuffix("...").strip()
