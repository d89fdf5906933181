"""CLIP features that diffusion models are conditioned on, as encoders, so that the feature store keeps them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.digests import digest_files
from brainbench.data.base import Stimuli
from brainbench.encoders.base import Encoder, Layer, Pool
from brainbench.encoders.pixels import checked_image, square
from brainbench.networks.devices import automatic_batch, in_batches
from brainbench.reconstruction.base import Condition
from brainbench.reconstruction.pretrained import Pretrained

if TYPE_CHECKING:
    import torch

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of the pixels CLIP was trained on, for models that come without them."""


class ClipEncoder(Encoder):
    """What the image and the text encoder share: one source, layers of known shapes, no pooling of our own."""

    pools: tuple[Pool, ...] = ("flatten",)
    shapes: Mapping[str, tuple[int, ...]]
    depths: Mapping[str, float]

    def __init__(self, name: str, source: Pretrained, part: str, device: str) -> None:
        self.name, self.source, self.part, self.device = name, source, part, device

    def layers(self) -> list[Layer]:
        """Return the layers in order of depth, with the number of features of each."""
        return [Layer(name, self.depths[name], int(np.prod(shape))) for name, shape in self.shapes.items()]

    def weight_files(self) -> list[Path]:
        """Return the file of the weights."""
        return self.source.weight_files(self.part)

    @cached_property
    def _weights(self) -> str:
        return self.source.digest(self.part)


class ClipImage(ClipEncoder):
    """CLIP's image encoder on the whole image, resized to its own square.

    Layers: ``tokens.penultimate``, all tokens before the last block; ``tokens``, all tokens of the last block after
    layer norm and projection, divided by the norm of the class token's; ``pooled``, the projected class token.

    Parameters
    ----------
    source : Pretrained
    part : str
        Folder of the ``CLIPVisionModelWithProjection``.
    processor : str or None
        Folder of the image processor, for mean and standard deviation of pixels.
    device : str
    """

    modalities = ("image",)

    def __init__(self, source: Pretrained, part: str, processor: str | None, device: str) -> None:
        from transformers import CLIPVisionConfig

        super().__init__("clip_image", source, part, device)
        config = source.tool(CLIPVisionConfig, part)
        self.size = int(config.image_size)
        tokens = 1 + (self.size // int(config.patch_size)) ** 2
        hidden, projected, blocks = config.hidden_size, config.projection_dim, config.num_hidden_layers
        self.shapes = {
            "tokens.penultimate": (tokens, hidden),
            "tokens": (tokens, projected),
            "pooled": (projected,),
        }
        self.depths = {"tokens.penultimate": (blocks - 1) / blocks, "tokens": 1.0, "pooled": 1.0}
        pixels: dict[str, Any] = {}
        if processor is not None:
            pixels = json.loads((source.folder / processor / "preprocessor_config.json").read_text(encoding="utf-8"))
        self.mean, self.std = tuple(pixels.get("image_mean", _MEAN)), tuple(pixels.get("image_std", _STD))
        self._batch = automatic_batch(40.0 * 4 * tokens * hidden, device)

    @cached_property
    def network(self) -> Any:
        """The network, read when first needed."""
        from transformers import CLIPVisionModelWithProjection

        return self.source.load(CLIPVisionModelWithProjection, self.part, self.device)

    def read(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return all layers of normalised pixels ``(n, 3, size, size)``, each ``(n, *shape)``."""
        import torch

        with torch.inference_mode():
            out = self.network(pixels.to(self.device), output_hidden_states=True)
            tokens = self.network.visual_projection(self.network.vision_model.post_layernorm(out.last_hidden_state))
            norm = torch.linalg.vector_norm(tokens[:, :1], dim=-1, keepdim=True)
            return {
                "tokens.penultimate": out.hidden_states[-2],
                "tokens": tokens / norm,
                "pooled": out.image_embeds,
            }

    def normalised(self, images: np.ndarray) -> torch.Tensor:
        """Return uint8 images ``(n, size, size, 3)`` as the network takes them."""
        import torch

        mean, std = np.array(self.mean, dtype=np.float32), np.array(self.std, dtype=np.float32)
        values = (images.astype(np.float32) / 255 - mean) / std
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(values, -1, 1)))

    def encode(self, stimuli: Stimuli, layers: Sequence[str], pool: Pool) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches of features; see `Encoder.encode`."""
        self.check_modality(stimuli)
        self.check_pool(pool)

        def forward(rows: range) -> dict[str, np.ndarray]:
            images = [checked_image(stimuli.load(i), stimuli.ids[i]) for i in rows]
            found = self.read(self.normalised(np.stack([square(one, self.size, self.size) for one in images])))
            return {name: found[name].flatten(1).cpu().numpy() for name in layers}

        yield from in_batches(len(stimuli), self._batch, forward)

    def parameters(self) -> dict[str, Any]:
        """Return model, size, normalisation and the digest of the weights."""
        return {
            "model": self.source.model,
            "part": self.part,
            "weights": self._weights,
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
        }


class ClipText(ClipEncoder):
    """CLIP's text encoder on the captions of each stimulus, averaged over them.

    A stimulus without captions has the features of the empty text. Layers: ``tokens.hidden``, all tokens of the last
    block after layer norm; with a projection also ``tokens``, these projected and divided by the norm of the pooled
    vector, and ``pooled``, the projected end-of-text token.

    Parameters
    ----------
    source : Pretrained
    part, tokenizer : str
        Folders of the ``CLIPTextModel`` (or ``CLIPTextModelWithProjection``) and of its tokenizer.
    projected : bool
        Whether the model has a projection.
    device : str
    """

    modalities = ("image", "text")

    def __init__(self, source: Pretrained, part: str, tokenizer: str, *, projected: bool, device: str) -> None:
        from transformers import CLIPTextConfig

        super().__init__("clip_text", source, part, device)
        config = source.tool(CLIPTextConfig, part)
        self._tokenizer_part, self._projected = tokenizer, projected
        n_tokens, hidden = config.max_position_embeddings, config.hidden_size
        self.shapes = {"tokens.hidden": (n_tokens, hidden)}
        if projected:
            width = config.projection_dim
            self.shapes |= {"tokens": (n_tokens, width), "pooled": (width,)}
        self.depths = dict.fromkeys(self.shapes, 1.0)
        self._batch = automatic_batch(40.0 * 4 * n_tokens * hidden, device)

    @cached_property
    def network(self) -> Any:
        """The network, read when first needed."""
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        kind = CLIPTextModelWithProjection if self._projected else CLIPTextModel
        return self.source.load(kind, self.part, self.device)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        from transformers import CLIPTokenizer

        return self.source.tool(CLIPTokenizer, self._tokenizer_part)

    def read(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return all layers of texts, each ``(n, *shape)``; long texts are cut."""
        import torch

        length = self.shapes["tokens.hidden"][0]
        ids = self.tokenizer(
            list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        with torch.inference_mode():
            out = self.network(ids.to(self.device))
            found = {"tokens.hidden": out.last_hidden_state}
            if self._projected:
                norm = torch.linalg.vector_norm(out.text_embeds, dim=-1)[:, None, None]
                found["tokens"] = self.network.text_projection(out.last_hidden_state) / norm
                found["pooled"] = out.text_embeds
        return found

    def encode(self, stimuli: Stimuli, layers: Sequence[str], pool: Pool) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches of features; see `Encoder.encode`."""
        self.check_modality(stimuli)
        self.check_pool(pool)

        def forward(rows: range) -> dict[str, np.ndarray]:
            captions = [_captions(stimuli, i) for i in rows]
            found = self.read([text for texts in captions for text in texts])
            ends = np.cumsum([len(texts) for texts in captions])
            return {
                name: np.stack(
                    [
                        found[name][end - len(texts) : end].mean(0).flatten().cpu().numpy()
                        for texts, end in zip(captions, ends, strict=True)
                    ]
                )
                for name in layers
            }

        yield from in_batches(len(stimuli), self._batch, forward)

    def parameters(self) -> dict[str, Any]:
        """Return model, tokenizer and the digest of the weights."""
        folder = self.source.folder / self._tokenizer_part
        return {
            "model": self.source.model,
            "part": self.part,
            "weights": self._weights,
            "tokenizer": digest_files(sorted(path for path in folder.iterdir() if path.is_file())),
            "captions": "mean over an image's captions, the empty text without any",
        }


def without_captions(conditions: Sequence[Condition], stimuli: Stimuli) -> int:
    """Return of how many stimuli the text features that a generator is given are those of the empty text."""
    if not any(isinstance(one.encoder, ClipText) for one in conditions):
        return 0
    return sum(_captions(stimuli, row) == ("",) for row in range(len(stimuli)))


def _captions(stimuli: Stimuli, row: int) -> tuple[str, ...]:
    if stimuli.modality == "text":
        return (str(stimuli.load(row)),)
    texts = () if stimuli.captions is None else tuple(text for text in stimuli.captions[row] if text.strip())
    return texts or ("",)
