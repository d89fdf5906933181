"""The output layer of a network: from the state of a place to a number a word or class, to be read off any depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TIED = {"gpt2": "ln_f", "llama": "norm", "mistral": "norm", "qwen2": "norm", "qwen3": "norm"}
"""Kinds of language model whose output layer is their table of embeddings behind the norm of this name."""


@dataclass(frozen=True)
class Readout:
    """An output layer.

    Attributes
    ----------
    what : str
        What it gives a number for: ``words``, ``classes``; empty where there is no such layer.
    state : callable
        From tokens ``(n, T, d)`` and those that are no padding, bool ``(n, T)``, to what is read ``(n, d)``.
    logits : callable
        From ``(n, d)`` to logits ``(n, n_classes)``.
    why : str
        Why there is none.
    """

    what: str
    state: Callable[[Tensor, Tensor], Tensor]
    logits: Callable[[Tensor], Tensor]
    why: str = ""


def readout_of(network: torch.nn.Module) -> Readout:
    """Return the output layer of a network.

    Language models give the word after the last one: those of `TIED`, whose layer is part of what is read here. Of
    timm's vision transformers it is the classifier.
    """
    model: Any = network
    config = getattr(model, "config", None)
    if config is not None:
        norm = TIED.get(str(getattr(config, "model_type", "")))
        if norm is None:
            return _none(f"{type(network).__name__} is read without an output layer")
        if not getattr(config, "tie_word_embeddings", False):
            return _none(f"the output layer of {type(network).__name__} is no part of what is read")
        table = model.get_input_embeddings().weight
        return Readout("words", _last, lambda state: getattr(model, norm)(state) @ table.T)
    if type(getattr(model, "network", None)).__name__ == "BrainOmni":
        return _none("the output layer of BrainOmni gives codes of every token, not a word or class of a stimulus")
    if hasattr(model, "forward_head") and hasattr(model, "norm") and hasattr(model, "num_prefix_tokens"):
        if getattr(model, "num_classes", 0) > 0:
            return Readout(
                "classes",
                lambda tokens, _real: model.forward_head(model.norm(tokens), pre_logits=True),
                lambda state: model.head(state),
            )
        return _none(f"{type(network).__name__} has no classifier")
    return _none(f"the output layer of {type(network).__name__} is not known")


def _last(tokens: Tensor, real: Tensor) -> Tensor:
    """Return the state of the last token that is no padding."""
    import torch

    place = torch.arange(real.shape[1], device=real.device).expand_as(real)
    last = place.where(real, -1).amax(1)
    return tokens[torch.arange(len(tokens), device=tokens.device), last]


def _none(why: str) -> Readout:
    return Readout("", lambda tokens, _real: tokens[:, 0], lambda state: state, why)
