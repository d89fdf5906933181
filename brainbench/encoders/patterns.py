"""Attention after the softmax, to read and to edit: fused kernels never make it, so it takes a kernel that does.

Outputs of the two kernels differ in last digits (5e-7 of values around 1): a run that is held against one in which
patterns are read or edited belongs inside `patterns_made` too.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from brainbench.core.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

NAME = "brainbench"
"""Of the attention function, in transformers' register."""


class _Visits(threading.local):
    """What this thread does with the patterns of which module."""

    def __init__(self) -> None:
        self.of: dict[int, Callable[[Tensor], Tensor]] = {}


VISITS = _Visits()


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Return attended values ``(n, T, heads, d)`` and the pattern ``(n, heads, T, T)``; grouped heads are repeated.

    Follows transformers' contract of attention functions, in evaluation mode.
    """
    import torch

    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (part.repeat_interleave(groups, dim=1) for part in (key, value))
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    for bias in (kwargs.get("position_bias"), attention_mask):
        if bias is not None:
            scores = scores + bias
    pattern = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    visit = VISITS.of.get(id(module))
    if visit is not None:
        pattern = visit(pattern)
    return (pattern @ value).transpose(1, 2).contiguous(), pattern


def seen(network: Any) -> None:
    """Make sure that modules which compute attention show their patterns, inside `patterns_made`.

    Raises
    ------
    UserError
        If they compute it in a way of their own: nothing would be read, and no edit would have an effect.
    """
    if getattr(getattr(network, "config", None), "_attn_implementation", NAME) != NAME:
        raise UserError(f"{type(network).__name__} computes attention in its own way: no pattern is seen")


@contextlib.contextmanager
def patterns_made(network: torch.nn.Module) -> Iterator[None]:
    """Let `network` compute attention with a kernel that makes patterns, until the block is left.

    A network of transformers that computes attention in its own way is left as it is; see `seen`.

    Raises
    ------
    UserError
        If the network's attention has no such kernel.
    """
    if getattr(network, "_can_set_attn_implementation", lambda: True)() is False:
        yield
        return
    if hasattr(network, "set_attn_implementation"):
        from transformers import AttentionInterface
        from transformers.masking_utils import AttentionMaskInterface, eager_mask

        AttentionInterface.register(NAME, attention)
        AttentionMaskInterface.register(NAME, eager_mask)
        model: Any = network
        before = model.config._attn_implementation
        try:
            model.set_attn_implementation(NAME)
        except ValueError as error:
            raise UserError(
                f"{type(network).__name__} computes attention in its own way: no pattern is seen"
            ) from error
        try:
            yield
        finally:
            model.set_attn_implementation(before)
        return
    fused: list[Any] = [module for module in network.modules() if getattr(module, "fused_attn", False)]
    try:
        for module in fused:
            module.fused_attn = False
        yield
    finally:
        for module in fused:
            module.fused_attn = True
