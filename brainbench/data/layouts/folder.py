"""`folder`: the user's own data, one table of stimuli and per subject a table of rows and their responses."""

from __future__ import annotations

import glob
import re
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from brainbench.core.errors import UserError
from brainbench.core.order import natural
from brainbench.data.base import Context, Continuous, Dataset, Responses, Stimuli, subjects_asked
from brainbench.data.images import SubsetMasker, read_background, with_all, without_empty
from brainbench.data.layouts.designs import (
    Clock,
    Design,
    Recording,
    common_clock,
    covered,
    read_recording,
    read_trials,
    regular_recording,
)
from brainbench.data.layouts.folder_files import SubjectFiles, Targets
from brainbench.data.stimulus_files import read_stimuli
from brainbench.data.tables import Problems
from brainbench.recipes.datasets import FolderSettings


class Folder(Dataset):
    """Responses that the user has, in a folder that the user lays out; see docs/data/folder.md.

    Stimuli, tables of rows and the presence of all files are checked when the folder is opened; the numbers of a
    subject when its responses are asked for. Nothing is mended silently: what does not fit is refused with its row.
    """

    name = "folder"
    expected = "stimuli.csv and one folder per subject"

    def __init__(self, settings: FolderSettings, root: Path) -> None:
        self.settings = settings
        self.root = root
        self.simulated = settings.simulated
        self.aligned_targets = settings.aligned_targets
        self._subjects = self._find_subjects()
        self._chosen = subjects_asked(self._subjects, settings.subjects)
        self._check_files()
        self._table = read_stimuli(root / settings.stimuli, settings.modality, continuous=settings.continuous)
        self._trials: dict[str, Design] = {}
        self._recordings: dict[str, Recording] = {}
        self._clock = Clock({})
        if settings.continuous:
            self._read_recordings()
        else:
            self._trials = {one: read_trials(self._files(one).path("design"), self._table, one) for one in self._chosen}
        if settings.aligned_targets:
            self._check_aligned()
        self._known: dict[str, Responses] = {}
        self._named: tuple[str, list[str]] | None = None

    @classmethod
    def open(cls, settings: FolderSettings, root: Path | None, context: Context) -> Folder:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set: any folder does, unless it has one called `folder` inside."""
        return path.is_dir() and ((path / "stimuli.csv").is_file() or not (path / cls.name / "stimuli.csv").is_file())

    @property
    def subjects(self) -> list[str]:
        """Subjects for which a file of responses or a design was found."""
        return list(self._subjects)

    def files(self) -> list[Path]:
        """Return stimuli, and every file of the subjects asked for."""
        files = list(self._table.files)
        for subject in self._chosen:
            files += self._files(subject).all()
        return sorted(set(files))

    def notes(self) -> list[str]:
        """Say what is odd about the stimuli."""
        notes = list(self._table.notes)
        if self._trials:
            shown = np.unique(np.concatenate([design.stimulus for design in self._trials.values()]))
            unseen = len(self._table.stimuli) - len(shown)
            if unseen:
                notes.append(f"{unseen} of {len(self._table.stimuli)} stimuli were shown to no one")
        if self._clock.offset:
            notes.append("times are counted from the start of each run; runs follow each other with 60 s of silence")
        return notes

    @cached_property
    def _stimuli(self) -> Stimuli:
        stimuli = self._table.stimuli
        if self._table.run is None or stimuli.onset is None:
            return stimuli
        return replace(stimuli, onset=self._clock.place(self._table.run, stimuli.onset))

    def stimuli(self, subject: str) -> Stimuli:
        """Return the stimuli, the same for everyone."""
        return self._stimuli

    def responses(self, subject: str) -> Responses:
        """Return the responses of a subject, checked against its design."""
        if subject not in self._known:
            self._known[subject] = self._read(subject)
        return self._known[subject]

    # Finding files ---------------------------------------------------------------------------------------------

    def _find_subjects(self) -> list[str]:
        """Return everyone who has responses or a design, in natural order."""
        pattern = self.settings.responses
        if Path(pattern).is_absolute():
            raise UserError(f"dataset.responses: '{pattern}' must be relative to {self.root}")
        found = _matching(self.root, pattern)
        if not found:
            names = sorted(entry.name for entry in self.root.iterdir())
            raise UserError(
                f"{self.root}: no file matches dataset.responses '{pattern}'",
                hint=f"the folder holds: {', '.join(names[:12]) or 'nothing'}",
            )
        design = self.settings.design
        if design is not None and "{subject}" in design and "{subject}" in pattern and not Path(design).is_absolute():
            found |= _matching(self.root, design)
        return sorted(found, key=natural)

    def _files(self, subject: str) -> SubjectFiles:
        return SubjectFiles(self.settings, self.root, subject)

    def _check_files(self) -> None:
        problems = Problems(self.root)
        for subject in self._chosen:
            for path in self._files(subject).all():
                if not path.is_file():
                    shown = path.relative_to(self.root) if path.is_relative_to(self.root) else path
                    problems.add(f"{subject}: {shown} is missing")
        problems.finish("leave the subject out with `dataset.subjects`, or change the paths of the recipe")

    # Designs ---------------------------------------------------------------------------------------------------

    def _read_recordings(self) -> None:
        settings = self.settings
        if settings.design is None:
            if self._table.run is not None:
                raise UserError(
                    f"{self._table.path}: has a column 'run', but `dataset.design: null` means one run",
                    hint="give a design with the columns run and time",
                )
            return
        self._recordings = {one: read_recording(self._files(one).path("design"), settings.t_r) for one in self._chosen}
        self._clock = common_clock(self._table, self._recordings)

    def _check_aligned(self) -> None:
        first = next(iter(self._chosen), None)
        for subject in self._chosen[1:]:
            assert first is not None
            for one, other in self._comparable(first, subject):
                if len(one) != len(other):
                    raise UserError(f"dataset.aligned_targets: {subject} has {len(other)} rows, {first} has {len(one)}")
                apart = np.flatnonzero(one != other)
                if len(apart):
                    raise UserError(
                        f"{self._files(subject).path('design')}: row {apart[0] + 1} differs from that of {first} "
                        f"('{other[apart[0]]}', not '{one[apart[0]]}')",
                        hint="`aligned_targets: true` averages rows over subjects: the tables must be equal",
                    )

    def _check_order(self, subject: str, names: list[str], path: Path) -> None:
        """Refuse a table whose columns stand elsewhere than those of the table that was read first."""
        self._named = self._named or (subject, names)
        first, known = self._named
        place = {name: index for index, name in enumerate(known)}
        moved = next((index for index, name in enumerate(names) if place.get(name, index) != index), None)
        if moved is not None:
            raise UserError(
                f"{path}: '{names[moved]}' is column {moved + 1}, in the table of {first} it is column "
                f"{place[names[moved]] + 1}",
                hint="`aligned_targets: true` averages columns over subjects: bring them into one order",
            )

    def _comparable(self, first: str, second: str) -> list[tuple[np.ndarray, np.ndarray]]:
        if self._trials:
            ids = np.array(self._table.stimuli.ids)
            a, b = self._trials[first], self._trials[second]
            return [(ids[a.stimulus], ids[b.stimulus]), (a.run, b.run)]
        if self._recordings:
            one, other = self._recordings[first], self._recordings[second]
            return [(one.run, other.run), (one.time, other.time)]
        return []

    def _design(self, files: SubjectFiles, targets: Targets, n_rows: int) -> Design:
        subject = files.subject
        if not self.settings.continuous:
            return self._trials[subject]
        assert self.settings.t_r is not None or subject in self._recordings
        recording = self._recordings.get(subject) or regular_recording(n_rows, self.settings.t_r or 0.0)
        if targets.t_r is not None and abs(targets.t_r - recording.t_r) > 1e-3:
            said = "dataset.t_r" if self.settings.t_r is not None else str(recording.path)
            raise UserError(
                f"{files.path('responses')}: the header gives {targets.t_r:g} s between rows, {said} says "
                f"{recording.t_r:g} s",
                hint="correct the wrong one; every later step depends on it",
            )
        account = covered(self._table, recording, subject)
        time = self._clock.place(recording.run, recording.time)
        return Design(
            recording.run, continuous=Continuous(time, recording.t_r), labels=recording.labels, path=recording.path,
            account=account,
        )  # fmt: skip

    # Responses -------------------------------------------------------------------------------------------------

    def _read(self, subject: str) -> Responses:
        files = self._files(subject)
        path, targets = files.path("responses"), files.targets()
        n_rows, n_all = targets.values.shape
        if self.settings.aligned_targets and targets.names is not None:
            self._check_order(subject, targets.names, path)
        design = self._design(files, targets, n_rows)
        if len(design) != n_rows:
            raise UserError(
                f"{path}: {n_rows} rows of responses, {design.path} has {len(design)} rows below its header"
            )
        keep, left_out = files.kept(targets)
        rois, roi_notes = files.rois(targets)
        if not keep.all():
            rois, dropped = without_empty(
                {name: mask[keep] for name, mask in rois.items()}, path, self.settings.empty_rois
            )
            roi_notes += dropped
        masker = targets.masker
        return Responses(
            subject=subject,
            data=targets.values if keep.all() else np.ascontiguousarray(targets.values[:, keep]),
            stimulus=design.stimulus,
            run=design.run,
            rois=with_all(rois, int(keep.sum()), path),
            continuous=design.continuous,
            masker=masker if masker is None or keep.all() else SubsetMasker(masker, keep),
            space=targets.space,
            nuisance=files.nuisance(n_rows),
            labels=design.labels,
            ceiling=files.per_target("ceiling", targets, keep),
            ncsnr=files.per_target("ncsnr", targets, keep),
            background=None if self.settings.background is None else read_background(files.path("background")),
            notes=[f"{n_rows} rows x {n_all} targets from {path.name}", *targets.notes, *roi_notes],
            account=[*design.account, *left_out],
        )


def _matching(root: Path, pattern: str) -> set[str]:
    """Return the names that stand for ``{subject}`` in the files that match a pattern."""
    if "{subject}" not in pattern:
        return {"subject"} if (root / pattern.replace("{hemi}", "L")).is_file() else set()
    parts = pattern.replace("{hemi}", "L").split("{subject}")
    expression = re.escape(parts[0]) + "(?P<subject>[^/]+)" + "(?P=subject)".join(re.escape(part) for part in parts[1:])
    found = set()
    for path in root.glob("*".join(glob.escape(part) for part in parts)):
        match = re.fullmatch(expression, path.relative_to(root).as_posix())
        if match and path.is_file():
            found.add(match["subject"])
    return found
