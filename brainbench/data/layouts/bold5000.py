"""`bold5000`: 5,000 photographs at 3 T (Chang et al. 2019), release 1 (ROIs by volume) or 2 (GLMsingle betas)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import digest_file
from brainbench.core.errors import UserError, did_you_mean
from brainbench.core.files import by_name
from brainbench.core.order import natural
from brainbench.data.account import RunUse, rows_by_run
from brainbench.data.base import Context, Dataset, Responses, Stimuli, subjects_asked
from brainbench.data.containers import opened_hdf5, read_mat
from brainbench.data.images import SubsetMasker, fitted_masker, read_mask, read_volumes, with_all
from brainbench.data.layouts.captions import read_captions
from brainbench.data.layouts.matrices import as_float, check_finite, flat_columns, load_npy, name_some
from brainbench.data.layouts.nsd import count_showings, zscore_columns
from brainbench.data.layouts.nsd_files import SYNTHETIC
from brainbench.data.tables import read_text
from brainbench.data.vision.picture import PICTURES, image_of
from brainbench.recipes.datasets import Bold5000Settings

SUBJECTS = ("CSI1", "CSI2", "CSI3", "CSI4")
TEST = "repeated113"
REPEAT = "rep_"
"""Begins the name of an image that was shown before, in the lists of what was shown."""
AREAS = ("EarlyVis", "LOC", "OPA", "PPA", "RSC")
ROIS = tuple(f"{side}{area}" for area, side in product(AREAS, ("LH", "RH")))
PAPER = ("TR1", "TR2", "TR3", "TR34", "TR4", "TR5")
"""Files whose mean is the response of the visio-linguistic study (Oota et al. 2022)."""
BETAS = "GLMbetas-TYPED-FITHRF-GLMDENOISE-RR"


@dataclass(frozen=True)
class Expected:
    """What is published of one participant, or declared of a synthetic copy.

    Attributes
    ----------
    trials : int
    trials_per_run : int
    voxels : mapping of str to int
        Voxels of each ROI in release 1; empty where nothing is published.
    shape : tuple of int or None
        Of the volumes of release 2.
    """

    trials: int
    trials_per_run: int
    voxels: Mapping[str, int]
    shape: tuple[int, ...] | None


_VOXELS = {  # left and right, in the order of AREAS
    "CSI1": (210, 285, 152, 190, 101, 187, 131, 200, 86, 143),
    "CSI2": (254, 241, 327, 561, 85, 95, 172, 198, 59, 278),
    "CSI3": (522, 696, 430, 597, 187, 205, 112, 161, 78, 116),
    "CSI4": (408, 356, 455, 417, 279, 335, 157, 187, 51, 142),
}
_SHAPES = {"CSI1": (71, 89, 72), "CSI2": (72, 92, 70), "CSI3": (72, 88, 67), "CSI4": (70, 89, 70)}
PUBLISHED = {
    subject: Expected(
        5254 if subject != "CSI4" else 3108, 37, dict(zip(ROIS, _VOXELS[subject], strict=True)), _SHAPES[subject]
    )
    for subject in SUBJECTS
}


@dataclass(frozen=True)
class Shown:
    """What was shown to one participant.

    Attributes
    ----------
    names : list of str
        File name of the image of every trial, without ``rep_``.
    run : ndarray (n_trials,) of str
    session : ndarray (n_trials,) of str or None
        None where the lists do not say.
    """

    names: list[str]
    run: np.ndarray
    session: np.ndarray | None


class Bold5000(Dataset):
    """Four participants see about 5,000 photographs, 113 of them several times.

    Rows are trials; the row label ``test_set`` is ``repeated113`` for every showing of an image that was repeated and
    ``train`` for the others. An image has one id however often it was shown (the lists name later showings
    ``rep_``...).
    """

    name = "bold5000"
    expected = "BOLD5000_Stimuli/ and ROIs/ (release 1) or BOLD5000_GLMsingle_ROI_betas/ (release 2)"

    def __init__(self, settings: Bold5000Settings, root: Path) -> None:
        self.settings = settings
        self.root = root
        self._facts, self.simulated = _read_expected(root / SYNTHETIC)
        self._shown: dict[str, Shown] = {}
        folder = self._stimuli / "Scene_Stimuli" / "Presented_Stimuli"
        collections = [path for path in sorted(folder.glob("*")) if path.is_dir()] if folder.is_dir() else []
        files = [file for path in collections for file in sorted(path.iterdir()) if file.is_file()]
        self._images = by_name(
            (file for file in files if file.suffix.lower() in PICTURES), lambda file: file.name, "picture"
        )
        if not self._images:
            raise UserError(f"{folder}: no images; COCO, ImageNet and Scene were expected there")
        given = None if settings.captions is None else root / settings.captions
        self._captions = read_captions(self._images, given, self._stimuli / "Image_Labels")

    @classmethod
    def open(cls, settings: Bold5000Settings, root: Path | None, context: Context) -> Bold5000:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return (path / "BOLD5000_Stimuli").is_dir()

    @property
    def subjects(self) -> list[str]:
        """Participants with responses of the release."""
        return [subject for subject in SUBJECTS if subject in self._facts and self._response_files(subject)]

    def files(self) -> list[Path]:
        """Return lists, responses and the images shown."""
        files: set[Path] = set()
        for subject in subjects_asked(self.subjects, self.settings.subjects):
            files |= {*self._list_files(subject), *self._response_files(subject)}
            files |= {self._images[name] for name in self._trials(subject).names}
            if self.settings.mask is not None:
                files.add(self._mask_path(subject))
        files |= {path for path in (self._repeated, self.root / SYNTHETIC) if path.is_file()}
        return sorted(files | set(self._captions.files))

    def notes(self) -> list[str]:
        """Say what a copy is, and where captions come from."""
        copy = [f"synthetic copy of the layout ({SYNTHETIC}): no brain was measured"] if self.simulated else []
        return [*copy, self._captions.note]

    # Paths -----------------------------------------------------------------------------------------------------

    @property
    def _stimuli(self) -> Path:
        return self.root / "BOLD5000_Stimuli"

    @property
    def _repeated(self) -> Path:
        return self._stimuli / "Scene_Stimuli" / "repeated_stimuli_113_list.txt"

    def _mask_path(self, subject: str) -> Path:
        assert self.settings.mask is not None
        return self.root / self.settings.mask.replace("{subject}", subject)

    def _response_files(self, subject: str) -> list[Path]:
        """Return the files of responses: one of release 1, one for each ROI or session of release 2."""
        if self.settings.release == 1:
            windows = PAPER if self.settings.response == "paper" else (self.settings.response,)
            found = [self._window(subject, window) for window in windows]
            return [path for path in found if path is not None] if all(found) else []
        if self.settings.mask is not None:
            return sorted(self.root.rglob(f"{subject}_{BETAS}_ses-*.nii.gz"), key=lambda path: natural(path.name))
        folder = self.root / "BOLD5000_GLMsingle_ROI_betas" / "py"
        return sorted(folder.glob(f"{subject}_{BETAS}_allses_*.npy"))

    def _window(self, subject: str, window: str) -> Path | None:
        """Return the file of one volume after the images (release 1), if there is one."""
        folder, stem = self.root / "ROIs" / subject, f"{subject}_ROIs_{window}"
        files = [folder / "mat" / f"{stem}.mat", folder / "h5" / f"{stem}.h5"]
        return next((path for path in files if path.is_file()), None)

    def _run_lists(self, subject: str) -> list[Path]:
        """Return the lists of every run, in order: ``CSI1/CSI1_sess01/CSI_sess01_run01.txt``."""
        folder = self._stimuli / "Stimuli_Presentation_Lists" / subject
        found = folder.glob(f"{subject}_sess*/*_run*.txt")
        return sorted(found, key=lambda path: natural(path.relative_to(folder).as_posix()))

    def _whole_list(self, subject: str) -> Path:
        """Return the list of all trials that belongs to the release."""
        if self.settings.release == 1:
            return self.root / "ROIs" / "stim_lists" / f"{subject.replace('CSI', 'CSI0')}_stim_lists.txt"
        return self._stimuli / "Stimuli_Presentation_Lists" / subject / f"{subject}_imgnames.txt"

    def _list_files(self, subject: str) -> list[Path]:
        whole = self._whole_list(subject)
        return [*self._run_lists(subject), *([whole] if whole.is_file() else [])]

    # Trials ----------------------------------------------------------------------------------------------------

    def _trials(self, subject: str) -> Shown:
        if subject not in self._shown:
            self._shown[subject] = self._read_trials(subject)
        return self._shown[subject]

    def _read_trials(self, subject: str) -> Shown:
        expected, whole, lists = self._facts[subject], self._whole_list(subject), self._run_lists(subject)
        session: np.ndarray | None = None
        if lists:
            shown = [_read_list(path) for path in lists]
            names = [name for one in shown for name in one]
            sessions = [path.parent.name.rpartition("_")[2] for path in lists]
            numbers = [path.stem.rpartition("_")[2] for path in lists]
            lengths = [len(one) for one in shown]
            session = np.repeat(sessions, lengths)
            run = np.repeat([f"{a}_{b}" for a, b in zip(sessions, numbers, strict=True)], lengths)
            source = lists[0].parents[1]
        elif whole.is_file():
            names, source = _read_list(whole), whole
            run = np.array([f"run{1 + trial // expected.trials_per_run:03d}" for trial in range(len(names))])
        else:
            folder = self._stimuli / "Stimuli_Presentation_Lists" / subject
            raise UserError(f"{whole}: no such file, and no list of runs in {folder}")
        if len(names) != expected.trials:
            raise UserError(f"{source}: {len(names)} trials of {subject}, {expected.trials} were expected")
        if lists and whole.is_file() and (listed := _read_list(whole)) != names:
            if len(listed) != len(names):
                raise UserError(f"{whole}: {len(listed)} trials, the lists of the runs in {source} have {len(names)}")
            differs = next(i for i, (a, b) in enumerate(zip(listed, names, strict=True)) if a != b)
            raise UserError(f"{whole}:{differs + 1}  differs from the lists of the runs in {source}")
        for trial, name in enumerate(names):
            if name not in self._images:
                raise UserError(
                    f"{source}: trial {trial + 1} shows '{name}', which is not among the {len(self._images)} images "
                    f"of {self._stimuli}{did_you_mean(name, self._images)}"
                )
        return Shown(names, run, session)

    def _test_names(self, subject: str) -> tuple[set[str], str]:
        """Return the images of the test set, and where it is known from."""
        if self._repeated.is_file():
            return set(_read_list(self._repeated)), self._repeated.name
        names, counts = np.unique(self._trials(subject).names, return_counts=True)
        return set(names[counts > 1].tolist()), f"the showings of {subject}, for {self._repeated.name} is not there"

    def stimuli(self, subject: str) -> Stimuli:
        """Return the images that a participant saw, in order of first showing."""
        names = list(dict.fromkeys(self._trials(subject).names))
        test, _ = self._test_names(subject)
        files = [self._images[name] for name in names]
        return Stimuli(
            ids=names,
            modality="image",
            load=lambda index: image_of(files[index]),
            content_digests=[digest_file(file) for file in files],
            labels={
                "collection": np.array([file.parent.name for file in files]),
                "test_set": np.where([name in test for name in names], TEST, "train"),
            },
            source="BOLD5000_Stimuli",
            captions=[self._captions.texts.get(name, ()) for name in names] if self._captions.texts else None,
        )

    def responses(self, subject: str) -> Responses:
        """Return one row per trial."""
        shown = self._trials(subject)
        place = {name: index for index, name in enumerate(dict.fromkeys(shown.names))}
        stimulus = np.array([place[name] for name in shown.names])
        masker: Any = None
        if self.settings.release == 1:
            parts = self._read_release_1(subject)
        elif self.settings.mask is None:
            parts = self._read_packed(subject)
        else:
            parts, masker = self._read_volumes(subject, shown)
        data = np.concatenate(list(parts.values()), axis=1).astype(np.float32)
        if len(data) != len(stimulus):
            raise UserError(f"{subject}: {len(data)} rows of responses, the lists show {len(stimulus)} trials")
        rois = _joined({name: values.shape[1] for name, values in parts.items()}) if masker is None else {}
        absent = np.isnan(data).any(axis=0)  # a voxel that is NaN in one session has no betas there
        if absent.all():
            raise UserError(f"{subject}: no voxel of the mask has a beta in every session")
        flat = flat_columns(data) & ~absent
        self._standardize(subject, data, shown)
        test, known_from = self._test_names(subject)
        in_test = np.array([name in test for name in shown.names])
        notes = [
            f"release {self.settings.release}, {len(data)} trials, z-scored: {self.settings.standardize}",
            f"test set {TEST}: {len(set(stimulus[in_test]))} images in {in_test.sum()} trials, from {known_from}; "
            f"training {len(set(stimulus[~in_test]))} images",
        ]
        account = [
            replace(row, session="" if shown.session is None else row.run.partition("_")[0])
            for row in rows_by_run(subject, shown.run, "trials")
        ]
        for dropped, why in ((absent, "not estimated in every session: NaN"), (flat, "never change")):
            if dropped.any():
                account.append(RunUse(subject, left_out=f"{dropped.sum()} of {len(flat)} voxels", why=why))
        keep = ~(absent | flat)
        if not keep.all():
            data = data[:, keep]
            rois = {name: inside[keep] for name, inside in rois.items() if inside[keep].any()}
            masker = None if masker is None else SubsetMasker(masker, keep)
        return Responses(
            subject=subject,
            data=data,
            stimulus=stimulus,
            run=shown.run,
            rois=with_all(rois, data.shape[1], self.root),
            masker=masker,
            space="none" if masker is None else "volume",
            labels={"test_set": np.where(in_test, TEST, "train"), "repeat": count_showings(stimulus)},
            notes=notes,
            account=account,
        )

    def _standardize(self, subject: str, data: np.ndarray, shown: Shown) -> None:
        if self.settings.standardize == "none":
            return
        groups = shown.run if self.settings.standardize == "run" else shown.session
        if groups is None:
            folder = self._stimuli / "Stimuli_Presentation_Lists" / subject
            raise UserError(
                f"dataset.standardize: 'session' needs the lists of the runs, which say where sessions begin; "
                f"{folder}/{subject}_sess*/ holds none",
                hint="download BOLD5000_Stimuli whole, or set `dataset.standardize: run`",
            )
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            zscore_columns(data[rows[0] : rows[-1] + 1])

    # Responses -------------------------------------------------------------------------------------------------

    def _read_release_1(self, subject: str) -> dict[str, np.ndarray]:
        expected, paths = self._facts[subject], self._response_files(subject)
        parts: dict[str, np.ndarray] = {}
        for path in paths:
            for name, values in _roi_arrays(path):
                values = as_float(values, path)
                if values.ndim != 2 or values.shape[1] != expected.voxels[name]:
                    raise UserError(f"{path}: '{name}' is {values.shape}, {expected.voxels[name]} voxels were expected")
                if name in parts and len(values) != len(parts[name]):
                    raise UserError(f"{path}: '{name}' has {len(values)} rows, {paths[0].name} has {len(parts[name])}")
                check_finite(values, path, f"{name} row", "voxel")
                parts[name] = values / len(paths) + parts.get(name, 0)
        return parts

    def _read_packed(self, subject: str) -> dict[str, np.ndarray]:
        found = {path.stem.rpartition("_")[2]: path for path in self._response_files(subject)}
        missing = [name for name in ROIS if name not in found]
        if missing:
            folder = next(iter(found.values())).parent
            raise UserError(f"{folder}: no {subject}_{BETAS}_allses_{missing[0]}.npy ({len(missing)} ROIs missing)")
        parts = {}
        for name in ROIS:
            values = as_float(load_npy(found[name]), found[name])
            if values.ndim != 2:
                raise UserError(f"{found[name]}: shape {values.shape}, (trials, voxels) was expected")
            check_finite(values, found[name], "trial", "voxel")
            parts[name] = values
        if len({len(values) for values in parts.values()}) > 1:
            raise UserError(f"{subject}: ROIs differ in trials: { {name: len(v) for name, v in parts.items()} }")
        return parts

    def _read_volumes(self, subject: str, shown: Shown) -> tuple[dict[str, np.ndarray], Any]:
        files, mask_path, shape = self._response_files(subject), self._mask_path(subject), self._facts[subject].shape
        mask = read_mask(mask_path)
        if shape is not None and mask.shape != shape:
            raise UserError(f"{mask_path}: the mask is {mask.shape}, volumes of {subject} are {shape}")
        parts = [read_volumes(path, mask, mask_path) for path in files]
        if shown.session is not None:
            _, first, counts = np.unique(shown.session, return_index=True, return_counts=True)
            expected = counts[np.argsort(first)].tolist()
            if [len(part) for part in parts] != expected:
                raise UserError(
                    f"{subject}: sessions of {name_some([len(part) for part in parts])} volumes, the lists have "
                    f"{name_some(expected)} trials"
                )
        return {"volumes": np.concatenate(parts)}, fitted_masker(mask)


def _read_expected(path: Path) -> tuple[Mapping[str, Expected], bool]:
    """Return what to expect of each participant, and whether the folder declares itself a synthetic copy."""
    if not path.is_file():
        return PUBLISHED, False
    try:
        declared = json.loads(read_text(path))
        expected = {
            str(subject): Expected(
                int(one["trials"]), int(one["trials_per_run"]), dict(one["voxels"]), tuple(one["shape"])
            )
            for subject, one in declared["subjects"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not readable ({type(error).__name__}: {error})",
            hint="it declares subjects with trials, trials_per_run, voxels by ROI, and the shape of volumes",
        ) from None
    return expected, True


def _read_list(path: Path) -> list[str]:
    """Return the image names of a list, one a line, without the prefix of repeats."""
    names = [line.strip().removeprefix(REPEAT) for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise UserError(f"{path}: the list is empty")
    return names


def _roi_arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the ROIs of a file of release 1."""
    if path.suffix == ".h5":
        for name in ROIS:
            with opened_hdf5(path, name) as values:
                yield name, np.asarray(values)
        return
    yield from read_mat(path, ROIS).items()


def _joined(widths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return masks of both sides of every area, and of each side."""
    edges = np.cumsum([0, *widths.values()])
    column = np.arange(edges[-1])
    sides = {
        name: (column >= start) & (column < end) for name, start, end in zip(widths, edges[:-1], edges[1:], strict=True)
    }
    return {**{area: sides[f"LH{area}"] | sides[f"RH{area}"] for area in AREAS}, **sides}
