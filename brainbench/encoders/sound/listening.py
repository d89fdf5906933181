"""Long sounds in windows that overlap, and the frames of each stimulus: what every encoder of sounds shares."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.data.sound.recording import Heard, Recording
from brainbench.encoders.base import Encoder, Pool

Spans = Callable[[np.ndarray], list[tuple[int, int]]]
"""From the times of a window's frames (s from its begin) to the frames of each of its pieces."""


@dataclass(frozen=True)
class Stretch:
    """A window of a sound, in seconds: where it begins and ends, and of which part of it frames are taken."""

    start: int
    end: float
    keep_from: float
    keep_to: float


def stretches(duration: float, window_s: int, overlap_s: int) -> list[Stretch]:
    """Return windows that cover a sound; each frame is taken from one window, with half an overlap beside it."""
    if duration <= window_s:
        return [Stretch(0, duration, 0.0, duration)]
    last = int(np.ceil(duration - window_s))
    starts = [*range(0, last, window_s - overlap_s), last]
    cuts = [0.0, *(start + overlap_s / 2 for start in starts[1:]), duration]
    # The last window begins where it still is whole: it may overlap more with the one before.
    return [Stretch(start, min(start + window_s, duration), cuts[k], cuts[k + 1]) for k, start in enumerate(starts)]


class Listener(Encoder):
    """An encoder of sounds, and of words of which the sound is known: the mean over the frames of each."""

    modalities = ("sound", "word")
    pools = ("mean",)
    sfreq: int
    """Samples per second that it listens at."""
    window_s: int
    overlap_s: int
    least: int = 1
    """Samples that it needs."""

    @abstractmethod
    def sums(
        self, samples: np.ndarray, spans: Spans, layers: Sequence[str]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return sums over the frames of every piece ``{layer: (n_pieces, n_features)}`` and their number.

        Parameters
        ----------
        samples : float32 ndarray (n_samples,)
            A window, at `sfreq`.
        spans : callable
        layers : sequence of str
        """

    def remarks(self, stimuli: Stimuli) -> list[str]:
        """Say which sounds were recorded at lower rates than the encoder listens at."""
        if stimuli.heard is None:
            return []
        low = [one for one in stimuli.heard.recordings if one.sfreq < self.sfreq]
        if not low:
            return []
        return [
            f"encoder '{self.name}': {len(low)} of {len(stimuli.heard.recordings)} sounds have fewer samples a second "
            f"than the {self.sfreq} it listens at ({low[0].name}: {low[0].sfreq}): what lies above is missing in them"
        ]

    def check_modality(self, stimuli: Stimuli) -> None:
        """Raise a UserError when there is nothing to hear."""
        super().check_modality(stimuli)
        if stimuli.heard is None:
            raise UserError(
                f"encoder '{self.name}' listens, and the words of {stimuli.source or 'this data set'} have no sound",
                hint="give the table of words a column 'sound' with the .wav file that each word is heard in",
            )

    def encode(self, stimuli: Stimuli, layers: Sequence[str], pool: Pool) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches of features; see `Encoder.encode`."""
        self.check_modality(stimuli)
        self.check_pool(pool)
        heard = stimuli.heard
        assert heard is not None
        if problems := heard.problems(stimuli.ids):
            more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
            raise UserError(f"encoder '{self.name}': {problems[0][1]}{more}")
        bounds = np.flatnonzero(np.diff(heard.of)) + 1
        for rows in np.split(np.arange(len(stimuli)), bounds):
            recording = heard.recordings[int(heard.of[rows[0]])]
            if recording.duration * self.sfreq < self.least:
                raise UserError(
                    f"encoder '{self.name}': {recording.name} lasts {1000 * recording.duration:.0f} ms, and the "
                    f"shortest sound it can hear {1000 * self.least / self.sfreq:.0f} ms"
                )
            yield from self._recording(recording, heard.take(rows.tolist()), layers)

    def _recording(self, recording: Recording, heard: Heard, layers: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        """Yield the features of the pieces of one recording, in their order, as soon as they are complete."""
        total: dict[str, dict[int, np.ndarray]] = {layer: {} for layer in layers}
        count = np.zeros(len(heard.of))
        sent = 0
        for part in stretches(recording.duration, self.window_s, self.overlap_s):
            here = np.flatnonzero((heard.end > part.keep_from) & (heard.start < part.keep_to))
            if len(here):
                n_samples = round((part.end - part.start) * self.sfreq)
                samples = recording.stretch(part.start, n_samples, self.sfreq)
                found, frames = self.sums(samples, _spans(heard, here, part), layers)
                count[here] += frames
                for layer, values in found.items():
                    for piece, value in zip(here.tolist(), values, strict=True):
                        total[layer][piece] = total[layer].get(piece, 0) + value
            waiting = np.flatnonzero(heard.end[sent:] > part.keep_to)
            done = (
                len(heard.of)
                if part.keep_to >= recording.duration
                else sent + int(waiting[0] if len(waiting) else 10**9)
            )
            done = min(done, len(heard.of))
            if done > sent:
                yield {
                    layer: np.stack([total[layer].pop(i) / count[i] for i in range(sent, done)]).astype(np.float32)
                    for layer in layers
                }
                sent = done


def _spans(heard: Heard, here: np.ndarray, part: Stretch) -> Spans:
    def spans(times: np.ndarray) -> list[tuple[int, int]]:
        at = part.start + times
        found = []
        for start, end in zip(heard.start[here], heard.end[here], strict=True):
            first, last = np.searchsorted(at, [max(start, part.keep_from), min(end, part.keep_to)])
            middle = (start + end) / 2
            # A piece between two frames has the nearest, in the window that its middle is taken from.
            alone = np.searchsorted(at, start) == np.searchsorted(at, end)
            inside = part.keep_from <= middle < part.keep_to or part.keep_from <= middle <= part.end == part.keep_to
            if alone and inside:
                first = int(np.argmin(np.abs(at - middle)))
                last = first + 1
            found.append((int(first), int(last)))
        return found

    return spans
