"""`alice`: story listening (Brennan et al. 2016), ROI time courses and word onsets."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

import numpy as np

from brainbench.core.digests import digest
from brainbench.core.errors import UserError
from brainbench.core.files import by_name
from brainbench.data.account import RunUse
from brainbench.data.base import Context, Continuous, Dataset, Responses, Stimuli, subject_named, subjects_asked
from brainbench.data.sound.recording import Heard, open_wav
from brainbench.data.sound.synthesis import PROGRAM, spoken
from brainbench.data.tables import parse_row, read_text
from brainbench.data.textgrid import read_intervals
from brainbench.recipes.datasets import AliceSettings

ROIS = ("LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG")
T_R = 2.0
FIRST_ROW_S = 20.0
"""Ten volumes were dropped from the start of the recording, so the first row is at 20 s of the story's clock."""
SPOKEN = f"each word was spoken by {PROGRAM} and stretched to its duration; participants heard a reader"
NOT_WORDS = {"", "sp"}
"""Labels of the TextGrid that are pauses."""


class Alice(Dataset):
    """Eighteen participants listen to the first chapter of Alice in Wonderland.

    Every ROI is one target. Sound power and word rate come with the data, as predictors that are already convolved
    with a haemodynamic response. A participant whose recording is flat is left out and named.
    """

    name = "alice"
    aligned_targets = True
    expected = "alice_data_shared/*mm/s*-timecourses.txt and alice_stim_shared/*.TextGrid"

    def __init__(self, settings: AliceSettings, root: Path, cache: Path | None = None) -> None:
        self.settings = settings
        self.root = root
        self.folder = root / "alice_data_shared"
        self._courses: dict[str, np.ndarray] = {}
        self._refused: dict[str, str] = {}
        self._cache = cache
        self.made = SPOKEN if settings.sound == PROGRAM else ""
        tables = sorted((self.folder / f"{settings.radius_mm}mm").glob("s*-timecourses.txt"))
        for subject, path in by_name(tables, lambda path: path.name.split("-")[0], "participant").items():
            courses = _read_table(path)
            if courses.shape[1] != len(ROIS):
                raise UserError(
                    f"{path}: {courses.shape[1]} columns, the data set has {len(ROIS)} ROIs ({' '.join(ROIS)})"
                )
            flat = [roi for roi, course in zip(ROIS, courses.T, strict=True) if np.ptp(course) == 0]
            if flat:
                self._refused[subject] = f"{subject} is left out: {', '.join(flat)} flat in {path.name}"
                continue
            self._courses[subject] = courses
        if not self._courses:
            raise UserError(f"{self.folder}: no usable participant", hint="; ".join(self._refused.values()) or None)

    @classmethod
    def open(cls, settings: AliceSettings, root: Path | None, context: Context) -> Alice:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        if isinstance(settings.subjects, list):
            dataset = cls(settings, root, context.cache)
            for subject in settings.subjects:
                refused = subject_named([*dataset.subjects, *dataset._refused], subject)
                if refused in dataset._refused:
                    raise UserError(f"dataset.subjects: {dataset._refused[refused]}")
            return dataset
        return cls(settings, root, context.cache)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return any((path / "alice_data_shared").glob("*mm/s*-timecourses.txt"))

    @property
    def subjects(self) -> list[str]:
        """Participants whose recordings can be used."""
        return sorted(self._courses)

    def notes(self) -> list[str]:
        """Say who was left out."""
        return list(self._refused.values())

    def files(self) -> list[Path]:
        """Return time courses, predictors and the TextGrid."""
        files = [self._text_grid, *([] if self._wav is None else [self._wav])]
        for subject in subjects_asked(self.subjects, self.settings.subjects):
            files.append(self.folder / f"{self.settings.radius_mm}mm" / f"{subject}-timecourses.txt")
            files += [self._predictor(subject, "sndpwr"), self._predictor(subject, "rate")]
            if "motion" in self.settings.nuisance:
                files.append(self._predictor(subject, "rp_*"))
        return files

    @property
    def _text_grid(self) -> Path:
        found = sorted((self.root / "alice_stim_shared").glob("*.TextGrid"))
        if not found:
            raise UserError(f"{self.root / 'alice_stim_shared'}: no .TextGrid with the words' times")
        return found[0]

    @property
    def _wav(self) -> Path | None:
        sound = self.settings.sound
        return None if sound in (None, PROGRAM) else self.root / str(sound)

    def _heard(self, words: list[str], onset: np.ndarray, duration: np.ndarray, ids: list[str]) -> Heard | None:
        """Return the piece of the story's sound that every word is."""
        if self.settings.sound is None:
            return None
        recording = spoken(words, onset, duration, self._cache) if self._wav is None else open_wav(self._wav)
        heard = Heard([recording], np.zeros(len(words), dtype=int), onset, onset + duration)
        for _, problem in heard.problems(ids):
            raise UserError(f"{self._text_grid}: {problem}")
        return heard

    @cached_property
    def _words(self) -> Stimuli:
        intervals = [one for one in read_intervals(self._text_grid) if one.text.strip().lower() not in NOT_WORDS]
        words = [one.text.strip() for one in intervals]
        onset = np.array([one.start for one in intervals])
        if np.any(np.diff(onset) < 0):
            row = int(np.flatnonzero(np.diff(onset) < 0)[0]) + 1
            raise UserError(f"{self._text_grid}: word {row + 1} ('{words[row]}') begins before the word before it")
        duration = np.array([one.end - one.start for one in intervals])
        ids = [f"{index:04d}-{word}" for index, word in enumerate(words)]
        return Stimuli(
            ids=ids,
            modality="word",
            load=words.__getitem__,
            content_digests=[digest(word.lower()) for word in words],
            onset=onset,
            duration=duration,
            source=self._text_grid.name,
            heard=self._heard(words, onset, duration, ids),
        )

    def stimuli(self, subject: str) -> Stimuli:
        """Return the words of the story, the same for everyone."""
        return self._words

    def responses(self, subject: str) -> Responses:
        """Return the ROI time courses of a participant."""
        data = self._courses[subject]
        n = len(data)
        notes = []
        nuisance = None
        if "motion" in self.settings.nuisance:
            nuisance = self._rows(subject, "rp_*", n)
        extra = {"sound_power": self._rows(subject, "sndpwr", n), "word_rate_recorded": self._rows(subject, "rate", n)}
        notes.append(
            f"{n} volumes, TR {T_R:g} s, from {FIRST_ROW_S:g} s of the story; {self.settings.radius_mm} mm ROIs"
        )
        return Responses(
            subject=subject,
            data=data,
            stimulus=None,
            run=np.full(n, "story"),
            rois={roi: np.arange(len(ROIS)) == index for index, roi in enumerate(ROIS)},
            continuous=Continuous(FIRST_ROW_S + T_R * np.arange(n), T_R),
            space="roi",
            nuisance=nuisance,
            extra_features=extra,
            notes=notes,
            account=self._account(subject, n),
        )

    def _account(self, subject: str, n: int) -> list[RunUse]:
        """Return volumes and words used, and words after the last volume."""
        words = self._words
        assert words.onset is not None
        end = FIRST_ROW_S + T_R * n
        after, n_words = int(np.sum(words.onset >= end)), len(words)
        rows = [RunUse(subject, run="story", used=f"{n} volumes, {n_words - after} words")]
        if after:
            why = f"they begin after the last volume ({end:g} s)"
            rows.append(RunUse(subject, run="story", left_out=f"{after} of {n_words} words", why=why))
        for kind in ("sndpwr", "rate", *(["rp_*"] if "motion" in self.settings.nuisance else [])):
            path = self._predictor(subject, kind)
            if len(_read_table(path)) == n + 10:
                why = "they belong to the ten volumes that the time courses lack"
                rows.append(RunUse(subject, run="story", left_out=f"10 rows of {path.name}", why=why))
        return rows

    def _predictor(self, subject: str, kind: str) -> Path:
        found = sorted(self.folder.glob(f"{subject}-{kind}.txt"))
        if not found:
            what = {"rp_*": "motion parameters", "sndpwr": "sound power", "rate": "word rate"}[kind]
            raise UserError(f"{self.folder}: {subject} has no {what} ({subject}-{kind}.txt)")
        return found[0]

    def _rows(self, subject: str, kind: str, n: int) -> np.ndarray:
        """Return a predictor with as many rows as volumes; the ten dropped volumes are dropped here too."""
        path = self._predictor(subject, kind)
        values = _read_table(path)
        if len(values) == n + 10:
            values = values[10:]
        if len(values) != n:
            raise UserError(f"{path}: {len(values)} rows, the time courses of {subject} have {n}")
        return values


def _read_table(path: Path) -> np.ndarray:
    """Read whitespace-separated numbers, naming the first row that is wrong."""
    rows: list[np.ndarray] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        cells = re.split(r"[\s,]+", line.strip())
        if cells == [""]:
            continue
        row, wrong = parse_row(cells)
        if wrong:
            raise UserError(f"{path}:{number}: not a row of numbers: {wrong[0][1]}")
        if rows and len(row) != len(rows[0]):
            raise UserError(f"{path}:{number}: {len(row)} values, the rows above have {len(rows[0])}")
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: empty")
    return np.array(rows)
