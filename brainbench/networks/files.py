"""Fitted networks as files: one safetensors file whose header says in JSON how to build the network again.

Reading one runs no code of the file and imports nothing that the file names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted
from torch import nn

from brainbench.core.errors import UserError
from brainbench.core.files import atomic_path
from brainbench.networks.builders import find_builder, qualified_name
from brainbench.networks.classifier import NOT_WRITTEN, TorchClassifier
from brainbench.networks.classifiers import MVCNetClassifier, NetworkClassifier, RBTransformerClassifier
from brainbench.networks.training import torch_alone
from brainbench.networks.weights import seeded

_FORMAT = 1


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
        "format": _FORMAT,
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


_ESTIMATORS: dict[str, type[TorchClassifier]] = {
    kind.__name__: kind for kind in (NetworkClassifier, MVCNetClassifier, RBTransformerClassifier)
}


def load_decoder(path: str | Path, *, module: Callable[..., nn.Module] | None = None) -> Any:
    """Read a decoder that `save` wrote.

    Parameters
    ----------
    path : path
    module : callable, optional
        The function that built the network, where it was no registered name: a file never says what to import.

    Returns
    -------
    NetworkClassifier, MVCNetClassifier or RBTransformerClassifier

    Raises
    ------
    UserError
        If the file is none, or `module` is missing or another one.
    """
    from safetensors import safe_open

    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no decoder at {path}")
    try:
        with safe_open(path, framework="pt") as handle:
            header = json.loads((handle.metadata() or {})["brainbench"])
        if header["format"] != _FORMAT:
            raise UserError(f"{path} has format {header['format']}, this version reads {_FORMAT}")
        kind = _ESTIMATORS[header["estimator"]]
        parameters = {name: _from_plain(value) for name, value in header["parameters"]}
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} is no saved decoder ({type(error).__name__})") from error
    named = parameters.get("module")
    if isinstance(named, dict):
        if module is None or qualified_name(module) != named["callable"]:
            raise UserError(
                f"{path} was trained with the function {named['callable']}",
                hint="pass it: load_decoder(path, module=...)",
            )
        parameters["module"] = module
    elif isinstance(named, str):
        find_builder(named)
    try:
        return _restored(kind(**parameters), header, path)
    except (RuntimeError, KeyError, TypeError) as error:
        raise UserError(f"{path} does not hold the weights its header describes") from error


def _restored(decoder: TorchClassifier, header: dict[str, Any], path: Path) -> TorchClassifier:
    from safetensors.torch import load_file

    decoder.classes_ = np.array(header["classes"], dtype=header["classes_dtype"])
    decoder.n_chans_, decoder.n_times_, decoder.scale_ = header["n_chans"], header["n_times"], header["scale"]
    decoder.history_, decoder.best_epoch_ = header["history"], header["best_epoch"]
    decoder.validation_rows_ = np.array(header["validation_rows"], dtype=np.intp)
    with torch_alone(decoder.threads), seeded(0):
        network = decoder.build(decoder.n_chans_, decoder.n_times_, len(decoder.classes_))
    network.load_state_dict(load_file(path))
    decoder.network_ = network.eval()
    return decoder


def plain(name: str, value: Any) -> Any:
    """Return a parameter as JSON; mappings become lists of pairs, since JSON has only text as keys."""
    if name == "module" and callable(value):
        return {"callable": qualified_name(value)}
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


def _from_plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_plain(item) for item in value]
    if isinstance(value, dict):
        if "pairs" in value:
            return {_from_plain(key): _from_plain(item) for key, item in value["pairs"]}
        if "array" in value:
            return np.array(value["array"])
        if "tuple" in value:
            return tuple(_from_plain(item) for item in value["tuple"])
    return value
