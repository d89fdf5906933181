"""A label read from the responses (``decoding:``), with every fitted step inside the training fold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import combinations

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.decoders.classifiers import make_classifier
from brainbench.evaluation.decoding import DecodingScore, pair_metric, score_labels
from brainbench.recipes.kinds import Recipe
from brainbench.recipes.parts import Decoder, Decoding
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.cases.case import Case
from brainbench.studies.cases.folds import labels_of_rows
from brainbench.studies.outcome import ALL, Outcome
from brainbench.studies.words import number, probability, significant

UNEQUAL = 1.25
"""How many times its equal share the most frequent class may have before the page says so."""


@dataclass(frozen=True)
class Reading:
    """One classifier on one region of a case: the units of all classes, then of every pair."""

    case: Case
    decoder: Decoder
    roi: str
    labels: np.ndarray
    units: list[Unit]


def plan_readings(decoding: Decoding, cases: Iterable[Case]) -> list[Reading]:
    """Return every classifier on every chosen region of every case."""
    found = []
    for case in cases:
        labels = labels_of(case, decoding.label)
        for decoder in decoding.decoders:
            for roi in choose_rois(case, decoding):
                units = list(decode_units(case, decoder, roi, labels, decoding))
                found.append(Reading(case, decoder, roi, labels, units))
    return found


def report_readings(
    recipe: Recipe, decoding: Decoding, runner: Runner, outcome: Outcome, readings: Iterable[Reading]
) -> None:
    """Add the scores of every classifier."""
    for reading in readings:
        labels, run = reading.labels, reading.case.rows.run
        classes = np.unique(labels)
        pairs = [tuple(classes), *(combinations(classes, 2) if decoding.pairwise and len(classes) > 2 else ())]
        for unit, chosen in zip(reading.units, pairs, strict=True):
            arrays = runner.read([unit])[0]
            score = score_labels(
                labels[arrays["row"]], arrays["predicted"], arrays["fold"], run=run[arrays["row"]],
                n_permutations=recipe.significance.n_permutations, n_draws=recipe.bootstrap.n_draws,
                confidence=recipe.bootstrap.confidence, seed=recipe.seed,
            )  # fmt: skip
            pair = None if len(chosen) == len(classes) else chosen
            _report(outcome, reading.case, reading.decoder, reading.roi, score, pair)


def labels_of(case: Case, name: str) -> np.ndarray:
    """Return the label of every row.

    Raises
    ------
    UserError
        If the data has no such label, or only one class.
    """
    known = labels_of_rows(case.rows, case.responses, case.features.stimuli)
    if name not in known:
        raise UserError(
            f"decoding.label: {case.rows.subject} has no row label '{name}'{did_you_mean(name, known)}",
            hint=f"row labels: {one_of(known) or 'none'}",
        )
    labels = np.asarray(known[name], dtype=str)
    if len(np.unique(labels)) < 2:
        raise UserError(f"decoding.label: every row of {case.rows.subject} is '{labels[0]}': nothing to tell apart")
    return labels


def choose_rois(case: Case, decoding: Decoding) -> list[str]:
    """Return the ROIs whose names match the recipe's globs."""
    names = list(case.responses.rois)
    chosen = [name for name in names if any(fnmatchcase(name, pattern) for pattern in decoding.rois)]
    if not chosen:
        raise UserError(f"decoding.rois: {decoding.rois} matches none of {one_of(names)}")
    return chosen


def decode_units(case: Case, decoder: Decoder, roi: str, labels: np.ndarray, decoding: Decoding) -> Iterator[Unit]:
    """Yield the unit of all classes, then one per pair."""
    mask = np.asarray(case.responses.rois[roi])
    classes = np.unique(labels)
    pairs = combinations(classes, 2) if decoding.pairwise and len(classes) > 2 else ()
    for chosen in (tuple(classes), *pairs):
        rows = np.flatnonzero(np.isin(labels, chosen))

        def compute(rows: np.ndarray = rows) -> dict[str, np.ndarray]:
            X = np.asarray(case.rows.Y[:, mask], dtype=np.float64)
            found: dict[str, list[np.ndarray]] = {"row": [], "fold": [], "predicted": []}
            for index, (train, test) in enumerate(case.split.folds):
                train, test = np.intersect1d(train, rows), np.intersect1d(test, rows)
                if not len(test):
                    continue
                if len(np.unique(labels[train])) < 2:
                    raise UserError(f"fold {index + 1} has only one class in training")
                try:
                    classifier = make_classifier(decoder.classifier, seed=0).fit(X[train], labels[train])
                except (ValueError, np.linalg.LinAlgError) as error:
                    raise UserError(f"fold {index + 1}: {decoder.classifier} cannot be fitted ({error})") from error
                found["row"].append(test)
                found["fold"].append(np.full(len(test), index))
                found["predicted"].append(np.asarray(classifier.predict(X[test]), dtype=str))
            return {name: np.concatenate(parts) for name, parts in found.items()}

        key = {
            "rows": case.rows.digest,
            "roi": digest_array(mask),
            "labels": digest_array(labels),
            "classes": [str(name) for name in chosen],
            "classifier": decoder.classifier,
            "folds": [[digest_array(part) for part in fold] for fold in case.split.folds],
        }
        yield Unit("decode", f"{case.rows.subject}, {decoder.name}, {roi}", key, compute)


def _report(
    outcome: Outcome, case: Case, decoder: Decoder, roi: str, score: DecodingScore, pair: tuple[str, ...] | None
) -> None:
    """Add the rows of one classifier on one ROI: all classes, or one pair."""
    common = {
        "subject": case.rows.subject,
        "scheme": case.rows.scheme.label,
        "pipeline": decoder.name,
        "roi": roi,
        "n_targets": int(np.sum(case.responses.rois[roi])),
    }
    if pair is not None:
        metric = pair_metric(*pair)
        outcome.guess(metric, case.rows.subject, score.guess)
        outcome.add(
            **common, fold=ALL, metric=metric, value=score.accuracy, ci_low=score.ci_low, ci_high=score.ci_high,
            p=score.p, null_95=score.null_95, n_rows=score.n_rows,
        )  # fmt: skip
        return
    outcome.guess("accuracy", case.rows.subject, score.guess)
    outcome.guess("balanced_accuracy", case.rows.subject, 1 / score.n_classes)
    if score.guess > UNEQUAL / score.n_classes:
        outcome.warn(
            f"{case.rows.subject}, {roi}: classes are unequal, and guessing the most frequent one is right in "
            f"{score.guess:.0%} of rows: accuracy is held against that, and balanced accuracy says more"
        )
    outcome.add(
        **common, fold=ALL, metric="accuracy", value=score.accuracy, ci_low=score.ci_low, ci_high=score.ci_high,
        p=score.p, null_95=score.null_95, n_rows=score.n_rows,
    )  # fmt: skip
    outcome.add(**common, fold=ALL, metric="balanced_accuracy", value=score.balanced_accuracy, n_rows=score.n_rows)
    for fold, value, n_rows in score.per_fold:
        outcome.add(**common, fold=str(fold), metric="accuracy", value=value, n_rows=n_rows)
    outcome.note(
        "confusion",
        {
            "subject": case.rows.subject,
            "scheme": case.rows.scheme.label,
            "pipeline": decoder.name,
            "roi": roi,
            "labels": score.labels,
            "counts": score.confusion.tolist(),
        },
    )


def reading_claims(outcome: Outcome, subject: str) -> list[str]:
    """Return a sentence for every classifier on every region of a subject."""
    sentences = []
    for row in outcome.rows:
        if row["fold"] != ALL or row["subject"] != subject or row["metric"] != "accuracy":
            continue
        chance = outcome.own_chance.get(("accuracy", subject), outcome.chance.get("accuracy", 0.0))
        text = f"{row['roi']} ({subject}): {row['pipeline']} is right in {number(row['value'], 2)} of rows"
        if row.get("p") is None or not np.isfinite(row["p"]):
            sentences.append(f"{text}; this was not tested (the best constant guess reaches {number(chance)}).")
            continue
        verdict = "above" if significant(row) and row["value"] > chance else "not above"
        sentences.append(f"{text}, {verdict} chance ({number(chance)}; p {probability(row.get('p'))}).")
    return sentences
