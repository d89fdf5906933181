"""`tuckute2024`: sentences that drive and suppress the language network (Tuckute et al. 2024), one value a region."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brainbench.core.digests import digest
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.data.account import RunUse
from brainbench.data.base import Context, Dataset, Responses, Stimuli, subjects_asked
from brainbench.data.images import with_all
from brainbench.data.layouts.nsd_files import SYNTHETIC
from brainbench.data.tables import Table, number_in, read_table
from brainbench.recipes.data.languages import TuckuteSettings

PATTERN = "brain-lang-data_participant_*.csv"
CONDITIONS = {"B": "baseline", "D": "drive", "S": "suppress"}


class Tuckute(Dataset):
    """Participants read six-word sentences; a row is a sentence, a target the mean of a functional region.

    Rows know their ``condition``: baseline sentences, and those that a model chose to drive or suppress the language
    network. The last were chosen by the responses of other participants to the first.
    """

    name = "tuckute2024"
    expected = PATTERN

    def __init__(self, settings: TuckuteSettings, root: Path) -> None:
        self.settings, self.root = settings, root
        self.simulated = (root / SYNTHETIC).is_file()
        found = sorted(root.glob(PATTERN)) or sorted((root / "data").glob(PATTERN))
        if len(found) != 1:
            raise UserError(f"{root}: {len(found)} files {PATTERN}; one was expected there, or in data/")
        (self._path,) = found
        self._table = self._checked(read_table(self._path))
        chosen = subjects_asked(self.subjects, settings.subjects)
        read = {tuple(np.flatnonzero(self._values(subject)[1]).tolist()) for subject in chosen}
        self.aligned_targets = len(read) == 1  # a mean over participants is one of the same sentences

    def _checked(self, table: Table) -> Table:
        table.require("response_target", "roi", "target_UID", "item_id", "sentence", "cond")
        values = [table.texts(name) for name in ("roi", "target_UID", "item_id", "sentence", "cond")]
        table.unique("roi", "target_UID", "item_id")
        sentences: dict[str, str] = {}
        conditions: dict[str, str] = {}
        for line, _, _, item, sentence, cond in zip(table.lines, *values, strict=True):
            if cond not in CONDITIONS:
                table.problems.add(f"column 'cond': '{cond}'; allowed: {', '.join(CONDITIONS)}", line)
            for known, value, what in ((sentences, sentence, "sentence"), (conditions, cond, "cond")):
                if known.setdefault(item, value) != value:
                    table.problems.add(f"item {item} has another {what} than above", line)
        table.finish()
        rois = sorted(set(table.texts("roi")))
        for name in self.settings.rois or []:
            if name not in rois:
                raise UserError(
                    f"dataset.rois: {self._path} has no region '{name}'{did_you_mean(name, rois)}", hint=one_of(rois)
                )
        return table

    @classmethod
    def open(cls, settings: TuckuteSettings, root: Path | None, context: Context) -> Tuckute:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root)

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return any(path.glob(PATTERN)) or any((path / "data").glob(PATTERN))

    @property
    def subjects(self) -> list[str]:
        """Participants, by the laboratory's numbers."""
        return sorted(set(self._table.texts("target_UID")))

    def files(self) -> list[Path]:
        """Return the table."""
        return [self._path]

    def notes(self) -> list[str]:
        """Say what a copy is."""
        return [f"synthetic copy of the layout ({SYNTHETIC}): no brain was measured"] if self.simulated else []

    def _kept(self) -> np.ndarray:
        """Return which rows of the table are of the conditions asked for."""
        wanted = {letter for letter, name in CONDITIONS.items() if name in self.settings.conditions}
        return np.isin(self._table.texts("cond"), sorted(wanted))

    def _items(self) -> dict[str, tuple[str, str]]:
        """Return sentence and condition of every item asked for, in the order of their first rows."""
        table, kept = self._table, self._kept()
        columns = zip(kept, table.texts("item_id"), table.texts("sentence"), table.texts("cond"), strict=True)
        return {item: (sentence, CONDITIONS[cond]) for keep, item, sentence, cond in columns if keep}

    def stimuli(self, subject: str) -> Stimuli:
        """Return every sentence of the conditions asked for, the same for all participants."""
        items = self._items()
        texts = [sentence for sentence, _ in items.values()]
        return Stimuli(
            ids=[f"item{item}" for item in items],
            modality="text",
            load=texts.__getitem__,
            content_digests=[digest(text) for text in texts],
            labels={"condition": np.array([condition for _, condition in items.values()])},
            source=self._path.name,
        )

    def _rois(self) -> list[str]:
        return self.settings.rois or sorted(set(self._table.texts("roi")))

    def _values(self, subject: str) -> tuple[np.ndarray, np.ndarray, int]:
        """Return values of sentences and regions, the sentences that have all, and how many have some alone."""
        table, items = self._table, self._items()
        place = {item: row for row, item in enumerate(items)}
        rois = self._rois()
        column = {name: at for at, name in enumerate(rois)}
        values = np.full((len(items), len(rois)), np.nan)
        cells = table.texts("response_target", required=False)
        of_subject = np.array(table.texts("target_UID")) == subject
        read = zip(
            table.lines, of_subject & self._kept(), table.texts("item_id"), table.texts("roi"), cells, strict=True
        )
        for line, mine, item, roi, cell in read:
            if mine and roi in column and cell.lower() not in ("", "nan", "na"):
                values[place[item], column[roi]], wrong = number_in(cell)
                if wrong:
                    raise UserError(f"{self._path}:{line}  column 'response_target': {wrong}")
        seen = np.isfinite(values).any(axis=1)
        absent = ~np.isfinite(values[seen]).any(axis=0)
        if not seen.any() or absent.all():
            raise UserError(f"{self._path}: {subject} has no response in the regions and conditions asked for")
        if absent.any():
            missing = [name for name, gone in zip(rois, absent, strict=True) if gone]
            raise UserError(
                f"{self._path}: {subject} has no response in {missing[0]}; targets must mean the same in everybody",
                hint=f"`dataset.rois` without {', '.join(missing[:3])}, or `dataset.subjects` without {subject}",
            )
        whole = np.isfinite(values).all(axis=1)
        return values, whole, int((seen & ~whole).sum())

    def responses(self, subject: str) -> Responses:
        """Return one row a sentence that the participant read, one target a region."""
        items, rois = self._items(), self._rois()
        values, whole, n_partial = self._values(subject)
        kept = np.flatnonzero(whole)
        said = RunUse(subject, left_out=f"{n_partial} sentences", why="no response in some region")
        masks = {name: np.arange(len(rois)) == at for at, name in enumerate(rois)}
        responses = Responses(
            subject=subject,
            data=values[kept].astype(np.float32),
            stimulus=kept,
            run=np.full(len(kept), "all"),
            rois=with_all(masks, len(rois), self._path),
            space="roi",
            labels={"condition": np.array([condition for _, condition in items.values()])[kept]},
            notes=[f"{len(kept)} of {len(items)} sentences; regions are means of voxels, z-scored within sessions"],
        )
        responses.account += [said] if n_partial else []
        return responses
