"""``facts.json``: what the report says besides the scores."""

from __future__ import annotations

from typing import Any

from brainbench.data.cards import load_card
from brainbench.evaluation.certificate import LEAK
from brainbench.recipes.kinds.decode import DecodeRecipe
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.recipes.kinds.explore import ExploreRecipe
from brainbench.recipes.kinds.reconstruct import ReconstructRecipe
from brainbench.recipes.kinds.trials import TrialsRecipe
from brainbench.studies.claims import claims
from brainbench.studies.opened import Opened
from brainbench.studies.outcome import Outcome


def describe(opened: Opened, outcome: Outcome) -> dict[str, Any]:
    """Return the facts of a finished run."""
    recipe: Any = opened.recipe
    card = load_card(recipe.dataset.name)
    metrics = list(dict.fromkeys(row["metric"] for row in outcome.rows))
    if isinstance(recipe, ExploreRecipe):
        lead = "predicted_response"
    else:
        lead = "accuracy" if isinstance(recipe, DecodeRecipe | TrialsRecipe) else recipe.metrics[0]
    return {
        "kind": recipe.kind,
        "title": recipe.title,
        "question": question(opened),
        "simulated": bool(opened.dataset.simulated),
        "untrained": untrained(opened),
        "dataset": {
            "name": recipe.dataset.name,
            "title": card.title,
            "licence": card.licence,
            "citation": card.citation,
            "source": card.source,
            "root": opened.root_note,
            "notes": opened.dataset.notes(),
            "truth": opened.dataset.truth(),
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
                "note": "" if entry.encoder is None else entry.encoder.note,
                "layers": [vars(layer) for layer in entry.layers],
            }
            for entry in opened.encoders
        ],
        "metric": lead,
        "metrics": metrics,
        "best_layer": outcome.best_layer,
        "claims": claims(opened, outcome),
        "reconstruction": reconstruction_facts(opened),
        "exploration": outcome.explorations or None,
        "rsa_ceilings": outcome.rsa_ceilings,
        "doubts": [*leaks(outcome), *outcome.doubts],
        "warnings": outcome.warnings,
        "confusion": outcome.confusion,
        "trials": outcome.trials or None,
        "maps": outcome.map_files,
        "pictures": outcome.picture_files,
        "target_summaries": outcome.target_files,
    }


def leaks(outcome: Outcome) -> list[str]:
    """Return what the certificates of all schemes found to let a score rise without the brain."""
    several = len(outcome.schemes) > 1
    return [
        f"{finding} (held out: {scheme['label']})" if several else finding
        for scheme in outcome.schemes.values()
        for finding in scheme["certificate"]["findings"]
        if finding.startswith(LEAK)
    ]


def untrained(opened: Opened) -> list[str]:
    """Return names of everything with random weights."""
    names = [entry.name for entry in opened.encoders if entry.untrained]
    recipe = opened.recipe
    if isinstance(recipe, ReconstructRecipe | ExploreRecipe):
        if isinstance(recipe, ReconstructRecipe) and opened.codec is not None and opened.codec.untrained:
            names.append(recipe.low_level.codec)
        if opened.generator is not None and opened.generator.untrained and recipe.generator is not None:
            names.append(recipe.generator.name)
    return names


def reconstruction_facts(opened: Opened) -> dict[str, Any] | None:
    """Return what the report says of a recipe that reconstructs, besides its images."""
    recipe = opened.recipe
    if not isinstance(recipe, ReconstructRecipe):
        return None
    from brainbench.reconstruction.metrics import METRICS
    from brainbench.studies.reconstruct.claims import lead_metric

    return {
        "codec": recipe.low_level.codec,
        "generator": None if recipe.generator is None else recipe.generator.name,
        "calibration": recipe.calibration,
        "identify_within": recipe.identify_within,
        "lead": lead_metric(recipe),
        "metrics": {name: vars(METRICS[name]) for name in recipe.metrics},
        "last": "low_level" if recipe.generator is None else "final",
        "weights": weights(recipe),
    }


def weights(recipe: ReconstructRecipe) -> list[dict[str, str]]:
    """Return what to cite for the downloaded weights of codec and generator, and their licences."""
    from brainbench.reconstruction.cards import load_weights_card

    names = [recipe.low_level.codec] + ([] if recipe.generator is None else [recipe.generator.name])
    cards = [card for name in names if (card := load_weights_card(name)) is not None]
    return [{"title": card.title, "licence": card.licence, "citation": card.citation} for card in cards]


def question(opened: Opened) -> str:
    """Return what was asked, in one sentence."""
    recipe: Any = opened.recipe
    people = f"{len(opened.subjects)} {'simulated ' if opened.dataset.simulated else ''}participant"
    people += "" if len(opened.subjects) == 1 else "s"
    if isinstance(recipe, TrialsRecipe):
        return trial_question(recipe, people)
    held = " and ".join({"stimulus": "stimuli", "run": "runs"}[part] for part in recipe.hold_out)
    if isinstance(recipe, EncodeRecipe):
        models = _join([entry.name for entry in opened.encoders if entry.is_model])
        controls = _join([entry.name for entry in opened.encoders if not entry.is_model])
        against = f", held against {controls}" if controls else ""
        subject = f"Which layer of {models}" if models else f"How much do {controls}"
        verb = "explains" if models else "explain of"
        return f"{subject} {verb} which region in {people}{against if models else ''}, on {held} never trained on?"
    if isinstance(recipe, ExploreRecipe):
        return f"Which images would the regions of {people} respond to most, as their encoding models predict?"
    if isinstance(recipe, ReconstructRecipe):
        scheme = recipe.schemes[0]
        if scheme.folds.column is not None:
            held = f"a {scheme.folds.column}"
        elif scheme.folds.cluster_by is not None:
            held = "clusters of images"
        return f"Which images did {people} see? Reconstructed from responses, with {held} never trained on."
    assert recipe.decoding is not None
    decoders = _join([decoder.name for decoder in recipe.decoding.decoders])
    return f"Can {decoders} read {recipe.decoding.label} from the responses of {people}, on {held} never trained on?"


def trial_question(recipe: TrialsRecipe, people: str) -> str:
    """Return what was asked of trials, in one sentence."""
    never = {
        "k-fold": "trials",
        "leave-one-run-out": "runs",
        "leave-one-session-out": "sessions",
        "leave-one-subject-out": "participants",
        "chronological": "later trials",
        "few-shot": "participants of whom a few trials are known",
    }[recipe.evaluate[0].scheme]
    ending = never if recipe.evaluate[0].scheme == "few-shot" else f"{never} never trained on"
    pipelines = _join([pipeline.name for pipeline in recipe.pipelines])
    return f"Can {pipelines} tell the classes apart in trials of {people}, on {ending}?"


def _join(names: list[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
