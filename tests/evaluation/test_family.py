import numpy as np
from scipy import stats

from brainbench.evaluation.family import fdr


def test_fdr_against_scipy_with_unknown_values_left_out():
    p = np.random.default_rng(0).random((4, 5)) ** 3
    np.testing.assert_allclose(fdr(p.ravel()), stats.false_discovery_control(p.ravel()))
    with_nan = np.insert(p.ravel(), [2, 9], np.nan)
    q = fdr(with_nan)
    assert np.isnan(q[np.isnan(with_nan)]).all()
    np.testing.assert_allclose(q[~np.isnan(with_nan)], stats.false_discovery_control(p.ravel()))
    np.testing.assert_allclose(fdr([0.01, 0.04, 0.03]), [0.03, 0.04, 0.04])
    assert np.isnan(fdr([np.nan])).all()
    np.testing.assert_allclose(fdr(p).ravel(), stats.false_discovery_control(p.ravel()))
