"""`simulated-seeg`: shafts of contacts in people who hear words, of which one region's contacts tell which. Made up.

Every word is a sum of three Gabor atoms, each at its own latency and frequency; a contact of the planted region adds
them up in its own way. All contacts have noise with a spectrum of 1/f, and what they have in common: their reference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from brainbench.data.base import Context
from brainbench.recipes.data.intracranial import SimulatedSeegSettings
from brainbench.recordings.base import RecordingDataset
from brainbench.recordings.reading import require_mne
from brainbench.recordings.recording import Recording

SFREQ = 200.0
PLANTED = "motor"
"""The region whose contacts answer."""
REGIONS = (PLANTED, "temporal", "insula", "frontal")
N_CONTACTS = 5
"""Of every shaft."""
SPACING_M = 0.0035
"""Between the contacts of a shaft."""
SPREAD_V = 20e-6
"""Standard deviation of a contact's noise."""
COMMON = 0.5
"""Standard deviation of what all contacts share, in units of the noise."""
N_ATOMS = 3
WORD_S = 1.0
"""Seconds in which the atoms of a word lie."""
BETWEEN_S = 1.6
"""Seconds from one word to the next."""


class SimulatedSeeg(RecordingDataset):
    """Participants whose shaft in one region answers words; nothing was measured."""

    name = "simulated-seeg"
    kind = "seeg"
    simulated = True

    def __init__(self, settings: SimulatedSeegSettings, context: Context) -> None:
        super().__init__(settings)
        self.own = settings
        self.seed = context.seed

    @classmethod
    def open(cls, settings: SimulatedSeegSettings, root: Path | None, context: Context) -> SimulatedSeeg:
        """Make the data set; `root` is not used."""
        require_mne()
        return cls(settings, context)

    @property
    def subjects(self) -> list[str]:
        """``sim-01``, ``sim-02``, ..."""
        return [f"sim-{index + 1:02d}" for index in range(self.own.n_subjects)]

    def paths(self, subject: str) -> list[Path]:
        """Return nothing: no file is read."""
        return []

    def origins(self, subject: str) -> dict[str, str]:
        """Return the seed and the participant: no file is read."""
        name = f"simulated words of seed {self.seed}, {subject}"
        return {name: name}

    def notes(self) -> list[str]:
        """Say that nothing was measured."""
        return ["simulated: no brain was measured"]

    def truth(self) -> dict[str, Any]:
        """Return the contacts that answer words, of every participant."""
        return {"contacts": {subject: self.planted(subject) for subject in self.subjects}}

    def planted(self, subject: str) -> list[str]:
        """Return the contacts that answer words."""
        labels = self.labels_of_contacts(subject, "region")
        return [name for name, region in labels.items() if region == PLANTED and self.own.planted]

    def labels_of_contacts(self, subject: str, column: str) -> dict[str, str]:
        """Return the region of every contact; which shaft lies where differs between participants."""
        if column != "region":
            return super().labels_of_contacts(subject, column)
        regions = [*REGIONS, *(f"region {n + 1}" for n in range(len(REGIONS), self.own.n_shafts))][: self.own.n_shafts]
        order = self._rng(subject, "regions").permutation(len(regions))
        return {
            f"{_letter(shaft)}{number}": regions[order[shaft]]
            for shaft in range(self.own.n_shafts)
            for number in range(1, N_CONTACTS + 1)
        }

    def recordings(self, subject: str) -> list[Recording]:
        """Return the runs of a participant, words in a new order in each."""
        import mne

        own, labels = self.own, self.labels_of_contacts(subject, "region")
        names = list(labels)
        answers = self._answers(subject, names)
        info = mne.create_info(names, SFREQ, "seeg", verbose="ERROR")
        for channel, place in zip(info["chs"], self._places(subject), strict=True):
            channel["loc"][:3] = place
        rng = self._rng(subject, "runs")
        words = np.repeat(np.arange(own.n_words), own.n_repeats)
        repeat = np.tile(np.arange(own.n_repeats), own.n_words)
        found = []
        for run in range(own.n_runs):
            mine = rng.permutation(words[repeat % own.n_runs == run])
            onsets = BETWEEN_S * (1 + np.arange(len(mine)))
            n_times = round((onsets[-1] + 2 * BETWEEN_S if len(mine) else BETWEEN_S) * SFREQ)
            noise = pink_noise(len(names) + 1, n_times, rng)
            samples = noise[:-1] + COMMON * noise[-1]
            for onset, word in zip(onsets, mine, strict=True):
                start = round(onset * SFREQ)
                samples[:, start : start + answers.shape[2]] += answers[word]
            raw = mne.io.RawArray(SPREAD_V * samples, info.copy(), verbose="ERROR")
            texts = np.array([f"word {word + 1}" for word in mine], dtype=str)
            found.append(Recording(raw, onsets, texts, "0", str(run + 1), f"{subject}, run {run + 1}"))
        return [one for one in found if len(one.onsets)]

    def _answers(self, subject: str, names: list[str]) -> np.ndarray:
        """Return what every word adds to every contact ``(n_words, n_channels, n_times)``, in units of the noise."""
        own, everybody = self.own, np.random.default_rng([self.seed, 97])
        atoms = np.stack([_atoms(everybody) for _ in range(own.n_words)])
        mixing = self._rng(subject, "mixing").standard_normal((len(names), N_ATOMS))
        mixed = np.einsum("ca,wat->wct", mixing, atoms)
        mixed *= own.strength / mixed.std(axis=(0, 2), keepdims=True)
        mixed[:, [name not in self.planted(subject) for name in names]] = 0.0
        return mixed

    def _places(self, subject: str) -> np.ndarray:
        """Return where contacts lie ``(n_channels, 3)`` in metres: shafts from the side to the middle of the head."""
        rng = self._rng(subject, "places")
        places = []
        for shaft in range(self.own.n_shafts):
            side = (-1) ** shaft
            entry = np.array([0.065 * side, *rng.uniform(-0.04, 0.04, size=2)])
            places += [entry + np.array([-side * SPACING_M * number, 0.0, 0.0]) for number in range(N_CONTACTS)]
        return np.array(places)

    def _rng(self, subject: str, what: str) -> np.random.Generator:
        parts = ("regions", "runs", "mixing", "places")
        return np.random.default_rng([self.seed, 97, self.subjects.index(subject), parts.index(what)])


def _letter(shaft: int) -> str:
    """Return A, B, ..., Z, A', B', ...: the name of a shaft."""
    return chr(ord("A") + shaft % 26) + "'" * (shaft // 26)


def _atoms(rng: np.random.Generator) -> np.ndarray:
    """Return the Gabor atoms of a word ``(N_ATOMS, n_times)``: at any time of it, 12 to 40 Hz."""
    times = np.arange(round(WORD_S * SFREQ)) / SFREQ
    latency = rng.uniform(0.15, 0.85, size=(N_ATOMS, 1)) * WORD_S
    frequency = rng.uniform(12.0, 40.0, size=(N_ATOMS, 1))
    phase = rng.uniform(0, 2 * np.pi, size=(N_ATOMS, 1))
    found: np.ndarray = np.exp(-(((times - latency) / 0.06) ** 2) / 2) * np.cos(
        2 * np.pi * frequency * (times - latency) + phase
    )
    return found


def pink_noise(n: int, n_times: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise ``(n, n_times)`` whose power falls as 1/f, of standard deviation one."""
    spectrum = np.fft.rfft(rng.standard_normal((n, n_times)))
    frequency = np.arange(spectrum.shape[1], dtype=float)
    frequency[0] = np.inf  # no mean
    found: np.ndarray = np.fft.irfft(spectrum / np.sqrt(frequency), n=n_times)
    return found / found.std(axis=1, keepdims=True)
