"""From the values of a tap to one vector a stimulus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brainbench.encoders.base import Pool
from brainbench.encoders.capture import Layout, Tap

if TYPE_CHECKING:
    from torch import Tensor


def rows_first(value: Tensor, layout: Layout) -> Tensor:
    """Return tokens as ``(n, T, C)``, whatever their layout; maps and vectors stay as they are."""
    if layout == "tokens_second":
        return value.transpose(0, 1)
    return value.transpose(1, 2) if layout == "tokens_last" else value


def pooled(value: Tensor, tap: Tap, pool: Pool, mask: Tensor | None = None) -> Tensor:
    """Return one vector a stimulus, ``(n, n_features)`` float32, a copy.

    Parameters
    ----------
    value : Tensor
    tap : Tap
        Says how the value is laid out, and how many class and register tokens stand first.
    pool : {"mean", "cls", "flatten"}
        Mean over places (class and register tokens are no places), the class token, or every value.
    mask : Tensor, optional
        bool ``(n, T)``: the tokens whose mean is taken. Some networks pad further by themselves.
    """
    value = rows_first(value, tap.layout)
    if pool == "flatten":
        return value.flatten(1).float().clone()
    if pool == "cls":
        return value[:, 0].float().clone()
    if mask is not None:
        weights = mask.unsqueeze(-1)
        return (value[:, : mask.shape[1]].float() * weights).sum(1) / weights.sum(1)
    if tap.layout in ("map", "map_last"):
        return value.float().mean((1, 2) if tap.layout == "map_last" else (2, 3))
    return value[:, tap.n_prefix :].float().mean(1) if tap.layout.startswith("tokens") else value.float().clone()
