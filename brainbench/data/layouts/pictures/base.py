"""What data sets of repeated pictures share: stimuli by the names that rows have, and a test set."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from brainbench.core.digests import digest_array, digest_file
from brainbench.core.errors import UserError
from brainbench.data.account import RunUse, rows_by_run
from brainbench.data.array_cache import cached_arrays
from brainbench.data.base import Context, Dataset, Responses, Stimuli, TargetMasker, subjects_asked
from brainbench.data.images import SubsetMasker, with_all
from brainbench.data.layouts.matrices import flat_columns, name_some
from brainbench.data.layouts.nsd import count_showings, zscore_columns
from brainbench.data.layouts.nsd_files import SYNTHETIC
from brainbench.data.vision.clip import open_clip
from brainbench.data.vision.picture import image_of
from brainbench.recipes.data.pictures import PictureSettings


@dataclass(frozen=True)
class Shown:
    """What was shown in each row of a participant's responses.

    Attributes
    ----------
    names : list of str
        Of the picture or clip, a row each.
    test : bool ndarray (n_rows,)
        Whether it belongs to the authors' test set.
    run : str ndarray (n_rows,)
    session : str ndarray (n_rows,)
        Within which responses are z-scored; like `run` where the release does not say.
    """

    names: list[str]
    test: np.ndarray
    run: np.ndarray
    session: np.ndarray


@dataclass(frozen=True)
class Measured:
    """A participant's responses, ``(n_rows, n_targets)`` float32, and what is known of the targets."""

    values: np.ndarray
    rois: Mapping[str, np.ndarray] = field(default_factory=dict)
    ncsnr: np.ndarray | None = None
    masker: TargetMasker | None = None
    notes: list[str] = field(default_factory=list)


class Pictures(Dataset):
    """Participants see pictures or clips, those of the test set more often; a row is a showing.

    A subclass says what was shown (`_shown_to`), where it lies (`_file_of`), and reads the responses (`_measured`).
    Rows know their ``test_set`` (``test`` or ``train``) and ``repeat``; stimuli their ``concept`` where names have one.
    """

    modality: ClassVar[Literal["image", "clip"]] = "image"
    called: ClassVar[str] = "voxels"
    space: ClassVar[str] = "none"

    def __init__(self, settings: PictureSettings, root: Path, context: Context) -> None:
        self.settings, self.root, self.context = settings, root, context
        self.simulated = (root / SYNTHETIC).is_file()
        if not self.subjects:
            raise UserError(f"{root}: no participant; {self.expected} was expected")
        self._known: tuple[str, Responses] | None = None
        self._seen: dict[str, Shown] = {}
        self._digests: dict[Path, str] = {}

    # What a data set says ------------------------------------------------------------------------------------------

    @abstractmethod
    def _shown_to(self, subject: str) -> Shown:
        """Return what was shown to a participant."""

    @abstractmethod
    def _measured(self, subject: str, shown: Shown) -> Measured:
        """Return the responses of a participant."""

    @abstractmethod
    def _file_of(self, name: str) -> Path:
        """Return the file of a picture or clip."""

    @abstractmethod
    def _response_files(self, subject: str) -> list[Path]:
        """Return the files that responses and designs are read from."""

    def _concept_of(self, name: str) -> str:
        """Return what a picture shows, as its name says; empty where names do not."""
        return ""

    # The contract --------------------------------------------------------------------------------------------------

    def notes(self) -> list[str]:
        """Say what a copy is."""
        return [f"synthetic copy of the layout ({SYNTHETIC}): no brain was measured"] if self.simulated else []

    @cached_property
    def _chosen(self) -> list[str]:
        return subjects_asked(self.subjects, self.settings.subjects)

    def files(self) -> list[Path]:
        """Return responses, designs, and the pictures or clips that were shown."""
        found: set[Path] = set()
        for subject in self._chosen:
            found |= {*self._response_files(subject)}
            found |= {self._file_of(name) for name in self._names(subject)}
        return sorted(found)

    def _shown(self, subject: str) -> Shown:
        if subject not in self._seen:
            self._seen[subject] = self._shown_to(subject)
        return self._seen[subject]

    def _names(self, subject: str) -> list[str]:
        return sorted(set(self._shown(subject).names))

    def stimuli(self, subject: str) -> Stimuli:
        """Return what a participant was shown, by name."""
        names = self._names(subject)
        files = [self._file_of(name) for name in names]
        missing = [path for path in files if not path.is_file()]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(files)} {self.modality}s are missing: {name_some([str(p) for p in missing])}",
                hint="`dataset.stimuli` says in which folder they lie",
            )
        digests = self._digests_of(files)
        concepts = [self._concept_of(name) for name in names]
        clips = {k: open_clip(path) for k, path in enumerate(files)} if self.modality == "clip" else {}
        return Stimuli(
            ids=names,
            modality=self.modality,
            load=clips.__getitem__ if self.modality == "clip" else lambda i: image_of(files[i]),
            content_digests=digests,
            labels={"concept": np.array(concepts)} if any(concepts) else {},
            source=self.settings.stimuli,
        )

    def _digests_of(self, files: list[Path]) -> list[str]:
        """Return digests of files; each is hashed once, for there are thousands."""
        for path in files:
            if path not in self._digests:
                self._digests[path] = digest_file(path)
        return [self._digests[path] for path in files]

    def responses(self, subject: str) -> Responses:
        """Return one row a showing."""
        if self._known is None or self._known[0] != subject:  # one participant at a time: gigabytes each
            self._known = (subject, self._read(subject))
        return self._known[1]

    def _read(self, subject: str) -> Responses:
        shown = self._shown(subject)
        measured = self._measured(subject, shown)
        data = np.array(measured.values, dtype=np.float32)
        if data.ndim != 2 or len(data) != len(shown.names):
            raise UserError(
                f"{self._response_files(subject)[0]}: responses are {data.shape}; ({len(shown.names)}, {self.called}) "
                "was expected: one row a showing"
            )
        rows = np.asarray(~np.isnan(data).all(axis=1))
        names, data = np.array(shown.names)[rows], data[rows]
        run, session, test = shown.run[rows], shown.session[rows], shown.test[rows]
        absent = np.asarray(~np.isfinite(data).all(axis=0))
        data[:, absent] = 0
        if self.settings.standardize == "session":
            for one in dict.fromkeys(session.tolist()):
                part = data[session == one]
                zscore_columns(part)
                data[session == one] = part
        flat = flat_columns(data) & ~absent
        keep = ~(absent | flat)
        account = rows_by_run(subject, run, "showings")
        if not rows.all():
            account.append(RunUse(subject, left_out=f"{(~rows).sum()} of {len(rows)} showings", why="no response"))
        for dropped, why in ((absent, "not a number in some row"), (flat, "never change")):
            if dropped.any():
                account.append(RunUse(subject, left_out=f"{dropped.sum()} of {len(keep)} {self.called}", why=why))
        if not keep.any():
            raise UserError(f"{self._response_files(subject)[0]}: no {self.called} have numbers that change")
        place = {name: k for k, name in enumerate(self._names(subject))}
        stimulus = np.array([place[name] for name in names])
        rois = {name: mask[keep] for name, mask in measured.rois.items() if mask[keep].any()}
        masker = measured.masker
        n_test = len(set(names[test].tolist()))
        return Responses(
            subject=subject,
            data=data[:, keep] if not keep.all() else data,
            stimulus=stimulus,
            run=run,
            rois=with_all(rois, int(keep.sum()), self.root),
            masker=masker if masker is None or keep.all() else SubsetMasker(masker, keep),
            space=self.space,
            labels={"test_set": np.where(test, "test", "train"), "repeat": count_showings(stimulus)},
            ncsnr=None if measured.ncsnr is None else measured.ncsnr[keep],
            notes=[
                f"{len(names)} showings of {len(set(names.tolist()))} {self.modality}s; test set: {n_test} in "
                f"{int(test.sum())} showings",
                *measured.notes,
            ],
            account=account,
        )

    def _kept(self, kind: str, made_of: Mapping[str, object], path: Path, compute: object) -> dict[str, np.ndarray]:
        """Return arrays that take long to read, from the cache where they are there."""
        facts = {"file": digest_file(path), **made_of}
        return cached_arrays(self.context.cache, kind, facts, compute)  # type: ignore[arg-type]


def as_float32(values: np.ndarray) -> np.ndarray:
    """Return values as float32; what it cannot hold becomes infinite, and its target is left out."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def key_of(values: np.ndarray) -> str:
    """Return a digest of which targets are read, for the key of what is kept."""
    return digest_array(values)
