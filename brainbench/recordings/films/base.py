"""What data sets of films share: a film's samples and label become runs, and events from which trials are cut."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.recipes.data.emotion import FilmSettings
from brainbench.recordings.base import RecordingDataset
from brainbench.recordings.channels import set_types
from brainbench.recordings.formats.pieces import joined_pieces
from brainbench.recordings.reading import require_mne
from brainbench.recordings.recording import LeftOut, Recording, counted


@dataclass(frozen=True)
class Film:
    """What was recorded while one film was shown.

    Parameters
    ----------
    samples : ndarray (n_channels, n_times)
        In the unit of the file.
    label : str
    start : float
        Seconds from the first sample to the film's beginning.
    where : str
        File and film, for messages.
    """

    samples: np.ndarray
    label: str
    start: float
    where: str


class FilmDataset(RecordingDataset):
    """EEG of people who watch films, each with one label."""

    sfreq: ClassVar[float]
    ch_types: ClassVar[Mapping[str, str]]
    """Name of every channel of the files, in order, and its kind."""

    def __init__(self, settings: FilmSettings, root: Path) -> None:
        super().__init__(settings)
        self.own = settings
        self.root = root
        self.montage = settings.montage

    @classmethod
    def open(cls, settings: FilmSettings, root: Path | None, context: Context) -> FilmDataset:  # noqa: D102
        require_mne()
        assert root is not None
        return cls(settings, root)

    @abstractmethod
    def films(self, subject: str) -> dict[str, list[Film]]:
        """Return the films of every session of a subject, in the order in which files number them."""

    def notes(self) -> list[str]:  # noqa: D102
        return [
            f"samples were taken for {self.own.unit}s, which the files do not say",
            "all participants see the same films: across them, and across sessions that repeat films, a decoder may "
            "know the film and not the feeling",
        ]

    def recordings(self, subject: str) -> list[Recording]:
        """Return a run per session whose films are its trials, or, with `every`, a run per film."""
        found = []
        for session, films in self.films(subject).items():
            if self.own.every is None:
                found.append(self._recording(films, session, "films"))
            else:
                width = len(str(len(films)))
                found += [self._recording([film], session, f"film {n:0{width}d}") for n, film in enumerate(films, 1)]
        return found

    def _recording(self, films: Sequence[Film], session: str, run: str) -> Recording:
        scale = 1e-6 if self.own.unit == "microvolt" else 1.0
        pieces = [(film.samples * scale, film.where) for film in films]
        raw, begins = joined_pieces(pieces, self.ch_types, self.sfreq)
        onsets, labels, short = [], [], 0
        for film, before in zip(films, begins, strict=True):
            length = film.samples.shape[1] / self.sfreq
            starts = np.array([film.start])
            if self.own.every is not None:
                starts = np.arange(film.start, length - self.settings.tmax, self.own.every)
                short += not len(starts)
            onsets += (before + starts).tolist()
            labels += [film.label] * len(starts)
        where = films[0].where if self.own.every is not None else films[0].where.partition(",")[0]
        set_types(raw, self.settings.channel_types, where)
        left = [LeftOut(counted(short, "film"), f"shorter than {self.settings.tmax:g} s")] if short else []
        return Recording(raw, np.array(onsets), np.array(labels, dtype=str), session, run, where, tuple(left))


def rated(ratings: np.ndarray, highest: int, threshold: float | None, where: str) -> list[str]:
    """Return the class of every film of a participant by what they said of it.

    Parameters
    ----------
    ratings : ndarray (n_films,)
        From 1 to `highest`.
    highest : int
    threshold : float, optional
        Ratings from here on are ``high``, others ``low``; without it every whole number is a class.
    where : str
        For messages.

    Raises
    ------
    UserError
        If a rating lies outside of the scale.
    """
    wrong = np.flatnonzero(~((ratings >= 1) & (ratings <= highest)))
    if len(wrong):
        raise UserError(
            f"{where}: the rating of film {wrong[0] + 1} is {ratings[wrong[0]]:g}; the scale goes from 1 to {highest}"
        )
    if threshold is None:
        return [str(int(one)) for one in ratings]
    return ["high" if one >= threshold else "low" for one in ratings]


def checked_array(value: Any, what: str, n_dim: int) -> np.ndarray:
    """Return a value as an array of numbers, or say what it is.

    Raises
    ------
    UserError
        If it is none, or has other dimensions.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{what}: not an array of numbers but {type(value).__name__}") from None
    if array.ndim != n_dim:
        raise UserError(f"{what}: {n_dim} dimensions are needed, got shape {array.shape}")
    return array
