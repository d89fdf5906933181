"""Imports timm and torchvision without torch's compiler, which takes longer to import than torch itself."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
_LOCK = threading.RLock()


def imported(name: str) -> Any:
    """Return a package that asks for torch's compiler when it is imported, and needs it only to compile.

    Parameters
    ----------
    name : str
        ``timm``, ``torchvision.models``, ...
    """
    with _LOCK, _without_compiler():
        return import_module(name)


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Stand in for the compiler until the block ends; where it is loaded already, nothing happens.

    torchvision asks it whether a device can be compiled for, when an operation is called; timm marks functions that it
    must leave alone. Whoever compiles afterwards gets the real one.
    """
    import torch  # noqa: F401 (what is imported with torch itself is no business of ours)

    if _COMPILER in sys.modules:
        yield
        return
    compiler, utils = ModuleType(_COMPILER), ModuleType(f"{_COMPILER}.utils")
    compiler.disable = _left_alone  # type: ignore[attr-defined]
    compiler.utils = utils  # type: ignore[attr-defined]
    utils.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    placeholders = {module.__name__: module for module in (compiler, utils)}
    sys.modules.update(placeholders)
    try:
        yield
    finally:
        for name, module in placeholders.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _left_alone(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    """Return a function, or a decorator, unchanged."""
    return (lambda one: one) if function is None else function


def _is_compile_supported(device_type: str) -> Any:
    """Ask the compiler itself."""
    return import_module(f"{_COMPILER}.utils").is_compile_supported(device_type)
