"""Which noise ceiling stands beside which score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Responses
from brainbench.evaluation import ceilings
from brainbench.evaluation.ceilings import Ceiling, RegionCeiling
from brainbench.evaluation.metrics import MEDIAN, metric_of
from brainbench.features.drift import remove_drift, segments_of
from brainbench.recipes.kinds.encode import EncodeRecipe
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
    """

    def __init__(self, recipe: EncodeRecipe, members: Sequence[Responses]) -> None:
        self.recipe = recipe
        self.members = list(members)
        self._known: dict[tuple[str, str], Ceiling | None] = {}

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
        if method == "split_half":
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
        stack = np.stack([self._clean(member) for member in self.members])
        if responses.subject == GROUP:
            return ceilings.group_split_half(stack, n_splits=self.recipe.ceiling.n_splits, seed=self.recipe.seed)
        names = [member.subject for member in self.members]
        return ceilings.leave_one_out(stack)[names.index(responses.subject)]

    def _method(self, responses: Responses) -> str:
        wanted = self.recipe.ceiling.method
        repeats = responses.stimulus is not None and int(np.bincount(responses.stimulus).max(initial=0)) > 1
        aligned = len(self.members) > 2 and all(
            member.data.shape == self.members[0].data.shape for member in self.members
        )
        if wanted == "auto":
            if responses.ceiling is not None:
                return "known"
            if responses.ncsnr is not None:
                return "ncsnr"
            return "split_half" if repeats else "between_subjects" if self._shared(aligned) else "none"
        if wanted == "split_half" and not repeats:
            raise UserError(f"ceiling.method: {responses.subject} has no repeated stimulus for 'split_half'")
        if wanted == "between_subjects" and not self._shared(aligned):
            raise UserError(
                "ceiling.method: 'between_subjects' needs three or more participants whose rows and targets match"
            )
        return wanted

    def _shared(self, aligned: bool) -> bool:
        return aligned and self.members[0].continuous is not None

    def _clean(self, member: Responses) -> np.ndarray:
        """Return a participant's z-scored responses without the drifts that no fold scores."""
        data = np.asarray(member.data, dtype=np.float64)
        if member.continuous is not None:
            rows = np.arange(len(data))
            segments = segments_of(rows, np.asarray(member.run, dtype=str))
            data = remove_drift(data, segments, member.continuous.t_r, self.recipe.timing.high_pass_s)
        return zscore(data)
