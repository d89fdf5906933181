"""Streams stimuli through a network once, and lets every diagnostic look at every block as it is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.capture import Tap, rows_first
from brainbench.encoders.network import Inputs, NetworkEncoder
from brainbench.encoders.sites import Family, Site, family_of, n_heads_of
from brainbench.lens.base import Block, Diagnostic, Looked
from brainbench.lens.readout import readout_of
from brainbench.networks.devices import in_batches

if TYPE_CHECKING:
    from torch import Tensor

NOTHING = "not defined for any stimulus"


@dataclass(frozen=True)
class Measured:
    """The columns of one diagnostic.

    Attributes
    ----------
    values : ndarray (n_columns, n_blocks, n_stimuli)
        NaN where a number is not defined; no block where the network has none of the sites.
    reasons : list of str, one a column
        Why a column is empty, of all blocks or of some; empty where it is not.
    """

    values: np.ndarray
    reasons: list[str]


Shown = Sequence[tuple[Stimuli, Sequence[int]]]
"""Sets of stimuli, and which of each."""


def depths(encoder: NetworkEncoder) -> np.ndarray:
    """Return the relative depth of every block's middle, ``(n_blocks,)``."""
    n_blocks = len(encoder.stream) - 1
    if n_blocks < 1:
        return np.empty(0)
    first, last = encoder.stream[0].depth, encoder.stream[-1].depth
    return first + (last - first) * ((np.arange(n_blocks) + 0.5) / n_blocks)


def measured(
    encoder: NetworkEncoder, shown: Shown, diagnostics: Sequence[Diagnostic], known: Looked | None = None
) -> dict[str, Measured]:
    """Return what every diagnostic finds, by its name.

    A block's values are dropped as soon as all of them have been looked at: numbers a stimulus are kept, and what a
    diagnostic asks to keep for columns over all stimuli.

    Parameters
    ----------
    encoder : NetworkEncoder
    shown : sequence of (Stimuli, sequence of int)
        Sets of stimuli, and which of each; numbers come in this order.
    diagnostics : sequence of Diagnostic
    known : Looked, optional
        What is known of the stimuli.
    """
    n_blocks, n = len(encoder.stream) - 1, sum(len(rows) for _, rows in shown)
    for stimuli, _ in shown[:1]:
        encoder.check_stimuli(stimuli)  # a network of trials is trained, or read, by now
    missing = {one.name: _missing(encoder, one) for one in diagnostics}
    looking = [one for one in diagnostics if not missing[one.name]]
    looker = _Looker(encoder, looking)
    batches: list[tuple[int, _Batch]] = []
    for stimuli, rows in shown:
        encoder.check_modality(stimuli)
        encoder.check_stimuli(stimuli)
        if looking and len(rows):
            # Those of like length together, as features are read.
            order = encoder.order(stimuli)
            mine = np.argsort(np.argsort(order)[list(rows)], kind="stable")
            back = np.argsort(mine)
            read = list(in_batches(len(mine), encoder.batch_size(), looker.over(stimuli, [rows[i] for i in mine])))
            batches.append((len(rows), _reordered(read, back)))
    output = looker.readout
    known = replace(known or Looked(), readout=None if output.why else output, why_no_readout=output.why)
    return {
        one.name: _joined(one, batches, n_blocks, n, missing[one.name], looker.reasons, known) for one in diagnostics
    }


_Batch = dict[tuple[str, str, int], "Tensor | None"]
"""Diagnostic, column or other name, block -> one value a stimulus; None where a reason was given."""


def _reordered(batches: Sequence[_Batch], back: np.ndarray) -> _Batch:
    """Return batches as one, in the order of their rows."""
    import torch

    rows = torch.from_numpy(back)
    found: _Batch = {}
    for key in batches[0]:
        parts = [part for batch in batches if (part := batch[key]) is not None]
        found[key] = torch.cat(parts)[rows] if len(parts) == len(batches) else None
    return found


class _ChangedInPlaceError(Exception):
    """A later module wrote into a value before it was looked at."""


@dataclass(frozen=True)
class _Seen:
    """Tokens of a site, and the value that they may be a view of, as it was."""

    tokens: Tensor
    value: Tensor
    version: int


class _Looker:
    """Lets diagnostics look at blocks while a network runs."""

    def __init__(self, encoder: NetworkEncoder, diagnostics: Sequence[Diagnostic]) -> None:
        self.encoder, self.diagnostics = encoder, diagnostics
        self.n_blocks = len(encoder.stream) - 1
        self.family = family_of(encoder.network, [tap.module for tap in encoder.stream[1:]])
        sites: list[Site] = list(dict.fromkeys(site for one in diagnostics for site in one.sites))
        self.taps = {encoder.site(block, site): (block, site) for block in range(self.n_blocks) for site in sites}
        crossed = self.family is not None and self.family.crossed
        self.crossed = {encoder.site(block, "resid_pre"): block for block in range(self.n_blocks if crossed else 0)}
        self.units = [_units(encoder, self.family, block) for block in range(self.n_blocks)] if diagnostics else []
        self.readout = readout_of(encoder.network)
        self.reasons: dict[tuple[str, str], str] = {}
        self.copies = False
        """Whether values are copied: a network was seen to change one in place that had not been looked at."""

    def over(self, stimuli: Stimuli, rows: Sequence[int]) -> Callable[[range], _Batch]:
        """Return what runs one batch of `rows`."""

        def forward(batch: range) -> _Batch:
            inputs = self.encoder.inputs(stimuli, [rows[index] for index in batch])
            try:
                return self._batch(inputs)
            except _ChangedInPlaceError:
                self.copies = True
                return self._batch(inputs)

        return forward

    def _batch(self, inputs: Inputs) -> _Batch:
        import torch

        held: dict[int, dict[Site, _Seen]] = {}
        waiting: dict[int, list[Diagnostic]] = {}
        carries: dict[str, dict[str, Tensor]] = {one.name: {} for one in self.diagnostics}
        lines: dict[int, Sequence[tuple[slice, Tensor]]] = {}
        found: _Batch = {}

        def look(value: Tensor, tap: Tap) -> Tensor:
            if tap in self.crossed:
                lines[self.crossed[tap]] = self._lines(self.crossed[tap], value)
                if tap not in self.taps:
                    return value.new_empty(0)
            index, site = self.taps[tap]
            if len(value) != inputs.n:
                raise UserError(
                    f"encoder '{self.encoder.name}': '{tap.name}' gives {len(value)} rows for {inputs.n} stimuli"
                )
            mine, left = held.setdefault(index, {}), waiting.setdefault(index, list(self.diagnostics))
            tokens = tokens_of(value, tap).float()
            if site == "resid_post" and tokens.ndim != 3:
                raise UserError(
                    f"encoder '{self.encoder.name}': '{tap.name}' gives values of shape {tuple(tokens.shape)}; the "
                    "lens reads sequences, (stimuli, tokens, width)"
                )
            mine[site] = _Seen(tokens.clone() if self.copies else tokens, value, value._version)
            # As soon as a diagnostic has its sites it looks: what no other one waits for makes room for the network.
            for one in [one for one in left if mine.keys() >= set(one.sites)]:
                left.remove(one)
                block = self._block(index, one, mine, inputs, lines.get(index, ()), carries[one.name])
                for name, number in one.function(block).items():
                    if isinstance(number, str):
                        found[one.name, name, index] = None
                        self.reasons[one.name, name] = number
                    else:
                        found[one.name, name, index] = number.detach().cpu()
            wanted = {name for one in left for name in one.sites}
            for name in mine.keys() - wanted:
                del mine[name]
            return value.new_empty(0)

        with torch.no_grad():  # tensors of inference mode do not know when they are changed
            self.encoder.run(inputs, list(dict.fromkeys([*self.crossed, *self.taps])), reduce=look)
        return found

    def _lines(self, index: int, value: Tensor) -> Sequence[tuple[slice, Tensor]]:
        """Return heads and lines of a block of sources over time, from what it is given ``(n, sources, times, d)``."""
        import torch

        half = n_heads_of(self.encoder.network, self.encoder.stream[index + 1].module) // 2
        token = torch.arange(value[0, :, :, 0].numel(), device=value.device).unflatten(0, value.shape[1:3])
        return (slice(0, half), token.T), (slice(half, 2 * half), token)

    def _block(
        self, index: int, one: Diagnostic, held: Mapping[Site, _Seen], inputs: Inputs,
        lines: Sequence[tuple[slice, Tensor]], carry: dict[str, Tensor],
    ) -> Block:  # fmt: skip
        """Return what a diagnostic looks at, as it was when it was read."""
        seen = {site: held[site] for site in one.sites}
        if not self.copies and any(each.value._version != each.version for each in seen.values()):
            raise _ChangedInPlaceError
        values: dict[str, Tensor] = {site: each.tokens for site, each in seen.items()}
        length = _length(values)
        keep, real, inside = counted(inputs, self.encoder.stream[index + 1], length)
        places = _places(inputs, self.encoder.stream[index + 1], length, keep)
        norm = "" if self.family is None else self.family.norm
        state = None if self.readout.why else self.readout.state
        return Block(
            index, self.n_blocks, norm, values, keep, real, inside, places, lines, *self.units[index], state, carry
        )


def _units(encoder: NetworkEncoder, family: Family | None, block: int) -> tuple[Tensor | None, bool]:
    """Return the norm of what each hidden unit writes, and whether units that are off are exactly 0."""
    if family is None or not family.mlp:
        return None, False
    inside = encoder.network.get_submodule(encoder.stream[block + 1].module)
    projection: Any = inside.get_submodule(family.mlp)
    rectified = any("relu" in type(module).__name__.lower() for module in inside.modules())
    # transformers' Conv1D, of GPT-2, holds its weights the other way round.
    return projection.weight.float().norm(dim=1 if type(projection).__name__ == "Conv1D" else 0), rectified


def _missing(encoder: NetworkEncoder, diagnostic: Diagnostic) -> str:
    """Return why a network has not all the sites of a diagnostic, or nothing."""
    if len(encoder.stream) < 2:
        return encoder.no_stream
    try:
        for site in diagnostic.sites:
            encoder.site(0, site)
    except UserError as error:
        return error.message
    return ""


def _joined(
    diagnostic: Diagnostic,
    batches: Sequence[tuple[int, _Batch]],
    n_blocks: int,
    n: int,
    missing: str,
    reasons: Mapping[tuple[str, str], str],
    known: Looked,
) -> Measured:
    """Return the batches of one diagnostic as one array, and why columns are empty."""
    import torch

    names = [column.name for column in diagnostic.columns]
    if missing:
        return Measured(np.empty((len(names), 0, n)), [missing] * len(names))
    mine = {key[1] for _, batch in batches for key in batch if key[0] == diagnostic.name}
    values, said = np.full((len(names), n_blocks, n), np.nan), {}
    kept: dict[str, list[Tensor]] = {}
    starts = np.cumsum([0, *(size for size, _ in batches)])
    for name in sorted(mine):
        if name not in names:
            for block in range(n_blocks):
                parts = [batch[diagnostic.name, name, block] for _, batch in batches]
                kept.setdefault(name, []).append(torch.cat(parts))  # type: ignore[arg-type]
            continue
        for block in range(n_blocks):
            for start, (size, batch) in zip(starts, batches, strict=False):
                part = batch.get((diagnostic.name, name, block))
                if part is not None:
                    values[names.index(name), block, start : start + size] = part.double().numpy()
    if diagnostic.across is not None:
        for name, found in diagnostic.across(kept, known).items():
            if isinstance(found, str):
                said[name] = found
            else:
                values[names.index(name)] = found.double().cpu().numpy()
    why = []
    for number, name in enumerate(names):
        empty = ~np.isfinite(values[number]).any(axis=1)
        why.append((said.get(name) or reasons.get((diagnostic.name, name)) or NOTHING) if empty.any() else "")
    return Measured(values, why)


def _length(values: Mapping[str, Tensor]) -> int:
    """Return the number of tokens; a pattern's are its last axis."""
    return max(value.shape[-1] if site == "pattern" else value.shape[1] for site, value in values.items())


def tokens_of(value: Tensor, tap: Tap) -> Tensor:
    """Return places as tokens, whatever the layout: ``(n, T, d)``; patterns and heads stay as they are."""
    if tap.side == "pattern" or tap.n_heads:
        return value
    value = rows_first(value, tap.layout)
    if tap.layout == "map":
        return value.flatten(2).transpose(1, 2)
    if tap.layout == "map_last":
        return value.flatten(1, 2)
    return value.unsqueeze(1) if value.ndim == 2 else value


def counted(inputs: Inputs, post: Tap, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the tokens that count, those that are no padding, and those that stand for something, bool ``(n, T)``."""
    import torch

    def whole(given: Tensor | None, beyond: bool) -> Tensor:
        device = None if given is None else given.device
        if given is None and inputs.args:
            device = inputs.args[0].device
        found = torch.full((inputs.n, length), given is None or beyond, device=device)
        if given is not None:
            found[:, : given.shape[1]] = given
        return found

    if inputs.mask is None:
        real = whole(None, True)
        keep = real.clone()
        keep[:, : post.n_prefix] = False
        return keep, real, keep
    mask, real = whole(inputs.mask, False), whole(inputs.real, False).to(inputs.mask.device)
    if inputs.special is None:
        return mask, real, real
    apart = whole(inputs.special, False)
    if inputs.real is not None:  # a text: its first token is where attention goes that looks at nothing
        apart[:, 0] = True
    return mask & ~apart, real, real & ~apart


def _places(inputs: Inputs, post: Tap, length: int, keep: Tensor) -> dict[str, Tensor]:
    """Return where tokens lie: on the head and in time, in a grid of patches, or one after the other."""
    import torch

    if inputs.places:
        return dict(inputs.places)
    if inputs.grid is not None:
        n_patches = inputs.grid[0] * inputs.grid[1]
        if length - n_patches < 0 or (inputs.mask is None and length - n_patches != post.n_prefix):
            return {}
        axes = [torch.arange(size, dtype=torch.float32, device=keep.device) for size in inputs.grid]
        patches = torch.cartesian_prod(*axes)
        return {"patches": torch.cat([patches.new_zeros(length - n_patches, 2), patches])}
    if inputs.real is None:
        return {}
    return {"tokens": torch.arange(length, dtype=torch.float32, device=keep.device).unsqueeze(1)}
