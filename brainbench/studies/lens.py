"""``kind: lens``: diagnostics of networks, and nothing of a brain."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar

from brainbench.data.layouts.shown import NOBODY
from brainbench.recipes.kinds.lens import LensRecipe
from brainbench.studies.base import Stage, Study
from brainbench.studies.inside import LensStudy
from brainbench.studies.memory import BASE_MB, BATCH_MB, TORCH_MB, jobs_of, network_mb
from brainbench.studies.outcome import ALL, Outcome
from brainbench.studies.words import joined, number


class LensOnly(Study[LensRecipe]):
    """One pass of every network over a draw of the stimuli."""

    recipe_model: ClassVar = LensRecipe
    lead = ""

    @cached_property
    def lens(self) -> LensStudy:
        """The diagnostics."""
        return LensStudy(self.opened, self.recipe.lens)

    def stages(self) -> Iterator[Stage]:
        """Yield the one stage."""
        yield Stage("lens", self.lens.units)

    def gather(self, outcome: Outcome) -> None:
        """Add what the page shows, and a row of the table for every number."""
        self.lens.report(self.runner, outcome)
        for entry, look in zip(outcome.findings["lens"]["encoders"], self.lens.looks, strict=True):
            for column in entry["columns"]:
                for block, depth, cell in zip(entry["blocks"], entry["depth"], column["blocks"], strict=False):
                    if cell is not None:
                        outcome.add(
                            subject=NOBODY, encoder=entry["encoder"], role=look.encoder.settings.role, layer=block,
                            depth=depth, fold=ALL, metric=column["column"], value=cell["value"], n_rows=cell["n"],
                            ci_low=cell["low"], ci_high=cell["high"],
                        )  # fmt: skip

    def title_of(self, metric: str) -> str:
        """Return what a column is called."""
        titles = {
            column.name: f"{column.axis}, {column.title}" for one in self.lens.diagnostics for column in one.columns
        }
        return titles.get(metric) or super().title_of(metric)

    def question(self) -> str:
        """Return what is looked at."""
        names = joined([look.encoder.name for look in self.lens.looks if look.unit is not None])
        return f"What do the blocks of {names} do with {self.lens.n_stimuli} stimuli?"

    def claims(self, outcome: Outcome) -> list[str]:
        """Return in which block of every network the first number of every diagnostic is largest."""
        said = []
        for entry in outcome.findings["lens"]["encoders"]:
            seen, largest = set(), []
            for column in entry["columns"]:
                values = {k: cell["value"] for k, cell in enumerate(column["blocks"]) if cell is not None}
                if values and column["diagnostic"] not in seen:
                    seen.add(column["diagnostic"])
                    block = max(values, key=lambda k: values[k])
                    largest.append(f"{column['column']} in block {block} ({number(values[block])})")
            n = len(entry["blocks"])
            if largest:
                said.append(f"{entry['encoder']}, of {n} blocks from 0: largest are {joined(largest)}.")
            else:
                said.append(f"{entry['encoder']}: {entry['reason'] or 'nothing can be seen of it'}.")
        return said

    def memory(self) -> dict[str, float]:
        """Estimate networks and a batch."""
        networks = [entry for entry in self.opened.encoders if entry.settings.has_network]
        return {
            "libraries": BASE_MB + TORCH_MB,
            "networks": sum(network_mb(entry.encoder) for entry in networks),
            "units at once": max(1, min(jobs_of(self.recipe), len(self.lens.units))) * 2 * BATCH_MB,
        }
