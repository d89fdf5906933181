"""Transformers' networks of sound: Whisper's encoder, wav2vec2, HuBERT, WavLM, w2v-BERT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.base import Encoder, Pool
from brainbench.encoders.capture import Tap, rows_first
from brainbench.encoders.network import Inputs, TransformersEncoder
from brainbench.encoders.selfcheck import Probe
from brainbench.encoders.sound.listening import Listener, Spans
from brainbench.networks.pretrained import digest_config
from brainbench.networks.weights import hub

if TYPE_CHECKING:
    from torch import Tensor

    from brainbench.recipes.encoders import AudioSettings


class AudioEncoder(Listener, TransformersEncoder):
    """A network that reads sound: features of what its blocks make of every frame.

    Parameters
    ----------
    settings : AudioSettings
    seed : int
        Seed of ``weights: random``.
    device : str
    batch_size : int, optional
        Windows are read one at a time, whatever it says.
    """

    settings: AudioSettings

    def open_preparation(self) -> None:
        """Open the processor of sounds."""
        from transformers import AutoFeatureExtractor

        settings = self.settings
        self.window_s, self.overlap_s = settings.window_s, settings.overlap_s
        with hub(f"{self.who}: preprocessing of the model '{settings.model}' (preprocessor_config.json)"):
            self.processor = AutoFeatureExtractor.from_pretrained(self.source, trust_remote_code=False)
        self.sfreq = int(getattr(self.processor, "sampling_rate", 0))
        if not self.sfreq:
            raise UserError(f"{self.who}: the processor of '{settings.model}' is none of sounds")
        longest = getattr(self.processor, "chunk_length", None)
        if longest is not None and self.window_s > longest:
            raise UserError(
                f"{self.who}: window_s: {self.window_s}: '{settings.model}' reads {longest} s at once at most"
            )

    def part(self, network: Any) -> Any:
        """Return the encoder of a network that has a decoder too."""
        return network.get_encoder() if getattr(network.config, "is_encoder_decoder", False) else network

    def remarks_on_reading(self) -> list[str]:
        """Say how sound is cut."""
        return [
            f"hears sound in windows of {self.window_s} s that overlap by {self.overlap_s} s, and of each what comes "
            "before a moment and after it"
        ]

    def look(self) -> None:
        """Find when frames are: by the strides of convolutions or spectra where known, else by the number of frames."""
        config = self.config
        kernels, strides = getattr(config, "conv_kernel", None), getattr(config, "conv_stride", None)
        self._stride, self._middle, self.least = 0.0, 0.0, self.sfreq // 10
        if isinstance(kernels, (list, tuple)) and isinstance(strides, (list, tuple)):
            stride, field = 1, 1
            for kernel, step in zip(kernels, strides, strict=True):
                field += (kernel - 1) * stride
                stride *= step
            self._stride, self._middle, self.least = stride / self.sfreq, field / 2 / self.sfreq, field
        elif isinstance(stacked := getattr(self.processor, "stride", None), int):
            # w2v-BERT: so many spectra of 25 ms, one every 10 ms, make a frame.
            self._stride, self._middle = 0.01 * stacked, 0.0125 + 0.005 * (stacked - 1)
        elif self._thinned:  # frames lie around the spectrum that they keep
            self._stride = 0.01 * self._thinned
            # Parakeet's spectra lie around their moment; Speech2Text's begin with the sound and last 25 ms.
            self._middle = 0.0 if hasattr(config, "subsampling_factor") else 0.0125

    @property
    def _thinned(self) -> int:
        """Of how many spectra, one every 10 ms, convolutions keep one (Parakeet, Speech2Text); 0 for others."""
        halved = getattr(self.config, "num_conv_layers", 0) if hasattr(self.config, "conv_kernel_sizes") else 0
        return int(getattr(self.config, "subsampling_factor", 2**halved if halved else 0))

    def times(self, n_frames: int, n_samples: int) -> np.ndarray:
        """Return the middle of every frame of a window, seconds from its begin ``(n_frames,)``."""
        if self._stride:
            return np.asarray(self._middle + self._stride * np.arange(n_frames))
        padded = getattr(self.processor, "chunk_length", None)
        if padded is not None:  # Whisper's spectra, and of these every second one, lie around their moment
            return np.asarray(np.arange(n_frames) * float(padded) / n_frames)
        return np.asarray((np.arange(n_frames) + 0.5) * n_samples / self.sfreq / n_frames)

    def opened(self) -> dict[str, Any]:
        """Return network, preprocessing, windows and the digest of the weights."""
        processor = digest_config(self.processor)
        found = {**self.of_network(), "processor": processor, "window_s": self.window_s, "overlap_s": self.overlap_s}
        if hasattr(self.config, "conv_stride"):
            return found
        # Frames that no convolution counts lay half a frame late, or drifted by it, before 2026-11-28.
        return {**found, "frames": "by the spectra they keep" if self._thinned else "by their middle"}

    def batch_size(self) -> int:
        """Return how many windows a forward pass takes."""
        return 1

    def inputs(self, stimuli: Stimuli, rows: Sequence[int]) -> Inputs:
        """Return sounds alone, without what is heard around them; of one length, or one at a time."""
        assert stimuli.heard is not None
        heard = stimuli.heard.take(list(rows))
        sounds = []
        for k in range(len(rows)):
            recording = heard.recordings[int(heard.of[k])]
            whole = int(heard.start[k])
            n_samples = round((heard.end[k] - whole) * self.sfreq)
            sounds.append(
                recording.stretch(whole, n_samples, self.sfreq)[round((heard.start[k] - whole) * self.sfreq) :]
            )
        found = self._inputs(sounds)
        if not hasattr(self.processor, "chunk_length"):
            return found
        import torch

        # Sounds are filled up with silence to the length that the network reads: those frames are no part of them.
        n_frames = int(getattr(self.config, "max_source_positions", 0))
        middle = torch.from_numpy(self.times(n_frames, 0)).to(self.device)
        length = torch.tensor([len(sound) / self.sfreq for sound in sounds], device=self.device)
        real = (middle < length.unsqueeze(1)) | (middle == middle[0])
        return replace(found, mask=real, real=real)

    def _inputs(self, sounds: Sequence[np.ndarray]) -> Inputs:
        alike = len({len(sound) for sound in sounds}) == 1
        padding = {} if alike or hasattr(self.processor, "chunk_length") else {"padding": True}
        found = self.processor(list(sounds), sampling_rate=self.sfreq, return_tensors="pt", **padding)
        return Inputs(len(sounds), kwargs={name: value.to(self.device) for name, value in found.items()})

    def sums(
        self, samples: np.ndarray, spans: Spans, layers: Sequence[str]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Run one window through the network; see `Listener.sums`."""
        import torch

        taps = [tap for tap in self.taps if tap.name in set(layers)]
        frames = np.zeros(0)

        def of_pieces(value: Tensor, tap: Tap) -> Tensor:
            nonlocal frames
            rows = rows_first(value, tap.layout)[0].float()
            parts = spans(self.times(len(rows), len(samples)))
            frames = np.array([last - first for first, last in parts])
            return torch.stack([rows[first:last].sum(0) for first, last in parts])

        with torch.inference_mode():
            found = self.run(self._inputs([samples]), taps, reduce=of_pieces)
        return {tap.name: found[tap.name].cpu().numpy() for tap in taps}, frames

    def encode_rest(
        self, stimuli: Stimuli, layers: Sequence[str], pool: Pool, done: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield what is left; sounds are heard from their begin, see `Encoder.encode_rest`."""
        return Encoder.encode_rest(self, stimuli, layers, pool, done)

    def pooled(self, value: Tensor, tap: Tap, pool: Pool, inputs: Inputs) -> Tensor:
        """Return the mean over all frames."""
        return rows_first(value, tap.layout).float().mean(1)

    def probe(self) -> Probe:
        """Return two sounds of noise, and the hidden states that transformers gives of them.

        Raises
        ------
        UserError
            If half a sound has as many frames: then nobody knows which of them is when.
        """
        import torch

        rng = np.random.default_rng(0)
        noise = rng.standard_normal((2, 2 * self.sfreq)).astype(np.float32) / 10
        both, one = self._inputs(list(noise)).kwargs, self._inputs([noise[0]]).kwargs
        with torch.inference_mode():
            n_frames = self.network(**both).last_hidden_state.shape[1]
            of_half = self.network(**self._inputs([noise[0, : self.sfreq]]).kwargs).last_hidden_state.shape[1]
        if not hasattr(self.processor, "chunk_length") and not 0.4 < of_half / n_frames < 0.6:
            raise UserError(
                f"{self.who}: {type(self.network).__name__} gives {of_half} values of a sound of 1 s and {n_frames} of "
                "one of 2 s: they are no moments of it"
            )
        mask = torch.ones((2, n_frames), dtype=torch.bool, device=self.device)

        def together() -> list[Any] | None:
            return list(self.network(**both, output_hidden_states=True).hidden_states)

        return Probe(together, partial(self.network, **one), mask, mask[:1], False, "stem")
