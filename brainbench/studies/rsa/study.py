"""``kind: rsa``: the geometry of layers held against RDMs of participants and regions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy.spatial.distance import squareform

from brainbench.core.digests import digest_array
from brainbench.data.base import Responses
from brainbench.encoders.base import Layer
from brainbench.evaluation.similarity import Geometry, distance_test, rdm, without_variance
from brainbench.recipes.kinds.rsa import RsaRecipe
from brainbench.runs.units import Unit
from brainbench.studies.base import FeatureSet, Stage, Study, distinct_stimuli
from brainbench.studies.cases.across import lead_subject, mean_over_subjects
from brainbench.studies.cases.features import Features
from brainbench.studies.cases.geometry import GeometryScores, bounds_of, rsa_claims
from brainbench.studies.memory import BASE_MB, BATCH_MB, BLOCK_MB, TORCH_MB, jobs_of, megabytes, network_mb
from brainbench.studies.opened import OpenEncoder
from brainbench.studies.outcome import Outcome
from brainbench.studies.rsa.drawn import MAX_REGIONS, MAX_STIMULI, region_drawn
from brainbench.studies.words import joined

MAX_LABELS = 8
"""Values of a label that colours tell apart."""


@dataclass(frozen=True)
class Pair:
    """A layer and the RDM of one participant and region."""

    subject: str
    roi: str
    encoder: OpenEncoder
    layer: Layer
    unit: Unit


class RsaStudy(Study[RsaRecipe]):
    """Correlations of RDMs; nothing is fitted."""

    recipe_model: ClassVar = RsaRecipe

    @cached_property
    def members(self) -> list[Responses]:
        """Square RDMs of every participant, regions side by side."""
        return [self.opened.dataset.responses(subject) for subject in self.opened.subjects]

    @cached_property
    def geometries(self) -> dict[str, dict[str, np.ndarray]]:
        """Region -> participant -> condensed RDM."""
        found: dict[str, dict[str, np.ndarray]] = {}
        for member in self.members:
            for roi, mask in member.rois.items():
                found.setdefault(roi, {})[member.subject] = squareform(member.data[:, mask], checks=False)
        return found

    @cached_property
    def pairs(self) -> list[Pair]:
        """Every participant, region and layer."""
        found = []
        for member in self.members:
            features = Features(self.opened, self.opened.dataset.stimuli(member.subject), member)
            for entry in self.opened.encoders:
                for layer in entry.layers:
                    for roi in member.rois:
                        unit = self._unit(member.subject, roi, features, entry, layer)
                        found.append(Pair(member.subject, roi, entry, layer, unit))
        return found

    def features(self) -> Iterator[FeatureSet]:
        """Yield every asked layer of every encoder."""
        for entry in self.opened.encoders:
            if entry.encoder is not None:
                layers = [layer.name for layer in entry.layers]
                for stimuli in distinct_stimuli(self.opened):
                    yield FeatureSet(entry.name, entry.encoder, stimuli, layers, entry.settings.pool)

    def layer_rdms(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """Yield encoder, layer and condensed RDM of the features of every layer, for the stimuli of the first one."""
        first = self.members[0]
        features = Features(self.opened, self.opened.dataset.stimuli(first.subject), first)
        for entry in self.opened.encoders:
            for layer in entry.layers:
                yield entry.name, layer.name, rdm(features.rows(entry.name, layer.name), self.recipe.distance)

    def stages(self) -> Iterator[Stage]:
        """Yield the one stage."""
        yield Stage("compare RDMs", [pair.unit for pair in self.pairs])

    def _unit(self, subject: str, roi: str, features: Features, entry: OpenEncoder, layer: Layer) -> Unit:
        recipe, given = self.recipe, self.geometries[roi][subject]

        def compute() -> dict[str, np.ndarray]:
            patterns = features.rows(entry.name, layer.name)
            flat = without_variance(patterns) & (recipe.distance == "correlation")
            made = rdm(patterns, recipe.distance)
            arrays: dict[str, np.ndarray] = {}
            for metric in recipe.similarity:
                found = distance_test(
                    made, given, flat, recipe.significance.n_permutations, recipe.seed, ranks=metric == "rsa"
                )
                arrays |= found.to_arrays(metric)
            return arrays

        key = {
            "rdm": digest_array(given),
            "features": features.digest(entry.name, layer.name),
            "distance": recipe.distance,
            "metrics": list(recipe.similarity),
            "n_permutations": recipe.significance.n_permutations,
            "seed": recipe.seed,
            "draws": "kept",
        }
        return Unit("rsa", f"{subject}, {roi}, {entry.name}.{layer.name}", key, compute)

    def gather(self, outcome: Outcome) -> None:
        """Add participants, bounds, scores and means over participants."""
        n = len(self.opened.dataset.stimuli(self.opened.subjects[0]))
        for member in self.members:
            outcome.subjects.append(
                {
                    "subject": member.subject, "n_rows": n, "n_targets": n * (n - 1) // 2, "n_stimuli": n,
                    "n_repeats": 1.0, "n_runs": 1, "rois": {roi: n * (n - 1) // 2 for roi in member.rois},
                    "notes": list(member.notes),
                }
            )  # fmt: skip
            outcome.data += member.account
        bounds = {metric: bounds_of(self.geometries, ranks=metric == "rsa") for metric in self.recipe.similarity}
        for metric, found in bounds.items():
            for (subject, roi), (lower, upper) in found.items():
                outcome.note(
                    "rsa_ceilings", {"subject": subject, "roi": roi, "lower": lower, "upper": upper, "metric": metric}
                )
            for roi in dict.fromkeys(roi for _, roi in found):
                low = float(np.mean([lower for (_, of), (lower, _) in found.items() if of == roi]))
                if low <= 0:
                    outcome.doubt(
                        f"{roi}: participants do not agree on its geometry (lower noise ceiling of {metric} "
                        f"{low:.2f}), so that no layer can be expected to have it"
                    )
        if not any(bounds.values()):
            outcome.warn("no noise ceiling: no region has RDMs of two participants")
        scores = GeometryScores(outcome, self.recipe.significance.n_permutations, self.recipe.seed)
        for pair in self.pairs:
            arrays = self.runner.read([pair.unit])[0]
            left_out = Geometry.from_arrays(arrays, self.lead).n_left_out
            if left_out:
                outcome.warn(
                    f"{pair.encoder.name} {pair.layer.name}: {left_out} of {n} stimuli are left out, because their "
                    "pattern of features is without variance, and Pearson's r with it does not exist"
                )
            for metric in self.recipe.similarity:
                _, ceiling = bounds[metric].get((pair.subject, pair.roi), (None, None))
                scores.add(
                    pair.subject, pair.roi, pair.encoder, pair.layer, metric, Geometry.from_arrays(arrays, metric),
                    ceiling=ceiling, n_targets=n * (n - 1) // 2,
                    stimuli=self.opened.dataset.stimuli(pair.subject).digest(),
                )  # fmt: skip
        scores.add_best()
        mean_over_subjects(self.recipe, outcome, self.opened.subjects)
        scores.test_means()
        self._draw(outcome)

    def _draw(self, outcome: Outcome) -> None:
        """Note the RDMs that the page draws, where they are few and small enough to be read."""
        stimuli = self.opened.dataset.stimuli(self.opened.subjects[0])
        if len(stimuli) > MAX_STIMULI:
            outcome.findings["rdms_left_out"] = (
                f"RDMs of more than {MAX_STIMULI} stimuli are not drawn; `export` writes them"
            )
            return
        label = next((name for name, values in stimuli.labels.items() if 1 < len(set(values)) <= MAX_LABELS), None)
        outcome.findings["rdm_stimuli"] = {
            "ids": list(stimuli.ids), "label": label,
            "labels": [] if label is None else [str(one) for one in stimuli.labels[label]],
        }  # fmt: skip
        layers = {(encoder, layer): values for encoder, layer, values in self.layer_rdms()}
        models = {entry.name for entry in self.opened.encoders if entry.is_model} or {one for one, _ in layers}
        if len(self.geometries) > MAX_REGIONS:
            more = len(self.geometries) - MAX_REGIONS
            outcome.findings["rdms_left_out"] = f"RDMs of {more} more regions are not drawn; `export` writes them"
        for roi, people in list(self.geometries.items())[:MAX_REGIONS]:
            scored: dict[tuple[str, str], list[float]] = {}
            for row in outcome.rows:
                if row["roi"] == roi and row["metric"] == self.lead and row["subject"] in people:
                    if row["encoder"] in models:
                        scored.setdefault((row["encoder"], row["layer"]), []).append(row["value"])
            means = {key: float(np.mean(values)) for key, values in scored.items() if np.isfinite(values).all()}
            best = max(means, key=lambda key: means[key], default=None)
            outcome.note("rdms", region_drawn(roi, people, None if best is None else (*best, layers[best])))

    @property
    def lead(self) -> str:
        """The first way to correlate RDMs."""
        return self.recipe.similarity[0]

    def question(self) -> str:
        """Return whose geometry was held against which regions."""
        names = joined([entry.name for entry in self.opened.encoders])
        return f"Which layers of {names} have the geometry of {joined(list(self.geometries))} in {self.people}?"

    def claims(self, outcome: Outcome) -> list[str]:
        """Return the best layer of every region."""
        return rsa_claims(outcome, lead_subject(outcome), self.lead)

    def memory(self) -> dict[str, float]:
        """Estimate RDMs, networks, and per unit features and squares of distances."""
        n = max(len(member.data) for member in self.members)
        width = max((layer.width or 1000 for entry in self.opened.encoders for layer in entry.layers), default=1)
        networks = [entry for entry in self.opened.encoders if entry.settings.has_network]
        parts = {
            "libraries": BASE_MB + (TORCH_MB if networks else 0.0),
            "responses": 2 * sum(megabytes(member.data.shape, 8) for member in self.members),
        }
        if networks:
            parts["networks"] = sum(network_mb(entry.encoder) for entry in networks) + BATCH_MB
        unit = 2 * megabytes((n, width), 8) + 6 * megabytes((n, n), 8) + BLOCK_MB
        return {**parts, "units at once": jobs_of(self.recipe) * unit}
