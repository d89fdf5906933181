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
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from brainbench.core.errors import UserError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

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


# Devices and batches ----------------------------------------------------------------------------------------------


def resolve_device(device: str) -> str:
    """Return the torch device for ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.

    ``auto`` takes CUDA where there is any and the CPU otherwise; ``mps`` is taken only when asked for.

    Raises
    ------
    UserError
        If the device asked for is not there.
    """
    if device == "cpu":
        return device
    import torch

    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if n_cuda else "cpu"
    kind, _, index = device.partition(":")
    if kind == "mps" and torch.backends.mps.is_available():
        return device
    if kind == "cuda" and (index or "0").isdecimal() and int(index or 0) < n_cuda:
        return device
    there = ["cpu", *(f"cuda:{i}" for i in range(n_cuda))]
    raise UserError(f"device '{device}' is not on this machine", hint=f"here: {', '.join(there)}")


def automatic_batch(item_bytes: float, device: str) -> int:
    """Return how many items of `item_bytes` peak memory a forward pass takes: 32, on a GPU 128, less if short.

    It depends on the memory the machine has and never on what is free at the moment: another batch size may
    change last digits.
    """
    if device.startswith("cuda"):
        import torch

        most, memory = 128, torch.cuda.get_device_properties(device).total_memory
    else:
        import psutil

        most, memory = (128 if device == "mps" else 32), psutil.virtual_memory().total
    batch = most
    while batch > 1 and batch * item_bytes > 0.1 * memory:
        batch //= 2
    return batch


def in_batches(n: int, batch_size: int, forward: Callable[[range], T]) -> Iterator[T]:
    """Yield ``forward(rows)`` over batches of ``range(n)``, halving the batch when memory runs out.

    Raises
    ------
    UserError
        If a single item does not fit.
    """
    start = 0
    while start < n:
        rows = range(start, min(n, start + batch_size))
        try:
            result = forward(rows)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            if len(rows) == 1:
                raise UserError(
                    "out of memory with a single stimulus in the batch",
                    hint="take a smaller model or image size, or `pool: mean`",
                ) from error
            batch_size = len(rows) // 2
            _release_memory()
            continue
        yield result
        start = rows.stop


def _out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def _release_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
