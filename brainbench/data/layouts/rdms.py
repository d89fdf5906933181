"""`rdm`: distances between stimuli that were computed elsewhere, of participants and regions."""

from __future__ import annotations

import glob
import re
from pathlib import Path

import numpy as np
from scipy.spatial.distance import squareform

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.core.order import natural
from brainbench.data.account import RunUse
from brainbench.data.base import Context, Dataset, Responses, Stimuli, subjects_asked
from brainbench.data.layouts.matrices import name_some
from brainbench.data.layouts.rdm_files import SUBJECTS, Rdm, number_of_stimuli, read_rdms
from brainbench.data.stimulus_files import read_stimuli
from brainbench.recipes.datasets import RdmSettings

ONE = "subject"
"""Who a file is of, where neither its name nor the file says it."""


class Rdms(Dataset):
    """RDMs in files; see docs/data/rdm.md.

    A participant's responses are the rows of the square RDMs, one region beside the other: row ``i`` holds the
    distances of stimulus ``i`` to all. `brainbench.studies.rsa` takes them as what they are.
    """

    name = "rdm"
    expected = "stimuli.csv and files of RDMs"

    def __init__(self, settings: RdmSettings, root: Path) -> None:
        self.settings = settings
        self.root = root
        self._table = read_stimuli(root / settings.stimuli, settings.modality)
        self._files: list[Path] = []
        self._known: dict[str, dict[str, np.ndarray]] = {}
        self._regions: list[str] = []
        self._file: dict[tuple[str, str], Path] = {}
        self._averaged: dict[str, list[str]] = {}
        self._unnamed: list[str] = []
        for path, subject, roi in self._found():
            self._files.append(path)
            self._take(path, subject, roi)
        self._check_regions()
        for subject in subjects_asked(self.subjects, settings.subjects):
            for roi, values in self._known[subject].items():
                self._check_distances(values, f"{self._file[subject, roi]}: {subject} in {roi}")

    @classmethod
    def open(cls, settings: RdmSettings, root: Path | None, context: Context) -> Rdms:
        """Open the folder; see `Dataset.open`."""
        assert root is not None
        return cls(settings, root)

    @property
    def subjects(self) -> list[str]:
        """Everyone who has an RDM, in natural order."""
        return sorted(self._known, key=natural)

    def files(self) -> list[Path]:
        """Return the table, the stimuli and the RDMs."""
        return sorted({*self._table.files, *self._files})

    def notes(self) -> list[str]:
        """Say what is odd about the stimuli and their order."""
        return [*self._table.notes, *self._unnamed]

    def stimuli(self, subject: str) -> Stimuli:
        """Return the stimuli, the same for everyone."""
        return self._table.stimuli

    def summary(self, subject: str) -> str:
        """Return how many distances of how many stimuli, in which regions."""
        n, regions = len(self._table.stimuli), list(self._known[subject])
        return f"{n * (n - 1) // 2} distances of {n} {self.settings.modality} stimuli in {', '.join(regions)}"

    def responses(self, subject: str) -> Responses:
        """Return the square RDMs of a participant, one region beside the other."""
        regions, n = self._known[subject], len(self._table.stimuli)
        rois = {}
        for place, roi in enumerate(regions):
            rois[roi] = np.zeros(n * len(regions), dtype=bool)
            rois[roi][place * n : (place + 1) * n] = True
        pairs = n * (n - 1) // 2
        return Responses(
            subject=subject,
            data=np.hstack([squareform(values) for values in regions.values()]),
            stimulus=np.arange(n),
            run=np.full(n, "1"),
            rois=rois,
            notes=[f"{pairs} distances of {n} stimuli in {len(regions)} region{'' if len(regions) == 1 else 's'}"],
            account=[
                RunUse(
                    subject, used=f"{pairs} distances of {n} stimuli", why="; ".join(self._averaged.get(subject, ()))
                )
            ],
        )

    # Finding files ---------------------------------------------------------------------------------------------

    def _found(self) -> list[tuple[Path, str | None, str | None]]:
        """Return every file with what its name says."""
        pattern = self.settings.rdms
        if Path(pattern).is_absolute():
            raise UserError(f"dataset.rdms: '{pattern}' must be relative to {self.root}")
        parts = re.split(r"(\{subject\}|\{roi\})", pattern)
        wild = "".join("*" if part in ("{subject}", "{roi}") else glob.escape(part) for part in parts)
        seen: set[str] = set()
        expression = ""
        for part in parts:
            name = part.strip("{}")
            if part not in ("{subject}", "{roi}"):
                expression += re.escape(part)
            else:
                expression += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)"
                seen.add(name)
        found = []
        for path in sorted(self.root.glob(wild)):
            match = re.fullmatch(expression, path.relative_to(self.root).as_posix())
            if match and path.is_file():
                named = match.groupdict()
                found.append((path, named.get("subject"), named.get("roi")))
        if not found:
            names = sorted(entry.name for entry in self.root.iterdir())
            raise UserError(
                f"{self.root}: no file matches dataset.rdms '{pattern}'",
                hint=f"the folder holds: {', '.join(names[:12]) or 'nothing'}",
            )
        return found

    def _take(self, path: Path, subject: str | None, roi: str | None) -> None:
        """Add the RDMs of one file, in the order of the table."""
        people: dict[str, list[Rdm]] = {}
        for one in read_rdms(path, self.settings.variable):
            person = subject or one.subject
            if person is None and one.n_averaged > 1:
                raise UserError(
                    f"{path}: {one.n_averaged} RDMs of {one.roi}, and nothing says which participant each is of",
                    hint=f"name them among its descriptors of RDMs ('{SUBJECTS[0]}'), or one file a participant",
                )
            people.setdefault(person or ONE, []).append(one)
        for person, found in people.items():
            mine = self._known.setdefault(person, {})
            for region, one in self._named(found, roi, path):
                self._regions.append(region)
                if self.settings.rois is not None and region not in self.settings.rois:
                    continue
                if region in mine:
                    raise UserError(f"{path}: {person} has two RDMs of {region}")
                mine[region], self._file[person, region] = self._in_order(one, path), path
                if one.n_averaged > 1:
                    self._averaged.setdefault(person, []).append(f"{region} is the mean of {one.n_averaged} RDMs")
            if not mine:
                del self._known[person]

    def _named(self, found: list[Rdm], roi: str | None, path: Path) -> list[tuple[str, Rdm]]:
        """Return the RDMs that a file has of one participant with their regions."""
        unnamed = [one for one in found if one.roi is None] if roi is None else []
        names = self.settings.rois or (["all"] if len(unnamed) == 1 else [])
        if unnamed and len(unnamed) != len(names):
            raise UserError(
                f"{path}: {len(unnamed)} RDMs whose regions it does not name, `dataset.rois` names {len(names)}",
                hint="dataset.rois: one name for each, in the order of the file",
            )
        given = iter(names)
        return [(roi or one.roi or next(given), one) for one in found]

    def _in_order(self, one: Rdm, path: Path) -> np.ndarray:
        """Return an RDM in the order of the table of stimuli."""
        ids = list(self._table.stimuli.ids)
        n = number_of_stimuli(len(one.values))
        orders = {}
        for name, named in one.names.items():
            if set(ids) <= set(named):
                place = {stimulus: index for index, stimulus in enumerate(named)}
                orders[name] = [place[stimulus] for stimulus in ids]
        if len({tuple(order) for order in orders.values()}) > 1:
            raise UserError(
                f"{path}: {one_of(sorted(orders))} name the stimuli of {self._table.path}, each in another order",
                hint="leave the descriptors out that number something else",
            )
        if orders:
            order = next(iter(orders.values()))
            return squareform(squareform(one.values)[np.ix_(order, order)], checks=False)
        for name, named in one.names.items():
            if set(ids) & set(named):
                missing = [stimulus for stimulus in ids if stimulus not in set(named)]
                raise UserError(f"{path}: names its stimuli ('{name}'), and has none called {name_some(missing)}")
        if n != len(ids):
            raise UserError(
                f"{path}: an RDM of {n} stimuli, {self._table.path} has {len(ids)}",
                hint="the table has one row per stimulus, in the order of the RDMs",
            )
        said = (
            f"{path.name}: taken in the order of {self._table.path.name}, for its {one_of(sorted(one.names))} "
            "name other stimuli"
        )
        if one.names and said not in self._unnamed:
            self._unnamed.append(said)
        return one.values

    def _check_regions(self) -> None:
        """Refuse a region that was asked for and is nowhere."""
        known = list(dict.fromkeys(self._regions))
        for roi in self.settings.rois or ():
            if roi not in known:
                raise UserError(
                    f"dataset.rois: no RDM of '{roi}'{did_you_mean(roi, known)}",
                    hint=f"regions: {one_of(known) or 'none'}",
                )

    def _check_distances(self, values: np.ndarray, what: str) -> None:
        """Refuse distances that nothing correlates with: missing, or all equal."""
        hint = "leave the participant out with `dataset.subjects`, or the {} out of the files{}"
        ids = self._table.stimuli.ids
        lost = np.flatnonzero(~np.isfinite(values))
        if len(lost):
            i, j = (int(one[lost[0]]) for one in np.triu_indices(len(ids), 1))
            raise UserError(
                f"{what}: {len(lost)} of {len(values)} distances are missing or not finite, the first one between "
                f"{ids[i]} and {ids[j]}",
                hint=hint.format("stimuli", " and of the table"),
            )
        if np.ptp(values) == 0:
            raise UserError(
                f"{what}: all distances are {values[0]:g}, and nothing correlates with them",
                hint=hint.format("region", ""),
            )
