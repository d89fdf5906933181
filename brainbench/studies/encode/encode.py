"""``kind: encode``: features, fits, scores, unique variance, similarity; layer by layer and region by region."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.progress import Stages
from brainbench.data.base import Responses, Stimuli
from brainbench.encoders.base import Layer
from brainbench.evaluation.scoring import Scored, Scoring, score_nested, score_predictions
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.ridge.encoding import FoldSettings, fit_all, fit_fold
from brainbench.runs.engines import Runner
from brainbench.runs.folder import RunFolder
from brainbench.runs.units import Unit, read_units
from brainbench.studies.cases.across import best_layers, mean_over_subjects
from brainbench.studies.cases.ceilings import CeilingBook
from brainbench.studies.cases.folds import Split, split_rows
from brainbench.studies.cases.rows import GROUP, Rows, group_responses, make_rows
from brainbench.studies.opened import Features, Opened, OpenEncoder
from brainbench.studies.outcome import ALL, Outcome, TargetMap

MAX_CHUNKS = 16
"""Folds are gathered into at most so many units per layer."""


@dataclass
class Case:
    """One subject under one scheme."""

    responses: Responses
    features: Features
    rows: Rows
    split: Split


@dataclass
class Fits:
    """Units of one feature set of a case, and the name under which it is scored."""

    case: Case
    encoder: OpenEncoder | None
    layer: Layer | None
    units: list[Unit]


def encode(opened: Opened, runner: Runner, outcome: Outcome) -> None:
    """Run the encoding part of a recipe into `outcome`."""
    recipe = opened.recipe
    assert isinstance(recipe, EncodeRecipe)
    stimuli = [opened.dataset.stimuli(subject) for subject in opened.subjects]
    extract_features(opened, stimuli, runner.stages)
    with runner.stages.stage("responses", total=len(opened.subjects)) as advance:
        members = []
        for subject, shown in zip(opened.subjects, stimuli, strict=True):
            members.append((shown, opened.dataset.responses(subject)))
            advance(1)
    everyone = with_group(opened, members)
    cases = [case for shown, responses in everyone for case in open_cases(opened, shown, responses)]
    ceilings = CeilingBook(recipe, [responses for _, responses in members])
    for case in cases:
        note_case(outcome, case, is_main=case.rows.scheme.label == recipe.schemes[0].label)

    fits = [fit for case in cases for fit in plan_fits(opened, case)]
    nested = [pair for case in cases for pair in plan_nested(opened, case)]
    units = [unit for fit in [*fits, *[fit for small, full in nested for fit in [*small, full]]] for unit in fit.units]
    runner.run("fit", units)

    scores = [score_unit(recipe, runner.folder, fit) for fit in fits]
    nested_scores = [nested_unit(recipe, runner.folder, small, full) for small, full in nested]
    runner.run("score", [*scores, *nested_scores])

    draws: dict[tuple[str, str, str], list[tuple[Layer, Scored]]] = {}
    for fit, unit in zip(fits, scores, strict=True):
        scored = Scored.from_arrays(runner.read([unit])[0])
        report_fit(recipe, outcome, fit, scored, ceilings)
        assert fit.encoder is not None and fit.layer is not None
        key = (fit.case.rows.subject, fit.case.rows.scheme.label, fit.encoder.name)
        draws.setdefault(key, []).append((fit.layer, scored))
    for (_, full), unit in zip(nested, nested_scores, strict=True):
        report_nested(outcome, full, Scored.from_arrays(runner.read([unit])[0]))
    best_layers(outcome, draws)
    if recipe.similarity:
        from brainbench.studies.encode.similarity import compare_geometry

        compare_geometry(opened, runner, outcome, cases)
    if recipe.zero_shot is not None:
        from brainbench.studies.encode.zero_shot import test_unseen

        test_unseen(opened, runner, outcome, [case for case in cases if case.rows.subject != GROUP])
    mean_over_subjects(recipe, outcome, [responses.subject for _, responses in members])


def extract_features(opened: Opened, stimuli: Sequence[Stimuli], stages: Stages) -> None:
    """Bring every asked layer of every stimulus into the store, one pass per encoder."""
    distinct = {one.digest(): one for one in stimuli}.values()
    for entry in opened.encoders:
        if entry.encoder is None:
            continue
        for one in distinct:
            entry.encoder.check_modality(one)
            with stages.stage(f"features: {entry.name}", total=len(one)) as advance:
                done = 0

                def show(now: int, _total: int, advance: Any = advance) -> None:
                    nonlocal done
                    advance(now - done)
                    done = now

                names = [layer.name for layer in entry.layers]
                opened.store.features(entry.encoder, one, names, entry.settings.pool, progress=show)


def read_members(opened: Opened) -> list[tuple[Stimuli, Responses]]:
    """Return stimuli and responses of every participant."""
    return [(opened.dataset.stimuli(subject), opened.dataset.responses(subject)) for subject in opened.subjects]


def encoding_cases(opened: Opened) -> list[Case]:
    """Return every subject (and the group) under every scheme."""
    everyone = with_group(opened, read_members(opened))
    return [case for stimuli, responses in everyone for case in open_cases(opened, stimuli, responses)]


def plan_units(opened: Opened) -> list[Unit]:
    """Return every unit that fits a model."""
    units = []
    for case in encoding_cases(opened):
        fits = [*plan_fits(opened, case)]
        for small, full in plan_nested(opened, case):
            fits += [*small, full]
        units += [unit for fit in fits for unit in fit.units]
    return list({unit.digest: unit for unit in units}.values())


def with_group(opened: Opened, members: list[tuple[Stimuli, Responses]]) -> list[tuple[Stimuli, Responses]]:
    """Add the mean over participants where their targets mean the same."""
    if not opened.dataset.aligned_targets or len(members) < 2:
        return members
    return [*members, (members[0][0], group_responses([responses for _, responses in members]))]


def open_cases(opened: Opened, stimuli: Stimuli, responses: Responses) -> Iterator[Case]:
    """Yield one case per scheme."""
    recipe: Any = opened.recipe
    features = Features(opened, stimuli, responses)
    for scheme in recipe.schemes:
        rows = make_rows(responses, scheme, recipe.responses)
        yield Case(responses, features, rows, split_rows(rows, features))


def note_case(outcome: Outcome, case: Case, is_main: bool) -> None:
    """Write down what the report says of a subject and of a scheme."""
    rows, responses = case.rows, case.responses
    if is_main:
        repeats = np.bincount(responses.stimulus) if responses.stimulus is not None else np.ones(1, int)
        outcome.subjects.append(
            {
                "subject": responses.subject,
                "n_rows": responses.n_presentations,
                "n_targets": responses.n_targets,
                "n_stimuli": len(case.features.stimuli),
                "n_repeats": float(np.median(repeats[repeats > 0])),
                "n_runs": len(np.unique(responses.run)),
                "rois": {name: int(np.sum(mask)) for name, mask in responses.rois.items()},
                "notes": [*responses.notes, *([case.features.timing_note] if responses.continuous is not None else [])],
            }
        )
        if responses.subject != GROUP:
            outcome.data += responses.account
        if responses.masker is not None:
            outcome.images[responses.subject] = (responses.masker, responses.background, responses.space)
    known = outcome.schemes.setdefault(rows.scheme.label, case.split.facts(rows.scheme, is_main))
    for finding in case.split.certificate.findings:
        if finding not in known["certificate"]["findings"]:
            known["certificate"]["findings"].append(finding)
    known["certificate"]["ok"] = known["certificate"]["ok"] and case.split.certificate.ok


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


def fit_units(opened: Opened, case: Case, sources: Sequence[tuple[str, str]], label: str) -> list[Unit]:
    """Return the units that fit `sources` (encoder, layer), each its own band, over chunks of folds."""
    recipe = opened.recipe
    assert isinstance(recipe, EncodeRecipe)
    settings = fold_settings(recipe, case)
    nuisance = case.rows.nuisance if recipe.timing.regress_nuisance else None
    shared = {
        "rows": case.rows.digest,
        "features": [case.features.digest(*source) for source in sources],
        "settings": {**vars(settings), "alphas": settings.alphas.tolist()},
        "nuisance": nuisance is not None,
    }
    chunks = np.array_split(np.arange(len(case.split.folds)), min(MAX_CHUNKS, len(case.split.folds)))

    def compute(chunk: np.ndarray) -> dict[str, np.ndarray]:
        bands = [case.features.rows(*source)[case.rows.first] for source in sources]
        results = []
        for index in chunk:
            train, test = case.split.folds[index]
            results.append(
                fit_fold(
                    bands, case.rows.Y, train, test, settings,
                    inner_groups=case.split.inner_groups(train), run=case.rows.run, nuisance=nuisance,
                )
            )  # fmt: skip
        return {
            "row": np.concatenate([case.split.folds[index][1] for index in chunk]),
            "fold": np.concatenate([np.full(len(case.split.folds[index][1]), index) for index in chunk]),
            "y_true": np.concatenate([result.y_true for result in results]),
            "y_pred": np.concatenate([result.y_pred for result in results]),
            "log10_alpha": np.log10(np.stack([result.best_alphas for result in results])).astype(np.float32),
            "at_edge": np.stack([result.at_edge for result in results]),
        }

    units = []
    for chunk in chunks:
        key = {**shared, "folds": [[digest_array(part) for part in case.split.folds[index]] for index in chunk]}
        where = f"{case.rows.subject}, {label}, fold {chunk[0] + 1}" + (f"-{chunk[-1] + 1}" if len(chunk) > 1 else "")
        units.append(Unit("fit", where, key, partial(compute, chunk)))
    return units


def plan_fits(opened: Opened, case: Case) -> Iterator[Fits]:
    """Yield the fits of every layer of every encoder."""
    for entry in opened.encoders:
        for layer in entry.layers:
            label = f"{entry.name}.{layer.name}"
            yield Fits(case, entry, layer, fit_units(opened, case, [(entry.name, layer.name)], label))


def plan_nested(opened: Opened, case: Case) -> Iterator[tuple[list[Fits], Fits]]:
    """Yield, for every layer of every model, the fits of the controls (together, and each alone) and of all."""
    recipe = opened.recipe
    assert isinstance(recipe, EncodeRecipe)
    if recipe.unique is None or case.rows.scheme.label != recipe.schemes[0].label:
        return
    over = recipe.unique.over
    names = [e.name for e in opened.encoders if not e.is_model] if over == "controls" else list(over)
    base = [(name, opened.encoder(name).layers[-1].name) for name in names]
    small = [Fits(case, None, None, fit_units(opened, case, [one], f"{one[0]}.{one[1]}")) for one in base]
    if len(base) > 1:
        small.append(Fits(case, None, None, fit_units(opened, case, base, "controls")))
    for entry in opened.encoders:
        if entry.name in names or not entry.is_model:
            continue
        for layer in entry.layers:
            sources = [*base, (entry.name, layer.name)]
            full = fit_units(opened, case, sources, f"controls + {entry.name}.{layer.name}")
            yield small, Fits(case, entry, layer, full)


def full_fit(opened: Opened, case: Case, fit: Fits) -> dict[str, np.ndarray]:
    """Return weights of one layer, refitted on all rows; see `brainbench.ridge.encoding.fit_all`."""
    recipe = opened.recipe
    assert isinstance(recipe, EncodeRecipe) and fit.encoder is not None and fit.layer is not None
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


def scoring(recipe: EncodeRecipe, case: Case) -> Scoring:
    """Return how the predictions of a case are scored."""
    return Scoring(
        metrics=tuple(recipe.metrics),
        over=case.split.over,
        null=case.split.null,
        block_length=case.split.block_length,
        n_permutations=recipe.significance.n_permutations,
        n_draws=recipe.bootstrap.n_draws,
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


def score_unit(recipe: EncodeRecipe, folder: RunFolder, fit: Fits) -> Unit:
    """Return the unit that scores a fit."""
    case, how = fit.case, scoring(recipe, fit.case)

    def compute() -> dict[str, np.ndarray]:
        held_out = gather(fit, folder)
        scored = score_predictions(
            held_out["y_true"], held_out["y_pred"], held_out["fold"], how,
            rois=case.responses.rois,
            run=case.rows.run[held_out["row"]],
            stimulus=case.rows.stimulus[held_out["row"]],
        )  # fmt: skip
        return {**scored.to_arrays(), "edge_share": np.array(held_out["at_edge"].mean())}

    assert fit.encoder is not None and fit.layer is not None
    key = {
        "fits": [unit.digest for unit in fit.units],
        "scoring": vars(how),
        "tested": how.metrics[0],  # units of before, where Pearson's r was tested whatever came first, are not read
        "rois": _rois_digest(case.responses),
    }
    return Unit("score", f"{case.rows.subject}, {fit.encoder.name}.{fit.layer.name}", key, compute)


def nested_unit(recipe: EncodeRecipe, folder: RunFolder, small: Sequence[Fits], full: Fits) -> Unit:
    """Return the unit that scores what a layer adds to the controls."""
    case, how = full.case, scoring(recipe, full.case)

    def compute() -> dict[str, np.ndarray]:
        both = gather(full, folder)
        return score_nested(
            both["y_true"], [gather(one, folder)["y_pred"] for one in small], both["y_pred"], both["fold"], how,
            rois=case.responses.rois,
            run=case.rows.run[both["row"]],
            stimulus=case.rows.stimulus[both["row"]],
        ).to_arrays()  # fmt: skip

    assert full.encoder is not None and full.layer is not None
    key = {
        "small": [[unit.digest for unit in one.units] for one in small],
        "full": [unit.digest for unit in full.units],
        "scoring": vars(how),
        "rois": _rois_digest(case.responses),
    }
    return Unit("unique", f"{case.rows.subject}, unique {full.encoder.name}.{full.layer.name}", key, compute)


def _rois_digest(responses: Responses) -> str:
    return digest({name: digest_array(np.asarray(mask)) for name, mask in responses.rois.items()})


# Tables -----------------------------------------------------------------------------------------------------------


def report_fit(recipe: EncodeRecipe, outcome: Outcome, fit: Fits, scored: Scored, ceilings: CeilingBook) -> None:
    """Add the rows and target arrays of one layer."""
    case, entry, layer = fit.case, fit.encoder, fit.layer
    assert entry is not None and layer is not None
    common = {
        "subject": case.rows.subject,
        "scheme": case.rows.scheme.label,
        "encoder": entry.name,
        "role": entry.settings.role,
        "layer": layer.name,
        "depth": layer.depth,
    }
    for roi, mask in case.responses.rois.items():
        for metric in scored.metrics:
            row = {**common, "roi": roi, "metric": metric, "n_targets": int(np.sum(mask))}
            outcome.add(
                **row,
                fold=ALL,
                n_rows=scored.n_rows,
                ceiling=ceilings.of(case.responses, case.rows, mask, metric),
                **scored.summary(metric, roi),
            )
            for fold, value, n_rows in scored.per_fold(metric, roi):
                outcome.add(**row, fold=str(fold), value=value, n_rows=n_rows)
    lead = recipe.metrics[0]
    facts = (case.rows.subject, case.rows.scheme.label, entry.name, layer.name)
    outcome.maps.append(TargetMap(*facts, lead, scored.targets[lead]))
    if scored.target_p is not None:
        outcome.maps.append(TargetMap(*facts, "p", scored.target_p))
    share = scored.edge_share
    if share > 0.2:
        outcome.warn(
            f"{entry.name}.{layer.name}, {case.rows.subject} ({case.rows.scheme.label}): {share:.0%} of the chosen "
            "penalties stand at the edge of the grid; widen `head.log10_alphas`"
        )


def report_nested(outcome: Outcome, fit: Fits, scored: Scored) -> None:
    """Add the rows of what one layer adds to the controls."""
    case, entry, layer = fit.case, fit.encoder, fit.layer
    assert entry is not None and layer is not None
    for roi, mask in case.responses.rois.items():
        outcome.add(
            subject=case.rows.subject, scheme=case.rows.scheme.label, encoder=entry.name, role=entry.settings.role,
            layer=layer.name, depth=layer.depth, roi=roi, fold=ALL, metric="unique_r2", n_targets=int(np.sum(mask)),
            n_rows=scored.n_rows, **scored.summary("unique_r2", roi),
        )  # fmt: skip
