"""What the page draws of RDMs: those of regions and of their best layers as ranks, and stimuli by distances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.spatial.distance import squareform

MAX_STIMULI, MAX_REGIONS = 150, 8
"""More are not read on a page, and would make it heavy."""


def ranks_of(values: np.ndarray) -> np.ndarray:
    """Return condensed distances as the percentage of distances that are smaller, 0 to 100; NaN stays."""
    from scipy.stats import rankdata

    out, known = np.full(len(values), np.nan), np.isfinite(values)
    if known.sum() > 1:
        out[known] = 100 * (rankdata(values[known]) - 1) / (known.sum() - 1)
    return out


def places_of(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Return two coordinates of every stimulus by classical scaling (Torgerson 1952), and how much of all they show.

    Parameters
    ----------
    values : ndarray (n_pairs,)
        Condensed distances.

    Returns
    -------
    ndarray (n_stimuli, 2)
    float
        Their share of the positive eigenvalues.
    """
    square = squareform(values) ** 2
    centred = square - square.mean(axis=0) - square.mean(axis=1)[:, None] + square.mean()
    size, vectors = np.linalg.eigh(-centred / 2)
    positive = np.maximum(size, 0.0)
    points = vectors[:, [-1, -2]] * np.sqrt(positive[[-1, -2]])
    points *= np.where(points[np.abs(points).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)  # a sign that does not depend on
    return points, float(positive[-2:].sum() / max(positive.sum(), 1e-12))  # which library found them


def region_drawn(
    roi: str, people: Mapping[str, np.ndarray], layer: tuple[str, str, np.ndarray] | None
) -> dict[str, Any]:
    """Return what is drawn of a region: the mean of participants' ranks, the ranks of a layer, and places.

    Parameters
    ----------
    roi : str
    people : mapping of str to ndarray (n_pairs,)
    layer : (encoder, layer, ndarray (n_pairs,)), optional
        The region's best layer.
    """
    measured = ranks_of(np.mean([ranks_of(one) for one in people.values()], axis=0))
    scaled = np.mean([one / np.abs(one).mean() for one in people.values()], axis=0)
    points, share = places_of(scaled)
    found: dict[str, Any] = {
        "roi": roi, "n_people": len(people), "measured": _whole(measured), "share": share,
        "points": np.round(points / max(float(np.abs(points).max()), 1e-12), 3).tolist(),
    }  # fmt: skip
    if layer is not None:
        found |= {"encoder": layer[0], "layer": layer[1], "of_layer": _whole(ranks_of(layer[2]))}
    return found


def _whole(values: np.ndarray) -> list[int | None]:
    return [round(float(one)) if np.isfinite(one) else None for one in values]
