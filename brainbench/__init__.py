"""brainbench: which layer of which model explains which part of the brain.

The names below are loaded when first used, so that ``import brainbench`` stays light::

    import brainbench as bb

    run = bb.run("quickstart")
    run.scores, run.best_layers(), run.plot("depth")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from brainbench.commands.compare import compare_runs
    from brainbench.commands.plan import Plan, plan
    from brainbench.commands.run import Run, open_run, run
    from brainbench.core.errors import UserError
    from brainbench.data.base import Stimuli
    from brainbench.encoders.base import Encoder, open_encoder
    from brainbench.lens.table import lens

_LAZY = {
    "Encoder": "brainbench.encoders.base",
    "Plan": "brainbench.commands.plan",
    "Run": "brainbench.commands.run",
    "Stimuli": "brainbench.data.base",
    "UserError": "brainbench.core.errors",
    "compare_runs": "brainbench.commands.compare",
    "open_encoder": "brainbench.encoders.base",
    "lens": "brainbench.lens.table",
    "open_run": "brainbench.commands.run",
    "plan": "brainbench.commands.plan",
    "run": "brainbench.commands.run",
}

__all__ = [
    "Encoder", "Plan", "Run", "Stimuli", "UserError", "__version__", "compare_runs", "lens", "open_encoder", "open_run",
    "plan", "run",
]  # fmt: skip


def __dir__() -> list[str]:
    """Return what the package offers, for completion; nothing is loaded for it."""
    return list(__all__)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'brainbench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
