"""Gets data sets and looks whether they are whole: `brainbench data show|fetch|check`."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from brainbench.core.errors import UserError
from brainbench.core.files import atomic_folder, explain_os_errors
from brainbench.core.registry import imported
from brainbench.data.base import Context, choose_subjects
from brainbench.data.cards import Card, load_card
from brainbench.data.check import check_dataset
from brainbench.data.roots import resolve_root
from brainbench.recipes.datasets import DATASETS
from brainbench.recipes.reader import plain_value


def describe(name: str) -> str:
    """Return a data set's card as text."""
    return load_card(name).render()


def fetch(name: str, root: str | None) -> str:
    """Download a data set into `root`, or return the steps where nothing can be fetched by a program.

    Files that the card gives a URL for must match its SHA-256; archives are unpacked without leaving `root`.

    Raises
    ------
    UserError
        If the download fails or differs from what the card says; nothing half-downloaded stays.
    """
    card = load_card(name)
    listed = [file for file in card.files if file.url is not None]
    fetched_by = DATASETS[name].fetched_by if name in DATASETS else None
    if not listed and fetched_by is None:
        return card.render()
    if root is None:
        raise UserError(
            f"data fetch {name}: where to? Give --root", hint=f"`brainbench data fetch {name} --root {name}`"
        )
    target = Path(root).expanduser()
    try:
        if fetched_by is None:
            _download(card, target)
        else:
            with explain_os_errors(target / name):
                target.mkdir(parents=True, exist_ok=True)
            imported(fetched_by)(target)
    except UserError:
        raise
    except Exception as error:  # downloaders raise errors of many kinds
        lines = str(error).splitlines()
        raise UserError(
            f"data fetch {name}: {lines[0] if lines else type(error).__name__}",
            hint=f"check the network, or get it by hand: {card.source}",
        ) from error
    path, _ = resolve_root(name, str(target))
    return f"{path}\n{card.licence}\nPlease cite: {card.citation}"


def check(name: str, root: str | None, settings: Sequence[str] = ()) -> str:
    """Open every subject of a data set and return what was found.

    Parameters
    ----------
    name : str
    root : str or None
    settings : sequence of str
        ``key=value`` of the recipe's ``dataset:`` section, such as ``task=objects``.
    """
    from pydantic import ValidationError

    from brainbench.recipes.datasets import dataset_settings

    values: dict[str, Any] = {"name": name}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting}: write key=value")
        try:
            values[key.removeprefix("dataset.")] = plain_value(value)
        except yaml.YAMLError as error:
            raise UserError(f"--set {setting}: not a value: {str(error).splitlines()[0]}") from None
    if load_card(name).simulated:
        raise UserError(f"data check {name}: nothing to check, it is made when a recipe asks for it")
    try:
        parsed = dataset_settings(values)
    except ValidationError as error:
        problems = [f"dataset.{'.'.join(map(str, one['loc'][1:]))}: {one['msg'].lower()}" for one in error.errors()]
        raise UserError("\n".join(problems), hint=f"give what is missing with --set, for {name}") from None
    path, note = resolve_root(name, root)
    dataset = DATASETS.builder(name).open(parsed, path, Context())
    return "\n".join(
        [note, *check_dataset(dataset, choose_subjects(dataset, parsed.subjects)), *dataset.notes(), "no problems"]
    )


# Downloads --------------------------------------------------------------------------------------------------------


def _download(card: Card, target: Path) -> None:
    """Download a card's files into a folder that appears when all of them are there and right."""
    import pooch

    if target.exists() and any(target.iterdir()):
        raise UserError(f"data fetch {card.name}: {target} is not empty", hint="give a new folder")
    unsigned = [file.path for file in card.files if file.url is not None and file.sha256 is None]
    if unsigned:
        raise UserError(f"datasets/{card.name}.yaml: {unsigned[0]} has a url but no sha256; it is not downloaded")
    if target.exists():
        target.rmdir()
    with atomic_folder(target) as folder:
        for file in card.files:
            if file.url is None:
                continue
            destination = inside(folder, file.path)
            destination.parent.mkdir(parents=True, exist_ok=True)
            pooch.retrieve(
                file.url, known_hash=f"sha256:{file.sha256}", path=destination.parent, fname=destination.name
            )
            if destination.suffix == ".zip":
                unpack(destination, destination.parent)
                destination.unlink()


def inside(folder: Path, name: str) -> Path:
    """Return a path below `folder`; refuse one that leaves it."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise UserError(f"'{name}' lies outside of {folder}; it is not written")
    return path


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip archive whose members all stay in `folder`.

    Raises
    ------
    UserError
        Before anything is written, if a member would leave the folder or is a link.
    """
    with zipfile.ZipFile(archive) as content:
        members = content.infolist()
        for member in members:
            inside(folder, member.filename)
            if (member.external_attr >> 28) == 0xA:
                raise UserError(f"{archive.name}: '{member.filename}' is a link; it is not unpacked")
        for member in members:
            destination = inside(folder, member.filename)
            if member.is_dir():
                destination.mkdir(parents=True, exist_ok=True)
                continue
            destination.parent.mkdir(parents=True, exist_ok=True)
            with content.open(member) as source, open(destination, "wb") as out:
                shutil.copyfileobj(source, out)


def fetch_haxby(target: Path) -> None:
    """Download what nilearn downloads, checked against the hashes it knows."""
    from nilearn.datasets import fetch_haxby

    fetch_haxby(data_dir=str(target), subjects=[1, 2, 3, 4, 5, 6])


def fetch_miyawaki(target: Path) -> None:
    """Download what nilearn downloads, checked against the hashes it knows."""
    from nilearn.datasets import fetch_miyawaki2008

    fetch_miyawaki2008(data_dir=str(target))
