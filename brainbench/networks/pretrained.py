"""Pretrained transformers networks: in float32 from the first, with an account of every tensor of the checkpoint."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainbench.core.digests import digest
from brainbench.core.errors import UserError, one_of
from brainbench.networks.weights import hub, seeded

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True)
class Loaded:
    """Which tensors of a network a checkpoint filled.

    Attributes
    ----------
    n : int
        Parameters and buffers of the network that a checkpoint holds.
    missing : tuple of str
        Those that it did not hold: they are random.
    left_over : tuple of str
        Tensors of the checkpoint that the network has no place for, such as a head.
    """

    n: int
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What the report says of it."""
        text = f"weights: {self.n - len(self.missing)} of {self.n} tensors found"
        if self.missing:
            text += f", {len(self.missing)} missing and random ({_some(self.missing)})"
        return text + (f", {len(self.left_over)} left over ({_some(self.left_over)})" if self.left_over else "")

    def check(self, needed: Collection[str], who: str, *, partial: bool) -> None:
        """Refuse a checkpoint that lacks tensors which decide the features.

        Parameters
        ----------
        needed : collection of str
            Modules without children that run before the last layer that is read.
        who : str
            Begins the message.
        partial : bool
            Whether the recipe accepts it.

        Raises
        ------
        UserError
            Naming the first tensors that are missing.
        """
        above = {name[:end] for name in needed for end in range(len(name)) if name[end] == "."}
        wanting = [name for name in self.missing if name.rpartition(".")[0] in {"", *above, *needed}]
        if not wanting or partial:
            return
        also = f"; {len(self.left_over)} tensors have no place ({_some(self.left_over)})" if self.left_over else ""
        raise UserError(
            f"{who}: the weights fill {self.n - len(self.missing)} of the network's {self.n} tensors, and its "
            f"layers need {len(wanting)} of those that are missing ({_some(wanting)}){also}",
            hint="are they another network's? `partial_weights: true` leaves what is missing random",
        )


def _some(names: Collection[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:2]) + (", ..." if len(shown) > 2 else "")


def from_pretrained(
    source: str, *, seed: int, kind: str = "AutoModel", **options: Any
) -> tuple[torch.nn.Module, Loaded]:
    """Load a transformers network in float32, buffers included.

    A checkpoint in half precision that is loaded as it is and widened later keeps buffers that were rounded when they
    were computed (Gemma's embedding scale, XGLM's positions).

    Parameters
    ----------
    source : str
        Folder or name on the hub.
    seed : int
        Of tensors that the checkpoint lacks.
    kind : str
        The class of transformers, where it is not what ``AutoModel`` takes.
    **options
        For its ``from_pretrained``.
    """
    import torch
    import transformers

    with seeded(seed):
        network, info = getattr(transformers, kind).from_pretrained(
            source, weights_only=True, output_loading_info=True, dtype=torch.float32, **options
        )
    missing, left_over = (tuple(sorted(info[kind])) for kind in ("missing_keys", "unexpected_keys"))
    return network, Loaded(len(network.state_dict()), missing, left_over)


def built(
    source: str, *, seed: int, untrained: bool, what: str, kind: str = "AutoModel"
) -> tuple[torch.nn.Module, Loaded | None]:
    """Return the network of a folder or name on the hub, with its weights or, untrained, with random ones.

    Parameters
    ----------
    source : str
    seed : int
    untrained : bool
    what : str
        What could not be loaded, for the message.
    kind : str
        The class of transformers, where it is not what ``AutoModel`` takes.
    """
    import torch
    import transformers

    options: dict[str, Any] = {"trust_remote_code": False}
    if Path(source).is_dir():
        options["local_files_only"] = True
    with quietly(), hub(what):
        if not untrained:
            return from_pretrained(source, seed=seed, kind=kind, **options)
        config = transformers.AutoConfig.from_pretrained(source, **options)
        with seeded(seed):
            if kind == "AutoModel":
                return transformers.AutoModel.from_config(config, dtype=torch.float32), None
            return getattr(transformers, kind)(config).float(), None


def source_of(model: str) -> str:
    """Return what transformers reads a model from: the folder that a recipe names, or a name on the hub."""
    folder = Path(model).expanduser()
    return str(folder) if folder.is_dir() else model


def files_of(source: str) -> list[Path]:
    """Return the files of weights of a local model."""
    folder = Path(source)
    return sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.bin")) if folder.is_dir() else []


def digest_config(config: Any) -> str:
    """Return a digest of a configuration: equal weights act otherwise under another activation or epsilon."""
    values = config.to_dict()
    said = ("transformers_version", "architectures", "dtype", "torch_dtype")
    kept = {name: value for name, value in values.items() if not name.startswith("_") and name not in said}
    return digest(json.dumps(kept, sort_keys=True, default=str))


def processed(processor: Any, images: Sequence[np.ndarray]) -> Mapping[str, torch.Tensor]:
    """Return pictures ``(height, width, 3)`` as a network's processor prepares them, in one batch.

    Raises
    ------
    UserError
        If the processor leaves them of several sizes.
    """
    try:
        found: Mapping[str, torch.Tensor] = processor(
            images=list(images), return_tensors="pt", input_data_format="channels_last"
        )
    except ValueError as error:  # raised by what stacks them
        shapes = sorted({f"{image.shape[1]} x {image.shape[0]}" for image in images})
        if len(shapes) == 1:
            raise
        raise UserError(
            f"pictures of {one_of(shapes)} pixels do not fit into one batch: the network's {type(processor).__name__} "
            "does not bring them to one size",
            hint="`execution.batch_size: 1`, or pictures of one shape",
        ) from error
    return found


def of_part(loaded: Loaded, network: torch.nn.Module, part: torch.nn.Module) -> Loaded:
    """Return what was loaded of one part of a network, such as its encoder, under the part's own names."""
    if part is network:
        return loaded
    whole = network.state_dict(keep_vars=True)
    missing = {id(whole[name]) for name in loaded.missing if name in whole}
    own = part.state_dict(keep_vars=True)
    return Loaded(len(own), tuple(name for name, value in own.items() if id(value) in missing), loaded.left_over)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep transformers from drawing bars and tables of its own: what they say stands in our report."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
