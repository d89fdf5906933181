"""Transformers' networks of clips: V-JEPA 2, VideoMAE, TimeSformer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.data.video.clip import Clip
from brainbench.encoders.network import Inputs, NetworkEncoder
from brainbench.encoders.selfcheck import Probe, checked
from brainbench.encoders.sites import modules_matching
from brainbench.encoders.tracing import Blocks
from brainbench.networks.devices import resolve_device
from brainbench.networks.pretrained import Loaded, built, digest_config, files_of, source_of
from brainbench.networks.weights import digest_weights, hub

if TYPE_CHECKING:
    from brainbench.recipes.encoders import VideoSettings

KINDS = {"videomae": 0, "timesformer": 1, "vjepa2": 0}
"""Networks by the type of their configuration, and their class tokens."""


def checked_clip(clip: Any, name: str) -> Clip:
    """Return `clip` if it is one.

    Raises
    ------
    UserError
        Naming the stimulus and what came.
    """
    if not isinstance(clip, Clip):
        raise UserError(f"stimulus '{name}': a clip was expected, got {type(clip).__name__}")
    return clip


class VideoEncoder(NetworkEncoder):
    """A network that watches a clip: as many frames as it reads, evenly over the whole clip.

    The mean is over patches of space and time; the class token of TimeSformer is left out.

    Parameters
    ----------
    settings : VideoSettings
    seed : int
        Seed of ``weights: random``.
    device : str
    batch_size : int, optional
    """

    modalities = ("clip",)

    def __init__(
        self, settings: VideoSettings, *, seed: int = 0, device: str = "auto", batch_size: int | None = None
    ) -> None:
        self.name = settings.name
        self.settings = settings
        self.untrained = settings.weights == "random"
        self.device = resolve_device(device)
        self.source = source_of(settings.model)
        self._batch_size = batch_size
        self._loaded: Loaded | None = None
        who = f"encoder '{self.name}'"
        self.network = self._build(seed, who).eval().requires_grad_(False).to(self.device)
        config: Any = self.network.config
        if config.model_type not in KINDS:
            raise UserError(f"{who}: '{config.model_type}' is no network of clips that is known ({', '.join(KINDS)})")
        self._jepa, self._n_class = config.model_type == "vjepa2", KINDS[config.model_type]
        self.n_frames = int(config.frames_per_clip if self._jepa else config.num_frames)
        self._weights = digest_weights(self.network)
        self.reading = checked(self.network, self._probe, {"device": self.device, **self.parameters()}, who)
        self.pools = ("cls", "mean") if self.reading.class_token else ("mean",)
        said = [] if self._loaded is None else [self._loaded.sentence]
        if self._loaded is not None:
            self._loaded.check(self.reading.before_last_tap, who, partial=settings.partial_weights)
        said.append(f"sees {self.n_frames} frames, evenly over each clip")
        self.note = "; ".join([*said, *self.reading.said])

    def _build(self, seed: int, who: str) -> Any:
        from transformers import AutoImageProcessor, AutoVideoProcessor

        with hub(f"{who}: preprocessing of the model '{self.settings.model}'"):
            try:
                self.processor: Any = AutoVideoProcessor.from_pretrained(self.source, trust_remote_code=False)
            except (OSError, ValueError):  # VideoMAE and TimeSformer came with a processor of pictures
                self.processor = AutoImageProcessor.from_pretrained(self.source, trust_remote_code=False)
        what = f"{who}: model '{self.settings.model}'"
        network, self._loaded = built(self.source, seed=seed, untrained=self.untrained, what=what)
        return network.float()

    def parameters(self) -> dict[str, Any]:
        """Return network, preprocessing and the digest of the weights."""
        return {
            "network": type(self.network).__name__,
            "config": digest_config(self.network.config),
            "weights": self._weights,
            "processor": digest_config(self.processor),
            "n_frames": self.n_frames,
        }

    def weight_files(self) -> list[Path]:
        """Return the files of a local model."""
        return files_of(self.source)

    def remarks(self, stimuli: Stimuli) -> list[str]:
        """Say how many clips have fewer frames than the network sees."""
        clips = [checked_clip(stimuli.load(i), stimuli.ids[i]) for i in range(len(stimuli))]
        short = [clip for clip in clips if len(clip.times) < self.n_frames]
        if not short:
            return []
        return [
            f"encoder '{self.name}': {len(short)} of {len(clips)} clips have fewer than its {self.n_frames} frames "
            f"({short[0].name}: {len(short[0].times)}): some are shown to it more than once"
        ]

    def inputs(self, stimuli: Stimuli, rows: Sequence[int]) -> Inputs:
        """Return frames as the processor prepares them; the mean is over patches."""
        clips = [checked_clip(stimuli.load(i), stimuli.ids[i]) for i in rows]
        return self._inputs([clip.sampled(self.n_frames) for clip in clips])

    def _inputs(self, clips: Sequence[np.ndarray]) -> Inputs:
        import torch

        options: dict[str, Any] = {"return_tensors": "pt", "input_data_format": "channels_last"}
        if hasattr(self.processor, "do_sample_frames"):
            found = self.processor(videos=list(clips), do_sample_frames=False, **options)
        else:
            each = [self.processor(list(clip), **options)["pixel_values"] for clip in clips]
            found = {"pixel_values": torch.cat([one if one.ndim == 5 else one[None] for one in each])}
        pixels = next(value for name, value in found.items() if name.startswith("pixel_values"))
        pixels = pixels.float().to(self.device)
        if pixels.shape[1] != self.n_frames:
            raise UserError(
                f"encoder '{self.name}': its processor gives {pixels.shape[1]} frames, it reads {self.n_frames}"
            )
        name = "pixel_values_videos" if self._jepa else "pixel_values"
        kwargs: dict[str, Any] = {name: pixels, **({"skip_predictor": True} if self._jepa else {})}
        special = torch.arange(self._n_tokens(pixels), device=self.device) < self._n_class
        special = special.expand(len(pixels), -1)
        return Inputs(len(pixels), kwargs=kwargs, mask=~special, special=special)

    def _n_tokens(self, pixels: Any) -> int:
        config: Any = self.network.config
        high, wide = (size // int(config.patch_size) for size in pixels.shape[3:])
        return self._n_class + pixels.shape[1] // int(getattr(config, "tubelet_size", 1)) * high * wide

    def _probe(self) -> Probe:
        """Return two clips of noise, and the hidden states that transformers gives of them."""
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (2, self.n_frames, 64, 64, 3)).astype(np.uint8)
        both, one = self._inputs(list(noise)), self._inputs([noise[0]])
        assert both.mask is not None
        mask = both.mask | True

        def together() -> list[Any] | None:
            return list(self.network(**both.kwargs, output_hidden_states=True).hidden_states)

        names = tuple(modules_matching(self.network, r"encoder\.layer\.\d+"))
        blocks = Blocks(names, names[0], True)
        return Probe(together, partial(self.network, **one.kwargs), mask, mask[:1], self._n_class > 0, "stem", blocks)
