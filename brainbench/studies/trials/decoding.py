"""``kind: decode`` on recordings: a unit of work per subject, scheme, pipeline and fold; scores and comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from brainbench.core.digests import canonical_json
from brainbench.core.errors import UserError
from brainbench.evaluation.trials.modes import MODES
from brainbench.evaluation.trials.scores import (
    METRICS,
    TrialScores,
    chance_of,
    compare_subjects,
    compare_trials,
    score_trials,
)
from brainbench.recipes.kinds.trials import TrialsRecipe
from brainbench.recipes.pipelines import PipelineSettings
from brainbench.recordings.base import RecordingDataset
from brainbench.runs.units import Unit
from brainbench.studies.cases.across import MEAN
from brainbench.studies.opened import Opened
from brainbench.studies.outcome import ALL, Outcome
from brainbench.studies.trials.nulls import digest_orders, fitted_again, learned_of, refit_orders, trial_null
from brainbench.studies.trials.trials import (
    Case,
    Member,
    TrialStore,
    by_subject,
    make_decoder,
    on_scalp,
    predicted,
    preparation_of,
    recordings_of,
)
from brainbench.studies.words import joined

Held = tuple[np.ndarray, np.ndarray]
"""Classes and probabilities of one participant's held-out trials."""
Hits = tuple[np.ndarray, np.ndarray, bool]
"""Whether each of them was decoded right, its fold, in the order of trials, and whether they trained one another."""
DIFFERENCE = "difference_accuracy"
"""Metric of a comparison of two pipelines."""


def score_pipeline(
    outcome: Outcome, recipe: TrialsRecipe, case: Case, settings: PipelineSettings, arrays: list[dict[str, np.ndarray]]
) -> Iterator[tuple[Member, Held, Hits]]:
    """Add the scores of a pipeline on a case; yield each member's held-out trials, and which were right by trial."""
    for member, predictions in by_subject(case, arrays):
        rows = case.rows.take(predictions.row)
        y = np.searchsorted(case.classes, rows.label)
        null, missing = trial_null(recipe, case, member.subject, y, predictions)
        if missing:
            outcome.doubt(missing)
        learned = learned_of(case, member.subject)
        score = score_trials(
            y, predictions, null=null, learned=learned, n_draws=recipe.bootstrap.n_draws,
            confidence=recipe.bootstrap.confidence, seed=recipe.seed,
        )  # fmt: skip
        _report(outcome, case, member, settings, score, None if null is None else null.text)
        hit = predictions.probability.argmax(axis=1) == y
        # By trial, so that pipelines are compared on the same ones.
        order = np.argsort(predictions.row, kind="stable")
        yield member, (y, predictions.probability), (hit[order], predictions.fold[order], learned)


def pipeline_units(opened: Opened[TrialsRecipe], cases: list[Case]) -> list[tuple[Case, PipelineSettings, list[Unit]]]:
    """Return a unit per case, pipeline and fold."""
    recipe, store = opened.recipe, TrialStore(recordings_of(opened), networks=opened.networks)
    return [
        (case, settings, [_unit(case, settings, recipe, store, index) for index in range(len(case.folds))])
        for case in cases
        for settings in recipe.pipelines
    ]


def _unit(case: Case, settings: PipelineSettings, recipe: TrialsRecipe, store: TrialStore, index: int) -> Unit:
    train, test = case.folds[index]
    decoder = make_decoder(settings, case.members[0], recipe, store.networks)

    def compute() -> dict[str, np.ndarray]:
        prepared = store.prepared(case, settings, decoder)
        domains = case.rows.sessions
        try:
            decoder.fit_prepared(
                prepared[train], case.rows.label[train], groups=case.groups(train), domains=domains[train]
            )
            probability = predicted(decoder, prepared, domains, test, case.known(index), trialwise=case.trialwise)
            seen = decoder.explain(prepared[test], case.rows.label[test], prepared[train])
            network = decoder.network_key()
            again = fitted_again(decoder, refit_orders(recipe, case, case.folds), prepared, (train, test), domains)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise UserError(f"fold {index + 1}: {error}") from error
        if not np.isfinite(probability).all():
            raise UserError(f"fold {index + 1}: probabilities are not finite")
        named = {} if network is None else {"network": np.array(network)}
        # Every class is in every training fold, so columns are the sorted classes.
        return {"row": test, "probability": probability.astype(np.float64), **seen, **named, **again}

    key = {
        "trials": case.digests,
        "rows": case.fold_digest(index),
        "prepared": canonical_json(preparation_of(settings, decoder)),
        "pipeline": settings.model_dump(mode="json", exclude={"name"}),
        "seed": recipe.seed,
        "exchanged": digest_orders(recipe, case, case.folds),
        "threads": recipe.execution.threads_per_unit,
        "explained": True,
    }
    who = case.members[0].subject if len(case.members) == 1 else case.rows.subject[test[0]]
    return Unit("decode_trials", f"{who}, {settings.name}, {case.label}, fold {index + 1}", key, compute)


def pattern_units(opened: Opened[TrialsRecipe], members: list[Member]) -> list[tuple[Member, PipelineSettings, Unit]]:
    """Return a unit per subject and CSP pipeline: patterns fitted on all trials, to be drawn, never scored."""
    recipe, store = opened.recipe, TrialStore(recordings_of(opened))
    found = []
    for member in members:
        for settings in recipe.pipelines:
            # Patterns of aligned trials live in another space than the scalp's.
            if not settings.has_patterns or settings.align != "none" or member.positions is None:
                continue
            decoder = make_decoder(settings, member, recipe)
            case = Case("all trials", recipe.evaluate[0], (member,), member.rows, [])

            def compute(
                case: Case = case, settings: PipelineSettings = settings, decoder: Any = decoder
            ) -> dict[str, np.ndarray]:
                decoder.fit_prepared(store.prepared(case, settings, decoder), case.rows.label)
                patterns: np.ndarray = decoder.patterns_[:4]
                return {"patterns": patterns / np.abs(patterns).max(axis=1, keepdims=True)}

            key = {
                "trials": [member.digest],
                "prepared": canonical_json(preparation_of(settings, decoder)),
                "pipeline": settings.model_dump(mode="json", exclude={"name"}),
            }
            found.append((member, settings, Unit("pattern", f"{member.subject}, {settings.name}", key, compute)))
    return found


def _report(
    outcome: Outcome, case: Case, member: Member, settings: PipelineSettings, scored: TrialScores, test: str | None
) -> None:
    common = {"subject": member.subject, "scheme": case.label, "pipeline": settings.name}
    n_channels = len(member.info["ch_names"])
    for metric in METRICS:
        score = scored.metrics[metric]
        outcome.guess(metric, member.subject, chance_of(metric, scored.confusion.sum(axis=1)))
        outcome.add(
            **common, fold=ALL, metric=metric, value=score.value, ci_low=score.ci_low, ci_high=score.ci_high, p=score.p,
            null_95=score.null_95, n_targets=n_channels, n_rows=scored.n_trials, test=test,
        )  # fmt: skip
        for fold, value, n_rows in score.per_fold:
            if len(score.per_fold) > 1:
                outcome.add(
                    **common, fold=str(fold), metric=metric, value=value, n_targets=n_channels, n_rows=n_rows
                )  # fmt: skip
    outcome.note("confusion", {**common, "roi": "", "labels": case.classes, "counts": scored.confusion.tolist()})
    known = outcome.schemes[case.label]
    known["over"] = "pooled" if scored.over == "pooled" else known["over"]


def compare_pipelines(
    outcome: Outcome, recipe: TrialsRecipe, right: Mapping[tuple[str, str], Mapping[str, Hits]],
    subjects: list[str],
) -> None:  # fmt: skip
    """Add the difference of every two pipelines: on the trials of each subject, and over subjects."""
    names = [settings.name for settings in recipe.pipelines]
    for scheme in outcome.schemes:
        for a, b in combinations(names, 2):
            means: list[tuple[float, float]] = []
            for subject in subjects:
                hits = right.get((scheme, subject))
                if hits is None:
                    continue
                (hit_a, fold, learned), (hit_b, *_) = hits[a], hits[b]
                found = compare_trials(
                    hit_a, hit_b, fold, n_permutations=recipe.significance.n_permutations, learned=learned,
                    n_draws=recipe.bootstrap.n_draws, confidence=recipe.bootstrap.confidence, seed=recipe.seed,
                )  # fmt: skip
                means.append((float(hit_a.mean()), float(hit_b.mean())))
                _add_difference(outcome, subject, scheme, f"{a} - {b}", found)
            if len(means) > 1:
                table = np.array(means)
                found = compare_subjects(
                    table[:, 0], table[:, 1], confidence=recipe.bootstrap.confidence, seed=recipe.seed
                )
                _add_difference(outcome, MEAN, scheme, f"{a} - {b}", found)


def _add_difference(outcome: Outcome, subject: str, scheme: str, pipeline: str, found: Any) -> None:
    outcome.add(
        subject=subject, scheme=scheme, pipeline=pipeline, fold=ALL, metric=DIFFERENCE, value=found.value,
        ci_low=found.ci_low, ci_high=found.ci_high, p=found.p, n_rows=found.n,
    )  # fmt: skip


def _signal_facts(member: Member, recipe: TrialsRecipe) -> dict[str, Any]:
    """Return what the report shows of a participant's signal."""
    signal, info = member.signal, member.info
    return {
        "subject": member.subject,
        "sfreq": float(info["sfreq"]),
        "unit": signal.unit,
        "band": recipe.dataset.model_dump().get("band"),
        "channels": list(info["ch_names"]),
        "positions": None if member.positions is None else np.round(member.positions, 5).tolist(),
        "frequencies": signal.frequencies.round(2).tolist(),
        "before": signal.before.round(1).tolist(),
        "filtered_frequencies": signal.filtered_frequencies.round(2).tolist(),
        "filtered": signal.filtered.round(1).tolist(),
        "power": signal.power.round(1).tolist(),
    }


def _said(settings: PipelineSettings, member: Member, recipe: TrialsRecipe) -> dict[str, str]:
    """Return what a decoder says of the channels that it reads."""
    said = make_decoder(settings, member, recipe).said()
    return {"channels": said} if said else {}


def note_trials(
    outcome: Outcome, recipe: TrialsRecipe, dataset: RecordingDataset, members: list[Member], cases: list[Case]
) -> None:
    """Write down what the report says of subjects, schemes and pipelines."""
    for member in members:
        outcome.data += dataset.account(member.subject)
        labels, counts = np.unique(member.rows.label, return_counts=True)
        info = member.info
        end = member.tmin + (member.n_times - 1) / info["sfreq"]
        outcome.subjects.append(
            {
                "subject": member.subject,
                "n_rows": len(member.rows),
                "n_targets": len(info["ch_names"]),
                "n_stimuli": len(labels),
                "n_repeats": float(np.median(counts)),
                "n_runs": len(np.unique(member.rows.runs)),
                "rois": {},
                "labels": {str(name): int(count) for name, count in zip(labels, counts, strict=True)},
                "n_sessions": len(np.unique(member.rows.sessions)),
                "notes": [f"{info['sfreq']:g} Hz, {member.tmin:g} to {end:g} s after the event"],
            }
        )
        outcome.note("signal", _signal_facts(member, recipe))
        if counts.max() > 2 * counts.min():
            shares = ", ".join(f"{name} {count}" for name, count in zip(labels, counts, strict=True))
            outcome.warn(f"{member.subject}: classes are unbalanced ({shares}): read balanced accuracy")
    for case in cases:
        known = outcome.schemes.setdefault(
            case.label,
            {
                "label": case.label,
                "hold_out": [case.label],
                "n_folds": 0,
                "note": MODES[case.evaluation.mode].text,
                "main": case is cases[0],
                "certificate": {"ok": True, "findings": [], "counts": {}},
                "null": "labels are exchanged within runs and folds; how, and what was fitted again, stands beside "
                "every score in `scores.csv` (`test`)",
                "over": "folds",
            },
        )
        known["n_folds"] += len(case.folds)
        known["certificate"]["ok"] &= case.certificate.ok
        for finding in case.certificate.findings:
            if finding not in known["certificate"]["findings"]:
                known["certificate"]["findings"].append(finding)
    for settings in recipe.pipelines:
        where = list(dict.fromkeys(case.label for case in cases if case.transductive(settings.align)))
        if where:
            outcome.warn(
                f"{settings.name} is transductive under {joined(where)}: the mean covariance of an unseen subject or "
                "session is taken from its unlabelled test trials, which a decoder that runs online does not have"
            )
    first = members[0]
    outcome.findings["trials"] = {
        "classes": sorted({str(label) for member in members for label in member.rows.label}),
        "pipelines": [
            settings.model_dump(mode="json") | _said(settings, first, recipe) for settings in recipe.pipelines
        ],
        "shots": [case.label for case in cases if case.evaluation.scheme == "few-shot"],
        "on_scalp": on_scalp(first.info),
        "not_grouped": [],
        "patterns": [],
        "relevance": [],
        "attention": [],
        "calibration": [],
        "time": None,
        "band": None,
        "region": None,
        "without": None,
        "contacts": None,
    }
