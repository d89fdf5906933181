"""Fuzz: mutated recipes, their texts, and data folders; whatever is wrong with them must be a message.

::

    python benchmarks/fuzz.py --part texts recipes folders --n 10000 --seed 1

A case that ends in anything but a `UserError` is a crash. The seed is printed; case number k of a seed is the same
whatever ran before it, so that `--only k` repeats it.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from brainbench.core.errors import MAX_LINES, UserError  # noqa: E402
from brainbench.recipes.reader import parse_recipe  # noqa: E402
from brainbench.recipes.template import templates, write_template  # noqa: E402

MAX_CHARACTERS = 20_000
MAX_SECONDS = 10.0


@dataclass
class Tally:
    """What became of the cases of one part."""

    part: str
    ends: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return counts in one line."""
        counts = ", ".join(f"{n} {name}" for name, n in sorted(self.ends.items()))
        return f"{self.part}: {sum(self.ends.values())} cases, {counts or 'none'}; crashes {len(self.crashes)}"


Case = Callable[[], str]
"""Runs one case, and returns how it ended; a `UserError` is caught by whoever calls it."""


def run_cases(part: str, seed: int, numbers: Iterator[int] | range, make: Callable[[random.Random], Case]) -> Tally:
    """Run cases by number; each has its own generator of random numbers."""
    tally = Tally(part)
    for number in numbers:
        case = make(random.Random(f"{seed}-{part}-{number}"))
        start = time.process_time()
        problem = ""
        try:
            end = case()
        except UserError as error:
            end = "refused"
            text = str(error)
            if len(text) > MAX_CHARACTERS or text.count("\n") > MAX_LINES + 8:
                problem = f"a message of {len(text)} characters and {text.count(chr(10)) + 1} lines: {text[:200]}"
            if not all(ch.isprintable() or ch == "\n" for ch in text):
                problem = f"a message with characters that a terminal obeys: {text[:200]!r}"
        except Exception:
            end = "crashed"
            problem = traceback.format_exc(limit=-6)
        if time.process_time() - start > MAX_SECONDS:
            problem = problem or f"took {time.process_time() - start:.0f} s of CPU"
        tally.ends[end] += 1
        if problem:
            tally.crashes.append(f"{part} case {number}, seed {seed}\n{getattr(case, 'text', '')[-3000:]}\n{problem}")
    return tally


# Recipes and their texts ------------------------------------------------------------------------------------------

ODD_TEXTS = (
    "", " ", "\x00", "\x1b[31m", "\x07", "\x7f", "\u2028", "\ufeff", "\u202e", "é", "e\u0301", "𝔘", "\ud800", "'", '"',
    "{{7*7}}", "%s%n", "../../x", "~", "null", "NaN", "yes", "0x1F", "1_000", "1:30", "!!python/name:os.system",
    "a" * 5000, "[" * 200, "- " * 300, "&a *a", "<<: *x", "\t", "\r\n", "#", "|", ">-", "---", "...", "2026-11-27",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 2**31, 2**32, 2**63, 2**64, 10**40, -(10**400), 0.0, -0.0, 1e-200, 1e155, 1e308,
    1e999, -1e999, float("nan"), [], {}, [[]], [None], {"": None}, {"a": {"b": {"c": []}}}, [1, "a", None], ["a"] * 400,
    {f"k{i}": i for i in range(300)}, *ODD_TEXTS,
)  # fmt: skip


@cache
def texts() -> tuple[str, ...]:
    """Return every shipped recipe and every template."""
    return (
        *(path.read_text(encoding="utf-8") for path in sorted((ROOT / "recipes").glob("*.yaml"))),
        *map(write_template, templates()),
    )


@cache
def trees() -> tuple[Any, ...]:
    """Return the values of every shipped recipe and template."""
    return tuple(yaml.safe_load(text) for text in texts())


def parsing(text: str, overrides: list[str]) -> Case:
    """Return a case that reads a recipe, and reads what it resolves to again where it is accepted."""

    def case() -> str:
        recipe = parse_recipe(text, "fuzz.yaml", overrides)
        resolved = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
        again = parse_recipe(resolved, "resolved.yaml")
        if again.model_dump(mode="json") != recipe.model_dump(mode="json"):
            raise AssertionError("a resolved recipe reads differently")
        return "accepted"

    case.text = f"--set {overrides!r}\n{text}" if overrides else text  # type: ignore[attr-defined]
    return case


def mutated_text(rng: random.Random) -> Case:
    """Return a case of one shipped text with some characters, lines or ``--set`` values changed."""
    text = rng.choice(texts())
    keys = [line.split(":")[0].strip(" -") for line in text.split("\n") if ":" in line]
    overrides = []
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(text) + 1)
        what = rng.randrange(7)
        if what == 0:
            text = text[:at] + rng.choice(ODD_TEXTS) + text[at:]
        elif what == 1:
            text = text[:at] + text[at + rng.randrange(1, 40) :]
        elif what == 2:
            text = text[:at] + chr(rng.randrange(0x110000)) + text[at + 1 :]
        elif what == 3:
            lines = text.split("\n")
            rng.shuffle(lines[: len(lines) // 2])
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            text = "\n".join(lines)
        elif what == 4:
            text = text[:at]
        else:
            path = ".".join(rng.choice(keys) for _ in range(rng.choice((1, 2, 3)))) + rng.choice(("", "[0]", "[9].x"))
            overrides.append(f"{path}{rng.choice(('=', '=', '', '=='))}{rng.choice(ODD_VALUES)}")
    return parsing(text, overrides)


def mutated_recipe(rng: random.Random) -> Case:
    """Return a case of one shipped recipe with some values, keys or sections changed."""
    tree = deepcopy(rng.choice(trees()))
    for _ in range(rng.choice((1, 1, 2, 4))):
        places = list(_places(tree))
        parent, key = rng.choice(places)
        what = rng.randrange(6)
        if what <= 2:
            parent[key] = deepcopy(rng.choice(ODD_VALUES))
        elif what == 3 and isinstance(parent, dict):
            parent[rng.choice((str(key)[:-1], str(key) + "s", key, *ODD_TEXTS))] = parent.pop(key)
        elif what == 4:
            del parent[key]
        else:
            other, name = rng.choice(places)
            parent[key] = deepcopy(other[name])
        if not tree:
            break
    text = yaml.dump(tree, sort_keys=False, allow_unicode=rng.random() < 0.5)
    return parsing(text, [])


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        yield tree, key
        yield from _places(value)


def mutated_folder(rng: random.Random) -> Case:
    """Return a case of one data folder that was changed; see fuzz_folders.py."""
    from benchmarks.fuzz_folders import mutated_folder

    return mutated_folder(rng)


def mutated_recording(rng: random.Random) -> Case:
    """Return a case of one folder of recordings, held against MNE; see fuzz_recordings.py."""
    from benchmarks.fuzz_recordings import mutated_recording

    return mutated_recording(rng)


PARTS: dict[str, Callable[[random.Random], Case]] = {
    "texts": mutated_text,
    "recipes": mutated_recipe,
    "folders": mutated_folder,
    "recordings": mutated_recording,
}


def main() -> None:
    """Run parts and print their counts; exit code 1 where something crashed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", type=int, default=None)
    options = parser.parse_args()
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    failed = False
    for part in options.part:
        numbers = range(options.n) if options.only is None else range(options.only, options.only + 1)
        start = time.monotonic()
        tally = run_cases(part, seed, numbers, PARTS[part])
        print(f"{tally.line()}; {time.monotonic() - start:.0f} s", flush=True)
        for crash in tally.crashes[:20]:
            print(f"\n{crash}")
        failed |= bool(tally.crashes)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
