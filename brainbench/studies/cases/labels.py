"""A label read from the responses (``decoding:``), with every fitted step inside the training fold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import combinations

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.evaluation.decoding import DecodingScore, pair_metric, score_labels
from brainbench.recipes.kinds import Recipe
from brainbench.recipes.parts import Decoder, Decoding
from brainbench.report.tables import probability
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.cases.case import Case
from brainbench.studies.cases.folds import labels_of_rows
from brainbench.studies.cases.label_tasks import LabelTask
from brainbench.studies.outcome import ALL, Outcome
from brainbench.studies.words import number, significant

UNLABELLED = ("", "n/a")
"""How tables, and those of BIDS, write that a row has no label."""
UNEQUAL = 1.25
"""How many times its equal share the most frequent class may have before the page says so."""


@dataclass(frozen=True)
class Reading:
    """One classifier on one region of a case: the tasks of all classes, then of every pair, with their units."""

    case: Case
    decoder: Decoder
    roi: str
    tasks: list[tuple[LabelTask, Unit]]


def plan_readings(recipe: Recipe, decoding: Decoding, cases: Iterable[Case]) -> list[Reading]:
    """Return every classifier on every chosen region of every case."""
    found = []
    for case in cases:
        labels = labels_of(case, decoding.label)
        classes = classes_of(labels)
        pairs = combinations(classes, 2) if decoding.pairwise and len(classes) > 2 else ()
        tasks = [LabelTask(recipe, case, labels, chosen) for chosen in (classes, *pairs)]
        for decoder in decoding.decoders:
            for roi in choose_rois(case, decoding):
                units = [_unit(task, decoder, roi) for task in tasks]
                found.append(Reading(case, decoder, roi, list(zip(tasks, units, strict=True))))
    return found


def report_readings(recipe: Recipe, runner: Runner, outcome: Outcome, readings: Iterable[Reading]) -> None:
    """Add the scores of every classifier."""
    for reading in readings:
        task = reading.tasks[0][0]
        if without := len(task.labels) - len(task.rows):
            outcome.warn(
                f"decoding of {reading.case.rows.subject}: {without} of {len(task.labels)} rows are left out, which "
                "have no label (n/a, or nothing)"
            )
        for index, (task, unit) in enumerate(reading.tasks):
            arrays = runner.read([unit])[0]
            null, missing = task.null(arrays)
            if missing:
                outcome.doubt(f"decoding of {reading.case.rows.subject} is not tested: {missing}")
            score = score_labels(
                np.searchsorted(task.classes, task.labels[arrays["row"]]), arrays["predicted"], arrays["fold"],
                n_classes=len(task.classes), null=null, learned=task.learned, n_draws=recipe.bootstrap.n_draws,
                confidence=recipe.bootstrap.confidence, seed=recipe.seed,
            )  # fmt: skip
            _report(outcome, reading, task, score, None if null is None else null.text, is_pair=index > 0)


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
    if len(classes := classes_of(labels)) < 2:
        shown = f"'{classes[0]}'" if classes else "without a label"
        raise UserError(f"decoding.label: every row of {case.rows.subject} is {shown}: nothing to tell apart")
    return labels


def classes_of(labels: np.ndarray) -> tuple[str, ...]:
    """Return the classes among the labels of rows, sorted; rows without a label are of none."""
    return tuple(str(name) for name in np.unique(labels) if name not in UNLABELLED)


def choose_rois(case: Case, decoding: Decoding) -> list[str]:
    """Return the ROIs whose names match the recipe's globs."""
    names = list(case.responses.rois)
    chosen = [name for name in names if any(fnmatchcase(name, pattern) for pattern in decoding.rois)]
    if not chosen:
        raise UserError(f"decoding.rois: {decoding.rois} matches none of {one_of(names)}")
    return chosen


def _unit(task: LabelTask, decoder: Decoder, roi: str) -> Unit:
    case = task.case
    mask = np.asarray(case.responses.rois[roi])

    def compute() -> dict[str, np.ndarray]:
        from brainbench.decoders.classifiers import make_classifier  # scikit-learn: what describes a unit needs none
        from brainbench.decoders.exchanged import predict_exchanged

        X = np.asarray(case.rows.Y[task.rows][:, mask], dtype=np.float64)
        found: dict[str, list[np.ndarray]] = {"row": [], "fold": [], "predicted": [], "exchanged": []}
        for fold, train, test in task.folds:
            if len(np.unique(task.y[train])) < 2:
                raise UserError(f"fold {fold + 1} has only one class in training")
            try:
                classifier = make_classifier(decoder.classifier, seed=0).fit(X[train], task.y[train])
                found["predicted"].append(np.asarray(classifier.predict(X[test]), dtype=np.int16))
                if task.orders is not None:
                    new = make_classifier(decoder.classifier, seed=0)
                    again = predict_exchanged(new, X[train], task.orders[:, train], X[test])
                    found["exchanged"] += [] if again is None else [again.T.astype(np.int16)]
            except (ValueError, np.linalg.LinAlgError) as error:
                raise UserError(f"fold {fold + 1}: {decoder.classifier} cannot be fitted ({error})") from error
            found["row"].append(task.rows[test])
            found["fold"].append(np.full(len(test), fold))
        return {name: np.concatenate(parts) for name, parts in found.items() if parts}

    key = {"rows": case.rows.digest, "roi": digest_array(mask), "classifier": decoder.classifier, **task.key()}
    return Unit("decode", f"{case.rows.subject}, {decoder.name}, {roi}", key, compute)


def _report(
    outcome: Outcome, reading: Reading, task: LabelTask, score: DecodingScore, test: str | None, *, is_pair: bool
) -> None:
    """Add the rows of one classifier on one ROI: all classes, or one pair."""
    case, roi = reading.case, reading.roi
    subject = case.rows.subject
    common = {
        "subject": subject, "scheme": case.rows.scheme.label, "pipeline": reading.decoder.name, "roi": roi,
        "n_targets": int(np.sum(case.responses.rois[roi])),
    }  # fmt: skip

    def add(metric: str, value: float, of: str, **more: float) -> None:
        p, null_95 = score.tested.get(of, (None, None))
        outcome.add(
            **common, fold=ALL, metric=metric, value=value, p=p, null_95=null_95, n_rows=score.n_rows,
            test=None if p is None else test, **more,
        )  # fmt: skip

    metric = pair_metric(*task.classes) if is_pair else "accuracy"
    outcome.guess(metric, subject, score.guess)
    add(metric, score.accuracy, "accuracy", ci_low=score.ci_low, ci_high=score.ci_high)
    if is_pair:
        return
    outcome.guess("balanced_accuracy", subject, 1 / score.n_classes)
    if score.guess > UNEQUAL / score.n_classes:
        outcome.warn(
            f"{subject}, {roi}: classes are unequal, and guessing the most frequent one is right in "
            f"{score.guess:.0%} of rows: accuracy is held against that, and balanced accuracy says more"
        )
    add("balanced_accuracy", score.balanced_accuracy, "balanced_accuracy")
    for fold, value, n_rows in score.per_fold:
        outcome.add(**common, fold=str(fold), metric="accuracy", value=value, n_rows=n_rows)
    outcome.note(
        "confusion",
        {
            **{name: common[name] for name in ("subject", "scheme", "pipeline", "roi")},
            "labels": list(task.classes),
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
