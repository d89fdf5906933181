"""What can be seen of a network itself, layer by layer, beside what it explains of a brain."""

from __future__ import annotations

from brainbench.lens.base import Block, Column, Diagnostic

__all__ = ["Block", "Column", "Diagnostic"]
