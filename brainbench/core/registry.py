"""Dictionaries filled by a decorator; third parties add an entry point."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from brainbench.core.errors import UserError, did_you_mean, one_of

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Named things of one kind.

    Parameters
    ----------
    kind : str
        What the entries are, for messages: ``"encoder"``.
    modules : tuple of str
        Modules that register the built-in entries; imported at the first look-up.
    entry_point_group : str, optional
        Entry points of this group are loaded when a name is asked for that is not built in.
    """

    def __init__(
        self, kind: str, modules: tuple[str, ...] = (), entry_point_group: str | None = None
    ) -> None:
        self.kind = kind
        self._modules = modules
        self._group = entry_point_group
        self._entries: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorate a class or function to enter it under `name`."""

        def enter(entry: T) -> T:
            if name in self._entries and self._entries[name] is not entry:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return enter

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        for module in self._modules:
            import_module(module)
        if self._group is not None:
            for point in entry_points(group=self._group):
                self._entries.setdefault(point.name, point.load())

    def names(self) -> list[str]:
        """Return every name, sorted."""
        self._load()
        return sorted(self._entries)

    def __getitem__(self, name: str) -> T:
        self._load()
        try:
            return self._entries[name]
        except KeyError:
            raise UserError(
                f"unknown {self.kind} {name!r}{did_you_mean(name, self._entries)}",
                hint=f"known: {one_of(self._entries)}",
            ) from None

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        self._load()
        return len(self._entries)
