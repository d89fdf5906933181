"""Follows a study from its first stage to its last."""

from __future__ import annotations

from typing import Any

from brainbench.runs.units import DamagedUnit
from brainbench.studies.base import Study
from brainbench.studies.outcome import Outcome

UNTESTED = (
    "no score of a participant was tested (`significance.n_permutations: 0`): whether one is above chance is not known"
)
"""What is said where a recipe asks for no test."""


def compute(study: Study[Any]) -> Outcome:
    """Compute; units whose files turn out to be damaged are computed again, once each."""
    met: set[str] = set()
    while True:
        try:
            return _compute_once(study)
        except DamagedUnit as error:
            if error.digests <= met:
                raise
            met |= error.digests
            study.runner.folder.remove_damaged()


def _compute_once(study: Study[Any]) -> Outcome:
    """Follow a study from its first stage to its last, and return what it found."""
    training = study.trainings()
    if training.units:
        training.run(study.runner)
    for features in study.features():
        features.extract(study.opened.store, study.runner.stages)
    for stage in study.stages():
        if stage.units:
            stage.run(study.runner)
    outcome = Outcome()
    for features in study.features():
        for remark in features.encoder.remarks(features.encoder.view(features.stimuli)):
            outcome.warn(remark)
    study.gather(outcome)
    for encoder in dict.fromkeys(features.encoder for features in study.features()):
        outcome.data += encoder.account
    if not study.recipe.significance.n_permutations:
        outcome.doubt(UNTESTED)
    outcome.correct()
    outcome.hold_ceilings()
    return outcome
