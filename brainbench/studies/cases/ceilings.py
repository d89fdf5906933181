"""Which noise ceiling stands beside which score."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.core.errors import UserError
from brainbench.data.base import Responses
from brainbench.data.images import same_places
from brainbench.evaluation import ceilings
from brainbench.evaluation.ceilings import Ceiling, RegionCeiling
from brainbench.evaluation.metrics import MEDIAN, metric_of
from brainbench.features.drift import drift_bases, nuisance_bases, segments_of, without
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.cases.rows import GROUP, Rows, group_means, normalize_runs, zscore


class CeilingBook:
    """Noise ceilings of every participant and of the group, in units of Pearson r, computed once.

    A ceiling that is known beforehand, or an ncsnr per target, stands first. Repeats give split-half ceilings
    (Spearman-Brown); aligned participants give each participant's correlation with the mean of the others, and the
    group the reliability of its mean over split halves of participants.

    Parameters
    ----------
    recipe : EncodeRecipe
    members : sequence of Responses
        The participants, without the group.
    runner : Runner
        Where the units of `unit` are read from.
    aligned : bool
        Whether the data set says that targets mean the same in everybody; else their places must be the same.
    """

    def __init__(
        self, recipe: EncodeRecipe, members: Sequence[Responses], runner: Runner, *, aligned: bool = False
    ) -> None:
        self.recipe = recipe
        self.members = list(members)
        self.runner = runner
        self.aligned = aligned
        self._known: dict[tuple[str, str], Ceiling | None] = {}
        self._regions: dict[tuple[str, str, bytes, str], RegionCeiling | None] = {}

    def unit(self, responses: Responses, rows: Rows) -> Unit | None:
        """Return the unit that splits the repeats of one subject under one scheme; None where another ceiling stands.

        Other ceilings are known beforehand, or take a moment.
        """
        if self._method(responses) != "split_half":
            return None
        key = {
            "rows": rows.digest,
            "data": digest_array(np.asarray(responses.data)),
            "stimulus": digest_array(np.asarray(responses.stimulus)),
            "run": digest_array(np.asarray(responses.run, dtype=str)),
            "responses": self.recipe.responses.model_dump(mode="json"),
            "hold_out": list(rows.scheme.hold_out),
            "n_splits": self.recipe.ceiling.n_splits,
            "seed": self.recipe.seed,
        }

        def compute() -> dict[str, np.ndarray]:
            found = self._split_half(responses, rows)
            arrays = {"values": found.values, "power": np.array(found.power)}
            return arrays if found.left_out is None else {**arrays, "left_out": found.left_out}

        return Unit("ceiling", f"{responses.subject}, ceiling ({rows.scheme.label})", key, compute)

    def targets(self, responses: Responses, rows: Rows) -> Ceiling | None:
        """Return the ceilings of the targets of one subject under one scheme, or None where there are none."""
        key = (responses.subject, rows.scheme.label)
        if key not in self._known:
            self._known[key] = self._compute(responses, rows)
        return self._known[key]

    def of(self, responses: Responses, rows: Rows, mask: np.ndarray, metric: str) -> RegionCeiling | None:
        """Return the ceiling of an ROI in the unit of a metric, or None where there is none.

        Raised before the mean to the power of Pearson's r that the metric is in: squared for shares of variance.
        """
        key = (responses.subject, rows.scheme.label, np.asarray(mask, dtype=bool).tobytes(), metric)
        if key not in self._regions:  # all layers ask for it
            self._regions[key] = self._region(responses, rows, mask, metric)
        return self._regions[key]

    def _region(self, responses: Responses, rows: Rows, mask: np.ndarray, metric: str) -> RegionCeiling | None:
        record = metric_of(metric)
        found = None if record is None or record.power is None else self.targets(responses, rows)
        if found is None or record is None or record.power is None:
            return None
        confidence = self.recipe.bootstrap.confidence
        return found.region(mask, record.power, median=metric.startswith(MEDIAN), confidence=confidence)

    def _compute(self, responses: Responses, rows: Rows) -> Ceiling | None:
        method = self._method(responses)
        if method == "none":
            return None
        if method == "ncsnr":
            if responses.ncsnr is None:
                raise UserError(f"ceiling.method: {responses.subject} comes without an ncsnr per target")
            return Ceiling(ceilings.from_ncsnr(responses.ncsnr, rows.n_averaged), 1)
        if method == "known":
            assert responses.ceiling is not None
            return Ceiling(np.asarray(responses.ceiling, dtype=np.float64), 1)
        unit = self.unit(responses, rows)
        if unit is not None:
            found = self.runner.read([unit])[0]
            return Ceiling(found["values"], int(found["power"]), found.get("left_out"))
        group = responses.subject == GROUP  # whose mean has everybody's nuisance
        stack = np.stack([self._clean(member, nuisance=not group) for member in self.members])
        if group:
            return ceilings.group_split_half(stack, n_splits=self.recipe.ceiling.n_splits, seed=self.recipe.seed)
        names = [member.subject for member in self.members]
        return ceilings.leave_one_out(stack)[names.index(responses.subject)]

    def _split_half(self, responses: Responses, rows: Rows) -> Ceiling:
        assert responses.stimulus is not None
        run = np.asarray(responses.run, dtype=str)
        data = normalize_runs(responses.data, run, self.recipe.responses)
        clean = ceilings.without_offsets(data, responses.stimulus, run)
        found = ceilings.split_half(
            clean, responses.stimulus, n_splits=self.recipe.ceiling.n_splits, seed=self.recipe.seed
        ).ceiling(1 / float(np.mean(1 / rows.n_averaged)))
        if "run" in rows.scheme.hold_out:  # the rows of a test fold are of one run
            return found
        kept, scored = (np.var(one, axis=0) for one in (group_means(clean, rows.group, rows.n_averaged), rows.Y))
        return found.shared_with(kept / np.where(scored > 0, scored, np.inf))

    def _method(self, responses: Responses) -> str:
        wanted = self.recipe.ceiling.method
        n_repeated = 0 if responses.stimulus is None else int(np.sum(np.bincount(responses.stimulus) > 1))
        repeats = n_repeated >= ceilings.FEWEST_REPEATED
        if wanted == "auto":
            if responses.ceiling is not None:
                return "known"
            if responses.ncsnr is not None:
                return "ncsnr"
            return "split_half" if repeats else "between_subjects" if self._shared else "none"
        if wanted == "split_half" and not repeats:
            raise UserError(
                f"ceiling.method: 'split_half' needs {ceilings.FEWEST_REPEATED} stimuli shown twice, "
                f"{responses.subject} has {n_repeated}"
            )
        if wanted == "between_subjects" and not self._shared:
            raise UserError(
                "ceiling.method: 'between_subjects' needs three or more participants whose rows and targets match: "
                "the same runs in one order, the same voxels or vertices (or `dataset.aligned_targets`)"
            )
        return wanted

    @cached_property
    def _shared(self) -> bool:
        """Whether rows and targets are the same in three or more participants: equal numbers of them say neither."""
        first, *others = self.members
        return len(others) > 1 and all(
            same_moments(first, other) and (self.aligned or same_targets(first, other)) for other in others
        )

    def _clean(self, member: Responses, *, nuisance: bool) -> np.ndarray:
        """Return a participant's z-scored responses without the drifts, and the nuisance, that no fold scores."""
        data, timing = np.asarray(member.data, dtype=np.float64), self.recipe.timing
        if member.continuous is not None:
            rows = np.arange(len(data))
            segments = segments_of(rows, np.asarray(member.run, dtype=str))
            bases = list(drift_bases(segments, member.continuous.t_r, timing.high_pass_s))
            if nuisance and timing.regress_nuisance and member.nuisance is not None:
                bases += nuisance_bases(without(member.nuisance, bases), [rows])
            data = without(data, bases)
        return zscore(data)


def same_moments(one: Responses, other: Responses) -> bool:
    """Return whether the rows of two continuous recordings are the same moments of the same runs."""
    if one.continuous is None or other.continuous is None or one.data.shape != other.data.shape:
        return False
    times = (np.asarray(one.continuous.row_time), np.asarray(other.continuous.row_time))
    return np.array_equal(one.run, other.run) and np.allclose(*times, rtol=0, atol=1e-3)


def same_targets(one: Responses, other: Responses) -> bool:
    """Return whether targets are the same places, or means of the same regions, in two participants."""
    if one.masker is not None and other.masker is not None:
        return same_places(one.masker, other.masker, one.n_targets)
    return one.space == other.space == "roi" and all(
        name in other.rois and np.array_equal(mask, other.rois[name]) for name, mask in one.rois.items()
    )
