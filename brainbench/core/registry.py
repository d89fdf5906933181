"""Dictionaries filled by a decorator; third parties add an entry point."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from brainbench.core.errors import UserError, did_you_mean, one_of

T = TypeVar("T")


@cache
def _everything() -> Any:
    """Return all entry points of this environment: every installed package is looked through once."""
    return entry_points()


@cache
def installed(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group."""
    return tuple(_everything().select(group=group))


def imported(name: str) -> Any:
    """Return what ``module:name`` names."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


class Registry(Mapping[str, T], Generic[T]):
    """Named things of one kind.

    Parameters
    ----------
    kind : str
        What the entries are, for messages: ``"encoder"``.
    built_in : mapping of str to str
        Name of each built-in entry -> ``module:name``, imported when the entry is first asked for; others are entered
        by a decorator.
    entry_point_group : str, optional
        Entry points of this group are loaded when a name is asked for that is not built in.
    """

    def __init__(
        self, kind: str, built_in: Mapping[str, str] | None = None, entry_point_group: str | None = None
    ) -> None:
        self.kind = kind
        self.built_in = dict(built_in or {})
        self._group = entry_point_group
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorate a class or function to enter it under `name`."""

        def enter(entry: T) -> T:
            if name in self._entries and self._entries[name] is not entry:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return enter

    def _points(self) -> dict[str, EntryPoint]:
        return {} if self._group is None else {point.name: point for point in installed(self._group)}

    def names(self) -> list[str]:
        """Return every name, sorted; imports nothing."""
        return sorted({*self._entries, *self.built_in, *self._points()})

    def __getitem__(self, name: str) -> T:
        if name not in self._entries and name in self.built_in:
            self._entries[name] = imported(self.built_in[name])
        if name not in self._entries and name in (points := self._points()):
            self._entries[name] = points[name].load()
        if name not in self._entries:
            raise UserError(
                f"unknown {self.kind} {name!r}{did_you_mean(name, self.names())}",
                hint=f"known: {one_of(self.names())}",
            )
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self.built_in or name in self._points()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())
