"""Tables as brainbench writes them: columns of names, and columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """Read a CSV in which the columns `names` hold text.

    Text stays what it is: a region may be called ``NA``, ``null`` or ``007``. A column of `names` that the file does
    not have is empty, and an empty cell of any other column is NaN.
    """
    import pandas as pd

    header = pd.read_csv(path, nrows=0, dtype=str).columns
    numbers = {name: [""] for name in header if name not in names}
    frame = pd.read_csv(path, dtype=dict.fromkeys(names, str), keep_default_na=False, na_values=numbers)
    for name in names:
        if name not in frame:
            frame[name] = ""
    return frame
