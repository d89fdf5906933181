"""Diagnostics of the encoders' networks, block by block, beside what their layers explain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.evaluation.bootstrap import row_weights
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.recipes.lens import DIAGNOSTICS, Lens
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.opened import Opened, OpenEncoder
from brainbench.studies.outcome import Outcome

if TYPE_CHECKING:
    from brainbench.lens import Diagnostic

NO_NETWORK = "it is no network: there is nothing to look into"
SEVERAL_NETWORKS = "it has a network for every set of people it was trained on, not one"


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
    settings : Lens
    """

    def __init__(self, opened: Opened[EncodeRecipe], settings: Lens) -> None:
        self.opened = opened
        self.settings = settings

    @cached_property
    def diagnostics(self) -> list[Diagnostic]:
        """What is computed, in the order of the recipe."""
        return [DIAGNOSTICS[name] for name in self.settings.diagnostics]

    @cached_property
    def rows(self) -> list[int]:
        """Which of the first participant's stimuli are looked at, in their own order."""
        n, rng = len(self._stimuli), np.random.default_rng([self.opened.recipe.seed, 41])
        return sorted(rng.permutation(n)[: self.settings.stimuli].tolist())

    @cached_property
    def looks(self) -> list[Look]:
        """A unit per encoder that has a network: one pass serves every diagnostic."""
        return [self._look(entry) for entry in self.opened.encoders]

    @property
    def units(self) -> list[Unit]:
        """The units of all encoders."""
        return [look.unit for look in self.looks if look.unit is not None]

    @cached_property
    def _stimuli(self) -> Any:
        return self.opened.dataset.stimuli(self.opened.subjects[0])

    def _look(self, entry: OpenEncoder) -> Look:
        from brainbench.encoders.network import NetworkEncoder
        from brainbench.lens.measure import depths, measured

        encoder = entry.encoder
        if entry.settings.shuffle:
            return Look(entry, None, "its stimuli are shuffled: the network is the same without it")
        if not isinstance(encoder, NetworkEncoder):
            return Look(entry, None, NO_NETWORK)
        if not hasattr(encoder, "network"):
            return Look(entry, None, SEVERAL_NETWORKS)

        def compute() -> dict[str, np.ndarray]:
            found = measured(encoder, self._stimuli, self.rows, self.diagnostics)
            arrays = {f"{name}/values": one.values for name, one in found.items()}
            said = {f"{name}/reasons": np.array(one.reasons, dtype=str) for name, one in found.items()}
            blocks = np.array([tap.name for tap in encoder.taps[1:]], dtype=str)
            return {**arrays, **said, "depth": depths(encoder), "blocks": blocks}

        key = {
            "encoder": encoder.digest(),
            "device": encoder.device.split(":")[0],
            "stimuli": self._stimuli.digest(),
            "rows": self.rows,
            "diagnostics": {
                one.name: [one.version, [column.name for column in one.columns]] for one in self.diagnostics
            },
        }
        return Look(entry, Unit("lens", f"{entry.name}: {', '.join(self.settings.diagnostics)}", key, compute))

    def report(self, runner: Runner, outcome: Outcome) -> None:
        """Add what the report shows: means over stimuli, with intervals that draw stimuli again."""
        outcome.findings["lens"] = {
            "stimuli": len(self.rows),
            "subject": self.opened.subjects[0],
            "diagnostics": [_described(one) for one in self.diagnostics],
            "encoders": [self._shown(look, runner) for look in self.looks],
        }

    def _shown(self, look: Look, runner: Runner) -> dict[str, Any]:
        shown: dict[str, Any] = {"encoder": look.encoder.name, "untrained": look.encoder.untrained}
        if look.unit is None:
            return shown | {"reason": look.reason, "blocks": [], "depth": [], "columns": []}
        found = runner.read([look.unit])[0]
        columns = [
            {"diagnostic": one.name, "column": column.name, "reason": str(reason), "blocks": self._over_stimuli(values)}
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
        }

    def _over_stimuli(self, values: np.ndarray) -> list[dict[str, Any] | None]:
        """Return mean, interval and number of stimuli of every block; None where no stimulus has a number.

        An interval without draws is None.
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
            drawn = weights[:, known]
            drawn = drawn[drawn.sum(axis=1) > 0]
            ends: list[float | None] = [None, None]
            if len(drawn):
                ends = np.quantile(drawn @ block[known] / drawn.sum(axis=1), [tail, 1 - tail]).tolist()
            shown.append({"value": float(block[known].mean()), "low": ends[0], "high": ends[1], "n": int(known.sum())})
        return shown


def _described(diagnostic: Diagnostic) -> dict[str, Any]:
    return {
        "name": diagnostic.name,
        "paper": diagnostic.paper,
        "formula": diagnostic.formula,
        "sites": list(diagnostic.sites),
        "caution": diagnostic.caution,
        "columns": [vars(column) for column in diagnostic.columns],
    }
