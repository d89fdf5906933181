"""Identification against naive loops, and the numbers that tell its two directions apart."""

import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.reconstruction.identification import correlations, top_k, two_way, two_way_null

TOY = np.array([[0.9, 0.8, 0.1], [0.2, 0.7, 0.1], [0.3, 0.9, 0.6]])


def naive(R, direction, groups, contents):
    n = len(R)
    values = np.full(n, np.nan)
    for item in range(n):
        if direction == "reconstruction":
            others = {contents[i]: R[i, item] for i in range(n) if groups[i] == groups[item]}
            others.pop(contents[item])
            beaten = [value < R[item, item] for value in others.values()]
        else:
            beaten = [
                R[item, j] < R[item, item]
                for j in range(n)
                if groups[j] == groups[item] and contents[j] != contents[item]
            ]
        if beaten:
            values[item] = np.mean(beaten)
    return values


def test_the_two_directions_of_the_toy():
    assert two_way(TOY).mean() == pytest.approx(4 / 6)
    assert two_way(TOY, "truth").mean() == pytest.approx(5 / 6)
    assert two_way(TOY.T, "truth").mean() == pytest.approx(4 / 6)


def test_a_tie_fails():
    assert two_way(np.ones((4, 4))).tolist() == [0, 0, 0, 0]
    assert two_way(np.eye(4)).tolist() == [1, 1, 1, 1]
    assert top_k(np.ones((4, 4)), 1).mean() == 0


@pytest.mark.parametrize("direction", ["reconstruction", "truth"])
@pytest.mark.parametrize("repeated", [False, True])
def test_agrees_with_naive_loops(direction, repeated):
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 4, 40)
    contents = rng.integers(0, 12, 40) if repeated else np.arange(40)
    truth = rng.standard_normal((40, 8))[contents]  # the same image has the same features
    R = correlations(truth, truth + rng.standard_normal((40, 8)))
    values = two_way(R, direction, groups=groups, contents=contents)
    np.testing.assert_allclose(values, naive(R, direction, groups, contents))


def test_an_item_without_others_has_no_value():
    values = two_way(np.eye(3), groups=np.array(["a", "a", "b"]))
    assert np.isnan(values[2]) and values[:2].tolist() == [1, 1]


def test_correlations_are_pearson_in_blocks():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((6, 50)).astype(np.float32) + 100, rng.standard_normal((7, 50)).astype(np.float32)
    b[2] = 0.3
    expected = np.corrcoef(a.astype(float), np.delete(b, 2, 0).astype(float))[:6, 6:]
    found = correlations(a, b, block=7)
    np.testing.assert_allclose(np.delete(found, 2, 1), expected, atol=1e-10)
    assert (found[:, 2] == 0).all()
    np.testing.assert_allclose(found, correlations(a, b), atol=1e-11)


def test_equal_features_tie():
    truth = np.random.default_rng(2).standard_normal((5, 20_001)).astype(np.float32)
    truth[3] = truth[0]
    values = two_way(correlations(truth, truth))
    assert values[[1, 2, 4]].tolist() == [1, 1, 1] and values[[0, 3]].tolist() == [0.75, 0.75]


@pytest.mark.parametrize("repeated", [False, True])
def test_null_equals_scoring_every_repairing(repeated):
    rng = np.random.default_rng(3)
    groups = np.repeat([0, 1, 2], 8)
    contents = (groups * 4 + np.tile(np.arange(4), 6)) if repeated else np.arange(24)
    truth = rng.standard_normal((24, 6))[contents]
    reconstructed = truth + rng.standard_normal((24, 6))
    null = two_way_null(correlations(truth, reconstructed), groups=groups, contents=contents, n_permutations=20, seed=5)
    draws = np.random.default_rng([5, 53])
    order = np.tile(np.arange(24), (20, 1))
    for group in range(3):
        rows = np.flatnonzero(groups == group)
        order[:, rows] = draws.permuted(order[:, rows], axis=1)
    for value, one in zip(null, order, strict=True):
        again = two_way(correlations(truth[one], reconstructed), groups=groups[one], contents=contents[one])
        assert value == pytest.approx(again.mean())


def test_null_is_about_half_and_the_score_above_it():
    rng = np.random.default_rng(4)
    truth = rng.standard_normal((60, 30))
    R = correlations(truth, truth + 2 * rng.standard_normal((60, 30)))
    null = two_way_null(R, n_permutations=200)
    assert abs(null.mean() - 0.5) < 0.02
    assert two_way(R).mean() > np.quantile(null, 0.95)
    within = two_way_null(R, within=np.arange(60), n_permutations=3)
    assert within == pytest.approx(two_way(R).mean())  # nothing may move


def test_top_k_by_direction_and_candidates():
    assert top_k(TOY, 1).tolist() == [1, 0, 1] and top_k(TOY, 1, "truth").tolist() == [1, 1, 0]
    assert top_k(TOY, 3).tolist() == [1, 1, 1]
    rng = np.random.default_rng(5)
    R = rng.standard_normal((300, 300))
    assert abs(top_k(R, 5, n_candidates=50, n_draws=50).mean() - 0.1) < 0.02
    with pytest.raises(UserError, match="k <= candidates"):
        top_k(TOY, 4)


def test_labels_of_the_wrong_length_are_refused():
    with pytest.raises(ValueError, match="groups has 2 values for 3 pairs"):
        two_way(TOY, groups=np.zeros(2))
    with pytest.raises(ValueError, match="square"):
        two_way(TOY[:2])
    with pytest.raises(ValueError, match="direction"):
        two_way(TOY, "columns")
