"""Intervals of an encoding model's scores: the unit that leaves groups of rows out of training and test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.evaluation.intervals import FEWEST_UNITS, Held, Jackknife, jackknife, jackknife_groups, targets_at_once
from brainbench.evaluation.metrics import METRICS
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.runs.folder import RunFolder
from brainbench.runs.units import Unit, read_units
from brainbench.studies.cases.case import Case
from brainbench.studies.cases.rows import regions_digest
from brainbench.studies.encode.designs import KeptDesigns
from brainbench.studies.encode.fits import Fits, LayerFits, fold_settings

FEWEST_RUNS = 10
"""Runs below which rows of a run are left out apart: so few runs say little about other runs."""


def interval_unit(
    recipe: EncodeRecipe, folder: RunFolder, fit: LayerFits, kept: KeptDesigns, smaller: Sequence[Fits] = (),
    alone: Fits | None = None,
) -> Unit | None:  # fmt: skip
    """Return the unit that finds the intervals of a fit's scores, or of its gain over the best of smaller models.

    With `alone`, the layer without the smaller models, also those of what both explain and of what the smaller explain
    alone. None where so few stimuli, runs or blocks were shown that an interval would say nothing.
    """
    case = fit.case
    unit = drawn_as_one(case)
    if len(np.unique(unit)) < FEWEST_UNITS or not recipe.bootstrap.n_draws:
        return None
    names = ["r2"] if smaller else list(recipe.metrics)

    def compute() -> dict[str, np.ndarray]:
        each = dict(zip(names, left_out(recipe, folder, [fit], kept, names), strict=True))
        if smaller:
            rival = left_out(recipe, folder, smaller, kept, names)[0]
            each = {"r2": each["r2"] - rival}
            if alone is not None:
                each["shared"] = left_out(recipe, folder, [alone], kept, names)[0] - each["r2"]
                each["controls"] = rival - each["shared"]
        found: dict[str, np.ndarray] = {}
        for name, one in each.items():
            bounded = not smaller and METRICS[name].power == 1
            low, high = one.interval(recipe.bootstrap.confidence, correlation=bounded)
            found |= {f"low/{name}": low, f"high/{name}": high}
        return found

    key = {
        "fits": [unit.digest for one in (fit, *smaller) for unit in one.units],
        "metrics": names,
        "difference": bool(smaller),
        "alone": [] if alone is None else [unit.digest for unit in alone.units],
        "drawn": digest_array(np.unique(unit, return_inverse=True)[1]),
        "over": case.split.over,
        "confidence": recipe.bootstrap.confidence,
        "seed": recipe.seed,
        "rois": regions_digest(case.responses),
    }
    label = f"{case.rows.subject}, {'unique ' if smaller else ''}{fit.encoder.name}.{fit.layer.name}"
    return Unit("interval", label, key, compute)


def left_out(
    recipe: EncodeRecipe, folder: RunFolder, models: Sequence[Fits], kept: KeptDesigns, names: Sequence[str]
) -> list[Jackknife]:
    """Return the jackknife of a model by every metric; of several, of that which explains most of each target.

    Groups are those of the case: jackknives of models of one case may be added and subtracted.
    """
    case = models[0].case
    fold = np.full(len(case.rows), -1)
    for number, (_, test) in enumerate(case.split.folds):
        fold[test] = number
    group = jackknife_groups(drawn_as_one(case), fold, seed=recipe.seed)
    each = [Refits(recipe, folder, one, kept, group) for one in models]
    pooled = case.split.over != "folds"
    metrics, groups, regions = [METRICS[name] for name in names], each[0].groups, case.responses.rois
    if len(each) == 1:
        return jackknife(metrics, each[0], groups, regions, pooled=pooled)
    at_once = targets_at_once(int(group.max()) + 1, sum(map(len, groups)))  # a choice among models asks all folds
    return jackknife(metrics, BestOf(each, pooled=pooled), groups, regions, pooled=pooled, block=at_once)


def drawn_as_one(case: Case) -> np.ndarray:
    """Return what each row was drawn with: its stimulus, its run, or its block of time."""
    rows, split = case.rows, case.split
    if split.null in ("block", "shift"):
        length = split.block_length or 1
        place = np.zeros(len(rows), dtype=int)
        for run in np.unique(rows.run):
            mine = np.flatnonzero(rows.run == run)
            place[mine] = np.arange(len(mine)) // length
        return np.array([f"{run}/{block}" for run, block in zip(rows.run, place, strict=True)])
    if split.null == "stimulus":
        return np.asarray(rows.stimulus)
    if split.null == "within_run" and len(np.unique(rows.run)) >= FEWEST_RUNS:
        return np.asarray(rows.run)
    return np.arange(len(rows))


class Refits:
    """The folds of a fit, with and without each group of rows."""

    def __init__(
        self, recipe: EncodeRecipe, folder: RunFolder, fit: Fits, kept: KeptDesigns, group: np.ndarray
    ) -> None:
        designs = kept.of(recipe, fit.case, fold_settings(recipe, fit.case), fit.sources)
        self.Y, group = fit.case.rows.Y[designs.order], group[designs.order]
        parts = read_units(fit.units, folder)
        self.alphas = 10 ** np.concatenate([part["log10_alpha"] for part in parts]).astype(np.float64)
        self.weights = np.concatenate([part["weights"] for part in parts]) if len(fit.sources) > 1 else None
        self.folds = list(zip(designs.shared.folds, designs.shared.without(group), strict=True))
        self.groups = [group[design.test] for design, _ in self.folds]

    def __call__(self, targets: np.ndarray) -> Iterator[Held]:
        """Yield every fold, targets of equal penalties side by side."""
        for number, (design, without) in enumerate(self.folds):
            alphas = self.alphas[number, targets]
            weights = None if self.weights is None else self.weights[number][:, targets]
            order = np.lexsort([alphas, *([] if weights is None else weights)])
            y_train, y_test = design.responses(self.Y[:, targets[order]])
            weights = None if weights is None else weights[:, order]
            predicted, changes = without.predict(y_train, alphas[order], weights)
            center = y_train.mean(axis=0)
            yield Held(y_test - center, predicted - center, changes, order)


class BestOf:
    """For every target the smaller model that explains most of its held-out rows, as the score takes it."""

    def __init__(self, models: Sequence[Refits], *, pooled: bool) -> None:
        self.models, self.pooled = models, pooled

    def __call__(self, targets: np.ndarray) -> list[Held]:
        """Return the folds of every target's own model."""
        each = [[fold.in_place() for fold in model(targets)] for model in self.models]
        choice = np.stack([self._loss(one) for one in each]).argmin(axis=0)
        found = []
        for number, first in enumerate(each[0]):
            predicted, moved = first.predicted.copy(), first.changes.copy()
            for index, one in enumerate(each[1:], start=1):
                mine = choice == index
                predicted[:, mine], moved[..., mine] = one[number].predicted[:, mine], one[number].changes[..., mine]
            found.append(Held(first.measured, predicted, moved))
        return found

    def _loss(self, folds: list[Held]) -> np.ndarray:
        parts = [(fold.measured, fold.predicted) for fold in folds]
        if self.pooled:
            parts = [(np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts]))]
        return np.asarray(np.sum([-METRICS["r2"].function(*part) for part in parts], axis=0))
