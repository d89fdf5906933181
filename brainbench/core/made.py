"""The files of a folder that brainbench makes anew: what they are called, and which of them may be removed.

Names that users choose (subjects, schemes, encoders, classes, regions) become file names one to one, and every file is
listed in ``files.txt`` before it is written. Nothing that is not listed there is ever removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import string
from pathlib import Path, PurePosixPath

from brainbench.core.errors import UserError
from brainbench.core.files import explain_os_errors

LISTING = "files.txt"
MAX_BYTES = 160
"""Longest name without its ending: the ending and the mark of a file that is being written need room, up to 255."""

_PLAIN = frozenset(string.ascii_letters + string.digits + ".+-")


def subject_label(subject: str) -> str:
    """Return a subject as the first label of a file name: ``sub-01`` for ``01`` and for ``sub-01``."""
    return f"sub-{escaped(subject.removeprefix('sub-'))}"


def escaped(name: str, keep: str = "") -> str:
    """Return a name as part of a file name: two names are never written alike.

    Letters and digits of ASCII and ``.+-`` stay as they are; every other character is percent-encoded as in a URL, and
    so are dots at either end, which mean something to some systems. ``_`` parts the labels of a BIDS name and is
    encoded as well, unless it is to be kept.

    Parameters
    ----------
    name : str
    keep : str
        Further characters that stay.
    """
    if not name:
        return "%"
    plain = _PLAIN | set(keep)
    text = ""
    for index, ch in enumerate(name):
        edge = ch == "." and index in (0, len(name) - 1)
        if ch in plain and not edge:
            text += ch
        else:
            text += "".join(f"%{byte:02X}" for byte in ch.encode("utf-8", "surrogatepass"))
    return text


class MadeFiles:
    """The listed files of one folder; one process writes at a time.

    Parameters
    ----------
    root : path-like
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self._given: set[str] = set()
        self._listed: dict[str, None] | None = None

    def claim(self, folder: str, stem: str, ending: str) -> str:
        """Return a path below the root for a file that is about to be written, and list it.

        Two calls never return the same file, also where a file system takes capital letters for small ones; names
        that are too long are cut and end in a digest.

        Parameters
        ----------
        folder : str
            Folder below the root, ``""`` for the root itself.
        stem : str
            Name without ending, of parts that are `escaped`.
        ending : str
            ``".npy"``
        """
        if len(stem) > MAX_BYTES:
            stem = f"{stem[: MAX_BYTES - 34]}%%{hashlib.sha256(stem.encode()).hexdigest()[:32]}"
        path = str(PurePosixPath(folder) / f"{stem}{ending}")
        count = 1
        while path.casefold() in self._given:
            count += 1
            path = str(PurePosixPath(folder) / f"{stem}%{count}{ending}")
        self._given.add(path.casefold())
        self.add(path)
        return path

    def add(self, path: str) -> Path:
        """List a file below the root before it is written, and return where it lies."""
        listed = self.listed()
        if path not in listed:
            listing = self.root / LISTING
            with explain_os_errors(listing):
                self.root.mkdir(parents=True, exist_ok=True)
                with open(listing, "ab", buffering=0) as handle:
                    handle.write(f"{path}\n".encode())
            listed[path] = None
        return self.root / path

    def listed(self) -> dict[str, None]:
        """Return the files that may be removed, in order; a line that leaves the folder is none."""
        if self._listed is None:
            self._listed = dict.fromkeys(line for line in self._lines() if line and _inside(line))
        return self._listed

    def _lines(self) -> list[str]:
        """Return the whole lines; one that a killed process left half written is cut."""
        listing = self.root / LISTING
        try:
            content = listing.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return []
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            with explain_os_errors(listing), open(listing, "r+b") as handle:
                handle.truncate(len(whole))
        return whole.decode("utf-8", "replace").split("\n")

    def clear(self) -> None:
        """Remove the listed files, and folders that are empty then."""
        for line in self.listed():
            path = self.root / line
            if path.is_file() or path.is_symlink():
                path.unlink()
        for folder in {(self.root / line).parent for line in self.listed()} - {self.root}:
            with contextlib.suppress(OSError):
                folder.rmdir()
        (self.root / LISTING).unlink(missing_ok=True)
        self._listed = None
        self._given.clear()


def _inside(line: str) -> bool:
    path = PurePosixPath(line)
    return not path.is_absolute() and ".." not in path.parts


def refuse_foreign(folder: Path, option: str, what: str) -> None:
    """Refuse to write into a folder that holds files which brainbench did not make.

    Parameters
    ----------
    folder : Path
    option : str
        Where the user named it: ``"--out"``.
    what : str
        What needs a folder of its own: ``"a run"``.

    Raises
    ------
    UserError
    """
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    if names:
        some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise UserError(
            f"{option} {folder} holds other files ({some}): {what} needs a folder of its own",
            hint="name a new or an empty folder; nothing was written",
        )
