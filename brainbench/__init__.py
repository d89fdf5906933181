"""brainbench: which layer of which model explains which part of the brain.

The names below are loaded when first used, so that ``import brainbench`` stays light::

    import brainbench as bb

    run = bb.run("recipes/quickstart.yaml")
    run.scores
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from brainbench.commands.plan import plan
    from brainbench.commands.run import open_run, run
    from brainbench.lens.table import lens
    from brainbench.runs.folder import Run

_LAZY = {
    "Run": "brainbench.runs.folder",
    "lens": "brainbench.lens.table",
    "open_run": "brainbench.commands.run",
    "plan": "brainbench.commands.plan",
    "run": "brainbench.commands.run",
}

__all__ = ["Run", "__version__", "lens", "open_run", "plan", "run"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'brainbench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
