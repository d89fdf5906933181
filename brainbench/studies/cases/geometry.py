"""What similarity of geometries says in words, and the bounds that participants set to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from brainbench.encoders.base import Layer
from brainbench.evaluation.exchange import Exchange
from brainbench.evaluation.family import p_of_draws
from brainbench.evaluation.metrics import BEST, title_of
from brainbench.evaluation.similarity import Geometry, geometry_exchange, rsa_noise_ceiling
from brainbench.report.tables import probability
from brainbench.studies.cases.across import MEAN, OF_A_REGION, TOGETHER_WORDS, best_over_layers
from brainbench.studies.opened import OpenEncoder
from brainbench.studies.outcome import ALL, TOGETHER, Outcome
from brainbench.studies.words import Row, distinct, number, significant, untested

SCHEME = "all stimuli"
"""The ``scheme`` of its scores: nothing is fitted, so nothing is held out."""


def bounds_of(
    geometries: Mapping[str, Mapping[str, np.ndarray]], ranks: bool = True
) -> dict[tuple[str, str], tuple[float, float]]:
    """Return lower and upper ceilings of RSA by participant and region, of regions that two or more have.

    Parameters
    ----------
    geometries : mapping of region to mapping of participant to ndarray (n_pairs,)
        Condensed RDMs of the same stimuli.
    ranks : bool
        Of Spearman's correlation; else of Pearson's.
    """
    bounds: dict[tuple[str, str], tuple[float, float]] = {}
    for roi, by_subject in geometries.items():
        if len(by_subject) > 1:
            lower, upper = rsa_noise_ceiling(np.stack(list(by_subject.values())), ranks)
            for subject, low, high in zip(by_subject, lower, upper, strict=True):
                bounds[subject, roi] = (float(low), float(high))
    return bounds


class GeometryScores:
    """Rows of RSA and CKA: one for every layer and region, and one test a region over all layers of an encoder.

    Parameters
    ----------
    outcome : Outcome
    n_permutations, seed : int
        Of the test.
    """

    def __init__(self, outcome: Outcome, n_permutations: int, seed: int) -> None:
        self.outcome, self.n_permutations, self.seed = outcome, n_permutations, seed
        self._found: dict[tuple[str, str, str, str], list[tuple[Row, Geometry]]] = {}
        self._stimuli: dict[str, str] = {}
        self._exchanges: dict[int, Exchange] = {}

    def add(
        self, subject: str, roi: str, entry: OpenEncoder, layer: Layer, metric: str, found: Geometry, *,
        ceiling: float | None, n_targets: int, stimuli: str,
    ) -> None:  # fmt: skip
        """Add the row of one layer, `stimuli` being equal for the same ones in the same order; none without a value."""
        if subject not in TOGETHER:
            self._stimuli[subject] = stimuli
        if not np.isfinite(found.value):
            return
        shared = {
            "subject": subject, "scheme": SCHEME, "encoder": entry.name, "role": entry.settings.role, "roi": roi,
            "fold": ALL, "ceiling": ceiling, "n_targets": n_targets, "n_rows": len(found.left_out) - found.n_left_out,
        }  # fmt: skip
        if self.n_permutations:
            shared["test"] = self._words
        self.outcome.add(
            **shared, layer=layer.name, depth=layer.depth, metric=metric, value=found.value, p=found.p,
            null_95=found.null_95,
        )  # fmt: skip
        self._found.setdefault((subject, roi, entry.name, metric), []).append((shared, found))

    def add_best(self) -> None:
        """Add the best layer of every encoder and region, where all its layers were tested on the same stimuli."""
        for (*_, metric), layers in self._found.items():
            shared, first = layers[0]
            if not self._together([found for _, found in layers]):
                continue
            over = [(found.value, found.draws) for _, found in layers]
            self.outcome.add(**shared, metric=BEST + metric, **best_over_layers(over, self._exchange(first)))

    def test_means(self) -> None:
        """Test the means over participants who met the same stimuli, which change places in all of them at once."""
        if len(set(self._stimuli.values())) > 1 or len(self._stimuli) < 2:
            return
        cells: dict[tuple[str, str, str], list[list[Geometry]]] = {}
        for (subject, roi, encoder, metric), layers in self._found.items():
            if subject not in TOGETHER:
                cells.setdefault((roi, encoder, metric), []).append([found for _, found in layers])
        means: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        for row in self.outcome.rows:
            if row["subject"] == MEAN and row["fold"] == ALL and row.get("scheme") == SCHEME:
                means.setdefault((row["roi"], row["encoder"], row["metric"]), []).append(row)
        for (roi, encoder, metric), members in cells.items():
            rows = means.get((roi, encoder, metric), [])
            n_layers = {len(layers) for layers in members} | {len(rows)}
            whole = len(n_layers) == 1 and rows and all(row["n_rows"] == len(members) for row in rows)
            if not whole or not self._together([one for layers in members for one in layers]):
                continue
            exchange = self._exchange(members[0][0])
            test = f"{self._words}, {TOGETHER_WORDS}"
            draws = [np.mean([layers[at].draws for layers in members], axis=0) for at in range(len(rows))]
            over = [(row["value"], drawn) for row, drawn in zip(rows, draws, strict=True)]
            for row, one in zip(rows, over, strict=True):
                row |= {"p": p_of_draws(*one, exchange), "test": test}
            first = {name: rows[0][name] for name in OF_A_REGION}
            self.outcome.add(**first, metric=BEST + metric, **best_over_layers(over, exchange), test=test)

    def _together(self, found: Sequence[Geometry]) -> bool:
        """Return whether all were tested under the same exchanges."""
        return self.n_permutations > 0 and all(np.array_equal(one.left_out, found[0].left_out) for one in found)

    def _exchange(self, found: Geometry) -> Exchange:
        n = len(found.left_out) - found.n_left_out
        if n not in self._exchanges:  # every region asks for the same
            self._exchanges[n] = geometry_exchange(n, self.n_permutations, self.seed)
        return self._exchanges[n]

    @property
    def _words(self) -> str:
        return f"stimuli exchanged, nothing is fitted ({self.n_permutations})"


def rsa_claims(outcome: Outcome, subject: str, metric: str = "rsa") -> list[str]:
    """Return a sentence a region: the best layer, whether it is tested, its control, and the ceiling."""
    rows = [row for row in outcome.rows if row["metric"] == metric and row["fold"] == ALL and row["subject"] == subject]
    tests = {
        (row["encoder"], row["roi"]): row
        for row in outcome.rows
        if row["metric"] == BEST + metric and row["subject"] == subject
    }
    sentences = []
    for roi in distinct(rows, "roi"):
        here = [row for row in rows if row["roi"] == roi and np.isfinite(row["value"])]
        models = [row for row in here if row["role"] == "model"] or here
        if not models:
            continue
        best = max(models, key=lambda row: row["value"])
        layer = f"{best['encoder']} {best['layer']}"
        text = f"{roi} ({subject}): {title_of(metric)} of {layer} is {number(best['value'], 2)}"
        text += _verdict(best, tests.get((best["encoder"], roi)))
        rivals = [row for row in here if row["role"] == "control"]
        if rivals and models != here:
            rival = max(rivals, key=lambda row: row["value"])
            text += f"; its best control is {rival['encoder']} at {number(rival['value'], 2)}"
        sentences.append(text + _within(outcome.findings.get("rsa_ceilings", []), roi, subject, metric, best) + ".")
    return sentences


def _verdict(best: Row, over_layers: Row | None) -> str:
    """Return whether a region's geometry is above chance: by one test over layers, where there is one."""
    test = over_layers or best
    if untested(test):
        return ", which was not tested"
    above = significant(test) and test["value"] > 0
    over = " over its layers" if over_layers else ""
    return f" (q {probability(test['q'])}{over}), {'above' if above else 'not above'} chance"


def _within(found: Sequence[dict[str, Any]], roi: str, subject: str, metric: str, best: Row) -> str:
    """Return where a score lies between the bounds that participants set, on average over them for their mean."""
    here = [one for one in found if one["roi"] == roi and one.get("metric", "rsa") == metric]
    mine = [one for one in here if subject in TOGETHER or one["subject"] == subject]
    if not mine:
        return ""
    low, high = (float(np.mean([one[end] for one in mine])) for end in ("lower", "upper"))
    if low <= 0:
        return f"; participants do not agree on this geometry (the lower noise ceiling is {number(low, 2)})"
    where = "below" if best["value"] < low else "within" if best["value"] <= high else "above"
    return f"; {where} the noise ceiling of {number(low, 2)} to {number(high, 2)}"
