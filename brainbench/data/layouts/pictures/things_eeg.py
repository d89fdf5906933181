"""`things-eeg2`: 16,740 photographs, ten participants, EEG (Gifford et al. 2022), as the authors preprocess it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError, one_of
from brainbench.core.pickles import read_pickle
from brainbench.data.base import Context
from brainbench.data.layouts.pictures.base import Measured, Pictures, Shown, as_float32
from brainbench.recipes.data.pictures import ThingsEegSettings

COUNTS = {"training": (16540, 4), "test": (200, 80)}
"""Pictures, and showings of each."""
KEYS = {"training": "train", "test": "test"}


class ThingsEeg(Pictures):
    """Targets are channels at time points, regions stretches of time: ``100-200ms``.

    Concepts of the test pictures are none of the training's. The release merges sessions: a row does not
    know its own.
    """

    settings: ThingsEegSettings
    name = "things-eeg2"
    called = "channels at times"
    expected = "sub-01/preprocessed_eeg_training.npy (here, or in Preprocessed_data_250Hz/ and the like) and image_set/"

    @classmethod
    def open(cls, settings: ThingsEegSettings, root: Path | None, context: Context) -> ThingsEeg:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root, context)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return bool(_folders(path))

    @cached_property
    def _folder(self) -> Path:
        found = _folders(self.root)
        if len(found) > 1:
            raise UserError(
                f"{self.root}: several preprocessings: {', '.join(path.name for path in found)}",
                hint="`root` may be one of them, with image_set/ inside, or beside by `dataset.stimuli`",
            )
        return found[0] if found else self.root

    @cached_property
    def subjects(self) -> list[str]:
        """Participants with training and test recordings."""
        return sorted(path.parent.name for path in self._folder.glob("sub-*/preprocessed_eeg_training.npy"))

    def _response_files(self, subject: str) -> list[Path]:
        return [*(self._folder / subject / f"preprocessed_eeg_{part}.npy" for part in COUNTS), self._metadata_path]

    # Pictures ------------------------------------------------------------------------------------------------------

    @property
    def _metadata_path(self) -> Path:
        return self.root / self.settings.stimuli / "image_metadata.npy"

    @cached_property
    def _pictures(self) -> dict[str, list[tuple[str, str]]]:
        """Return folder and file name of every picture, in the order of the recordings."""
        path = self._metadata_path
        found = read_pickle(path, "names of pictures and concepts")
        pictures = {}
        for part, key in KEYS.items():
            names = [f"{key}_img_concepts", f"{key}_img_files"]
            columns = [list(found.get(one) or ()) if isinstance(found, dict) else [] for one in names]
            if not columns[0] or len(columns[0]) != len(columns[1]):
                raise UserError(f"{path}: no '{names[0]}' and '{names[1]}' of equal length")
            pictures[part] = [(str(a), str(b)) for a, b in zip(*columns, strict=True)]
            files = [file for _, file in pictures[part]]
            if len(set(files)) < len(files):
                again = next(file for k, file in enumerate(files) if file in files[:k])
                raise UserError(f"{path}: '{again}' is there twice among the {part} pictures")
            if not self.simulated and len(pictures[part]) != COUNTS[part][0]:
                raise UserError(f"{path}: {len(pictures[part])} {part} pictures, {COUNTS[part][0]} were expected")
        both = {one[1] for one in pictures["training"]} & {one[1] for one in pictures["test"]}
        if both:
            raise UserError(f"{path}: '{min(both)}' is a picture of the training set and of the test set")
        return pictures

    @cached_property
    def _places(self) -> dict[str, Path]:
        folder = self.root / self.settings.stimuli
        return {
            name: folder / f"{part}_images" / concept / name
            for part, listed in self._pictures.items()
            for concept, name in listed
        }

    def _file_of(self, name: str) -> Path:
        return self._places[name]

    def _concept_of(self, name: str) -> str:
        return name.rpartition("_")[0]

    # Recordings ----------------------------------------------------------------------------------------------------

    def _recording(self, subject: str, part: str) -> dict[str, Any]:
        path = self._folder / subject / f"preprocessed_eeg_{part}.npy"
        found = read_pickle(path, "preprocessed EEG, names of channels and times")
        missing = (
            [one for one in ("preprocessed_eeg_data", "ch_names", "times") if one not in found]
            if isinstance(found, dict)
            else ["preprocessed_eeg_data"]
        )
        if missing:
            known = one_of(found) if isinstance(found, dict) else type(found).__name__
            raise UserError(f"{path}: no '{missing[0]}'; it has {known}")
        values = np.asarray(found["preprocessed_eeg_data"])
        names, times = [str(one) for one in found["ch_names"]], np.asarray(found["times"], dtype=float)
        expected = (len(self._pictures[part]), values.shape[1] if values.ndim == 4 else 0, len(names), len(times))
        if values.shape != expected or values.dtype.kind != "f":
            raise UserError(
                f"{path}: {values.dtype} of shape {values.shape}; ({expected[0]} pictures, showings, {expected[2]} "
                f"channels, {expected[3]} times) was expected"
            )
        if not self.simulated and values.shape[1] != COUNTS[part][1]:
            raise UserError(f"{path}: {values.shape[1]} showings, {COUNTS[part][1]} were expected")
        if np.any(np.diff(times) <= 0):
            raise UserError(f"{path}: times do not rise")
        return {"values": values, "names": names, "times": times}

    def _shown_to(self, subject: str) -> Shown:
        names: list[str] = []
        test: list[bool] = []
        for part, listed in self._pictures.items():
            n = int(np.asarray(self._recording(subject, part)["values"]).shape[1])
            names += [name for _, name in listed for _ in range(n)]
            test += [part == "test"] * (n * len(listed))
        held = np.array(test)
        return Shown(names, held, np.where(held, "test", "training"), np.where(held, "test", "training"))

    def _measured(self, subject: str, shown: Shown) -> Measured:
        parts = [self._recording(subject, part) for part in COUNTS]
        first, last = parts
        if first["names"] != last["names"] or not np.allclose(first["times"], last["times"]):
            raise UserError(f"{self._folder / subject}: channels or times of training and test recordings differ")
        times, names = first["times"], first["names"]
        inside = (times >= self.settings.tmin - 1e-9) & (times <= self.settings.tmax + 1e-9)
        if not inside.any():
            raise UserError(
                f"dataset.tmin, dataset.tmax: no sample between {self.settings.tmin:g} and {self.settings.tmax:g} s; "
                f"the recordings have {times[0]:g} to {times[-1]:g} s"
            )
        data = np.concatenate([
            as_float32(one["values"][..., inside].reshape(-1, len(names) * int(inside.sum()))) for one in parts
        ])  # fmt: skip
        at = np.tile(times[inside], len(names))
        step = self.settings.window_s
        number = np.floor((at + 1e-9) / step).astype(int)
        rois = {
            f"{round(1000 * k * step)}-{round(1000 * (k + 1) * step)}ms": number == k
            for k in np.unique(number).tolist()
        }
        return Measured(data, rois, notes=[f"{len(names)} channels x {int(inside.sum())} times: {', '.join(names)}"])


def _folders(root: Path) -> list[Path]:
    """Return the folders that hold participants: the root, or those in it."""
    if any(root.glob("sub-*/preprocessed_eeg_training.npy")):
        return [root]
    return sorted({path.parent.parent for path in root.glob("*/sub-*/preprocessed_eeg_training.npy")})
