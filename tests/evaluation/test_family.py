import numpy as np
import pytest
from scipy import stats

from brainbench.evaluation.family import fdr, pearson_beyond


@pytest.mark.parametrize("skew", [0.0, 1e-5, 2e-5, 1e-3, 0.1, 0.7, 2.0, 8.0])
def test_pearson_law_against_scipy(skew):
    x = np.linspace(-6, 30, 500)
    np.testing.assert_allclose(pearson_beyond(x, skew), stats.pearson3.sf(x, skew), atol=1e-11)
    known = stats.pearson3.sf(x, skew) > 1e-12
    np.testing.assert_allclose(pearson_beyond(x, skew)[known], stats.pearson3.sf(x, skew)[known], rtol=1e-8)


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
