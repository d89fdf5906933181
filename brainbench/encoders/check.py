"""The contract every encoder keeps; a new encoder's test is one call of `check_encoder`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Modality, Stimuli
from brainbench.encoders.base import Encoder, Pool

TOLERANCE = 1e-5
"""Features may depend on the batch they were computed in by so much of their size (float32 sums in another order)."""


def check_encoder(make: Callable[[], Encoder], stimuli: Stimuli) -> None:
    """Hold an encoder against the contract.

    Parameters
    ----------
    make : callable
        Returns a new encoder each time, with the same settings and seed.
    stimuli : Stimuli
        Four or more stimuli of a modality that it reads.

    Raises
    ------
    AssertionError
        Naming what does not hold.
    """
    encoder = make()
    assert len(stimuli) >= 4, "the check needs four stimuli"
    _layers(encoder)
    again = make()
    assert encoder.digest() == again.digest(), "the digest differs between two encoders of the same settings"
    assert encoder.pools, "an encoder has one pooling or more"
    for pool in encoder.pools:
        _pool(encoder, again, stimuli, pool)
    assert encoder.digest() == make().digest(), "the digest is another one after encoding"
    modalities: tuple[Modality, ...] = ("image", "text", "word", "sound", "clip", "array")
    for wrong in modalities:
        if wrong not in encoder.modalities:
            other = replace(stimuli, modality=wrong)
            _refuses(partial(encoder.check_modality, other), f"stimuli of another modality ({wrong})")
    _refuses(lambda: encoder.select(["no-such-layer*"]), "a layer it does not have")


def _layers(encoder: Encoder) -> None:
    layers = encoder.layers()
    names = [layer.name for layer in layers]
    assert names, "no layer"
    assert len(set(names)) == len(names), "two layers have one name"
    depths = [layer.depth for layer in layers]
    assert depths == sorted(depths), "layers are not in order of depth"
    assert 0 <= depths[0] <= depths[-1] <= 1, "depths lie in 0 ... 1"
    assert [layer.name for layer in encoder.select(["*"])] == names, "'*' does not select every layer"


def _pool(encoder: Encoder, again: Encoder, stimuli: Stimuli, pool: Pool) -> None:
    names = [layer.name for layer in encoder.layers()]
    together = _gather(encoder, stimuli, names, pool)
    for layer in encoder.layers():
        values = together[layer.name]
        assert values.dtype == np.float32, f"{layer.name}: {values.dtype}, not float32"
        assert values.ndim == 2 and len(values) == len(stimuli), f"{layer.name}: shape {values.shape}"
        assert np.isfinite(values).all(), f"{layer.name}: not finite"
        if pool != "flatten" and layer.width is not None:
            assert values.shape[1] == layer.width, f"{layer.name}: width {values.shape[1]}, announced {layer.width}"
    repeated = _gather(again, stimuli, names, pool)
    for name in names:
        assert np.array_equal(together[name], repeated[name]), f"{name}: another encoder of the same settings differs"
    alone = _gather(encoder, stimuli, names[-1:], pool)
    assert list(alone) == names[-1:], "layers come that were not asked for"
    assert _close(alone[names[-1]], together[names[-1]]), f"{names[-1]}: asked alone, it differs"


def _gather(encoder: Encoder, stimuli: Stimuli, layers: list[str], pool: Pool) -> dict[str, np.ndarray]:
    batches = list(encoder.encode(stimuli, layers, pool))
    return {layer: np.concatenate([batch[layer] for batch in batches]) for layer in batches[0]}


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return float(np.abs(a - b).max()) <= TOLERANCE * max(float(np.abs(b).max()), 1e-6)


def _refuses(call: Callable[[], object], what: str) -> None:
    try:
        call()
    except UserError:
        return
    raise AssertionError(f"{what} are not refused with a UserError")
