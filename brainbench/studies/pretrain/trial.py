"""What a trained tokenizer does: its codes, sensors that it did not see, and what needs no network beside it."""

from __future__ import annotations

import numpy as np
import torch

from brainbench.core.errors import UserError
from brainbench.networks.tokens.trained import (
    code_counts,
    masked_accuracy,
    reconstruction_r,
    source_topography,
    usages,
)
from brainbench.networks.tokens.training import MaskedTraining, Person, TokenTraining
from brainbench.networks.zoo.tokenizer import pearson
from brainbench.recordings.whole.segments import Segments
from brainbench.recordings.whole.sensors import interpolated, normalised, withheld_parts


def check_codebooks(training: TokenTraining, least: float) -> dict[str, np.ndarray]:
    """Return how often every code occurs in the recordings that were trained on.

    Raises
    ------
    UserError
        Naming the level whose perplexity is below its share `least`: its codebook collapsed.
    """
    counts = code_counts(training.network(), training.people)
    for level, usage in enumerate(usages(counts), start=1):
        if usage.perplexity < least * usage.size:
            raise UserError(
                f"the codebook of level {level} collapsed: perplexity {usage.perplexity:.1f} of {usage.size} codes "
                f"after training, below {least:.0%} of them ({usage.used:.0%} of its codes occur at all)",
                hint="more `training.steps`, a larger `batch_size`, fewer `n_codes`; `least_perplexity` is the bound",
            )
    return {"counts": counts}


def try_tokenizer(training: TokenTraining, person: Segments, n_parts: int, seed: int) -> dict[str, np.ndarray]:
    """Return r of every sensor while it is withheld, and what it is judged against; nothing is fitted.

    Segments are scaled by the sensors that are seen, part by part.

    Returns
    -------
    tokenizer, splines, nearest : ndarray (n_channels,)
        r of sensors, each while it was withheld: decoded, interpolated by MNE, taken from the nearest seen sensor.
    seen : ndarray (n_channels,)
        r of sensors that were read, mean over the parts.
    counts : ndarray (n_levels, n_codes)
    topography : ndarray (n_sources, n_channels)
    """
    network, window = training.network(), training.shape.window
    kind, n = person.sensors.kind, len(person.sensors.names)
    signals = person.X[:, :, : person.X.shape[2] // window * window]  # no window whose end is filled up
    found = {name: np.zeros(n) for name in ("tokenizer", "splines", "nearest", "seen")}
    masks = withheld_parts(n, n_parts, seed)
    for seen in masks:
        X = normalised(signals, kind, seen)
        r = reconstruction_r(network, Person(X, person.sensors.place, kind), seen)
        found["tokenizer"][~seen] = r[~seen]
        found["seen"][seen] += r[seen] / (len(masks) - 1)
        target = X[:, ~seen]
        found["splines"][~seen] = _window_r(interpolated(X, person.info, seen)[:, ~seen], target, window)
        near = X[:, person.sensors.nearest(seen)[~seen]]
        found["nearest"][~seen] = _window_r(near, target, window)
    everything = Person(person.inputs, person.sensors.place, kind)
    counts = code_counts(network, [everything])
    return found | {"counts": counts, "topography": source_topography(network, everything)}


def try_masked(training: MaskedTraining, person: Segments, seed: int) -> dict[str, np.ndarray]:
    """Return the share of a person's masked codes that are predicted, and what the most frequent code of training has.

    Returns
    -------
    right, constant : ndarray (n_levels,)
    """
    one = Person(person.inputs, person.sensors.place, person.sensors.kind)
    network = training.network()
    frequent = code_counts(network.tokenizer, training.tokenizer.people).argmax(axis=1)
    counts = code_counts(network.tokenizer, [one])
    constant = counts[np.arange(len(counts)), frequent] / counts.sum(axis=1)
    return {"right": masked_accuracy(network, one, seed), "constant": constant}


def _window_r(found: np.ndarray, target: np.ndarray, window: int) -> np.ndarray:
    """Return r of every channel, mean over the windows that the tokenizer reads."""
    a, b = (torch.from_numpy(x.reshape(*x.shape[:2], -1, window).astype(np.float32)) for x in (found, target))
    r: np.ndarray = pearson(a, b).mean(dim=(0, 2)).numpy()
    return r
