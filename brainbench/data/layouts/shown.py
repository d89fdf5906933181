"""`stimuli`: pictures or texts, and nobody who was shown them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError
from brainbench.data.base import Context, Dataset, Responses, Stimuli
from brainbench.data.tables import read_text
from brainbench.data.vision.picture import PICTURES, image_of
from brainbench.recipes.data.own import StimuliSettings

NOBODY = "nobody"
"""Who was shown them."""


class Shown(Dataset):
    """A folder of images, whose subfolders are their label ``category``, or a file with a text a line."""

    name = "stimuli"
    expected = "images, or with `texts` a file with a text a line"
    measured = False

    def __init__(self, settings: StimuliSettings, root: Path) -> None:
        self.settings, self.root = settings, root
        self._stimuli = (
            self._texts(root / settings.texts) if settings.texts else folder_images(str(root), None, 0, "dataset.root")
        )

    @classmethod
    def open(cls, settings: StimuliSettings, root: Path | None, context: Context) -> Shown:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root)

    def _texts(self, path: Path) -> Stimuli:
        if not path.is_file():
            raise UserError(f"dataset.texts: {path} is no file")
        texts = [line.strip() for line in read_text(path).splitlines() if line.strip()]
        if not texts:
            raise UserError(f"dataset.texts: {path} holds no text")
        return Stimuli(
            ids=[f"text-{index + 1:05d}" for index in range(len(texts))],
            modality="text",
            load=texts.__getitem__,
            content_digests=[digest(text) for text in texts],
            source=f"{len(texts)} texts of {path}",
        )

    @property
    def subjects(self) -> list[str]:
        """One name that stands for nobody."""
        return [NOBODY]

    def stimuli(self, subject: str) -> Stimuli:
        """Return all of them."""
        return self._stimuli

    def responses(self, subject: str) -> Responses:
        """Refuse: there are none."""
        raise UserError("`dataset: stimuli` holds no responses: nobody was measured", hint="`kind: lens` needs none")

    def summary(self, subject: str) -> str:
        """Return how many there are."""
        return f"{len(self._stimuli)} {self._stimuli.modality} stimuli, shown to nobody"

    def files(self) -> list[Path]:
        """Return the images, or the file of texts."""
        if self.settings.texts:
            return [self.root / self.settings.texts]
        return images_in(self.root)


def images_in(root: Path) -> list[Path]:
    """Return the images of a folder and those below it, sorted."""
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in PICTURES)


def folder_images(folder: str, n: int | None, seed: int, place: str = "dataset.images") -> Stimuli:
    """Return `n` images of a folder (without `n`, or where it holds fewer, all), chosen by `seed`, in sorted order.

    Where images lie in several subfolders, the subfolder is their label `category`.

    Raises
    ------
    UserError
        If the folder holds no image, or one cannot be read.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"{place}: {root} is not a folder")
    files = images_in(root)
    if not files:
        raise UserError(f"{place}: {root} holds no image ({', '.join(PICTURES)})")
    if n is not None and len(files) > n:
        files = [files[i] for i in np.sort(np.random.default_rng([seed, 73]).permutation(len(files))[:n])]

    def load(index: int) -> np.ndarray:
        return image_of(files[index])

    places = [path.relative_to(root).parent.as_posix() for path in files]
    return Stimuli(
        ids=[str(path.relative_to(root)) for path in files],
        modality="image",
        load=load,
        content_digests=[digest_array(load(index)) for index in range(len(files))],
        labels={"category": np.array(places)} if len(set(places)) > 1 else {},
        source=f"{len(files)} images of {root}",
    )
