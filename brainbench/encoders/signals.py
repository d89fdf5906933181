"""A network of trials as an encoder: the layers it has learned, read on signals it was not trained on.

Taps are the modules below the network (and below its lists of blocks), in the order they run; those that only
reshape their input or do nothing outside of training are left out. So are those that run several times in a pass or
give other rows than trials: the report names them. Tap 0 is the input.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from brainbench.core.errors import UserError
from brainbench.core.registry import imported
from brainbench.data.base import Context, Stimuli, subject_named, subjects_asked
from brainbench.data.roots import resolve_root
from brainbench.encoders.base import Pool
from brainbench.encoders.capture import Tap, log_power
from brainbench.encoders.network import Inputs, NetworkEncoder
from brainbench.encoders.reading import TOLERANCE, distance
from brainbench.encoders.sites import Site, site, stream_of
from brainbench.encoders.tracing import Blocks, Trace
from brainbench.networks.classifier import TorchClassifier
from brainbench.networks.devices import resolve_device
from brainbench.networks.pipelines import Given, microvolts
from brainbench.networks.store import NetworkStore
from brainbench.networks.training import torch_alone
from brainbench.networks.weights import seeded
from brainbench.networks.zoo.duin import DuInTrials
from brainbench.networks.zoo.foundation import Placing
from brainbench.networks.zoo.rbtransformer import RBTransformer
from brainbench.recipes.datasets import DATASETS, dataset_settings
from brainbench.recipes.encoders import EegSettings
from brainbench.recipes.pipelines import NetworkSettings
from brainbench.recordings.base import RecordingDataset, compare_montage
from brainbench.recordings.matching import positions_of
from brainbench.recordings.recording import Trials

BATCH = 64


class EegEncoder(NetworkEncoder):
    """Layers of a network that was trained on other recordings, or of the same network before training.

    Pooling ``mean`` is the log10 of the mean square over time, feature map by feature map: what a layer does to an
    oscillation has mean zero. Layers without time give their values as they are (tokens: their mean). ``flatten``
    keeps every value.

    Parameters
    ----------
    settings : EegSettings
    seed : int
        Of the first weights and of training.
    device : str
    batch_size : int, optional
    """

    modalities = ("array",)
    pools = ("mean", "flatten")
    no_stream = "the sites of its blocks are not known, or it has none"
    _batch_size: int

    def __init__(
        self, settings: EegSettings, *, seed: int = 0, device: str = "auto", batch_size: int | None = None
    ) -> None:
        self.name = settings.name
        self.settings = settings
        self.untrained = settings.weights == "random"
        self.device = resolve_device(device)
        self._seed, self._batch_size = seed, batch_size or BATCH
        self._lock = threading.Lock()
        self._fitted: TorchClassifier | None = None
        self._dataset = self._open()
        self._members = self._read()
        first = self._members[0]
        given = Given(first.sfreq, list(first.info["ch_names"]), seed, positions=first.positions())
        assert isinstance(settings.decoder, NetworkSettings)
        self._untrained: TorchClassifier = imported(settings.decoder.network_by)(settings.decoder, given)
        self._shape = first.X.shape[1:]
        self._said: list[str] = []
        self._alone = False
        self._taps, self._time_axis = self._find_taps()
        if not self.untrained:
            self.account = [
                replace(row, subject=f"{row.subject}, trains {self.name}")
                for member in self._members
                for row in self._dataset.account(member.subject)
            ]
        people = ", ".join(member.subject for member in self._members)
        n_trials = sum(len(member) for member in self._members)
        self._origins = {
            mark: name for member in self._members for mark, name in self._dataset.origins(member.subject).items()
        }
        self.note = (
            "random weights, before any training"
            if self.untrained
            else f"trained here on {n_trials} trials of {people} from {len(self._origins)} other recordings, to tell "
            f"{' from '.join(sorted({str(label) for m in self._members for label in m.label}))}; "
            f"key {self.training_key()}"
        )
        self.note = "; ".join([self.note, *self._said])

    def _open(self) -> RecordingDataset:
        try:
            chosen: Any = dataset_settings(self.settings.recordings)
        except ValueError as error:
            raise UserError(f"encoder '{self.name}': trained_on: {error}") from None
        root = None
        if not chosen.keeps_own_root or chosen.root is not None:
            root, _ = resolve_root(chosen.name, chosen.root)
        dataset = DATASETS.builder(chosen.name).open(chosen, root, Context())
        if not isinstance(dataset, RecordingDataset):
            raise UserError(f"encoder '{self.name}': trained_on: '{chosen.name}' is no recording")
        return dataset

    def _read(self) -> list[Trials]:
        wanted: Any = dataset_settings(self.settings.recordings).subjects
        known = self._dataset.subjects
        subjects = subjects_asked(known, wanted)
        unknown = [name for name in ([] if wanted == "all" else wanted) if subject_named(known, name) is None]
        if unknown or not subjects:
            raise UserError(f"encoder '{self.name}': trained_on: no recordings of {', '.join(unknown) or 'anybody'}")
        members = [self._dataset.trials(subject) for subject in subjects]
        for other in members[1:]:
            compare_montage(members[0].info, other.info, members[0].subject, other.subject)
        # The last sample of an epoch is the first one after `tmax`: stimuli end before it.
        n_times = round((self._dataset.settings.tmax - self._dataset.settings.tmin) * members[0].sfreq)
        return [replace(member, X=member.X[:, :, :n_times]) for member in members]

    def parameters(self) -> dict[str, Any]:
        """Return network, training and training trials, which decide the weights under a seed."""
        return {
            "decoder": self.settings.decoder.model_dump(mode="json", exclude={"name"}),
            "weights": self.settings.weights,
            "trials": [member.digest() for member in self._members],
            "seed": self._seed,
            "taps": [tap.name for tap in self._taps],
        }

    def origins(self) -> dict[str, str]:
        """Return the recordings it is trained on."""
        return {} if self.untrained else self._origins

    def weight_files(self) -> list[Path]:
        """Return the recordings it is trained on."""
        return [] if self.untrained else self._dataset.files()

    @property
    def taps(self) -> Sequence[Tap]:
        """The input, and the output of every module that changes something."""
        return self._taps

    def batch_size(self) -> int:
        """Return how many trials a forward pass takes."""
        return 1 if self._alone else self._batch_size

    def check_stimuli(self, stimuli: Stimuli) -> None:
        """Refuse trials of another shape or rate; train or read the network."""
        self._check_signals(stimuli)
        self.network = self._classifier().network_.to(self.device).eval()

    @cached_property
    def _plain(self) -> nn.Module:
        """The network before training: what modules it has is known without any."""
        return self._built(int(self._shape[1]))

    @cached_property
    def stream(self) -> Sequence[Tap]:
        """The blocks whose sites are known, and what the first of them is given; nothing where there are none."""
        n_prefix, _ = tokens_of_trials(self._plain, None, 1.0)
        return [replace(tap, n_prefix=n_prefix) for tap in stream_of(self._plain, self.taps)]

    def site(self, block: int, name: Site) -> Tap:
        """Return one of the eight sites of a block; no training is needed for that."""
        return site(self._plain, self.stream, block, name)

    def inputs(self, stimuli: Stimuli, rows: Sequence[int]) -> Inputs:
        """Return trials, scaled as those of training were."""
        classifier = self._classifier()
        signals = np.stack([stimuli.load(i) for i in rows]).astype(np.float64)
        inputs = classifier._inputs((microvolts(signals) / classifier.scale_).astype(np.float32))
        positions = None if stimuli.layout is None else positions_of(stimuli.layout.info)
        _, places = tokens_of_trials(self._plain, positions, self._members[0].sfreq)
        places = {unit: where.to(self.device) for unit, where in places.items()}
        return Inputs(len(rows), (torch.from_numpy(inputs).to(self.device),), places=places)

    def _check_signals(self, stimuli: Stimuli) -> None:
        shape, rate = tuple(np.shape(stimuli.load(0))), self._members[0].sfreq
        if stimuli.sfreq != rate or shape != tuple(self._shape):
            raise UserError(
                f"encoder '{self.name}' was built for {self._shape[0]} channels x {self._shape[1]} samples at "
                f"{rate:g} Hz; the stimuli have {' x '.join(map(str, shape))} at {stimuli.sfreq} Hz",
                hint="`trained_on` takes all settings that it does not name from `dataset`",
            )
        if stimuli.layout is not None:  # as many channels are not the same ones
            what = f"encoder '{self.name}': training"
            compare_montage(self._members[0].info, stimuli.layout.info, what, stimuli.layout.where)

    def pooled(self, value: Tensor, tap: Tap, pool: Pool, inputs: Inputs) -> Tensor:
        """Return one vector a trial: the log of its power, feature map by feature map, or every value."""
        value = value.float()
        if pool == "flatten" or value.ndim <= 2:
            return value.flatten(1).clone()
        axis = self._time_axis[tap.name]
        if axis is None:
            return value.mean(dim=1).flatten(1)
        return log_power(value, axis)

    def training_key(self) -> str | None:
        """Return the key of its network in the store of trained networks; None without training."""
        return None if self.untrained else self._key

    @cached_property
    def _key(self) -> str:
        return NetworkStore.key(clone(self._untrained).describe_training(*self._training_trials()))

    def train(self) -> dict[str, np.ndarray]:
        """Train its network, or read it; see `Encoder.train`."""
        if self.untrained:
            return {}
        classifier = self._classifier()
        names = [name for name in classifier.history_[0] if name != "epoch"]
        curves = {name: np.array([record[name] for record in classifier.history_]) for name in names}
        return {**curves, "best_epoch": np.array(classifier.best_epoch_)}

    def _training_trials(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return trials, labels, and the runs that validation keeps whole, where there are several."""
        X = np.concatenate([microvolts(member.X) for member in self._members])
        y = np.concatenate([member.label for member in self._members])
        runs = [f"{m.subject}/{s}/{r}" for m in self._members for s, r in zip(m.session, m.run, strict=True)]
        return X, y, np.array(runs) if len(set(runs)) > 1 else None

    def _classifier(self) -> TorchClassifier:
        """Return the classifier with its network, trained on first use."""
        with self._lock:
            if self._fitted is None:
                X, y, runs = self._training_trials()
                fitted = clone(self._untrained)
                if self.untrained:
                    fitted.network_ = self._built(self._shape[1])
                    fitted.scale_ = float(X.std(dtype=np.float64))
                else:
                    fitted.set_params(checkpoint=self.networks).fit(X, y, runs)
                self._fitted = fitted
            return self._fitted

    @cached_property
    def _n_outputs(self) -> int:
        return len({str(label) for member in self._members for label in member.label})

    def _built(self, n_times: int) -> nn.Module:
        classifier = self._untrained
        with torch_alone(1), seeded(self._seed):
            return classifier.build(self._shape[0], n_times, self._n_outputs).eval()

    # Taps -----------------------------------------------------------------------------------------------------------

    def _find_taps(self) -> tuple[list[Tap], dict[str, int | None]]:
        """Return the taps in the order they run, and the axis of time of each: the one that grows with the trial."""
        n_times = int(self._shape[1])
        try:
            self._untrained.check_trials(int(self._shape[0]), n_times, self._n_outputs)
        except UserError as error:
            raise UserError(f"encoder '{self.name}': {error.message}", hint=error.hint) from error
        (short, several), (long, _) = self._look(n_times), self._look(2 * n_times)
        left_out = [name for name, values in short.items() if len(values) > 1 or len(values[0]) != 2]
        if left_out:
            self._said.append(f"not read, since they run several times or fold trials: {', '.join(left_out)}")
        alone, of_one = self._look(n_times, 1)
        streams = sorted(several & of_one - set(left_out), key=list(short).index)
        if streams:
            self._said.append(f"not read, since they give several streams: {', '.join(streams)}")
        kept: list[str] = []
        for name, (value, *_) in short.items():
            if (
                name not in left_out
                and name not in streams
                and (not kept or not _same_values(value, short[kept[-1]][0]))
            ):
                kept.append(name)
                self._alone |= distance(alone[name][0][0], value[0]) > TOLERANCE
        if len(kept) < 2:
            raise UserError(f"encoder '{self.name}': no part of its network runs once a pass with a row a trial")
        if self._alone:
            self._said.append("features of one trial depend on the others of its batch: every trial is read alone")
        taps = [Tap("input", "", "input", 0.0)]
        taps += [Tap(name, name, "output", (i + 1) / (len(kept) - 1)) for i, name in enumerate(kept[1:])]
        axes: dict[str, int | None] = {}
        for name in kept:
            a = short[name][0].shape
            b = long[name][0].shape if name in long else a
            grown = [axis for axis in range(1, len(a)) if len(a) == len(b) and a[axis] != b[axis]]
            axes[name] = grown[0] if len(a) > 2 and grown else None
        return taps, axes

    def _look(self, n_times: int, n_trials: int = 2) -> tuple[dict[str, list[Tensor]], set[str]]:
        """Return what every module gives for trials of noise, each time that it runs, in the order they run.

        The second is who gives several values of one kind with a row a trial each, as branches of a network do; a value
        with weights of attention, or with the state of a recurrent network, is one.
        """
        network = self._built(n_times)
        noise = np.random.default_rng(0).normal(size=(2, int(self._shape[0]), n_times)).astype(np.float32)
        inputs = torch.from_numpy(self._untrained._inputs(noise[:n_trials]))
        trace = Trace()
        with torch.inference_mode(), trace.over(network, [Blocks(_modules(network), "", True)]):
            network(inputs)
        found, several = {"input": trace.taken[""][:1]}, set()
        for (name, _), values in trace.given.items():
            if name and values:
                found.setdefault(name, []).append(values[0])
                if sum(_one_kind(value, values[0], n_trials) for value in values) > 1:
                    several.add(name)
        return found, several


def tokens_of_trials(network: nn.Module, positions: np.ndarray | None, sfreq: float) -> tuple[int, dict[str, Tensor]]:
    """Return the number of tokens that are of no part of a trial, and where all lie, of networks that are known here.

    Parameters
    ----------
    network : Module
    positions : ndarray (n_channels, 3), optional
        Metres.
    sfreq : float
        Hz.

    Returns
    -------
    n_prefix : int
    places : dict of str to Tensor
        ``cm`` ``(n_tokens, 3)`` where a token is of one sensor whose place is known, ``ms`` ``(n_tokens, 1)``, its
        middle, where it is of one stretch of the trial.
    """
    cm = None if positions is None else torch.from_numpy(100 * positions).float()
    if isinstance(network, RBTransformer):
        return 0, {} if cm is None else {"cm": cm}
    kind, known = type(network).__name__, cast("Any", network)
    if isinstance(network, DuInTrials):
        length, n_tokens = network.tokenizer.patch, network.n_read // network.tokenizer.patch
    elif kind in ("LUNA", "Labram"):
        length, n_tokens = known.patch_size, known.n_times // known.patch_size
    else:
        return 0, {}
    middle = (torch.arange(n_tokens) + 0.5).unsqueeze(1) * length / sfreq * 1e3
    if kind != "Labram":
        return 0, {"ms": middle}
    # A class token, then all patches of the first channel that it reads, and so on.
    (placing,) = (hook for hook in network._forward_pre_hooks.values() if isinstance(hook, Placing))
    places = {"ms": torch.cat([middle[:1], middle.repeat(len(placing.index), 1)])}
    if cm is not None:
        at = cm[list(placing.index)].repeat_interleave(n_tokens, dim=0)
        places["cm"] = torch.cat([at[:1], at])
    return 1, places


def _modules(network: nn.Module) -> tuple[str, ...]:
    """Return the modules to look at: children, with lists (and a lone container) opened."""
    found = []
    for name, child in network.named_children():
        if isinstance(child, nn.ModuleList):
            found += [f"{name}.{number}" for number, _ in child.named_children()]
        else:
            found.append(name)
    return tuple(found)


def _one_kind(a: Tensor, b: Tensor, n_trials: int) -> bool:
    """Return whether two tensors have a row a trial each, and are of one width."""
    return a.ndim == b.ndim > 0 and len(a) == len(b) == n_trials and a.shape[-1] == b.shape[-1]


def _same_values(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors hold the same numbers, in whatever order and shape."""
    return a.numel() == b.numel() and bool(torch.equal(a.flatten().sort().values, b.flatten().sort().values))
