"""Taps of a torch network: which modules, and hooks that pool inside one forward pass.

Tap 0 is the input of the first block, tap ``l + 1`` the output of block ``l``; the relative depth of tap ``t``
is ``t / L``. What counts as a block is data (`BLOCKS`), since module names differ from architecture to
architecture and from release to release.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from brainbench.core.errors import UserError

if TYPE_CHECKING:
    import torch

BLOCKS: tuple[tuple[str, str], ...] = (
    (r"blocks\.\d+", "timm ViT, DeiT, BEiT, EVA, Mixer; stages of EfficientNet and MobileNet"),
    (r"stages\.\d+", "ConvNeXt, NFNet, ResNetV2, MaxViT, PVT, LeViT, FastViT"),
    (r"layer\d+", "ResNet and its relatives"),
    (r"encoder\.layer\.\d+", "BERT, RoBERTa, MiniLM, MPNet, ELECTRA"),
    (r"transformer\.layer\.\d+", "DistilBERT"),
    (r"h\.\d+", "GPT-2, BLOOM, Falcon"),
    (r"layers\.\d+", "Swin stages; Llama, Mistral, Qwen, ModernBERT, GPT-NeoX; BART's encoder"),
    (r"encoder\.layers\.\d+", "CLIP text"),
    (r"decoder\.layers\.\d+", "OPT"),
    (r"block\.\d+", "T5's encoder"),
    (r"s\d+", "RegNet"),
    (r"features\.denseblock\d+", "DenseNet"),
)
"""Names of the blocks, as regular expressions of module names; the first that fits a model is taken."""


@dataclass(frozen=True)
class Tap:
    """One place where a network is read.

    Attributes
    ----------
    name : str
        The layer's name for users.
    module : str
        Dotted path of the module that is hooked.
    side : {"input", "output"}
        Whether the module's input or output is read.
    depth : float
        Relative depth in [0, 1].
    """

    name: str
    module: str
    side: Literal["input", "output"]
    depth: float


def block_names(model: torch.nn.Module) -> list[str]:
    """Return the dotted names of the blocks of `model`, in the order they run.

    Known architectures are looked up in `BLOCKS`; others fall back on the feature modules that timm declares,
    and at last on the longest list of modules.

    Raises
    ------
    UserError
        If nothing looks like a block.
    """
    import torch

    names = [name for name, _ in model.named_modules()]
    for pattern, _ in BLOCKS:
        found = [name for name in names if re.fullmatch(pattern, name)]
        if found:
            return found
    declared = [info.get("module", "") for info in getattr(model, "feature_info", None) or []]
    declared = [name for name in declared if name in names]
    if declared:
        return declared
    lists = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.ModuleList, torch.nn.Sequential)) and len(module)
    ]
    if not lists:
        raise UserError(f"{type(model).__name__} has no blocks that brainbench knows how to read")
    name, module = max(lists, key=lambda item: len(item[1]))
    return [f"{name}.{child}" if name else child for child, _ in module.named_children()]


def find_taps(model: torch.nn.Module, first: str) -> list[Tap]:
    """Return every tap of `model` in order of depth; `first` names tap 0 (``stem``, ``embeddings``)."""
    blocks = block_names(model)
    taps = [Tap(first, blocks[0], "input", 0.0)]
    return taps + [Tap(name, name, "output", (depth + 1) / len(blocks)) for depth, name in enumerate(blocks)]


def first_tensor(value: Any) -> torch.Tensor:
    """Return `value`, or the first tensor of a tuple, list or mapping: blocks return either."""
    import torch

    while not isinstance(value, torch.Tensor):
        if isinstance(value, dict):
            value = next(iter(value.values()))
        elif isinstance(value, (tuple, list)) and value:
            value = value[0]
        else:
            raise TypeError(f"a block gave {type(value).__name__}, not a tensor")
    return value


@contextlib.contextmanager
def captured(
    model: torch.nn.Module, taps: Sequence[Tap], pool: Callable[[torch.Tensor], torch.Tensor]
) -> Iterator[dict[str, torch.Tensor]]:
    """Fill the yielded mapping with the pooled value of every tap at each forward pass.

    Values are pooled inside the hook, before any later module can change them in place, so that nothing larger
    than a pooled vector outlives its module. Passes of other threads through the same model are not recorded.
    The hooks are gone when the block is left, however it is left.
    """
    values: dict[str, torch.Tensor] = {}
    owner = threading.get_ident()

    def record(tap: Tap, value: Any) -> None:
        if threading.get_ident() == owner:
            values[tap.name] = pool(first_tensor(value))

    with contextlib.ExitStack() as stack:
        for tap in taps:
            module = model.get_submodule(tap.module)
            if tap.side == "input":

                def before(_module: Any, args: Any, kwargs: Any, tap: Tap = tap) -> None:
                    record(tap, args if args else kwargs.get("hidden_states", kwargs))

                handle = module.register_forward_pre_hook(before, with_kwargs=True)
            else:

                def after(_module: Any, _args: Any, output: Any, tap: Tap = tap) -> None:
                    record(tap, output)

                handle = module.register_forward_hook(after)
            stack.callback(handle.remove)
        yield values
