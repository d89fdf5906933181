"""Du-IN: patches of all contacts of a region as tokens of an sEEG codebook (arXiv 2405.11459).

Three networks share one backbone: a codec with 2,048 codes, a masked-code model that predicts them, and a classifier.
Module names are those of the published checkpoints; see `brainbench.networks.zoo.official`. Two faults of the released
code are not here: its classifier has a sigmoid before the cross-entropy, and its shift of zero clears the sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainbench.core.errors import UserError
from brainbench.networks.zoo.codebook import Codebook, Level
from brainbench.networks.zoo.tokenizer import heads


@dataclass(frozen=True)
class DuInShape:
    """Sizes; the defaults are those of the released weights.

    Attributes
    ----------
    n_channels, n_subjects : int
        Contacts of every participant, and participants.
    patch : int
        Samples of a token, in tens.
    n_neural : int
        Channels that participants share.
    n_filters : int
    depth, decoder_depth, n_heads, head_width : int
    n_codes, code_width : int
    n_positions : int
        Tokens of the longest segment.
    drop_prob : float
    """

    n_channels: int = 10
    n_subjects: int = 1
    patch: int = 100
    n_neural: int = 16
    n_filters: int = 128
    depth: int = 8
    decoder_depth: int = 4
    n_heads: int = 8
    head_width: int = 64
    n_codes: int = 2048
    code_width: int = 64
    n_positions: int = 40
    drop_prob: float = 0.2

    @property
    def width(self) -> int:
        """Values of a token: the patch at a tenth of its rate."""
        return self.n_neural * self.patch // 10


class _Transposed(nn.Module):
    """Time first becomes channels first, and the other way round."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def _channels_first(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(_Transposed(), layer, _Transposed())


class _OfSubject(nn.Module):
    """A linear layer for every participant, kept as two layers over who it is."""

    def __init__(self, n_subjects: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.shape = n_in, n_out
        self.subj_layer = nn.ModuleDict(
            {
                "W": nn.Linear(n_subjects, n_in * n_out, bias=False),
                "B": nn.Linear(n_subjects, n_out, bias=False),
            }
        )
        for layer in self.subj_layer.values():
            nn.init.trunc_normal_(layer.weight, std=0.02)  # type: ignore[arg-type]

    def matrices(self) -> Tensor:
        """Return the weights ``(n_subjects, n_in, n_out)``."""
        weight: Tensor = self.subj_layer["W"].weight  # type: ignore[assignment]
        return weight.T.reshape(-1, *self.shape)

    def forward(self, x: Tensor, subject: Tensor) -> Tensor:
        """Return ``(n, n_times, n_out)`` of ``(n, n_times, n_in)`` and the participants' numbers ``(n,)``."""
        bias: Tensor = self.subj_layer["B"].weight.T[subject]  # type: ignore[index]
        return x @ self.matrices()[subject] + bias[:, None]


class _Patches(nn.Module):
    """Convolutions within each patch, without activations between them."""

    def __init__(self, shape: DuInShape) -> None:
        super().__init__()
        self.patch = shape.patch
        self.conv_blocks = nn.Sequential()
        n_in = shape.n_neural
        for n_out, kernel, stride in ((shape.n_filters, 19, 10), (shape.n_filters, 3, 1), (shape.n_neural, 3, 1)):
            conv = nn.Conv1d(n_in, n_out, kernel, stride, padding=kernel // 2)
            self.conv_blocks.append(nn.Sequential(_channels_first(conv), _channels_first(nn.BatchNorm1d(n_out))))
            n_in = n_out

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens ``(n, n_tokens, width)`` of ``(n, n_times, n_neural)``."""
        n, _, channels = x.shape
        out: Tensor = self.conv_blocks(x.reshape(-1, self.patch, channels))
        return out.reshape(n, -1, out.shape[1] * out.shape[2])


class _Times(nn.Module):
    """Sine and cosine of the token's position."""

    def __init__(self, n_positions: int, width: int) -> None:
        super().__init__()
        angle = torch.arange(n_positions)[:, None] * 1e4 ** (-torch.arange(0, width, 2) / width)
        encodings = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
        self.time_encodings = nn.Parameter(encodings, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > len(self.time_encodings):
            raise UserError(
                f"{x.shape[1]} tokens, the network has {len(self.time_encodings)} positions",
                hint="take shorter segments, or more `n_positions`",
            )
        return x + self.time_encodings[: x.shape[1]]


class _Linear(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.W = nn.Linear(n_in, n_out)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.W(x)
        return out


class _Scale(nn.Module):
    """The attention's scale, which the checkpoints hold."""

    def __init__(self, head_width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(head_width**-0.5), requires_grad=False)


class _Attention(nn.Module):
    def __init__(self, shape: DuInShape) -> None:
        super().__init__()
        inner = shape.n_heads * shape.head_width
        self.n_heads = shape.n_heads
        self.W_q, self.W_k, self.W_v = (_Linear(shape.width, inner) for _ in range(3))
        self.norm_q, self.norm_k = nn.LayerNorm(shape.head_width), nn.LayerNorm(shape.head_width)
        self.attention = _Scale(shape.head_width)
        self.dropout = nn.Dropout(shape.drop_prob)
        self.proj = nn.Sequential(nn.Linear(inner, shape.width))

    def forward(self, x: Tensor) -> Tensor:
        query, key = self.norm_q(heads(self.W_q(x), self.n_heads)), self.norm_k(heads(self.W_k(x), self.n_heads))
        weights = self.dropout((query @ key.transpose(-1, -2) * self.attention.scale).softmax(-1))
        mixed = weights @ heads(self.W_v(x), self.n_heads)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class _FeedForward(nn.Module):
    def __init__(self, shape: DuInShape) -> None:
        super().__init__()
        self.fc1 = nn.Sequential(nn.Linear(shape.width, 2 * shape.width), nn.ReLU())
        self.dropout = nn.Dropout(shape.drop_prob)
        self.fc2 = nn.Sequential(nn.Linear(2 * shape.width, shape.width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.dropout(self.fc1(x)))
        return out


class _Block(nn.Module):
    """A block that norms after it adds."""

    def __init__(self, shape: DuInShape) -> None:
        super().__init__()
        self.mha, self.norm_mha = _Attention(shape), nn.LayerNorm(shape.width)
        self.ffn, self.norm_ffn = _FeedForward(shape), nn.LayerNorm(shape.width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_mha(x + self.mha(x))
        out: Tensor = self.norm_ffn(x + self.ffn(x))
        return out


class _Stack(nn.Module):
    xfmr_blocks: nn.ModuleList

    def __init__(self, shape: DuInShape, depth: int) -> None:
        super().__init__()
        self.xfmr_blocks = nn.ModuleList(_Block(shape) for _ in range(depth))
        for number, block in enumerate(self.xfmr_blocks):
            for layer in block.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.trunc_normal_(layer.weight, std=0.02)
                    layer.weight.data.div_((2 * (number + 1)) ** 0.5)
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.xfmr_blocks:
            x = block(x)
        return x


class _Backbone(nn.Module):
    """From signals of a participant's contacts to tokens that know of each other."""

    def __init__(self, shape: DuInShape) -> None:
        super().__init__()
        self.shape = shape
        self.subj_block = _OfSubject(shape.n_subjects, shape.n_channels, shape.n_neural)
        self.tokenizer = _Patches(shape)
        self.emb_time = _Times(shape.n_positions, shape.width)
        self.encoder = nn.Sequential(nn.Identity(), _Stack(shape, shape.depth))

    def patches(self, x: Tensor, subject: Tensor) -> Tensor:
        """Return tokens ``(n, n_tokens, width)`` before attention, of signals ``(n, n_channels, n_times)``.

        Raises
        ------
        UserError
            If the channels are not the network's, or the samples no whole number of patches.
        """
        if x.shape[1] != self.shape.n_channels or x.shape[2] % self.shape.patch:
            raise UserError(
                f"the network reads {self.shape.n_channels} channels in patches of {self.shape.patch} samples, not "
                f"{x.shape[1]} channels of {x.shape[2]} samples"
            )
        tokens: Tensor = self.tokenizer(self.subj_block(x.transpose(1, 2), subject))
        return tokens

    def attended(self, tokens: Tensor) -> Tensor:
        """Return tokens after the blocks."""
        out: Tensor = self.encoder(self.emb_time(tokens))
        return out

    def channel_weights(self) -> Tensor:
        """Return the mean absolute weight of every channel ``(n_subjects, n_channels)``, largest of a subject one."""
        weights = self.subj_block.matrices().detach().abs().mean(-1)
        return weights / weights.max(dim=1, keepdim=True).values


class _Quantizer(nn.Module):
    def __init__(self, shape: DuInShape) -> None:
        super().__init__()
        self.pre_proj = nn.Sequential(
            nn.Linear(shape.width, shape.width), nn.Tanh(), nn.Linear(shape.width, shape.code_width)
        )
        book = Codebook(shape.n_codes, shape.code_width, metric="cosine", dead_below=0.0, kmeans_vectors=2**30)
        self.level = Level(book, commitment=1.0, gradient="straight")
        self.layernorm = nn.LayerNorm(shape.code_width)
        self.post_proj = nn.Sequential(nn.Linear(shape.code_width, shape.width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        chosen, codes, term = self.level(self.pre_proj(x))
        return self.post_proj(self.layernorm(chosen)), codes, term


class _Regressor(nn.Module):
    def __init__(self, shape: DuInShape) -> None:
        super().__init__()
        self.rgs_head = nn.Sequential()
        n_in, n_hidden = shape.width, shape.n_filters
        for n_out, kernel, stride in (
            (n_hidden, 3, 1), (n_hidden, 3, 1), (n_hidden, shape.patch // 10, shape.patch // 10), (n_hidden, 9, 1),
            (shape.n_neural, 19, 10),
        ):  # fmt: skip
            over = (kernel - stride) % 2
            padding = (kernel - stride + over) // 2
            conv = nn.ConvTranspose1d(n_in, n_out, kernel, stride, padding=padding, output_padding=over)
            self.rgs_head.append(nn.Sequential(_channels_first(conv)))
            n_in = n_out
        self.rgs_head.append(nn.Sequential(nn.Linear(n_in, n_in)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.rgs_head(x)
        return out


class DuInCodec(_Backbone):
    """Codes of sEEG patches, learned by reconstructing the signals (the published VQ-VAE)."""

    def __init__(self, shape: DuInShape | None = None) -> None:
        super().__init__(shape or DuInShape())
        self.vq_block = _Quantizer(self.shape)
        self.decoder = nn.Sequential(nn.Identity(), _Stack(self.shape, self.shape.decoder_depth))
        self.rgs_block = _Regressor(self.shape)
        self.desubj_block = _OfSubject(self.shape.n_subjects, self.shape.n_neural, self.shape.n_channels)

    def codes(self, x: Tensor, subject: Tensor) -> Tensor:
        """Return the code of every patch ``(n, n_tokens)``."""
        codes: Tensor = self.vq_block(self.attended(self.patches(x, subject)))[1]
        return codes

    def forward(self, x: Tensor, subject: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction ``(n, n_channels, n_times)`` and the commitment term."""
        tokens, _, term = self.vq_block(self.attended(self.patches(x, subject)))
        shared = self.rgs_block(self.decoder(self.emb_time(tokens)))
        return self.desubj_block(shared, subject).transpose(1, 2), term

    def terms(self, x: Tensor, subject: Tensor) -> dict[str, Tensor]:
        """Return the terms of the objective."""
        decoded, commitment = self(x, subject)
        return {"reconstruction": F.mse_loss(decoded, x), "commitment": commitment}


class DuInMasked(_Backbone):
    """Predict the codes of hidden patches (the published MAE); every patch is hidden once."""

    def __init__(self, shape: DuInShape | None = None) -> None:
        super().__init__(shape or DuInShape())
        self.mask_emb = nn.Parameter(torch.empty(self.shape.width))
        nn.init.trunc_normal_(self.mask_emb, std=0.02)
        self.cls_block = nn.ModuleDict(
            {"cls_head": nn.Sequential(nn.Sequential(nn.Linear(self.shape.width, self.shape.n_codes)))}
        )
        for layer in self.cls_block.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, subject: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits ``(n, n_tokens, n_codes)``: each token's from the pass in which it was hidden.

        Parameters
        ----------
        x, subject : Tensor
        mask : Tensor of bool (n, n_tokens), optional
            Hidden in the first pass; the others are in the second. Without it nothing is hidden, in one pass.
        """
        tokens = self.patches(x, subject)
        if mask is None:
            seen: Tensor = self.cls_block["cls_head"](self.attended(tokens))
            return seen
        hidden = mask[..., None]
        first, second = (
            self.cls_block["cls_head"](self.attended(torch.where(gone, self.mask_emb, tokens)))
            for gone in (hidden, ~hidden)
        )
        return torch.where(hidden, first, second)

    def terms(self, x: Tensor, subject: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Return the cross-entropy of all codes, each predicted while it was hidden."""
        logits = self(x, subject, half_mask(len(codes), codes.shape[1], x.device))
        return {"cross-entropy": F.cross_entropy(logits.flatten(0, 1), codes.flatten())}


class DuInClassifier(_Backbone):
    """Labels from the tokens of a whole trial; its output are logits."""

    def __init__(self, n_outputs: int, n_tokens: int = 30, shape: DuInShape | None = None) -> None:
        super().__init__(shape or DuInShape(n_positions=n_tokens))
        self.cls_block = nn.ModuleDict(
            {
                "cls_head": nn.Sequential(
                    nn.Flatten(),
                    nn.Sequential(nn.Linear(n_tokens * self.shape.width, 128), nn.ReLU()),
                    nn.Sequential(nn.Linear(128, n_outputs)),
                )
            }
        )

    def forward(self, x: Tensor, subject: Tensor) -> Tensor:
        """Return logits ``(n, n_outputs)``."""
        logits: Tensor = self.cls_block["cls_head"](self.attended(self.patches(x, subject)))
        return logits


class DuInTrials(nn.Module):
    """The classifier for trials of one montage: all who are pooled have the same contacts, and one matrix.

    Parameters
    ----------
    n_chans, n_times, n_outputs : int
    patch : int
        Samples of a token, in tens; samples after the last whole one are not read.
    n_neural, n_filters, depth, n_heads, head_width : int
        See `DuInShape`.

    Raises
    ------
    UserError
        If a trial is shorter than a token.
    """

    def __init__(
        self, n_chans: int, n_times: int, n_outputs: int, patch: int = 100, n_neural: int = 16, n_filters: int = 128,
        depth: int = 8, n_heads: int = 8, head_width: int = 64,
    ) -> None:  # fmt: skip
        super().__init__()
        n_tokens = n_times // patch
        if not n_tokens:
            raise UserError(f"`patch`: a token of {patch} samples does not fit into trials of {n_times}")
        shape = DuInShape(
            n_channels=n_chans, patch=patch, n_neural=n_neural, n_filters=n_filters, depth=depth, n_heads=n_heads,
            head_width=head_width, n_positions=n_tokens,
        )  # fmt: skip
        self.n_read = n_tokens * patch
        whole = DuInClassifier(n_outputs, n_tokens, shape)
        # Side by side, so that each is a layer that can be read.
        self.mixing, self.tokenizer, self.emb_time = whole.subj_block, whole.tokenizer, whole.emb_time
        stack = whole.encoder[1]
        assert isinstance(stack, _Stack)
        self.blocks = stack.xfmr_blocks
        self.head = whole.cls_block["cls_head"]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(n, n_outputs)`` of ``(n, n_chans, n_times)``."""
        nobody = torch.zeros(len(x), dtype=torch.long, device=x.device)
        tokens = self.emb_time(self.tokenizer(self.mixing(x[..., : self.n_read].transpose(1, 2), nobody)))
        for block in self.blocks:
            tokens = block(tokens)
        logits: Tensor = self.head(tokens)
        return logits

    def channel_weights(self) -> Tensor:
        """Return the mean absolute weight of every contact ``(n_chans,)``, the largest one."""
        weights = self.mixing.matrices().detach().abs().mean(-1)[0]
        return weights / weights.max()


def half_mask(n: int, n_tokens: int, device: torch.device | None = None) -> Tensor:
    """Return ``(n, n_tokens)`` of bool: half of the tokens of every row, drawn at random."""
    rank = torch.rand(n, n_tokens, device=device).argsort(1).argsort(1)
    return rank < n_tokens // 2


def shifted(x: Tensor, samples: int) -> Tensor:
    """Return signals ``(..., n_times)`` that begin so many samples later (earlier, below 0); the rest is zero."""
    if samples >= 0:
        return F.pad(x, (samples, 0))[..., : x.shape[-1]]
    return F.pad(x, (0, -samples))[..., -samples:]
