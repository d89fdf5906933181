"""What data sets of stories share: one clock for all stories, words on it, and the rows of whoever heard them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from brainbench.core.digests import digest
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.data.account import RunUse
from brainbench.data.base import Continuous, Dataset, Responses, Stimuli, TargetMasker, subjects_asked
from brainbench.data.images import SubsetMasker, with_all
from brainbench.data.layouts.designs import GAP_S
from brainbench.data.layouts.matrices import flat_columns
from brainbench.data.layouts.nsd_files import SYNTHETIC
from brainbench.data.tables import read_table
from brainbench.recipes.data.stories import StorySettings

TAIL_S = 25.0
"""Seconds by which a recording may begin before its story, or last longer: stories lie `GAP_S` apart on the clock."""


@dataclass(frozen=True)
class Story:
    """A story and when its words are heard.

    Attributes
    ----------
    name : str
    words : list of str
    onset, duration : ndarray (n_words,)
        Seconds from its begin, rising.
    length_s : float
        Until the story is over.
    path : Path
        Where the words were read.
    left_out : mapping of str to int
        Words that are not used, by the reason.
    """

    name: str
    words: list[str]
    onset: np.ndarray
    duration: np.ndarray
    length_s: float
    path: Path
    left_out: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, name: str, timed: Sequence[tuple[str, float, float]], path: Path, *, length_s: float = 0.0,
        left_out: Mapping[str, int] | None = None,
    ) -> Story:  # fmt: skip
        """Return a story of words with begin and end, in the order of their begins.

        Raises
        ------
        UserError
            If there is no word, or a word ends before it begins, or begins before the story.
        """
        if not timed:
            raise UserError(f"{path}: no word of '{name}' has a time")
        for word, start, end in timed:
            if not (0 <= start <= end < np.inf):
                raise UserError(f"{path}: '{word}' of '{name}' lasts from {start:g} to {end:g} s of the story")
        onset = np.array([one[1] for one in timed])
        order = np.argsort(onset, kind="stable")
        onset, ends = onset[order], np.array([one[2] for one in timed])[order]
        words = [timed[k][0] for k in order]
        return cls(name, words, onset, ends - onset, max(length_s, float(ends.max())), path, dict(left_out or {}))


@dataclass(frozen=True)
class Scan:
    """The recording of one story.

    Attributes
    ----------
    story : str
    files : tuple of Path
        One file, or one a hemisphere.
    first_s : float
        When its first row was measured, in seconds of the story.
    rows : slice
        Rows of the file that are used.
    where : str
        Its place inside of the file, where that holds several.
    """

    story: str
    files: tuple[Path, ...]
    first_s: float = 0.0
    rows: slice = field(default_factory=lambda: slice(None))
    where: str = ""


class Stories(Dataset):
    """Participants hear stories; a row is a volume. All stories lie on one clock, `GAP_S` of silence apart.

    A subclass says who heard what (`_scans_of`), what its words are (`_story_of`), and reads the volumes (`_values`).
    Rows know their ``story``; where some are named as a test set, the row label ``test_set`` too.
    """

    t_r: ClassVar[float]
    space: ClassVar[str] = "none"
    called: ClassVar[str] = "voxels"
    test_stories: ClassVar[tuple[str, ...]] = ()
    """Stories that the authors never train on."""

    def __init__(self, settings: StorySettings, root: Path) -> None:
        self.settings, self.root = settings, root
        self.simulated = (root / SYNTHETIC).is_file()
        self._refused: dict[str, str] = {}
        self._scans = {name: scans for name in self._people() if (scans := self._scans_of(name))}
        if not self._scans:
            raise UserError(f"{root}: no participant; {self.expected} was expected", hint=self._why_nobody())
        self._known: tuple[str, Responses] | None = None

    # What a data set says ------------------------------------------------------------------------------------------

    @abstractmethod
    def _people(self) -> list[str]:
        """Return whoever has a recording."""

    @abstractmethod
    def _scans_of(self, subject: str) -> list[Scan]:
        """Return the recordings of a participant, one a story."""

    @abstractmethod
    def _story_of(self, name: str) -> Story:
        """Return a story."""

    @abstractmethod
    def _values(self, subject: str, scan: Scan) -> np.ndarray:
        """Return the rows of a recording that are used, ``(n_rows, n_targets)``; NaN where nothing was measured."""

    def _regions(self, subject: str, n_targets: int) -> dict[str, np.ndarray]:
        """Return the regions, without the one of all targets."""
        return {} if self.settings.rois is None else read_regions(self.root / self.settings.rois, n_targets)

    def _masker(self, subject: str, n_targets: int) -> TargetMasker | None:
        return None

    def _story_files(self, name: str) -> list[Path]:
        """Return the files that say when the words of a story are heard."""
        return [self._story(name).path]

    # The contract --------------------------------------------------------------------------------------------------

    @property
    def subjects(self) -> list[str]:
        """Participants with a recording."""
        return list(self._scans)

    def notes(self) -> list[str]:
        """Say what a copy is, and who was left out."""
        copy = [f"synthetic copy of the layout ({SYNTHETIC}): no brain was measured"] if self.simulated else []
        said = f"stories lie on one clock, {GAP_S:g} s apart; times are counted from the begin of each"
        return [*copy, *self._refused.values(), said]

    def files(self) -> list[Path]:
        """Return the recordings, and what says when words are heard."""
        found = {path for name in self._stories for path in self._story_files(name)}
        for subject in self._chosen:
            found |= {path for scan in self._used(subject) for path in scan.files}
        if self.settings.rois is not None:
            found.add(self.root / self.settings.rois)
        return sorted(found)

    def stimuli(self, subject: str) -> Stimuli:
        """Return the words of all stories, the same for everyone."""
        return self._words

    def responses(self, subject: str) -> Responses:
        """Return the volumes of a participant, in the order of the stories."""
        if self._known is None or self._known[0] != subject:  # one participant at a time
            self._known = (subject, self._read(subject))
        return self._known[1]

    # Stories and their clock ---------------------------------------------------------------------------------------

    @cached_property
    def _chosen(self) -> list[str]:
        return subjects_asked(self.subjects, self.settings.subjects)

    @cached_property
    def _stories(self) -> list[str]:
        """Return the stories that are used, in the order of the clock."""
        known = sorted({scan.story for name in self._chosen for scan in self._scans[name]})
        wanted = self.settings.stories
        if wanted == "all":
            return known
        for name in wanted:
            if name not in known:
                raise UserError(
                    f"dataset.stories: nobody heard '{name}'{did_you_mean(name, known)}",
                    hint=f"stories: {one_of(known)}",
                )
        return [name for name in known if name in wanted]

    def _used(self, subject: str) -> list[Scan]:
        wanted = {name: place for place, name in enumerate(self._stories)}
        return sorted((one for one in self._scans[subject] if one.story in wanted), key=lambda one: wanted[one.story])

    def _story(self, name: str) -> Story:
        if name not in self._told:
            self._told[name] = self._story_of(name)
        return self._told[name]

    @cached_property
    def _told(self) -> dict[str, Story]:
        return {}

    @cached_property
    def _begins(self) -> dict[str, float]:
        """Return when every story begins on the clock that all share."""
        begins, now = {}, 0.0
        for name in self._stories:
            begins[name] = now
            now += float(np.ceil(self._story(name).length_s)) + GAP_S
        return begins

    @cached_property
    def _words(self) -> Stimuli:
        told = [self._story(name) for name in self._stories]
        words = [word for story in told for word in story.words]
        return Stimuli(
            ids=[f"{story.name}-{k:04d}-{word}" for story in told for k, word in enumerate(story.words)],
            modality="word",
            load=words.__getitem__,
            content_digests=[digest(word.lower()) for word in words],
            onset=np.concatenate([story.onset + self._begins[story.name] for story in told]),
            duration=np.concatenate([story.duration for story in told]),
            labels={"story": np.array([story.name for story in told for _ in story.words])},
            source=told[0].path.name if len(told) == 1 else f"words of {len(told)} stories",
        )

    # Volumes -------------------------------------------------------------------------------------------------------

    def _read(self, subject: str) -> Responses:
        scans = self._used(subject)
        if not scans:
            raise UserError(f"dataset.stories: {subject} heard none of {one_of(self._stories)}")
        values: list[np.ndarray] = []
        times: list[np.ndarray] = []
        account: list[RunUse] = []
        for scan in scans:
            part, story = self._values(subject, scan), self._story(scan.story)
            n, width = len(part), part.shape[1] if part.ndim == 2 else 0
            if values and width != values[0].shape[1]:
                raise UserError(f"{scan.files[0]}: {width} {self.called}, {scans[0].files[0]} has {values[0].shape[1]}")
            last = scan.first_s + n * self.t_r
            if not n or scan.first_s < -TAIL_S or last > story.length_s + TAIL_S:
                raise UserError(
                    f"{scan.files[0]}: {n} volumes from {scan.first_s:g} to {last:g} s of '{scan.story}', which lasts "
                    f"{story.length_s:g} s",
                    hint="is it the recording of another story, or with volumes that were to be dropped?",
                )
            values.append(np.asarray(part, dtype=np.float32))
            times.append(self._begins[scan.story] + scan.first_s + self.t_r * np.arange(n))
            after = int(np.sum(story.onset >= last))
            account.append(RunUse(subject, run=scan.story, used=f"{n} volumes, {len(story.words) - after} words"))
            for why, count in story.left_out.items():
                account.append(RunUse(subject, run=scan.story, left_out=f"{count} words", why=why))
            if after:
                why = f"they begin after the last volume ({last:g} s)"
                account.append(RunUse(subject, run=scan.story, left_out=f"{after} words", why=why))
        data = np.concatenate(values)
        run = np.concatenate([np.full(len(part), scan.story) for part, scan in zip(values, scans, strict=True)])
        del values
        absent = ~np.isfinite(data).all(axis=0)
        flat = flat_columns(np.where(absent, 0, data) if absent.any() else data) & ~absent
        keep = ~(absent | flat)
        for dropped, why in ((absent, "not a number in some volume"), (flat, "never change")):
            if dropped.any():
                account.append(RunUse(subject, left_out=f"{dropped.sum()} of {len(keep)} {self.called}", why=why))
        if not keep.any():
            raise UserError(f"{scans[0].files[0]}: no {self.called} of {subject} have numbers that change")
        rois = {name: mask[keep] for name, mask in self._regions(subject, len(keep)).items()}
        masker = self._masker(subject, len(keep))
        labels = {"story": run}
        if set(self.test_stories) & set(self._stories):
            labels["test_set"] = np.where(np.isin(run, self.test_stories), "test", "train")
        return Responses(
            subject=subject,
            data=data if keep.all() else data[:, keep],
            stimulus=None,
            run=run,
            rois=with_all({name: mask for name, mask in rois.items() if mask.any()}, int(keep.sum()), self.root),
            continuous=Continuous(np.concatenate(times), self.t_r),
            masker=masker if masker is None or keep.all() else SubsetMasker(masker, keep),
            space=self.space,
            labels=labels,
            notes=[f"{len(scans)} of {len(self._stories)} stories, TR {self.t_r:g} s", *self._said_of(subject)],
            account=account,
        )

    def _said_of(self, subject: str) -> list[str]:
        """Return what the report says of a participant's recordings."""
        return []

    def _why_nobody(self) -> str | None:
        return "; ".join(self._refused.values()) or None


def read_regions(path: Path, n_targets: int) -> dict[str, np.ndarray]:
    """Return regions of a table (target, roi); targets count from 0.

    Raises
    ------
    UserError
        If a target does not exist, or stands twice in a region.
    """
    table = read_table(path)
    table.require("target", "roi")
    index = table.indices("target", [str(k) for k in range(n_targets)], f"0 ... {n_targets - 1}")
    names = table.texts("roi")
    table.unique("target", "roi")
    table.finish()
    rois = {name: np.zeros(n_targets, dtype=bool) for name in names}
    for target, name in zip(index, names, strict=True):
        rois[name][target] = True
    return rois


def part_of_json(found: Any, path: Path, *keys: str) -> Any:
    """Return a value of a JSON file, or refuse what it lacks by name."""
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            near = did_you_mean(key, found) if isinstance(found, dict) else ""
            raise UserError(f"{path}: no '{key}'{near}")
        found = found[key]
    return found
