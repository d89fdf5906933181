"""The contract of a study: a new kind's test is one call of `check_study`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from brainbench.core.progress import Stages
from brainbench.recipes.kinds import Recipe
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.runs.folder import RunFolder
from brainbench.studies.base import Study, all_units, study_of
from brainbench.studies.compute import compute
from brainbench.studies.facts import describe
from brainbench.studies.opened import open_all
from brainbench.studies.outcome import Outcome


def check_study(recipe: Recipe, folder: Path) -> tuple[Outcome, dict[str, Any]]:
    """Run a small recipe, and hold its study against the contract.

    Parameters
    ----------
    recipe : Recipe
    folder : Path
        Empty; gets a run folder and a feature store.

    Returns
    -------
    outcome : Outcome
    facts : dict
        What ``facts.json`` would hold.

    Raises
    ------
    AssertionError
        Naming what does not hold.
    """
    model = type(recipe)
    assert type(recipe).model_validate(recipe.model_dump(mode="json")) == recipe, "the resolved recipe reads otherwise"
    run = RunFolder(folder / "run")
    study = _opened(recipe, run, folder)
    assert study.recipe_model is model, f"{model.studied_by} computes another recipe model"
    assert set(study.memory()) and min(study.memory().values()) >= 0, "memory() names what holds how many MB"
    names = _names(study)
    assert len(names), "no stage has a unit"
    assert names == _names(_opened(recipe, run, folder)), "units have other digests when described again"
    with run.writing():
        outcome = compute(study)
    assert names == _names(_opened(recipe, run, folder)), "units have other digests once results are there"
    missing = [name for name in names if not run.has_unit(name)]
    assert not missing, f"{names[missing[0]] if missing else ''} was described and not computed"
    assert outcome.rows, "no score"
    with run.writing():
        again = compute(_opened(recipe, run, folder))
    assert outcome.scores_csv() == again.scores_csv(), "gathering again gives other scores"
    done = [event["unit"] for event in run.events() if event["event"] == "unit_started"]
    assert len(done) == len(set(done)), "a finished unit is computed again"
    facts = describe(study, outcome)
    assert facts["metric"] in facts["metrics"], f"the leading metric '{facts['metric']}' has no score"
    assert str(facts["question"]).endswith(("?", ".")), "question() is no sentence"
    assert facts["claims"], "nothing is claimed"
    return outcome, facts


def _opened(recipe: Recipe, run: RunFolder, folder: Path) -> Study[Any]:
    return study_of(open_all(recipe, folder / "cache"), Runner(run, LocalEngine(), Stages(quiet=True)))


def _names(study: Study[Any]) -> dict[str, str]:
    return {unit.digest: unit.label for unit in all_units(study)}
