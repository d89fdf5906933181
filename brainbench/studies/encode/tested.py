"""Tests of what was fitted: of layers, of a region over all layers of an encoder, of the mean of participants."""

from __future__ import annotations

import numpy as np

from brainbench.evaluation.family import p_of_draws
from brainbench.evaluation.metrics import BEST, METRICS
from brainbench.evaluation.refit import Null
from brainbench.evaluation.scoring import Scored
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.studies.cases.across import MEAN, OF_A_REGION, TOGETHER_WORDS, best_over_layers
from brainbench.studies.cases.ceilings import CeilingBook
from brainbench.studies.cases.rows import GROUP
from brainbench.studies.encode.fits import LayerFits, ceiling_of
from brainbench.studies.encode.nulls import exchange_of, fill_layer, shared_key, words_of
from brainbench.studies.outcome import ALL, Outcome

LayerNull = tuple[LayerFits, Scored, Null]


class Tests:
    """One test a region: over all layers of an encoder, and for the mean of participants who met the same stimuli."""

    def __init__(self, recipe: EncodeRecipe) -> None:
        self.recipe = recipe
        self._found: dict[tuple[str, str, str, str], list[LayerNull]] = {}

    def add(self, fit: LayerFits, scored: Scored, null: Null) -> None:
        """Take the scores and the null of one layer: of its first metric, or of what it adds to the controls."""
        fill_layer(self.recipe, fit.case, scored, null)
        rows = fit.case.rows
        key = (rows.scheme.label, fit.encoder.name, rows.subject, scored.metrics[0])
        self._found.setdefault(key, []).append((fit, scored, null))

    def report(self, outcome: Outcome, ceilings: CeilingBook) -> None:
        """Add a row for every encoder and region: its best layer's score, and one p over all its layers."""
        for (scheme, encoder, subject, metric), layers in self._found.items():
            fit, scored, _ = layers[0]
            exchange = exchange_of(self.recipe, fit.case)
            for index, roi in enumerate(scored.rois):
                over = [self._one(layer, index) for layer in layers]
                tested = best_over_layers(over, exchange, METRICS[metric].direction)
                mask = fit.case.responses.rois[roi]
                outcome.add(
                    subject=subject, scheme=scheme, encoder=encoder, role=fit.encoder.settings.role, roi=roi, fold=ALL,
                    metric=BEST + metric, **tested, n_rows=scored.n_rows,
                    n_targets=int(np.sum(mask)), test=words_of(exchange, metric),
                    **ceiling_of(ceilings.of(fit.case.responses, fit.case.rows, mask, metric)),
                )  # fmt: skip

    def report_means(self, outcome: Outcome) -> None:
        """Test the means over participants where all can be exchanged as one: a claim about new stimuli.

        Under every exchange the same stimuli change places in all participants, so that what they share of the stimuli
        is not counted once for each. Where participants met different stimuli, their t test stays.
        """
        people: dict[tuple[str, str, str], list[list[LayerNull]]] = {}
        for (scheme, encoder, subject, metric), layers in self._found.items():
            if subject != GROUP:
                people.setdefault((scheme, encoder, metric), []).append(layers)
        means = {
            (row["scheme"], row["encoder"], row["metric"], row["layer"], row["roi"]): row
            for row in outcome.rows
            if row["subject"] == MEAN and row["fold"] == ALL
        }
        for (scheme, encoder, metric), members in people.items():
            exchanges = [exchange_of(self.recipe, layers[0][0].case) for layers in members]
            keys = {shared_key(layers[0][0].case, one) for layers, one in zip(members, exchanges, strict=True)}
            if len(members) < 2 or len(keys) > 1:
                continue
            exchange = exchanges[0]
            text = f"{words_of(exchange, metric)}, {TOGETHER_WORDS}"
            for roi in members[0][0][1].rois:
                keys_of = [(scheme, encoder, metric, layers[0].layer.name, roi) for layers in members[0]]
                rows = [means[key] for key in keys_of if key in means and means[key]["n_rows"] == len(members)]
                if len(rows) < len(keys_of):
                    continue
                over = []
                for at, row in enumerate(rows):
                    each = [self._one(layers[at], layers[at][1].rois.index(roi)) for layers in members]
                    over.append((float(np.mean([one[0] for one in each])), np.mean([one[1] for one in each], axis=0)))
                    row |= {"p": p_of_draws(*over[-1], exchange), "test": text}
                tested = best_over_layers(over, exchange, METRICS[metric].direction)
                first = {name: rows[0][name] for name in OF_A_REGION}
                outcome.add(**first, metric=BEST + metric, **tested, test=text)

    def _one(self, layer: LayerNull, index: int) -> tuple[float, np.ndarray]:
        """Return score and draws of a region, more being better."""
        _, scored, null = layer
        lead = scored.metrics[0]
        toward = METRICS[lead].direction
        return toward * float(scored.roi_values[lead][index]), toward * null.regions[:, index].astype(float)
