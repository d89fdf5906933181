"""Geometry of layers and regions, compared without a fit: RSA and linear CKA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.data.layouts.matrices import name_some
from brainbench.evaluation.similarity import Geometry, geometry_test, rdm
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.cases.case import Case
from brainbench.studies.cases.geometry import GeometryScores, bounds_of
from brainbench.studies.cases.rows import GROUP, group_means
from brainbench.studies.encode.fits import Cell
from brainbench.studies.opened import Opened
from brainbench.studies.outcome import Outcome


def geometry_cells(opened: Opened[EncodeRecipe], cases: Sequence[Case]) -> list[Cell]:
    """Return the unit of every layer and ROI under the main scheme."""
    recipe = opened.recipe
    return [
        Cell(case, entry, layer, roi, _unit(recipe, case, entry.name, layer.name, np.asarray(mask)))
        for case in _of_main_scheme(recipe, cases)
        if case.rows.continuous is None
        for entry in opened.encoders
        for layer in entry.layers
        for roi, mask in case.responses.rois.items()
    ]


def _of_main_scheme(recipe: EncodeRecipe, cases: Sequence[Case]) -> list[Case]:
    return [case for case in cases if case.rows.scheme.label == recipe.schemes[0].label]


def report_geometry(
    recipe: EncodeRecipe, runner: Runner, outcome: Outcome, cases: Sequence[Case], cells: Sequence[Cell]
) -> GeometryScores:
    """Add RSA and CKA of every layer and ROI to `outcome`, and return what tests their means over participants."""
    bounds = rsa_ceilings(_of_main_scheme(recipe, cases)) if "rsa" in recipe.similarity else {}
    for (subject, roi), (lower, upper) in bounds.items():
        outcome.note("rsa_ceilings", {"subject": subject, "roi": roi, "lower": lower, "upper": upper})
    left_out: dict[tuple[str, str, int, int], set[tuple[str, str]]] = {}
    scores = GeometryScores(outcome, recipe.significance.n_permutations, recipe.seed)
    for cell in cells:
        arrays = runner.read([cell.unit])[0]
        subject = cell.case.rows.subject
        for metric in recipe.similarity:
            found = Geometry.from_arrays(arrays, metric)
            if found.n_left_out:
                key = (cell.encoder.name, cell.layer.name, found.n_left_out, len(found.left_out))
                left_out.setdefault(key, set()).add((subject, cell.roi))
            _, ceiling = bounds.get((subject, cell.roi), (None, None)) if metric == "rsa" else (None, None)
            scores.add(
                subject, cell.roi, cell.encoder, cell.layer, metric, found, ceiling=ceiling,
                n_targets=int(np.sum(cell.case.responses.rois[cell.roi])),
                stimuli=f"{cell.case.features.stimuli.digest()} {digest_array(np.unique(cell.case.rows.stimulus))}",
            )  # fmt: skip
    scores.add_best()
    _say_left_out(outcome, left_out)
    return scores


def _say_left_out(outcome: Outcome, left_out: Mapping[tuple[str, str, int, int], set[tuple[str, str]]]) -> None:
    """Count the stimuli that RSA leaves out, in one sentence per layer and number."""
    for (encoder, layer, n, n_stimuli), places in left_out.items():
        subjects, rois = (sorted({place[at] for place in places}) for at in (0, 1))
        kept = "" if n_stimuli - n >= 3 else ", which leaves too few: no RSA"
        outcome.warn(
            f"RSA of {encoder} {layer} with {name_some(rois)} of {name_some(subjects)}: {n} of {n_stimuli} stimuli are "
            f"left out on both sides{kept}, because their pattern of features or responses is without variance, and "
            "Pearson's r with it does not exist"
        )


def rsa_ceilings(cases: Sequence[Case]) -> dict[tuple[str, str], tuple[float, float]]:
    """Return lower and upper RSA ceilings (Nili et al. 2014) of every participant and ROI.

    They need two or more participants who saw the same stimuli and have an ROI of the same name.
    """
    geometries: dict[str, dict[str, np.ndarray]] = {}
    shown: set[tuple[str, bytes]] = set()
    for case in cases:
        if case.rows.continuous is not None or case.rows.subject == GROUP:
            continue
        names, stimulus = np.unique(case.rows.stimulus, return_inverse=True)
        shown.add((case.features.stimuli.digest(), names.tobytes()))
        for roi, mask in case.responses.rois.items():
            responses = group_means(np.asarray(case.rows.Y[:, mask]), stimulus, np.bincount(stimulus))
            geometries.setdefault(roi, {})[case.rows.subject] = rdm(responses)
    return bounds_of(geometries) if len(shown) == 1 else {}


def _unit(recipe: EncodeRecipe, case: Case, encoder: str, layer: str, mask: np.ndarray) -> Unit:
    def compute() -> dict[str, np.ndarray]:
        features = case.features.rows(encoder, layer)[case.rows.first]
        _, first, stimulus = np.unique(case.rows.stimulus, return_index=True, return_inverse=True)
        responses = group_means(np.asarray(case.rows.Y[:, mask]), stimulus, np.bincount(stimulus))
        arrays: dict[str, np.ndarray] = {}
        for metric in recipe.similarity:
            found = geometry_test(
                features[first], responses, metric=metric, n_permutations=recipe.significance.n_permutations,
                seed=recipe.seed,
            )  # fmt: skip
            arrays |= found.to_arrays(metric)
        return arrays

    key = {
        "rows": case.rows.digest,
        "features": case.features.digest(encoder, layer),
        "roi": digest_array(mask),
        "metrics": list(recipe.similarity),
        "n_permutations": recipe.significance.n_permutations,
        "seed": recipe.seed,
        "without_variance": "left out",
        "exchange": "rows, draws kept",
    }
    return Unit("geometry", f"{case.rows.subject}, {encoder}.{layer}", key, compute)
