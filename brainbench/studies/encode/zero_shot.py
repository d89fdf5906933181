"""Leave two stimuli out: whether features generalise to stimuli that training never saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.evaluation.zero_shot import leave_two_out_2v2
from brainbench.recipes.kinds.encode import EncodeRecipe, ZeroShot
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.cases.case import Case
from brainbench.studies.cases.rows import GROUP
from brainbench.studies.encode.fits import Cell
from brainbench.studies.opened import Opened
from brainbench.studies.outcome import ALL, Outcome

SCHEME = "leave-two-stimuli-out"
"""The ``scheme`` of its scores."""


def unseen_cells(opened: Opened[EncodeRecipe], settings: ZeroShot, cases: Sequence[Case]) -> list[Cell]:
    """Return the unit of every layer and ROI of participants under the main scheme."""
    recipe = opened.recipe
    return [
        Cell(case, entry, layer, roi, _unit(recipe, settings, case, entry.name, layer.name, roi, np.asarray(mask)))
        for case in cases
        if case.rows.scheme.label == recipe.schemes[0].label
        and case.rows.continuous is None
        and case.rows.subject != GROUP
        for entry in opened.encoders
        for layer in entry.layers
        for roi, mask in case.responses.rois.items()
    ]


def report_unseen(runner: Runner, outcome: Outcome, cells: Sequence[Cell]) -> None:
    """Add the 2 vs 2 accuracy of every layer, with its refitted shuffle null, to `outcome`."""
    outcome.chance["two_vs_two"] = 0.5
    for cell in cells:
        found = runner.read([cell.unit])[0]
        outcome.add(
            subject=cell.case.rows.subject, scheme=SCHEME, encoder=cell.encoder.name, role=cell.encoder.settings.role,
            layer=cell.layer.name, depth=cell.layer.depth, roi=cell.roi, fold=ALL, metric="two_vs_two",
            value=float(found["accuracy"]), p=float(found["p"]), null_95=float(found["null_95"]),
            n_targets=int(np.sum(cell.case.responses.rois[cell.roi])), n_rows=len(cell.case.rows),
            test=f"features dealt to other stimuli, all fitted again ({int(found['n_shuffles'])})",
        )  # fmt: skip


def _unit(
    recipe: EncodeRecipe, settings: ZeroShot, case: Case, encoder: str, layer: str, roi: str, mask: np.ndarray
) -> Unit:
    n_shuffles = settings.n_shuffles
    low, high = recipe.head.log10_alphas
    alphas = np.logspace(low, high, recipe.head.n_alphas)

    def compute() -> dict[str, np.ndarray]:
        features = case.features.rows(encoder, layer)[case.rows.first]
        _, first, stimulus = np.unique(case.rows.stimulus, return_index=True, return_inverse=True)
        found = leave_two_out_2v2(
            features[first], case.rows.Y[:, mask], stimulus, case.rows.run, alphas=alphas, n_shuffles=n_shuffles,
            seed=recipe.seed,
        )  # fmt: skip
        return {
            "accuracy": np.array(found.accuracy),
            "p": np.array(found.p),
            "null_95": np.array(found.null_95),
            "n_shuffles": np.array(n_shuffles),
        }

    key = {
        "rows": case.rows.digest,
        "features": case.features.digest(encoder, layer),
        "roi": digest_array(mask),
        "alphas": alphas.tolist(),
        "n_shuffles": n_shuffles,
        "exchange": "rows",
        "seed": recipe.seed,
    }
    return Unit("zero_shot", f"{case.rows.subject}, {encoder}.{layer}, {roi}", key, compute)
