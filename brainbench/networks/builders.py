"""Builders of networks by name: our own, those of entry points, and braindecode's."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.core.registry import Registry
from brainbench.networks.zoo.mvcnet import OneBandIFNet

NETWORKS: Registry[Callable[..., nn.Module]] = Registry("EEG network", entry_point_group="brainbench.networks")
"""Name -> function of ``n_chans, n_outputs, n_times, sfreq`` and its own settings that returns a torch module."""

NETWORKS.register("ifnet")(OneBandIFNet)

_GIVEN = ("n_chans", "n_outputs", "n_times", "sfreq")
_ZOO = "braindecode."


def find_builder(module: str | Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Return the function that builds a network.

    Raises
    ------
    UserError
        If the name is unknown, or braindecode is missing.
    """
    if not isinstance(module, str):
        return module
    if not module.startswith(_ZOO):
        return NETWORKS[module]
    name = module.removeprefix(_ZOO)
    try:
        zoo = importlib.import_module("braindecode.models")
    except ImportError as error:
        raise UserError(f"{module} needs braindecode", hint="pip install 'brainbench[eeg]'") from error
    names = [key for key, value in vars(zoo).items() if inspect.isclass(value) and issubclass(value, nn.Module)]
    if name not in names:
        near = did_you_mean(name, names)
        raise UserError(f"braindecode has no model {name!r}{near}", hint=f"known: {one_of(names)}")
    builder: Callable[..., nn.Module] = getattr(zoo, name)
    return builder


def check_settings(builder: Callable[..., nn.Module], settings: Mapping[str, Any]) -> None:
    """Refuse settings that a builder does not declare (``**kwargs`` declares nothing), or that come from the data.

    Raises
    ------
    UserError
        With the nearest setting.
    """
    name, declared = getattr(builder, "__name__", repr(builder)), _declared(builder)
    for key in settings:
        if key in _GIVEN:
            raise UserError(f"{name}: {key} comes from the data and cannot be set")
        if key not in declared:
            raise UserError(
                f"{name} has no setting {key!r}{did_you_mean(key, declared)}",
                hint=f"its settings: {one_of(key for key in declared if key not in _GIVEN) or 'none'}",
            )
    if "n_outputs" not in declared:
        raise UserError(f"{name} must take n_outputs, the number of classes")


def build_network(
    builder: Callable[..., nn.Module], given: Mapping[str, Any], settings: Mapping[str, Any]
) -> nn.Module:
    """Call a builder with what the data gives and the user's settings.

    Parameters
    ----------
    builder : callable
    given : mapping
        ``n_chans, n_outputs, n_times, sfreq``; those that the builder declares are passed, None is not.
    settings : mapping

    Raises
    ------
    UserError
        If a setting is not declared by the builder (``**kwargs`` declares nothing), or comes from the data.
    """
    check_settings(builder, settings)
    declared = _declared(builder)
    own = {key: value for key, value in given.items() if key in declared and value is not None}
    return builder(**own, **settings)


def _declared(builder: Callable[..., nn.Module]) -> list[str]:
    return [
        key
        for key, parameter in inspect.signature(builder).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]


def qualified_name(builder: Callable[..., nn.Module]) -> str:
    """Return module and name of a function or class."""
    return f"{builder.__module__}:{getattr(builder, '__qualname__', type(builder).__qualname__)}"
