"""`simulated`: participants whose regions are driven by layers that we planted. Nothing here was measured."""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError, did_you_mean
from brainbench.data.base import Context, Continuous, Dataset, Responses, Stimuli
from brainbench.data.layouts.shown import folder_images, images_in
from brainbench.encoders.base import open_encoder
from brainbench.features.store import FeatureStore, default_cache
from brainbench.features.timing import to_rows
from brainbench.recipes.datasets import PlantedRoi, SimulatedSettings
from brainbench.simulation import participants, photos
from brainbench.simulation.drawings import drawn_stimuli

DRAWINGS = "drawings"
"""What `images` says for drawn pictures instead of a folder."""
DRAWING_SIDE = 32
"""Side of a drawn picture, in pixels."""

RUN_OFFSET = 0.5
"""Standard deviation of the mean shift between runs, in units of the signal."""


class Simulated(Dataset):
    """Participants look at photographs, read sentences, or listen to a story.

    Participants differ in their voxels' weights, noise and showings. In a story every region is one target with the
    same weights in all participants, so that they share what they have in common, as real ones do.
    """

    name = "simulated"
    simulated = True

    def __init__(self, settings: SimulatedSettings, context: Context) -> None:
        self.settings = settings
        self.context = context
        self.aligned_targets = settings.design == "story"
        self._encoders: dict[str, Any] = {}

    @classmethod
    def open(cls, settings: SimulatedSettings, root: Path | None, context: Context) -> Simulated:
        """Make the data set; `root` is not used."""
        return cls(settings, context)

    @property
    def subjects(self) -> list[str]:
        """``sim-01``, ``sim-02``, ..."""
        return [f"sim-{index + 1:02d}" for index in range(self.settings.n_subjects)]

    def files(self) -> list[Path]:
        """Return the user's text or images, if there are any."""
        if self.settings.text is not None:
            return [Path(self.settings.text).expanduser()]
        if self._folder is not None and self._folder != DRAWINGS:
            root = Path(self._folder).expanduser()
            return images_in(root)
        return []

    @property
    def _folder(self) -> str | None:
        """Return the folder of images: `images`, or the data set's `root`."""
        return self.settings.images or self.settings.root

    def truth(self) -> dict[str, Any]:
        """Return what was planted."""
        return {
            "rois": {
                p.roi: {"encoder": p.encoder, "layer": p.layer, "prefers": p.prefers, "ceiling": self._ceiling(p)}
                for p in self._rois
            }
        }

    def notes(self) -> list[str]:
        """Say that nothing was measured."""
        return ["simulated: no brain was measured"]

    @property
    def _rois(self) -> list[PlantedRoi]:
        return list(self.settings.rois)

    def _ceiling(self, planted: PlantedRoi) -> float:
        return 0.0 if planted.silent else planted.ceiling

    def stimuli(self, subject: str) -> Stimuli:
        """Return the stimuli, the same for everyone."""
        return self._stimuli

    @cached_property
    def _stimuli(self) -> Stimuli:
        settings, seed = self.settings, self.context.seed
        if settings.design == "sentences":
            return photos.sentences(settings.text, settings.n_stimuli)
        if settings.design == "story":
            return photos.story(settings.text, settings.n_stimuli, seed)
        if self._folder == DRAWINGS:
            return drawn_stimuli(settings.n_stimuli, DRAWING_SIDE, seed)
        if self._folder is not None:
            return folder_images(self._folder, settings.n_stimuli, seed)
        return photos.sample_crops(settings.n_stimuli, seed)

    def responses(self, subject: str) -> Responses:
        """Return the responses of a simulated participant."""
        number = self.subjects.index(subject)
        rng = np.random.default_rng([self.context.seed, 83, number])
        return self._story(subject, rng) if self.settings.design == "story" else self._trials(subject, rng)

    def _trials(self, subject: str, rng: np.random.Generator) -> Responses:
        settings = self.settings
        stimulus, run = participants.showings(len(self._stimuli), settings.n_repeats, settings.n_runs, rng)
        data = np.empty((len(stimulus), sum(planted.n_voxels for planted in self._rois)))
        start = 0
        for planted in self._rois:
            n = planted.n_voxels
            mine = data[:, start : start + n]
            start += n
            if planted.silent:
                mine[:] = rng.standard_normal((len(stimulus), n))
                continue
            if planted.prefers is not None:
                signal = participants.preferring_signal(self._categories(planted), planted.prefers, n, rng)
            else:
                signal = participants.planted_signal(self._features(planted), n, rng)
            noise = np.sqrt(participants.noise_variance(planted.ceiling, settings.n_repeats))
            mine[:] = signal[stimulus] + noise * rng.standard_normal((len(stimulus), n))
        # Offsets of runs are taken out again by every analysis that centers runs, as they would be for a brain.
        for index, offset in enumerate(RUN_OFFSET * rng.standard_normal((settings.n_runs, data.shape[1]))):
            data[run == index] += offset
        rois = self._masks([planted.n_voxels for planted in self._rois])
        masker, background = blob_masker([planted.n_voxels for planted in self._rois])
        return Responses(
            subject=subject,
            data=data.astype(np.float32),
            stimulus=stimulus,
            run=np.array([f"run-{index + 1:02d}" for index in run]),
            rois=rois,
            masker=masker,
            background=background,
            space="volume" if masker is not None else "none",
            notes=["simulated: no brain was measured", *self._fewer()],
        )

    def _fewer(self) -> list[str]:
        """Say that a folder holds fewer images than are asked for."""
        n = len(self._stimuli)
        if n == self.settings.n_stimuli:
            return []
        return [
            f"{n} images, which is all that {self._folder} holds: `n_stimuli: {self.settings.n_stimuli}` asks for more"
        ]

    def _story(self, subject: str, rng: np.random.Generator) -> Responses:
        settings, stimuli = self.settings, self._stimuli
        assert stimuli.onset is not None
        n = int(np.ceil((stimuli.onset[-1] + 12) / settings.t_r))
        row_time = settings.t_r * np.arange(1, n + 1)
        columns = []
        for index, planted in enumerate(self._rois):
            noise = participants.autocorrelated_noise(n, 1, settings.autocorrelation, rng)
            noise += settings.drift * participants.slow_drift(n, 1, settings.t_r, rng)
            if planted.prefers is not None:
                raise UserError(f"dataset.rois: {planted.roi} prefers a category, which words of a story do not have")
            if planted.encoder is not None:
                shared = np.random.default_rng([self.context.seed, 89, index])
                X = to_rows(self._features(planted), stimuli.onset, None, row_time, settings.t_r)
                signal = participants.planted_signal(X, 1, shared)
                noise = signal + np.sqrt(participants.noise_variance(planted.ceiling, 1)) * noise
            columns.append(noise)
        return Responses(
            subject=subject,
            data=np.concatenate(columns, axis=1),
            stimulus=None,
            run=np.full(n, "story"),
            rois=self._masks([1] * len(self._rois)),
            continuous=Continuous(row_time, settings.t_r),
            space="roi",
            notes=["simulated: no brain was measured"],
        )

    def _masks(self, sizes: list[int]) -> dict[str, np.ndarray]:
        place = np.repeat(np.arange(len(sizes)), sizes)
        return {planted.roi: place == index for index, planted in enumerate(self._rois)}

    def _categories(self, planted: PlantedRoi) -> np.ndarray:
        """Return the category of every stimulus."""
        labels = self._stimuli.labels.get("category")
        known = [] if labels is None else sorted(set(map(str, labels)))
        if labels is None or planted.prefers not in known:
            raise UserError(
                f"dataset.rois: {planted.roi} prefers '{planted.prefers}', which is no category of the stimuli"
                f"{did_you_mean(str(planted.prefers), known)}",
                hint=f"categories: {', '.join(known) or 'none (take `images: drawings`, or a folder per category)'}",
            )
        return np.asarray(labels, dtype=str)

    def _features(self, planted: PlantedRoi) -> np.ndarray:
        """Return the planted layer's features, from the store that the recipe uses."""
        assert planted.encoder is not None
        settings = self.context.encoders[planted.encoder]
        if planted.encoder not in self._encoders:
            self._encoders[planted.encoder] = open_encoder(settings, seed=self.context.seed, device=self.context.device)
        encoder = self._encoders[planted.encoder]
        if planted.layer is None:
            raise UserError(f"dataset.rois: {planted.roi} names encoder '{planted.encoder}' but no layer")
        chosen = encoder.select([planted.layer])
        if len(chosen) != 1:
            raise UserError(
                f"dataset.rois: layer '{planted.layer}' of {planted.roi} matches {len(chosen)} layers, not one"
            )
        # All layers that the recipe asks for, so that the stimuli pass through the network once.
        wanted = {layer.name for layer in encoder.select(settings.layers)} | {chosen[0].name}
        store = FeatureStore(self.context.cache or default_cache(None))
        names = [layer.name for layer in encoder.layers() if layer.name in wanted]
        return store.features(encoder, self._stimuli, names, settings.pool)[chosen[0].name]


VOLUME, VOXEL_MM = (18, 22, 18), 8.0


def blob_masker(sizes: list[int]) -> tuple[Any, Any]:
    """Return a masker that lays the ROIs out as balls in a small volume, and a background; None without nilearn."""
    if find_spec("nilearn") is None:
        return None, None
    import nibabel
    from nilearn.maskers import NiftiMasker

    finer = int(np.ceil((2 * sum(sizes) / np.prod(VOLUME)) ** (1 / 3)))  # than `VOXEL_MM`, where ROIs would fill it
    shape, step = tuple(finer * n for n in VOLUME), VOXEL_MM / finer
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = (-68, -104, -60)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1).reshape(-1, 3) / finer
    angles = 2 * np.pi * np.arange(len(sizes)) / len(sizes)
    centers = np.stack([9 + 5 * np.cos(angles), 10.5 + 6.5 * np.sin(angles), np.full(len(sizes), 8.5)], axis=1)
    owner = np.full(len(grid), -1)
    for index, size in enumerate(sizes):
        distance = np.linalg.norm(grid - centers[index], axis=1)
        distance[owner >= 0] = np.inf
        owner[np.argsort(distance, kind="stable")[:size]] = index
    # Targets are ordered by ROI, voxels by place: bring one to the other.
    inside = np.flatnonzero(owner >= 0)
    order = np.argsort(owner[inside], kind="stable")
    mask = nibabel.Nifti1Image((owner >= 0).reshape(shape).astype(np.uint8), affine)
    brain = np.linalg.norm((grid - [8.5, 10.5, 8.5]) / [8, 10, 8], axis=1) < 1
    background = nibabel.Nifti1Image(brain.reshape(shape).astype(np.float32) * 100, affine)
    return _Reordered(NiftiMasker(mask_img=mask, standardize=None).fit(), order), background


class _Reordered:
    """A masker whose targets stand in another order than its voxels."""

    def __init__(self, masker: Any, order: np.ndarray) -> None:
        self.masker = masker
        self.order = order

    def inverse_transform(self, X: np.ndarray) -> Any:
        voxels = np.empty_like(X)
        voxels[..., self.order] = X
        return self.masker.inverse_transform(voxels)
