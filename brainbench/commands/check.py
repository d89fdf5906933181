"""What can be said of a recipe's stimuli and networks before anything runs."""

from __future__ import annotations

from brainbench.core.errors import UserError
from brainbench.core.progress import Stages
from brainbench.data.check import repeated_content
from brainbench.features.store import default_cache
from brainbench.recipes.encoders import EegSettings
from brainbench.recipes.kinds import Recipe
from brainbench.recipes.pipelines import NetworkSettings
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.runs.folder import RunFolder
from brainbench.studies.base import study_of
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
    except UserError:  # `run` says it, and says it better where the folder is merely elsewhere
        return []
    sentences: dict[str, list[str]] = {}
    for subject, sentence in found.items():
        if sentence is not None:
            sentences.setdefault(sentence, []).append(subject)
    return [
        f"{', '.join(who)}: {sentence}; with `hold_out: [stimulus]` training knows what the test asks for"
        for sentence, who in sentences.items()
    ]


def try_networks(recipe: Recipe) -> None:
    """Let every network that decodes or encodes recordings read two trials of noise, as long as the recipe's trials.

    The first subject's recordings are read for that. Nothing is done where they are not on this machine, or where
    their library would fetch them.

    Parameters
    ----------
    recipe : Recipe

    Raises
    ------
    UserError
        If a network cannot read such trials, with the shortest that it reads.
    """
    decoders = [one for one in getattr(recipe, "pipelines", []) if isinstance(one, NetworkSettings)]
    encoders = [entry for entry in getattr(recipe, "encoders", []) if isinstance(entry, EegSettings)]
    settings = recipe.dataset
    if not [*decoders, *encoders] or (settings.keeps_own_root and settings.root is None):
        return
    cache = default_cache(None)
    try:
        open_dataset(recipe, cache)
    except UserError:  # `run` says it
        return
    runner = Runner(RunFolder("runs"), LocalEngine(), Stages(quiet=True))  # a folder that is neither read nor written
    study_of(open_all(recipe, cache), runner).rehearse()
