"""One forward pass for every network: inputs, reading and editing at places, pooling."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.base import Encoder, Layer, Pool
from brainbench.encoders.capture import Edit, Tap, hooked, pooled
from brainbench.encoders.selfcheck import Checked, Probe, checked
from brainbench.encoders.sites import Site, site
from brainbench.networks.devices import automatic_batch, in_batches, resolve_device
from brainbench.networks.pretrained import Loaded, built, digest_config, files_of, of_part, source_of
from brainbench.networks.weights import digest_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from brainbench.recipes.encoders import AudioSettings, ImageSettings, TextSettings, VideoSettings


@dataclass(frozen=True)
class Inputs:
    """What one forward pass is given.

    Attributes
    ----------
    n : int
        Stimuli.
    args, kwargs
        Arguments of the network, on its device.
    mask : Tensor, optional
        bool ``(n, n_tokens)``: the tokens that ``mean`` averages. None where places are counted by the tap alone.
    special : Tensor, optional
        bool ``(n, n_tokens)``: tokens that stand for no part of a stimulus, such as class and separator.
    real : Tensor, optional
        bool ``(n, n_tokens)``: all tokens but padding; None where nothing is padded.
    grid : tuple of int, optional
        Rows and columns of patches, where places are such.
    places : mapping of str to Tensor
        Where tokens of sensors lie, ``(n_tokens, n_dimensions)`` by unit: ``cm``, ``ms``.
    """

    n: int
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    mask: Tensor | None = None
    special: Tensor | None = None
    real: Tensor | None = None
    grid: tuple[int, int] | None = None
    places: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Read:
    """One forward pass, and how it gives features of stimuli.

    Attributes
    ----------
    rows : sequence of int
        The stimuli that it gives features of.
    inputs : Inputs
    pooled : callable
        From the value of a tap to a vector a stimulus, ``(n_rows, n_features)``.
    """

    rows: Sequence[int]
    inputs: Inputs
    pooled: Callable[[Tensor, Tap], Tensor]


class NetworkEncoder(Encoder):
    """An encoder whose features are read inside a torch network.

    Attributes
    ----------
    network : torch.nn.Module
        In evaluation mode, on `device`, without gradients of its weights.
    """

    network: torch.nn.Module
    reading: Checked
    """How the network is read, as the check on opening found it."""
    no_stream = "the network has no blocks"
    """Why `stream` has none, where it has none."""
    _batch_size: int | None = None

    @abstractmethod
    def inputs(self, stimuli: Stimuli, rows: Sequence[int]) -> Inputs:
        """Return what the network is given for some of the stimuli."""

    def batch_size(self) -> int:
        """Return how many stimuli a forward pass takes: what the recipe says, else what memory allows."""
        if self.reading.alone:
            return 1
        return self._batch_size or automatic_batch(3 * self.reading.largest, self.device)

    def check_stimuli(self, stimuli: Stimuli) -> None:
        """Raise a UserError for stimuli that cannot be read; called before the first batch."""

    def order(self, stimuli: Stimuli) -> np.ndarray:
        """Return the order in which stimuli are read, int ``(n_stimuli,)``; features come in that of the stimuli."""
        return np.arange(len(stimuli))

    def layers(self) -> list[Layer]:
        """Return the input of the first block and the output of every block."""
        return [Layer(tap.name, tap.depth, tap.width) for tap in self.taps]

    @property
    def taps(self) -> Sequence[Tap]:
        """Every place that is a layer, in order of depth."""
        return self.reading.taps

    @property
    def stream(self) -> Sequence[Tap]:
        """What the first block is given, and what every block gives: the layers that share a stream."""
        return self.taps

    def site(self, block: int, name: Site) -> Tap:
        """Return one of the eight sites of a block, to read or to edit; see `brainbench.encoders.sites`."""
        return site(self.network, self.stream, block, name)

    def run(
        self,
        inputs: Inputs,
        read: Sequence[Tap],
        edit: Sequence[Edit] = (),
        reduce: Callable[[Tensor, Tap], Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Run the network once and return what was read, by the taps' names.

        Parameters
        ----------
        inputs : Inputs
        read : sequence of Tap
            Layers (`taps`) or sites (`site`). A place that is edited too is read as the network computed it.
        edit : sequence of Edit
            Changes that all later modules see; the network itself is left as it was.
        reduce : callable, optional
            From value and tap to what is kept of it; by default a copy of the value.

        Raises
        ------
        UserError
            If a module did not run, or a value has not one row a stimulus.
        """
        make = reduce or _copy
        with hooked(self.network, {tap: partial(_of, make, tap) for tap in read}, edit) as values:
            self.forward(inputs)
        for tap in read:
            if tap.name not in values:
                raise UserError(f"encoder '{self.name}': '{tap.name}' did not run")
        return values

    def forward(self, inputs: Inputs) -> None:
        """Run the network once."""
        self.network(*inputs.args, **inputs.kwargs)

    def encode(self, stimuli: Stimuli, layers: Sequence[str], pool: Pool) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches of features; see `Encoder.encode`."""
        return self.encode_rest(stimuli, layers, pool, 0)

    def encode_rest(
        self, stimuli: Stimuli, layers: Sequence[str], pool: Pool, done: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches after the first `done` stimuli, which are not read again; see `Encoder.encode_rest`."""
        import torch

        self.check_modality(stimuli)
        self.check_pool(pool)
        self.check_stimuli(stimuli)
        taps = [tap for tap in self.taps if tap.name in set(layers)]

        # What was yielded before is a whole stretch of the order, however that mixes stimuli.
        order = self.order(stimuli)[done:]
        n, size, read_at = self.reads(stimuli, order.tolist(), pool)

        def forward(places: range) -> dict[str, np.ndarray]:
            read = read_at(places)
            with torch.inference_mode():
                values = self.run(read.inputs, taps, reduce=read.pooled)
            for name, value in values.items():
                if len(value) != len(read.rows):
                    raise UserError(
                        f"encoder '{self.name}': '{name}' gives {len(value)} rows for {len(read.rows)} stimuli"
                    )
            return {tap.name: values[tap.name].cpu().numpy() for tap in taps}

        yield from in_order(order - done, in_batches(n, size, forward))

    def reads(self, stimuli: Stimuli, rows: Sequence[int], pool: Pool) -> tuple[int, int, Callable[[range], Read]]:
        """Return in how many pieces stimuli are read, how many pieces a pass takes, and what makes a pass of some."""

        def read(places: range) -> Read:
            mine = [rows[place] for place in places]
            inputs = self.inputs(stimuli, mine)
            return Read(mine, inputs, lambda value, tap: self.pooled(value, tap, pool, inputs))

        return len(rows), self.batch_size(), read

    def pooled(self, value: Tensor, tap: Tap, pool: Pool, inputs: Inputs) -> Tensor:
        """Return one vector a stimulus from the value of a tap, ``(n, n_features)``."""
        return pooled(value, tap, pool, inputs.mask)


class TransformersEncoder(NetworkEncoder):
    """A network of transformers: opened, counted and checked in one way, whatever it is given.

    A subclass prepares its inputs (`open_preparation`), names the part that is read (`part`), reads off the network
    what it needs to know before the check (`look`), and says on what it is checked (`probe`).

    Parameters
    ----------
    settings : AudioSettings, ImageSettings, TextSettings or VideoSettings
    seed : int
        Seed of ``weights: random``, and of tensors that weights lack.
    device : str
    batch_size : int, optional
    """

    def __init__(
        self,
        settings: AudioSettings | ImageSettings | TextSettings | VideoSettings,
        *,
        seed: int = 0,
        device: str = "auto",
        batch_size: int | None = None,
    ) -> None:
        self.name = settings.name
        self.who = f"encoder '{self.name}'"
        self.settings: Any = settings
        self.untrained = settings.weights == "random"
        self.device = resolve_device(device)
        self.source = self.source_of(settings.model)
        self._batch_size = batch_size
        self.open_preparation()
        what = f"{self.who}: model '{settings.model}'"
        network, loaded = built(self.source, seed=seed, untrained=self.untrained, what=what)
        part = self.part(network)
        self.config: Any = getattr(part, "config", network.config)
        self.network = part.float().eval().requires_grad_(False).to(self.device)
        self._weights = digest_weights(self.network)
        said = []
        if part is not network:
            name = next(name for name, module in network.named_modules() if module is part)
            said.append(f"reads the part '{name}' of {type(network).__name__}")
        self._loaded: Loaded | None = None if loaded is None else of_part(loaded, network, part)
        if self._loaded is not None:
            said.append(self._loaded.sentence)
        self.look()
        self.reading = checked(self.network, self.probe, {"device": self.device, **self.opened()}, self.who)
        if self._loaded is not None:
            self._loaded.check(self.reading.before_last_tap, self.who, partial=settings.partial_weights)
        if self.reading.class_token:
            self.pools = ("cls", *self.pools)
        self.note = "; ".join([*said, *self.remarks_on_reading(), *self.reading.said])

    def source_of(self, model: str) -> str:
        """Return what transformers reads `model` from."""
        return source_of(model)

    @abstractmethod
    def open_preparation(self) -> None:
        """Open what prepares inputs, and refuse settings that do not go with it."""

    def part(self, network: Any) -> Any:
        """Return the part of the network that is read."""
        return network

    def look(self) -> None:
        """Read off the network what inputs and checks need to know."""

    @abstractmethod
    def opened(self) -> dict[str, Any]:
        """Return what decides features: network, preparation of inputs, and the digest of the weights."""

    @abstractmethod
    def probe(self) -> Probe:
        """Return two stimuli, and the hidden states that transformers gives of them."""

    def remarks_on_reading(self) -> list[str]:
        """Return what the report says of how stimuli are given to the network."""
        return []

    def of_network(self) -> dict[str, Any]:
        """Return class, configuration and digest of the weights of the network."""
        return {
            "network": type(self.network).__name__,
            "config": digest_config(self.config),
            "weights": self._weights,
        }

    def parameters(self) -> dict[str, Any]:
        """Return network, preparation of inputs, and the digest of the weights."""
        return self.opened()

    def weight_files(self) -> list[Path]:
        """Return the files of a local model."""
        return files_of(self.source)


def in_order(order: np.ndarray, batches: Iterator[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """Yield rows that come in `order` in the order of their numbers, as soon as all before them have come."""
    waiting: list[dict[str, np.ndarray]] = []
    sent = seen = 0
    for batch in batches:
        waiting.append(batch)
        seen += len(next(iter(batch.values())))
        rows = order[sent:seen]
        if rows.max() + 1 == seen:
            back = np.argsort(rows)
            yield {name: np.concatenate([one[name] for one in waiting])[back] for name in batch}
            waiting, sent = [], seen


def _of(make: Callable[[Tensor, Tap], Tensor], tap: Tap, value: Tensor) -> Tensor:
    return make(value, tap)


def _copy(value: Tensor, _tap: Tap) -> Tensor:
    return value.clone()
