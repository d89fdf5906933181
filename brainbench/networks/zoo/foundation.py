"""braindecode's foundation models: which channels they read, by which names and places, and which weights fit them.

Each knows channels in its own way: some by name from a list, some by place, some by order alone. Given no names they
take the first channel for the first of their list, or invent places; here they get what the recording says.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from brainbench.core.errors import UserError, one_of
from brainbench.networks.builders import build_network, check_settings, find_builder
from brainbench.networks.weights import read_weights

_OLD_NAMES = (("T3", "T7"), ("T4", "T8"), ("T5", "P7"), ("T6", "P8"))
_LOC = 12
"""Numbers that say where a channel lies, as in `mne.Info`; the first three are its place."""


@dataclass(frozen=True)
class Foundation:
    """What a foundation model must be told, and what of it is new for every recording.

    Parameters
    ----------
    rate : float, optional
        Samples per second of its pre-training, where its authors say so.
    order : str
        Name of the list of channels that it knows, in its module of braindecode; empty where it knows none.
    whole : bool
        Its weights read all channels of that list, in that order: what a recording lacks is zero.
    asked : bool
        It asks for names at every pass.
    places : bool
        It asks where channels lie.
    fresh : tuple of str
        Beginnings of tensors that depend on classes or channels, which no file brings.
    hub : str
        A file that it reads beside its weights, which is not downloaded here.
    """

    rate: float | None = None
    order: str = ""
    whole: bool = False
    asked: bool = False
    places: bool = False
    fresh: tuple[str, ...] = ("final_layer.",)
    hub: str = ""


FOUNDATION = {
    "Labram": Foundation(200.0, order="LABRAM_CHANNEL_ORDER", asked=True),
    "BIOT": Foundation(200.0),
    "CBraMod": Foundation(200.0),
    "EEGPT": Foundation(256.0, fresh=("final_layer.", "chan_proj.")),
    "EEGDINO": Foundation(200.0),
    "LUNA": Foundation(places=True),
    "SignalJEPA_Contextual": Foundation(128.0, places=True),
    "SignalJEPA_PostLocal": Foundation(128.0),
    "SignalJEPA_PreLocal": Foundation(128.0, fresh=("final_layer.", "spatial_conv.")),
    "CodeBrain": Foundation(fresh=("final_layer.", "final_conv.")),
    "STEEGFormer": Foundation(hub="braindecode/STEEGFormer-small: steegformer_channels.json"),
    "BENDR": Foundation(256.0, order="BENDR_CHANNEL_ORDER", whole=True),
}
"""Models of braindecode 1.8.1 that were trained on many recordings and tell classes apart."""
REFUSED = {
    "REVE": "reads where electrodes lie from a file on the hub, which is not downloaded here "
    "(brain-bzh/reve-positions: positions.json)",
    "SignalJEPA": "gives tokens and no classes; SignalJEPA_Contextual, SignalJEPA_PostLocal and SignalJEPA_PreLocal do",
}
"""Others of them, and why they are not built."""


@dataclass(frozen=True)
class Placing:
    """Gives a network the channels it knows, in its order, by its names; a hook, so that its modules stay its own.

    Parameters
    ----------
    index : tuple of int
        Channel of the recording for every channel of the network; -1, which is zero, where it has none.
    names : tuple of str, optional
        Told at every pass.
    """

    index: tuple[int, ...]
    names: tuple[str, ...] | None = None

    def __call__(
        self, network: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
        """Return what the network gets in place of trials ``(n_trials, n_channels, n_times)``."""
        x, *rest = args
        if self.index != tuple(range(x.shape[1])):
            index = torch.tensor(self.index, device=x.device)
            x = x[:, index.clamp_min(0)] * (index >= 0).to(x.dtype)[:, None]
        told = {} if self.names is None else {"ch_names": list(self.names)}
        return (x, *rest), {**told, **kwargs}


@dataclass(frozen=True)
class FoundationBuilder:
    """Builds a foundation model for a recording; called with what the trials give.

    Parameters
    ----------
    model : str
        One of `FOUNDATION`.
    ch_names : sequence of str
    positions : ndarray (n_channels, 3), optional
        Metres.
    weights : str, optional
        File of a state dict; random weights without it.
    parameters : mapping
        Settings of the model.

    Raises
    ------
    UserError
        If it cannot be built here, does not know enough of the channels, or its weights do not fit.
    """

    model: str
    ch_names: Sequence[str]
    positions: np.ndarray | None = None
    weights: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rule(self) -> Foundation:
        """What the model must be told."""
        if self.model in REFUSED:
            raise UserError(f"{self.model} {REFUSED[self.model]}", hint=f"models: {one_of(FOUNDATION)}")
        return FOUNDATION[self.model]

    @property
    def _known(self) -> list[str] | None:
        """Channels that the model knows by name, or None."""
        if not self.rule.order or (self.rule.whole and self.weights is None):  # random weights know no order
            return None
        home = importlib.import_module(find_builder(f"braindecode.{self.model}").__module__)
        return [str(name) for name in getattr(home, self.rule.order)]

    def channels(self) -> tuple[list[int], list[str]]:
        """Return the recording's channel of every channel that the model gets (-1: none), and their names."""
        known = self._known
        if known is None:
            return list(range(len(self.ch_names))), list(self.ch_names)
        if self.rule.whole:
            here = [_found(name, self.ch_names) for name in known]
            return [-1 if n is None else n for n in here], known
        there = [(n, _found(name, known)) for n, name in enumerate(self.ch_names)]
        return [n for n, at in there if at is not None], [known[at] for _, at in there if at is not None]

    def said(self) -> str:
        """Return which channels are read, left out and added, and what is told of them, for the report."""
        index, names = self.channels()
        gone = [name for n, name in enumerate(self.ch_names) if n not in index]
        added = [name for n, name in zip(index, names, strict=True) if n < 0]
        text = f"{len(index) - len(added)} of {len(self.ch_names)} channels are read"
        text += f"; left out, since {self.model} does not know them: {', '.join(gone)}" if gone else ""
        text += f"; added as zeros: {', '.join(added)}" if added else ""
        by = "name" if self._known else "place" if self.rule.places else "order"
        text += f"; known by {by}"
        if self.weights is None:
            return f"{text}; weights: random, trained here"
        return (
            f"{text}; weights: {self.weights}; samples have standard deviation 1 over the training trials, not the "
            "scale that these weights were trained at"
        )

    def __call__(self, n_chans: int, n_outputs: int, n_times: int, sfreq: float) -> nn.Module:
        """Return the network for trials of this shape, with its weights."""
        rule = self.rule
        index, names = self.channels()
        if n_chans != len(self.ch_names):
            raise UserError(f"{self.model}: {n_chans} channels and {len(self.ch_names)} names")
        if not any(n >= 0 for n in index):
            raise UserError(
                f"{self.model} knows none of the channels {', '.join(self.ch_names[:6])}",
                hint=f"it knows {one_of(self._known or [])}",
            )
        if rule.places and self.positions is None:
            raise UserError(
                f"{self.model} asks where channels lie, and the recording does not say it",
                hint="`dataset.montage` names a montage whose positions the channel names stand for",
            )
        if self.weights is not None and rule.hub:
            raise UserError(f"{self.model} with weights reads {rule.hub} from the hub, which is not downloaded here")
        if self.weights is not None and rule.rate is not None and sfreq != rule.rate:
            raise UserError(
                f"{self.model} was trained at {rule.rate:g} samples per second, the trials have {sfreq:g}",
                hint=f"`dataset.sfreq: {rule.rate:g}` resamples, after filtering",
            )
        given: dict[str, Any] = {"n_chans": len(index), "n_outputs": n_outputs, "n_times": n_times, "sfreq": sfreq}
        if rule.places or rule.asked or -1 in index:
            given["chs_info"] = self._chs_info(index, names)
        with warnings.catch_warnings():  # what they warn of is what is told them here, and said on the page
            warnings.simplefilter("ignore")
            network = build_network(find_builder(f"braindecode.{self.model}"), given, self.parameters)
        if self.weights is not None:
            load_known(network, Path(self.weights), rule.fresh)
        network.register_forward_pre_hook(Placing(tuple(index), tuple(names) if rule.asked else None), with_kwargs=True)
        return network

    def _chs_info(self, index: Sequence[int], names: Sequence[str]) -> list[dict[str, Any]]:
        found = []
        for n, name in zip(index, names, strict=True):
            loc = np.full(_LOC, np.nan)
            if self.positions is not None and n >= 0:
                loc[:3] = self.positions[n]
            found.append({"ch_name": name, "kind": "eeg", "loc": loc})
        return found


def load_known(network: nn.Module, path: Path, fresh: Sequence[str]) -> None:
    """Load a state dict whose every tensor has its place, but for those that depend on classes or channels.

    Parameters
    ----------
    network : Module
    path : Path
    fresh : sequence of str
        Beginnings of their names: they stay as they are, random.

    Raises
    ------
    UserError
        Naming the first tensors that are missing, left over or of another shape; nothing is loaded then.
    """

    def depends(name: str) -> bool:
        return name.startswith(tuple(fresh))

    state, ours = read_weights(path), network.state_dict()
    known = {name: tensor for name, tensor in state.items() if not depends(name)}
    wrong = [f"{name} is missing" for name in ours if name not in known and not depends(name)]
    wrong += [f"{name} is left over" for name in known if name not in ours]
    wrong += [
        f"{name} is {tuple(tensor.shape)}, not {tuple(ours[name].shape)}"
        for name, tensor in known.items()
        if name in ours and tensor.shape != ours[name].shape
    ]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(f"weights: {path} does not fit {type(network).__name__}: {'; '.join(wrong[:3])}{more}")
    network.load_state_dict(ours | known)


def foundation_builder(
    model: str, ch_names: Sequence[str], positions: np.ndarray | None, weights: str | None,
    parameters: Mapping[str, Any],
) -> FoundationBuilder | None:  # fmt: skip
    """Return the builder of a foundation model, or None for any other model of braindecode.

    Raises
    ------
    UserError
        If the model cannot be built here, a setting is not its own, or weights are given for another model.
    """
    if model not in FOUNDATION and model not in REFUSED:
        if weights is not None:
            raise UserError(
                f"`weights` are for foundation models, and {model} is none", hint=f"models: {one_of(FOUNDATION)}"
            )
        return None
    found = FoundationBuilder(model, ch_names, positions, weights, parameters)
    _ = found.rule  # refused, or known
    check_settings(find_builder(f"braindecode.{model}"), parameters)
    return found


def _found(name: str, names: Sequence[str]) -> int | None:
    """Return where a channel stands among others: under its name, else under the older or newer one."""
    bare = [one.strip().upper().strip(".") for one in names]
    wanted = name.strip().upper().strip(".")
    other = next((pair[wanted == pair[0]] for pair in _OLD_NAMES if wanted in pair), wanted)
    return next((bare.index(one) for one in (wanted, other) if one in bare), None)
