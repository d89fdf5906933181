"""A fitted decoder written as one safetensors file: the weights, and everything else as JSON beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from brainbench.core.errors import UserError
from brainbench.core.files import atomic_path
from brainbench.networks.builders import qualified_name

if TYPE_CHECKING:
    from brainbench.networks.classifier import TorchClassifier

FORMAT = 1
NOT_WRITTEN = ("checkpoint", "progress", "device")
"""Parameters that say where training happens and who watches it."""


def save_decoder(decoder: TorchClassifier, path: str | Path) -> None:
    """Write a fitted decoder, whole or not at all.

    Parameters
    ----------
    decoder : NetworkClassifier, MVCNetClassifier or RBTransformerClassifier
    path : path
        Callbacks, the checkpoint folder and the device are not written.

    Raises
    ------
    UserError
        If a setting cannot be written without pickle.
    """
    from safetensors.torch import save_file

    check_is_fitted(decoder, "network_")
    parameters = {name: value for name, value in decoder.get_params(deep=False).items() if name not in NOT_WRITTEN}
    header = {
        "format": FORMAT,
        "estimator": type(decoder).__name__,
        "parameters": [[name, plain(name, value)] for name, value in parameters.items()],
        "classes": decoder.classes_.tolist(),
        "classes_dtype": decoder.classes_.dtype.str,
        "n_chans": int(decoder.n_chans_),
        "n_times": int(decoder.n_times_),
        "scale": decoder.scale_,
        "history": decoder.history_,
        "best_epoch": decoder.best_epoch_,
        "validation_rows": decoder.validation_rows_.tolist(),
    }
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in decoder.network_.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary, metadata={"brainbench": json.dumps(header)})


def plain(name: str, value: Any) -> Any:
    """Return a parameter as JSON; mappings become lists of pairs, since JSON has only text as keys."""
    if name == "module" and callable(value):
        found = {"callable": qualified_name(value)}
        if is_dataclass(value) and not isinstance(value, type):  # what it was given decides what it builds
            found["fields"] = plain(name, {field.name: getattr(value, field.name) for field in fields(value)})
        return found
    if isinstance(value, Mapping):
        return {"pairs": [[plain(name, key), plain(name, item)] for key, item in value.items()]}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return {"tuple": [plain(name, item) for item in value]}
    if isinstance(value, list):
        return [plain(name, item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise UserError(f"{name} holds a {type(value).__name__}, which cannot be written without pickle")


def from_plain(value: Any) -> Any:
    """Return what `plain` wrote, as it was."""
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if isinstance(value, dict):
        if "pairs" in value:
            return {from_plain(key): from_plain(item) for key, item in value["pairs"]}
        if "array" in value:
            return np.array(value["array"])
        if "tuple" in value:
            return tuple(from_plain(item) for item in value["tuple"])
    return value
