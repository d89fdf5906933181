"""What can be said of a recipe's stimuli before anything runs."""

from __future__ import annotations

from brainbench.core.errors import UserError
from brainbench.data.check import repeated_content
from brainbench.features.store import default_cache
from brainbench.recipes.kinds import Recipe
from brainbench.studies.opened import choose_subjects, open_dataset


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
