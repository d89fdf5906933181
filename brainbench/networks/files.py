"""Reads fitted networks back: one safetensors file whose header says in JSON how to build the network again.

Reading one runs no code of the file and imports nothing that the file names.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from brainbench.core.errors import UserError
from brainbench.networks.builders import find_builder, qualified_name
from brainbench.networks.classifier import TorchClassifier
from brainbench.networks.classifiers import MVCNetClassifier, NetworkClassifier, RBTransformerClassifier
from brainbench.networks.training import torch_alone
from brainbench.networks.weights import seeded
from brainbench.networks.writing import FORMAT, from_plain

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
        if header["format"] != FORMAT:
            raise UserError(f"{path} has format {header['format']}, this version reads {FORMAT}")
        kind = _ESTIMATORS[header["estimator"]]
        parameters = {name: from_plain(value) for name, value in header["parameters"]}
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
    decoder.network_, decoder.key_ = network.eval(), None
    return decoder
