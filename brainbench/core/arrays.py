"""NumPy arrays and PyTorch tensors behind one small namespace.

Code that takes both asks `arrays_of` once and then writes operators, slices and the few functions below. Whatever
the two libraries spell alike (``@``, ``.T``, ``.sum(axis=0)``, ``.reshape``) is used directly. PyTorch is never
imported here: a tensor can only come in when somebody else has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import scipy.linalg
from threadpoolctl import ThreadpoolController

Array = Any
"""A NumPy array or a PyTorch tensor."""


class Arrays(Protocol):
    """What numerical code may ask of either library, beyond operators and slices."""

    name: str
    accelerated: bool
    """Whether products are computed beside the processor, a hundred times as fast."""

    def asarray(self, values: Any, dtype: str | None = None) -> Array:
        """Return `values` on this device, as ``"float32"``, ``"float64"``, ``"int64"`` or in the type they have."""

    def to_numpy(self, values: Array) -> np.ndarray:
        """Return a NumPy array on the host."""

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Return an array that is not initialised."""

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Return zeros."""

    def dtype_of(self, values: Array) -> str:
        """Return the name of the type, such as ``"float32"``."""

    def contiguous(self, values: Array) -> Array:
        """Return the values in row-major order."""

    def rows(self, index: np.ndarray) -> Any:
        """Return what selects these rows: a slice where they are contiguous, else an index on this device."""

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        """Write ``a @ b`` into `out`, which may be a block of columns of a larger array."""

    def sum64(self, values: Array, axis: int) -> Array:
        """Sum with float64 accumulation."""

    def largest(self, values: Array) -> Array:
        """Return the largest absolute value of every column, without a copy of the values."""

    def where(self, condition: Array, a: Any, b: Any) -> Array:
        """Choose elementwise."""

    def sqrt(self, values: Array) -> Array:
        """Take square roots."""

    def power_of_two(self, values: Array) -> Array:
        """Return the power of two next to each positive value; 1 for zeros. Dividing by it loses no digit."""

    def triangle(self, values: Array) -> Array:
        """Return the triangular factor R of ``values = Q R``."""

    def inverse(self, values: Array) -> Array:
        """Return the inverse of a matrix."""

    def solve(self, matrices: Array, values: Array) -> Array:
        """Return the solutions of linear systems, one a matrix."""

    def eigh(self, matrices: Sequence[Callable[[], Array]]) -> Iterator[tuple[Array, Array]]:
        """Yield eigenvalues (ascending) and eigenvectors of symmetric matrices, each made when its turn comes."""


class _Numpy:
    """The NumPy side of `Arrays`."""

    name = "numpy"
    accelerated = False

    def asarray(self, values: Any, dtype: str | None = None) -> np.ndarray:
        return np.asarray(values, dtype=dtype)

    def to_numpy(self, values: np.ndarray) -> np.ndarray:
        return values

    def empty(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.empty(shape, dtype=dtype)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.zeros(shape, dtype=dtype)

    def dtype_of(self, values: np.ndarray) -> str:
        return str(values.dtype)

    def contiguous(self, values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values)

    def rows(self, index: np.ndarray) -> slice | np.ndarray:
        return _slice_of(index) or index

    def matmul(self, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        np.matmul(a, b, out=out)

    def sum64(self, values: np.ndarray, axis: int) -> np.ndarray:
        return values.sum(axis=axis, dtype=np.float64)

    def largest(self, values: np.ndarray) -> np.ndarray:
        return np.maximum(values.max(axis=0), -values.min(axis=0))

    def where(self, condition: np.ndarray, a: Any, b: Any) -> np.ndarray:
        return np.where(condition, a, b)

    def sqrt(self, values: np.ndarray) -> np.ndarray:
        return np.sqrt(values)

    def power_of_two(self, values: np.ndarray) -> np.ndarray:
        positive = values > 0
        return np.where(positive, np.exp2(np.round(np.log2(np.where(positive, values, 1.0)))), 1.0)

    def triangle(self, values: np.ndarray) -> np.ndarray:
        upper: np.ndarray = np.linalg.qr(values, mode="r")  # type: ignore[assignment]  # its stubs forget the mode
        return upper

    def inverse(self, values: np.ndarray) -> np.ndarray:
        return np.linalg.inv(values)

    def solve(self, matrices: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.linalg.solve(matrices, values)

    def eigh(self, matrices: Sequence[Callable[[], np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        # LAPACK's eigensolver hardly gains from threads, and loses where cores are shared: one matrix a thread.
        blas = _blas()
        threads = max([library["num_threads"] for library in blas.info()], default=1)
        workers = max(1, min(threads, len(matrices)))
        if workers == 1:
            yield from (_eigh(make()) for make in matrices)
            return
        with ThreadPoolExecutor(workers) as pool:
            for start in range(0, len(matrices), workers):
                # The limit ends before each yield: the caller's products use all threads.
                with blas.limit(limits=max(1, threads // workers)):
                    found = list(pool.map(lambda make: _eigh(make()), matrices[start : start + workers]))
                yield from ((values, vectors) for values, vectors in found)


class _Torch:
    """The PyTorch side of `Arrays`, bound to the device of one tensor."""

    name = "torch"

    def __init__(self, device: Any) -> None:
        self.torch: Any = sys.modules["torch"]
        self.device = device
        self.accelerated = device.type != "cpu"

    def asarray(self, values: Any, dtype: str | None = None) -> Array:
        return self.torch.as_tensor(values, dtype=dtype and getattr(self.torch, dtype), device=self.device)

    def to_numpy(self, values: Array) -> np.ndarray:
        host: np.ndarray = values.detach().cpu().numpy()
        return host

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        return self.torch.empty(shape, dtype=getattr(self.torch, dtype), device=self.device)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array:
        return self.torch.zeros(shape, dtype=getattr(self.torch, dtype), device=self.device)

    def dtype_of(self, values: Array) -> str:
        return str(values.dtype).removeprefix("torch.")

    def contiguous(self, values: Array) -> Array:
        return values.contiguous()

    def rows(self, index: np.ndarray) -> Any:
        return _slice_of(index) or self.asarray(index, "int64")

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        self.torch.matmul(a, b, out=out)

    def sum64(self, values: Array, axis: int) -> Array:
        return values.sum(dim=axis, dtype=self.torch.float64)

    def largest(self, values: Array) -> Array:
        return self.torch.maximum(values.amax(dim=0), -values.amin(dim=0))

    def where(self, condition: Array, a: Any, b: Any) -> Array:
        return self.torch.where(condition, a, b)

    def sqrt(self, values: Array) -> Array:
        return self.torch.sqrt(values)

    def power_of_two(self, values: Array) -> Array:
        positive = values > 0
        return self.torch.where(
            positive, self.torch.exp2(self.torch.round(self.torch.log2(self.torch.where(positive, values, 1.0)))), 1.0
        )

    def triangle(self, values: Array) -> Array:
        return self.torch.linalg.qr(values, mode="r").R

    def inverse(self, values: Array) -> Array:
        return self.torch.linalg.inv(values)

    def solve(self, matrices: Array, values: Array) -> Array:
        return self.torch.linalg.solve(matrices, values)

    def eigh(self, matrices: Sequence[Callable[[], Array]]) -> Iterator[tuple[Array, Array]]:
        for make in matrices:
            yield tuple(self.torch.linalg.eigh(make()))


NUMPY: Arrays = _Numpy()


def is_tensor(values: Any) -> bool:
    """Return whether `values` is a PyTorch tensor; never imports PyTorch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


def arrays_of(*values: Any) -> Arrays:
    """Return the namespace of some arrays: PyTorch's if the first is a tensor, else NumPy's.

    Raises
    ------
    TypeError
        When arrays and tensors, or two devices, are mixed.
    """
    tensors = [is_tensor(value) for value in values]
    if not tensors[0]:
        if any(tensors):
            raise TypeError("NumPy arrays and PyTorch tensors are mixed; pass all of one kind")
        return NUMPY
    if not all(tensors) or len({value.device for value in values}) > 1:
        raise TypeError("pass PyTorch tensors of one device, not mixed with others or with NumPy arrays")
    return _Torch(values[0].device)


def _eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues and eigenvectors; SciPy's solver is twice as fast in float32 but holds the interpreter."""
    if matrix.dtype == np.float32:
        values, vectors = scipy.linalg.eigh(matrix, driver="evd", check_finite=False)
        return values, vectors
    values, vectors = np.linalg.eigh(matrix)
    return values, vectors


def _slice_of(index: np.ndarray) -> slice | None:
    """Return the slice that selects the same rows, if they are contiguous and ascending."""
    if len(index) and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return None


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """Return the BLAS libraries in this process; they are looked up once, which takes milliseconds."""
    return ThreadpoolController().select(user_api="blas")
