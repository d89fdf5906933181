"""Where a network runs, and how many items at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from brainbench.core.errors import UserError

T = TypeVar("T")


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


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute convolutions and products in float32 as it is.

    On a GPU, convolutions are rounded to TF32 unless PyTorch is told otherwise: features of a ViT then lie 3e-4 of
    their size beside the CPU's, and are no faster.
    """
    import torch

    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


def in_batches(n: int, batch_size: int, forward: Callable[[range], T]) -> Iterator[T]:
    """Yield ``forward(rows)`` over batches of ``range(n)``, in full float32; halve the batch when memory runs out.

    Raises
    ------
    UserError
        If a single item does not fit.
    """
    start = 0
    while start < n:
        rows = range(start, min(n, start + batch_size))
        try:
            with full_float32():
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
