"""Features of one subject's stimuli, a row per presentation or time point."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.data.base import Responses, Stimuli
from brainbench.recipes.parts import Timing
from brainbench.studies.opened import Opened, OpenEncoder


class Features:
    """Features of one subject's stimuli, one row per presentation or time point, with their digests.

    Parameters
    ----------
    opened : Opened
    stimuli : Stimuli
    responses : Responses
    timing : Timing, optional
        From words to volumes; continuous designs need it.
    """

    def __init__(
        self, opened: Opened[Any], stimuli: Stimuli, responses: Responses, timing: Timing | None = None
    ) -> None:
        self.opened = opened
        self.timing = timing
        self.stimuli = stimuli
        self.responses = responses

    def digest(self, name: str, layer: str) -> str:
        """Return the digest of one layer's features, without computing them."""
        entry = self.opened.encoder(name)
        if entry.encoder is None:
            return digest_array(self._recorded(entry))
        key = self.opened.store.key(entry.encoder, self.stimuli.encoded, layer, entry.settings.pool)
        return digest([key, *self._pieces, self.in_time])

    @property
    def in_time(self) -> dict[str, Any] | None:
        """What decides where `placed` puts features in time, for digests; None in trial designs."""
        if self.responses.continuous is None:
            return None
        row_time = np.asarray(self.responses.continuous.row_time, dtype=np.float64)
        # Until November 2026 rows that do not rise were placed as if they did.
        back = {"runs": "in the order of the rows"} if np.any(np.diff(row_time) < 0) else {}
        return {
            **self._timing.model_dump(),
            "row_time": digest_array(row_time),
            "t_r": self.responses.continuous.t_r,
            "acting": self._acting_durations is not None,
            **back,
        }

    @property
    def _timing(self) -> Timing:
        if self.timing is None:
            raise UserError(f"{self.responses.subject}: features of a story need `timing`, which this recipe has not")
        return self.timing

    def rows(self, name: str, layer: str) -> np.ndarray:
        """Return the features of every row of the responses, ``(n_presentations, n_features)``."""
        entry = self.opened.encoder(name)
        if entry.encoder is None:
            return self._recorded(entry)
        if self.responses.continuous is None:
            return self.placed(self.stored(name, layer))
        return self.opened.in_time.get(self.digest(name, layer), lambda: self.placed(self.stored(name, layer)))

    def placed(self, features: np.ndarray) -> np.ndarray:
        """Return features of stimuli ``(n_stimuli, n_features)`` a row a presentation, or at the times of volumes."""
        from brainbench.features.timing import to_rows

        continuous = self.responses.continuous
        if continuous is None:
            assert self.responses.stimulus is not None
            return features[self.responses.stimulus]
        timing = self._timing
        assert self.stimuli.onset is not None
        return to_rows(
            features,
            self.stimuli.onset,
            self._acting_durations,
            continuous.row_time,
            continuous.t_r,
            resample=timing.resample,
            hrf=timing.hrf,
            delays_s=tuple(timing.delays_s),
        )

    @property
    def notes(self) -> list[str]:
        """What the report says of a continuous design's stimuli in time."""
        if self.responses.continuous is None or self.timing is None:
            return []
        from brainbench.features.timing import timing_note

        return [timing_note(self.stimuli, self.timing.durations)]

    @cached_property
    def _acting_durations(self) -> np.ndarray | None:
        from brainbench.features.timing import acting_durations

        return acting_durations(self.stimuli, self._timing.durations)

    def stored(self, name: str, layer: str) -> np.ndarray:
        """Return the features of every stimulus, ``(n_stimuli, n_features)``, from the store."""
        entry = self.opened.encoder(name)
        assert entry.encoder is not None
        stimuli = self.stimuli.encoded
        found = self.opened.store.features(entry.encoder, stimuli, [layer], entry.settings.pool)[layer]
        return found if self.stimuli.pieces is None else self.stimuli.pieces.mean(found)

    @property
    def _pieces(self) -> list[str]:
        """What says which pieces a stimulus has, for digests."""
        return [] if self.stimuli.pieces is None else [digest_array(self.stimuli.pieces.of)]

    def _recorded(self, entry: OpenEncoder) -> np.ndarray:
        feature: str = entry.settings.feature  # type: ignore[attr-defined]
        extra = self.responses.extra_features
        if feature not in extra:
            raise UserError(
                f"encoder '{entry.name}': the data set has no recorded predictor '{feature}'"
                f"{did_you_mean(feature, extra)}",
                hint=f"recorded predictors: {one_of(extra) or 'none'}",
            )
        values = np.asarray(extra[feature], dtype=np.float32)
        return values if values.ndim == 2 else values[:, None]
