"""Transformers' networks of clips: V-JEPA 2, VideoMAE, TimeSformer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.data.vision.clip import Clip
from brainbench.encoders.network import Inputs, TransformersEncoder
from brainbench.encoders.selfcheck import Probe
from brainbench.encoders.sites import modules_matching
from brainbench.encoders.tracing import Blocks
from brainbench.networks.pretrained import digest_config
from brainbench.networks.weights import hub

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


class VideoEncoder(TransformersEncoder):
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

    pools = ("mean",)
    settings: VideoSettings

    def open_preparation(self) -> None:
        """Open the processor of clips."""
        from transformers import AutoImageProcessor, AutoVideoProcessor

        with hub(f"{self.who}: preprocessing of the model '{self.settings.model}'"):
            try:
                self.processor: Any = AutoVideoProcessor.from_pretrained(self.source, trust_remote_code=False)
            except (OSError, ValueError):  # VideoMAE and TimeSformer came with a processor of pictures
                self.processor = AutoImageProcessor.from_pretrained(self.source, trust_remote_code=False)

    def look(self) -> None:
        """Find how many frames it sees, and its class tokens."""
        kind = self.config.model_type
        if kind not in KINDS:
            raise UserError(f"{self.who}: '{kind}' is no network of clips that is known ({', '.join(KINDS)})")
        self._jepa, self._n_class = kind == "vjepa2", KINDS[kind]
        self.n_frames = int(self.config.frames_per_clip if self._jepa else self.config.num_frames)

    def remarks_on_reading(self) -> list[str]:
        """Say how many frames it sees."""
        return [f"sees {self.n_frames} frames, evenly over each clip"]

    def opened(self) -> dict[str, Any]:
        """Return network, preprocessing and the digest of the weights."""
        return {**self.of_network(), "processor": digest_config(self.processor), "n_frames": self.n_frames}

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
        config = self.config
        high, wide = (size // int(config.patch_size) for size in pixels.shape[3:])
        return self._n_class + pixels.shape[1] // int(getattr(config, "tubelet_size", 1)) * high * wide

    def probe(self) -> Probe:
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
