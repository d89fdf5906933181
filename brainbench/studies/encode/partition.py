"""What sets of features explain alone and in common: every combination of them is fitted, as one band each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.evaluation.intervals import FEWEST_UNITS, Jackknife
from brainbench.evaluation.scoring import partition, regions_r2
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.runs.folder import RunFolder
from brainbench.runs.units import Unit
from brainbench.studies.cases.case import Case
from brainbench.studies.cases.rows import regions_digest
from brainbench.studies.encode.designs import KeptDesigns
from brainbench.studies.encode.fits import Fits, fit_units, gather, scoring_of
from brainbench.studies.encode.intervals import drawn_as_one, left_out
from brainbench.studies.opened import Opened
from brainbench.studies.outcome import Outcome


@dataclass(frozen=True)
class PartitionFits:
    """Fits of every combination of sets of features in a case."""

    case: Case
    sets: Mapping[str, str]
    """Encoder -> layer."""
    fits: Mapping[frozenset[str], Fits]


def plan_partition(opened: Opened[EncodeRecipe], case: Case) -> PartitionFits | None:
    """Return the fits of every combination, under the main scheme; None where the recipe asks for none.

    Raises
    ------
    UserError
        If an encoder has no layer of the name that was given.
    """
    settings = opened.recipe.partition
    if settings is None or case.rows.scheme.label != opened.recipe.schemes[0].label:
        return None
    sets = {}
    for name in settings.sets:
        known = [layer.name for layer in opened.encoder(name).layers]
        sets[name] = settings.layers.get(name, known[-1])
        if sets[name] not in known:
            raise UserError(
                f"partition.layers.{name}: no layer '{sets[name]}'{did_you_mean(sets[name], known)}",
                hint=f"layers that the recipe chooses: {one_of(known)}",
            )
    # As unique variance has its bands: the penalties that a search finds depend on their order.
    order = sorted(sets, key=lambda name: (opened.encoder(name).is_model, name))
    fits = {}
    for size in range(1, len(sets) + 1):
        for some in combinations(sets, size):
            sources = [(name, sets[name]) for name in order if name in some]
            label = " + ".join(f"{name}.{layer}" for name, layer in sources)
            fits[frozenset(some)] = Fits(case, sources, fit_units(opened, case, sources, label))
    return PartitionFits(case, sets, fits)


def partition_unit(recipe: EncodeRecipe, folder: RunFolder, plan: PartitionFits, kept: KeptDesigns) -> Unit:
    """Return the unit that finds the parts, with intervals where enough stimuli, runs or blocks were shown."""
    case, how = plan.case, scoring_of(recipe, plan.case)
    unit = drawn_as_one(case)
    with_intervals = recipe.bootstrap.n_draws > 0 and len(np.unique(unit)) >= FEWEST_UNITS

    def compute() -> dict[str, np.ndarray]:
        rois, explained = case.responses.rois, {}
        for some, fit in plan.fits.items():
            held_out = gather(fit, folder)
            explained[some] = regions_r2(held_out["y_true"], held_out["y_pred"], held_out["fold"], how, rois=rois)
        everything = frozenset(plan.sets)
        parts = partition(explained)
        found = {"values": np.stack([*parts.values(), explained[everything]])}
        if with_intervals:
            again: dict[frozenset[str], Jackknife] = {
                some: left_out(recipe, folder, [fit], kept, ["r2"])[0] for some, fit in plan.fits.items()
            }
            ends = [one.interval(how.confidence) for one in (*partition(again).values(), again[everything])]
            found |= {"low": np.stack([low for low, _ in ends]), "high": np.stack([high for _, high in ends])}
        return found

    key = {
        "fits": [[sorted(some), [unit.digest for unit in fit.units]] for some, fit in plan.fits.items()],
        "scoring": vars(how),
        "drawn": digest_array(np.unique(unit, return_inverse=True)[1]),
        "intervals": with_intervals,
        "rois": regions_digest(case.responses),
    }
    return Unit("partition", f"{case.rows.subject}, parts of {', '.join(plan.sets)}", key, compute)


def report_partition(outcome: Outcome, plan: PartitionFits, arrays: Mapping[str, np.ndarray]) -> None:
    """Note the parts of every region, and what all sets explain together."""
    groups = [[name for name in plan.sets if name in some] for some in plan.fits]
    for region, roi in enumerate(plan.case.responses.rois):
        cells = []
        for place in range(len(arrays["values"])):
            cell = {"value": float(arrays["values"][place, region])}
            if "low" in arrays:
                cell |= {end: float(arrays[end][place, region]) for end in ("low", "high")}
            cells.append(cell)
        outcome.note(
            "partition",
            {
                "subject": plan.case.rows.subject, "roi": roi, "sets": dict(plan.sets),
                "parts": [{"of": of, **cell} for of, cell in zip(groups, cells, strict=False)],
                "together": cells[-1],
            },
        )  # fmt: skip
