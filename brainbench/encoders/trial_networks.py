"""Networks that read trials of sensor signals: braindecode's, by the name of their class."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

from brainbench.core.errors import UserError, did_you_mean, one_of

FROM_DATA = ("n_chans", "n_outputs", "n_times", "sfreq", "chs_info", "input_window_seconds")
"""Arguments that the recording decides."""


def braindecode_models() -> dict[str, Any]:
    """Return every model of braindecode by name.

    Raises
    ------
    UserError
        If braindecode is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own imports
            from braindecode import models
            from braindecode.models.base import EEGModuleMixin
    except ImportError:
        raise UserError("decoder 'braindecode' needs braindecode", hint='pip install "brainbench[eeg]"') from None
    return {
        name: value
        for name, value in vars(models).items()
        if inspect.isclass(value) and issubclass(value, EEGModuleMixin) and value is not EEGModuleMixin
    }


def check_model(model: str, parameters: Mapping[str, Any], where: str) -> Any:
    """Return a model's class after checking its name and arguments.

    Raises
    ------
    UserError
        With the nearest name; an argument that only ``**kwargs`` would take is refused too.
    """
    known = braindecode_models()
    if model not in known:
        raise UserError(
            f"{where}: braindecode has no model '{model}'{did_you_mean(model, known)}", hint=f"models: {one_of(known)}"
        )
    takes = [
        name
        for name, parameter in inspect.signature(known[model].__init__).parameters.items()
        if name != "self" and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    for name in parameters:
        if name in FROM_DATA:
            raise UserError(f"{where}: '{name}' comes from the data; leave it out of `parameters`")
        if name not in takes:
            own = [one for one in takes if one not in FROM_DATA]
            raise UserError(
                f"{where}: {model} has no parameter '{name}'{did_you_mean(name, own)}",
                hint=f"parameters: {', '.join(own)}",
            )
    return known[model]


def build_network(
    model: str, parameters: Mapping[str, Any], *, n_channels: int, n_times: int, n_classes: int, sfreq: float, info: Any
) -> Any:
    """Return an untrained `torch.nn.Module` for trials ``(n_trials, n_channels, n_times)``; seed torch before.

    Raises
    ------
    ValueError
        If the model cannot take trials of this size.
    """
    factory = check_model(model, parameters, model)
    sizes = {"n_chans": n_channels, "n_times": n_times, "n_outputs": n_classes, "sfreq": sfreq}
    if info is not None:
        sizes["chs_info"] = info["chs"]
    takes = inspect.signature(factory.__init__).parameters
    if not any(one.kind is one.VAR_KEYWORD for one in takes.values()):
        sizes = {name: value for name, value in sizes.items() if name in takes}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return factory(**sizes, **parameters)
    except Exception as error:  # models raise whatever their arithmetic leads them to
        raise ValueError(
            f"{model} cannot be built for {n_channels} channels x {n_times} samples at {sfreq:g} Hz: {error}"
        ) from error
