"""What EEGLAB files say that MNE leaves unread: interruptions that are numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from brainbench.core.matlab import check_mat
from brainbench.recordings.recording import counted

if TYPE_CHECKING:
    import mne

_NUMBERS = ("-99", "-99.0")
"""What EEGLAB and ERPLAB call an interruption where all events are numbers; elsewhere it is a ``boundary``."""


def read_eeglab(path: Path, *, preload: bool = True) -> tuple[mne.io.BaseRaw, list[str], None]:
    """Return a recording whose interruptions are all called so, and what is said of it.

    Parameters
    ----------
    path : Path
    preload : bool
        Whether samples are read.

    Raises
    ------
    UserError
        If the file is no .mat file that is safe to open.
    """
    import mne

    check_mat(path)
    raw = mne.io.read_raw_eeglab(path, preload=preload, verbose="WARNING")
    marks = raw.annotations.description.tolist()
    n = sum(mark in _NUMBERS for mark in marks)
    if not n:
        return raw, [], None
    raw.annotations.rename({mark: "boundary" for mark in set(marks).intersection(_NUMBERS)})
    return raw, [f"{counted(n, 'event')} called -99, by which EEGLAB means an interruption"], None
