import numpy as np
import pytest
from nilearn.glm.first_level import make_first_level_design_matrix
from scipy.signal import lfilter

from brainbench.core.errors import UserError
from brainbench.features.drift import (
    drift_bases,
    drift_basis,
    nuisance_bases,
    remove_drift,
    restore_drift,
    restore_nuisance,
    segments_of,
    turns,
    without,
)


@pytest.mark.parametrize(("n", "t_r", "high_pass_s"), [(100, 2.0, 128.0), (361, 2.0, 128.0), (40, 1.5, 60.0)])
def test_basis_spans_nilearn_s(n, t_r, high_pass_s):
    ours = drift_basis(n, t_r, high_pass_s)
    theirs = make_first_level_design_matrix(
        np.arange(n) * t_r, drift_model="cosine", high_pass=1 / high_pass_s
    ).to_numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours.T @ ours, np.eye(ours.shape[1]), atol=1e-10)
    np.testing.assert_allclose(theirs - ours @ (ours.T @ theirs), 0, atol=1e-8)


def test_slow_cosines_go_and_fast_ones_stay():
    n, t_r = 200, 2.0
    order = int(2 * n * t_r / 128)  # 6
    times = (np.arange(n) + 0.5) / n
    cosines = np.cos(np.pi * np.outer(times, np.arange(40)))
    left = remove_drift(cosines, [np.arange(n)], t_r, 128.0)
    np.testing.assert_allclose(left[:, : order + 1], 0, atol=1e-10)
    np.testing.assert_allclose(left[:, order + 1 :], cosines[:, order + 1 :], atol=1e-10)


def test_without_high_pass_the_mean_alone_goes():
    data = np.random.default_rng(0).standard_normal((30, 3)) + 7
    np.testing.assert_allclose(remove_drift(data, [np.arange(30)], 2.0, None), data - data.mean(axis=0))


def test_segments_are_cleaned_by_themselves():
    """What happens in one segment changes nothing in another: no leak across the border."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((100, 2))
    segments = [np.arange(60), np.arange(60, 100)]
    before = remove_drift(data, segments, 2.0, 40.0)
    changed = data.copy()
    changed[60:] *= 50
    np.testing.assert_array_equal(remove_drift(changed, segments, 2.0, 40.0)[:60], before[:60])
    np.testing.assert_allclose(before[:60], remove_drift(data[:60], [np.arange(60)], 2.0, 40.0))
    assert (data == np.random.default_rng(0).standard_normal((100, 2))).all()


def test_rows_of_no_segment_stay():
    data = np.ones((10, 1))
    np.testing.assert_array_equal(remove_drift(data, [np.arange(5)], 2.0, None)[:, 0], [0] * 5 + [1] * 5)


def test_a_piece_shorter_than_the_period_loses_its_mean_alone():
    assert drift_basis(5, 2.0, 128.0).shape == (5, 1)
    assert drift_basis(1, 2.0, 128.0).shape == (1, 1)
    assert drift_basis(4, 2.0, 1.0).shape == (4, 4)  # never more columns than rows


def test_segments_break_at_gaps_and_runs():
    rows = np.array([0, 1, 2, 5, 6, 7, 8])
    run = np.array(["a", "a", "a", "a", "a", "b", "b"])
    assert [list(s) for s in segments_of(rows, run)] == [[0, 1, 2], [3, 4], [5, 6]]
    assert [list(s) for s in segments_of(np.arange(3), np.zeros(3))] == [[0, 1, 2]]


def regress_out(array, nuisance, blocks):
    return without(array, nuisance_bases(nuisance, blocks))


def test_every_block_of_rows_has_weights_of_its_own():
    rng = np.random.default_rng(0)
    nuisance, blocks = rng.standard_normal((50, 2)), [np.arange(30), np.arange(30, 50)]
    signal = rng.standard_normal((50, 3))
    for rows in blocks:
        signal[rows] -= nuisance[rows] @ np.linalg.lstsq(nuisance[rows], signal[rows], rcond=None)[0]
    data = signal + nuisance @ rng.standard_normal((2, 3))
    np.testing.assert_allclose(regress_out(data, nuisance, blocks), signal, atol=1e-10)
    data[30:] *= 100
    np.testing.assert_array_equal(
        regress_out(data, nuisance, blocks)[:30], regress_out(data[:30], nuisance, [blocks[0]])
    )


def test_a_nuisance_that_stands_twice_does_no_harm():
    rng = np.random.default_rng(0)
    nuisance = np.repeat(rng.standard_normal((40, 1)), 2, axis=1)
    data = rng.standard_normal((40, 2)) + 3 * nuisance[:, :1]
    blocks = [np.arange(40)]
    found = regress_out(data, nuisance, blocks)
    np.testing.assert_allclose(found, regress_out(data, nuisance[:, :1], blocks), atol=1e-10)


def test_turned_rows_are_as_many_as_have_freedom_and_keep_products_and_means():
    rng = np.random.default_rng(0)
    blocks = [np.arange(10, 40), np.concatenate([np.arange(10), np.arange(40, 60)])]
    segments = [np.arange(10, 40), np.arange(10), np.arange(40, 60)]
    slow = drift_bases(segments, 2.0, 30.0)
    bases = [*slow, *nuisance_bases(without(rng.standard_normal((60, 2)), slow), blocks)]
    data = rng.standard_normal((60, 5)) + 100
    cleaned, found = without(data, bases), turns(bases, blocks)
    for block, turn in found:
        lost = sum(basis.shape[1] for rows, basis in bases if rows[0] in block)
        assert len(turn) == len(block) - lost + 1
        turned = turn @ data[block]
        np.testing.assert_allclose(turned.mean(axis=0), 0, atol=1e-10)
        np.testing.assert_allclose(turned.T @ turned, cleaned[block].T @ cleaned[block], atol=1e-9)


def test_a_block_of_which_nothing_is_left_turns_to_a_row_of_zeros():
    rows = np.arange(3)
    ((_, turn),) = turns([(rows, drift_basis(3, 2.0, 4.0))], [rows])
    np.testing.assert_array_equal(turn, np.zeros((1, 3)))


def test_a_block_with_few_rows_a_regressor_is_refused():
    with pytest.raises(UserError, match=r"6 regressors would be taken out of 17 rows") as caught:
        regress_out(np.zeros((40, 1)), np.ones((40, 6)), [np.arange(23), np.arange(23, 40)])
    assert "inner_folds" in str(caught.value.hint)


def test_what_projections_took_of_noise_is_put_back():
    rng = np.random.default_rng(8)
    noise, run = lfilter([1], [1, -0.5], rng.normal(size=(300, 400)), axis=0), np.repeat([0, 1, 2], 100)
    segments = segments_of(np.arange(300), run)
    left = remove_drift(noise, segments, 2.0, 100.0)
    restored = restore_drift(left, segments, 2.0, 100.0)
    np.testing.assert_allclose(remove_drift(restored, segments, 2.0, 100.0), left, atol=1e-12)

    def slow(array):  # power of the cosines that were taken, without the constant
        basis = drift_basis(100, 2.0, 100.0)[:, 1:]
        return sum(float(((basis.T @ array[rows]) ** 2).mean()) for rows in segments)

    assert slow(left) < 1e-20
    assert slow(restored) == pytest.approx(slow(noise), rel=0.25)
    # What targets have in common stays in common.
    np.testing.assert_allclose(
        restore_drift(left @ np.ones((400, 2)), segments, 2.0, 100.0)[:, 0], restored.sum(axis=1)
    )

    nuisance = lfilter([1], [1, -0.9], rng.normal(size=(300, 6)), axis=0)
    whole = [np.arange(300)]
    kept = regress_out(noise, nuisance, whole)
    again = restore_nuisance(kept, nuisance, run)
    np.testing.assert_allclose(regress_out(again, nuisance, whole), kept, atol=1e-8)
    directions = np.linalg.qr(nuisance)[0]
    assert ((directions.T @ again) ** 2).mean() == pytest.approx(((directions.T @ noise) ** 2).mean(), rel=0.4)
