"""The catalogue of nouns: a settings model has a name in recipes, and names what builds it.

A settings model is all that reading a recipe needs, and everything else follows from it: its docstring is what `list`
prints, its fields are what a template holds, ``built_by`` is imported when a recipe runs. What is true of a noun
before it is built (`needs_root`, `has_network`, `guidable`, ...) stands on its model as well, so that no other module
keeps a list of names. A package adds a noun by an entry point that leads to its settings model.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar, Generic, TypeVar, Union

from pydantic import Field, GetCoreSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.core.registry import imported, installed
from brainbench.recipes.base import Section


class Noun(Section):
    """Settings of something that a recipe can name."""

    built_by: ClassVar[str] = ""
    """Class or function that builds it, as ``module:name``."""
    revision: ClassVar[int] = 1
    """Raised when the same settings lead to other results: a run that finished before begins anew."""


N = TypeVar("N", bound=Noun)

_CATALOGUES: dict[str, Catalogue[Any]] = {}


class Catalogue(Mapping[str, type[N]], Generic[N]):
    """The settings models of one kind of noun by name: those of the module that makes it, and those of entry points.

    Parameters
    ----------
    name : str
        What `brainbench list` calls it: ``"encoders"``.
    kind : str
        One of them, for messages: ``"encoder"``.
    base : type of Noun
        The model that all of them extend.
    module : str
        Where the built-in models stand: a module, or a package of such, in which they are found by themselves.
    tag : str
        The field that holds the name.
    section : str
        The section of a recipe that holds such settings.
    several : bool
        Whether that section is a list.
    room : str
        The highest room of the package that a builder may stand in; whatever builds one stands there or above.
    """

    def __init__(
        self, name: str, kind: str, base: type[N], *, module: str, tag: str, section: str, several: bool = False,
        room: str,
    ) -> None:  # fmt: skip
        self.name = name
        self.kind = kind
        self.tag = tag
        self.section = section
        self.several = several
        self.room = room
        self.group = f"brainbench.recipes.{name}"
        self.base = base
        self.module = module
        _CATALOGUES[name] = self

    @cached_property
    def models(self) -> dict[str, type[N]]:
        """Settings models by name; what is built in is not replaced."""
        found: dict[str, type[N]] = {}
        for entry in [entry for module in _modules(self.module) for entry in vars(module).values()]:
            if isinstance(entry, type) and issubclass(entry, self.base) and (name := self._name(entry)) is not None:
                found[name] = entry
        for point in installed(self.group):
            model = point.load()
            name = self._name(model) if isinstance(model, type) and issubclass(model, self.base) else None
            if name is None or not model.built_by:
                raise UserError(
                    f"the entry point '{point.name}' of {self.group} leads to {point.value}: a settings model there "
                    f"extends {self.module}.{self.base.__name__}, gives its {self.kind} a name "
                    f"(`{self.tag}: Literal['...'] = '...'`) and says what builds it (`built_by = 'module:name'`)"
                )
            found.setdefault(name, model)
        return found

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of ``Annotated[base, catalogue]``: any of the models, told apart by the name.

        It is asked for when a recipe is first read, so that a package may import what it extends in any order.
        """
        union: Any = Union[tuple(self.models.values())]  # noqa: UP007 (known at run time)
        return handler.generate_schema(Annotated[union, Field(discriminator=self.tag)])

    def settings(self, values: Any) -> N:
        """Return validated settings from plain values, for use from Python."""
        section: Any = Annotated[self.base, self]
        found: N = TypeAdapter(section).validate_python(values)
        return found

    def builder(self, name: str) -> Any:
        """Import and return what builds the noun of a name."""
        return imported(self[name].built_by)

    def _name(self, model: type[N]) -> str | None:
        default = model.model_fields[self.tag].default
        return default if isinstance(default, str) else None

    def __getitem__(self, name: str) -> type[N]:
        if name not in self.models:
            raise UserError(f"unknown {self.kind} {name!r}{did_you_mean(name, self)}", hint=f"known: {one_of(self)}")
        return self.models[name]

    __hash__ = object.__hash__  # a catalogue is itself alone; it stands in annotations
    __eq__ = object.__eq__

    def __contains__(self, name: object) -> bool:
        return name in self.models

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.models))

    def __len__(self) -> int:
        return len(self.models)


def _modules(name: str) -> list[ModuleType]:
    """Return a module, or those inside of it where it is a package."""
    module = import_module(name)
    inside = [f"{name}.{one.name}" for one in pkgutil.iter_modules(getattr(module, "__path__", ()))]
    return [import_module(one) for one in inside] or [module]


@cache
def catalogues() -> dict[str, Catalogue[Any]]:
    """Return every catalogue by what `brainbench list` calls it: those that the modules of this folder make."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        import_module(f"brainbench.recipes.{module.name}")
    return dict(_CATALOGUES)


def models_behind(model: type) -> list[type]:
    """Return the settings models that stand for a section's: all of a catalogue for what they extend, else itself."""
    nouns = next((one for one in catalogues().values() if one.base is model), None)
    return [model] if nouns is None else list(nouns.models.values())
