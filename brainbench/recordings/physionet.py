"""EEG Motor Movement/Imagery (PhysioNet, OpenNeuro ds004362) in the folder layout of `mne.datasets.eegbci`.

Files are read where they lie; nothing is downloaded.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.recipes.datasets import PhysionetMiSettings
from brainbench.recordings.base import RecordingDataset, relative
from brainbench.recordings.channels import set_types
from brainbench.recordings.events import Events, annotated_events, named_events
from brainbench.recordings.reading import read_raw, require_mne
from brainbench.recordings.recording import Recording

if TYPE_CHECKING:
    import mne

INNER = Path("MNE-eegbci-data/files/eegmmidb/1.0.0")
_SIDES = {"T1": "left_fist", "T2": "right_fist"}
_LIMBS = {"T1": "both_fists", "T2": "both_feet"}
RUNS: dict[str, tuple[tuple[int, ...], dict[str, str]]] = {
    "executed_left_right": ((3, 7, 11), _SIDES),
    "imagery_left_right": ((4, 8, 12), _SIDES),
    "left_right": ((3, 4, 7, 8, 11, 12), _SIDES),
    "executed_fists_feet": ((5, 9, 13), _LIMBS),
    "imagery_fists_feet": ((6, 10, 14), _LIMBS),
    "fists_feet": ((5, 6, 9, 10, 13, 14), _LIMBS),
    "rest_left_right": ((1, 2, 3, 4, 7, 8, 11, 12), _SIDES),
    "eyes_open_closed": ((1, 2), {"R01": "eyes_open", "R02": "eyes_closed"}),
}
"""Paradigm -> runs, and what the annotations T1 and T2, or whole runs, mean in them."""
FAULTY = {
    "S088": "recorded at 128 Hz, or with other timing",
    "S092": "recorded at 128 Hz, or with other timing",
    "S100": "recorded at 128 Hz, or with other timing",
    "S089": "faulty annotations",
    "S104": "faulty annotations",
}
"""Subjects that the field leaves out."""
SFREQ = 160.0
_SUBJECT = re.compile(r"^S\d{3}$")
_FILE = re.compile(r"^(?P<subject>S\d{3})R(?P<run>\d{2})$")


class PhysionetMi(RecordingDataset):
    """Executed and imagined movements, 64 channels."""

    name = "physionet-mi"
    montage = "standard_1005"
    expected = "SNNN/SNNNRMM.edf, or MNE-eegbci-data/files/eegmmidb/1.0.0/SNNN above them"

    def __init__(self, settings: PhysionetMiSettings, root: Path) -> None:
        super().__init__(settings)
        self.root = _inside(root)
        self.runs, self.labels = RUNS[settings.paradigm]
        self._subjects, self._notes = self._find()

    @classmethod
    def open(cls, settings: PhysionetMiSettings, root: Path | None, context: Context) -> PhysionetMi:  # noqa: D102
        require_mne()
        assert root is not None
        return cls(settings, root)

    @classmethod
    def looks_like(cls, path: Path) -> bool:  # noqa: D102
        folder = _inside(path)
        return folder.is_dir() and any(_SUBJECT.match(p.name) for p in folder.iterdir())

    def _find(self) -> tuple[list[str], list[str]]:
        found, notes = [], []
        for folder in sorted(p for p in self.root.iterdir() if p.is_dir() and _SUBJECT.match(p.name)):
            missing = [path.name for path in self.paths(folder.name) if not path.is_file()]
            if folder.name in FAULTY:
                notes.append(f"{folder.name} is left out: {FAULTY[folder.name]}")
            elif missing:
                notes.append(f"{folder.name} is left out: {', '.join(missing)} not found")
            else:
                found.append(folder.name)
        return found, notes

    def paths(self, subject: str) -> list[Path]:  # noqa: D102
        return [self.root / subject / f"{subject}R{run:02d}.edf" for run in self.runs]

    @property
    def subjects(self) -> list[str]:  # noqa: D102
        return self._subjects

    def notes(self) -> list[str]:  # noqa: D102
        return list(self._notes)

    def recordings(self, subject: str) -> list[Recording]:  # noqa: D102
        found = [self._read(path) for path in self.paths(subject)]
        for one in found:
            if one.raw.info["sfreq"] != SFREQ:
                raise UserError(
                    f"{one.where}: {one.raw.info['sfreq']:g} samples per second; this data set has {SFREQ:g}"
                )
        return found

    def _read_new(self, path: Path) -> tuple[str, Recording]:
        named = _FILE.match(path.stem)
        run = int(named["run"]) if named else 0
        for paradigm, (runs, labels) in RUNS.items():
            if run in runs and "T1" in labels and labels != self.labels:
                raise UserError(
                    f"{path}: run {run} is of {paradigm}, where T1 and T2 are {' and '.join(labels.values())}; "
                    f"the decoder tells {' from '.join(self.labels.values())}",
                    hint=f"runs with these: {', '.join(f'R{n:02d}' for n in self._alike())}",
                )
        recording = self._read(path)
        return (named["subject"], recording) if named else ("", replace(recording, run=""))

    def _alike(self) -> list[int]:
        return sorted(run for runs, labels in RUNS.values() if labels == self.labels for run in runs)

    def _read(self, path: Path) -> Recording:
        import mne

        raw, said = read_raw(path)
        mne.datasets.eegbci.standardize(raw)
        set_types(raw, self.settings.channel_types, relative(path, self.root))
        if path.stem[4:] in self.labels:
            events = self._one_after_the_other(raw, self.labels[path.stem[4:]])
        else:
            events = named_events(annotated_events(raw), self.labels, "no class of the paradigm")
        return Recording(
            raw=raw,
            onsets=events.onsets,
            labels=events.labels,
            session="0",
            run=path.stem[4:],
            where=relative(path, self.root),
            left_out=tuple(events.left_out),
            said=tuple(said),
        )

    def _one_after_the_other(self, raw: mne.io.BaseRaw, label: str) -> Events:
        """Return events of trials that fill a run and share no sample, at the rate that trials will have."""
        low, high = self.settings.tmin, self.settings.tmax
        rate = self.settings.sfreq or raw.info["sfreq"]
        step = (round((high - low) * rate) + 1) / rate
        last = raw.times[-1] - high + 0.5 / raw.info["sfreq"]  # a trial that ends with the run is whole
        onsets = np.arange(max(-low, 0.0), last, step)
        return Events(onsets, np.full(len(onsets), label))


def _inside(root: Path) -> Path:
    """Return the folder that holds the subjects, from any of the folders above it."""
    for depth in range(len(INNER.parts) + 1):
        folder = root.joinpath(*INNER.parts[depth:])
        if folder.is_dir() and any(_SUBJECT.match(p.name) for p in folder.iterdir() if p.is_dir()):
            return folder
    return root
