"""`algonauts2023`: the Natural Scenes Dataset as the Algonauts challenge of 2023 packs it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from brainbench.core.digests import digest_file
from brainbench.core.errors import UserError
from brainbench.data.account import RunUse
from brainbench.data.base import Context, Dataset, Responses, Stimuli, subjects_asked
from brainbench.data.images import with_all
from brainbench.data.layouts.matrices import as_float, check_finite, flat_columns, load_npy
from brainbench.data.layouts.nsd_files import LABELS, SYNTHETIC
from brainbench.data.vision.picture import image_of
from brainbench.recipes.data.published import AlgonautsSettings

COUNTS = dict(zip([f"subj{k:02d}" for k in range(1, 9)], (9841, 9841, 9082, 8779, 9841, 9082, 9841, 8779), strict=True))
"""Training images of each participant."""
NAMES = {name: LABELS[name] for name in ("prf-visualrois", "floc-bodies", "floc-faces", "floc-places", "floc-words")}
NAMES["streams"] = {
    1: "early", 2: "midventral", 3: "midlateral", 4: "midparietal", 5: "ventral", 6: "lateral", 7: "parietal",
}  # fmt: skip
"""Regions by their numbers in the masks; the packs' own tables are pickles, which are never opened."""
IMAGE = re.compile(r"train-(\d+)_nsd-(\d+)\.png")


class Algonauts(Dataset):
    """Eight participants see about 9,000 photographs each; a row is a photograph, the mean over its showings.

    Responses are the challenge's: z-scored within sessions and averaged. Those of its test images were not released.
    """

    name = "algonauts2023"
    expected = "subj01/training_split/training_fmri/lh_training_fmri.npy, training_images/, roi_masks/"

    def __init__(self, settings: AlgonautsSettings, root: Path) -> None:
        self.settings, self.root = settings, root
        self.simulated = (root / SYNTHETIC).is_file()
        if not self.subjects:
            raise UserError(f"{root}: no subj01 ... subj08 with training_split/training_fmri/")

    @classmethod
    def open(cls, settings: AlgonautsSettings, root: Path | None, context: Context) -> Algonauts:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return any(path.glob("subj0*/training_split/training_fmri"))

    @property
    def subjects(self) -> list[str]:
        """Participants whose responses are there."""
        return [name for name in COUNTS if (self.root / name / "training_split" / "training_fmri").is_dir()]

    def notes(self) -> list[str]:
        """Say what a copy is, and what was not released."""
        copy = [f"synthetic copy of the layout ({SYNTHETIC}): no brain was measured"] if self.simulated else []
        return [*copy, "responses to the challenge's test images were not released: its training images alone are read"]

    def _responses_of(self, subject: str) -> dict[str, Path]:
        folder = self.root / subject / "training_split" / "training_fmri"
        return {side: folder / f"{side}_training_fmri.npy" for side in ("lh", "rh")}

    def _masks_of(self, subject: str) -> dict[str, dict[str, Path]]:
        folder = self.root / subject / "roi_masks"
        return {
            name: {side: folder / f"{side}.{name}_challenge_space.npy" for side in ("lh", "rh")}
            for name in self.settings.rois
        }

    def _images(self, subject: str) -> list[Path]:
        """Return the images in the order of the rows: their first number counts from 1."""
        folder = self.root / subject / "training_split" / "training_images"
        found = sorted(path for path in folder.glob("*.png")) if folder.is_dir() else []
        for row, path in enumerate(found, start=1):
            match = IMAGE.fullmatch(path.name)
            if match is None or int(match[1]) != row:
                raise UserError(
                    f"{folder}: image {row} is '{path.name}'; train-{row:04d}_nsd-NNNNN.png was expected: numbers "
                    "count the rows from 1, and none is missing"
                )
        if not self.simulated and len(found) != COUNTS[subject]:
            raise UserError(f"{folder}: {len(found)} images, {COUNTS[subject]} were expected")
        if not found:
            raise UserError(f"{folder}: no images")
        return found

    def files(self) -> list[Path]:
        """Return responses, masks and images."""
        files: list[Path] = []
        for subject in subjects_asked(self.subjects, self.settings.subjects):
            files += [*self._responses_of(subject).values(), *self._images(subject)]
            files += [path for sides in self._masks_of(subject).values() for path in sides.values()]
        return sorted(path for path in files if path.is_file())

    def stimuli(self, subject: str) -> Stimuli:
        """Return a participant's training images, named by their number in the Natural Scenes Dataset."""
        files = self._images(subject)
        names = [path.stem.partition("_")[2] for path in files]
        return Stimuli(
            ids=names,
            modality="image",
            load=lambda i: image_of(files[i]),
            content_digests=[digest_file(path) for path in files],
            source="training_images",
        )

    def responses(self, subject: str) -> Responses:
        """Return one row a photograph, left vertices before right ones."""
        n, parts = len(self._images(subject)), {}
        for side, path in self._responses_of(subject).items():
            values = as_float(load_npy(path), path)
            if values.ndim != 2 or len(values) != n:
                raise UserError(f"{path}: {values.shape}, ({n}, vertices) was expected: one row an image")
            check_finite(values, path, "image", "vertex")
            parts[side] = values
        data = np.concatenate(list(parts.values()), axis=1).astype(np.float32)
        rois: dict[str, np.ndarray] = {}
        for name, sides in self._masks_of(subject).items():
            labels = np.concatenate([self._mask(path, parts[side].shape[1]) for side, path in sides.items()])
            known = NAMES[name]
            unknown = sorted(set(labels.tolist()) - {0, *known})
            if unknown:
                raise UserError(f"{next(iter(sides.values()))}: region {unknown[0]}; {name} has 0 ... {max(known)}")
            rois |= {region: labels == number for number, region in known.items() if (labels == number).any()}
        flat = flat_columns(data)
        account = (
            [RunUse(subject, left_out=f"{flat.sum()} of {len(flat)} vertices", why="never change")]
            if flat.any()
            else []
        )
        rois = {name: mask[~flat] for name, mask in rois.items() if mask[~flat].any()}
        responses = Responses(
            subject=subject,
            data=data[:, ~flat],
            stimulus=np.arange(n),
            run=np.full(n, "all"),
            rois=with_all(rois, int((~flat).sum()), self.root),
            notes=[f"{n} photographs, means over showings; {parts['lh'].shape[1]} + {parts['rh'].shape[1]} vertices"],
        )
        responses.account += account
        return responses

    def _mask(self, path: Path, n_vertices: int) -> np.ndarray:
        labels = np.asarray(load_npy(path, "masks are plain arrays of numbers")).reshape(-1)
        if len(labels) != n_vertices or not np.array_equal(labels, np.round(labels)):
            raise UserError(
                f"{path}: {len(labels)} labels; a whole number for each of {n_vertices} vertices was expected"
            )
        return labels.astype(int)
