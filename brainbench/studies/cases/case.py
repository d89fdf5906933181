"""A case: one subject's responses, features, rows and folds under one scheme."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainbench.data.account import Modelled
from brainbench.data.base import Responses, Stimuli
from brainbench.recipes.kinds import ResponseRecipe
from brainbench.recipes.parts import Timing
from brainbench.studies.cases.features import Features
from brainbench.studies.cases.folds import Split, split_rows
from brainbench.studies.cases.rows import GROUP, Rows, make_rows
from brainbench.studies.opened import Opened
from brainbench.studies.outcome import Outcome

MAX_CHUNKS = 16
"""Folds are gathered into at most so many units per layer."""


@dataclass
class Case:
    """One subject under one scheme."""

    responses: Responses
    features: Features
    rows: Rows
    split: Split

    @property
    def chunks(self) -> list[np.ndarray]:
        """Indices of folds, gathered into at most `MAX_CHUNKS` units."""
        n = len(self.split.folds)
        return np.array_split(np.arange(n), min(MAX_CHUNKS, n))


def open_cases(
    opened: Opened[ResponseRecipe], stimuli: Stimuli, responses: Responses, timing: Timing | None = None
) -> Iterator[Case]:
    """Yield one case per scheme; continuous designs need a `timing`."""
    recipe = opened.recipe
    features = Features(opened, stimuli, responses, timing)
    for scheme in recipe.schemes:
        rows = make_rows(responses, scheme, recipe.responses)
        yield Case(responses, features, rows, split_rows(rows, features, recipe))


def models_of(subject: str, modelled: Modelled) -> dict[str, Any]:
    """Return what the report shows of the GLMs of a participant; the design of the first run stands for all."""
    first, *_ = modelled.runs
    size = np.abs(first.design).max(axis=0)
    scaled = np.round(first.design / np.where(size > 0, size, 1), 2)
    facts = [{name: value for name, value in vars(run).items() if name != "design"} for run in modelled.runs]
    runs = [one | {"n_regressors": len(one.pop("regressors"))} for one in facts]
    design = {"regressors": first.regressors, "values": scaled.tolist()}
    return {"subject": subject, "runs": runs, "repeats": modelled.repeats, "design": design}


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
                "continuous": responses.continuous is not None,
                "rois": {name: int(np.sum(mask)) for name, mask in responses.rois.items()},
                "notes": [*responses.notes, *case.features.notes],
            }
        )
        if responses.subject != GROUP:
            outcome.data += responses.account
            if responses.modelled is not None:
                outcome.note("models", models_of(responses.subject, responses.modelled))
        if responses.masker is not None:
            outcome.images[responses.subject] = (responses.masker, responses.background, responses.space)
    known = outcome.schemes.setdefault(rows.scheme.label, case.split.facts(rows.scheme, is_main))
    if case.split.over == "pooled":
        outcome.warn(
            f"{rows.scheme.label}: folds of fewer than three test stimuli have no score of their own, so that "
            "predictions are pooled; a pooled correlation lies below 0 where there is no effect, and finds less: deal "
            "larger folds"
        )
    for finding in case.split.certificate.findings:
        if finding not in known["certificate"]["findings"]:
            known["certificate"]["findings"].append(finding)
    known["certificate"]["ok"] = known["certificate"]["ok"] and case.split.certificate.ok
