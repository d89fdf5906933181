"""Fitted decoders of trials as folders: JSON, arrays, and safetensors for networks; nothing is pickled.

Only what was fitted is written. Whoever reads it builds the decoder from its pipeline's settings first, and a file
can name no class beyond those listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from brainbench.core.digests import digest_file
from brainbench.core.files import atomic_folder, read_json, write_json
from brainbench.decoders.base import TrialDecoder

_FORMAT = 2
_CLASSES = {
    "Aligner": "brainbench.decoders.alignment",
    "CSP": "pyriemann.spatialfilters",
    "FGDA": "pyriemann.tangentspace",
    "FgMDM": "pyriemann.classification",
    "GeodesicMeans": "brainbench.decoders.geodesic",
    "LinearDiscriminantAnalysis": "sklearn.discriminant_analysis",
    "LogisticRegression": "sklearn.linear_model",
    "MDM": "pyriemann.classification",
    "Pipeline": "sklearn.pipeline",
    "StandardScaler": "sklearn.preprocessing",
    "TangentSpace": "pyriemann.tangentspace",
}
"""Estimators that a file may hold, and where they are defined."""


class CannotBeWritten(Exception):
    """A decoder holds something that only pickle could write."""


def save_fitted(decoder: TrialDecoder, folder: Path, about: Mapping[str, Any]) -> None:
    """Write a fitted decoder, whole or not at all.

    Parameters
    ----------
    decoder : TrialDecoder
    folder : Path
        Must not exist; its name is the key of the decoder, which the files carry.
    about : mapping
        What a person may want to know of it; JSON.

    Raises
    ------
    CannotBeWritten
        If it holds something other than arrays, plain values and known estimators.
    """
    writer = _Writer()
    fitted = {name: writer.plain(value, name) for name, value in _fitted(decoder).items()}
    with atomic_folder(folder) as temporary:
        for name, network in writer.networks.items():
            network.save(temporary / name)
        with open(temporary / "arrays.npz", "wb") as handle:
            np.savez(handle, **writer.arrays)  # type: ignore[arg-type]
        header = {"format": _FORMAT, "key": folder.name, "about": dict(about), "fitted": fitted}
        header["sha256"] = {file.name: digest_file(file) for file in sorted(temporary.iterdir())}
        write_json(temporary / "decoder.json", header)


def load_fitted(decoder: TrialDecoder, folder: Path) -> bool:
    """Give an unfitted decoder what `save_fitted` wrote.

    Where a file is damaged or belongs to another decoder, return False and change nothing.

    Parameters
    ----------
    decoder : TrialDecoder
        Built from the same settings.
    folder : Path
    """
    try:
        header = read_json(folder / "decoder.json")
        if header["format"] != _FORMAT or header["key"] != folder.name:
            return False
        if any(digest_file(folder / name) != sha for name, sha in header["sha256"].items()):
            return False
        with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
            reader = _Reader({name: stored[name] for name in stored.files}, folder)
        fitted = {str(name): reader.value(item) for name, item in header["fitted"].items()}
    except Exception:  # whatever zip, JSON, safetensors or an estimator think of damaged bytes
        return False
    for name, value in fitted.items():
        setattr(decoder, name, value)
    return True


def _fitted(decoder: TrialDecoder) -> dict[str, Any]:
    return {name: value for name, value in vars(decoder).items() if name.endswith("_") and not name.startswith("_")}


class _Writer:
    """Turns fitted values into JSON; arrays and networks are kept beside it."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.networks: dict[str, Any] = {}

    def plain(self, value: Any, place: str) -> Any:
        if isinstance(value, np.ndarray) and value.dtype != object:
            self.arrays[place] = value
            return {"array": place}
        if isinstance(value, np.generic):
            return self.plain(np.asarray(value), place)
        if value is None or isinstance(value, (bool, int, float, str)):
            return {"value": value}
        if isinstance(value, (list, tuple)):
            return {type(value).__name__: [self.plain(one, f"{place}.{i}") for i, one in enumerate(value)]}
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {"dict": [[key, self.plain(one, f"{place}.{i}")] for i, (key, one) in enumerate(value.items())]}
        if hasattr(value, "network_"):
            name = f"{place}.safetensors"
            self.networks[name] = value
            return {"network": name}
        kind = type(value)
        if isinstance(value, BaseEstimator) and kind.__module__.startswith(_CLASSES.get(kind.__name__, "?")):
            parts = {name: self.plain(one, f"{place}.{name}") for name, one in vars(value).items()}
            return {"estimator": kind.__name__, "attributes": parts}
        raise CannotBeWritten(f"{place} is a {kind.__module__}.{kind.__name__}")


class _Reader:
    """The inverse of `_Writer`."""

    def __init__(self, arrays: Mapping[str, np.ndarray], folder: Path) -> None:
        self.arrays = arrays
        self.folder = folder

    def value(self, item: Mapping[str, Any]) -> Any:
        if "array" in item:
            array = self.arrays[item["array"]]
            return array[()] if array.ndim == 0 else array
        if "value" in item:
            return item["value"]
        if "list" in item:
            return [self.value(one) for one in item["list"]]
        if "tuple" in item:
            return tuple(self.value(one) for one in item["tuple"])
        if "dict" in item:
            return {key: self.value(one) for key, one in item["dict"]}
        if "network" in item:
            from brainbench.networks.files import load_decoder

            return load_decoder(self.folder / Path(item["network"]).name)
        kind = getattr(import_module(_CLASSES[item["estimator"]]), item["estimator"])
        estimator = kind.__new__(kind)
        vars(estimator).update({name: self.value(one) for name, one in item["attributes"].items()})
        return estimator
