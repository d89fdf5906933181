"""What recipes ask of networks themselves: diagnostics, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.data.base import Stimuli
from brainbench.evaluation.bootstrap import row_weights
from brainbench.recipes.kinds import Recipe
from brainbench.recipes.lens import DIAGNOSTICS, Inside
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.base import distinct_stimuli
from brainbench.studies.opened import Opened, OpenEncoder
from brainbench.studies.outcome import Outcome

if TYPE_CHECKING:
    from brainbench.lens import Column, Diagnostic
    from brainbench.lens.base import Looked

STRETCHES = 10
"""Stretches of a story that are never split between training and test of a label."""
NO_NETWORK = "it is no network: there is nothing to look into"


@dataclass(frozen=True)
class Look:
    """One encoder's diagnostics: its unit, or why it has none."""

    encoder: OpenEncoder
    unit: Unit | None
    reason: str = ""


class LensStudy:
    """The `lens` section of a recipe: what is computed of which encoder, and what the report shows of it.

    Parameters
    ----------
    opened : Opened
    settings : Inside
    """

    def __init__(self, opened: Opened[Recipe], settings: Inside) -> None:
        self.opened = opened
        self.settings = settings

    @cached_property
    def diagnostics(self) -> list[Diagnostic]:
        """What is computed, in the order of the recipe."""
        return [DIAGNOSTICS[name] for name in self.settings.diagnostics]

    @cached_property
    def shown(self) -> list[tuple[Stimuli, list[int]]]:
        """What is looked at: a draw of what any participant was shown, in its own order.

        What several were shown counts once; words of a story are others in another context.
        """
        sets = distinct_stimuli(self.opened)
        seen: set[str] = set()
        every: list[tuple[int, int]] = []
        for number, stimuli in enumerate(sets):
            for row, content in enumerate(stimuli.content_digests):
                if stimuli.modality == "word" or content not in seen:
                    every.append((number, row))
                    seen.add(content)
        rng = np.random.default_rng([self.opened.recipe.seed, 41])
        drawn = sorted(every[i] for i in rng.permutation(len(every))[: self.settings.stimuli])
        return [(one, [row for of, row in drawn if of == number]) for number, one in enumerate(sets)]

    @property
    def n_stimuli(self) -> int:
        """How many stimuli are looked at."""
        return sum(len(rows) for _, rows in self.shown)

    def _known(self, entry: OpenEncoder) -> Looked:
        """Return labels, stretches of a story that belong together, and the words that are looked for."""
        from brainbench.lens.base import Looked

        labels, name = None, self.settings.labels
        if name is not None:
            for stimuli, _ in self.shown:
                if name not in stimuli.labels:
                    raise UserError(
                        f"lens.labels: '{name}' is no label of the stimuli{did_you_mean(name, stimuli.labels)}",
                        hint=f"labels: {one_of(sorted(stimuli.labels)) or 'none'}",
                    )
            labels = np.concatenate([np.asarray(one.labels[name], dtype=str)[rows] for one, rows in self.shown])
        runs = None
        if any(stimuli.modality == "word" for stimuli, _ in self.shown):
            runs = np.concatenate(
                [np.arange(len(rows)) * STRETCHES // max(len(rows), 1) + STRETCHES * of
                 for of, (_, rows) in enumerate(self.shown)]
            )  # fmt: skip
        return Looked(labels, runs, _indices(entry.encoder, self.settings.words), seed=self.opened.recipe.seed)

    @cached_property
    def looks(self) -> list[Look]:
        """A unit per encoder that has a network: one pass serves every diagnostic."""
        return [self._look(entry) for entry in self.opened.encoders]

    @property
    def units(self) -> list[Unit]:
        """The units of all encoders."""
        return [look.unit for look in self.looks if look.unit is not None]

    def _look(self, entry: OpenEncoder) -> Look:
        from brainbench.encoders.network import NetworkEncoder
        from brainbench.lens.measure import depths, measured

        encoder = entry.encoder
        if entry.settings.shuffle:
            return Look(entry, None, "its stimuli are shuffled: the network is the same without it")
        if not isinstance(encoder, NetworkEncoder):
            return Look(entry, None, NO_NETWORK)

        known = self._known(entry)

        def compute() -> dict[str, np.ndarray]:
            found = measured(encoder, self.shown, self.diagnostics, known)
            arrays = {f"{name}/values": one.values for name, one in found.items()}
            said = {f"{name}/reasons": np.array(one.reasons, dtype=str) for name, one in found.items()}
            blocks = np.array([tap.name for tap in encoder.stream[1:]], dtype=str)
            return {**arrays, **said, "depth": depths(encoder), "blocks": blocks}

        key = {
            "encoder": encoder.digest(),
            "device": encoder.device.split(":")[0],
            "stimuli": [[stimuli.digest(), rows] for stimuli, rows in self.shown],
            "labels": None if known.labels is None else digest_array(known.labels),
            "group": list(known.group),
            "seed": known.seed,
            "diagnostics": {
                one.name: [one.version, [column.name for column in one.columns]] for one in self.diagnostics
            },
        }
        return Look(entry, Unit("lens", f"{entry.name}: {', '.join(self.settings.diagnostics)}", key, compute))

    def report(self, runner: Runner, outcome: Outcome) -> None:
        """Add what the report shows: means over stimuli, with intervals that draw stimuli again."""
        outcome.findings["lens"] = {
            "stimuli": self.n_stimuli,
            "people": len(self.opened.subjects) if self.opened.dataset.measured else 0,
            "diagnostics": [_described(one) for one in self.diagnostics],
            "encoders": [self._shown(look, runner) for look in self.looks],
        }

    def _shown(self, look: Look, runner: Runner) -> dict[str, Any]:
        shown: dict[str, Any] = {"encoder": look.encoder.name, "untrained": look.encoder.untrained}
        if look.unit is None:
            return shown | {"reason": look.reason, "blocks": [], "depth": [], "columns": []}
        found = runner.read([look.unit])[0]
        columns: list[dict[str, Any]] = [
            {
                "diagnostic": one.name,
                "column": column.name,
                "reason": str(reason),
                "blocks": self._cells(column, values),
            }
            for one in self.diagnostics
            for column, values, reason in zip(
                one.columns, found[f"{one.name}/values"], found[f"{one.name}/reasons"], strict=True
            )
        ]
        return shown | {
            "reason": "",
            "blocks": found["blocks"].tolist(),
            "depth": [float(depth) for depth in found["depth"]],
            "columns": columns,
            "label": self._label({one["column"]: one["blocks"] for one in columns if not one["reason"]}, look),
        }

    def _label(self, columns: dict[str, list[Any]], look: Look) -> dict[str, Any] | None:
        """Return where in depth the label is read off: of a curve of means, which has no error of its own."""
        from brainbench.lens.diagnostics.content import depth90, jump

        if "concept" not in columns:
            return None
        curve, exchanged = (
            np.array([cell["value"] for cell in columns[name]]) for name in ("concept", "concept_control")
        )
        best, chance = int(curve.argmax()), 1 / len(np.unique(np.asarray(self._known(look.encoder).labels)))
        changed = jump(curve)
        return {
            "name": self.settings.labels,
            "chance": chance,
            "best": best,
            "peak": float(curve[best]),
            "exchanged": float(exchanged[best]),
            "low": columns["selectivity"][best]["low"],
            "depth90": depth90(curve, chance),
            "jump": None if np.isnan(changed) else int(changed),
        }

    def _cells(self, column: Column, values: np.ndarray) -> list[dict[str, Any] | None]:
        """Return what is said of every block over stimuli; None where no stimulus has a number.

        Means have an interval, None without draws; names (`Column.over`) have the share of stimuli with that name.
        """
        recipe = self.opened.recipe
        shown: list[dict[str, Any] | None] = []
        weights = row_weights(np.arange(values.shape[1]), n_draws=recipe.bootstrap.n_draws, seed=recipe.seed)
        tail = (1 - recipe.bootstrap.confidence) / 2
        for block in values:
            known = np.isfinite(block)
            if not known.any():
                shown.append(None)
                continue
            cell: dict[str, Any] = {"n": int(known.sum()), "low": None, "high": None, "share": None}
            if column.over == "mode":
                names, counts = np.unique(block[known], return_counts=True)
                cell |= {"value": float(names[counts.argmax()]), "share": float(counts.max() / known.sum())}
            else:
                cell["value"] = float(block[known].mean())
                drawn = weights[:, known]
                drawn = drawn[drawn.sum(axis=1) > 0]
                if len(drawn):
                    ends = np.quantile(drawn @ block[known] / drawn.sum(axis=1), [tail, 1 - tail])
                    cell |= {"low": float(ends[0]), "high": float(ends[1])}
            shown.append(cell)
        return shown


def _indices(encoder: Any, words: Sequence[str | int]) -> list[int]:
    """Return the numbers of words, or classes, in a network's readout.

    Raises
    ------
    UserError
        If a word is several tokens.
    """
    found = []
    for word in words:
        if isinstance(word, int):
            found.append(word)
            continue
        tokenizer = getattr(encoder, "tokenizer", None)
        if tokenizer is None:
            continue  # a network without words: its column says so
        tokens = tokenizer(f" {word.strip()}", add_special_tokens=False)["input_ids"]
        if len(tokens) != 1:
            raise UserError(
                f"lens.words: '{word}' is {len(tokens)} tokens of encoder '{encoder.name}', and only words of one can "
                "be looked for"
            )
        found.append(int(tokens[0]))
    return found


def _described(diagnostic: Diagnostic) -> dict[str, Any]:
    return {
        "name": diagnostic.name,
        "paper": diagnostic.paper,
        "formula": diagnostic.formula,
        "sites": list(diagnostic.sites),
        "caution": diagnostic.caution,
        "columns": [vars(column) for column in diagnostic.columns],
    }
