"""What a section of the report is, and where sections are found.

A section is two files: a module, and a template of the same name beside it. `PLACE` says where on the page it stands,
``applies(facts)`` whether a run has something for it, and ``draw(page)`` returns what the template shows. Those below
``brainbench/report/sections`` are found by themselves, a package's by the entry point ``brainbench.sections``, which
leads to the module; nothing else names a section.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from brainbench.core.errors import UserError
from brainbench.core.registry import installed
from brainbench.report import sections as folder

if TYPE_CHECKING:
    from brainbench.report.page import Page

GROUP = "brainbench.sections"
Facts = dict[str, Any]
"""``facts.json`` of a run, as `brainbench.core.facts.read_facts` returns it."""


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Parameters
    ----------
    name : str
        Of its module.
    place : float
        Sections stand in the order of their places.
    applies : callable
        From the facts to whether a run has something for it.
    draw : callable
        From the page to what the template shows by name; None where the scores hold nothing after all.
    template : Path
        HTML for jinja2, with ``heading(title)``, ``picture(figure, caption)``, ``page``, ``facts`` and what
        `draw` returned; the filters ``number``, ``probability``, ``interval`` and ``metric`` write numbers, p, pairs of
        ends and names of metrics as every page does.
    """

    name: str
    place: float
    applies: Callable[[Facts], bool]
    draw: Callable[[Page], dict[str, Any] | None]
    template: Path


@cache
def sections() -> tuple[Section, ...]:
    """Return every section in the order of the page.

    Raises
    ------
    UserError
        If an installed package's is none.
    """
    found = [_section(module) for module in _built_in()]
    for point in installed(GROUP):
        try:
            found.append(_section(point.load()))
        except (ImportError, AttributeError, TypeError) as error:
            raise UserError(
                f"the entry point '{point.name}' of {GROUP} leads to {point.value}, which is no section: {error}",
                hint="a section is a module with PLACE, applies(facts) and draw(page), and <its name>.html beside it",
            ) from error
    return tuple(sorted(found, key=lambda section: (section.place, section.name)))


def _built_in() -> Iterator[ModuleType]:
    """Yield the modules below ``sections`` that have a template; others help them."""
    for module in pkgutil.walk_packages(folder.__path__, f"{folder.__name__}."):
        if not module.ispkg and _template(found := import_module(module.name)).is_file():
            yield found


def _section(module: ModuleType) -> Section:
    if not isinstance(module, ModuleType):
        raise TypeError(f"it is a {type(module).__name__}, not a module")
    template = _template(module)
    if not template.is_file():
        raise TypeError(f"{template} is missing")
    return Section(module.__name__, float(module.PLACE), module.applies, module.draw, template)


def _template(module: ModuleType) -> Path:
    return Path(str(module.__file__)).with_suffix(".html")
