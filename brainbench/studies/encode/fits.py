"""Encoding models of ``kind: encode``: the units that fit and score layers, and the rows they fill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.encoders.base import Layer
from brainbench.evaluation.ceilings import RegionCeiling
from brainbench.evaluation.metrics import UNIQUE
from brainbench.evaluation.scoring import Scored, Scoring, best_of, regions_r2, score_nested, score_predictions
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.ridge.encoding import FoldSettings, fit_all
from brainbench.runs.folder import RunFolder
from brainbench.runs.units import Unit, read_units
from brainbench.studies.cases.case import Case
from brainbench.studies.cases.ceilings import CeilingBook
from brainbench.studies.cases.rows import regions_digest
from brainbench.studies.encode.designs import KeptDesigns
from brainbench.studies.encode.nulls import SmallerNull, exchange_of, layer_null, nested_null, null_key, words_of
from brainbench.studies.opened import Opened, OpenEncoder
from brainbench.studies.outcome import ALL, Outcome, TargetMap


@dataclass
class Fits:
    """Units of one feature set of a case: layers of encoders, each a band."""

    case: Case
    sources: Sequence[tuple[str, str]]
    units: list[Unit]


@dataclass
class LayerFits(Fits):
    """Units of one layer, alone or with the controls, and the name under which it is scored.

    With controls, `smaller_null` is that of the models which it is held against.
    """

    encoder: OpenEncoder
    layer: Layer
    smaller_null: SmallerNull = field(default_factory=SmallerNull)


@dataclass(frozen=True)
class Cell:
    """The unit of one layer and one region."""

    case: Case
    encoder: OpenEncoder
    layer: Layer
    roi: str
    unit: Unit


# Fits -------------------------------------------------------------------------------------------------------------


def fold_settings(recipe: EncodeRecipe, case: Case) -> FoldSettings:
    """Return the settings of every fold's fit."""
    low, high = recipe.head.log10_alphas
    continuous = case.rows.continuous
    return FoldSettings(
        alphas=np.logspace(low, high, recipe.head.n_alphas),
        reduction=recipe.reduction.method,
        n_components=recipe.reduction.n_components,
        inner_folds=recipe.head.inner_folds,
        high_pass_s=recipe.timing.high_pass_s if continuous is not None else None,
        t_r=continuous.t_r if continuous is not None else None,
        seed=recipe.seed,
    )


def fit_units(opened: Opened[EncodeRecipe], case: Case, sources: Sequence[tuple[str, str]], label: str) -> list[Unit]:
    """Return the units that fit `sources` (encoder, layer), each its own band, over chunks of folds."""
    recipe, kept = opened.recipe, KeptDesigns(opened.folds)
    settings = fold_settings(recipe, case)
    nuisance = case.rows.nuisance if recipe.timing.regress_nuisance else None
    shared = {
        "rows": case.rows.digest,
        "features": [case.features.digest(*source) for source in sources],
        "settings": {**vars(settings), "alphas": settings.alphas.tolist()},
        "nuisance": nuisance is not None,
        "cleaned": None if settings.t_r is None else "inner folds by themselves",
        "holds": ["predictions", "penalties", "weights of bands"],
    }

    def compute(chunk: np.ndarray) -> dict[str, np.ndarray]:
        designs = kept.of(recipe, case, settings, sources)
        rows, results = zip(*(designs.fit(index, case.rows.Y) for index in chunk), strict=True)
        return {
            "row": np.concatenate(rows),
            "fold": np.repeat(chunk, list(map(len, rows))),
            "y_true": np.concatenate([result.y_true for result in results]),
            "y_pred": np.concatenate([result.y_pred for result in results]),
            "log10_alpha": np.log10(np.stack([result.best_alphas for result in results])).astype(np.float32),
            "weights": np.stack(
                [result.best_weights for result in results if result.best_weights is not None] or [np.zeros((0, 0))]
            ),
            "at_edge": np.stack([result.at_edge for result in results]),
        }

    units = []
    for chunk in case.chunks:
        key = {**shared, "folds": [[digest_array(part) for part in case.split.folds[index]] for index in chunk]}
        where = f"{case.rows.subject}, {label}, fold {chunk[0] + 1}" + (f"-{chunk[-1] + 1}" if len(chunk) > 1 else "")
        units.append(Unit("fit", where, key, partial(compute, chunk)))
    return units


def plan_fits(opened: Opened[EncodeRecipe], case: Case) -> Iterator[LayerFits]:
    """Yield the fits of every layer of every encoder."""
    for entry in opened.encoders:
        for layer in entry.layers:
            sources = [(entry.name, layer.name)]
            units = fit_units(opened, case, sources, f"{entry.name}.{layer.name}")
            yield LayerFits(case, sources, units, entry, layer)


def plan_nested(opened: Opened[EncodeRecipe], case: Case) -> Iterator[tuple[list[Fits], LayerFits]]:
    """Yield, for every layer of every model, the fits of the controls (together, and each alone) and of all.

    Controls stand in the order of their names, whatever the recipe's: mixtures of bands are drawn by place.
    """
    recipe = opened.recipe
    if recipe.unique is None or case.rows.scheme.label != recipe.schemes[0].label:
        return
    over = recipe.unique.over
    names = sorted([e.name for e in opened.encoders if not e.is_model] if over == "controls" else over)
    base = [(name, opened.encoder(name).layers[-1].name) for name in names]
    small = [Fits(case, [one], fit_units(opened, case, [one], f"{one[0]}.{one[1]}")) for one in base]
    if len(base) > 1:
        small.append(Fits(case, base, fit_units(opened, case, base, "controls")))
    shared = SmallerNull()
    for entry in opened.encoders:
        if entry.name in names or not entry.is_model:
            continue
        for layer in entry.layers:
            sources = [*base, (entry.name, layer.name)]
            full = fit_units(opened, case, sources, f"controls + {entry.name}.{layer.name}")
            yield small, LayerFits(case, sources, full, entry, layer, shared)


def full_fit(recipe: EncodeRecipe, fit: LayerFits) -> dict[str, np.ndarray]:
    """Return weights of one layer, refitted on all rows; see `brainbench.ridge.encoding.fit_all`."""
    case = fit.case
    rows = np.arange(len(case.rows))
    return fit_all(
        case.features.rows(fit.encoder.name, fit.layer.name)[case.rows.first],
        case.rows.Y,
        fold_settings(recipe, case),
        inner_groups=case.split.inner_groups(rows),
        run=case.rows.run,
        nuisance=case.rows.nuisance if recipe.timing.regress_nuisance else None,
    )


# Scores -----------------------------------------------------------------------------------------------------------


def scoring(recipe: EncodeRecipe, fit: LayerFits) -> Scoring:
    """Return how the predictions of a layer are scored; draws are for the choice among layers of an encoder."""
    return scoring_of(recipe, fit.case, recipe.bootstrap.n_draws if len(fit.encoder.layers) > 1 else 0)


def scoring_of(recipe: EncodeRecipe, case: Case, n_draws: int = 0) -> Scoring:
    """Return how predictions of a case are scored."""
    return Scoring(
        metrics=tuple(recipe.metrics),
        over=case.split.over,
        block_length=case.split.block_length,
        n_draws=n_draws,
        confidence=recipe.bootstrap.confidence,
        seed=recipe.seed,
    )


def gather(fit: Fits, folder: RunFolder) -> dict[str, np.ndarray]:
    """Return the held-out rows of a fit in row order."""
    parts = read_units(fit.units, folder)
    row = np.concatenate([part["row"] for part in parts])
    order = np.lexsort((np.concatenate([part["fold"] for part in parts]), row))
    gathered = {name: np.concatenate([part[name] for part in parts])[order] for name in ("fold", "y_true", "y_pred")}
    gathered["row"] = row[order]
    gathered["at_edge"] = np.concatenate([part["at_edge"] for part in parts])
    return gathered


def score_unit(recipe: EncodeRecipe, folder: RunFolder, fit: LayerFits, kept: KeptDesigns) -> Unit:
    """Return the unit that scores a fit."""
    case, how = fit.case, scoring(recipe, fit)

    def compute() -> dict[str, np.ndarray]:
        held_out = gather(fit, folder)
        scored = score_predictions(
            held_out["y_true"], held_out["y_pred"], held_out["fold"], how,
            rois=case.responses.rois,
            run=case.rows.run[held_out["row"]],
            stimulus=case.rows.stimulus[held_out["row"]],
        )  # fmt: skip
        settings = fold_settings(recipe, case)
        null = layer_null(recipe, case, settings, kept.of(recipe, case, settings, fit.sources))
        return {**scored.to_arrays(), **null, "edge_share": np.array(held_out["at_edge"].mean())}

    key = {
        "fits": [unit.digest for unit in fit.units],
        "scoring": vars(how),
        "null": null_key(recipe, case),
        "rois": regions_digest(case.responses),
    }
    return Unit("score", f"{case.rows.subject}, {fit.encoder.name}.{fit.layer.name}", key, compute)


def nested_unit(
    recipe: EncodeRecipe, folder: RunFolder, small: Sequence[Fits], full: LayerFits, kept: KeptDesigns
) -> Unit:
    """Return the unit that scores what a layer adds to the controls."""
    case, how = full.case, scoring(recipe, full)

    def compute() -> dict[str, np.ndarray]:
        both = gather(full, folder)
        smaller = [gather(one, folder)["y_pred"] for one in small]
        best = best_of(both["y_true"], smaller, both["fold"], how)
        scored = score_nested(both["y_true"], best, both["y_pred"], both["fold"], how, rois=case.responses.rois)
        settings = fold_settings(recipe, case)
        designs = [kept.of(recipe, case, settings, one.sources) for one in (*small, full)]
        null = nested_null(recipe, case, settings, designs[:-1], designs[-1], both, best, full.smaller_null)
        controls = regions_r2(both["y_true"], best, both["fold"], how, rois=case.responses.rois)
        return {**scored.to_arrays(), **null, "controls_r2": controls}

    key = {
        "holds": "controls_r2",
        "small": [[unit.digest for unit in one.units] for one in small],
        "full": [unit.digest for unit in full.units],
        "scoring": vars(how),
        "null": null_key(recipe, case),
        "rois": regions_digest(case.responses),
    }
    return Unit("unique", f"{case.rows.subject}, unique {full.encoder.name}.{full.layer.name}", key, compute)


# Tables -----------------------------------------------------------------------------------------------------------


def report_fit(
    recipe: EncodeRecipe,
    outcome: Outcome,
    fit: LayerFits,
    scored: Scored,
    ceilings: CeilingBook,
    intervals: Mapping[str, np.ndarray],
) -> None:
    """Add the rows and target arrays of one layer."""
    case, entry, layer = fit.case, fit.encoder, fit.layer
    common = {
        "subject": case.rows.subject,
        "scheme": case.rows.scheme.label,
        "encoder": entry.name,
        "role": entry.settings.role,
        "layer": layer.name,
        "depth": layer.depth,
    }
    how = words_of(exchange_of(recipe, case), recipe.metrics[0]) if scored.roi_p else None
    for region, (roi, mask) in enumerate(case.responses.rois.items()):
        for metric in scored.metrics:
            row = {**common, "roi": roi, "metric": metric, "n_targets": int(np.sum(mask))}
            outcome.add(
                **row,
                fold=ALL,
                n_rows=scored.n_rows,
                **ceiling_of(ceilings.of(case.responses, case.rows, mask, metric)),
                test=how if metric in scored.roi_p else None,
                **scored.summary(metric, roi),
                **intervals_of(intervals, metric, region),
            )
            for fold, value, n_rows in scored.per_fold(metric, roi):
                outcome.add(**row, fold=str(fold), value=value, n_rows=n_rows)
    lead = recipe.metrics[0]
    facts = (case.rows.subject, case.rows.scheme.label, entry.name, layer.name)
    outcome.maps.append(TargetMap(*facts, lead, scored.targets[lead]))
    if scored.target_p is not None:
        outcome.maps.append(TargetMap(*facts, "p", scored.target_p))
    where = f"{entry.name}.{layer.name}, {case.rows.subject} ({case.rows.scheme.label})"
    share = scored.edge_share
    if "pearson_r" in scored.targets and not np.any(scored.targets["pearson_r"]):
        outcome.warn(
            f"{where}: the same is predicted for every row, so that r is 0 by rule and nothing was tested: the "
            "features are the same for all stimuli, or every penalty of `head.log10_alphas` is too large"
        )
    elif share > 0.2:
        outcome.warn(
            f"{where}: {share:.0%} of the chosen penalties stand at the edge of the grid; widen `head.log10_alphas`"
        )


def report_nested(
    recipe: EncodeRecipe, outcome: Outcome, fit: LayerFits, scored: Scored, intervals: Mapping[str, np.ndarray],
    controls_r2: np.ndarray,
) -> None:  # fmt: skip
    """Add the rows of what one layer adds to the controls, and note what the controls explain."""
    case, entry, layer = fit.case, fit.encoder, fit.layer
    how = words_of(exchange_of(recipe, case), UNIQUE) if scored.roi_p else None
    for region, (roi, mask) in enumerate(case.responses.rois.items()):
        outcome.add(
            subject=case.rows.subject, scheme=case.rows.scheme.label, encoder=entry.name, role=entry.settings.role,
            layer=layer.name, depth=layer.depth, roi=roi, fold=ALL, metric=UNIQUE, n_targets=int(np.sum(mask)),
            n_rows=scored.n_rows, test=how, **scored.summary(UNIQUE, roi),
            **intervals_of(intervals, "r2", region),
        )  # fmt: skip
        note: dict[str, Any] = {"subject": case.rows.subject, "encoder": entry.name, "layer": layer.name, "roi": roi}
        note |= {"r2": float(controls_r2[region])}
        for part in ("shared", "controls"):
            if f"low/{part}" in intervals:
                note[part] = [float(intervals[f"{end}/{part}"][region]) for end in ("low", "high")]
        outcome.note("controls", note)


def intervals_of(arrays: Mapping[str, np.ndarray], metric: str, region: int) -> dict[str, float]:
    """Return ``ci_low`` and ``ci_high`` of a metric and region, from the arrays of its unit of intervals."""
    if f"low/{metric}" not in arrays:
        return {}
    return {"ci_low": float(arrays[f"low/{metric}"][region]), "ci_high": float(arrays[f"high/{metric}"][region])}


def ceiling_of(found: RegionCeiling | None) -> dict[str, float | None]:
    """Return the columns of a ceiling and its interval."""
    if found is None:
        return {}
    return {"ceiling": found.value, "ceiling_low": found.low, "ceiling_high": found.high}
