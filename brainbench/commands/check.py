"""What can be said of a recipe before anything runs: what its stimuli show, and what a run would refuse."""

from __future__ import annotations

from brainbench.core.errors import UserError
from brainbench.core.progress import Stages
from brainbench.data.check import repeated_content
from brainbench.features.store import default_cache
from brainbench.recipes.kinds import Recipe
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.runs.folder import RunFolder
from brainbench.studies.base import all_units, study_class, study_of
from brainbench.studies.opened import choose_subjects, open_all, open_dataset


def look_at_stimuli(recipe: Recipe) -> list[str]:
    """Return what the stimuli alone show: content that stands in training and test under two ids.

    Nothing is said of a data set that is not on this machine, and of one whose stimuli take minutes to look at.

    Parameters
    ----------
    recipe : Recipe
    """
    if "stimulus" not in getattr(recipe, "hold_out", ()):
        return []
    try:
        dataset, _ = open_dataset(recipe, default_cache(None))
        if not dataset.quick_stimuli:
            return []
        subjects = choose_subjects(dataset, recipe.dataset.subjects)
        found = {one: repeated_content(dataset.stimuli(one)) for one in subjects}
    except UserError:  # `try_first` says it
        return []
    sentences: dict[str, list[str]] = {}
    for subject, sentence in found.items():
        if sentence is not None:
            sentences.setdefault(sentence, []).append(subject)
    return [
        f"{', '.join(who)}: {sentence}; with `hold_out: [stimulus]` training knows what the test asks for"
        for sentence, who in sentences.items()
    ]


def try_first(recipe: Recipe) -> None:
    """Open what a run opens, and describe its units for the first participants, so that what it refuses is known.

    Everything that a recipe names is opened by the code that runs it: data, weights, licences, networks. The first
    participant (two where a score is across participants) is read and its rows are held out as they would be; nothing
    is computed. Where one participant's responses take minutes, they are left to the run; where a library would fetch
    the data, all of them.

    Parameters
    ----------
    recipe : Recipe

    Raises
    ------
    UserError
        With what a run would refuse.
    """
    settings, cache = recipe.dataset, default_cache(None)
    dataset, _ = open_dataset(recipe, cache)
    subjects = choose_subjects(dataset, settings.subjects)
    if settings.keeps_own_root and settings.root is None:
        return
    wanted = study_class(recipe).sample(recipe, subjects)
    few = recipe.model_copy(update={"dataset": settings.model_copy(update={"subjects": wanted})})
    opened = open_all(few, cache)
    for entry in opened.encoders:
        if entry.encoder is not None and dataset.quick_stimuli:
            entry.encoder.check_modality(opened.dataset.stimuli(wanted[0]))
    study = study_of(opened, Runner(RunFolder("runs"), LocalEngine(), Stages(quiet=True)))  # neither read nor written
    study.rehearse()
    if dataset.quick_responses:
        all_units(study)


def problems_of(recipe: Recipe) -> list[str]:
    """Return what a run of a recipe would refuse, one message or none."""
    try:
        try_first(recipe)
    except UserError as error:
        return str(error).splitlines()
    return []
