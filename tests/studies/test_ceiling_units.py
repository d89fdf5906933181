"""Split-half ceilings are units, where enough stimuli were shown twice; else there is none, or a refusal."""

from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.data.base import Continuous, Responses
from brainbench.data.images import SubsetMasker, fitted_masker
from brainbench.data.surfaces import SurfaceMasker
from brainbench.studies.cases.ceilings import CeilingBook


def book(method, stimulus):
    responses = SimpleNamespace(
        subject="S1", ceiling=None, ncsnr=None, stimulus=np.array(stimulus), data=np.zeros((len(stimulus), 2)),
        continuous=None,
    )  # fmt: skip
    recipe = SimpleNamespace(ceiling=SimpleNamespace(method=method))
    return CeilingBook(recipe, [responses], None), responses


def test_two_repeated_stimuli_have_no_ceiling():
    ceilings, responses = book("auto", [0, 0, 1, 1, 2, 3])
    assert ceilings.unit(responses, None) is None and ceilings._compute(responses, None) is None
    ceilings, responses = book("split_half", [0, 0, 1, 1, 2, 3])
    with pytest.raises(UserError, match="needs 3 stimuli shown twice, S1 has 2"):
        ceilings.unit(responses, None)


def listener(masker=None, runs=("a", "b"), start=0.0, **more):
    """Return three targets at twenty moments of two runs."""
    time = start + 2.0 * np.arange(20)
    return Responses(
        "one", np.random.default_rng(0).normal(size=(20, 3)), None, np.repeat(runs, 10), {"all": np.ones(3, bool)},
        continuous=Continuous(time, 2.0), masker=masker, **more,
    )  # fmt: skip


def volume(*inside):
    mask = np.zeros((4, 1, 1), np.uint8)
    mask[list(inside)] = 1
    return fitted_masker(nibabel.Nifti1Image(mask, np.eye(4)))


def surface(*kept):
    return SubsetMasker(SurfaceMasker(2), np.isin(np.arange(4), kept))


VOXELS, VERTICES = volume(0, 1, 2), surface(0, 1, 3)
PEOPLE = {
    "the same voxels": ("between_subjects", 2 * [listener(VOXELS)], listener(volume(0, 1, 2))),
    "as many other voxels": ("none", 2 * [listener(VOXELS)], listener(volume(1, 2, 3))),
    "the same vertices": ("between_subjects", 2 * [listener(VERTICES)], listener(surface(0, 1, 3))),
    "other vertices left out": ("none", 2 * [listener(VERTICES)], listener(surface(0, 2, 3))),
    "numbers of nobody knows what": ("none", 2 * [listener()], listener()),
    "the same regions": ("between_subjects", 2 * [listener(space="roi")], listener(space="roi")),
    "runs in another order": ("none", 2 * [listener(VOXELS)], listener(VOXELS, runs=("b", "a"))),
    "other moments": ("none", 2 * [listener(VOXELS)], listener(VOXELS, start=1.0)),
    "two people": ("none", [listener(VOXELS)], listener(VOXELS)),
}


@pytest.mark.parametrize("regress", [True, False])
def test_a_ceiling_from_others_is_of_what_is_scored(regress):
    """All heads move with the story: where motion is taken out of responses, it is no part of what can be predicted."""
    rng = np.random.default_rng(0)
    n, time = 2000, 2.0 * np.arange(2000)
    shared, moved = rng.normal(size=(n, 1)), rng.normal(size=(n, 1))
    people = [
        Responses(
            f"P{at}", shared + 2 * moved + 2 * rng.normal(size=(n, 1)), None, np.repeat(["a", "b"], n // 2),
            {"all": np.ones(1, bool)}, continuous=Continuous(time, 2.0), space="roi", nuisance=moved,
        )
        for at in range(8)
    ]  # fmt: skip
    timing = SimpleNamespace(high_pass_s=128.0, regress_nuisance=regress)
    ceilings = CeilingBook(SimpleNamespace(ceiling=SimpleNamespace(method="auto"), timing=timing), people, None)
    signal = 1 if regress else 5
    expected = signal / np.sqrt((signal + 4) * (signal + 4 / 7))
    assert ceilings._compute(people[0], None).values[0] == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("case", PEOPLE)
def test_other_participants_give_a_ceiling_where_rows_and_targets_are_theirs_too(case):
    """Equal numbers of rows and targets were enough, whatever they were: ceilings lay near 0 without a word."""
    method, people, last = PEOPLE[case]
    people = [*people, last]
    recipe = SimpleNamespace(ceiling=SimpleNamespace(method="auto"))
    assert CeilingBook(recipe, people, None)._method(people[0]) == method
    if case == "numbers of nobody knows what":
        assert CeilingBook(recipe, people, None, aligned=True)._method(people[0]) == "between_subjects"
    if method == "none":
        recipe.ceiling.method = "between_subjects"
        with pytest.raises(UserError, match="the same voxels or vertices"):
            CeilingBook(recipe, people, None)._method(people[0])
