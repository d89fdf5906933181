"""What the modules of a network take and give in one forward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from brainbench.encoders.capture import tensors
from brainbench.encoders.sites import FAMILIES, modules_matching

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MOST_LISTS = 6
"""Lists of modules that are tried in a network whose blocks no family names."""


@dataclass(frozen=True)
class Blocks:
    """Modules that may be the blocks of a network, and the module whose input is the first block's."""

    names: tuple[str, ...]
    first: str
    known: bool


def block_lists(network: torch.nn.Module) -> list[Blocks]:
    """Return what may be the blocks, the likeliest first: those a family names, those timm declares, long lists."""
    import torch

    modules = dict(network.named_modules())
    found = []
    for pattern, first in dict.fromkeys((family.block, family.first) for family in FAMILIES):
        names = tuple(modules_matching(network, pattern))
        if names and (not first or first in modules):
            found.append(Blocks(names, first or names[0], True))
    declared = [info.get("module", "") for info in getattr(network, "feature_info", None) or []]
    declared = [name for name in dict.fromkeys(declared) if name and name in modules]
    if declared:
        found.append(Blocks(tuple(declared), declared[0], True))
    lists = [
        tuple(f"{name}.{child}" if name else child for child, _ in module.named_children())
        for name, module in modules.items()
        if isinstance(module, (torch.nn.ModuleList, torch.nn.Sequential)) and len(module) > 1
    ]
    lists.sort(key=len, reverse=True)
    found += [Blocks(names, names[0], False) for names in lists[:MOST_LISTS]]
    return [one for i, one in enumerate(found) if one.names not in [other.names for other in found[:i]]]


class Trace:
    """Everything that the modules in question took and gave in one forward pass."""

    def __init__(self) -> None:
        self.given: dict[tuple[str, int], list[Tensor]] = {}
        self.taken: dict[str, list[Tensor]] = {}
        self.when: dict[tuple[str, int], int] = {}
        self.leaves: dict[str, int] = {}
        self.largest = 0.0
        self.n_rows = 2
        self._clock = 0

    @contextlib.contextmanager
    def over(self, network: torch.nn.Module, lists: Sequence[Blocks]) -> Iterator[None]:
        """Record passes through `network` until the block is left."""
        watched = {name for blocks in lists for name in (*blocks.names, blocks.first)}

        def taken(name: str, args: Any, kwargs: Any) -> None:
            if name not in self.taken:
                value = args if args else kwargs.get("hidden_states", kwargs)
                self.taken[name] = [tensor.clone() for tensor in tensors(value)]

        def given(name: str, output: Any) -> None:
            call = sum(1 for module, _ in self.given if module == name)
            self.given[(name, call)] = [tensor.clone() for tensor in tensors(output)]
            self.when[(name, call)] = self._tick()

        def leaf(name: str, args: Any, output: Any) -> None:
            self.leaves.setdefault(name, self._tick())
            size = sum(4.0 * value.numel() for part in (args, output) for value in tensors(part)[:1])
            self.largest = max(self.largest, size)

        with contextlib.ExitStack() as stack:
            for name, module in network.named_modules():
                handles = []
                if name in watched:
                    handles.append(
                        module.register_forward_pre_hook(
                            lambda _m, args, kwargs, name=name: taken(name, args, kwargs), with_kwargs=True
                        )
                    )
                    handles.append(module.register_forward_hook(lambda _m, _a, out, name=name: given(name, out)))
                if not list(module.children()):
                    handles.append(module.register_forward_hook(lambda _m, a, out, name=name: leaf(name, a, out)))
                for handle in handles:
                    stack.callback(handle.remove)
            yield

    def _tick(self) -> int:
        self._clock += 1
        return self._clock
