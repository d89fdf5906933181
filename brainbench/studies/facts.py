"""What the report says besides the scores; see `brainbench.core.facts`."""

from __future__ import annotations

from typing import Any

from brainbench.core.facts import FORMAT
from brainbench.data.cards import load_card
from brainbench.evaluation.certificate import LEAK
from brainbench.evaluation.decoding import classes_of
from brainbench.studies.base import Study
from brainbench.studies.opened import OpenEncoder
from brainbench.studies.outcome import Outcome


def describe(study: Study[Any], outcome: Outcome) -> dict[str, Any]:
    """Return the facts of a finished run."""
    recipe, opened = study.recipe, study.opened
    card = load_card(recipe.dataset.name)
    metrics = list(dict.fromkeys(row["metric"] for row in outcome.rows))
    return {
        "format": FORMAT,
        "kind": recipe.kind,
        "title": recipe.title,
        "question": study.question(),
        "simulated": bool(opened.dataset.simulated),
        "untrained": study.untrained(),
        "trained": study.trained(),
        "dataset": {
            "name": recipe.dataset.name,
            "title": card.title,
            "licence": card.licence,
            "citation": card.citation,
            "source": card.source,
            "root": opened.root_note,
            "notes": opened.dataset.notes(),
            "truth": opened.dataset.truth(),
            "made": opened.dataset.made,
        },
        "subjects": outcome.subjects,
        "data": [vars(row) for row in outcome.data],
        "schemes": list(outcome.schemes.values()),
        "encoders": [
            {
                "name": entry.name,
                "family": entry.settings.family,
                "role": entry.settings.role,
                "untrained": entry.untrained,
                "shuffled": entry.settings.shuffle,
                "pool": entry.settings.pool,
                "note": _note(study, entry),
                "layers": [vars(layer) for layer in entry.layers],
            }
            for entry in opened.encoders
        ],
        "metric": study.lead,
        "metrics": metrics,
        "titles": {name: study.title_of(name) for name in metrics if classes_of(name) is None},
        "chance": outcome.chance,
        **said(study, outcome),
        "doubts": [*leaks(outcome), *outcome.doubts],
        "findings": outcome.findings,
        "warnings": outcome.warnings,
        "maps": outcome.map_files,
        "pictures": outcome.picture_files,
        "target_summaries": outcome.target_files,
    }


def said(study: Study[Any], outcome: Outcome) -> dict[str, list[str]]:
    """Return the answer and the claims: none where stimuli were made in the place of what was met."""
    if study.opened.dataset.made:
        return {"answer": [], "claims": []}
    return {"answer": study.answer(outcome), "claims": study.claims(outcome)}


def leaks(outcome: Outcome) -> list[str]:
    """Return what the certificates of all schemes found to let a score rise without the brain."""
    several = len(outcome.schemes) > 1
    return [
        f"{finding} (held out: {scheme['label']})" if several else finding
        for scheme in outcome.schemes.values()
        for finding in scheme["certificate"]["findings"]
        if finding.startswith(LEAK)
    ]


def _note(study: Study[Any], entry: OpenEncoder) -> str:
    """Return what an encoder says of itself; of one that was trained here, how training went too."""
    if entry.encoder is None or entry.encoder.training_key() is None:
        return "" if entry.encoder is None else entry.encoder.note
    unit = next(one for one in study.trainings().units if one.key["network"] == entry.encoder.training_key())
    curves = study.runner.read([unit])[0]
    n, best = len(curves["loss"]), int(curves["best_epoch"])
    said = f"{entry.encoder.note}; epoch {best} of {n} taken"
    if "validation_accuracy" in curves:
        said += f", {curves['validation_accuracy'][best - 1]:.0%} of the trials kept for validation right"
    return said
