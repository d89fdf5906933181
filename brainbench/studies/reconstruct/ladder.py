"""Scores of reconstructed images on every rung: what a codec, an oracle, a lookup or no brain at all would reach."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.evaluation.exchange import Exchange
from brainbench.evaluation.family import p_of_draws
from brainbench.evaluation.labels import exchange_labels, learned_from, widened
from brainbench.reconstruction.base import Images
from brainbench.reconstruction.identification import correlations, two_way, two_way_shares
from brainbench.reconstruction.images import stimulus_images
from brainbench.reconstruction.metrics import METRICS, WITHIN, ImageScore, ImageScorer, bootstrap_interval
from brainbench.reconstruction.resizing import resized, with_channels
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.cases.folds import labels_of_rows
from brainbench.studies.cases.rows import AVERAGED
from brainbench.studies.outcome import ALL, Outcome
from brainbench.studies.reconstruct.reconstruction import Drawn, Reconstruction

N_SHUFFLES = 20
"""Re-dealt truths that the rung `shuffled` is a mean over."""
MAX_SIZE = 425
"""Side in pixels at which images are scored at most: that of the images that NSD's participants saw."""


@dataclass(frozen=True)
class Item:
    """Images that are scored together: one rung, at one stage, from some responses."""

    stage: str
    row: str
    variant: str
    units: Sequence[Unit]
    array: str

    @property
    def name(self) -> str:
        """Name in tables: ``predicted``, ``predicted, only V1``."""
        return f"{self.row}, {self.variant}" if self.variant else self.row


def items_of(one: Reconstruction, drawn: Sequence[tuple[Drawn, list[Unit]]], predictions: Sequence[Unit]) -> list[Item]:
    """Return everything that is scored, in the order of the ladder."""
    ladder = one.recipe.ladder
    found = []
    for made, units in drawn:
        label = made.variant.label
        if made.rung == "true":
            if "codec" in ladder:
                found.append(Item("codec", "codec", label, units, "low_level"))
            if "oracle" in ladder and one.generator is not None:
                found.append(Item("final", "oracle", label, units, "final"))
            continue
        found.append(Item("low_level", "predicted", label, units, "low_level"))
        if one.generator is not None:
            found.append(Item("final", "predicted", label, units, "final"))
    known = ("nearest", "mean", "run_mean") if rows_have_runs(one) else ("nearest", "mean")
    found += [Item("baseline", rung, "", predictions, rung) for rung in known if rung in ladder]
    return found


def rows_have_runs(one: Reconstruction) -> bool:
    """Return whether every row is of one run: a mean over showings in several has no run whose images a mean is of."""
    return AVERAGED not in one.case.rows.run


class Judge:
    """Scores the test rows of a reconstruction; the features of true images are computed once.

    Parameters
    ----------
    one : Reconstruction
    """

    def __init__(self, one: Reconstruction) -> None:
        self.one = one
        rows, recipe = one.case.rows, one.recipe
        self.rows = np.sort(np.concatenate([test for _, test in one.case.split.folds]))
        if len(np.unique(self.rows)) != len(self.rows):
            raise UserError(f"{one.label}: a row is tested in two folds; images are reconstructed once")
        self.stimulus = rows.stimulus[self.rows]
        maker = one.codec if one.generator is None else one.generator
        self.size, self.channels = min(maker.image_size, MAX_SIZE), maker.channels
        self.groups: np.ndarray | None = None
        if recipe.identify_within is not None:
            known = labels_of_rows(rows, one.case.responses, one.case.features.stimuli)
            if recipe.identify_within not in known:
                raise UserError(
                    f"identify_within: the data has no label '{recipe.identify_within}'"
                    f"{did_you_mean(recipe.identify_within, known)}",
                    hint=f"labels: {one_of(known) or 'none'}",
                )
            self.groups = np.asarray(known[recipe.identify_within], dtype=str)[self.rows]
        self._scorer: ImageScorer | None = None
        self._lock = threading.Lock()

    @property
    def shown(self) -> np.ndarray:
        """Distinct stimuli of the test rows."""
        found: np.ndarray = np.unique(self.stimulus)
        return found

    @cached_property
    def truth(self) -> Images:
        """The true images of the test rows, ``(n_rows, size, size, channels)``."""
        stimuli = self.one.case.features.stimuli
        distinct = stimulus_images(stimuli, self.size, self.channels, self.shown)
        return distinct[np.searchsorted(self.shown, self.stimulus)]

    def scorer(self) -> ImageScorer:
        """Return the scorer of this reconstruction's true images."""
        with self._lock:  # units that score the same images wait for one computation of the true ones
            if self._scorer is None:
                self._scorer = ImageScorer(
                    self.truth, self.one.recipe.metrics, contents=self.stimulus,
                    device=self.one.recipe.execution.device,
                )  # fmt: skip
            return self._scorer

    @cached_property
    def exchange(self) -> Exchange | None:
        """Orders of the test rows under the scheme's null; None where nothing can be exchanged.

        Truths change places within folds: predictions resemble the mean of the truths that trained them, so that a
        truth of another fold, which did, is more like them than their own, which did not. Where folds are too small
        for that, they change places over folds, and p is too large rather than too small.
        """
        one, n = self.one, max(N_SHUFFLES, self.one.recipe.significance.n_permutations)
        fold = np.zeros(len(one.case.rows), dtype=int)
        for number, (_, test) in enumerate(one.case.split.folds):
            fold[test] = number
        for within in (fold[self.rows], None):
            try:
                return exchange_labels(
                    self.stimulus, kind=one.case.split.null, run=one.case.rows.run[self.rows], within=within,
                    stimulus=self.stimulus, n_exchanges=n, seed=one.recipe.seed,
                )  # fmt: skip
            except ValueError:
                continue
        return None

    @cached_property
    def learned(self) -> bool:
        """Whether test rows train the predictions of others."""
        return learned_from(self.one.case.split.folds)

    # Images ------------------------------------------------------------------------------------------------------

    def images(self, item: Item, runner: Runner) -> Images:
        """Return the images of an item, ``(n_rows, n_samples, size, size, channels)``."""
        parts = runner.read(list(item.units))
        row = np.concatenate([part["row"] for part in parts])
        order = np.argsort(row, kind="stable")
        if item.stage == "baseline":
            return self._baseline(item.row, parts, order)[:, None]
        values = np.concatenate([part[item.array] for part in parts])[order].astype(np.float32)
        flat = values.reshape(-1, *values.shape[2:])
        fitted = with_channels(resized(flat, self.size, self.size), self.channels)
        return np.clip(fitted, 0, 1).reshape(*values.shape[:2], *fitted.shape[1:])

    def _baseline(self, rung: str, parts: Sequence[dict[str, np.ndarray]], order: np.ndarray) -> Images:
        """Return images that need no brain, or only to look one up."""
        one = self.one
        stimuli, stimulus, run = one.case.features.stimuli, one.stimulus, one.case.rows.run
        if rung == "nearest":
            nearest = np.concatenate([part["nearest"] for part in parts])[order]
            names, index = np.unique(nearest, return_inverse=True)
            return stimulus_images(stimuli, self.size, self.channels, names)[index]
        out = np.empty((len(self.rows), self.size, self.size, self.channels), dtype=np.float32)
        if rung == "mean":
            place_of = {int(row): place for place, row in enumerate(self.rows)}
            for train, test in one.case.split.folds:
                mean = _mean_image(stimuli, np.unique(stimulus[train]), self.size, self.channels)
                out[[place_of[int(row)] for row in test]] = mean
            return out
        for name in np.unique(run[self.rows]):
            shown = stimulus[run == name]
            total = len(shown) * _mean_image(stimuli, shown, self.size, self.channels)
            for at in np.flatnonzero(run[self.rows] == name):
                own = int(self.stimulus[at])
                n = int((shown == own).sum())
                others = total - n * stimulus_images(stimuli, self.size, self.channels, [own])[0]
                # Alone in its run, an image has no others, and nothing is known without a brain.
                out[at] = np.clip(others / (len(shown) - n), 0, 1) if len(shown) > n else 0.5
        return out

    # Scores ------------------------------------------------------------------------------------------------------

    def score(self, images: Images, with_null: bool) -> dict[str, np.ndarray]:
        """Return values of every row by metric, means over samples; with the null, also re-dealt ones.

        Returns
        -------
        dict
            ``metric``: (n_rows,), NaN where there is none; ``metric/shuffled``: (n_rows,), means over `N_SHUFFLES`
            re-dealt truths; ``metric/null``: (n_permutations,), means over rows, for metrics of similarity matrices.
        """
        n_permutations = self.one.recipe.significance.n_permutations
        exchange = self.exchange if with_null else None
        orders = np.empty((0, len(self.rows)), int) if exchange is None else exchange.orders
        found: dict[str, list[np.ndarray]] = {}
        for sample in range(images.shape[1]):
            for name, values in self._one_sample(images[:, sample], orders, n_permutations).items():
                found.setdefault(name, []).append(values)
        return {name: np.mean(values, axis=0) for name, values in found.items()}

    def _one_sample(self, images: Images, orders: np.ndarray, n_permutations: int) -> dict[str, np.ndarray]:
        scored = self.scorer().score(images)
        found: dict[str, np.ndarray] = {}
        for name, score in scored.items():
            if score.values is None:
                continue
            found[name] = score.values
            R = self._similarity(name, score, images)
            for ending, groups in self._kinds(name):
                if ending and R is not None:
                    found[name + ending] = two_way(R, groups=groups, contents=self.stimulus)
                if len(orders):
                    found |= self._redealt(name, ending, groups, R, images, orders, n_permutations)
        return found

    def _kinds(self, name: str) -> list[tuple[str, np.ndarray | None]]:
        if METRICS[name].kind == "two-way" and self.groups is not None:
            return [("", None), (WITHIN, self.groups)]
        return [("", None)]

    def _similarity(self, name: str, score: ImageScore, images: Images) -> np.ndarray | None:
        if name == "pixcorr":
            return correlations(self.truth.reshape(len(self.truth), -1), images.reshape(len(images), -1))
        return score.R

    def _redealt(
        self,
        name: str,
        ending: str,
        groups: np.ndarray | None,
        R: np.ndarray | None,
        images: Images,
        orders: np.ndarray,
        n_permutations: int,
    ) -> dict[str, np.ndarray]:
        """Score truths dealt to the wrong reconstructions."""
        if R is None:
            device = self.one.recipe.execution.device
            scorer = ImageScorer(self.truth, [name], contents=self.stimulus, device=device)
            few = [scorer.score(images[np.argsort(order)])[name].values for order in orders[:N_SHUFFLES]]
            means = np.mean([values for values in few if values is not None], axis=0)
            return {f"{name}/shuffled": means}
        scores = R if name == "pixcorr" else two_way_shares(R, groups=groups, contents=self.stimulus)
        values = scores[orders, np.arange(len(R))[None, :]]
        return {
            f"{name}{ending}/shuffled": np.nanmean(values[:N_SHUFFLES], axis=0),
            f"{name}{ending}/null": np.nanmean(values[:n_permutations], axis=1),
        }


def _mean_image(stimuli: Any, index: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Return the mean of some stimuli, one at a time in memory."""
    total = np.zeros((size, size, channels))
    for i in index:
        total += stimulus_images(stimuli, size, channels, [int(i)])[0]
    return total / len(index)


def score_units(one: Reconstruction, judge: Judge, items: Sequence[Item], runner: Runner) -> list[Unit]:
    """Return a unit per item that scores it."""
    units = []
    for item in items:
        null = item.row == "predicted" and not item.variant
        key = {
            "images": [unit.digest for unit in item.units],
            "array": item.array,
            "stimuli": one.case.features.stimuli.digest(),
            "rows": one.case.rows.digest,
            "size": [judge.size, judge.channels],
            "metrics": list(one.recipe.metrics),
            "groups": None if judge.groups is None else digest_array(judge.groups),
            "null": None if not null or judge.exchange is None else digest_array(judge.exchange.orders),
            "n_permutations": one.recipe.significance.n_permutations if null else 0,
        }

        def compute(item: Item = item, null: bool = null) -> dict[str, np.ndarray]:
            return judge.score(judge.images(item, runner), with_null=null)

        units.append(Unit("score", f"{one.label}, {item.stage} {item.name}", key, compute))
    return units


def note_chance(outcome: Outcome, one: Reconstruction) -> None:
    """Write down the chance level of the recipe's metrics."""
    for name in one.recipe.metrics:
        chance = METRICS[name].chance
        if chance is not None:
            outcome.chance[name] = outcome.chance[name + WITHIN] = chance


def report_item(
    outcome: Outcome, one: Reconstruction, judge: Judge, stage: str, name: str, arrays: dict[str, np.ndarray]
) -> None:
    """Add the scores of an item, and of the same images with truths dealt anew."""
    if judge.exchange is None:
        outcome.doubt(f"{one.label}: nothing is tested, because no truth can change places with another in this design")
    for key, values in arrays.items():
        metric, _, what = key.partition("/")
        if what == "null" or (what == "shuffled" and what not in one.recipe.ladder):
            continue
        row = f"shuffled, {stage}" if what == "shuffled" else name
        null = arrays.get(f"{metric}/null") if not what else None
        _add(outcome, one, judge, "baseline" if what else stage, row, metric, values, null)


def _add(
    outcome: Outcome,
    one: Reconstruction,
    judge: Judge,
    stage: str,
    row: str,
    metric: str,
    values: np.ndarray,
    null: np.ndarray | None = None,
) -> None:
    """Add the score over rows, with its interval over images, and one per stimulus."""
    rows, recipe = one.case.rows, one.recipe
    label = rows.scheme.label
    common = {
        "subject": rows.subject, "scheme": label, "folds": label, "stage": stage, "row": row, "metric": metric,
        "fold": ALL, "n_targets": rows.Y.shape[1],
    }  # fmt: skip
    again = recipe.bootstrap
    low, high = bootstrap_interval(
        values, judge.stimulus, n_draws=again.n_draws, seed=recipe.seed, confidence=again.confidence
    )
    value = float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
    more: dict[str, Any] = {}
    if null is not None and len(null) and judge.exchange is not None:
        toward = 1 if METRICS[metric.removesuffix(WITHIN)].better == "higher" else -1
        draws = widened(null) if judge.learned else null
        how = "predictions fixed, the null widened" if judge.learned else "predictions fixed, which knew none of them"
        more = {
            "p": p_of_draws(toward * value, toward * draws, judge.exchange),
            "null_95": toward * float(np.quantile(toward * draws, 0.95)),
            "test": f"true images exchanged: {judge.exchange.text}; {how} ({len(draws)})",
        }
    outcome.add(**common, value=value, ci_low=low, ci_high=high, n_rows=int(np.isfinite(values).sum()), **more)
    ids = one.case.features.stimuli.ids
    for stimulus in judge.shown:
        mine = values[judge.stimulus == stimulus]
        if np.isfinite(mine).any():
            outcome.add(**common, stimulus=ids[stimulus], value=float(np.nanmean(mine)), n_rows=len(mine))


def report_difference(
    outcome: Outcome, one: Reconstruction, judge: Judge, scored: dict[tuple[str, str], dict[str, np.ndarray]]
) -> None:
    """Add what the generator adds to the low-level stage, image by image."""
    first, last = scored.get(("low_level", "predicted")), scored.get(("final", "predicted"))
    if first is None or last is None:
        return
    for metric in first:
        if "/" not in metric and metric in last:
            _add(outcome, one, judge, "final - low_level", "predicted", metric, last[metric] - first[metric])
