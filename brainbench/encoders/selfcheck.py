"""What is checked of a network when it is opened, with two stimuli together and one alone.

Every block runs, each time with one row per stimulus; number and values of the taps agree with what the library
itself calls hidden states or feature maps, where it has them; how a value is laid out, how many tokens stand before
the first place, how wide it is, and whether a class token stands first in a network that looks both ways, are read
off the values; a stimulus gives the same features alone and in company. What cannot be read is refused by name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainbench.core.digests import digest
from brainbench.core.errors import UserError
from brainbench.core.files import read_json, write_cached_json
from brainbench.encoders.capture import Tap, hooked, pooled, rows_first
from brainbench.encoders.reading import TOLERANCE, Unreadable, close, distance, read_taps
from brainbench.encoders.tracing import Blocks, Trace, block_lists

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SCHEMA = 1
"""Of the check; a remembered result of another one is not used."""
CHECKS = "checks"
"""Folder of the cache that keeps results."""
LIBRARIES = ("torch", "timm", "transformers", "braindecode")

REFUSALS = (
    AssertionError, AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What networks raise for inputs that they do not take."""

_MEMORY: ContextVar[Path | None] = ContextVar("checks", default=None)
_REMEMBERED: dict[str, Checked] = {}


@contextlib.contextmanager
def remembered_in(folder: Path) -> Iterator[None]:
    """Keep results of checks in `folder` while encoders are opened, so that the next process need not repeat them."""
    token = _MEMORY.set(folder)
    try:
        yield
    finally:
        _MEMORY.reset(token)


@dataclass(frozen=True)
class Probe:
    """What the check runs a network on.

    Attributes
    ----------
    together : callable
        Runs two stimuli through the network; returns the library's own hidden states or feature maps
        (tokens ``(n, T, C)``, maps ``(n, C, H, W)``), or None where it has none.
    alone : callable
        Runs the first of the two.
    mask, mask_alone : Tensor or None
        Which tokens are the stimuli's, ``(2, T)`` and ``(1, T)``; None for pictures.
    class_first : bool
        Whether a token that every stimulus shares stands first.
    first : str
        Name of tap 0.
    blocks : Blocks, optional
        The network's blocks, where the encoder knows them; found by name without.
    hint : str
        What may be the cause where it does not run.
    """

    together: Callable[[], list[Tensor] | None]
    alone: Callable[[], object]
    mask: Tensor | None
    mask_alone: Tensor | None
    class_first: bool
    first: str
    blocks: Blocks | None = None
    hint: str = "it may need inputs that brainbench does not give"


@dataclass(frozen=True)
class Checked:
    """How a network is read.

    Attributes
    ----------
    taps : tuple of Tap
        Tap 0 first.
    alone : bool
        Whether a stimulus's features depend on its company, so that it is read alone.
    class_token : bool
        Whether `cls` means something.
    largest : float
        Bytes of the largest activation of one stimulus.
    before_last_tap : tuple of str
        Modules without children that ran before the last tap: those whose weights its features need.
    said : tuple of str
        Sentences for the report.
    """

    taps: tuple[Tap, ...]
    alone: bool
    class_token: bool
    largest: float
    before_last_tap: tuple[str, ...]
    said: tuple[str, ...]


def checked(network: torch.nn.Module, probe: Callable[[], Probe], parameters: dict[str, Any], who: str) -> Checked:
    """Return how `network` is read; computed once for its weights, its settings and the libraries' versions.

    Parameters
    ----------
    network : torch.nn.Module
    probe : callable
        Returns what to run it on.
    parameters : dict
        What decides the network's features: digest of weights, preprocessing, device.
    who : str
        Begins every message.

    Raises
    ------
    UserError
        If the network cannot be read rightly, with the reason.
    """
    key = digest({"schema": SCHEMA, "libraries": _versions(), **parameters})[:40]
    folder = _MEMORY.get()
    if key not in _REMEMBERED:
        path = None if folder is None else folder / f"{key}.json"
        found = _read(path)
        if found is None:
            found = check(network, probe(), who)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_cached_json(path, asdict(found))
        _REMEMBERED[key] = found
    return _REMEMBERED[key]


def _versions() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[library] = version(library)
    return found


def _read(path: Path | None) -> Checked | None:
    """Return what a file remembers, or None where it is absent or damaged."""
    try:
        values = {} if path is None else read_json(path)
        taps = tuple(Tap(**tap) for tap in values.pop("taps"))
        return Checked(taps=taps, **{name: _tuples(value) for name, value in values.items()})
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def check(network: torch.nn.Module, probe: Probe, who: str) -> Checked:
    """Run the check; see `checked`."""
    import torch

    lists = block_lists(network) if probe.blocks is None else [probe.blocks]
    if not lists:
        raise UserError(f"{who}: {type(network).__name__} has no blocks that brainbench knows how to read")
    trace = Trace()
    try:
        with torch.inference_mode(), trace.over(network, lists):
            states = probe.together()
    except REFUSALS as error:
        raise UserError(
            f"{who}: {type(network).__name__} does not run on two stimuli of its own kind ({_first_line(error)})",
            hint=probe.hint,
        ) from error
    problems: list[str] = []
    for blocks in lists:
        try:
            taps = read_taps(network, blocks, trace, states, probe.mask, probe.first)
            break
        except Unreadable as reason:
            problems.append(f"{blocks.names[0]} ...: {reason}")
    else:
        raise UserError(
            f"{who}: the layers of {type(network).__name__} cannot be read rightly ({problems[0]})",
            hint="docs/encoders.md lists what can be read; a layer that is read wrongly would be worse than none",
        )
    said = []
    if not blocks.known:
        said.append(f"its blocks were found as a list of modules ({blocks.names[0]} ...), which no table names")
    if states is None:
        said.append("its library has no hidden states to hold its layers against")
    if any(tap.call for tap in taps):
        said.append("its blocks share weights; every pass through them is a layer")
    worst, where = _company(network, taps, trace, probe)
    alone = worst > TOLERANCE
    if alone:
        said.append(
            f"features of one stimulus depend on the others of its batch (by {worst:.2g} of the largest in {where}): "
            "every stimulus is read alone"
        )
    last = trace.when[(taps[-1].module, taps[-1].call)]
    before = tuple(sorted(name for name, when in trace.leaves.items() if when < last))
    return Checked(taps, alone, _has_class_token(taps, trace, probe), trace.largest / trace.n_rows, before, tuple(said))


def _has_class_token(taps: Sequence[Tap], trace: Trace, probe: Probe) -> bool:
    """Whether the first token is one that all stimuli share and, in texts, one that what comes after it reaches."""
    shared = all(tap.layout.startswith("tokens") for tap in taps) and (
        probe.mask is not None or all(tap.n_prefix for tap in taps)
    )
    if not (probe.class_first and shared):
        return False
    if probe.mask is None:
        return True  # networks of pictures look all ways
    stem, last = taps[0], taps[-1]
    first = rows_first(trace.taken[stem.module][stem.item], stem.layout)[:, 0]
    end = rows_first(trace.given[(last.module, last.call)][last.item], last.layout)[:, 0]
    return close(first[0], first[1]) and distance(end[0], end[1]) > 0.1 * TOLERANCE


def _company(network: torch.nn.Module, taps: Sequence[Tap], trace: Trace, probe: Probe) -> tuple[float, str]:
    """Return how far the features of the first stimulus are from those it has alone, and in which layer."""
    import torch

    reads = {tap: partial(pooled, tap=tap, pool="mean", mask=probe.mask_alone) for tap in taps}
    with torch.inference_mode(), hooked(network, reads) as alone:
        probe.alone()
    worst, where = 0.0, taps[0].name
    for tap in taps:
        value = trace.taken[tap.module] if tap.side == "input" else trace.given[(tap.module, tap.call)]
        together = pooled(value[tap.item], tap, "mean", probe.mask)
        apart = distance(alone[tap.name][0], together[0]) if tap.name in alone else float("inf")
        if apart > worst:
            worst, where = apart, tap.name
    return worst, where


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
