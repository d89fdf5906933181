"""Effects of edits of the encoders' networks on regions: frozen and refitted, block by block, beside controls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.digests import digest
from brainbench.core.errors import UserError
from brainbench.evaluation.family import fdr
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.recipes.lens import Doses, Lens
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.cases.case import Case
from brainbench.studies.cases.rows import GROUP
from brainbench.studies.encode.fits import fold_settings
from brainbench.studies.inside import NO_NETWORK
from brainbench.studies.memory import megabytes
from brainbench.studies.opened import Opened, OpenEncoder
from brainbench.studies.words import significant

if TYPE_CHECKING:
    from torch import Tensor

    from brainbench.data.base import Stimuli
    from brainbench.encoders.network import NetworkEncoder
    from brainbench.encoders.sites import Site
    from brainbench.lens.edits import Change
    from brainbench.lens.effects import Design, Effects

VERSION = 4
"""Raised when effects of earlier runs would come out otherwise."""
OF_SOUND = "it hears sound in long windows, which edits do not read yet"
NO_STREAM = "the sites of its blocks are not known: that all of them share one stream is not either"
TARGET_METRICS = ("pearson_r", "r2", "explained_variance")
WAYS = ("frozen", "refitted")
MEANS: dict[str, Site] = {"heads": "z", "erase": "resid_pre"}
"""Where the mean is taken that an edit puts in the place of values."""
RUNS = 24
"""Edited runs that share a unit, its clean pass and that of its controls' spread, where a block alone has fewer."""
SHARES = (0.05, 0.1, 0.2)
"""Of all heads, how many are held to be the most harmful of a region: the cut is arbitrary, so that there are three."""


@dataclass(frozen=True)
class Edited:
    """One kind of edit of one encoder, or why there is none.

    Attributes
    ----------
    encoder : OpenEncoder
    kind : str
    places : sequence of int or float
        Blocks; of `sparsify` shares of the units.
    units : list of Unit
        Each of some places, in their order.
    reason : str
    """

    encoder: OpenEncoder
    kind: str
    places: Sequence[float] = ()
    units: Sequence[Unit] = ()
    reason: str = ""

    @property
    def along(self) -> str:
        """What a row of effects calls its place."""
        return "dose" if self.kind == "sparsify" else "block"


class EditStudy:
    """The `edits` of a recipe's `lens`.

    Parameters
    ----------
    opened : Opened
    settings : Lens
    cases : sequence of Case
        Of the main scheme; the mean over participants is none of them.
    """

    def __init__(self, opened: Opened[EncodeRecipe], settings: Lens, cases: Sequence[Case]) -> None:
        self.opened, self.settings = opened, settings
        self._means: dict[tuple[str, str, str], dict[tuple[int, Site], Tensor]] = {}
        self._networks = threading.Lock()  # a network is another one while it is edited: one unit at a time
        self.cases = [case for case in cases if case.rows.subject != GROUP]
        lead = opened.recipe.metrics[0]
        self.metric = lead if lead in TARGET_METRICS else TARGET_METRICS[0]

    @cached_property
    def edited(self) -> list[Edited]:
        """Every kind of edit of every model."""
        return [
            self._edited(entry, kind)
            for entry in self.opened.encoders
            if entry.is_model
            for kind in self.settings.edits
        ]

    @property
    def units(self) -> list[Unit]:
        """The units of all."""
        return [unit for one in self.edited for unit in one.units]

    @cached_property
    def rois(self) -> list[str]:
        """Regions that every participant has."""
        first = list(self.cases[0].responses.rois)
        return [roi for roi in first if all(roi in case.responses.rois for case in self.cases)]

    @property
    def megabytes(self) -> float:
        """About what a unit holds: features of the last layer under every edit and control, of stimuli and of rows."""
        most = 0.0
        for one in self.edited:
            encoder: Any = one.encoder.encoder
            if one.units:
                n_runs = 1 + max(self._runs(encoder, one.kind), RUNS)
                n_stimuli = max(len(case.features.stimuli) for case in self.cases)
                most = max(most, 4 * megabytes((n_runs, n_stimuli, encoder.taps[-1].width or 1000), 4))
        return most

    def _runs(self, encoder: NetworkEncoder, kind: str) -> int:
        """Return how many edited runs a place takes: its edits and their controls."""
        return heads_of(encoder) if kind == "heads" else 1 + self._controls(kind)

    def _controls(self, kind: str) -> int:
        """Return how many controls are drawn of every edit: heads have each other, and other readings are no edits."""
        return 0 if kind in ("heads", "brain-lens") else self.settings.controls

    def _edited(self, entry: OpenEncoder, settings: str | Doses) -> Edited:
        kind = settings if isinstance(settings, str) else settings.edit
        encoder: Any = entry.encoder
        reason = self._missing(entry, kind)
        if reason:
            return Edited(entry, kind, reason=reason)
        places = range(len(encoder.stream) - 1) if isinstance(settings, str) else settings.doses
        together = max(1, RUNS // self._runs(encoder, kind))
        units = [self._unit(entry, kind, places[first : first + together]) for first in range(0, len(places), together)]
        return Edited(entry, kind, places, units)

    def _missing(self, entry: OpenEncoder, kind: str) -> str:
        """Return why a network is not edited, or nothing."""
        from brainbench.encoders.network import NetworkEncoder

        encoder = entry.encoder
        if entry.settings.shuffle or not isinstance(encoder, NetworkEncoder):
            return NO_NETWORK
        if "sound" in encoder.modalities:
            return OF_SOUND
        if heads_of(encoder) == 0:
            return NO_STREAM
        try:
            if kind == "sparsify":
                encoder.site(0, "mlp_act")
        except UserError as error:
            return error.message
        return ""

    def _unit(self, entry: OpenEncoder, kind: str, places: Sequence[float]) -> Unit:
        encoder: Any = entry.encoder
        key = {
            "version": VERSION,
            "encoder": encoder.digest(),
            "device": encoder.device.split(":")[0],
            "layer": encoder.taps[-1].name,
            "pool": entry.settings.pool,
            "edit": [kind, list(places), self._controls(kind), self.opened.recipe.seed],
            "cases": self._read,
        }
        what = "of all units" if kind == "sparsify" else "block" if len(places) == 1 else "blocks"
        where = f"{places[0]:g}" + (f"-{places[-1]:g}" if len(places) > 1 else "")
        label = f"{entry.name}, {kind}, " + (f"{where} {what}" if kind == "sparsify" else f"{what} {where}")
        return Unit("edits", label, key, lambda: self._compute(entry, kind, places))

    def _compute(self, entry: OpenEncoder, kind: str, places: Sequence[float]) -> dict[str, np.ndarray]:
        """Return scores of regions ``(n_cases, n_folds, n_edits, n_rois)``; features under edits are dropped.

        Of every place its edits, `n_real`, then their controls; `n_runs` of both.
        """
        from brainbench.lens.effects import about_mean_of, effects
        from brainbench.lens.running import edited

        encoder: Any = entry.encoder
        made: dict[str, list[np.ndarray]] = {}
        placed: dict[str, list[np.ndarray]] = {}
        found: dict[int, Effects] = {}
        counts: list[tuple[int, int]] = []
        for group in self._alike:
            case = self.cases[group[0]]
            stimuli = case.features.stimuli
            if stimuli.digest() not in made:
                rows = encoder.order(stimuli).tolist()
                with self._networks:
                    each = self._changes(encoder, stimuli, kind, places)
                    counts = [(len(real), len(real) + len(controls)) for real, controls in each]
                    every = [change for parts in each for part in parts for change in part]
                    intact, changed = edited(encoder, stimuli, rows, every, encoder.taps[-1].name, entry.settings.pool)
                back = np.argsort(rows)
                shown = [about_mean_of(intact, one) for one in changed]
                made = {stimuli.digest(): [one[back] for one in (intact, *changed, *shown)]}
            times = digest([stimuli.digest(), case.features.in_time, case.responses.stimulus, case.rows.first])
            if times not in placed:  # participants differ in what is taken out of features, not in when words came
                placed = {times: [case.features.placed(one)[case.rows.first] for one in made[stimuli.digest()]]}
            clean, *under = placed[times]
            half = len(under) // 2
            design = self._design([self.cases[index] for index in group])
            together = effects(clean, under[:half], design, under[half:])
            found |= zip(group, _of_each(together, len(group)), strict=True)
        ordered = [found[index] for index in range(len(self.cases))]
        return {
            "clean": np.stack([one.clean_folds for one in ordered]),
            "frozen": np.stack([one.frozen_folds for one in ordered]),
            "refitted": np.stack([one.refitted_folds for one in ordered]),
            "n_real": np.array([real for real, _ in counts]),
            "n_runs": np.array([runs for _, runs in counts]),
        }

    def _changes(
        self, encoder: NetworkEncoder, stimuli: Stimuli, kind: str, places: Sequence[float]
    ) -> list[tuple[list[Change], list[Change]]]:
        """Return the edits of every place, and edits of the same size chosen at random; heads stand by one another."""
        from brainbench.lens import edits
        from brainbench.lens.running import spreads

        seeds = [self.opened.recipe.seed * 1000 + draw for draw in range(self.settings.controls)]
        blocks = range(len(encoder.stream) - 1)
        if kind == "sparsify":

            def whole(share: float, make: Callable[[int], Change]) -> Change:
                return edits.together(f"{share:.0%} of all units off", [make(block) for block in blocks])

            return [
                (
                    [whole(share, partial(edits.sparsify, share=share, top=True))],
                    [whole(share, partial(edits.sparsify_control, share=share, seed=seed)) for seed in seeds],
                )
                for share in places
            ]
        chosen = [int(place) for place in places]
        means = {block: self._mean(encoder, stimuli, kind, block) for block in chosen}
        if kind == "heads":
            heads = range(heads_of(encoder))
            return [([edits.ablate_heads(block, [head], means[block]) for head in heads], []) for block in chosen]
        if kind == "brain-lens":
            return [([edits.brain_lens(block, len(blocks))], []) for block in chosen]
        drawn = spreads(encoder, stimuli, range(len(stimuli)), chosen, kind) if seeds else {}
        found = []
        for block in chosen:
            mean = means[block]
            real = edits.skip(block) if mean is None else edits.erase(block, mean)
            controls = [
                edits.skip_control(block, drawn[block], seed) if mean is None
                else edits.erase_control(block, mean, drawn[block], seed)
                for seed in seeds
            ]  # fmt: skip
            found.append(([real], controls))
        return found

    def _mean(self, encoder: NetworkEncoder, stimuli: Stimuli, kind: str, block: int) -> Tensor | None:
        """Return the mean that an edit of a block puts in the place of values; one pass finds those of all blocks."""
        from brainbench.lens.running import means

        if kind not in MEANS:
            return None
        site, key = MEANS[kind], (encoder.digest(), stimuli.digest(), kind)
        if key not in self._means:
            wanted = [(number, site) for number in range(len(encoder.stream) - 1)]
            self._means[key] = means(encoder, stimuli, range(len(stimuli)), wanted)
        return self._means[key][block, site]

    @cached_property
    def _read(self) -> list[tuple[str, str]]:
        """Digests of what a fit reads of every case: all but responses and regions, and these."""
        found = []
        for case in self.cases:
            design = vars(self._design([case])).copy()
            targets = [design.pop("Y"), design.pop("regions")]
            stimuli, shown = case.features.stimuli, case.responses.stimulus
            design |= {"stimuli": stimuli.digest(), "shown": shown, "first": case.rows.first}
            found.append((digest(design | {"in_time": case.features.in_time}), digest(targets)))
        return found

    @property
    def _alike(self) -> list[list[int]]:
        """Cases whose features, rows and folds are the same: their responses are targets of one fit."""
        groups: dict[str, list[int]] = {}
        for index, (shared, _) in enumerate(self._read):
            groups.setdefault(shared, []).append(index)
        return list(groups.values())

    def _design(self, cases: Sequence[Case]) -> Design:
        """Return the responses of cases side by side, and every region of each."""
        from scipy.linalg import block_diag

        from brainbench.lens.effects import Design

        recipe, first = self.opened.recipe, cases[0]
        regions = block_diag(
            *(
                np.reshape([case.responses.rois[roi] for roi in self.rois], (len(self.rois), case.rows.Y.shape[1]))
                for case in cases
            )
        )
        return Design(
            np.concatenate([case.rows.Y for case in cases], axis=1), first.split.folds, fold_settings(recipe, first),
            regions.astype(bool), first.rows.run,
            [first.split.inner_groups(train) for train, _ in first.split.folds],
            first.rows.nuisance if recipe.timing.regress_nuisance else None, self.metric,
            pooled=first.split.over == "pooled",
        )  # fmt: skip

    # What was found --------------------------------------------------------------------------------------------------

    def findings(self, runner: Runner) -> dict[str, Any]:
        """Return what the report shows: means over participants, bands of controls, and q over blocks and regions."""
        return {
            "metric": self.metric,
            "controls": self.settings.controls,
            "rois": self.rois,
            "people": len(self.cases),
            "shown": [self._shown(one, runner) for one in self.edited],
        }

    def _shown(self, one: Edited, runner: Runner) -> dict[str, Any]:
        from brainbench.lens.beyond import FEWEST

        shown: dict[str, Any] = {"encoder": one.encoder.name, "untrained": one.encoder.untrained, "edit": one.kind}
        if not one.units:
            return shown | {"reason": one.reason, "rows": [], "controls_beyond": {}}
        blocks = [part for arrays in runner.read(one.units) for part in _by_place(arrays)]
        rows = [row for way in WAYS for row in self._rows(one, blocks, way)]
        q = fdr(np.array([row.get("p") for row in rows], dtype=float))
        for row, value in zip(rows, q, strict=True):
            row["q"] = None if np.isnan(value) else float(value)
            if "n" in row:
                row |= {
                    "fewest": FEWEST,
                    "beyond": significant(row) and row["lost"] > row["mean"] and row["n"] >= FEWEST,
                }
        if one.kind == "heads":
            shown["shared"] = self._shared(blocks)
        checked = {way: _share(one.kind, blocks, way) for way in WAYS}
        return shown | {"reason": "", "rows": rows, "controls_beyond": checked}

    def _shared(self, blocks: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any] | None:
        """Return how much the most harmful heads of regions overlap, for several shares of the heads."""
        from brainbench.lens.effects import reuse

        lost = np.concatenate([(one["clean"][:, :, None] - one["frozen"]).mean(axis=1) for one in blocks], axis=1)
        if len(lost) < 2:
            return None
        overlap = {f"{share:g}": np.round(reuse(lost, share), 4).tolist() for share in SHARES}
        return {"n_heads": lost.shape[1], "overlap": overlap}

    def _rows(self, one: Edited, blocks: Sequence[Mapping[str, np.ndarray]], way: str) -> Iterator[dict[str, Any]]:
        """Yield what every region loses under every edit, beside controls."""
        from brainbench.lens.beyond import LOOSE, band, p_noise

        kind, share = one.kind, _share(one.kind, blocks, way)
        law = share is not None and share <= LOOSE
        sizes = [len(test) / max(len(train), 1) for train, test in self.cases[0].split.folds]
        everywhere = np.concatenate([arrays[way][:, :, : int(arrays["n_real"])] for arrays in blocks], axis=2)
        before = 0
        for place, arrays in zip(one.places, blocks, strict=True):
            clean, edited, n_real = arrays["clean"], arrays[way], int(arrays["n_real"])
            for index in range(n_real):
                others = edited[:, :, n_real:]
                if kind == "heads":
                    others = np.delete(everywhere, before + index, axis=2)
                for region, roi in enumerate(self.rois):
                    row: dict[str, Any] = {one.along: place, "roi": roi, "way": way}
                    row["head"] = index if kind == "heads" else None
                    mine = clean[:, :, region], edited[:, :, index, region], others[..., region].transpose(2, 0, 1)
                    row |= {"intact": float(mine[0].mean()), "lost": float((mine[0] - mine[1]).mean())}
                    shares = float(np.mean(sizes))
                    found = {"p_intact": p_noise(mine[0], shares)}
                    if len(mine[2]):
                        found = vars(band(*mine, shares, law=law))
                    yield row | {name: None if np.isnan(value) else value for name, value in found.items()}
            before += n_real


def _by_place(arrays: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Yield the arrays of every place of a unit."""
    ends = np.cumsum(arrays["n_runs"])[:-1]
    parts = [np.split(arrays[way], ends, axis=2) for way in WAYS]
    for n_real, frozen, refitted in zip(arrays["n_real"], *parts, strict=True):
        yield {"clean": arrays["clean"], "frozen": frozen, "refitted": refitted, "n_real": n_real}


def _of_each(together: Effects, n_cases: int) -> list[Effects]:
    """Return the effects of every case, whose regions stand one after the other."""
    from brainbench.lens.effects import Effects

    parts = [
        np.split(values, n_cases, axis=-1)
        for values in (together.clean_folds, together.frozen_folds, together.refitted_folds)
    ]
    return [Effects(*one) for one in zip(*parts, strict=True)]


def _share(kind: str, blocks: Sequence[Mapping[str, np.ndarray]], way: str) -> float | None:
    """Return how many controls have p < .05 among the others of their block: about .05 where their law holds."""
    from brainbench.lens.beyond import share_beyond

    lost = [(one["clean"][:, :, None] - one[way]).mean(axis=(0, 1)) for one in blocks]
    real = [int(one["n_real"]) for one in blocks]
    if kind == "heads":
        others = np.concatenate([values[:n] for values, n in zip(lost, real, strict=True)]).T
    else:
        others = np.concatenate([values[n:].T for values, n in zip(lost, real, strict=True)])
    share = share_beyond(others)
    return None if np.isnan(share) else share


def heads_of(encoder: NetworkEncoder) -> int:
    """Return how many heads a block's attention has, or 0 where that is not known."""
    try:
        return encoder.site(0, "z").n_heads
    except UserError:
        return 0
