"""Confounds of a preprocessed run: those that nilearn's ``load_confounds`` chooses, and whether each can be used."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from brainbench.core.errors import UserError, one_of
from brainbench.data.layouts.bids.files import MISSING, BidsRun
from brainbench.data.tables import Problems, number_in, read_table
from brainbench.recipes.datasets import BidsSettings

_DISPLACEMENT = "framewise_displacement"
MOVED_MM = 0.5
"""Framewise displacement from which on a volume counts as moved (Power et al. 2012)."""


def chosen_confounds(run: BidsRun, settings: BidsSettings) -> tuple[Any, Any]:
    """Return confounds and sample mask as ``load_confounds`` chooses them; None for those there are not.

    Raises
    ------
    UserError
        If there is no table, it lacks what is asked for, or a column asked for has cells without a number. The first
        volume of a derivative has none by nature: nilearn takes that of the second.
    """
    if not settings.confounds:
        return None, None
    from nilearn.interfaces.fmriprep import load_confounds

    path = run.confounds()  # names the table that is missing
    options: dict[str, Any] = {}
    if "motion" in settings.confounds:
        options["motion"] = settings.motion
    if "wm_csf" in settings.confounds:
        options["wm_csf"] = "basic"
    if "global_signal" in settings.confounds:
        options["global_signal"] = "basic"
    if "compcor" in settings.confounds:
        options |= {"compcor": "anat_combined", "n_compcor": settings.n_compcor}
    images = str(run.bold) if run.right is None else [str(path) for path in run.images]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of columns without a number, which are refused below
            warnings.filterwarnings("ignore", message="Numerical issues were encountered when centering")
            confounds, sample_mask = load_confounds(images, strategy=tuple(settings.confounds), **options)
    except (ValueError, KeyError, TypeError) as error:  # TypeError: a column holds text
        _check_cells(run, None)
        raise UserError(
            f"{path}: nilearn's load_confounds refuses `dataset.confounds` {settings.confounds}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error
    _check_cells(run, list(confounds))
    kept = slice(None) if sample_mask is None else sample_mask
    still = [name for name in confounds if np.ptp(confounds[name].to_numpy()[kept]) < 1e-12]  # after centring
    if still:
        raise UserError(
            f"{path}: column '{still[0]}' is the same in every volume that is kept"
            + (f" (and {len(still) - 1} more)" if len(still) > 1 else ""),
            hint="the recording was not corrected for it, or the column was not written: take its group out of "
            "`dataset.confounds`",
        )
    return confounds, sample_mask


def framewise_displacement(run: BidsRun) -> np.ndarray | None:
    """Return how far the head moved before every volume, in mm, as fMRIPrep computed it; None where it did not.

    The first volume has no value by nature, and stands as NaN.
    """
    table = read_table(run.confounds())
    if _DISPLACEMENT not in table.columns:
        return None
    cells = table.texts(_DISPLACEMENT, required=False)
    return np.array([value if not wrong else np.nan for value, wrong in map(number_in, cells)])


def _check_cells(run: BidsRun, names: list[str] | None) -> None:
    """Refuse cells without a finite number in some columns of the table (None: all of them)."""
    table = read_table(run.confounds())
    problems = Problems(table.path)
    for name in table.columns if names is None else [name for name in names if name in table.columns]:
        cells = table.texts(name, required=False)
        missing = [cell in ("", MISSING, "NaN", "nan") for cell in cells]
        if all(missing):
            problems.add(f"column '{name}': no value in any row")
            continue
        for at, (line, cell) in enumerate(zip(table.lines, cells, strict=True)):
            if missing[at]:
                if names is not None and not (at == 0 and "derivative" in name):
                    problems.add(f"column '{name}': no value", line)
            elif wrong := number_in(cell)[1]:
                problems.add(f"column '{name}': {wrong}", line)
    problems.finish("confounds that are asked for need a number for every volume: `dataset.confounds` chooses others")


def check_independent(regressors: Any, run: BidsRun, confounds: Any) -> None:
    """Refuse confounds of which one follows from the others, the drifts and the constant, naming it.

    Parameters
    ----------
    regressors : DataFrame (n_volumes, n_regressors)
        All but those of events.
    run : BidsRun
    confounds : DataFrame or None
    """
    if confounds is None:
        return
    known = regressors.drop(columns=list(confounds)).to_numpy()
    follow: list[str] = []
    for name in confounds:
        wider = np.column_stack([known, regressors[name]])
        if np.linalg.matrix_rank(wider) < wider.shape[1]:
            follow.append(name)
        else:
            known = wider
    if follow:
        raise UserError(
            f"{run.confounds()}: {one_of(follow)} can be computed from other confounds and drifts",
            hint="a copied column, or more components than volumes allow: choose fewer with `dataset.confounds`",
        )
