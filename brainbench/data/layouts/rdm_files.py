"""Reads files of RDMs: .npy, .mat (arrays, or the structs of the MATLAB toolbox), and rsatoolbox's HDF5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from brainbench.core.errors import UserError, one_of
from brainbench.core.matlab import check_mat
from brainbench.data.layouts.matrices import load_npy

SUBJECTS, REGIONS = ("subject", "subj", "sub", "participant"), ("roi", "region", "rois", "area")
"""What rsatoolbox files call participants and regions among the descriptors of RDMs."""
ASYMMETRY = 1e-5
"""Of the largest distance: what a square RDM may differ from its transpose by."""


@dataclass(frozen=True)
class Rdm:
    """One RDM of a file.

    Attributes
    ----------
    values : ndarray (n_pairs,)
        Condensed: the upper triangle, row by row.
    subject, roi : str or None
        As far as the file says it.
    names : dict of str to list of str
        What the file calls the stimuli, in the order of the RDM: a list for every descriptor that tells them apart.
    n_averaged : int
        Of how many RDMs of the file it is the mean.
    """

    values: np.ndarray
    subject: str | None = None
    roi: str | None = None
    names: dict[str, list[str]] = field(default_factory=dict)
    n_averaged: int = 1


def read_rdms(path: Path, variable: str | None = None) -> list[Rdm]:
    """Return every RDM of a file.

    Raises
    ------
    UserError
        If the file cannot be read or holds no RDM, with what came.
    """
    if path.suffix == ".npy":
        return _stacked(np.asarray(load_npy(path)), path)
    return _of_mat(path, variable) if path.suffix == ".mat" else _of_hdf5(path)


def condensed(values: np.ndarray, path: Path, what: str) -> np.ndarray:
    """Return an RDM as its upper triangle, row by row.

    Parameters
    ----------
    values : ndarray (n, n) or (n_pairs,)
    path : Path
    what : str
        Which one, for messages.

    Raises
    ------
    UserError
        If it is no RDM: not square, not symmetric, a diagonal that is not zero.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 2 and values.shape[0] == values.shape[1] > 1:
        largest = float(np.nanmax(np.abs(values), initial=0.0))
        apart = np.abs(values - values.T)
        if np.isfinite(values).all() and apart.max() > ASYMMETRY * largest:
            i, j = divmod(int(apart.argmax()), len(values))
            raise UserError(
                f"{path}, {what}: not symmetric: {values[i, j]:g} at ({i + 1}, {j + 1}), {values[j, i]:g} at "
                f"({j + 1}, {i + 1})"
            )
        diagonal = np.diag(values)
        if np.nanmax(np.abs(diagonal), initial=0.0) > ASYMMETRY * largest:
            raise UserError(
                f"{path}, {what}: the diagonal is not zero ({np.nanmax(np.abs(diagonal)):g}): these are similarities, "
                "not distances",
                hint="of correlations, write 1 - r",
            )
        values = values[np.triu_indices(len(values), 1)]
    elif values.ndim == 2 and 1 in values.shape:
        values = values.ravel()
    if values.ndim != 1:
        raise UserError(f"{path}, {what}: {values.shape} is no RDM: square, or the pairs of its upper triangle")
    n = number_of_stimuli(len(values))
    if n is None or n < 3:
        raise UserError(f"{path}, {what}: {len(values)} values are no upper triangle of three stimuli or more")
    return values


def number_of_stimuli(n_pairs: int) -> int | None:
    """Return of how many stimuli these are the pairs, or None."""
    n = round((1 + (1 + 8 * n_pairs) ** 0.5) / 2)
    return n if n * (n - 1) // 2 == n_pairs else None


def _stacked(values: np.ndarray, path: Path) -> list[Rdm]:
    """Return the RDMs of an array: one, or several along the first axis (or along the last one, as MATLAB stacks)."""
    if values.dtype.kind not in "fiu":
        raise UserError(f"{path}: holds {values.dtype}, not distances")
    if values.ndim == 3 and values.shape[0] == values.shape[1] != values.shape[2]:
        values = np.moveaxis(values, 2, 0)
    if values.ndim == 3:
        stack: Sequence[np.ndarray] = list(values)
    elif values.ndim == 2 and values.shape[0] != values.shape[1] and 1 not in values.shape:
        stack = list(values)
    else:
        stack = [values]
    return [Rdm(condensed(one, path, f"RDM {place}")) for place, one in enumerate(stack, start=1)]


def _of_mat(path: Path, variable: str | None) -> list[Rdm]:
    from scipy.io import loadmat

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    check_mat(path)
    try:
        stored = loadmat(path, struct_as_record=True, squeeze_me=False)
    except MemoryError:
        raise
    except NotImplementedError:
        raise UserError(
            f"{path}: a .mat file of version 7.3", hint="save it with `save(..., '-v7')`, or as rsatoolbox's .hdf5"
        ) from None
    except Exception as error:  # SciPy's parser raises errors of every kind where bytes are not what it expects
        raise UserError(f"{path}: not a readable .mat file ({error})") from None
    found = {name: value for name, value in stored.items() if not name.startswith("__")}
    fitting = [name for name, value in found.items() if value.dtype.names is not None or value.dtype.kind in "fiu"]
    if variable is not None and variable not in found:
        raise UserError(f"{path}: no variable '{variable}'; it has {one_of(found) or 'none'}")
    if variable is None and len(fitting) != 1:
        raise UserError(
            f"{path}: which variable holds the RDMs is not clear", hint=f"`dataset.variable`: {one_of(found)}"
        )
    value = found[variable or fitting[0]]
    if value.dtype.names is None:
        return _stacked(value, path)
    if "RDM" not in value.dtype.names:
        raise UserError(f"{path}: a struct without a field RDM; it has {one_of(value.dtype.names)}")
    return _averaged([_of_struct(one, path) for one in value.ravel(order="F")], path)


def _of_struct(one: Any, path: Path) -> Rdm:
    """Return a struct of the MATLAB toolbox: fields ``RDM`` and ``name`` ("region | participant | session")."""
    name = "".join(str(part) for part in np.ravel(one["name"])) if "name" in one.dtype.names else ""
    parts = [part.strip() for part in name.split("|")] if name else []
    return Rdm(
        condensed(one["RDM"], path, f"'{name}'" if name else "an RDM without a name"),
        subject=parts[1] if len(parts) > 1 else None, roi=parts[0] if parts else None,
    )  # fmt: skip


def _averaged(found: list[Rdm], path: Path) -> list[Rdm]:
    """Return the mean of RDMs that have one participant and region, such as sessions."""
    groups: dict[tuple[str | None, str | None], list[Rdm]] = {}
    for one in found:
        groups.setdefault((one.subject, one.roi), []).append(one)
    if (None, None) in groups:
        return found
    sizes = {len(one.values) for one in found}
    if len(sizes) > 1:
        raise UserError(f"{path}: its RDMs are of {one_of([str(number_of_stimuli(n)) for n in sorted(sizes)])} stimuli")
    return [
        Rdm(np.mean([one.values for one in mine], axis=0), subject, roi, mine[0].names, len(mine))
        for (subject, roi), mine in groups.items()
    ]


def _of_hdf5(path: Path) -> list[Rdm]:
    import h5py

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            if "dissimilarities" not in file:
                raise UserError(
                    f"{path}: no 'dissimilarities', as rsatoolbox writes them; it has {one_of(list(file)) or 'nothing'}"
                )
            values = np.asarray(file["dissimilarities"], dtype=np.float64)
            of_rdms, of_patterns = (_descriptors(file, name) for name in ("rdm_descriptors", "pattern_descriptors"))
    except OSError as error:
        raise UserError(f"{path}: not a readable HDF5 file, or cut short ({error})") from None
    values = np.atleast_2d(values) if values.ndim < 3 else values
    known = {name.lower(): entries for name, entries in of_rdms.items()}
    people, regions = (next((known[name] for name in names if name in known), None) for names in (SUBJECTS, REGIONS))
    n = number_of_stimuli(values.shape[1]) if values.ndim == 2 else values.shape[1]
    named = {name: one for name, one in of_patterns.items() if name != "index" and len(set(one)) == len(one) == n}
    found = [
        Rdm(
            condensed(one, path, f"RDM {place + 1}"),
            None if people is None else people[place], None if regions is None else regions[place],
            named,
        )
        for place, one in enumerate(values)
    ]  # fmt: skip
    return _averaged(found, path)


def _descriptors(file: Any, name: str) -> dict[str, list[str]]:
    """Return descriptors as text; rsatoolbox writes arrays, and lists of text as groups or byte strings."""
    group = file.get(name)
    if group is None:
        return {}
    found = {}
    for key, value in group.items():
        entries = [value[str(place)] for place in range(len(value))] if hasattr(value, "keys") else value
        found[key] = [one.decode() if isinstance(one, bytes) else str(one) for one in np.ravel(np.asarray(entries))]
    return found
