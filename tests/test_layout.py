"""The house keeps its shape: no circles, no crowded rooms, no module that wants splitting."""

from __future__ import annotations

import ast
from collections import Counter
from itertools import permutations
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "brainbench"
MODULES = sorted(PACKAGE.rglob("*.py"))
LINES = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that reach each other (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in sorted(imports.get(module, ())):
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(imports):
        if module not in index:
            visit(module)
    return found


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}}) == []


@pytest.fixture(scope="module")
def graph():
    """Imports inside of functions count: they only hide a circle. Those for type checkers alone are none."""
    grimp = pytest.importorskip("grimp")
    return grimp.build_graph("brainbench", exclude_type_checking_imports=True, cache_dir=None)


def test_no_file_imports_itself_through_others(graph):
    imports = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    assert imports["brainbench.commands.run"], "the graph is empty"
    assert circles(imports) == []


def test_studies_of_different_kinds_do_not_import_each_other(graph):
    from brainbench.recipes.kinds import kinds

    models = [model for found in kinds().values() for model in found]
    studies = {".".join(model.studied_by.partition(":")[0].split(".")[:3]) for model in models}
    assert len(studies) == len(models) > 4
    for one, other in permutations(sorted(studies), 2):
        chain = graph.find_shortest_chain(importer=one, imported=other, as_packages=True)
        assert chain is None, " imports ".join(chain or ())


def test_no_folder_is_crowded():
    counts = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    assert {str(folder): n for folder, n in counts.items() if n > 15} == {}


def test_no_module_wants_splitting():
    assert {str(path): n for path, n in LINES.items() if n > 500} == {}


def test_no_package_is_the_house():
    """Rooms count with everything below them."""
    shares: Counter[str] = Counter()
    for path, n in LINES.items():
        shares[path.relative_to(PACKAGE).parts[0]] += n
    total = sum(shares.values())
    assert {room: n / total for room, n in shares.items() if n > 0.2 * total} == {}


def test_nobody_asks_of_which_kind_a_recipe_is():
    """A kind answers through its study; only `Recipe.of` and the command line may ask."""
    from brainbench.recipes.kinds import Recipe, kinds

    models = {model.__name__ for found in kinds().values() for model in found} | {Recipe.__name__}
    asked = []
    for path in MODULES:
        if path.is_relative_to(PACKAGE / "recipes") or path.name == "cli.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance" and len(node.args) == 2:
                names = {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
                if names & models:
                    asked.append(f"{path}:{node.lineno}")
    assert asked == []
