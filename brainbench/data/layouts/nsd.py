"""`nsd`: the Natural Scenes Dataset (Allen et al. 2022) in its official layout.

Nothing is held whole: images are read one at a time, betas a few volumes at a time and kept, masked, in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.core.remembered import remembered_digest
from brainbench.data.account import RunUse
from brainbench.data.array_cache import cached_arrays
from brainbench.data.base import Context, Dataset, Responses, Stimuli, subjects_asked
from brainbench.data.containers import opened_hdf5
from brainbench.data.images import SubsetMasker, check_grid, fitted_masker, open_image, read_mask, readable, with_all
from brainbench.data.layouts.matrices import flat_columns, load_npy, name_some
from brainbench.data.layouts.nsd_files import (
    N_IMAGES,
    SYNTHETIC,
    Design,
    read_design,
    read_facts,
    read_info,
    read_labels,
    read_rois,
    read_session,
)
from brainbench.recipes.datasets import NsdSettings

MASK = "nsdgeneral"
CAPTIONS = "COCO_73k_annots_curated.npy"


class Nsd(Dataset):
    """Eight participants each see up to 10,000 photographs three times; 1,000 of them are the same for all.

    Rows are trials of the voxels of ``nsdgeneral``; the row label ``test_set`` is ``train`` or the name of the test
    set, the label ``repeat`` counts the showings of an image from 1. Sessions are the runs. Every voxel count is held
    against the published one; a synthetic copy declares its own in ``synthetic_copy.json`` and is simulated data.
    """

    name = "nsd"
    expected = "nsddata/, nsddata_stimuli/ and nsddata_betas/"
    quick_stimuli = False  # 73,000 photographs are hashed once

    def __init__(self, settings: NsdSettings, root: Path, context: Context) -> None:
        self.settings = settings
        self.root = root
        self.context = context
        self.facts = read_facts(root)
        self.simulated = self.facts.synthetic
        self.brick = Brick(root / "nsddata_stimuli" / "stimuli" / "nsd" / "nsd_stimuli.hdf5")
        if not self.simulated and len(self.brick) != N_IMAGES:
            raise UserError(f"{self.brick.path}: {len(self.brick)} images, the data set has {N_IMAGES}")
        experiments = root / "nsddata" / "experiments" / "nsd"
        self._design_path, self._info_path = experiments / "nsd_expdesign.mat", experiments / "nsd_stim_info_merged.csv"
        self.design: Design = read_design(self._design_path, len(self.brick))
        self._coco = read_info(self._info_path, self.design) if self._info_path.is_file() else None
        self._captions = self._find_captions()
        self._known: tuple[str, Responses] | None = None

    @classmethod
    def open(cls, settings: NsdSettings, root: Path | None, context: Context) -> Nsd:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root, context)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return all((path / part).is_dir() for part in ("nsddata", "nsddata_stimuli", "nsddata_betas"))

    @property
    def subjects(self) -> list[str]:
        """Participants with a folder of betas.

        Raises
        ------
        UserError
            If nobody has these betas.
        """
        place = self.root / "nsddata_betas" / "ppdata"
        found = sorted(folder.parents[1].name for folder in place.glob(f"subj0[1-8]/func1pt8mm/{self.settings.betas}"))
        if not found:
            there = {folder.name for folder in place.glob("subj0[1-8]/func1pt8mm/*") if folder.is_dir()}
            near = did_you_mean(self.settings.betas, there)
            raise UserError(
                f"{place}: no participant has a folder '{self.settings.betas}'{near}",
                hint=f"there: {one_of(there) or 'none'}; `dataset.betas` chooses",
            )
        return found

    def files(self) -> list[Path]:
        """Return design, images, masks and betas."""
        files = [self._design_path, self.brick.path]
        files += [path for path in (self._info_path, self.root / SYNTHETIC) if path.is_file()]
        if self._captions is not None:
            files.append(self._captions)
        for subject in subjects_asked(self.subjects, self.settings.subjects):
            files += [self._roi(subject, name) for name in (MASK, *self.settings.rois)]
            tables = [self._label_table(subject, name) for name in self.settings.rois]
            files += [path for path in tables if path.is_file()]
            files += list(self._sessions(subject).values())
            if self._ncsnr(subject).is_file():
                files.append(self._ncsnr(subject))
        return files

    def notes(self) -> list[str]:
        """Say what a copy is, and what is not there."""
        notes = []
        if self.simulated:
            notes.append(f"synthetic copy of the layout ({SYNTHETIC}): no brain was measured")
        if self._coco is None:
            notes.append(f"{self._info_path.name} is not there: images have no COCO id")
        if self._captions is None:
            notes.append(f"{CAPTIONS} is not there: images have no captions")
        return notes

    # Paths -----------------------------------------------------------------------------------------------------

    def _roi(self, subject: str, name: str) -> Path:
        return self.root / "nsddata" / "ppdata" / subject / "func1pt8mm" / "roi" / f"{name}.nii.gz"

    def _label_table(self, subject: str, name: str) -> Path:
        return self.root / "nsddata" / "freesurfer" / subject / "label" / f"{name}.mgz.ctab"

    def _digest(self, path: Path) -> str | None:
        """Return the digest of a file that is too large to be hashed on every opening; None where nothing is kept."""
        return None if self.context.cache is None else remembered_digest(path, self.context.cache)

    def _betas(self, subject: str) -> Path:
        return self.root / "nsddata_betas" / "ppdata" / subject / "func1pt8mm" / self.settings.betas

    def _ncsnr(self, subject: str) -> Path:
        return self._betas(subject) / "ncsnr.nii.gz"

    def _find_captions(self) -> Path | None:
        if self.settings.captions is None:
            return self.root / CAPTIONS if (self.root / CAPTIONS).is_file() else None
        path = self.root / self.settings.captions
        if not path.is_file():
            raise UserError(f"dataset.captions: {path} does not exist")
        return path

    def _n_sessions(self, subject: str) -> int:
        """Return how many sessions are used, counted from the first."""
        if subject not in self.facts.sessions or subject not in self.facts.voxels:
            raise UserError(f"{self.root / SYNTHETIC}: says nothing of {subject}")
        recorded = self.facts.sessions[subject]
        if self.settings.sessions is not None:
            if self.settings.sessions > recorded:
                raise UserError(f"dataset.sessions: {self.settings.sessions}, {subject} has {recorded}")
            return self.settings.sessions
        return min(recorded, self.facts.first_sessions) if self.settings.test_set == "shared982" else recorded

    def _sessions(self, subject: str) -> dict[int, Path]:
        """Return the file of every session used, HDF5 before NIfTI.

        Raises
        ------
        UserError
            If one is missing and the recipe does not say that it may.
        """
        found, missing = {}, []
        for session in range(1, self._n_sessions(subject) + 1):
            stem = self._betas(subject) / f"betas_session{session:02d}"
            files = [Path(f"{stem}{suffix}") for suffix in (".hdf5", ".nii.gz")]
            there = [path for path in files if path.is_file()]
            if there:
                found[session] = there[0]
            else:
                missing.append(session)
        if missing and (self.settings.missing_sessions == "refuse" or not found):
            raise UserError(
                f"{self._betas(subject)}: no betas of session {name_some(missing)}",
                hint="download them, use fewer (`dataset.sessions`), or set `dataset.missing_sessions: skip`",
            )
        return found

    # Trials ----------------------------------------------------------------------------------------------------

    def _trials(self, subject: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the 73k id and the session of every trial used, in order."""
        shown, n = self.design.shown(subject), self.facts.trials
        sessions = list(self._sessions(subject))
        if sessions[-1] * n > len(shown):
            raise UserError(
                f"{self._design_path}: {len(shown)} trials, session {sessions[-1]} needs {sessions[-1] * n}"
            )
        rows = np.concatenate([np.arange((session - 1) * n, session * n) for session in sessions])
        return shown[rows], np.repeat(sessions, n)

    def _images(self, subject: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the distinct 73k ids in order of first showing, and the index of every trial's."""
        ids, first, back = np.unique(self._trials(subject)[0], return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return ids[order], rank[back.ravel()]

    def stimuli(self, subject: str) -> Stimuli:
        """Return the images that a participant saw, by 73k id counted from 0."""
        ids, _ = self._images(subject)
        shared = np.isin(ids, self.design.shared)
        labels = {"test_set": np.where(shared, self.settings.test_set, "train")}
        if self._coco is not None:
            labels["coco_id"] = self._coco[ids]
        return Stimuli(
            ids=[f"nsd-{index:05d}" for index in ids],
            modality="image",
            load=_Images(self.brick, ids),
            content_digests=self._digests(ids),
            labels=labels,
            source=self.brick.path.name,
            captions=None if self._captions is None else self._read_captions(self._captions, ids),
        )

    def _digests(self, ids: np.ndarray) -> list[str]:
        """Return digests of images; kept in the cache, for reading all of them takes minutes."""

        def compute() -> dict[str, np.ndarray]:
            rising = np.sort(ids)
            return {"digests": np.array([digest_array(self.brick[index]) for index in rising], dtype="S")}

        made_of = {"file": self._digest(self.brick.path), "ids": digest_array(np.sort(ids))}
        found = cached_arrays(self.context.cache, "image-digests", made_of, compute)["digests"]
        return [value.decode() for value in found[np.argsort(np.argsort(ids))]]

    def _read_captions(self, path: Path, ids: np.ndarray) -> list[tuple[str, ...]]:
        captions = load_npy(path)
        if captions.ndim != 2 or captions.dtype.kind != "U" or len(captions) != len(self.brick):
            raise UserError(
                f"{path}: {captions.dtype} of shape {captions.shape}; text, one row for each of {len(self.brick)} "
                "images, was expected"
            )
        return [tuple(str(text) for text in captions[index] if text.strip()) for index in ids]

    # Responses -------------------------------------------------------------------------------------------------

    def responses(self, subject: str) -> Responses:
        """Return one row per trial."""
        if self._known is None or self._known[0] != subject:  # one participant at a time: 2 GB each
            self._known = (subject, self._read(subject))
        return self._known[1]

    def _read(self, subject: str) -> Responses:
        settings = self.settings
        mask_path = self._roi(subject, MASK)
        sessions = self._sessions(subject)
        mask = self._mask(subject, mask_path)
        shown, session = self._trials(subject)
        _, stimulus = self._images(subject)
        test = np.isin(shown, self.design.shared)
        data = np.empty((len(shown), self.facts.voxels[subject]), dtype=np.float32)
        for number, path in sessions.items():
            data[session == number] = self._session(path, mask, mask_path)
        flat = flat_columns(data)
        if settings.standardize == "session":
            for number in sessions:
                first, last = np.flatnonzero(session == number)[[0, -1]]
                zscore_columns(data[first : last + 1])
        elif settings.standardize != "none":
            zscore_columns(data, ~test, stimulus if settings.standardize == "train-images" else None)
        rois = with_all(self._rois(subject, mask, mask_path), data.shape[1], mask_path)
        masker: Any = fitted_masker(mask)
        ncsnr = self._read_ncsnr(subject, mask, mask_path)
        notes = self._describe(subject, shown, list(sessions), test)
        account = self._account(subject, list(sessions))
        if flat.any():
            account.append(RunUse(subject, left_out=f"{flat.sum()} of {len(flat)} voxels", why="never change"))
            data, masker = data[:, ~flat], SubsetMasker(masker, ~flat)
            rois = {name: inside[~flat] for name, inside in rois.items() if inside[~flat].any()}
            ncsnr = None if ncsnr is None else ncsnr[~flat]
        return Responses(
            subject=subject,
            data=data,
            stimulus=stimulus,
            run=np.array([f"session{number:02d}" for number in session]),
            rois=rois,
            masker=masker,
            space="volume",
            labels={"test_set": np.where(test, settings.test_set, "train"), "repeat": count_showings(shown)},
            ncsnr=ncsnr,
            notes=notes,
            account=account,
        )

    def _account(self, subject: str, sessions: Sequence[int]) -> list[RunUse]:
        """Return the trials of every session used, and the sessions that are not."""
        rows = [RunUse(subject, f"session{one:02d}", "", f"{self.facts.trials} trials") for one in sessions]
        absent = sorted(set(range(1, self._n_sessions(subject) + 1)) - set(sessions))
        further = self.facts.sessions[subject] - self._n_sessions(subject)
        if absent:
            why = f"their betas are not there (`dataset.missing_sessions: skip`): {name_some(absent)}"
            rows.append(RunUse(subject, left_out=f"{len(absent)} sessions", why=why))
        if further:
            why = f"after session {self._n_sessions(subject)} (`dataset.sessions`, `dataset.test_set`)"
            rows.append(RunUse(subject, left_out=f"{further} sessions", why=why))
        return rows

    def _mask(self, subject: str, path: Path) -> Any:
        """Return ``nsdgeneral``, whose -1 (not cortex) and 0 (cortex) are both outside, as 0 and 1."""
        mask = read_mask(path)
        found, expected = int(np.asarray(mask.dataobj).sum()), self.facts.voxels[subject]
        if found != expected:
            where = f"{SYNTHETIC} declares" if self.simulated else "published are"
            raise UserError(
                f"{path}: {found} voxels above 0, {where} {expected}",
                hint="is it the mask of another participant, space or release?",
            )
        return mask

    def _session(self, path: Path, mask: Any, mask_path: Path) -> np.ndarray:
        """Return the betas of a session; a masked float32 copy is kept in the cache and mapped from there."""
        made_of = {
            "file": self._digest(path),
            "mask": digest_array(np.asarray(mask.dataobj)),
            "trials": self.facts.trials,
        }

        def compute() -> dict[str, np.ndarray]:
            return {"betas": read_session(path, mask, mask_path, self.facts.trials)}

        return cached_arrays(self.context.cache, "betas", made_of, compute)["betas"]

    def _rois(self, subject: str, mask: Any, mask_path: Path) -> dict[str, np.ndarray]:
        rois: dict[str, np.ndarray] = {}
        for name in self.settings.rois:
            path = self._roi(subject, name)
            if not path.is_file():
                near = [entry.name.removesuffix(".nii.gz") for entry in path.parent.glob("*.nii.gz")]
                raise UserError(
                    f"dataset.rois: {path} does not exist{did_you_mean(name, near)}",
                    hint="take it out of `dataset.rois`, or download it",
                )
            found = read_rois(path, read_labels(self._label_table(subject, name), name), mask, mask_path)
            twice = sorted(set(found) & set(rois))
            if twice:
                raise UserError(f"{path}: ROI '{twice[0]}' is in another file of `dataset.rois` too")
            rois |= found
        return rois

    def _read_ncsnr(self, subject: str, mask: Any, mask_path: Path) -> np.ndarray | None:
        path = self._ncsnr(subject)
        if not path.is_file():
            return None
        image = open_image(path)
        check_grid(image, path, mask, mask_path)
        with readable(path):
            values = np.asarray(image.dataobj, dtype=np.float32).reshape(mask.shape)[np.asarray(mask.dataobj) > 0]
        return np.clip(np.nan_to_num(values, nan=0.0), 0, None)

    def _describe(self, subject: str, shown: np.ndarray, sessions: Sequence[int], test: np.ndarray) -> list[str]:
        settings, facts = self.settings, self.facts
        n_test, n_train = len(np.unique(shown[test])), len(np.unique(shown[~test]))
        expected = facts.test_images.get(settings.test_set)
        usual = facts.first_sessions if settings.test_set == "shared982" else max(facts.sessions.values())
        if expected is not None and sessions == list(range(1, usual + 1)) and n_test != expected:
            raise UserError(
                f"{self._design_path}: {n_test} shared images in {usual} sessions, published are {expected}"
            )
        absent = sorted(set(range(1, self._n_sessions(subject) + 1)) - set(sessions))
        notes = [
            f"{len(sessions)} sessions of {facts.trials} trials, {settings.betas}, z-scored: {settings.standardize}",
            f"test set {settings.test_set}: {n_test} images in {test.sum()} trials; "
            f"training {n_train} images in {(~test).sum()} trials",
        ]
        if absent:
            notes.append(f"betas of session {name_some(absent)} are not there and were skipped")
        if not self._ncsnr(subject).is_file():
            notes.append("ncsnr.nii.gz is not there: ceilings come from repeats")
        return notes


class Brick:
    """Images of ``nsd_stimuli.hdf5``, read one at a time.

    Parameters
    ----------
    path : Path

    Raises
    ------
    UserError
        If it cannot be read or holds no RGB images of 8 bits.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with opened_hdf5(path, "imgBrick") as images:
            if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
                raise UserError(
                    f"{path}: 'imgBrick' is {images.dtype} of shape {images.shape}; uint8 (images, height, width, 3) "
                    "was expected"
                )
            self._n = int(images.shape[0])

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> np.ndarray:
        with opened_hdf5(self.path, "imgBrick") as images:
            return np.asarray(images[int(index)])


class _Images:
    """Loads the image of a row."""

    def __init__(self, brick: Brick, ids: np.ndarray) -> None:
        self.brick = brick
        self.ids = ids

    def __call__(self, index: int) -> np.ndarray:
        return self.brick[int(self.ids[index])]


def zscore_columns(
    data: np.ndarray, rows: np.ndarray | None = None, groups: np.ndarray | None = None, *, block: int = 1024
) -> None:
    """Give columns mean 0 and standard deviation 1 (n - 1), in place; a constant column becomes 0.

    Parameters
    ----------
    data : ndarray (n_rows, n_columns)
    rows : bool ndarray (n_rows,), optional
        Rows whose mean and standard deviation count.
    groups : ndarray (n_rows,), optional
        Image of each row: the mean and standard deviation are those of the images' means over `rows`.
    block : int
    """
    used = np.arange(len(data)) if rows is None else np.flatnonzero(rows)
    starts = np.arange(len(used))
    if groups is not None:
        used = used[np.argsort(groups[used], kind="stable")]
        starts = np.flatnonzero(np.append(True, np.diff(groups[used]) != 0))
    counts = np.diff(np.append(starts, len(used)))[:, None]
    for start in range(0, data.shape[1], block):
        part = data[:, start : start + block].astype(np.float64)
        chosen = np.add.reduceat(part[used], starts, axis=0) / counts
        spread = chosen.std(axis=0, ddof=1)
        data[:, start : start + block] = (part - chosen.mean(axis=0)) / np.where(spread > 0, spread, np.inf)


def count_showings(shown: np.ndarray) -> np.ndarray:
    """Return the how-manieth showing of its image each trial is, counted from 1."""
    order = np.argsort(shown, kind="stable")
    rising = shown[order]
    starts = np.flatnonzero(np.concatenate([[True], rising[1:] != rising[:-1]]))
    lengths = np.diff(np.append(starts, len(rising)))
    count = np.empty(len(shown), dtype=np.int64)
    count[order] = np.arange(len(rising)) - np.repeat(starts, lengths) + 1
    return count
