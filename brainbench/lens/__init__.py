"""What can be seen of a network itself, layer by layer, beside what it explains of a brain.

The room is called too: ``bb.lens(model, inputs)`` is `brainbench.lens.table.lens`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from brainbench.lens.base import Block, Column, Diagnostic

__all__ = ["Block", "Column", "Diagnostic"]


class _Room(ModuleType):
    def __call__(self, model: Any, inputs: Any, **options: Any) -> Any:
        """Return `brainbench.lens.table.lens` of a network and its inputs."""
        from brainbench.lens.table import lens

        return lens(model, inputs, **options)


sys.modules[__name__].__class__ = _Room
