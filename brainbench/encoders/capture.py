"""Hooks that read and edit a torch network inside one forward pass.

Tap 0 is the input of the first block, tap ``l + 1`` the output of block ``l``; the relative depth of tap ``t``
is ``t / L``. Which modules those are stands in `brainbench.encoders.sites`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from brainbench.encoders.base import Pool
from brainbench.encoders.patterns import VISITS, patterns_made, seen

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Layout = Literal["", "vector", "tokens", "tokens_second", "tokens_last", "map", "map_last"]
"""How a value is laid out: one vector a stimulus; tokens ``(n, T, C)``, ``(T, n, C)``, ``(n, C, T)``; maps
``(n, C, H, W)``, ``(n, H, W, C)``, or sources over time, ``(n, S, T, C)``. Empty: the encoder's own affair."""


@dataclass(frozen=True)
class Tap:
    """One place where a network is read or edited.

    Attributes
    ----------
    name : str
        The layer's name for users.
    module : str
        Dotted path of the module that is hooked.
    side : {"input", "output", "pattern"}
        Whether the module's input, its output, or the attention inside of it is meant.
    depth : float
        Relative depth in [0, 1].
    call : int
        Which call of the module in a pass: a block whose weights are shared runs once a layer.
    item : int
        Which tensor, where the module gives several.
    layout : str
        How its values are laid out.
    n_prefix : int
        Tokens before the first place of the stimulus: class and register tokens.
    width : int or None
        Features after mean pooling.
    n_heads : int
        Above 0: the last axis is split into so many attention heads.
    """

    name: str
    module: str
    side: Literal["input", "output", "pattern"]
    depth: float
    call: int = 0
    item: int = 0
    layout: Layout = ""
    n_prefix: int = 0
    width: int | None = None
    n_heads: int = 0


@dataclass(frozen=True)
class Edit:
    """A change of the value at one place; every later module sees the changed value.

    Attributes
    ----------
    at : Tap
    change : callable
        From the value to one of the same shape.
    """

    at: Tap
    change: Callable[[torch.Tensor], torch.Tensor]


def tensors(value: Any) -> list[torch.Tensor]:
    """Return the tensors of what a module takes or gives: itself, or those of a tuple, list or mapping, in order."""
    import torch

    if isinstance(value, torch.Tensor):
        return [value]
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return [tensor for item in inside for tensor in tensors(item)]


def first_tensor(value: Any, item: int = 0) -> torch.Tensor:
    """Return `value`, or the tensor number `item` of a tuple, list or mapping: blocks return either."""
    found = tensors(value)
    if len(found) <= item:
        raise TypeError(f"a block gave {type(value).__name__}, not a tensor")
    return found[item]


def _with_tensor(value: Any, item: int, new: torch.Tensor) -> Any:
    """Return `value` with its tensor number `item` replaced."""
    import torch

    if isinstance(value, torch.Tensor):
        return new
    pairs = list(value.items()) if isinstance(value, Mapping) else list(enumerate(value))
    for key, inside in pairs:
        n = len(tensors(inside))
        if item < n:
            changed: dict[Any, Any] = {k: _with_tensor(inside, item, new) if k == key else v for k, v in pairs}
            if isinstance(value, tuple):
                return type(value)(changed.values()) if type(value) is tuple else type(value)(*changed.values())
            if isinstance(value, list):
                return list(changed.values())
            return changed if type(value) is dict else type(value)(**changed)
        item -= n
    raise TypeError(f"a block gave {type(value).__name__}, not a tensor")


@contextlib.contextmanager
def hooked(
    model: torch.nn.Module,
    reads: Mapping[Tap, Callable[[torch.Tensor], torch.Tensor]],
    edits: Sequence[Edit] = (),
) -> Iterator[dict[str, torch.Tensor]]:
    """Fill the yielded mapping with what every read makes of its tap's value, at each forward pass.

    Values are read inside the hook, before any later module can change them in place, so that nothing larger than
    what the read keeps outlives its module. A place that is read and edited is read as the network computed it: taps
    at or before an edit are the same bits with and without it. Edits of one place act in the order given. Passes of
    other threads through the same model are neither recorded nor edited. The hooks are gone when the block is left,
    however it is left.
    """
    values: dict[str, torch.Tensor] = {}
    owner = threading.get_ident()
    calls: dict[tuple[str, str], int] = {}
    places = dict.fromkeys([(tap.module, tap.side) for tap in [*reads, *(edit.at for edit in edits)]])

    def visit(place: tuple[str, str], value: Any) -> Any:
        call = calls[place] = calls.get(place, -1) + 1
        for tap, read in reads.items():
            if (tap.module, tap.side, tap.call) == (*place, call):
                values[tap.name] = read(_heads(first_tensor(value, tap.item), tap))
        for edit in edits:
            if (edit.at.module, edit.at.side, edit.at.call) == (*place, call):
                before = first_tensor(value, edit.at.item)
                after = edit.change(_heads(before, edit.at)).reshape(before.shape)
                value = _with_tensor(value, edit.at.item, after)
        return value

    def start(_module: Any, _args: Any) -> None:
        if threading.get_ident() == owner:
            calls.clear()

    def before(place: tuple[str, str], args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != owner:
            return None
        if args:
            return visit(place, args), kwargs
        if "hidden_states" in kwargs:
            return args, kwargs | {"hidden_states": visit(place, kwargs["hidden_states"])}
        return args, visit(place, kwargs)

    def after(place: tuple[str, str], output: Any) -> Any:
        return visit(place, output) if threading.get_ident() == owner else None

    with contextlib.ExitStack() as stack:
        if any(side == "pattern" for _, side in places):
            stack.enter_context(patterns_made(model))
        stack.callback(model.register_forward_pre_hook(start).remove)
        for place in places:
            module = model.get_submodule(place[0])
            if place[1] == "pattern" and list(module.children()):
                seen(model)
                VISITS.of[id(module)] = partial(visit, place)
                stack.callback(VISITS.of.pop, id(module), None)
                continue
            if place[1] == "input":
                handle = module.register_forward_pre_hook(
                    lambda _module, args, kwargs, place=place: before(place, args, kwargs), with_kwargs=True
                )
            else:
                handle = module.register_forward_hook(lambda _module, _args, out, place=place: after(place, out))
            stack.callback(handle.remove)
        yield values


def captured(
    model: torch.nn.Module, taps: Sequence[Tap], pool: Callable[[torch.Tensor], torch.Tensor]
) -> contextlib.AbstractContextManager[dict[str, torch.Tensor]]:
    """Fill the yielded mapping with the pooled value of every tap at each forward pass; see `hooked`."""
    return hooked(model, dict.fromkeys(taps, pool))


def _heads(value: torch.Tensor, tap: Tap) -> torch.Tensor:
    """Split the last axis into attention heads, where the tap says so."""
    return value.unflatten(-1, (tap.n_heads, -1)) if tap.n_heads else value


def rows_first(value: Tensor, layout: Layout) -> Tensor:
    """Return tokens as ``(n, T, C)``, whatever their layout; maps and vectors stay as they are."""
    if layout == "tokens_second":
        return value.transpose(0, 1)
    return value.transpose(1, 2) if layout == "tokens_last" else value


TINY = 1e-24
"""Beside the mean square of an activation of a network whose input has standard deviation 1."""


def log_power(value: Tensor, axis: int) -> Tensor:
    """Return the log10 of the mean square over an axis, flat ``(n, n_features)``."""
    return (value.square().mean(dim=axis) + TINY).log10().flatten(1)


def pooled(value: Tensor, tap: Tap, pool: Pool, mask: Tensor | None = None) -> Tensor:
    """Return one vector a stimulus, ``(n, n_features)`` float32, a copy.

    Parameters
    ----------
    value : Tensor
    tap : Tap
        Says how the value is laid out, and how many class and register tokens stand first.
    pool : {"mean", "cls", "flatten"}
        Mean over places (class and register tokens are no places), the class token, or every value.
    mask : Tensor, optional
        bool ``(n, T)``: the tokens whose mean is taken. Some networks pad further by themselves.
    """
    value = rows_first(value, tap.layout)
    if pool == "flatten":
        return value.flatten(1).float().clone()
    if pool == "cls":
        return value[:, 0].float().clone()
    if mask is not None:
        weights = mask.unsqueeze(-1)
        value = value.flatten(1, 2) if tap.layout == "map_last" else value
        return (value[:, : mask.shape[1]].float() * weights).sum(1) / weights.sum(1)
    if tap.layout in ("map", "map_last"):
        return value.float().mean((1, 2) if tap.layout == "map_last" else (2, 3))
    return value[:, tap.n_prefix :].float().mean(1) if tap.layout.startswith("tokens") else value.float().clone()
