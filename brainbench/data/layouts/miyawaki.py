"""`miyawaki2008`: visual image reconstruction (Miyawaki et al. 2008), 12 x 12 patterns and visual voxels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.core.errors import UserError
from brainbench.core.files import by_name
from brainbench.data.account import RunUse, rows_by_run
from brainbench.data.base import Context, Dataset, Responses, Stimuli, subjects_asked
from brainbench.data.images import check_grid, load_image
from brainbench.recipes.datasets import MiyawakiSettings

T_R = 2.0
SHIFT_VOLUMES = 2
"""Volumes by which responses lag behind the stimulus (4 s), as in nilearn's example."""


@dataclass(frozen=True)
class Trials:
    """Trials of one participant."""

    patterns: np.ndarray
    data: np.ndarray
    run: np.ndarray
    style: np.ndarray
    masker: Any = None
    rois: Mapping[str, np.ndarray] | None = None
    notes: list[str] = field(default_factory=list)
    cut: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Blocks of each run that begin after the last volume, and that the last volume cuts."""


class Miyawaki(Dataset):
    """Letters and shapes of flickering patches, seen by one or two participants.

    Reads ``sub-*_figures.npz`` (z-scored responses per trial: ``fmri``, ``pattern12``, ``run``, ``stim_type``), or the
    folder of nilearn's ``fetch_miyawaki2008``. Every figure run has one letter style, which the leak certificate
    names: hold out the run as well as the image.
    """

    name = "miyawaki2008"
    expected = "sub-*_figures.npz, or nilearn's func/, label/ and mask/"

    def __init__(self, settings: MiyawakiSettings, root: Path) -> None:
        self.settings = settings
        self.root = root
        figures = sorted(root.glob("sub-*_figures.npz"))
        self._npz = by_name(figures, lambda path: path.name.split("_")[0], "participant")
        if self._npz and settings.stimuli != "figures":
            raise UserError(
                f"dataset.stimuli: '{settings.stimuli}' needs the random runs, which only nilearn's layout has; "
                f"{root} holds figure trials"
            )
        self._trials: dict[str, Trials] = {}

    @classmethod
    def open(cls, settings: MiyawakiSettings, root: Path | None, context: Context) -> Miyawaki:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return any(path.glob("sub-*_figures.npz")) or ((path / "func").is_dir() and (path / "label").is_dir())

    @property
    def subjects(self) -> list[str]:
        """Participants found."""
        return list(self._npz) or ["sub-01"]

    def files(self) -> list[Path]:
        """Return the files read."""
        if self._npz:
            return [self._npz[subject] for subject in subjects_asked(self.subjects, self.settings.subjects)]
        runs = [*self._nilearn("func", "*.nii.gz"), *self._nilearn("label", "*.csv")]
        return [*runs, self._mask, *self._roi_files]

    def _load(self, subject: str) -> Trials:
        if subject not in self._trials:
            self._trials[subject] = _read_npz(self._npz[subject]) if self._npz else self._read_nilearn()
        return self._trials[subject]

    def stimuli(self, subject: str) -> Stimuli:
        """Return the distinct images of a participant, in order of first showing."""
        trials = self._load(subject)
        first, _ = _distinct(trials.patterns)
        patterns = trials.patterns[first].astype(np.float32)
        shape = (int(np.sqrt(patterns.shape[1])),) * 2
        return Stimuli(
            ids=[f"image-{index + 1:03d}" for index in range(len(first))],
            modality="array",
            load=lambda index: patterns[index].reshape(shape),
            content_digests=[digest_array(pattern) for pattern in patterns],
            labels={"style": trials.style[first]},
            source=f"patterns of {shape[0]} x {shape[1]} patches",
        )

    def responses(self, subject: str) -> Responses:
        """Return one row per trial."""
        trials = self._load(subject)
        _, index = _distinct(trials.patterns)
        n_targets = trials.data.shape[1]
        rois = {"all": np.ones(n_targets, dtype=bool), **(trials.rois or {})}
        return Responses(
            subject=subject,
            data=trials.data,
            stimulus=index,
            run=trials.run.astype(str),
            rois=rois,
            masker=trials.masker,
            space="volume" if trials.masker is not None else "none",
            labels={"style": trials.style},
            notes=[
                *trials.notes,
                f"{len(index)} trials of {index.max() + 1} images in {len(np.unique(trials.run))} runs",
            ],
            account=_account(subject, trials),
        )

    # nilearn's layout ------------------------------------------------------------------------------------------

    @property
    def _mask(self) -> Path:
        return self.root / "mask" / "mask.nii.gz"

    @property
    def _roi_files(self) -> list[Path]:
        return [path for path in sorted((self.root / "mask").glob("*.nii.gz")) if path != self._mask]

    def _nilearn(self, folder: str, pattern: str) -> list[Path]:
        wanted = {"figures": ("figure",), "random": ("random",), "both": ("figure", "random")}[self.settings.stimuli]
        return [
            path for path in sorted((self.root / folder).glob(pattern)) if any(word in path.name for word in wanted)
        ]

    def _read_nilearn(self) -> Trials:
        """Read nilearn's runs: detrended and z-scored per run, shifted, averaged over each trial's volumes."""
        from nilearn.maskers import NiftiMasker

        functional, labels = self._nilearn("func", "*.nii.gz"), self._nilearn("label", "*.csv")
        if not functional or len(functional) != len(labels):
            raise UserError(
                f"{self.root}: {len(functional)} runs in func/ and {len(labels)} tables in label/ for "
                f"stimuli '{self.settings.stimuli}'; they must match"
            )
        # nilearn reads the brackets of a path as a pattern: it is given images.
        mask = load_image(self._mask)
        masker = NiftiMasker(mask_img=mask, detrend=True, standardize="zscore_sample", t_r=T_R).fit()
        patterns, rows, runs, styles = [], [], [], []
        ends: dict[str, tuple[int, int]] = {}
        for path, table in zip(functional, labels, strict=True):
            name = path.name.split(".")[0]
            if not table.name.startswith(name):
                raise UserError(f"{table}: its name is not that of the run it is read for, {path.name}")
            lost, cut = 0, 0
            image = load_image(path)
            check_grid(image, path, mask, self._mask)
            data = masker.transform(image).astype(np.float32)
            shown = _read_labels(table)
            if len(shown) != len(data):
                raise UserError(f"{table}: {len(shown)} rows, {path.name} has {len(data)} volumes")
            for start, end in _blocks(shown):
                window = slice(start + SHIFT_VOLUMES, min(end + SHIFT_VOLUMES, len(data)))
                if window.start >= window.stop:
                    lost += 1
                    continue
                cut += end + SHIFT_VOLUMES > len(data)
                patterns.append(shown[start])
                rows.append(data[window].mean(axis=0))
                runs.append(name)
                styles.append("random" if "random" in path.name else "figure")
            ends[name] = (lost, cut)
        rois, left_out = {}, []
        for name, path in by_name(self._roi_files, lambda path: path.name.split(".")[0], "region").items():
            inside = _roi(masker, path)
            if inside.any():
                rois[name] = inside
            else:
                left_out.append(path.name)
        notes = (
            [f"masks without a voxel of mask.nii.gz on its grid are no ROI: {', '.join(left_out)}"] if left_out else []
        )
        return Trials(np.array(patterns), np.array(rows), np.array(runs), np.array(styles), masker, rois, notes, ends)


def _account(subject: str, trials: Trials) -> list[RunUse]:
    """Return the trials of every run, and those that the end of the recording cuts."""
    rows = []
    for row in rows_by_run(subject, trials.run, "trials"):
        rows.append(row)
        lost, cut = trials.cut.get(row.run, (0, 0))
        why = f"their response lies beyond the last volume ({SHIFT_VOLUMES} volumes after the stimulus)"
        rows += [replace(row, used="", left_out=what, why=why) for what in _blocks_of(lost, cut)]
    return rows


def _blocks_of(lost: int, cut: int) -> list[str]:
    return [*([f"{lost} blocks"] if lost else []), *([f"the end of {cut} blocks"] if cut else [])]


def _read_npz(path: Path) -> Trials:
    try:
        with np.load(path, allow_pickle=False) as stored:
            missing = {"fmri", "pattern12", "run", "stim_type"} - set(stored.files)
            if missing:
                raise UserError(f"{path}: no array {', '.join(sorted(missing))}; it has {', '.join(stored.files)}")
            arrays = {name: stored[name] for name in ("fmri", "pattern12", "run", "stim_type")}
    except UserError:
        raise
    except Exception as error:  # zip and zlib raise errors of many kinds where bytes are damaged
        raise UserError(f"{path}: not a readable .npz file ({error})") from None
    n = len(arrays["fmri"])
    for name, values in arrays.items():
        if len(values) != n:
            raise UserError(f"{path}: '{name}' has {len(values)} rows, 'fmri' has {n}")
    if arrays["pattern12"].shape[1:] != (144,):
        raise UserError(f"{path}: 'pattern12' has {arrays['pattern12'].shape[1:]} values a row, expected 144 (12 x 12)")
    bad = np.argwhere(~np.isfinite(arrays["fmri"]))
    if len(bad):
        raise UserError(f"{path}: 'fmri' is not finite at row {bad[0][0]}, voxel {bad[0][1]}")
    return Trials(arrays["pattern12"], arrays["fmri"], arrays["run"], arrays["stim_type"])


def _distinct(patterns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first trial of every distinct image, in order, and the image of every trial."""
    _, first, index = np.unique(patterns, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[index.ravel()]


def _read_labels(path: Path) -> np.ndarray:
    """Read a label table of nilearn's layout: a row per volume, a column per patch, -1 where nothing is shown.

    The table goes down the columns of an image, as MATLAB does (nilearn's examples reshape it with ``order="F"``).

    Returns
    -------
    int ndarray (n_volumes, side * side)
        Patches row by row.
    """
    try:
        values = np.loadtxt(path, dtype=int, delimiter=",", ndmin=2)
    except ValueError as error:
        raise UserError(f"{path}: not a table of whole numbers ({error})") from None
    side = round(np.sqrt(values.shape[1]))
    if side**2 != values.shape[1]:
        raise UserError(f"{path}: {values.shape[1]} columns; a square of patches was expected (100: 10 x 10)")
    upright: np.ndarray = values.reshape(-1, side, side).swapaxes(1, 2).reshape(values.shape)
    return upright


def _blocks(shown: np.ndarray) -> list[tuple[int, int]]:
    """Return start and end of every stretch of volumes that shows one image."""
    change = np.flatnonzero(np.any(np.diff(shown, axis=0) != 0, axis=1)) + 1
    edges = [0, *change.tolist(), len(shown)]
    return [(a, b) for a, b in pairwise(edges) if shown[a].min() >= 0]


def _roi(masker: Any, path: Path) -> np.ndarray:
    """Return which voxels of the mask lie in an ROI image on the same grid."""
    image = load_image(path)
    mask = masker.mask_img_
    if image.shape[:3] != mask.shape or not np.allclose(image.affine, mask.affine, atol=1e-3):
        return np.zeros(int(np.sum(np.asarray(mask.dataobj) != 0)), dtype=bool)
    inside: np.ndarray = np.asarray(image.dataobj).reshape(mask.shape)[np.asarray(mask.dataobj) != 0] > 0
    return inside
