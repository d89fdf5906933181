"""Proposes a recipe for a folder and writes it, with the tables that it needs: `brainbench data init`."""

from __future__ import annotations

import csv
import io
import shlex
from pathlib import Path
from typing import Any

from brainbench.commands.check import problems_of
from brainbench.commands.proposing.derivatives import propose_derivatives
from brainbench.commands.proposing.distances import propose_distances
from brainbench.commands.proposing.inventory import Inventory, Proposal
from brainbench.commands.proposing.own import propose_own
from brainbench.commands.proposing.recordings import propose_recordings
from brainbench.core.errors import UserError, one_of
from brainbench.core.files import explain_os_errors, write_text
from brainbench.recipes.datasets import DATASETS, DatasetSettings, RecordingSettings
from brainbench.recipes.reader import parse_recipe
from brainbench.recipes.template import render, started, templates


def init(folder: str, out: str | None = None, kind: str | None = None) -> list[str]:
    """Write a recipe for what a folder holds; return what it took each file for and what is missing, a line each.

    Parameters
    ----------
    folder : str
    out : str, optional
        The recipe; by default the folder's name in the working directory. Tables that the folder lacks are written
        beside it, in ``<name>-tables``; nothing is written into `folder`.
    kind : str, optional
        Kind of recipe.

    Raises
    ------
    UserError
        If nothing in the folder can be read, or the recipe is there already.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"data init: {root} is not a folder")
    root = root.resolve()
    recipe = Path(out) if out is not None else Path(f"{root.name}.yaml")
    beside = recipe.resolve().with_name(f"{recipe.stem}-tables")
    for path in (recipe, beside):
        if path.exists():
            raise UserError(f"data init: {path} is there already; nothing was written", hint="--out NAME.yaml")
    proposal = propose(root)
    proposal.dataset |= {
        setting: str(beside / name)
        for name in proposal.tables
        for setting, value in (("recordings", "recordings.csv"), ("events", "events.csv"), ("stimuli", "stimuli.csv"))
        if name == value
    }
    design = proposal.dataset.get("design", "")
    if any(name.endswith("design.csv") for name in proposal.tables) and "/" not in design:
        proposal.dataset["design"] = str(beside / design)
    text = _recipe_text(proposal, kind or _usual_kind(DATASETS[proposal.dataset["name"]]), folder)
    parsed = parse_recipe(text, str(recipe))
    with explain_os_errors(recipe):
        for name, rows in proposal.tables.items():
            beside.mkdir(parents=True, exist_ok=True)
            write_text(beside / name, _as_csv(rows))
        recipe.parent.mkdir(parents=True, exist_ok=True)
        write_text(recipe, text)
    lines = [f"took     {what}: {role}" for what, role in proposal.took]
    lines += [f"wrote    {beside / name}" for name in proposal.tables]
    lines += [f"missing  {one}" for one in proposal.missing]
    wrong = problems_of(parsed)
    lines += [f"problem  {line}" for line in wrong]
    lines.append(f"wrote    {recipe}" + (": no problems" if not wrong else ": put right what is named above"))
    return [*lines, f"next     {shlex.join(['brainbench', 'check', str(recipe)])}"]


def _usual_kind(settings: type[DatasetSettings]) -> str:
    if settings.holds == "distances":
        return "rsa"
    return "decode" if issubclass(settings, RecordingSettings) else "encode"


def propose(root: Path) -> Proposal:
    """Return a recipe for a folder: a published data set that is known by its files, BIDS, recordings, or one's own."""
    for name, model in DATASETS.items():
        if model.official and DATASETS.builder(name).looks_like(root):
            return Proposal({"name": name, "root": str(root)}, took=[(root.name, f"the data set '{name}'")])
    found = Inventory(root)
    for look in (propose_derivatives, propose_recordings, propose_distances, propose_own):
        proposal = look(found)
        if proposal is not None:
            return proposal
    raise UserError(
        f"data init: {root} holds nothing to make a recipe of: {found.summary()}",
        hint="known are: fMRIPrep's derivatives in a BIDS folder; recordings of sensors; images, sounds or texts with "
        "arrays of responses (.npy) and a table of their rows, or with RDMs; images alone",
    )


def _recipe_text(proposal: Proposal, kind: str, folder: str) -> str:
    if kind not in templates():
        raise UserError(f"data init: no kind of recipe is called '{kind}'", hint=f"kinds: {one_of(templates())}")
    found = started(kind, proposal.dataset)
    if found is None:
        raise UserError(f"data init: `kind: {kind}` has no use for what {folder} holds ('{proposal.dataset['name']}')")
    model, example = found
    example = example | {name: value for name, value in proposal.sections.items() if name in model.model_fields}
    if "decoding" in example:
        example["decoding"] = {**example["decoding"], "label": _label(proposal, example["decoding"]["label"])}
    elif proposal.labels:
        told = ", ".join(f"{name} ({count} values)" for name, count in proposal.labels.items())
        proposal.took.append((told, "labels that `--kind decode` could decode"))
    lines = [f"# Proposed by `brainbench data init {folder}`."]
    lines += [f"# {what}: {role}" for what, role in proposal.took]
    lines += [f"# Missing: {one}" for one in proposal.missing]
    return "\n".join([*(line[:120] for line in lines), render(model, example)])


def _label(proposal: Proposal, otherwise: str) -> str:
    """Return the label that is decoded: the only one there is, or one that the user may have to change."""
    if not proposal.labels:
        proposal.missing.append(
            f"which column is the label (`decoding.label`): none has few values; '{otherwise}' is written"
        )
        return otherwise
    first, *others = proposal.labels
    if others:
        proposal.missing.append(
            f"which column is the label (`decoding.label`): '{first}' was taken, not {', '.join(others)}"
        )
    return first


def _as_csv(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
