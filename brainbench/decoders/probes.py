"""A classifier that finds what folds share: the nearest neighbour in band entropies."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainbench.decoders.base import TrialDecoder
from brainbench.decoders.covariance import MICROVOLT
from brainbench.networks.zoo.rbtransformer import BANDS, band_entropy


class NearestNeighbour(TrialDecoder):
    """One nearest neighbour over the band entropies of every channel; it knows again what it has seen.

    Parameters
    ----------
    sfreq : float
        Hz.
    """

    def __init__(self, sfreq: float = 160.0) -> None:
        self.sfreq = sfreq

    def preparation(self) -> dict[str, Any]:  # noqa: D102
        return {"as": "band_entropy", "bands": self._bands()}

    def prepare(self, X: np.ndarray) -> np.ndarray:
        """Return entropies ``(n_trials, n_channels * n_bands)``."""
        found: np.ndarray = band_entropy(X * MICROVOLT, self.sfreq, bands=self._bands()).reshape(len(X), -1)
        return found

    def fit_prepared(
        self, prepared: np.ndarray, y: np.ndarray, *, groups: np.ndarray | None = None,
        domains: np.ndarray | None = None,
    ) -> NearestNeighbour:  # fmt: skip
        """Keep the training rows; see `TrialDecoder.fit_prepared`."""
        from sklearn.neighbors import KNeighborsClassifier

        self.model_ = KNeighborsClassifier(1).fit(prepared, y)
        self.classes_ = self.model_.classes_
        return self

    def probability_of(self, prepared: np.ndarray, *, domains: np.ndarray | None = None) -> np.ndarray:  # noqa: D102
        out: np.ndarray = self.model_.predict_proba(prepared)
        return out

    def _bands(self) -> list[tuple[float, float]]:
        return [band for band in BANDS if band[1] < self.sfreq / 2]
