"""Reads recipes: safe YAML that remembers where every key stands, and all problems at once.

The YAML is composed into nodes first, so that every value has a line and a column; pydantic's error locations
are then translated into those places.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from brainbench.core.errors import Problem, RecipeError, UserError, did_you_mean, one_of
from brainbench.recipes.catalogue import Catalogue, catalogues
from brainbench.recipes.kinds import Recipe, kinds
from brainbench.recipes.presets import with_preset

Path_ = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """Safe YAML 1.1 in which ``1e5`` is a number and ``on``/``yes`` are words, as in YAML 1.2."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, regexp)
        for tag, regexp in resolvers
        if tag not in ("tag:yaml.org,2002:float", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


_Loader.yaml_implicit_resolvers["0"] = [
    # `01` is a name: YAML 1.1 takes it for an octal number, 1.2 for 1, and subjects are called so.
    ("tag:yaml.org,2002:str", re.compile(r"^0[0-9]+$")),
    *_Loader.yaml_implicit_resolvers["0"],
]


class _Document:
    """Plain values with the place of each."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.marks: dict[Path_, tuple[int, int]] = {(): (1, 1)}
        self.problems: list[Problem] = []
        self.overridden: list[Path_] = []

    def place(self, path: Path_) -> tuple[int, int]:
        """Return line and column of `path`, or of its nearest parent that stands in the file."""
        while path not in self.marks:
            path = path[:-1]
        return self.marks[path]

    def problem(self, path: Path_, message: str) -> None:
        line, column = self.place(path)
        if any(path[: len(prefix)] == prefix for prefix in self.overridden):
            message += " (from --set)"
        self.problems.append(Problem(line, column, key_path(path), message))

    def build(self, node: yaml.Node, path: Path_, loader: _Loader) -> Any:
        """Return the plain value of a node, remembering places and refusing keys given twice."""
        if isinstance(node, yaml.MappingNode):
            values: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key = str(key_node.value)
                here = (*path, key)
                if key in values:
                    mark = key_node.start_mark
                    first = self.marks[here][0]
                    self.problems.append(
                        Problem(
                            mark.line + 1,
                            mark.column + 1,
                            key_path(here),
                            f"given twice (first in line {first})",
                        )
                    )
                    continue
                self.marks[here] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
                values[key] = self.build(value_node, here, loader)
            return values
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                here = (*path, index)
                self.marks[here] = (item.start_mark.line + 1, item.start_mark.column + 1)
                items.append(self.build(item, here, loader))
            return items
        try:
            return loader.construct_object(node, deep=True)
        except yaml.constructor.ConstructorError as error:
            self.problem(path, f"tag {node.tag} is not allowed: recipes hold plain values ({error.problem})")
        except ValueError as error:
            self.problem(path, f"'{node.value}' cannot be read: {error}")
        return None


def key_path(path: Sequence[str | int]) -> str:
    """Return ``encoders[0].model`` for ``("encoders", 0, "model")``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "(recipe)"


Given = str | os.PathLike[str] | Mapping[str, Any]
"""How a recipe is given: a YAML file, the name of an installed recipe, or its keys and values."""
Overrides = Iterable[str] | Mapping[str, Any]
"""Settings that replace or add values: ``a.b=c``, or ``{"a.b": c}``."""


def read_recipe(path: Given, overrides: Overrides = ()) -> Recipe:
    """Read and validate a recipe.

    Parameters
    ----------
    path : path-like or mapping
        A YAML file, the name of a recipe that brainbench installs (``quickstart``), or what stands in such a file.
    overrides : iterable of str, or mapping
        ``a.b=c`` settings that replace or add values, validated like the file; or ``{"a.b": c}``, where a mapping of
        its own replaces single settings (``{"a": {"b": c}}`` is the same).

    Raises
    ------
    RecipeError
        With every problem at once, each at its line and column.
    """
    overrides = list(spelled(overrides)) if isinstance(overrides, Mapping) else overrides
    if isinstance(path, Mapping):
        return parse_recipe(yaml.safe_dump(_plain_values(path), sort_keys=False, width=10_000), "recipe", overrides)
    file = find_recipe(path)
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 text (byte {error.start}): a recipe is a YAML text file") from None
    return parse_recipe(text, str(file), overrides)


def spelled(overrides: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """Yield the overrides of a mapping as they are written on the command line, a setting each."""
    for key, value in overrides.items():
        name = f"{place}.{key}" if place else str(key)
        if isinstance(value, Mapping) and value:
            yield from spelled(value, name)
        else:
            yield f"{name}={json.dumps(_plain_values(value))}"


def _plain_values(value: Any) -> Any:
    """Return what YAML and JSON hold of Python's own: tuples are lists, NumPy's numbers numbers, paths text."""
    if isinstance(value, Mapping):
        return {str(key): _plain_values(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | range):
        return [_plain_values(one) for one in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise UserError(f"a recipe holds numbers, texts, lists and mappings; a {type(value).__name__} came: {value!r:.80}")


def find_recipe(path: str | os.PathLike[str]) -> Path:
    """Return the file of a recipe given by path or by the name of an installed one."""
    from brainbench.core.share import share_folder

    file = Path(path)
    if file.is_file():
        return file
    if file.is_dir():
        raise UserError(f"{file} is a folder; a recipe is a YAML file")
    installed = {p.stem: p for p in sorted(share_folder("recipes").glob("*.yaml"))}
    if str(path) in installed:
        return installed[str(path)]
    siblings = [str(p) for p in sorted(file.parent.glob("*.y*ml"))] if file.parent.is_dir() else []
    raise UserError(
        f"recipe {path} does not exist{did_you_mean(str(path), [*siblings, *installed])}",
        hint=f"installed recipes: {one_of(installed)} (`brainbench list recipes`)",
    )


def parse_recipe(text: str, source: str, overrides: Iterable[str] = ()) -> Recipe:
    """Validate the text of a recipe; `source` names it in messages."""
    document = _Document(source)
    values = _plain(text, document)
    for override in overrides:
        _apply(values, override, document)
    if document.problems:
        raise RecipeError(source, document.problems)
    values = with_preset(values)
    model = _choose_model(values, document)
    _check_tags(values, document)
    if model is None:
        raise RecipeError(source, document.problems)
    try:
        recipe = model.model_validate(values)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _translate(detail, values, model, document)
        raise RecipeError(source, document.problems) from None
    if document.problems:
        raise RecipeError(source, document.problems)
    return recipe


def _choose_model(values: dict[str, Any], document: _Document) -> type[Recipe] | None:
    """Return the model of a recipe, by its ``kind`` and by the section that tells models of one kind apart."""
    _check_tag(values, (), "kind", kinds(), document)
    models = kinds().get(str(values.get("kind")), ())
    told = {model: model.told_by for model in models if model.told_by is not None}
    if not told:
        return models[0] if models else None
    given = [model for model, by in told.items() if values.get(by.section)]
    if len(given) != 1:
        document.problem((), "give either " + " or ".join(f"`{by.section}` ({by.reads})" for by in told.values()))
        return None
    for other in models:
        if other is not given[0]:
            _drop_sections(values, other, given[0], document)
    return given[0]


def _drop_sections(values: dict[str, Any], other: type[Recipe], model: type[Recipe], document: _Document) -> None:
    """Take sections of another model of the same kind where they say nothing, and refuse them where they do."""
    assert other.told_by is not None and model.told_by is not None
    for name in [name for name in values if name in other.model_fields and name not in model.model_fields]:
        value = values.pop(name)
        if value and not _is_default(value, other.model_fields[name]):
            message = f"`{name}` is for `{other.told_by.section}`; with `{model.told_by.section}` "
            document.problem((name,), message + model.told_by.instead)


def _is_default(value: Any, field: FieldInfo) -> bool:
    try:
        read = TypeAdapter[Any](field.annotation or Any).validate_python(value)
    except ValidationError:
        return False
    return bool(read == field.get_default(call_default_factory=True))


def _plain(text: str, document: _Document) -> Any:
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise RecipeError(document.source, [Problem(1, 1, "(recipe)", "the file is empty")])
        values = document.build(node, (), loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if error.context_mark and "end of stream" in str(error.problem):
            mark = error.context_mark  # what was opened and never closed, not the end of the file
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        text_ = " ".join(part for part in (error.problem, error.context) if part)
        raise RecipeError(document.source, [Problem(line, column, "(YAML)", text_)]) from None
    except yaml.reader.ReaderError as error:
        line, column = text.count("\n", 0, error.position) + 1, error.position - text.rfind("\n", 0, error.position)
        problem = Problem(line, column, "(YAML)", f"the character U+{ord(text[error.position]):04X} is not allowed")
        raise RecipeError(document.source, [problem]) from None
    except RecursionError:
        raise RecipeError(document.source, [Problem(1, 1, "(YAML)", "nested too deeply")]) from None
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(values, dict):
        raise RecipeError(document.source, [Problem(1, 1, "(recipe)", "a recipe is a mapping of keys to values")])
    return values


def _apply(values: Any, override: str, document: _Document) -> None:
    """Set ``a.b[0].c=value`` in place; the value is YAML."""
    key, equals, raw = override.partition("=")
    parts: list[str | int] = []
    for part in re.findall(r"[^.\[\]]+", key):
        parts.append(int(part) if part.isdigit() else part)
    if not equals or not parts:
        raise UserError(f"--set {override}: write it as key.path=value, for example --set seed=1")
    try:
        value = plain_value(raw)
    except yaml.YAMLError:
        raise UserError(f"--set {override}: the value is not YAML") from None
    document.overridden.append(tuple(parts))
    place = values
    for depth, part in enumerate(parts[:-1]):
        if isinstance(place, list) and isinstance(part, int) and part < len(place):
            place = place[part]
        elif isinstance(place, dict) and not isinstance(part, int):
            if place.get(part) is None:
                place[part] = {}
            place = place[part]
        else:
            raise UserError(f"--set {override}: there is no '{key_path(parts[: depth + 1])}' in {document.source}")
    last = parts[-1]
    if isinstance(place, list) and isinstance(last, int) and last < len(place):
        place[last] = value
    elif isinstance(place, dict) and not isinstance(last, int):
        place[last] = value
    else:
        raise UserError(f"--set {override}: '{key_path(parts)}' cannot be set in {document.source}")


def plain_value(text: str) -> Any:
    """Return the value that a text stands for in a recipe, as ``--set`` takes it; nothing is null."""
    return yaml.load(text, Loader=_Loader) if text else None


def _check_tags(values: dict[str, Any], document: _Document) -> None:
    """Say what is wrong with ``dataset.name``, ``family`` and their like with the nearest valid choice."""
    for nouns in catalogues().values():
        section = values.get(nouns.section)
        if not nouns.several:
            entries: list[tuple[Path_, Any]] = [((nouns.section,), section)]
        else:
            several = section if isinstance(section, list) else []
            entries = [((nouns.section, index), entry) for index, entry in enumerate(several)]
        for path, entry in entries:
            if isinstance(entry, dict):
                _check_tag(entry, path, nouns.tag, nouns, document)
                inner = entry.get("decoder")
                if nouns.section == "encoders" and isinstance(inner, dict):
                    decoders = _nouns_of("pipelines")
                    assert decoders is not None
                    _check_tag(inner, (*path, "decoder"), decoders.tag, decoders, document)


def _nouns_of(section: str) -> Catalogue[Any] | None:
    """Return the catalogue whose settings a section of a recipe holds, or None."""
    return next((nouns for nouns in catalogues().values() if nouns.section == section), None)


def _check_tag(values: dict[str, Any], path: Path_, tag: str, choices: Iterable[str], document: _Document) -> None:
    known = list(choices)
    if tag not in values:
        near = [key for key in values if did_you_mean(key, [tag])]
        hint = f"; did you mean '{tag}' for '{near[0]}'?" if near else ""
        document.problem(path, f"'{tag}' is missing: one of {one_of(known)}{hint}")
    elif values[tag] not in known:
        document.problem(
            (*path, tag), f"{values[tag]!r} is not one of {one_of(known)}{did_you_mean(values[tag], known)}"
        )


def _translate(detail: ErrorDetails, values: Any, recipe: type[Recipe], document: _Document) -> None:
    """Turn one pydantic error into a problem at its place in the file."""
    path, model = _resolve(detail["loc"], values, recipe)
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return  # said by _check_tags, with the nearest choice
    if kind == "extra_forbidden":
        fields = list(model.model_fields) if model is not None else []
        near = did_you_mean(str(path[-1]), fields)
        allowed = f" (allowed: {', '.join(fields)})" if fields and not near else ""
        message = f"unknown key{near}{allowed}"
    elif kind == "missing":
        message = "is missing"
    elif kind == "literal_error":
        value = detail["input"]
        message = f"{value!r} is not one of {context['expected']}"
        choices = re.findall(r"'([^']*)'", str(context["expected"]))
        message += did_you_mean(str(value), choices)
    elif kind == "value_error":
        message = str(context["error"])
    else:
        text = detail["msg"]
        text = text[0].lower() + text[1:]
        message = f"{text}, got {_short(detail['input'])}"
    document.problem(path, message)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _resolve(loc: Sequence[str | int], values: Any, recipe: type[Recipe]) -> tuple[Path_, Any]:
    """Drop the tags pydantic puts into a location, and return the path and the model at its parent."""
    parts = list(loc)
    path: list[str | int] = []
    here = values
    parent: Any = recipe
    while parts:
        part = parts.pop(0)
        nouns = _nouns_of(str(path[0])) if path else None
        at_union = nouns is not None and len(path) == (2 if nouns.several else 1)
        if len(path) == 3 and path[0] == "encoders" and path[2] == "decoder":
            nouns, at_union = _nouns_of("pipelines"), True
        if at_union and nouns is not None and isinstance(here, dict) and part == here.get(nouns.tag):
            if part in nouns:
                parent = nouns[str(part)]
                continue
        if isinstance(here, dict) and part not in here and part not in getattr(parent, "model_fields", {}) and parts:
            continue  # the name of a union member such as "list[str]"
        if isinstance(here, (str, int, float, bool)) or here is None:
            break  # a location inside a union of plain types
        path.append(part)
        here = _at(here, (part,), None)
        if parts:
            parent = _child(parent, part)
    return tuple(path), parent


def _child(model: Any, part: str | int) -> Any:
    """Return the section model of a field, looking through lists and optionals."""
    if isinstance(part, int) or model is None:
        return model
    field = model.model_fields.get(part)
    if field is None:
        return None
    pending = [field.annotation]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
            return annotation
        pending.extend(get_args(annotation))
    return None


def _at(values: Any, path: Sequence[str | int], default: Any) -> Any:
    for part in path:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return default
    return values
