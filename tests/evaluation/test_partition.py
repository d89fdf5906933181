"""Parts of variance: what several sets of features explain alone and in common."""

from itertools import combinations

import numpy as np
import pytest

from brainbench.evaluation.intervals import Jackknife
from brainbench.evaluation.scoring import partition


def subsets(names):
    return [frozenset(some) for size in range(1, len(names) + 1) for some in combinations(names, size)]


@pytest.mark.parametrize("names", ["ab", "abc", "abcd"])
def test_parts_are_those_of_which_every_set_of_models_is_the_union(names):
    groups, rng = subsets(names), np.random.default_rng(0)
    planted = {group: rng.normal(size=3) for group in groups}  # parts below zero as well: scores are held-out
    explained = {one: sum(planted[group] for group in groups if group & one) for one in groups}
    found = partition(explained)
    assert list(found) == groups
    for group in groups:
        np.testing.assert_allclose(found[group], planted[group], atol=1e-12)
    # The same by brute force: one equation for every set of models.
    holds = np.array([[bool(group & one) for group in groups] for one in groups], dtype=float)
    solved = np.linalg.solve(holds, np.stack([explained[one] for one in groups]))
    np.testing.assert_allclose(np.stack(list(found.values())), solved, atol=1e-12)


def test_the_parts_of_two_sets_are_differences_and_of_three_the_seven_of_the_textbook():
    a, b, c = (frozenset(one) for one in "abc")
    r = dict(zip(subsets("abc"), np.random.default_rng(1).uniform(size=(7, 1)), strict=True))
    found = partition(r)
    np.testing.assert_allclose(found[a], r[a | b | c] - r[b | c])
    np.testing.assert_allclose(found[a | b], r[a | c] + r[b | c] - r[c] - r[a | b | c])
    np.testing.assert_allclose(found[a | b | c], r[a] + r[b] + r[c] - r[a | b] - r[a | c] - r[b | c] + r[a | b | c])
    two = partition({one: r[one] for one in (a, b, a | b)})
    np.testing.assert_allclose(two[a | b], r[a] + r[b] - r[a | b])


def test_jackknives_are_taken_apart_as_scores_are():
    rng = np.random.default_rng(2)
    explained = {one: Jackknife(rng.normal(size=2), rng.normal(size=(9, 2)), rng.normal(size=(9, 9, 2)))
                 for one in subsets("abc")}  # fmt: skip
    found = partition(explained)
    for part in ("values", "left_out", "pairs"):
        alone = partition({one: getattr(jackknife, part) for one, jackknife in explained.items()})
        for one in alone:
            np.testing.assert_allclose(getattr(found[one], part), alone[one], atol=1e-12)
