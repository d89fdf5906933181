"""Any torch network as an encoder of the inputs that are given with it, so that it can be looked into as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.digests import digest
from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.capture import Tap, first_tensor, hooked
from brainbench.encoders.network import Inputs, NetworkEncoder
from brainbench.encoders.selfcheck import Probe, check
from brainbench.encoders.sites import family_of
from brainbench.encoders.tracing import block_lists
from brainbench.networks.weights import digest_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class ModuleEncoder(NetworkEncoder):
    """A network and its inputs.

    Parameters
    ----------
    network : torch.nn.Module
        Is put into evaluation mode, and otherwise left as it is.
    given : Tensor or mapping of str to Tensor
        What it takes, rows first: ``pixel_values``, or ``input_ids`` with ``attention_mask``.
    special : Tensor, optional
        bool ``(n, T)``: tokens that stand for no part of a stimulus.

    Raises
    ------
    UserError
        If the network's blocks cannot be read rightly.
    """

    modalities = ("array",)

    def __init__(
        self, network: torch.nn.Module, given: Tensor | Mapping[str, Tensor], special: Tensor | None = None
    ) -> None:
        import torch

        self.name = type(network).__name__
        self.network = network.eval()
        self.given = {"": given} if isinstance(given, torch.Tensor) else dict(given)
        sizes = {name: len(value) for name, value in self.given.items()}
        if len(set(sizes.values())) != 1 or min(sizes.values()) < 2:
            raise UserError(f"inputs of {self.name} need the same rows everywhere, and two or more, got {sizes}")
        self.special = special
        self.reading = check(self.network, self._probe(), self.name)

    def parameters(self) -> dict[str, Any]:
        """Return the digest of the weights."""
        return {"network": self.name, "weights": digest_weights(self.network)}

    @property
    def stimuli(self) -> Stimuli:
        """Its rows, as stimuli without content."""
        n = len(next(iter(self.given.values())))
        names = [f"{row:05d}" for row in range(n)]
        return Stimuli(names, "array", names.__getitem__, [digest([row]) for row in range(n)])

    def inputs(self, stimuli: Stimuli, rows: Sequence[int]) -> Inputs:
        """Return some rows of what was given."""
        chosen = np.asarray(rows)
        taken = {name: value[chosen] for name, value in self.given.items()}
        real = taken["attention_mask"].bool() if "attention_mask" in taken else None
        special = self.special
        if real is not None and special is None:
            special = ~real & real  # none
        args = (taken.pop(""),) if "" in taken else ()
        return Inputs(len(rows), args, taken, real, None if special is None else special[: len(rows)], real)

    def _known_block(self) -> str | None:
        """Return the first block of a family whose sites are known: of tokens, with no library to say so."""
        for blocks in block_lists(self.network):
            family = family_of(self.network, blocks.names) if blocks.known else None
            if family is not None and family.attention and not hasattr(self.network, "forward_intermediates"):
                return blocks.names[0]
        return None

    def _probe(self) -> Probe:
        import torch

        both, one = (self.inputs(Stimuli([], "array", str, []), range(n)) for n in (2, 1))

        def together() -> list[Tensor] | None:
            maps: Any = getattr(self.network, "forward_intermediates", None)
            if maps is not None:
                return list(maps(*both.args, **both.kwargs, intermediates_only=True))
            options = {"output_hidden_states": True} if hasattr(self.network, "config") else {}
            states = getattr(self.network(*both.args, **both.kwargs, **options), "hidden_states", None)
            return [first_tensor(state) for state in states] if states else None

        mask = both.mask
        if mask is None and hasattr(self.network, "config"):
            with torch.inference_mode():
                states = together()
            mask = None if states is None or states[0].ndim != 3 else torch.ones(states[0].shape[:2], dtype=torch.bool)
        elif mask is None and (known := self._known_block()) is not None:
            tap = Tap("", known, "output", 0.0)
            with torch.inference_mode(), hooked(self.network, {tap: torch.clone}) as values:
                self.network(*both.args, **both.kwargs)
            value = values.get("")
            if value is not None and value.ndim in (3, 4):  # tokens, or sources over time
                mask = torch.ones(len(value), value[0, ..., 0].numel(), dtype=torch.bool)
        alone = None if mask is None else mask[:1]
        return Probe(together, lambda: self.network(*one.args, **one.kwargs), mask, alone, False, "embeddings")
