"""`haxby2001`: object viewing (Haxby et al. 2001), eight categories in blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import digest
from brainbench.core.errors import UserError, did_you_mean
from brainbench.core.files import by_name
from brainbench.core.order import natural
from brainbench.data.account import RunUse
from brainbench.data.base import Context, Dataset, Responses, Stimuli, subjects_asked
from brainbench.data.images import load_image, open_image, readable
from brainbench.data.tables import parse_row, read_text
from brainbench.recipes.datasets import HaxbySettings

T_R = 2.5
WORDS = {
    "bottle": "bottle",
    "cat": "cat",
    "chair": "chair",
    "face": "face",
    "house": "house",
    "scissors": "scissors",
    "scrambledpix": "scrambled picture",
    "shoe": "shoe",
}
"""Category as the events name it -> words that a text encoder reads."""


@dataclass(frozen=True)
class Run:
    """One run: image, and which category each volume belongs to (empty: rest)."""

    name: str
    path: Path
    image: Any
    onsets: list[tuple[float, float, str]]


class Haxby(Dataset):
    """Participants look at blocks of pictures of eight categories.

    Reads the BIDS-like folder (``sub001/BOLD/task001_run001/bold_1slice.nii.gz`` with ``bold_events.tsv``) and the
    folder of nilearn's ``fetch_haxby`` (``subj1/bold.nii.gz``, ``labels.txt``, ``mask4_vt.nii.gz``). The stimuli are
    the category names (`WORDS`); the pictures themselves are not part of the data.
    """

    name = "haxby2001"
    expected = "sub*/BOLD/task001_run*/ or nilearn's subj*/bold.nii.gz"

    def __init__(self, settings: HaxbySettings, root: Path) -> None:
        self.settings = settings
        self.root = root
        self._bids_like = {path.parent.name: path.parent for path in sorted(root.glob("sub[0-9]*/BOLD"))}
        self._nilearn = {path.parent.name: path.parent for path in sorted(root.glob("subj[0-9]*/bold.nii.gz"))}
        self._known: dict[str, Responses] = {}

    @classmethod
    def open(cls, settings: HaxbySettings, root: Path | None, context: Context) -> Haxby:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return any(path.glob("sub[0-9]*/BOLD/task001_run*")) or any(path.glob("subj[0-9]*/bold.nii.gz"))

    @property
    def subjects(self) -> list[str]:
        """Participants found."""
        return sorted({**self._bids_like, **self._nilearn})

    def files(self) -> list[Path]:
        """Return recordings, events and masks."""
        files = []
        for subject in subjects_asked(self.subjects, self.settings.subjects):
            if subject in self._bids_like:
                for folder in self._run_folders(subject):
                    files += [self._image(folder), self._events(folder)]
            else:
                files += [self._nilearn[subject] / "bold.nii.gz", self._nilearn[subject] / "labels.txt"]
            files += self._mask_files(subject)
        return sorted(set(files))

    def stimuli(self, subject: str) -> Stimuli:
        """Return the eight category names."""
        names = sorted(WORDS)
        return Stimuli(
            ids=names,
            modality="text",
            load=lambda index: WORDS[names[index]],
            content_digests=[digest(WORDS[name]) for name in names],
            labels={"category": np.array(names)},
            source="category names",
        )

    def responses(self, subject: str) -> Responses:
        """Return one row per block (or volume)."""
        if subject not in self._known:
            self._known[subject] = self._read(subject)
        return self._known[subject]

    def _read(self, subject: str) -> Responses:
        from nilearn.maskers import NiftiMasker

        settings = self.settings
        runs = list(self._runs(subject))
        if not runs:
            raise UserError(f"{self.root}: {subject} has no run with {settings.image}")
        mask, mask_name = self._mask(subject, runs[0].image)
        masker = NiftiMasker(
            mask_img=mask,
            detrend=settings.detrend == "linear",
            standardize="zscore_sample" if settings.standardize_runs else None,
            t_r=T_R,
        ).fit()
        raw = NiftiMasker(mask_img=mask, standardize=None).fit()
        rows, categories, names, volumes = [], [], [], []
        account = []
        flat = np.zeros(int(np.sum(np.asarray(mask.dataobj) > 0)), dtype=bool)
        for run in runs:
            self._check_grid(subject, run, mask)
            _check_t_r(run, subject)
            with readable(run.path):
                values = raw.transform(run.image)
            if not np.isfinite(values).all():
                volume, voxel = np.argwhere(~np.isfinite(values))[0]
                raise UserError(f"{subject} {run.name}: volume {volume}, voxel {voxel} is not finite")
            flat |= np.ptp(values, axis=0) == 0
            data = np.nan_to_num(masker.transform(run.image)).astype(np.float32)
            windows = list(self._windows(run, len(data)))
            account += self._account(subject, run, windows, len(data))
            for category, window in windows:
                chosen = [data[window].mean(axis=0)] if settings.rows == "block" else list(data[window])
                rows += chosen
                categories += [category] * len(chosen)
                names += [run.name] * len(chosen)
                volumes.append(window.stop - window.start)
        if not rows:
            raise UserError(f"{subject}: no block lies within its recordings ({len(runs)} runs)")
        keep = ~flat
        notes = [
            f"{len(runs)} runs of {settings.image}, mask '{mask_name}', {keep.sum()} voxels",
            f"rows are {'means of' if settings.rows == 'block' else 'the'} volumes of a block, {settings.shift_s:g} s "
            f"after its events ({min(volumes)}-{max(volumes)} volumes)",
        ]
        if flat.any():
            account.append(
                RunUse(subject, left_out=f"{flat.sum()} of {len(flat)} voxels", why="never change in some run")
            )
        here = self._masks(subject, mask)
        elsewhere = sorted({_name(path) for path in self._mask_files(subject)} - set(here))
        if elsewhere:
            notes.append(f"masks on another grid than {settings.image} are no ROI: {', '.join(elsewhere)}")
        order = sorted(WORDS)
        return Responses(
            subject=subject,
            data=np.stack(rows)[:, keep],
            stimulus=np.array([order.index(category) for category in categories]),
            run=np.array(names),
            rois=self._rois(subject, mask, keep),
            masker=_Subset(masker, keep),
            space="volume",
            labels={"category": np.array(categories)},
            background=_mean_image(runs[0].image),
            notes=notes,
            account=account,
        )

    def _account(self, subject: str, run: Run, windows: list[tuple[str, slice]], n_volumes: int) -> list[RunUse]:
        """Return what was used of a run, and blocks that the recording's end cuts."""
        used = sum(window.stop - window.start for _, window in windows)
        rest = f"{n_volumes - used} of {n_volumes} volumes"
        rows = [RunUse(subject, "", run.name, f"{len(windows)} blocks, {used} volumes", rest, "in no block")]
        end = n_volumes * T_R - self.settings.shift_s
        cut = sum(onset < end < onset + duration - T_R / 2 for onset, duration, _ in run.onsets)
        lost = len(run.onsets) - len(windows)
        for count, what in ((lost, f"{lost} of {len(run.onsets)} blocks"), (cut, f"the end of {cut} blocks")):
            if count:
                why = f"beyond the last volume ({n_volumes * T_R:g} s)" if n_volumes else "no volume"
                rows.append(RunUse(subject, run=run.name, left_out=what, why=why))
        return rows

    def _windows(self, run: Run, n_volumes: int) -> Iterator[tuple[str, slice]]:
        """Yield category and volumes of every block, moved by the haemodynamic delay."""
        shift = self.settings.shift_s
        for onset, duration, category in run.onsets:
            start = round((onset + shift) / T_R)
            stop = min(round((onset + duration + shift) / T_R), n_volumes)
            if start < stop:
                yield category, slice(start, stop)

    # Layouts ---------------------------------------------------------------------------------------------------

    def _runs(self, subject: str) -> Iterator[Run]:
        if subject in self._bids_like:
            for folder in self._run_folders(subject):
                number = re.sub(r".*run0*", "run-", folder.name)
                path = self._image(folder)
                yield Run(number, path, open_image(path), _read_events(self._events(folder)))
            return
        folder = self._nilearn[subject]
        path = folder / "bold.nii.gz"
        image = open_image(path)
        labels = _read_labels(folder / "labels.txt")
        if len(labels) != image.shape[3]:
            raise UserError(f"{folder / 'labels.txt'}: {len(labels)} rows, bold.nii.gz has {image.shape[3]} volumes")
        chunks = np.array([int(chunk) for _, chunk in labels])
        names = np.array([name for name, _ in labels])
        for chunk in np.unique(chunks):
            at = np.flatnonzero(chunks == chunk)
            if at[-1] - at[0] >= len(at):
                raise UserError(f"{folder / 'labels.txt'}: volumes of run {chunk} do not follow each other")
            with readable(path):
                part = image.slicer[..., at[0] : at[-1] + 1]
            yield Run(f"run-{chunk + 1}", path, part, _blocks(names[at]))

    def _run_folders(self, subject: str) -> list[Path]:
        return sorted((self._bids_like[subject] / "BOLD").glob("task001_run*"), key=lambda path: natural(path.name))

    def _image(self, folder: Path) -> Path:
        path = folder / f"{self.settings.image}.nii.gz"
        if not path.is_file():
            found = sorted(p.name.removesuffix(".nii.gz") for p in folder.glob("*.nii.gz"))
            raise UserError(
                f"dataset.image: {folder} has no {path.name}{did_you_mean(self.settings.image, found)}",
                hint=f"it has {', '.join(found) or 'no image'}",
            )
        return path

    def _events(self, folder: Path) -> Path:
        path = folder / "bold_events.tsv"
        if not path.is_file():
            raise UserError(f"{folder}: no bold_events.tsv, so its blocks are unknown")
        return path

    # Masks -----------------------------------------------------------------------------------------------------

    def _mask_files(self, subject: str) -> list[Path]:
        if subject in self._nilearn and subject not in self._bids_like:
            return sorted(self._nilearn[subject].glob("mask*.nii.gz"))
        own = (self._bids_like[subject] / "masks").rglob("*.nii.gz")
        return [*sorted(self.root.glob("*mask.nii.gz")), *sorted(own)]

    def _masks(self, subject: str, image: Any) -> dict[str, Path]:
        """Return the masks on the grid of an image by name; the release has those of several grids under one name."""
        fitting = [path for path in self._mask_files(subject) if _same_grid(open_image(path), image)]
        return by_name(fitting, _name, "mask")

    def _mask(self, subject: str, image: Any) -> tuple[Any, str]:
        """Return the binarised mask on the recording's grid, and its name."""
        files, here = {_name(path): path for path in self._mask_files(subject)}, self._masks(subject, image)
        wanted = self.settings.mask
        if wanted == "auto":
            fitting = [name for name in ("slice_mask", "brain", "mask", "mask4_vt") if name in here]
            if not fitting:
                raise UserError(
                    f"{subject}: none of the masks {', '.join(files) or '(none)'} lies on the grid of "
                    f"{self.settings.image}"
                )
            wanted = fitting[0]
        if wanted not in files:
            raise UserError(
                f"dataset.mask: {subject} has no mask '{wanted}'{did_you_mean(wanted, files)}",
                hint=f"masks: {', '.join(files)}",
            )
        if wanted not in here:
            raise UserError(
                f"dataset.mask: {files[wanted]} has shape {open_image(files[wanted]).shape[:3]}, {self.settings.image} "
                f"has {image.shape[:3]}, or their affines differ"
            )
        binary = _binary(load_image(here[wanted]))
        if not np.any(np.asarray(binary.dataobj)):
            raise UserError(f"dataset.mask: {here[wanted]} is empty")
        return binary, wanted

    def _check_grid(self, subject: str, run: Run, mask: Any) -> None:
        if not _same_grid(mask, run.image):
            raise UserError(f"{subject} {run.name}: shape or affine differ from those of the mask")

    def _rois(self, subject: str, mask: Any, keep: np.ndarray) -> dict[str, np.ndarray]:
        """Return every mask on this grid as an ROI of the voxels that are kept."""
        inside = np.asarray(mask.dataobj) > 0
        rois = {"all": np.ones(int(keep.sum()), dtype=bool)}
        for name, path in self._masks(subject, mask).items():
            if name in ("brain", "slice_mask", "mask"):
                continue
            chosen = (np.asarray(_binary(load_image(path)).dataobj)[inside] > 0)[keep]
            if chosen.any() and not chosen.all():
                rois[name] = chosen
        return rois


class _Subset:
    """A masker that puts back the voxels that were dropped, as zeros."""

    def __init__(self, masker: Any, keep: np.ndarray) -> None:
        self.masker = masker
        self.keep = keep

    def inverse_transform(self, X: np.ndarray) -> Any:
        full = np.zeros((*X.shape[:-1], len(self.keep)), dtype=X.dtype)
        full[..., self.keep] = X
        return self.masker.inverse_transform(full)


def _name(mask: Path) -> str:
    return mask.name.split(".")[0]


def _check_t_r(run: Run, subject: str) -> None:
    """Refuse a recording whose header says another repetition time than this data set has."""
    zooms, unit = run.image.header.get_zooms(), run.image.header.get_xyzt_units()[1]
    said = float(zooms[3]) * {"sec": 1.0, "msec": 1e-3}.get(unit, np.nan) if len(zooms) > 3 else np.nan
    if said > 0 and abs(said - T_R) > 1e-2:
        raise UserError(
            f"{subject} {run.name}: the header gives {said:g} s as repetition time, this data set has {T_R:g} s",
            hint="correct the header, or use `folder` for other recordings",
        )


def _binary(image: Any) -> Any:
    """Return an image of 0 and 1; masks with negative values (NSD) or a fourth axis are made plain."""
    import nibabel

    data = np.asarray(image.dataobj)
    if data.ndim == 4:
        data = data[..., 0]
    return nibabel.Nifti1Image((data > 0).astype(np.uint8), image.affine)


def _same_grid(one: Any, other: Any) -> bool:
    return one.shape[:3] == other.shape[:3] and np.allclose(one.affine, other.affine, atol=1e-2)


def _mean_image(image: Any) -> Any:
    from nilearn.image import mean_img

    return mean_img(image, copy_header=True)


def _read_events(path: Path) -> list[tuple[float, float, str]]:
    """Read onset, duration and category of every block, naming the row that is wrong."""
    lines = read_text(path).splitlines()
    header = lines[0].split("\t") if lines else []
    if not {"onset", "duration", "trial_type"} <= set(header):
        raise UserError(f"{path}:1: columns onset, duration and trial_type are needed, found {header}")
    events = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = dict(zip(header, line.split("\t"), strict=False))
        (onset, duration), wrong = parse_row(cells.get(one, "").strip() for one in ("onset", "duration"))
        name = cells.get("trial_type", "").strip()
        if wrong or not name:
            raise UserError(f"{path}:{number}: '{line}' is not onset, duration and category")
        if name == "rest":
            continue
        if name not in WORDS:
            raise UserError(f"{path}:{number}: unknown category '{name}'{did_you_mean(name, WORDS)}")
        events.append((onset, duration, name))
    if not events:
        raise UserError(f"{path}: no block")
    return sorted(events)


def _read_labels(path: Path) -> list[tuple[str, str]]:
    """Read nilearn's labels.txt: a header, then category and chunk of every volume."""
    rows = []
    for number, line in enumerate(read_text(path).splitlines()[1:], start=2):
        cells = line.split()
        if len(cells) != 2 or not cells[1].isdigit():
            raise UserError(f"{path}:{number}: '{line}' is not a category and a run number")
        if cells[0] not in WORDS and cells[0] != "rest":
            raise UserError(f"{path}:{number}: unknown category '{cells[0]}'{did_you_mean(cells[0], WORDS)}")
        rows.append((cells[0], cells[1]))
    return rows


def _blocks(names: np.ndarray) -> list[tuple[float, float, str]]:
    """Return onset, duration (s) and category of every stretch of equal labels; labels follow the stimulus."""
    change = np.flatnonzero(names[1:] != names[:-1]) + 1
    edges = [0, *change.tolist(), len(names)]
    return [(a * T_R, (b - a) * T_R, str(names[a])) for a, b in pairwise(edges) if names[a] != "rest"]
