"""Networks run under edits: features of every edited network, computed from the first block that differs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from brainbench.data.base import Stimuli
from brainbench.encoders.base import Pool
from brainbench.encoders.capture import Edit, Tap
from brainbench.encoders.network import Inputs, NetworkEncoder
from brainbench.encoders.patterns import patterns_made
from brainbench.encoders.sites import Site
from brainbench.lens.edits import Change, Pass, Spread, Step
from brainbench.lens.measure import counted, tokens_of
from brainbench.networks.devices import in_batches

if TYPE_CHECKING:
    from torch import Tensor

Reduce = Callable[["Tensor", Tap], "Tensor"]
_EXACT: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
"""Networks, and whether a run of theirs may begin with the input of a block: it is tried once (`exact_from`)."""


class _Enough(Exception):
    """All that was wanted of a pass was read."""


def edited(
    encoder: NetworkEncoder,
    stimuli: Stimuli,
    rows: Sequence[int],
    changes: Sequence[Change],
    layer: str,
    pool: Pool,
    *,
    resume: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return features of a layer as the network gives them, and as it gives them under every change.

    The clean run and all edited ones share a kernel: where a change is one of patterns, all of them make patterns.

    Parameters
    ----------
    encoder : NetworkEncoder
    stimuli : Stimuli
    rows : sequence of int
    changes : sequence of Change
    layer : str
    pool : {"mean", "cls", "flatten"}
    resume : bool
        Begin each run with the stored input of the first block that a change touches, where the network allows it
        (`exact_from` tries it): the same bits, and blocks before are not computed.

    Returns
    -------
    clean : ndarray (n, n_features)
    changed : ndarray (n_changes, n, n_features)
    """
    import torch

    encoder.check_stimuli(stimuli)
    ((number, tap),) = [(number, one) for number, one in enumerate(encoder.taps) if one.name == layer]
    before = {one.name for one in encoder.taps[: number + 1]}
    place_of_tap = sum(one.name in before for one in encoder.stream[1:])  # so many blocks ran before it
    # A run begins with what a block was given, or with what it gives, where a change is of that alone.
    n_blocks = len(encoder.stream) - 1
    behind = {change.first for change in changes if change.output is not None or change.leaves}
    firsts = sorted(
        ({change.first for change in changes} - {0}) | behind | {block + 1 for block in behind} - {n_blocks}
    )
    exact: dict[int, bool] = {} if resume and n_blocks > 1 else dict.fromkeys(firsts, False)

    n, size, read_at = encoder.reads(stimuli, rows, pool)
    order: list[int] = []

    def forward(places: range) -> tuple[np.ndarray, np.ndarray]:
        read = read_at(places)
        inputs, pooled = read.inputs, read.pooled
        stored = {encoder.site(block, "resid_pre"): block for block in firsts if exact.get(block, True)}
        if stored and n_blocks - 1 in behind:
            stored[encoder.site(n_blocks - 1, "resid_post")] = n_blocks

        def reduce(value: Tensor, at: Tap) -> Tensor:
            return value.clone() if at in stored else pooled(value, at)

        with torch.inference_mode():
            found = encoder.run(inputs, [tap, *stored], reduce=reduce)
            given = {block: found[at.name] for at, block in stored.items()}  # or what the last one gives
            if given and not exact:  # what a network hands on besides its stream, it hands on from the first block on
                if encoder.network not in _EXACT:
                    tried = (exact_from(encoder, inputs, tap, found[tap.name], block, given[block], pooled)
                             for block in {min(set(firsts) - {0}), firsts[-1]})  # fmt: skip
                    _EXACT[encoder.network] = all(tried)
                exact.update(dict.fromkeys(firsts, _EXACT[encoder.network]))
            out = []
            for change in changes:
                first = change.first
                changed = n_blocks - 1 if change.leaves else first
                if exact.get(first, False) and place_of_tap <= changed and changed > 0:
                    out.append(found[tap.name].cpu().numpy())  # it lies before all that changes
                    continue
                now = Pass(np.asarray(read.rows), _inside(encoder, inputs))
                edits = [edit_of(encoder, step, now) for step in change.steps]
                with contextlib.ExitStack() as stack:
                    if exact.get(first, False) and change.leaves:
                        stack.enter_context(resumed(encoder, n_blocks, given[first + 1]))
                        edits = []
                    elif exact.get(first, False) and change.output is not None:
                        at = encoder.site(first, "resid_post")
                        gave = given[first + 1]
                        new = change.output(tokens_of(given[first], at), tokens_of(gave, at))
                        stack.enter_context(resumed(encoder, first + 1, _laid_out(new, gave, at)))
                        edits = []
                    elif exact.get(first, False):
                        stack.enter_context(resumed(encoder, first, given[first]))
                    out.append(_read_behind_edits(encoder, inputs, tap, edits, pooled).cpu().numpy())
        order.extend(read.rows)
        return found[tap.name].cpu().numpy(), np.stack(out)

    with contextlib.ExitStack() as stack:
        if any(step.site == "pattern" for change in changes for step in change.steps):
            stack.enter_context(patterns_made(encoder.network))
        parts = list(in_batches(n, size, forward))
    place = {row: index for index, row in enumerate(order)}  # windows of a story give more words than are asked for
    back = [place[row] for row in rows]
    return np.concatenate([part[0] for part in parts])[back], np.concatenate([part[1] for part in parts], 1)[:, back]


def _read_behind_edits(
    encoder: NetworkEncoder, inputs: Inputs, tap: Tap, edits: Sequence[Edit], reduce: Reduce
) -> Tensor:
    """Return a tap as later modules see it: an edit at the very place counts."""
    found: dict[str, Tensor] = {}

    def look(value: Tensor) -> Tensor:
        found["value"] = reduce(value, tap)
        return value

    encoder.run(inputs, [], [*edits, Edit(tap, look)])
    return found["value"]


def edit_of(encoder: NetworkEncoder, step: Step, now: Pass) -> Edit:
    """Return a step as an edit of the network; the stream is shown to it as tokens, whatever its layout."""
    at = encoder.site(step.block, step.site)

    def change(value: Tensor) -> Tensor:
        return _laid_out(step.function(tokens_of(value, at), now), value, at)

    return Edit(at, change)


def _laid_out(tokens: Tensor, value: Tensor, at: Tap) -> Tensor:
    """Return tokens in the layout of the value of a place."""
    if at.layout == "tokens_second":
        return tokens.transpose(0, 1)
    if at.layout == "tokens_last":
        return tokens.transpose(1, 2)
    if at.layout == "map":
        return tokens.transpose(1, 2).reshape(value.shape)
    return tokens.reshape(value.shape)


def _inside(encoder: NetworkEncoder, inputs: Inputs) -> Any:
    return lambda length: counted(inputs, encoder.stream[1], length)[2]


def means(
    encoder: NetworkEncoder, stimuli: Stimuli, rows: Sequence[int], wanted: Sequence[tuple[int, Site]]
) -> dict[tuple[int, Site], Tensor]:
    """Return the mean of sites over all tokens that stand for something: ``(d,)``, or ``(heads, d / heads)``."""
    import torch

    encoder.check_stimuli(stimuli)
    taps = {encoder.site(block, site): (block, site) for block, site in wanted}
    sums: dict[tuple[int, Site], Tensor] = {}
    counts: dict[tuple[int, Site], int] = {}

    n, size, read_at = encoder.reads(stimuli, rows, "mean")

    def forward(places: range) -> None:
        inputs = read_at(places).inputs

        def add(value: Tensor, tap: Tap) -> Tensor:
            tokens = tokens_of(value, tap).double()
            inside = counted(inputs, encoder.stream[1], tokens.shape[1])[2].to(tokens.device)
            key = taps[tap]
            sums[key] = sums.get(key, 0) + tokens[inside].sum(0)
            counts[key] = counts.get(key, 0) + int(inside.sum())
            return value.new_empty(0)

        with torch.inference_mode():
            encoder.run(inputs, list(taps), reduce=add)

    for _ in in_batches(n, size, forward):
        pass
    return {key: (total / max(counts[key], 1)).float() for key, total in sums.items()}


def spreads(
    encoder: NetworkEncoder, stimuli: Stimuli, rows: Sequence[int], blocks: Sequence[int], kind: str
) -> dict[int, Spread]:
    """Return how the stream varies where blocks are skipped (behind each), or erased (before it), and what that takes.

    Over all tokens that stand for something; one pass for all blocks, which ends behind the last of them.
    """
    import torch

    encoder.check_stimuli(stimuli)
    # In the order in which they are computed: of neighbours one gives what the other is given.
    sites: tuple[Site, ...] = ("resid_pre", "resid_post") if kind == "skip" else ("resid_pre",)
    wanted = {encoder.site(block, site): (block, site) for block in sorted(blocks) for site in sites}
    n, size, read_at = encoder.reads(stimuli, rows, "mean")
    sums: dict[tuple[int, str], Tensor] = {}
    count = 0

    def forward(places: range) -> None:
        inputs = read_at(places).inputs
        seen: dict[int, Tensor] = {}
        left = len(wanted)

        def add(block: int, stream: Tensor, taken: Tensor) -> None:
            for name, value in (("stream", stream), ("taken", taken)):
                sums[block, name] = sums.get((block, name), 0) + value.sum(0)
                sums[block, f"{name}2"] = sums.get((block, f"{name}2"), 0) + value.T @ value

        def look(value: Tensor, tap: Tap) -> Tensor:
            nonlocal left, count
            block, site = wanted[tap]
            tokens = tokens_of(value, tap)
            tokens = tokens[counted(inputs, encoder.stream[1], tokens.shape[1])[2].to(tokens.device)].double()
            if kind != "skip":
                add(block, tokens, tokens)
            elif site == "resid_pre":
                seen[block] = tokens
            else:
                add(block, tokens, tokens - seen.pop(block))
            left -= 1
            if left == 0:
                count += len(tokens)
                raise _Enough
            return value.new_empty(0)

        with torch.inference_mode(), contextlib.suppress(_Enough):
            encoder.run(inputs, list(wanted), reduce=look)

    for _ in in_batches(n, size, forward):
        pass
    return {block: _spread({name: sums[at, name] for at, name in sums if at == block}, count, kind) for block in blocks}


def _spread(sums: Mapping[str, Tensor], count: int, kind: str) -> Spread:
    """Return a spread from sums of tokens and of their products."""
    import torch

    centre = {name: sums[name] / max(count, 1) for name in ("stream", "taken")}
    covariance = {
        name: (sums[f"{name}2"] / max(count, 1) - torch.outer(mean, mean)).cpu() for name, mean in centre.items()
    }
    mean = centre["taken"].cpu()
    return Spread.of(covariance["stream"], mean if kind == "skip" else torch.zeros_like(mean), covariance["taken"])


# From the first block that differs -----------------------------------------------------------------------------------


def exact_from(
    encoder: NetworkEncoder, inputs: Inputs, tap: Tap, clean: Tensor, block: int, given: Tensor, reduce: Reduce
) -> bool:
    """Return whether a run that begins at `block`, with what it was given, gives the very bits of a whole one.

    It does not where blocks share weights, or hand on more than the stream (T5's position bias).
    """
    import torch

    modules = [one.module for one in encoder.stream[1:]]
    if len(set(modules)) < len(modules) or block == 0:
        return False
    try:
        with resumed(encoder, block, given):
            again = _read_behind_edits(encoder, inputs, tap, (), reduce)
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
        return False
    return torch.equal(again, clean)


@contextlib.contextmanager
def resumed(encoder: NetworkEncoder, block: int, given: Tensor) -> Iterator[None]:
    """Let blocks before `block` compute nothing, and `block` be given what it was given before (all blocks, too).

    The network is as it was when the context is left, however that is.
    """
    modules: list[Any] = [encoder.network.get_submodule(tap.module) for tap in encoder.stream[1 : block + 1]]

    def nothing(*_args: Any, **_kwargs: Any) -> Tensor:
        return given

    try:
        for module in modules:
            module.forward = nothing
        yield
    finally:
        for module in modules:
            module.__dict__.pop("forward", None)
