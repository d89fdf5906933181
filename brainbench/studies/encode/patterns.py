"""Scores of whole patterns of a region, from the held-out predictions of a layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from brainbench.evaluation.metrics import METRICS
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.runs.engines import Runner
from brainbench.runs.folder import RunFolder
from brainbench.runs.units import Unit
from brainbench.studies.cases.rows import GROUP, regions_digest
from brainbench.studies.encode.fits import LayerFits, gather
from brainbench.studies.outcome import ALL, Outcome

FEWEST_TARGETS = 3
"""A pattern of one value has no correlation, one of two has only two."""


def pattern_units(recipe: EncodeRecipe, folder: RunFolder, fits: Sequence[LayerFits]) -> list[tuple[LayerFits, Unit]]:
    """Return the unit that scores the patterns of every fit of a trial design."""
    if not recipe.patterns:
        return []
    return [
        (fit, _unit(recipe, folder, fit))
        for fit in fits
        if fit.case.rows.continuous is None and fit.case.rows.subject != GROUP
    ]


def _unit(recipe: EncodeRecipe, folder: RunFolder, fit: LayerFits) -> Unit:
    regions = dict(_regions(fit))

    def compute() -> dict[str, np.ndarray]:
        held_out = gather(fit, folder)
        return {
            name: np.array(
                [METRICS[name].function(held_out["y_true"][:, m], held_out["y_pred"][:, m]) for m in regions.values()]
            )
            for name in recipe.patterns
        } | {"n_rows": np.array(len(held_out["y_true"]))}

    key = {
        "fits": [unit.digest for unit in fit.units],
        "patterns": list(recipe.patterns),
        "rois": regions_digest(fit.case.responses),
    }
    return Unit("patterns", f"{fit.case.rows.subject}, patterns of {fit.encoder.name}.{fit.layer.name}", key, compute)


def _regions(fit: LayerFits) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the regions that have a pattern."""
    for name, mask in fit.case.responses.rois.items():
        if np.sum(mask) >= FEWEST_TARGETS:
            yield name, np.asarray(mask, dtype=bool)


def report_patterns(
    recipe: EncodeRecipe, runner: Runner, outcome: Outcome, planned: Sequence[tuple[LayerFits, Unit]]
) -> None:
    """Add the scores of every layer and region; nothing is tested, for rows of a fold are not independent."""
    for metric in recipe.patterns if planned else []:
        if METRICS[metric].chance:
            outcome.chance[metric] = float(METRICS[metric].chance or 0)
    for fit, unit in planned:
        found, entry, layer = runner.read([unit])[0], fit.encoder, fit.layer
        for index, (roi, mask) in enumerate(_regions(fit)):
            for metric in recipe.patterns:
                outcome.add(
                    subject=fit.case.rows.subject, scheme=fit.case.rows.scheme.label, encoder=entry.name,
                    role=entry.settings.role, layer=layer.name, depth=layer.depth, roi=roi, fold=ALL, metric=metric,
                    value=float(found[metric][index]), n_targets=int(mask.sum()), n_rows=int(found["n_rows"]),
                )  # fmt: skip
