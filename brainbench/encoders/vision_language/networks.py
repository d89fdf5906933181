"""Kinds of networks that take a picture and a text: what each is given, and where its tokens flow.

A *stream* is a stack of blocks through which tokens flow: one that both kinds of tokens share (VisualBERT, ViLT, and
language models that read pictures), or one each (CLIP, BLIP, LXMERT). Which tokens are the text's and which the
picture's is written down here by kind; class, separator and padding tokens are neither.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from brainbench.core.errors import UserError
from brainbench.encoders.capture import Tap
from brainbench.encoders.language.words import standing_apart
from brainbench.encoders.network import Inputs
from brainbench.encoders.sites import modules_matching
from brainbench.encoders.tracing import Blocks
from brainbench.networks.pretrained import processed
from brainbench.networks.weights import seeded

if TYPE_CHECKING:
    from torch import Tensor

Stream = Literal["joint", "text", "visual"]
Regions = tuple["Tensor", "Tensor", "Tensor"]
"""Features, boxes and mask; see `brainbench.encoders.vision_language.regions.RegionProvider.of`."""


@dataclass(frozen=True)
class Given(Inputs):
    """What one forward pass is given, and whose its tokens are.

    Attributes
    ----------
    text, visual, attended : mapping of stream to Tensor
        bool ``(n, n_tokens)``: words' tokens, those of patches or regions, and all that are no padding.
    part : str
        The part of the network that runs; all of it without.
    """

    text: Mapping[Stream, Tensor] = field(default_factory=dict)
    visual: Mapping[Stream, Tensor] = field(default_factory=dict)
    attended: Mapping[Stream, Tensor] = field(default_factory=dict)
    part: str = ""


class Kind(ABC):
    """One kind of network.

    Parameters
    ----------
    network : torch.nn.Module
    tokenizer, processor
        Of texts and of pictures, as transformers gives them.
    device : str
    tokens : {"all", "text", "visual"}
        Whose tokens are read: towers that no such token flows through need not run.
    """

    class_: ClassVar[str] = "AutoModel"
    """The class of transformers that it is."""
    needs: ClassVar[Literal["pixels", "regions", "processor"]] = "pixels"
    """Whether it sees pixels, or regions; or is prepared by one processor of pictures and texts."""
    instead: ClassVar[Mapping[str, str]] = {}
    """What is given in place of what is withheld, by `given`, for the report."""
    causal: ClassVar[bool] = False
    """Whether it is a language model whose first place may be a sink (`brainbench.encoders.language.begin`)."""

    def __init__(self, network: Any, tokenizer: Any, processor: Any, device: str, tokens: str) -> None:
        self.network, self.tokenizer, self.processor = network, tokenizer, processor
        self.device, self.tokens = device, tokens

    @abstractmethod
    def given(self, n: int, texts: Sequence[str] | None, seen: Sequence[np.ndarray] | Regions | None) -> Given:
        """Return what the network is given for `n` stimuli, of which texts, or pictures, may be withheld."""

    @abstractmethod
    def streams(self) -> dict[Stream, Blocks]:
        """Return the blocks of every stream that is read."""

    @abstractmethod
    def hidden(self, given: Given) -> dict[Stream, list[Tensor] | None]:
        """Run the network and return what the library calls its hidden states, by stream."""

    def after(self, stream: Stream) -> list[Tap]:
        """Return what is read after the last block of a stream."""
        return []

    def forward(self, given: Given, **options: Any) -> Any:
        """Run the network, or the part of it that `given` asks for."""
        return getattr(self.network, given.part or "__call__")(**given.kwargs, **options)

    @property
    def fused(self) -> bool:
        """Whether the last blocks of both streams are the same modules."""
        return False

    # For the kinds -----------------------------------------------------------------------------------------------

    @property
    def max_tokens(self) -> int:
        """Longest text that the network reads."""
        config = self.network.config
        inner = getattr(config, "text_config", None) or config
        return min(int(self.tokenizer.model_max_length), int(getattr(inner, "max_position_embeddings", 512)))

    def tokenize(self, texts: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ids and attention mask of texts, and which tokens are words'."""
        found = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self.device)
        kept = {name: found[name] for name in ("input_ids", "attention_mask")}
        return kept, self.words(kept["input_ids"], kept["attention_mask"].bool())

    def words(self, ids: Tensor, attended: Tensor) -> Tensor:
        """Return which tokens stand for a part of the text; a word that the vocabulary lacks is one."""
        return attended & ~standing_apart(self.tokenizer, ids)

    def pixels(self, images: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """Return pictures as the network's processor prepares them."""
        found = processed(self.processor, images)
        return {name: value.to(self.device) for name, value in found.items() if name in ("pixel_values", "pixel_mask")}

    def blocks(self, *patterns: str) -> Blocks:
        """Return the blocks whose names match, in the order of the patterns."""
        names = tuple(name for pattern in patterns for name in modules_matching(self.network, pattern))
        return Blocks(names, names[0], True)


class VisualBert(Kind):
    """VisualBERT: words, then regions, through one BERT."""

    needs = "regions"
    instead: ClassVar[Mapping[str, str]] = {
        "image": "the empty text stands for the words",
        "text": "without regions it is a BERT of the words",
    }

    def given(self, n: int, texts: Sequence[str] | None, seen: Any) -> Given:
        """Return words and regions."""
        import torch

        kwargs, words = self.tokenize(texts or [""] * n)
        attended, visual = kwargs["attention_mask"].bool(), torch.zeros_like(words)
        kwargs["token_type_ids"] = torch.zeros_like(kwargs["input_ids"])
        if seen is not None:
            features, _, there = (one.to(self.device) for one in seen)
            kwargs |= {
                "visual_embeds": features,
                "visual_attention_mask": there.long(),
                "visual_token_type_ids": torch.ones_like(there, dtype=torch.long),
            }
            none = torch.zeros_like(there)
            words, visual = torch.cat([words, none], 1), torch.cat([visual, there], 1)
            attended = torch.cat([attended, there], 1)
        return Given(n, kwargs=kwargs, text={"joint": words}, visual={"joint": visual}, attended={"joint": attended})

    def streams(self) -> dict[Stream, Blocks]:
        """Return its one stream."""
        return {"joint": self.blocks(r"encoder\.layer\.\d+")}

    def hidden(self, given: Given) -> dict[Stream, list[Tensor] | None]:
        """Return its hidden states."""
        return {"joint": list(self.forward(given, output_hidden_states=True).hidden_states)}


class Lxmert(Kind):
    """LXMERT: words and regions by themselves, then together in its cross layers."""

    needs = "regions"
    instead: ClassVar[Mapping[str, str]] = {
        "image": "the empty text stands for the words",
        "text": "one region of zeros stands for the picture, the same for every stimulus",
    }

    def given(self, n: int, texts: Sequence[str] | None, seen: Any) -> Given:
        """Return words, regions and boxes."""
        import torch

        kwargs, words = self.tokenize(texts or [""] * n)
        if seen is None:
            width = int(self.network.config.visual_feat_dim)
            whole = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(n, 1, 4)
            seen = torch.zeros(n, 1, width), whole, torch.ones(n, 1, dtype=torch.bool)
        features, boxes, there = (one.to(self.device) for one in seen)
        more = {"visual_feats": features, "visual_pos": boxes, "visual_attention_mask": there.long()}
        attended = kwargs["attention_mask"].bool()
        return Given(
            n, kwargs=kwargs | more, text={"text": words}, visual={"visual": there},
            attended={"text": attended, "visual": there},
        )  # fmt: skip

    def streams(self) -> dict[Stream, Blocks]:
        """Return words' stream and regions' stream, which end in the same cross layers."""
        cross = r"encoder\.x_layers\.\d+"
        return {
            "text": self.blocks(r"encoder\.layer\.\d+", cross),
            "visual": self.blocks(r"encoder\.r_layers\.\d+", cross),
        }

    def hidden(self, given: Given) -> dict[Stream, list[Tensor] | None]:
        """Return its hidden states of both streams."""
        found = self.forward(given, output_hidden_states=True)
        return {"text": list(found.language_hidden_states), "visual": list(found.vision_hidden_states)}

    @property
    def fused(self) -> bool:
        """True: the cross layers."""
        return True


class Vilt(Kind):
    """ViLT: words, then a class token and patches, through one transformer."""

    instead: ClassVar[Mapping[str, str]] = {
        "image": "the empty text stands for the words",
        "text": "one gray patch stands for the picture",
    }

    def given(self, n: int, texts: Sequence[str] | None, seen: Any) -> Given:
        """Return words and pixels."""
        import torch
        import torch.nn.functional as F

        kwargs, words = self.tokenize(texts or [""] * n)
        patch = int(self.network.config.patch_size)
        if seen is None:
            pixels = {"pixel_values": torch.zeros(n, 3, patch, patch, device=self.device)}
        else:
            pixels = self.pixels(seen)
        value = pixels["pixel_values"]
        whole = torch.ones(n, *value.shape[2:], dtype=torch.long, device=self.device)
        mask = pixels.setdefault("pixel_mask", whole)
        high, wide = value.shape[2] // patch, value.shape[3] // patch
        n_patches = F.interpolate(mask[:, None].float(), size=(high, wide)).flatten(1).sum(1)
        # The patches of a picture come first, what pads the smaller ones of a batch after them.
        there = torch.arange(int(n_patches.max()), device=self.device) < n_patches[:, None]
        first = torch.ones(n, 1, dtype=torch.bool, device=self.device)
        attended = torch.cat([kwargs["attention_mask"].bool(), first, there], 1)
        visual = torch.cat([torch.zeros_like(words), ~first, there & (seen is not None)], 1)
        words = torch.cat([words, ~first, torch.zeros_like(there)], 1)
        kwargs |= {"token_type_ids": torch.zeros_like(kwargs["input_ids"]), **pixels}
        return Given(n, kwargs=kwargs, text={"joint": words}, visual={"joint": visual}, attended={"joint": attended})

    def streams(self) -> dict[Stream, Blocks]:
        """Return its one stream."""
        return {"joint": self.blocks(r"encoder\.layer\.\d+")}

    def forward(self, given: Given, **options: Any) -> Any:
        """Run it; it deals patches in an order that it draws, which would change last digits from pass to pass."""
        with seeded(0):
            return super().forward(given, **options)

    def hidden(self, given: Given) -> dict[Stream, list[Tensor] | None]:
        """Return its hidden states."""
        return {"joint": list(self.forward(given, output_hidden_states=True).hidden_states)}


class Towers(Kind):
    """CLIP and BLIP as it was contrasted: a tower of words and a tower of patches that meet in their last vectors."""

    parts: ClassVar[tuple[str, str]] = ("get_text_features", "get_image_features")
    """What runs a tower alone."""

    def given(self, n: int, texts: Sequence[str] | None, seen: Any) -> Given:
        """Return words, pixels, or both."""
        import torch

        kwargs: dict[str, Tensor] = {}
        text: dict[Stream, Tensor] = {}
        visual: dict[Stream, Tensor] = {}
        attended: dict[Stream, Tensor] = {}
        if texts is not None and self.tokens != "visual":
            kwargs, text["text"] = self.tokenize(texts)
            attended["text"] = kwargs["attention_mask"].bool()
        if seen is not None and self.tokens != "text":
            kwargs |= self.pixels(seen)
            side = int(self.network.config.vision_config.patch_size)
            n_patches = int(np.prod([size // side for size in kwargs["pixel_values"].shape[2:]]))
            attended["visual"] = torch.ones(n, 1 + n_patches, dtype=torch.bool, device=self.device)
            visual["visual"] = attended["visual"].clone()
            visual["visual"][:, 0] = False
        part = "" if text and visual else self.parts[0 if text else 1]
        return Given(n, kwargs=kwargs, text=text, visual=visual, attended=attended, part=part)

    def streams(self) -> dict[Stream, Blocks]:
        """Return the towers that are read."""
        found: dict[Stream, Blocks] = {}
        if self.tokens != "visual":
            found["text"] = self.blocks(r"text_model\.encoder\.layers?\.\d+")
        if self.tokens != "text":
            found["visual"] = self.blocks(r"vision_model\.encoder\.layers\.\d+")
        return found

    def hidden(self, given: Given) -> dict[Stream, list[Tensor] | None]:
        """Return the towers' hidden states."""
        found = self.forward(given, output_hidden_states=True)
        if given.part:
            return {"text" if given.text else "visual": list(found.hidden_states)}
        return {
            "text": list(found.text_model_output.hidden_states),
            "visual": list(found.vision_model_output.hidden_states),
        }

    def after(self, stream: Stream) -> list[Tap]:
        """Return the vector by which a tower meets the other."""
        module = "text_projection" if stream == "text" else "visual_projection"
        width = int(self.network.get_submodule(module).weight.shape[0])
        return [Tap(module, module, "output", 1.0, layout="vector", width=width)]


class BlipMatching(Towers):
    """BLIP as it matches: words that look at the patches in every block."""

    class_ = "BlipForImageTextRetrieval"
    parts = ("text_encoder", "vision_model")

    def given(self, n: int, texts: Sequence[str] | None, seen: Any) -> Given:
        """Return words, pixels, or both; words look at the picture whether or not its own tokens are read."""
        read, self.tokens = self.tokens, "all"
        try:
            return super().given(n, texts, seen)
        finally:
            self.tokens = read

    def streams(self) -> dict[Stream, Blocks]:
        """Return the streams that are read."""
        found: dict[Stream, Blocks] = {}
        if self.tokens != "visual":
            found["text"] = self.blocks(r"text_encoder\.encoder\.layer\.\d+")
        if self.tokens != "text":
            found["visual"] = self.blocks(r"vision_model\.encoder\.layers\.\d+")
        return found

    def hidden(self, given: Given) -> dict[Stream, list[Tensor] | None]:
        """Return hidden states of both streams, part by part: transformers does not give those of the words."""
        states: dict[Stream, list[Tensor] | None] = {}
        looked: dict[str, Any] = {}
        if given.visual:
            pixels = given.kwargs["pixel_values"]
            seen = self.network.vision_model(pixel_values=pixels, output_hidden_states=True)
            states["visual"], looked = list(seen.hidden_states), {"encoder_hidden_states": seen.last_hidden_state}
        if given.text:
            words = {name: given.kwargs[name] for name in ("input_ids", "attention_mask")}
            read = self.network.text_encoder(**words, **looked, output_hidden_states=True)
            states["text"] = list(read.hidden_states)
        return states

    def after(self, stream: Stream) -> list[Tap]:
        """Return nothing: its projections are not on the way to a match."""
        return []


class Reader(Kind):
    """A language model that reads patches among its words (LLaVA, Qwen2.5-VL, BLIP-2 with OPT): picture, then text."""

    needs = "processor"
    causal = True
    instead: ClassVar[Mapping[str, str]] = {
        "image": "no word follows the picture",
        "text": "without a picture it is a language model",
    }

    def given(self, n: int, texts: Sequence[str] | None, seen: Any) -> Given:
        """Return tokens of pictures and words."""
        words = texts or [""] * n
        if seen is None:
            kwargs, text = self.tokenize(words)
            none, attended = text & False, kwargs["attention_mask"].bool()
            part = "language_model" if hasattr(self.network, "qformer") else ""
            return Given(
                n, kwargs=kwargs, text={"joint": text}, visual={"joint": none}, attended={"joint": attended}, part=part
            )
        found = self.processor(
            images=list(seen), text=[self._prompt(text) for text in words], padding=True, return_tensors="pt"
        ).to(self.device)
        kwargs = {name: value for name, value in found.items() if name != "token_type_ids"}
        attended = kwargs["attention_mask"].bool()
        visual = attended & (kwargs["input_ids"] == self.network.config.image_token_id)
        text = self.words(kwargs["input_ids"], attended) & ~visual
        return Given(n, kwargs=kwargs, text={"joint": text}, visual={"joint": visual}, attended={"joint": attended})

    def _prompt(self, text: str) -> str:
        if hasattr(self.processor, "num_query_tokens"):  # BLIP-2's puts its queries before the text by itself
            return text
        around = ["<|vision_start|>", "<|vision_end|>"]
        known = self.tokenizer.get_vocab()
        begin, end = around if all(one in known for one in around) else ["", ""]
        return f"{begin}{self.processor.image_token}{end}{text}"

    def streams(self) -> dict[Stream, Blocks]:
        """Return the language model's blocks."""
        return {"joint": self.blocks(r"language_model\.(model\.)?(decoder\.)?layers\.\d+")}

    def hidden(self, given: Given) -> dict[Stream, list[Tensor] | None]:
        """Return the language model's hidden states."""
        found = self.forward(given, output_hidden_states=True, use_cache=False)
        found = getattr(found, "language_model_outputs", None) or found
        return {"joint": list(found.hidden_states)}


KINDS: Mapping[str, type[Kind]] = {
    "visual_bert": VisualBert,
    "lxmert": Lxmert,
    "vilt": Vilt,
    "clip": Towers,
    "blip": Towers,
    "BlipForImageTextRetrieval": BlipMatching,
}
"""Kinds by the class that a configuration names, or its type; what has a token for pictures is a `Reader`."""


def kind_of(config: Any, who: str) -> type[Kind]:
    """Return the kind of network that a configuration is of.

    Raises
    ------
    UserError
        If it is none of them.
    """
    names = [*(getattr(config, "architectures", None) or []), config.model_type]
    found = next((KINDS[name] for name in names if name in KINDS), None)
    if found is not None:
        return found
    inner = getattr(config, "text_config", None)
    if getattr(config, "image_token_id", None) is None or inner is None:
        raise UserError(
            f"{who}: '{config.model_type}' is no network of pictures and texts that is known",
            hint="VisualBERT, LXMERT, ViLT, CLIP, BLIP, or a language model that reads pictures (LLaVA, Qwen-VL)",
        )
    if getattr(inner, "is_encoder_decoder", False):
        raise UserError(
            f"{who}: the language model of '{config.model_type}' is an encoder and a decoder, not read here"
        )
    return Reader
