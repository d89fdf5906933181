"""`pereira2018`: concepts and passages (Pereira et al. 2018), one image of betas a concept or sentence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.digests import digest
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.data.account import RunUse
from brainbench.data.base import Context, Dataset, Pieces, Responses, Stimuli
from brainbench.data.containers import read_mat
from brainbench.data.images import with_all
from brainbench.data.layouts.matrices import flat_columns
from brainbench.data.layouts.nsd_files import SYNTHETIC
from brainbench.data.stimulus_files import read_stimuli
from brainbench.recipes.data.languages import PereiraSettings

COUNTS = {"180concepts": 180, "384sentences": 384, "243sentences": 243}
PASSAGES = {"384sentences": 96, "243sentences": 72}
ARRAYS = ("examples", "examples_passagesentences")
"""Names of the images of betas: of ``examples_*`` files, and of sentences in ``data_*`` files."""


class Pereira(Dataset):
    """Sixteen participants read concepts or passages; a row is the image of a concept or of a sentence.

    Voxels are those of the atlases that the recipe names: each is one region, all its parcels together. Rows of
    sentences know their ``passage`` and its ``topic``, to be held out together.
    """

    name = "pereira2018"
    expected = "a folder a participant with data_384sentences.mat (or examples_384sentences.mat), ..."

    def __init__(self, settings: PereiraSettings, root: Path) -> None:
        self.settings, self.root = settings, root
        self.simulated = (root / SYNTHETIC).is_file()
        stem = settings.experiment
        self._stem = f"{stem}_{settings.paradigm}" if stem == "180concepts" else stem
        self._files = {
            folder.name: path for folder in sorted(root.iterdir()) if (path := self._file(folder)) is not None
        }
        if not self._files:
            raise UserError(f"{root}: no participant's folder holds data_{self._stem}.mat or examples_{self._stem}.mat")
        self._read: dict[str, Mapping[str, Any]] = {}
        self._pictures = None if settings.pictures is None else read_stimuli(root / settings.pictures, "image")

    @classmethod
    def open(cls, settings: PereiraSettings, root: Path | None, context: Context) -> Pereira:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return any(any(path.glob(f"*/{kind}_{name}*.mat")) for kind in ("data", "examples") for name in COUNTS)

    @property
    def subjects(self) -> list[str]:
        """Participants with a file of the experiment."""
        return list(self._files)

    def files(self) -> list[Path]:
        """Return the participants' files, and the pictures'."""
        return sorted([*self._files.values(), *([] if self._pictures is None else self._pictures.files)])

    def notes(self) -> list[str]:
        """Say what a copy is, and what the stimuli are taken from."""
        copy = [f"synthetic copy of the layout ({SYNTHETIC}): no brain was measured"] if self.simulated else []
        return [*copy, *([] if self._pictures is None else self._pictures.notes)]

    def _file(self, folder: Path) -> Path | None:
        paths = [folder / f"{kind}_{self._stem}.mat" for kind in ("data", "examples")]
        return next((path for path in paths if path.is_file()), None)

    # Reading -------------------------------------------------------------------------------------------------------

    def _of(self, subject: str) -> Mapping[str, Any]:
        """Return the variables of a participant's file."""
        if subject not in self._read:
            self._read = {subject: read_mat(self._files[subject], (), whole=True)}  # one participant's at a time
        return self._read[subject]

    def _get(self, subject: str, name: str) -> Any:
        values = self._of(subject)
        if name not in values:
            known = [key for key in values if not key.startswith("__")]
            raise UserError(
                f"{self._files[subject]}: no variable '{name}'{did_you_mean(name, known)}",
                hint=f"it has {one_of(known)}",
            )
        return values[name]

    def _names(self, subject: str) -> list[str]:
        """Return the concepts, or the sentences, in the order of the rows."""
        concepts = self.settings.experiment == "180concepts"
        key, rows = ("keyConcept", "labelsConcept") if concepts else ("keySentences", "labelsSentences")
        names = [str(one).strip() for one in np.atleast_1d(self._get(subject, key))]
        expected = COUNTS[self.settings.experiment]
        if len(names) != expected:
            raise UserError(f"{self._files[subject]}: '{key}' has {len(names)} entries, {expected} were expected")
        empty = next((row for row, name in enumerate(names) if not name), None)
        if empty is not None:
            raise UserError(f"{self._files[subject]}: entry {empty + 1} of '{key}' is empty")
        if rows in self._of(subject):
            path = self._files[subject]
            order, listed = _whole(self._get(subject, rows), path, rows), np.arange(1, expected + 1)
            if np.array_equal(np.sort(order), listed) and not np.array_equal(order, listed):
                raise UserError(
                    f"{path}: images are in another order than '{key}', says '{rows}': not 1 ... {expected}"
                )
        return names

    def _labels(self, subject: str) -> dict[str, np.ndarray]:
        """Return the passage and the topic of every sentence; numbers in the file count from 1."""
        if self.settings.experiment == "180concepts":
            return {}
        path, n = self._files[subject], PASSAGES[self.settings.experiment]
        of = _whole(self._get(subject, "labelsPassageForEachSentence"), path, "labelsPassageForEachSentence")
        topic = _whole(self._get(subject, "labelsPassageCategory"), path, "labelsPassageCategory")
        names = [str(one) for one in np.atleast_1d(self._get(subject, "keyPassageCategory"))]
        if len(of) != COUNTS[self.settings.experiment] or len(topic) != n or set(of) != set(range(1, n + 1)):
            raise UserError(
                f"{path}: {len(of)} sentences of {len(set(of))} passages with {len(topic)} topics; "
                f"{COUNTS[self.settings.experiment]} sentences of passages 1 ... {n} were expected"
            )
        if topic.min() < 1 or topic.max() > len(names):
            raise UserError(f"{path}: 'labelsPassageCategory' holds {topic.max()}; 1 ... {len(names)} were expected")
        return {
            "passage": np.array([f"passage{number:03d}" for number in of]),
            "topic": np.array([names[topic[number - 1] - 1] for number in of]),
        }

    def _columns(self, subject: str, n_voxels: int) -> dict[str, np.ndarray]:
        """Return the voxels of every atlas that the recipe names, from 0; both families of files are read."""
        meta, path = self._get(subject, "meta"), self._files[subject]
        if "atlases" in meta:
            names, cells = [str(one) for one in np.atleast_1d(meta["atlases"])], _cells(meta["roiColumns"])
            if len(set(names)) != len(cells):
                raise UserError(f"{path}: roiColumns of {len(cells)} atlases, `atlases` names {one_of(names)}")
            found = dict(zip(names, cells, strict=True))
        else:
            found = {
                name.lower(): meta[f"roiColumns{name}"] for name in ("AAL", "Gordon") if f"roiColumns{name}" in meta
            }
        columns = {}
        for name in self.settings.atlases:
            if name not in found:
                raise UserError(
                    f"dataset.atlases: {path} has no atlas '{name}'{did_you_mean(name, found)}",
                    hint=f"it has {one_of(found)}; data_*.mat files hold more than examples_*.mat",
                )
            parcels = [_whole(parcel, path, f"roiColumns of {name}") for parcel in _cells(found[name])]
            voxels = np.unique(np.concatenate([np.zeros(0, int), *parcels]))
            if not len(voxels) or voxels[0] < 1 or voxels[-1] > n_voxels:
                span = f"{voxels[0]} ... {voxels[-1]}" if len(voxels) else "nothing"
                raise UserError(f"{path}: roiColumns of '{name}' hold {span}; 1 ... {n_voxels} were expected")
            columns[name] = voxels - 1
        return columns

    # The contract --------------------------------------------------------------------------------------------------

    def stimuli(self, subject: str) -> Stimuli:
        """Return concepts, with the pictures that showed them where there is a table, or sentences."""
        names = self._names(subject)
        concepts = self.settings.experiment == "180concepts"
        ids = names if concepts else [f"sentence{row + 1:03d}" for row in range(len(names))]
        return Stimuli(
            ids=ids,
            modality="text",
            load=names.__getitem__,
            content_digests=[digest(name) for name in names],
            labels=self._labels(subject),
            source="keyConcept" if concepts else "keySentences",
            pieces=self._shown(names) if concepts and self._pictures is not None else None,
        )

    def _shown(self, concepts: list[str]) -> Pieces:
        """Return the pictures of the concepts."""
        assert self._pictures is not None
        table, pictures = self._pictures.path, self._pictures.stimuli
        if "concept" not in pictures.labels:
            raise UserError(f"{table}: no column 'concept', which says what each picture shows")
        place = {name: row for row, name in enumerate(concepts)}
        shows = [str(name) for name in pictures.labels["concept"]]
        unknown = next((row for row, name in enumerate(shows) if name not in place), None)
        if unknown is not None:
            raise UserError(
                f"{table}:{self._pictures.lines[unknown]}  '{shows[unknown]}' is no concept of "
                f"{self.settings.experiment}{did_you_mean(shows[unknown], place)}"
            )
        lacking = [name for name in concepts if name not in set(shows)]
        if lacking:
            raise UserError(f"{table}: {len(lacking)} of {len(concepts)} concepts have no picture ({lacking[0]}, ...)")
        return Pieces(pictures, np.array([place[name] for name in shows]))

    def responses(self, subject: str) -> Responses:
        """Return one row a concept or sentence."""
        path, n = self._files[subject], len(self._names(subject))
        values = next((self._of(subject)[name] for name in ARRAYS if name in self._of(subject)), None)
        if values is None:
            raise UserError(f"{path}: no variable {' or '.join(ARRAYS)}")
        values = np.asarray(values)
        if values.ndim != 2 or len(values) != n or values.dtype.kind != "f":
            raise UserError(f"{path}: images are {values.dtype} of shape {values.shape}, ({n}, voxels) was expected")
        columns = self._columns(subject, values.shape[1])
        kept = np.unique(np.concatenate(list(columns.values())))
        data = values[:, kept].astype(np.float32)
        absent = ~np.isfinite(data).all(axis=0)
        flat = flat_columns(np.where(absent, 0, data)) & ~absent
        account = [
            RunUse(subject, left_out=f"{dropped.sum()} of {len(kept)} voxels", why=why)
            for dropped, why in ((absent, "not a number in some image"), (flat, "never change"))
            if dropped.any()
        ]
        good = ~(absent | flat)
        rois = {name: np.isin(kept, voxels)[good] for name, voxels in columns.items()}
        empty = [name for name, mask in rois.items() if not mask.any()]
        if empty:
            raise UserError(f"{path}: no voxel of '{empty[0]}' has numbers that change")
        responses = Responses(
            subject=subject,
            data=data[:, good],
            stimulus=np.arange(n),
            run=np.full(n, self._stem),
            rois=with_all(rois, int(good.sum()), self.root),
            labels=self._labels(subject),
            notes=[f"{path.name}: {n} images, {len(kept)} of {values.shape[1]} voxels lie in the atlases asked for"],
        )
        responses.account += account
        return responses


def _cells(value: Any) -> list[Any]:
    """Return the cells of a cell array, which SciPy gives as an array of objects, or as the one value it holds."""
    if isinstance(value, (list, tuple)):
        return list(value)
    array = np.asarray(value)
    return list(array) if array.dtype == object else [array]


def _whole(value: Any, path: Path, name: str) -> np.ndarray:
    """Return whole numbers as ``(n,)`` int."""
    array = np.asarray(value).reshape(-1)
    if array.dtype.kind not in "iufb" or (array.size and not np.all(array == np.round(array.astype(float)))):
        raise UserError(f"{path}: '{name}' must hold whole numbers")
    return array.astype(int)
