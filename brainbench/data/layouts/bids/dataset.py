"""`bids`: a BIDS-derivatives folder as fMRIPrep leaves it; betas by nilearn's first-level GLM, or GLMsingle's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import digest_array, digest_file
from brainbench.core.errors import UserError
from brainbench.core.order import natural
from brainbench.core.remembered import remembered_digest
from brainbench.data.account import Modelled, RunUse
from brainbench.data.array_cache import cached_arrays
from brainbench.data.base import Context, Dataset, Responses, Stimuli, subjects_asked
from brainbench.data.images import SubsetMasker, label_table_of, with_all, without_empty
from brainbench.data.layouts.bids.betas import OpenRun, check_durations, design_of, first_level, temporal_snr
from brainbench.data.layouts.bids.chosen import check_confounds, choose_runs, folders_of
from brainbench.data.layouts.bids.confounds import chosen_confounds
from brainbench.data.layouts.bids.files import (
    MISSING,
    NATIVE,
    VOLUMES,
    BidsRun,
    events_file,
    find_runs,
    read_events,
)
from brainbench.data.layouts.bids.places import Place, VoxelPlace, place_of
from brainbench.data.layouts.bids.quality import agreement_of_runs, mean_volume, repeats, run_model
from brainbench.data.layouts.bids.shown import FOLDER, Names, stimuli_of_events
from brainbench.data.layouts.bids.timing import read_timing
from brainbench.data.layouts.matrices import absent_columns, flat_columns
from brainbench.data.stimulus_files import StimulusTable, read_stimuli
from brainbench.data.surfaces import HEMISPHERES
from brainbench.data.tables import read_table
from brainbench.recipes.datasets import BidsSettings


class Bids(Dataset):
    """Betas of every stimulus' showings from a preprocessed BIDS data set; see docs/data/bids.md.

    Each run is a GLM of its own (nilearn's ``FirstLevelModel``): a regressor per event (``betas: trial``) or per
    stimulus (``betas: block``), confounds through ``load_confounds``, cosine drifts, AR(1) noise. Betas are kept in
    the cache under the digests of everything that made them.
    """

    name = "bids"
    expected = "stimuli.csv, sub-*/func/*_events.tsv, and derivatives/fmriprep/sub-*/func/*_desc-preproc_bold.nii.gz"

    def __init__(self, settings: BidsSettings, root: Path, context: Context) -> None:
        self.settings = settings
        self.root = root
        self.context = context
        self.derived, self.raw = folders_of(root, settings.derivatives)
        found = find_runs(self.derived, settings.task, settings.space, settings.resolution)
        self._files, self._left_out = choose_runs(found, settings)
        self._chosen = subjects_asked(self.subjects, settings.subjects)
        if self._models and settings.confounds:
            for subject in self._chosen:
                check_confounds(self._files[subject])
        self._table = self._stimuli()
        files = [path for path in self._table.files if path != self._table.path]
        folders = [self._table.path.parent, self.raw, self.raw / FOLDER]
        self._names = Names(self._table.stimuli.ids, self._table.path.name, files, folders)
        self._runs = {subject: [self._open(run) for run in self._files[subject]] for subject in self._chosen}
        if self._models:
            for runs in self._runs.values():
                check_durations(runs)
        self._known: dict[str, Responses] = {}
        self.quick_responses = not self._models  # betas are read, not computed

    @classmethod
    def open(cls, settings: BidsSettings, root: Path | None, context: Context) -> Bids:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root, context)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds a BIDS data set with derivatives."""
        return (path / "derivatives").is_dir() or any(path.glob("sub-*"))

    @property
    def subjects(self) -> list[str]:
        """Subjects with preprocessed runs of the task."""
        return sorted(self._files, key=natural)

    def files(self) -> list[Path]:
        """Return stimuli, and images, masks, events, confounds and sidecars of the subjects asked for."""
        files = list(self._table.files)
        for subject in self._chosen:
            for run in self._runs[subject]:
                files += [*run.files.images, run.events.path, *run.timing.sidecars]
                files += self._confound_files(run.files)
            files += self._mask_files(subject)
            if self.settings.atlas is not None:
                atlas = self._atlas(subject)
                files += atlas if self.settings.labels_inside else [*atlas, label_table_of(atlas[0])]
            if self.settings.betas == "glmsingle":
                files += self._paths("glmsingle", subject)
        return sorted(set(files))

    def notes(self) -> list[str]:
        """Say what is odd about the stimuli, which runs lie apart, and who has no run left."""
        notes = list(self._table.notes)
        if self.settings.space == NATIVE:
            notes.append(
                "space native: fMRIPrep brings every run to its own reference, not runs to each other; a voxel is the "
                "same place in all of them only as far as the head stayed where it was"
            )
        gone = [subject for subject in self._left_out if subject not in self._files]
        return notes + [f"{', '.join(gone)}: every run is left out by the recipe"] * bool(gone)

    def stimuli(self, subject: str) -> Stimuli:
        """Return the stimuli, the same for everyone."""
        return self._table.stimuli

    def responses(self, subject: str) -> Responses:
        """Return the betas of a subject."""
        if subject not in self._known:
            self._known[subject] = self._read(subject)
        return self._known[subject]

    def _stimuli(self) -> StimulusTable:
        """Return the stimuli of the table, or where there is none those that the events name."""
        settings = self.settings
        tables = [folder / settings.stimuli for folder in dict.fromkeys((self.root, self.raw))]
        path = next((path for path in tables if path.is_file()), None)
        if path is not None or settings.stimuli != type(settings).model_fields["stimuli"].default:
            return read_stimuli(path or tables[0], settings.modality)
        cells: set[str] = set()
        for subject in self._chosen:
            for run in self._files[subject]:
                table = read_table(events_file(self.raw, run))
                table.require(settings.stimulus_column)
                cells |= set(table.texts(settings.stimulus_column, required=False))
        return stimuli_of_events(cells - {"", MISSING}, self.raw, settings.modality, settings.stimulus_column)

    # Files -----------------------------------------------------------------------------------------------------

    def _paths(self, setting: str, subject: str) -> list[Path]:
        """Return the file that a setting names, or that of each hemisphere, left first."""
        pattern: str = getattr(self.settings, setting).replace("{subject}", subject)
        sides = HEMISPHERES if "{hemi}" in pattern else ("",)
        return [self.root / pattern.replace("{hemi}", side) for side in sides]

    def _atlas(self, subject: str) -> list[Path]:
        """Return the file of the atlas, or those of both hemispheres: a setting's, or fMRIPrep's own of the subject."""
        name, run = self.settings.segmentation, self._files[subject][0]
        if name is None:
            return self._paths("atlas", subject)
        ending = f"desc-{name}_dseg.nii.gz"
        if not run.bold.name.endswith(VOLUMES):
            raise UserError(f"dataset.atlas: fMRIPrep's `{name}` is for volumes; {run.bold.name} is none")
        places = [run.beside(ending)]
        if self.settings.space == "T1w":
            anatomy = sorted(self.derived.glob(f"{subject}/**/anat/{subject}*_{ending}"))
            places += [path for path in anatomy if "_space-" not in path.name]
        found = next((path for path in places if path.is_file()), None)
        if found is None:
            raise UserError(
                f"dataset.atlas: {places[0]} is not there",
                hint="fMRIPrep writes it beside the images where FreeSurfer ran; another atlas is named by its path",
            )
        return [found]

    @property
    def _models(self) -> bool:
        """Whether betas are computed here, and not read."""
        return self.settings.betas != "glmsingle"

    def _confound_files(self, run: BidsRun) -> list[Path]:
        """Return the table of confounds and its sidecar, which `load_confounds` reads for the components' masks."""
        if not self.settings.confounds or not self._models:
            return []
        sidecar = run.confounds().with_suffix(".json")
        return [run.confounds(), *([sidecar] if sidecar.is_file() else [])]

    def _open(self, run: BidsRun) -> OpenRun:
        timing = read_timing(self.raw, run)
        for path in self._confound_files(run)[:1]:
            n_rows = len(read_table(path))
            if n_rows != timing.n_volumes:
                raise UserError(
                    f"{path}: {n_rows} rows, {run.bold.name} has {timing.n_volumes} volumes",
                    hint="volumes were cut from one and not from the other: cut the same rows from the table, and take "
                    "their time from the onsets of the events",
                )
        end = timing.t_r * timing.n_volumes
        events = read_events(events_file(self.raw, run), self.settings.stimulus_column, self._names, end)
        if not len(events):
            raise UserError(f"{events.path}: no event shows a stimulus")
        return OpenRun(run, timing, events)

    def _mask_files(self, subject: str) -> list[Path]:
        """Return the masks of volumes; other images have none."""
        if not self._files[subject][0].bold.name.endswith(VOLUMES):
            return []
        if self.settings.mask is not None:
            return self._paths("mask", subject)
        return [run.files.beside("desc-brain_mask.nii.gz") for run in self._runs[subject]]

    # Responses -------------------------------------------------------------------------------------------------

    def _read(self, subject: str) -> Responses:
        settings, runs = self.settings, self._runs[subject]
        place = place_of(subject, [run.files for run in runs], self._mask_files(subject), settings)
        notes = [*filter(None, [place.note]), *(note for run in runs for note in run.timing.notes)]
        parts = [_rows(run) for run in runs]
        if settings.betas == "glmsingle":
            betas = self._glmsingle(subject, place, sum(len(rows[0]) for rows in parts))
            absent = absent_columns(betas)
            why_absent = "not estimated: NaN in every beta"
            order = ", ".join(run.files.name for run in runs)
            notes.append(f"GLMsingle's betas are taken in the order of these runs, and of onsets within them: {order}")
        else:
            if settings.betas == "block":
                parts = [_blocks(rows) for rows in parts]
            found = [self._run_betas(run, place) for run in runs]
            by_run = [np.asarray(one["betas"]) for one in found]
            betas = np.concatenate(by_run)
            absent = np.any([absent_columns(part) for part in by_run], axis=0)
            why_absent = "not measured in every run: NaN, or the same in all volumes"
        stimulus = np.concatenate([rows[0] for rows in parts])
        modelled, background = None, None
        if self._models:
            agreement = agreement_of_runs(by_run, [rows[0] for rows in parts])
            fits = zip(runs, found, agreement, strict=True)
            models = [run_model(*one, has_confounds=bool(settings.confounds)) for one in fits]
            measured = betas[:, ~(absent | flat_columns(betas))]
            modelled, background = Modelled(models, repeats(measured, stimulus)), self._mean(runs[0], place)
        shared = set.intersection(*(set(rows[1]) for rows in parts))
        labels = {name: np.concatenate([rows[1][name] for rows in parts]) for name in sorted(shared)}
        unused = sorted({name for run in runs for name in run.events.labels} - shared)
        if unused:
            how = "not in the events of all runs" + (
                ", or differ within a stimulus" if settings.betas == "block" else ""
            )
            notes.append(f"columns of events that are no labels ({how}): {', '.join(unused)}")
        run_names = np.concatenate(
            [np.full(len(rows[0]), run.files.name) for run, rows in zip(runs, parts, strict=True)]
        )
        keep = ~(absent | flat_columns(betas))
        account = [self._account(run, len(rows[0])) for run, rows in zip(runs, parts, strict=True)]
        n_absent, n_flat = int(absent.sum()), int(np.sum(~keep & ~absent))
        for count, why in ((n_absent, why_absent), (n_flat, "never change")):
            if count:
                account.append([RunUse(subject, left_out=f"{count} of {len(keep)} {place.called}", why=why)])
        if not keep.any():
            raise UserError(f"{subject}: none of the {len(keep)} {place.called} has betas that change")
        rois, path = place.structures(), runs[0].files.bold
        if settings.atlas is not None:
            atlas = self._atlas(subject)
            rois, more = place.rois(atlas, settings.empty_rois)
            notes, path = notes + more, atlas[0]
        if rois:
            rois, dropped = without_empty({name: roi[keep] for name, roi in rois.items()}, path, settings.empty_rois)
            notes += dropped
        if self._models and not any(run.events.duration.any() for run in runs):
            notes.append("events have no duration: they are modelled as moments")
        notes.append(
            f"{len(stimulus)} betas ({settings.betas}) of {int(keep.sum())} {place.called} from {len(runs)} runs"
        )
        return Responses(
            subject=subject,
            data=np.ascontiguousarray(betas[:, keep]),
            stimulus=stimulus,
            run=run_names,
            rois=with_all(rois, int(keep.sum()), self._table.path),
            masker=place.masker if keep.all() else SubsetMasker(place.masker, keep),
            space=place.space,
            background=background,
            modelled=modelled,
            labels=labels,
            notes=notes,
            account=[*[row for rows in account for row in rows], *self._left_out.get(subject, [])],
        )

    def _account(self, run: OpenRun, n_betas: int) -> list[RunUse]:
        """Return what was used of a run and what was left out."""
        files, events, timing = run.files, run.events, run.timing
        session = files.entities.get("ses", "")
        used = (
            f"{n_betas} betas of {len(events)} events in {timing.n_volumes} volumes, repetition time {timing.t_r:g} s"
        )
        left = []
        if events.n_others:
            why = f"no stimulus in column '{self.settings.stimulus_column}': not modelled"
            left.append((f"{events.n_others} of {len(events) + events.n_others} events", why))
        if self._models:
            kept = chosen_confounds(files, self.settings)[1]
            if kept is not None and len(kept) < timing.n_volumes:
                what = "scrubbed or not yet steady" if "scrub" in self.settings.confounds else "not yet steady"
                left.append((f"{timing.n_volumes - len(kept)} of {timing.n_volumes} volumes", f"{what} (fMRIPrep)"))
            end = timing.t_r * timing.n_volumes
            late = int(np.sum(events.onset + events.duration > end))
            if late:
                left.append((f"the end of {late} events", f"they last beyond the last volume ({end:g} s)"))
        first, *others = left or [("", "")]
        rows = [RunUse(files.subject, session, files.name, used, *first)]
        return rows + [RunUse(files.subject, session, files.name, "", *other) for other in others]

    def _run_betas(self, run: OpenRun, place: Place) -> dict[str, np.ndarray]:
        """Return ``betas`` of a run, ``(n_rows, n_targets)`` float32, and what `run_model` asks for, cached."""
        from nilearn import __version__ as nilearn_version

        settings = self.settings
        made_of = {
            # Until November 2026 betas were smoothed a second time when read.
            "glm of": "series of targets, with the signal to noise of what is kept and the design",
            "images": [remembered_digest(path, self.context.cache) for path in run.files.images],
            "events": [digest_array(run.events.onset), digest_array(run.events.duration)],
            "rows": run.rows(settings.betas),
            "targets": place.key(),
            "confounds": [digest_file(path) for path in self._confound_files(run.files)],
            "timing": [run.timing.t_r, run.timing.start],
            "glm": settings.model_dump(
                include={
                    "betas", "confounds", "motion", "n_compcor", "high_pass_s", "smoothing_fwhm_mm", "hrf_model",
                }
            ),
            "nilearn": nilearn_version,
        }  # fmt: skip

        def compute() -> dict[str, np.ndarray]:
            design, series = design_of(run, settings), place.series(run.files)
            return {
                "betas": first_level(run, series, settings, design),
                "tsnr": temporal_snr(series[design.kept]),
                "design": design.matrix.astype(np.float32),
                "regressors": np.array(design.names),
                "events": np.array(len(design.events)),
            }

        return cached_arrays(self.context.cache, "betas", made_of, compute)

    def _mean(self, run: OpenRun, place: Place) -> Any:
        """Return the mean image of a run, on which masks and maps are seen; None where targets are no voxels."""
        if not isinstance(place, VoxelPlace):
            return None
        made_of = {"mean of": remembered_digest(run.files.bold, self.context.cache)}
        kept = cached_arrays(self.context.cache, "means", made_of, lambda: {"mean": mean_volume(run.files)})
        return type(place.mask)(np.asarray(kept["mean"]), place.mask.affine)

    def _glmsingle(self, subject: str, place: Place, n_events: int) -> np.ndarray:
        """Return GLMsingle's betas of all targets, rows in the order of runs and onsets."""
        files = self._paths("glmsingle", subject)
        for path in files:
            if not path.is_file():
                raise UserError(f"dataset.glmsingle: {path} is missing")
        betas = place.betas(files)
        if len(betas) != n_events:
            raise UserError(f"{files[0]}: {len(betas)} betas, the events of {subject} show {n_events} stimuli")
        return betas


def _rows(run: OpenRun) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return stimulus and labels of every event."""
    return run.events.stimulus, dict(run.events.labels)


def _blocks(rows: tuple[np.ndarray, Mapping[str, np.ndarray]]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return one row per stimulus of a run, with the labels that all its events share."""
    stimulus, labels = rows
    names, first, inverse = np.unique(stimulus, return_index=True, return_inverse=True)
    kept = {}
    for name, values in labels.items():
        if np.array_equal(values[first][inverse], values):
            kept[name] = values[first]
    return names, kept
