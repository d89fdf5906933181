"""Leave two stimuli out: whether features generalise to stimuli that training never saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.core.errors import UserError
from brainbench.evaluation.zero_shot import FEWEST_STIMULI, bytes_of, leave_two_out_2v2
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
    """Return the unit of every layer and ROI of participants under the main scheme.

    Raises
    ------
    UserError
        If a participant saw too few stimuli, or one of them in a single run although there are several.
    """
    recipe = opened.recipe
    mine = [
        case
        for case in cases
        if case.rows.scheme.label == recipe.schemes[0].label
        and case.rows.continuous is None
        and case.rows.subject != GROUP
    ]
    for case in mine:
        _check_shown(case)
    return [
        Cell(case, entry, layer, roi, _unit(recipe, settings, case, entry.name, layer.name, roi, np.asarray(mask)))
        for case in mine
        for entry in opened.encoders
        for layer in entry.layers
        for roi, mask in case.responses.rois.items()
    ]


def unseen_megabytes(settings: ZeroShot | None, cases: Sequence[Case]) -> float:
    """Return what the largest unit holds."""
    if settings is None:
        return 0.0
    found = [
        bytes_of(
            len(np.unique(case.rows.stimulus)), len(np.unique(case.rows.run)),
            max(int(np.sum(mask)) for mask in case.responses.rois.values()), settings.n_shuffles,
        )
        for case in cases
        if case.rows.continuous is None and case.rows.subject != GROUP
    ]  # fmt: skip
    return max(found, default=0) / 1e6


def _check_shown(case: Case) -> None:
    """Refuse what two stimuli cannot be left out of; training is on the runs that are not tested."""
    rows = case.rows
    pairs = np.unique(np.stack([np.unique(one, return_inverse=True)[1] for one in (rows.stimulus, rows.run)]), axis=1)
    n_runs = np.bincount(pairs[0])
    if len(n_runs) < FEWEST_STIMULI:
        raise UserError(
            f"zero_shot: leaving two stimuli out needs {FEWEST_STIMULI} stimuli, {rows.subject} saw {len(n_runs)}"
        )
    once = np.unique(rows.stimulus)[n_runs == 1]
    if len(once) and len(np.unique(rows.run)) > 1:
        first = case.features.stimuli.ids[once[0]]
        raise UserError(
            f"zero_shot: {rows.subject}: {len(once)} of {len(n_runs)} stimuli ({first}, ...) were shown in one run "
            "alone; the model of a run that is tested learns from the other runs",
            hint="leave `zero_shot` out, or have every stimulus shown in two runs",
        )


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
