"""Sweeps in full: everything that can be changed is changed, one at a time, and a cached result must equal a fresh one.

``--part files [--only LOADER ...]`` changes every column of every file of every loader and looks at what is read;
``--part scores [--only RECIPE ...]`` takes the same changes from file to score, for the recipes of `RECIPES`.
``--part settings [--only RECIPE ...]`` changes every setting of every shipped recipe, at reduced sizes; those on real
recordings read small data of the same form that is written for the sweep, or the recordings themselves where
BRAINBENCH_DATA names the folder that holds them.
Prints a line for each change that went wrong, and counts; exits 1 if one did. CI turns through samples of all.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))


def files(only: Sequence[str] | None) -> int:
    """Change every file of every loader; return how many changes went wrong."""
    from tests.sweeps.files import sweep
    from tests.sweeps.loaders import LOADERS

    def change_all(name: str, work: Path) -> list[Any]:
        LOADERS[name].write(work / "original")
        return sweep(LOADERS[name], work / "original", work, lambda found: found)

    return _each(only or list(LOADERS), change_all)


def scores(only: Sequence[str] | None) -> int:
    """Run recipes after every change of their files; return how many results were not those of a fresh run."""
    from tests.sweeps.files import changes, rerun
    from tests.sweeps.loaders import LOADERS, RECIPES

    def run_all(name: str, work: Path) -> list[Any]:
        loader = LOADERS[name.partition(",")[0]]
        loader.write(work / "original")
        found = changes(work / "original", loader.open(work / "original", None))
        return rerun(RECIPES[name], work / "original", work, found)

    return _each(only or list(RECIPES), run_all)


def _each(names: Sequence[str], verdicts_of: Callable[[str, Path], list[Any]]) -> int:
    wrong = 0
    for name in names:
        with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
            verdicts = verdicts_of(name, Path(folder))
        for verdict in verdicts:
            if not verdict.right:
                print(f"WRONG  {name}: {verdict.change}: {verdict.outcome}")
                wrong += 1
        counts = Counter(verdict.outcome for verdict in verdicts if verdict.right)
        print(f"{name}: {len(verdicts)} changes,", ", ".join(f"{n} {what}" for what, n in counts.items()), flush=True)
    return wrong


def settings(only: list[str] | None) -> int:
    """Change every setting of every shipped recipe; return how many changes went wrong."""
    from tests.sweeps.settings import REDUCED, ROOTS, compare, places, reduced, setting
    from tests.sweeps.small_data import NETWORKS, SMALL_DATA

    # A run goes by this variable too: what is read must stand in the recipe.
    data = os.environ.pop("BRAINBENCH_DATA", None)
    wrong = 0
    for name in REDUCED:
        if only and name not in only:
            continue
        outcomes: Counter[str] = Counter()
        with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
            root = Path(data or folder)
            if name in ROOTS and data is None:
                SMALL_DATA[ROOTS[name]](root / ROOTS[name])
            if name in NETWORKS:
                NETWORKS[name](Path(folder) / "networks")
            values = reduced(name, root, Path(folder) / "networks")
            found = [setting(values, *place) for place in places(name, values)]
            for verdict in compare(values, [one for one in found if one is not None], Path(folder)):
                outcomes[verdict.outcome if verdict.right else "wrong"] += 1
                if verdict.outcome != "changed":
                    word = verdict.outcome if verdict.right else "WRONG"
                    said = verdict.outcome if word in ("WRONG", "same") else verdict.said
                    print(f"{word:<8}{name}: {verdict.name}: {said}", flush=True)
        wrong += outcomes["wrong"]
        counts = ", ".join(f"{n} {what}" for what, n in outcomes.items())
        place = "small data written for it" if data is None else data
        print(
            f"{name}{f' on {place}' if name in ROOTS else ''}: {len(found)} settings, "
            f"{found.count(None)} with one value only; {counts}",
            flush=True,
        )
    return wrong


PARTS = {"files": files, "scores": scores, "settings": settings}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--only", nargs="*", help="names of loaders or recipes")
    arguments = parser.parse_args()
    sys.exit(1 if PARTS[arguments.part](arguments.only) else 0)
