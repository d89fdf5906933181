"""A recipe for a BIDS data set with derivatives: task, space, stimuli, confounds, atlas."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from brainbench.commands.proposing.inventory import Inventory, Lookup, Proposal
from brainbench.core.order import natural
from brainbench.data.layouts.bids.chosen import folders_of, holds_derivatives
from brainbench.data.layouts.bids.files import (
    CIFTI,
    MISSING,
    NATIVE,
    SURFACES,
    VOLUMES,
    BidsRun,
    entities_of,
    events_file,
    find_runs,
)
from brainbench.data.tables import Table, read_table

_COLUMNS = ("stim_file", "stimulus", "stim_id", "image", "picture", "trial_type")
"""Columns of events that may name a stimulus, the likeliest first."""


def propose_derivatives(found: Inventory) -> Proposal | None:
    """Return a recipe for preprocessed images in a BIDS folder; None where there are none."""
    inside = [path for path in (found.root, *sorted(found.root.glob("derivatives/*"))) if path.is_dir()]
    places = [path for path in inside if holds_derivatives(path)]
    if not places:
        # The folder that holds pipelines, such as `derivatives`.
        nested = [path for path in sorted(found.root.iterdir()) if path.is_dir() and holds_derivatives(path)]
        proposal = propose_derivatives(Inventory(nested[0])) if nested else None
        if proposal is not None:
            others = "".join(f", not {path.name}" for path in nested[1:])
            proposal.took.insert(0, (nested[0].name, f"the derivatives{others}"))
        return proposal
    named = "derivatives/fmriprep"
    if places[0] != found.root:
        named = places[0].relative_to(found.root).as_posix()
    derived, raw = folders_of(found.root, named)
    proposal = Proposal({"name": "bids", "root": str(found.root)})
    if named != "derivatives/fmriprep":
        proposal.dataset["derivatives"] = named
    if derived == found.root:
        proposal.took.append((str(raw), "the raw data set, which holds the events"))
    images = [
        path for path in found.files if path.is_relative_to(derived) and path.name.endswith((VOLUMES, SURFACES, CIFTI))
    ]
    task = _task(images, proposal)
    space, resolution = _space([path for path in images if entities_of(path.name).get("task") == task], proposal)
    runs = find_runs(derived, task, space, resolution)
    proposal.took.append(
        (
            f"{len(images)} preprocessed images in {derived.name}",
            f"{sum(map(len, runs.values()))} runs of {len(runs)} subjects",
        )
    )
    proposal.dataset |= {"task": task, "space": space} | ({} if resolution is None else {"resolution": resolution})
    every = [run for one in runs.values() for run in one]
    _confounds(every, proposal)
    kept = [run for run in every if run.stem not in proposal.dataset.get("leave_out", [])]
    _stimuli(found, raw, kept, proposal)
    _atlas(found, derived, kept, proposal)
    return proposal


def _task(images: list[Path], proposal: Proposal) -> str:
    tasks = Counter(entities_of(path.name).get("task", "") for path in images)
    task = max(sorted(tasks), key=lambda name: (name != "rest", tasks[name]))
    if len(tasks) > 1:
        others = ", ".join(name for name in sorted(tasks) if name != task)
        proposal.missing.append(f"which task: '{task}' was taken; there are also {others}")
    return task


def _space(images: list[Path], proposal: Proposal) -> tuple[str, str | None]:
    """Return the space that is taken: a volume of a template first, then T1w, surfaces, CIFTI, native."""
    kinds: dict[str, list[Path]] = {}
    for path in images:
        kinds.setdefault(entities_of(path.name).get("space", NATIVE), []).append(path)

    def rank(space: str) -> tuple[int, str]:
        volumes = kinds[space][0].name.endswith(VOLUMES)
        order = 0 if space.startswith("MNI") and volumes else 1 if space == "T1w" else 2 if space != NATIVE else 3
        return order, space

    space = min(kinds, key=rank)
    labels = sorted(
        {entities_of(path.name).get("res", entities_of(path.name).get("den", "none")) for path in kinds[space]},
        key=natural,
    )
    resolution = labels[-1] if len(labels) > 1 else None
    if len(kinds) > 1:
        others = ", ".join(sorted(set(kinds) - {space}))
        proposal.took.append((f"space {space}", f"the images; `space` may also be {others}"))
    if resolution is not None:
        proposal.missing.append(f"which resolution: '{resolution}' of {', '.join(labels)} was taken")
    return space, resolution


def _confounds(runs: list[BidsRun], proposal: Proposal) -> None:
    """Take the confounds that all runs have, and leave out runs without any."""
    without, columns = [], []
    for run in runs:
        paths = [run.bold.with_name(f"{run.stem}_desc-confounds_{end}.tsv") for end in ("timeseries", "regressors")]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            without.append(run.stem)
        else:
            columns.append(set(read_table(path).columns))
    if not columns:
        proposal.dataset["confounds"] = []
        proposal.missing.append("confounds: no run has a table of them; none are modelled")
        return
    if without:
        proposal.dataset["leave_out"] = without
        proposal.missing.append(
            f"confounds of {', '.join(without)}: there is no table; `leave_out` leaves such runs out"
        )
    shared = set.intersection(*columns)
    groups = {"motion": {"trans_x", "rot_z"}, "wm_csf": {"csf", "white_matter"}}
    proposal.dataset["confounds"] = [name for name, needed in groups.items() if needed <= shared]


def _stimuli(found: Inventory, raw: Path, runs: list[BidsRun], proposal: Proposal) -> None:
    """Take the column of the events that names stimuli, and what they are."""
    tables = {run.stem: read_table(events_file(raw, run)) for run in runs}
    files = Lookup([path for path in [*found.files, *(raw / "stimuli").rglob("*")] if path.is_file()])
    table = next((path for path in (found.root / "stimuli.csv", raw / "stimuli.csv") if path.is_file()), None)
    shared = set.intersection(*(set(one.columns) for one in tables.values()))
    column = next((name for name in _COLUMNS if name in shared), None)
    if column is None:
        proposal.missing.append(
            f"which column of the events names the stimulus (`stimulus_column`): {', '.join(sorted(shared))}"
        )
        return
    if column != "stim_file":
        proposal.dataset["stimulus_column"] = column
    cells = sorted(
        {cell for one in tables.values() for cell in one.texts(column, required=False)} - {"", MISSING}, key=natural
    )
    if table is not None:
        modality = "image" if "path" in read_table(table).columns else "text"
        proposal.took.append((table.name, f"the stimuli ({modality}s)"))
    elif cells and all(files.find(cell, raw / "stimuli", raw) is not None for cell in cells):
        modality = "image" if not str(files.find(cells[0], raw / "stimuli", raw)).endswith(".txt") else "text"
        proposal.took.append((f"{len(cells)} files that '{column}' names", f"the stimuli ({modality}s)"))
    else:
        modality = "text"
        proposal.tables["stimuli.csv"] = [{"id": cell, "text": cell.replace("_", " ")} for cell in cells]
        proposal.missing.append(f"what was shown: the {len(cells)} values of '{column}' are taken for texts")
    proposal.dataset["modality"] = modality
    _holding_out(tables, column, proposal)


def _holding_out(tables: dict[str, Table], column: str, proposal: Proposal) -> None:
    """Hold out runs as well where stimuli come in several, and name the labels that could be decoded."""
    seen = Counter(cell for one in tables.values() for cell in set(one.texts(column, required=False)) - {"", MISSING})
    if len(tables) < 2:
        proposal.sections["hold_out"] = ["stimulus"]
    elif max(seen.values(), default=0) < 2:
        proposal.sections["hold_out"] = ["run"]
    shared = set.intersection(*(set(one.columns) for one in tables.values())) - {"onset", "duration", column}
    for name in sorted(shared, key=lambda name: (name != "trial_type", name)):
        values = Counter(
            cell
            for one in tables.values()
            for cell, shown in zip(one.texts(name, required=False), one.texts(column, required=False), strict=True)
            if shown not in ("", MISSING)
        )
        if 2 <= len(values) <= 50 and min(values.values()) > 1:
            proposal.labels[name] = len(values)


def _atlas(found: Inventory, derived: Path, runs: list[BidsRun], proposal: Proposal) -> None:
    """Take an atlas of the root, or fMRIPrep's own segmentation where every run of volumes has it."""
    own = [
        path
        for path in found.of("volume")
        if path.parent == found.root and (found.root / f"{path.name.partition('.')[0]}.tsv").is_file()
    ]
    if not runs[0].bold.name.endswith(VOLUMES):
        return
    if own:
        proposal.dataset["atlas"] = own[0].name
        proposal.took.append((own[0].name, "the regions"))
        return
    for name in ("aparcaseg", "aseg"):
        ending = f"desc-{name}_dseg.nii.gz"
        if (derived / f"desc-{name}_dseg.tsv").is_file() and all(run.beside(ending).is_file() for run in runs):
            proposal.dataset["atlas"] = name
            proposal.took.append((f"*_{ending}", "the regions"))
            return
