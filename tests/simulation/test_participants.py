"""Simulated participants are the same on every machine."""

from __future__ import annotations

import numpy as np
import pytest

from brainbench.simulation.participants import planted_signal


@pytest.mark.parametrize("shape", [(30, 8), (20, 50)])
def test_the_sign_of_a_singular_vector_is_nobodys_choice(monkeypatch, shape):
    """LAPACK, MKL and a GPU turn singular vectors round at will, in pairs."""
    features = np.random.default_rng(0).standard_normal(shape)
    here = planted_signal(features, 5, np.random.default_rng(1))
    svd = np.linalg.svd
    turned = np.where(np.arange(min(shape)) % 3 == 0, -1.0, 1.0)

    def elsewhere(X, full_matrices):
        left, size, right = svd(X, full_matrices=full_matrices)
        return left * turned, size, turned[:, None] * right

    monkeypatch.setattr(np.linalg, "svd", elsewhere)
    np.testing.assert_allclose(planted_signal(features, 5, np.random.default_rng(1)), here, rtol=0, atol=1e-12)
