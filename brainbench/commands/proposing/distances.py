"""A recipe for distances between stimuli that were computed elsewhere: RDMs in .npy, .mat or rsatoolbox's HDF5."""

from __future__ import annotations

import re
from pathlib import Path

from brainbench.commands.proposing.inventory import Inventory, Proposal
from brainbench.commands.proposing.own import pattern_of, stimuli_in
from brainbench.core.errors import UserError
from brainbench.data.layouts.rdm_files import Rdm, number_of_stimuli, read_rdms

ENDINGS = (".npy", ".mat", ".hdf5", ".h5")
_PERSON = re.compile(r"(sub|subj|subject|participant|p|s)-?\d+$", re.IGNORECASE)


def propose_distances(found: Inventory) -> Proposal | None:
    """Return a recipe for files of RDMs of the stimuli that lie beside them; None where there are none.

    A file is one of RDMs where every array in it is one, of exactly as many stimuli as there are: rows of responses
    have as many columns as a triangle has pairs only by chance, and are no RDMs of all stimuli then.
    """
    modality, listed = stimuli_in(found)
    if listed is None:
        return None
    rows, source = listed
    for ending in ENDINGS:
        files = [path for path in found.files if path.suffix.lower() == ending]
        read = {path: _rdms_of(path, len(rows)) for path in files}
        known = {path: one for path, one in read.items() if one is not None}
        if known:
            break
    else:
        return None
    pattern, names = _pattern([found.short(path) for path in known])
    if pattern is None:
        return None
    proposal = Proposal({"name": "rdm", "root": str(found.root), "modality": modality, "rdms": pattern})
    rdms = [rdm for one in known.values() for rdm in one[0]]
    n_files = f"{len(known)} files" if len(known) > 1 else next(iter(names))
    proposal.took.append((f"{n_files} ({pattern})", f"{len(rdms)} RDMs of {len(rows)} stimuli"))
    proposal.took.append((source, f"{len(rows)} stimuli ({modality}s)"))
    others = [found.short(path) for path in files if path not in known]
    if others:
        proposal.took.append((", ".join(others[:3]), "nothing: no RDMs of these stimuli"))
    variables = {variable for _, variable in known.values()} - {None}
    if variables:
        proposal.dataset["variable"] = variables.pop()
    if source != "stimuli.csv" or not {"id", "text" if modality == "text" else "path"} <= set(
        found.tables[found.root / source].columns
    ):
        proposal.tables["stimuli.csv"] = rows
    _name_regions(proposal, pattern, [one for one, _ in known.values()])
    _check_order(proposal, rdms, [str(row["id"]) for row in rows], source)
    return proposal


def _rdms_of(path: Path, n_stimuli: int) -> tuple[list[Rdm], str | None] | None:
    """Return the RDMs of a file and the variable that holds them where it must be said; None where it holds none."""
    for variable in (None, *(_variables(path) if path.suffix.lower() == ".mat" else ())):
        try:
            rdms = read_rdms(path, variable)
        except UserError:
            continue
        if rdms and all(number_of_stimuli(len(rdm.values)) == n_stimuli for rdm in rdms):
            return rdms, variable
    return None


def _variables(path: Path) -> list[str]:
    from scipy.io import whosmat

    try:
        return [name for name, *_ in whosmat(path)]
    except Exception:  # SciPy's parser raises errors of every kind; `read_rdms` has refused such a file
        return []


def _pattern(names: list[str]) -> tuple[str | None, list[str]]:
    """Return paths as one pattern with ``{subject}`` and, where names have two parts that vary, ``{roi}``."""
    ending = Path(names[0]).suffix
    stems = [name[: -len(ending)] for name in names]
    for mark in ("_", "/"):
        parts = [tuple(stem.rsplit(mark, 1)) for stem in stems]
        if any(len(one) < 2 for one in parts):
            continue
        people, regions = ({one[place] for one in parts} for place in (0, 1))
        if len(people) > 1 and len(regions) > 1 and len(people) * len(regions) == len(names):
            found = pattern_of(sorted(people))
            if found is not None and not any(_PERSON.fullmatch(region) for region in regions):
                return f"{found[0]}{mark}{{roi}}{ending}", names
    one = pattern_of(names)
    return (None if one is None else one[0]), names


def _name_regions(proposal: Proposal, pattern: str, files: list[list[Rdm]]) -> None:
    """Name the regions of files that do not name theirs, and say that the user has to."""
    unnamed = max(sum(rdm.roi is None for rdm in rdms) for rdms in files)
    if "{roi}" not in pattern and unnamed > 1:
        proposal.dataset["rois"] = [f"region-{place}" for place in range(1, unnamed + 1)]
        proposal.missing.append(f"names of the {unnamed} regions of every file, in its order (`dataset.rois`)")
    if "{subject}" in pattern and "{roi}" not in pattern and len(files) > 1:
        known = [rdm.roi for rdms in files for rdm in rdms]
        if all(roi is None for roi in known):
            proposal.took.append(("names of the files", "participants (`{roi}` in `rdms` where they are regions)"))


def _check_order(proposal: Proposal, rdms: list[Rdm], ids: list[str], source: str) -> None:
    """Say that the order of the stimuli is taken for that of the RDMs, unless the files name their stimuli."""
    if not all(any(set(ids) <= set(named) for named in rdm.names.values()) for rdm in rdms):
        how = f"that of {source}" if source.endswith((".csv", ".tsv")) else "that of their names"
        proposal.missing.append(
            f"in which order the RDMs have the stimuli: {how} was taken, no file says it (`dataset.stimuli`)"
        )
