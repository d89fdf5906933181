"""Leave two stimuli out: whether features generalise to stimuli that training never saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.evaluation.zero_shot import leave_two_out_2v2
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.encode.encode import Case
from brainbench.studies.opened import Opened
from brainbench.studies.outcome import ALL, Outcome

SCHEME = "leave-two-stimuli-out"
"""The ``scheme`` of its scores."""


def test_unseen(opened: Opened, runner: Runner, outcome: Outcome, cases: Sequence[Case]) -> None:
    """Add the 2 vs 2 accuracy of every layer, with its refitted shuffle null, to `outcome`."""
    recipe = opened.recipe
    assert isinstance(recipe, EncodeRecipe) and recipe.zero_shot is not None
    main = recipe.schemes[0].label
    plans = []
    for case in cases:
        if case.rows.scheme.label != main or case.rows.continuous is not None:
            continue
        for entry in opened.encoders:
            for layer in entry.layers:
                for roi, mask in case.responses.rois.items():
                    unit = _unit(recipe, case, entry.name, layer.name, roi, np.asarray(mask))
                    plans.append((case, entry, layer, roi, unit))
    runner.run("unseen stimuli (2 vs 2)", [plan[-1] for plan in plans])
    outcome.chance["two_vs_two"] = 0.5
    for case, entry, layer, roi, unit in plans:
        found = runner.read([unit])[0]
        outcome.add(
            subject=case.rows.subject, scheme=SCHEME, encoder=entry.name, role=entry.settings.role, layer=layer.name,
            depth=layer.depth, roi=roi, fold=ALL, metric="two_vs_two", value=float(found["accuracy"]),
            p=float(found["p"]), null_95=float(found["null_95"]), n_targets=int(np.sum(case.responses.rois[roi])),
            n_rows=len(case.rows),
        )  # fmt: skip


def _unit(recipe: EncodeRecipe, case: Case, encoder: str, layer: str, roi: str, mask: np.ndarray) -> Unit:
    assert recipe.zero_shot is not None
    n_shuffles = recipe.zero_shot.n_shuffles
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
        }

    key = {
        "rows": case.rows.digest,
        "features": case.features.digest(encoder, layer),
        "roi": digest_array(mask),
        "alphas": alphas.tolist(),
        "n_shuffles": n_shuffles,
        "seed": recipe.seed,
    }
    return Unit("zero_shot", f"{case.rows.subject}, {encoder}.{layer}, {roi}", key, compute)
