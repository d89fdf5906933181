"""What a generator is trained on: a fold's own training stimuli, drawn patterns, or a folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.features.store import FeatureStore
from brainbench.recipes.reconstruction import GeneratorSettings, SmallSettings
from brainbench.reconstruction.base import Condition, Images
from brainbench.reconstruction.images import stimulus_images

MAX_FOLDER_IMAGES = 100_000
DRAWINGS_SEED = 1000
"""Added to the recipe's seed: the pictures that a simulated participant sees are drawn from the seed itself."""


@dataclass(frozen=True)
class TrainingSet:
    """Images and their features.

    Attributes
    ----------
    stimuli : Stimuli
        Whose features stand in the store as a whole.
    rows : int ndarray (n,)
        The stimuli that are trained on.
    store : FeatureStore
    """

    stimuli: Stimuli
    rows: np.ndarray
    store: FeatureStore

    @cached_property
    def digest(self) -> str:
        """Digest of the images."""
        return digest([self.stimuli.digest(), digest_array(self.rows)])

    def pictures(self, size: int, channels: int) -> Images:
        """Return the images, ``(n, size, size, channels)``."""
        return stimulus_images(self.stimuli, size, channels, self.rows)

    def features(self, conditions: Sequence[Condition]) -> dict[str, np.ndarray]:
        """Return the true features of the images by condition, ``(n, *shape)``."""
        found = {}
        for one in conditions:
            values = self.store.features(one.encoder, self.stimuli, [one.layer], one.pool)[one.layer]
            found[one.name] = np.asarray(values[self.rows]).reshape(len(self.rows), *one.shape)
        return found


def training_set(
    generator: GeneratorSettings | None, seed: int, store: FeatureStore, stimuli: Stimuli, train: np.ndarray
) -> TrainingSet:
    """Return what a generator is trained on in one fold.

    Parameters
    ----------
    generator : GeneratorSettings or None
    seed : int
        The recipe's.
    store : FeatureStore
    stimuli : Stimuli
        Of the participant.
    train : int ndarray
        Training stimuli of the fold.

    Raises
    ------
    UserError
        If nothing is left to train on.
    """
    if not isinstance(generator, SmallSettings) or generator.train_on == "training":
        return TrainingSet(stimuli, train, store)
    if generator.train_on == "patterns":
        drawn = _patterns(generator.n_images, generator.image_size, seed, _Known(stimuli))
    elif generator.train_on == "drawings":
        drawn = _drawings(generator.n_images, generator.image_size, seed, _Known(stimuli))
    else:
        drawn = _folder(generator.train_on, seed, _Known(stimuli))
    return TrainingSet(drawn, np.arange(len(drawn)), store)


class _Known:
    """Stimuli as a key of a cache: equal when their content is."""

    def __init__(self, stimuli: Stimuli) -> None:
        self.stimuli = stimuli
        self.name = stimuli.digest()

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and other.name == self.name


@lru_cache(maxsize=4)
def _patterns(n: int, size: int, seed: int, known: _Known) -> Stimuli:
    """Return drawn patterns of which none equals a stimulus, of the stimuli's own modality.

    Raises
    ------
    UserError
        If the stimuli are arrays of another size.
    """
    from brainbench.simulation.patterns import binary_patterns

    if known.stimuli.modality == "array" and np.shape(known.stimuli.load(0)) != (size, size):
        theirs = " x ".join(map(str, np.shape(known.stimuli.load(0))))
        raise UserError(
            f"generator.image_size: {size}, and the stimuli are arrays of {theirs}: encoders read arrays as they are, "
            "and of patterns of another size other features",
            hint=f"`generator.image_size: {np.shape(known.stimuli.load(0))[0]}` draws patterns like them",
        )
    shown = stimulus_images(known.stimuli, size, 1)
    images, kinds = binary_patterns(n, size, seed, exclude=list(shown[..., 0]))
    grids: list[np.ndarray] = [image[..., 0] for image in images]
    if known.stimuli.modality == "image":
        grids = [np.repeat((255 * grid).astype(np.uint8)[..., None], 3, axis=-1) for grid in grids]
    return Stimuli.of(grids, ids=[f"{kind}-{i:05d}" for i, kind in enumerate(kinds)])


@lru_cache(maxsize=4)
def _drawings(n: int, size: int, seed: int, known: _Known) -> Stimuli:
    """Return drawn pictures of which none equals a stimulus."""
    from brainbench.simulation.drawings import drawn_stimuli

    drawn = drawn_stimuli(n, size, seed + DRAWINGS_SEED)
    shown = set(known.stimuli.content_digests)
    return drawn.take(np.array([i for i, one in enumerate(drawn.content_digests) if one not in shown], dtype=int))


@lru_cache(maxsize=4)
def _folder(folder: str, seed: int, known: _Known) -> Stimuli:
    """Return the images of a folder without those that equal a stimulus."""
    from brainbench.data.layouts.shown import folder_images

    images = folder_images(folder, MAX_FOLDER_IMAGES, seed)
    shown = set(known.stimuli.content_digests)
    rows = np.array([i for i, one in enumerate(images.content_digests) if one not in shown], dtype=int)
    if not len(rows):
        raise UserError(f"generator.train_on: every image of {folder} is a stimulus of the data set")
    return images.take(rows)
