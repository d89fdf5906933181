"""`things-fmri`: 8,740 photographs of 720 concepts, three participants (Hebart et al. 2023), single-trial betas."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.data.base import Context
from brainbench.data.layouts.pictures.base import Measured, Pictures, Shown, key_of
from brainbench.data.tables import Table, read_table
from brainbench.recipes.data.pictures import ThingsFmriSettings

N_TRAIN, N_TEST, N_REPEATS = 8640, 100, 12
VOXELS = {"sub-01": 211339, "sub-02": 226950, "sub-03": 189164}
_BLOCK = 4096
"""Voxels read at once."""


class ThingsFmri(Pictures):
    """Twelve sessions: every training picture is shown once, each of the 100 test pictures once a session.

    Voxels are those of the regions that the recipe names, columns of ``VoxelMetadata.csv``. Every concept of the test
    set is one of the training set: hold out the label ``concept`` where that matters.
    """

    settings: ThingsFmriSettings
    name = "things-fmri"
    expected = "betas_csv/sub-01_ResponseData.h5, sub-01_StimulusMetadata.csv, sub-01_VoxelMetadata.csv"

    @classmethod
    def open(cls, settings: ThingsFmriSettings, root: Path | None, context: Context) -> ThingsFmri:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root, context)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return any(path.glob("betas_csv/sub-*_ResponseData.h5"))

    @cached_property
    def subjects(self) -> list[str]:
        """Participants with responses."""
        return sorted(path.name.partition("_")[0] for path in (self.root / "betas_csv").glob("sub-*_ResponseData.h5"))

    def _path(self, subject: str, what: str) -> Path:
        return self.root / "betas_csv" / f"{subject}_{what}"

    def _response_files(self, subject: str) -> list[Path]:
        return [self._path(subject, what) for what in ("ResponseData.h5", "StimulusMetadata.csv", "VoxelMetadata.csv")]

    def _concept_of(self, name: str) -> str:
        return name.rpartition("_")[0]

    def _file_of(self, name: str) -> Path:
        return self.root / self.settings.stimuli / self._concept_of(name) / name

    def _shown_to(self, subject: str) -> Shown:
        table = read_table(self._path(subject, "StimulusMetadata.csv"))
        table.require("stimulus", "session", "run", "trial_type")
        names, kind = table.texts("stimulus"), table.texts("trial_type")
        session, run = table.numbers("session"), table.numbers("run")
        for line, one, name in zip(table.lines, kind, names, strict=True):
            if one not in ("train", "test"):
                table.problems.add(f"column 'trial_type': '{one}'; train and test were expected", line)
            if "_" not in name:
                table.problems.add(f"column 'stimulus': '{name}'; aardvark_01b.jpg was expected", line)
        table.finish()
        test = np.array([one == "test" for one in kind])
        self._assert_counts(table, names, test)
        return Shown(
            names,
            test,
            np.array([f"session{int(s):02d}_run{int(r):02d}" for s, r in zip(session, run, strict=True)]),
            np.array([f"session{int(s):02d}" for s in session]),
        )

    def _assert_counts(self, table: Table, names: list[str], test: np.ndarray) -> None:
        both = set(np.array(names)[test].tolist()) & set(np.array(names)[~test].tolist())
        if both:
            raise UserError(f"{table.path}: '{min(both)}' is a picture of the training set and of the test set")
        found = (int((~test).sum()), len(set(np.array(names)[test].tolist())), int(test.sum()))
        expected = (N_TRAIN, N_TEST, N_TEST * N_REPEATS)
        if not self.simulated and found != expected:
            raise UserError(
                f"{table.path}: {found[0]} training trials, {found[1]} test pictures in {found[2]} trials; "
                f"{expected[0]}, {expected[1]} and {expected[2]} were expected"
            )

    # Voxels --------------------------------------------------------------------------------------------------------

    def _measured(self, subject: str, shown: Shown) -> Measured:
        table = read_table(self._path(subject, "VoxelMetadata.csv"))
        table.require("voxel_id", "nc_singletrial")
        if not self.simulated and len(table) != VOXELS.get(subject, len(table)):
            raise UserError(f"{table.path}: {len(table)} voxels, {VOXELS[subject]} were expected")
        regions = {}
        for name in self.settings.rois:
            if name not in table:
                raise UserError(
                    f"dataset.rois: {table.path} has no column '{name}'{did_you_mean(name, table.columns)}",
                    hint=f"it has {one_of(table.columns)}",
                )
            inside = table.numbers(name)
            if not np.isin(inside, (0, 1)).all():
                raise UserError(
                    f"dataset.rois: column '{name}' of {table.path} is no region: its values are not 0 and 1"
                )
            regions[name] = inside > 0
        voxel, ceiling = table.numbers("voxel_id"), table.numbers("nc_singletrial", minimum=0)
        table.finish()
        chosen = np.flatnonzero(np.any(list(regions.values()), axis=0))
        if not len(chosen):
            raise UserError(f"{table.path}: no voxel lies in {', '.join(regions)}")
        empty = [name for name, mask in regions.items() if not mask.any()]
        path = self._path(subject, "ResponseData.h5")
        made_of = {"voxels": key_of(chosen), "ids": key_of(voxel), "trials": len(shown.names)}
        kept = self._kept(
            "betas", made_of, path, lambda: {"betas": _read_betas(path, voxel, chosen, len(shown.names))}
        )["betas"]
        explained = np.clip(ceiling[chosen] / 100, 0, 1 - 1e-6)
        return Measured(
            kept,
            {name: mask[chosen] for name, mask in regions.items()},
            ncsnr=np.sqrt(explained / (1 - explained)),
            notes=[
                f"{len(chosen)} of {len(table)} voxels lie in the regions asked for; ncsnr from nc_singletrial",
                *([f"regions without a voxel: {', '.join(empty)}"] if empty else []),
            ],
        )


def _read_betas(path: Path, voxel: np.ndarray, chosen: np.ndarray, n_trials: int) -> np.ndarray:
    """Return betas of some voxels, ``(n_trials, n_chosen)`` float32, from the table as pandas stores it."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            group = file["ResponseData"] if "ResponseData" in file else next(iter(file.values()))
            blocks: dict[str, Any] = {name: one for name, one in group.items() if name.endswith("_values")}
            values = next(
                (one for one in blocks.values() if one.ndim == 2 and one.shape[1] in (n_trials, n_trials + 1)), None
            )
            if values is None or values.shape[0] != len(voxel) or values.dtype.kind != "f":
                found = ", ".join(f"{name} {one.shape} {one.dtype}" for name, one in blocks.items()) or "no table"
                raise UserError(f"{path}: {found}; ({len(voxel)} voxels, {n_trials} trials) of floats was expected")
            first = values.shape[1] - n_trials
            ids = (
                values[:, 0] if first else next((one[:, 0] for one in blocks.values() if one.shape[1:] == (1,)), voxel)
            )
            if not np.array_equal(np.asarray(ids, dtype=float), voxel):
                raise UserError(f"{path}: voxels are not in the order of VoxelMetadata.csv (voxel_id)")
            out = np.empty((n_trials, len(chosen)), dtype=np.float32)
            for start in range(0, len(voxel), _BLOCK):
                mine = (chosen >= start) & (chosen < start + _BLOCK)
                if mine.any():
                    part = values[start : start + _BLOCK]
                    out[:, mine] = part[chosen[mine] - start, first:].T
    except (OSError, KeyError, RuntimeError, StopIteration, AttributeError) as error:
        raise UserError(f"{path}: not a readable table of responses, or cut short ({error})") from None
    return out
