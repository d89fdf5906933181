"""How the values of a network's blocks are laid out, held against what its library itself calls hidden states."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from brainbench.encoders.capture import Layout, Tap, rows_first
from brainbench.encoders.tracing import Blocks, Trace

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TOLERANCE = 1e-4
"""Values agree when they differ by less than so much of the largest: float32 sums in another order, many blocks."""


class Unreadable(Exception):
    """Why a list of modules is not the network's blocks, or cannot be read."""


def read_taps(
    network: torch.nn.Module,
    blocks: Blocks,
    trace: Trace,
    states: list[Tensor] | None,
    mask: Tensor | None,
    first: str,
) -> tuple[Tap, ...]:
    """Return the taps of a network that is read at `blocks`, held against the library's own `states`.

    Raises
    ------
    Unreadable
        With the reason.
    """
    silent = [name for name in blocks.names if (name, 0) not in trace.given]
    if silent:
        raise Unreadable(f"{silent[0]} does not run" + (f", nor do {len(silent) - 1} more" if silent[1:] else ""))
    fires = sorted((key for key in trace.given if key[0] in set(blocks.names)), key=trace.when.__getitem__)
    if len({name for name, _ in fires}) < len(fires) and states is None:
        raise Unreadable(f"{fires[0][0]} runs {len(fires)} times, and nothing tells what that means")
    outputs = [trace.given[key] for key in fires]
    if states is None:
        readings = _unaided(outputs, mask)
    elif mask is not None:
        readings = _by_hidden_states(network, trace.taken.get(blocks.first, []), outputs, states, mask)
    else:
        readings = _by_feature_maps(network, outputs, states)
    depth = len(fires)
    repeated = {name for name, call in fires if call}
    taps = [
        Tap(f"{name}.pass.{call}" if name in repeated else name, name, "output", (t + 1) / depth, call, *reading)
        for t, ((name, call), reading) in enumerate(zip(fires, readings, strict=True))
    ]
    if blocks.first not in trace.taken:
        raise Unreadable(f"{blocks.first} does not run")
    stem = _stem(blocks.first, trace.taken[blocks.first], readings[0], outputs[0][readings[0][0]], mask, first)
    return stem, *taps


Reading = tuple[int, Layout, int, int]
"""Which tensor of several, its layout, tokens before the first place, width: as a tap holds them."""


def _by_hidden_states(
    network: torch.nn.Module, taken: list[Tensor], outputs: list[list[Tensor]], states: list[Tensor], mask: Tensor
) -> list[Reading]:
    """Hold every tap against transformers' hidden states, in order.

    The last state may be what a final norm or projection makes of the last tap. Libraries list the input of the first
    block first (most), or the blocks' outputs alone, or these and what the final norm makes of the last (Mamba).
    """
    n = len(outputs)
    if len(states) == n + 1 and taken and _token_layout(taken[0], states[0], mask) is not None:
        states = states[1:]
    elif len(states) == n + 1 and any(_token_layout(after, states[-1], mask) for after in _afters(network, outputs)):
        states = states[:-1]
    if len(states) != n:
        raise Unreadable(f"{n} passes through blocks do not go with the library's {len(states)} hidden states")
    readings: list[Reading] = []
    for t, (values, state) in enumerate(zip(outputs, states, strict=True)):
        found = _fit(values, partial(_token_layout, state=state, mask=mask))
        if found is None and t == n - 1 and any(_token_layout(a, state, mask) for a in _afters(network, outputs)):
            item, layout, _, _ = readings[-1] if readings else (0, "tokens", 0, 0)
            found = item, layout, 0, int(rows_first(values[item], layout).shape[-1])
        if found is None:
            shapes = ", ".join(str(tuple(value.shape)) for value in values[:3]) or "no tensor"
            raise Unreadable(f"block {t} gives {shapes}, which is not the library's hidden state {t + 1}")
        readings.append(found)
    return readings


def _afters(network: torch.nn.Module, outputs: list[list[Tensor]]) -> Iterator[Tensor]:
    """Yield what may come of the last block's output."""
    for value in outputs[-1]:
        yield from _afterwards(network, value)


def _fit(values: list[Tensor], layout_of: Callable[[Tensor], tuple[Layout, int] | None]) -> Reading | None:
    for item, value in enumerate(values):
        found = layout_of(value)
        if found is not None:
            channels = 1 if found[0] == "map" else -1
            return item, *found, int(rows_first(value, found[0]).shape[channels])
    return None


def _token_layout(value: Tensor, state: Tensor, mask: Tensor) -> tuple[Layout, int] | None:
    """Return the layout in which the value's tokens are the state's, or None."""
    layouts: tuple[Layout, ...] = ("tokens", "tokens_second", "tokens_last")
    for layout in layouts if value.ndim == 3 else ():
        ours = rows_first(value, layout)[:, : mask.shape[1]]
        theirs = state[:, : mask.shape[1]]
        if ours.shape == theirs.shape and ours.shape[:2] == mask.shape and close(ours[mask], theirs[mask]):
            return layout, 0
    return None


def _afterwards(network: torch.nn.Module, value: Tensor) -> Iterator[Tensor]:
    """Yield what a norm, projection or convolution that stands outside of lists of blocks makes of a value."""
    import torch

    for name, module in network.named_modules():
        inside = any(part.isdecimal() for part in name.split("."))
        if name and not inside and not any(isinstance(m, torch.nn.ModuleList) for m in module.modules()):
            with contextlib.suppress(Exception), torch.inference_mode():
                after = module(value.clone())  # some work in place
                if isinstance(after, torch.Tensor):
                    yield after


def _by_feature_maps(network: torch.nn.Module, outputs: list[list[Tensor]], states: list[Tensor]) -> list[Reading]:
    """Hold the taps against timm's feature maps: every map but the first, which may come before, is a block's output.

    Blocks between the maps are read in the layout of the block that is held against the next map.
    """
    found: list[Reading | None] = [None] * len(outputs)
    t, matched = 0, 0
    for number, state in enumerate(states):
        here = next(
            (
                (i, reading)
                for i in range(t, len(outputs))
                if (reading := _fit(outputs[i], partial(_map_layout, state=state))) is not None
            ),
            None,
        )
        if here is None and number == len(states) - 1:
            here = _after_the_blocks(network, outputs, t, state)
        if here is None and (matched or number > 0):
            raise Unreadable(f"timm's feature map {number} is the output of none of its blocks")
        if here is not None:
            t, matched = here[0] + 1, matched + 1
            found[here[0]] = here[1]
    if not matched:
        raise Unreadable("timm's feature maps are the outputs of none of its blocks")
    readings = []
    for i, values in enumerate(outputs):
        reading = found[i]
        if reading is None:
            item, layout, n_prefix, _ = next(one for one in (*found[i:], *reversed(found[:i])) if one is not None)
            same = len(values) > item and values[item].ndim == (4 if layout.startswith("map") else 3)
            if not same or len(rows_first(values[item], layout)) != 2:
                raise Unreadable(f"block {i} gives {[tuple(value.shape) for value in values[:3]]}")
            reading = item, layout, n_prefix, int(values[item].shape[1 if layout == "map" else -1])
        readings.append(reading)
    return readings


def _after_the_blocks(
    network: torch.nn.Module, outputs: list[list[Tensor]], start: int, state: Tensor
) -> tuple[int, Reading] | None:
    """Find the block whose output a final norm or convolution turns into the last map."""
    for i in range(start, len(outputs)):
        for item, value in enumerate(outputs[i]):
            for after in _afterwards(network, value):
                layout = _map_layout(after, state) if after.ndim == value.ndim else None
                if layout is not None:
                    return i, (item, *layout, int(rows_first(value, layout[0]).shape[1 if layout[0] == "map" else -1]))
    return None


def _map_layout(value: Tensor, state: Tensor) -> tuple[Layout, int] | None:
    """Return layout and number of prefix tokens with which a value is a feature map ``(n, C, H, W)``, or None.

    Places may come in another order: mean, least and largest value of every channel are compared.
    """
    if state.ndim == 2:
        return ("vector", 0) if close(value, state) else None
    if state.ndim != 4:
        return None
    n_places = int(state[0, 0].numel())
    layouts: tuple[Layout, ...] = ("tokens", "tokens_last") if value.ndim == 3 else ("map", "map_last")
    for layout in layouts if value.ndim in (3, 4) else ():
        ours, n_prefix = rows_first(value, layout), 0
        if value.ndim == 3:
            n_prefix = ours.shape[1] - n_places
            ours = ours[:, max(n_prefix, 0) :].transpose(1, 2)
        elif layout == "map_last":
            ours = ours.permute(0, 3, 1, 2)
        ours, theirs = ours.flatten(2), state.flatten(2)
        if (
            n_prefix >= 0
            and ours.shape == theirs.shape
            and all(
                close(of(ours), of(theirs)) for of in (lambda x: x.mean(2), lambda x: x.amax(2), lambda x: x.amin(2))
            )
        ):
            return layout, n_prefix
    return None


def _unaided(outputs: list[list[Tensor]], mask: Tensor | None) -> list[Reading]:
    """Read a network whose library offers nothing to hold it against: tokens as they were given, or not.

    Sources over time, ``(n, S, T, C)``, are tokens where there are so many.
    """
    readings: list[Reading] = []
    for t, values in enumerate(outputs):
        several = [value for value in values if value.ndim >= 2 and len(value) == 2]
        layout: Layout = "map_last" if values and values[0].ndim == 4 else "tokens"
        rows = values[0].flatten(1, 2) if layout == "map_last" else values[0] if values else None
        if mask is None or len(several) != 1 or rows is None or rows.ndim != 3 or rows.shape[:2] != mask.shape:
            shapes = ", ".join(str(tuple(value.shape)) for value in values[:3]) or "no tensor"
            raise Unreadable(f"block {t} gives {shapes} for two stimuli, and its library has nothing to compare")
        readings.append((0, layout, 0, int(values[0].shape[-1])))
    return readings


def _stem(module: str, values: list[Tensor], reading: Reading, output: Tensor, mask: Tensor | None, first: str) -> Tap:
    """Return tap 0, the input of the first block, read as the block's output where they look alike."""
    if not values:
        raise Unreadable(f"the input of {module} is no tensor")
    item, layout, n_prefix, _ = reading
    item = item if len(values) > item else 0
    value = values[item]
    if value.ndim == 4:
        layout = layout if value.shape == output.shape else _layout_of_map(value, layout)
    elif value.ndim == 3:
        layout = layout if layout.startswith("tokens") else "tokens"
        same = rows_first(value, layout).shape[1] == (rows_first(output, layout).shape[1] if output.ndim == 3 else -1)
        n_prefix = n_prefix if same else 0
    elif value.ndim == 2:
        layout, n_prefix = "vector", 0
    rows = rows_first(value, layout)
    n_tokens = rows.shape[1] * rows.shape[2] if layout == "map_last" else rows.shape[1]
    if len(rows) != 2 or (mask is not None and n_tokens < mask.shape[1]):
        raise Unreadable(f"the input of its first block has shape {tuple(value.shape)} for two stimuli")
    return Tap(first, module, "input", 0.0, 0, item, layout, n_prefix, int(rows.shape[1 if layout == "map" else -1]))


def _layout_of_map(value: Tensor, likely: Layout) -> Layout:
    """Return where the channels of a map stand: of three axes, two are places and alike."""
    first, second, third = value.shape[1:]
    if (first == second) != (second == third):
        return "map_last" if first == second else "map"
    return "map_last" if likely == "map_last" else "map"


def distance(a: Tensor, b: Tensor) -> float:
    """Return the largest difference, relative to the largest value; infinite for other shapes or no numbers."""
    if a.shape != b.shape or not a.numel():
        return float("inf")
    a, b = a.double(), b.double()
    scale = max(float(b.abs().max()), 1e-12)
    found = float((a - b).abs().max()) / scale
    return found if found == found else float("inf")


def close(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors hold the same values, but for rounding."""
    return distance(a, b) <= TOLERANCE
