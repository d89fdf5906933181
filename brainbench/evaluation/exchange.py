r"""What is exchanged under a null: orders of rows that leave alone what the design keeps.

A test by exchange is exact when, without an effect, the responses are as likely in one order as in the other. So what
makes rows alike moves together: the showings of a stimulus, the rows of a run, neighbours in time. Everything that
learns from the responses is then done again (`brainbench.evaluation.refit`): with predictions kept fixed, the scores
of folds would be exchanged as if they were independent, but the product of two rows i and j of different folds stands
in both folds' scores, once with j in training and once with i. For a score :math:`y'Ay` of white responses the true
null has the variance :math:`\|A\|^2 + \mathrm{tr}(A^2)`, that of fixed predictions only :math:`\|A\|^2`: up to half.

Participants whose rows have the same stimuli in the same runs get the same orders from the same seed: what they share
of the stimuli is then exchanged once for all.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

KINDS = ("stimulus", "within_run", "rows", "block", "shift")

MIN_BLOCKS = 20
"""Below so many blocks of time, whole runs are shifted instead."""

FEW = 99
"""Below so many distinct exchanges nothing is said beyond their count."""

LOST = 0.05
"""Share of the variance of a score that cutting blocks may lose."""

NOTHING = 0.05
"""Autocorrelation that counts as none."""

SOME = 200
"""Targets whose autocorrelation is taken."""


@dataclass(frozen=True)
class Exchange:
    """Orders of rows under a null.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    orders : int ndarray (n_exchanges, n_rows)
        ``y[orders[i]]`` are the responses of exchange ``i``; the order as it was is not among them.
    n_distinct : float
        How many orders there are, without the one that was.
    key : str
        Exchanges of equal keys move the same stimuli to the same places.
    text : str
        What is exchanged, for the report.
    """

    kind: str
    orders: np.ndarray
    n_distinct: float
    key: str
    text: str

    def __len__(self) -> int:
        return len(self.orders)


def make_exchange(
    n_rows: int,
    *,
    kind: str,
    stimulus: np.ndarray | None = None,
    run: np.ndarray | None = None,
    block_length: int | None = None,
    n_exchanges: int = 199,
    seed: int = 0,
) -> Exchange:
    """Draw orders of rows.

    Parameters
    ----------
    n_rows : int
    kind : {"stimulus", "within_run", "rows", "block", "shift"}
        ``stimulus``: the rows of a stimulus go together to the places of another that has as many rows in the same
        runs (in any runs, where fewer than 99 orders would be left). ``within_run``: rows are exchanged within runs.
        ``rows``: any two rows. ``block``: every run is turned by a random offset and cut into blocks of
        `block_length` rows, which are put in random order. ``shift``: every run is turned.
    stimulus, run : ndarray (n_rows,), optional
        Without `run` all rows are one.
    block_length : int, optional
    n_exchanges : int
        All distinct ones are taken where there are fewer turns than this.
    seed : int

    Raises
    ------
    ValueError
        If a kind lacks what it needs, or nothing can be exchanged.
    """
    runs = np.zeros(n_rows, dtype=int) if run is None else np.unique(np.asarray(run), return_inverse=True)[1]
    names = np.arange(n_rows) if stimulus is None else np.unique(np.asarray(stimulus), return_inverse=True)[1]
    if kind == "block" and (not block_length or block_length < 1):
        raise ValueError(f"block_length must be 1 row or more for the block null, got {block_length}")
    if kind == "stimulus" and stimulus is None:
        raise ValueError("the stimulus null needs the stimulus of each row")
    if kind == "within_run" and run is None:
        raise ValueError("the within_run null needs the run of each row")
    if kind not in KINDS:
        raise ValueError(f"null must be one of {', '.join(KINDS)}, got {kind!r}")
    return _drawn(kind, names.tobytes(), runs.tobytes(), block_length, n_exchanges, seed)


@lru_cache(maxsize=8)
def _drawn(kind: str, names: bytes, runs: bytes, block_length: int | None, n_exchanges: int, seed: int) -> Exchange:
    """Draw orders, which all layers of a participant share; see `make_exchange`."""
    unit, run = (np.frombuffer(one, dtype=np.intp) for one in (names, runs))
    # The key names the units in the order in which they are drawn; rows may stand in any order.
    table = np.stack([run, unit])
    table = table if kind in ("block", "shift") else table[:, np.lexsort((unit, run))]
    key = hashlib.sha256(f"{kind} {block_length} {table.shape} ".encode() + table.tobytes()).hexdigest()
    rng = np.random.default_rng([seed, 11, int(key[:12], 16)])
    if kind in ("block", "shift"):
        pools = [np.flatnonzero(run == value) for value in range(int(run.max()) + 1)]
        orders, n_distinct = _in_time(pools, kind, block_length or 1, n_exchanges, rng)
    else:
        groups = _units(kind, unit, run)
        n_distinct = math.exp(min(sum(math.lgamma(len(group) + 1) for group in groups), 700.0)) - 1
        orders = np.tile(np.arange(len(run)), (n_exchanges, 1))
        for one in orders:
            for group in groups:
                one[group] = group[rng.permutation(len(group))]
    if round(n_distinct) < 1:
        raise ValueError("nothing can be exchanged: every row differs from every other in what the design keeps")
    orders.flags.writeable = False
    return Exchange(kind, orders, float(n_distinct), key, _text(kind, block_length, n_distinct))


def _units(kind: str, names: np.ndarray, runs: np.ndarray) -> list[np.ndarray]:
    """Return groups of units that may change places, ``(n_units, n_rows_of_a_unit)``; rows of a unit move together."""
    rows = np.lexsort((names, runs))
    if kind == "rows":
        return [rows[:, None]]
    if kind == "within_run":
        return [rows[runs[rows] == value][:, None] for value in np.unique(runs)]
    strict: dict[tuple[int, ...], list[np.ndarray]] = {}
    loose: dict[int, list[np.ndarray]] = {}
    for unit in np.split(rows[np.argsort(names[rows], kind="stable")], np.cumsum(np.bincount(names))[:-1]):
        strict.setdefault(tuple(runs[unit].tolist()), []).append(unit)
        loose.setdefault(len(unit), []).append(unit)
    enough = sum(math.lgamma(len(group) + 1) for group in strict.values()) > math.log(FEW + 1)
    return [np.stack(group) for group in (strict if enough else loose).values()]


def _in_time(
    pools: list[np.ndarray], kind: str, length: int, n_exchanges: int, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Return orders that turn every run, and cut it into blocks (``block``)."""
    sizes = [len(pool) for pool in pools]
    turns = math.prod(sizes) if sum(math.log(size) for size in sizes) < 30 else math.inf
    if kind == "shift" and turns - 1 <= n_exchanges:
        # All turns but none: with their neighbours kept they are a group, and the test is exact.
        offsets = np.array(list(np.ndindex(*sizes)))[1:]
    else:
        offsets = np.stack([rng.integers(0, size, n_exchanges) for size in sizes], axis=1)
        idle = ~offsets.any(axis=1)
        offsets[idle, 0] = 1
    orders = np.empty((len(offsets), sum(sizes)), dtype=np.intp)
    for order, offset in zip(orders, offsets, strict=True):
        for rows, turn in zip(pools, offset, strict=True):
            turned = np.roll(rows, turn)
            if kind == "block":
                blocks = np.split(turned, np.arange(length, len(rows), length))
                turned = np.concatenate([blocks[i] for i in rng.permutation(len(blocks))])
            order[rows] = turned
    if kind == "shift":
        return orders, turns - 1
    blocks_of = [math.ceil(size / length) for size in sizes]
    return orders, math.exp(min(sum(math.lgamma(n + 1) for n in blocks_of) + math.log(min(turns, 1e12)), 700.0))


def _text(kind: str, length: int | None, n_distinct: float) -> str:
    text = {
        "stimulus": "whole stimuli with their repeats",
        "within_run": "rows within runs",
        "rows": "rows",
        "block": f"blocks of {length} rows within runs",
        "shift": "circular shifts of whole runs",
    }[kind]
    return text if n_distinct >= FEW else f"{text} ({n_distinct:.0f} distinct)"


def time_exchange(residuals: np.ndarray, run: np.ndarray, *, block_length: int | None = None) -> tuple[str, int]:
    r"""Return how a continuous design is exchanged, ``block`` or ``shift``, and the block length in rows.

    Cutting blocks of L rows loses the share :math:`k / L` of products at lag k. With the autocorrelation
    :math:`b_k` of the residuals, and features as slow as can be, the variance of a score is proportional to
    :math:`1 + 2 \sum_k b_k`; L is the length with which a twentieth of it is lost. Runs that have fewer than
    `MIN_BLOCKS` such blocks in all are shifted whole.

    Parameters
    ----------
    residuals : ndarray (n_rows, n_targets)
        Responses without drift.
    run : ndarray (n_rows,)
    block_length : int, optional
        Rows of a block, where the recipe says it.
    """
    pools = [np.flatnonzero(np.asarray(run) == name) for name in np.unique(run)]
    if block_length is None:
        longest = min(len(pool) for pool in pools) // 2
        columns = np.linspace(0, residuals.shape[1] - 1, min(SOME, residuals.shape[1])).astype(int)
        slow = autocorrelation(residuals[:, columns], pools, longest)
        # Beyond the first lag at which hardly anything is left there is only noise.
        end = int(np.argmax(slow < NOTHING)) if (slow < NOTHING).any() else len(slow)
        lags = np.arange(1, end)
        lost = 2 * float((lags * slow[1:end]).sum()) / (1 + 2 * float(slow[1:end].sum()))
        block_length = max(1, math.ceil(lost / LOST))
    n_blocks = sum(len(pool) // block_length for pool in pools)
    return ("block" if n_blocks >= MIN_BLOCKS else "shift"), block_length


def autocorrelation(values: np.ndarray, pools: list[np.ndarray], n_lags: int) -> np.ndarray:
    """Return the autocorrelation at lags 0 to `n_lags` - 1, averaged over columns by their variance and over runs."""
    total = np.zeros(max(n_lags, 1))
    values = np.asarray(values, dtype=np.float64)
    for rows in pools:
        x = values[rows] - values[rows].mean(axis=0)
        spread = x.std(axis=0)
        x = x / np.where(spread > 0, spread, np.inf)
        size = 2 ** math.ceil(math.log2(2 * len(x)))
        power = (np.abs(np.fft.rfft(x, size, axis=0)) ** 2).mean(axis=1)
        total += np.fft.irfft(power, size)[: len(total)]
    return total / total[0] if total[0] > 0 else np.eye(1, len(total))[0]
