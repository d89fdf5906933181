"""Decoders on trial covariances: common spatial patterns, a filter bank of them, tangent space, FgMDM.

Covariances, means and geodesics are pyRiemann's; what is fitted when, on which rows, is decided here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from brainbench.decoders.alignment import Aligner
from brainbench.decoders.base import TrialContext, TrialDecoder
from brainbench.decoders.exchanged import csp_lda_exchanged, probabilities_exchanged
from brainbench.recipes.pipelines import CspLdaSettings, FbcspLdaSettings, FgmdmSettings, TangentLrSettings

MICROVOLT = 1e6
"""Covariances are of microvolts, so that tolerances of iterative means are far from rounding."""
ORDERS_AT_ONCE = 50
"""Orders of labels whose spatial filters are held at once."""
SMALLEST_EIGENVALUE = 1e-10
"""Relative to the largest; below it a covariance has no logarithm worth the name."""


class CovarianceDecoder(TrialDecoder):
    """What the decoders on covariances share.

    Parameters
    ----------
    covariance : {"oas", "scm", "lwf"}
    align : str
        See `brainbench.decoders.alignment`.
    """

    riemannian = True
    """Whether covariances must have full rank."""

    def __init__(self, covariance: str = "oas", align: str = "none") -> None:
        self.covariance = covariance
        self.align = align

    def preparation(self) -> dict[str, Any]:  # noqa: D102
        return {"as": "covariance", "estimator": self.covariance}

    def prepare(self, X: np.ndarray) -> np.ndarray:
        """Return the covariance of each trial (and band) in microvolts squared."""
        return trial_covariances(X, self.covariance)

    def fit_prepared(
        self, prepared: np.ndarray, y: np.ndarray, *, groups: np.ndarray | None = None,
        domains: np.ndarray | None = None,
    ) -> CovarianceDecoder:  # fmt: skip
        """Fit the alignment and the classifier; see `TrialDecoder.fit_prepared`."""
        y = np.asarray(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"one class only: {self.classes_.tolist()}")
        # Spatial filters need the mean of covariances to have full rank, a logarithm needs each of them to have it.
        check_rank(prepared if self.riemannian or self.align != "none" else prepared.mean(axis=0))
        self.aligner_ = Aligner(self.align).fit(prepared, domains)
        self.model_ = self._model().fit(self.aligner_.transform(prepared, domains), y)
        return self

    def adapt(self, prepared: np.ndarray, *, domains: np.ndarray | None = None) -> None:  # noqa: D102
        self.aligner_.adapt(prepared, domains)

    def probability_of(self, prepared: np.ndarray, *, domains: np.ndarray | None = None) -> np.ndarray:  # noqa: D102
        out: np.ndarray = self.model_.predict_proba(self.aligner_.transform(prepared, domains))
        return out

    def exchanged(
        self, prepared: np.ndarray, y: np.ndarray, test: np.ndarray, *, domains: np.ndarray | None = None,
        test_domains: np.ndarray | None = None,
    ) -> np.ndarray | None:  # fmt: skip
        """Fit to every order; alignment and tangent space know no labels and are fitted once."""
        self.classes_ = np.unique(y)
        aligner = Aligner(self.align).fit(prepared, domains)
        rows, held_out = aligner.transform(prepared, domains), aligner.transform(test, test_domains)
        return probabilities_exchanged(self._model(), rows, y, held_out)

    def _model(self) -> Any:
        raise NotImplementedError


class CspLda(CovarianceDecoder):
    """Common spatial patterns, log variances, linear discriminant analysis.

    Parameters
    ----------
    n_filters : int
        Spatial filters kept, at most one per channel.
    covariance, align : str
        See `CovarianceDecoder`.
    """

    riemannian = False

    def __init__(self, n_filters: int = 6, covariance: str = "oas", align: str = "none") -> None:
        super().__init__(covariance, align)
        self.n_filters = n_filters

    def _model(self) -> Any:
        from pyriemann.spatialfilters import CSP
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from sklearn.pipeline import make_pipeline

        return make_pipeline(CSP(self.n_filters, log=True), LinearDiscriminantAnalysis())

    def exchanged(
        self, prepared: np.ndarray, y: np.ndarray, test: np.ndarray, *, domains: np.ndarray | None = None,
        test_domains: np.ndarray | None = None,
    ) -> np.ndarray | None:  # fmt: skip
        """Fit to every order, those of two classes all at once; see `TrialDecoder.exchanged`."""
        if len(np.unique(y)) > 2:
            return super().exchanged(prepared, y, test, domains=domains, test_domains=test_domains)
        aligner = Aligner(self.align).fit(prepared, domains)
        rows, held_out = aligner.transform(prepared, domains), aligner.transform(test, test_domains)
        parts = np.array_split(y, max(1, len(y) // ORDERS_AT_ONCE))
        return np.concatenate([csp_lda_exchanged(rows, part, held_out, self.n_filters) for part in parts], axis=1)

    @property
    def patterns_(self) -> np.ndarray:
        """Scalp pattern of each filter, ``(n_filters, n_channels)``, in aligned space when `align` is set."""
        return np.asarray(self.model_[0].patterns_)


class FbcspLda(CovarianceDecoder):
    """Filter-bank common spatial patterns (Ang et al. 2008).

    Log variances of the patterns of every band; those with most mutual information with the labels of the training
    rows are kept.

    Parameters
    ----------
    bank : list of [low, high]
        Pass bands in Hz.
    n_filters : int
        Filters per band.
    n_features : int
        Log variances kept.
    sfreq : float
        Samples per second, where trials come unfiltered.
    covariance, align : str
        See `CovarianceDecoder`.
    seed : int
        Of the estimate of mutual information.
    """

    riemannian = False

    def __init__(
        self, bank: Any = ((8, 12), (12, 16), (16, 20), (20, 24), (24, 28), (28, 32)), n_filters: int = 4,
        n_features: int = 8, sfreq: float = 160.0, covariance: str = "oas", align: str = "none", seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(covariance, align)
        self.bank = bank
        self.n_filters = n_filters
        self.n_features = n_features
        self.sfreq = sfreq
        self.seed = seed

    @property
    def bands(self) -> list[list[float]] | None:  # noqa: D102
        return [[float(low), float(high)] for low, high in self.bank]

    def preparation(self) -> dict[str, Any]:  # noqa: D102
        return {**super().preparation(), "bands": self.bands}

    def prepare(self, X: np.ndarray) -> np.ndarray:
        """Return covariances ``(n_trials, n_bands, n_channels, n_channels)``.

        Trials ``(n_trials, n_bands, n_channels, n_times)`` were filtered on the continuous recording; those without
        the axis of bands are filtered here, with the edges that cutting first brings.
        """
        if X.ndim == 3:
            from scipy.signal import butter, sosfiltfilt

            filters = [butter(4, band, "bandpass", fs=self.sfreq, output="sos") for band in self.bank]
            X = np.stack([sosfiltfilt(one, X, axis=-1) for one in filters], axis=1)
        return super().prepare(X)

    def fit_prepared(
        self, prepared: np.ndarray, y: np.ndarray, *, groups: np.ndarray | None = None,
        domains: np.ndarray | None = None,
    ) -> FbcspLda:  # fmt: skip
        """Fit filters per band, the selection, and the classifier."""
        from functools import partial

        from pyriemann.spatialfilters import CSP
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from sklearn.feature_selection import SelectKBest, mutual_info_classif

        y = np.asarray(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"one class only: {self.classes_.tolist()}")
        check_rank(prepared if self.align != "none" else prepared.mean(axis=0))
        n_bands = prepared.shape[1]
        self.aligners_ = [Aligner(self.align).fit(prepared[:, band], domains) for band in range(n_bands)]
        self.filters_ = [
            CSP(self.n_filters, log=True).fit(aligner.transform(prepared[:, band], domains), y)
            for band, aligner in enumerate(self.aligners_)
        ]
        features = self._features(prepared, domains)
        information = partial(mutual_info_classif, random_state=self.seed)
        choice = SelectKBest(information, k=min(self.n_features, features.shape[1])).fit(features, y)
        self.chosen_ = choice.get_support(indices=True)
        self.model_ = LinearDiscriminantAnalysis().fit(features[:, self.chosen_], y)
        return self

    def adapt(self, prepared: np.ndarray, *, domains: np.ndarray | None = None) -> None:  # noqa: D102
        for band, aligner in enumerate(self.aligners_):
            aligner.adapt(prepared[:, band], domains)

    def probability_of(self, prepared: np.ndarray, *, domains: np.ndarray | None = None) -> np.ndarray:  # noqa: D102
        out: np.ndarray = self.model_.predict_proba(self._features(prepared, domains)[:, self.chosen_])
        return out

    def exchanged(
        self, prepared: np.ndarray, y: np.ndarray, test: np.ndarray, *, domains: np.ndarray | None = None,
        test_domains: np.ndarray | None = None,
    ) -> np.ndarray | None:  # fmt: skip
        """Return None: filters of every band and their information take a minute for two hundred orders."""
        return None

    def _features(self, prepared: np.ndarray, domains: np.ndarray | None) -> np.ndarray:
        parts = [
            filters.transform(aligner.transform(prepared[:, band], domains))
            for band, (aligner, filters) in enumerate(zip(self.aligners_, self.filters_, strict=True))
        ]
        return np.concatenate(parts, axis=1)


class TangentLr(CovarianceDecoder):
    """Tangent space at the Riemannian mean of the training rows, logistic regression.

    Parameters
    ----------
    C : float
        Inverse strength of the L2 penalty.
    covariance, align : str
        See `CovarianceDecoder`.
    """

    def __init__(self, C: float = 1.0, covariance: str = "oas", align: str = "none") -> None:
        super().__init__(covariance, align)
        self.C = C

    def _model(self) -> Any:
        from pyriemann.tangentspace import TangentSpace
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        return make_pipeline(TangentSpace(metric="riemann"), LogisticRegression(C=self.C, max_iter=2000))


class Fgmdm(CovarianceDecoder):
    """Geodesic filtering and minimum distance to the Riemannian mean (Barachant et al. 2010).

    Two classes have a closed form (`brainbench.decoders.geodesic`); more take pyRiemann's.

    Parameters
    ----------
    covariance, align : str
        See `CovarianceDecoder`.
    """

    def exchanged(
        self, prepared: np.ndarray, y: np.ndarray, test: np.ndarray, *, domains: np.ndarray | None = None,
        test_domains: np.ndarray | None = None,
    ) -> np.ndarray | None:  # fmt: skip
        """Fit to every order where there is a closed form; see `TrialDecoder.exchanged`."""
        if len(np.unique(y)) > 2:
            return None
        return super().exchanged(prepared, y, test, domains=domains, test_domains=test_domains)

    def _model(self) -> Any:
        if len(self.classes_) > 2:
            from pyriemann.classification import FgMDM

            return FgMDM(metric="riemann")
        from pyriemann.tangentspace import TangentSpace
        from sklearn.pipeline import make_pipeline

        from brainbench.decoders.geodesic import GeodesicMeans

        return make_pipeline(TangentSpace(metric="riemann"), GeodesicMeans())


def trial_covariances(X: np.ndarray, estimator: str) -> np.ndarray:
    """Return covariances over the last axis, in microvolts squared and float64; leading axes stay.

    In float32 a covariance without full rank has small eigenvalues of rounding, of either sign, in place of zeros:
    its logarithm is junk and no check sees it.
    """
    from pyriemann.geometry.covariance import covariances

    flat = X.reshape(-1, *X.shape[-2:]).astype(np.float64) * MICROVOLT
    found: np.ndarray = covariances(flat, estimator=estimator)
    return found.reshape(*X.shape[:-1], X.shape[-2])


def check_rank(covariances: np.ndarray) -> None:
    """Refuse covariances ``(..., n_channels, n_channels)`` that lack full rank.

    Raises
    ------
    ValueError
        With what leads to it and the setting that mends it.
    """
    values = np.linalg.eigvalsh(covariances)
    if np.any(values[..., 0] <= SMALLEST_EIGENVALUE * values[..., -1]):
        raise ValueError(
            "covariances do not have full rank (an average reference, an interpolated channel, or fewer "
            "samples than channels): take `covariance: oas`, or leave a channel out"
        )


def csp_lda(settings: CspLdaSettings, context: TrialContext) -> CspLda:
    """Return the unfitted decoder of a recipe's settings."""
    return CspLda(settings.n_filters, settings.covariance, settings.align)


def fbcsp_lda(settings: FbcspLdaSettings, context: TrialContext) -> FbcspLda:
    """Return the unfitted decoder of a recipe's settings."""
    return FbcspLda(
        bank=settings.bands, n_filters=settings.n_filters, n_features=settings.n_features, sfreq=context.sfreq,
        covariance=settings.covariance, align=settings.align, seed=context.seed,
    )  # fmt: skip


def tangent_lr(settings: TangentLrSettings, context: TrialContext) -> TangentLr:
    """Return the unfitted decoder of a recipe's settings."""
    return TangentLr(settings.C, settings.covariance, settings.align)


def fgmdm(settings: FgmdmSettings, context: TrialContext) -> Fgmdm:
    """Return the unfitted decoder of a recipe's settings."""
    return Fgmdm(settings.covariance, settings.align)
