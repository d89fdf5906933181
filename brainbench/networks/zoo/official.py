"""Published checkpoints of tokenizers and their names: every tensor finds its place, or the file is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from brainbench.core.errors import UserError
from brainbench.networks.weights import load_strictly
from brainbench.networks.zoo.brainomni import RELEASED_POSITIONS, BrainOmni, rope_frequencies

_WEIGHT_NORM = (
    (r"\.(conv|convtr)\.\1\.weight_g$", r".\1.parametrizations.weight.original0"),
    (r"\.(conv|convtr)\.\1\.weight_v$", r".\1.parametrizations.weight.original1"),
    (r"\.(conv|convtr)\.\1\.bias$", r".\1.bias"),
)
_WEIGHT_NORM_BACK = (
    (r"\.(conv|convtr)\.parametrizations\.weight\.original0$", r".\1.\1.weight_g"),
    (r"\.(conv|convtr)\.parametrizations\.weight\.original1$", r".\1.\1.weight_v"),
    (r"(seanet.*)\.(conv|convtr)\.bias$", r"\1.\2.\2.bias"),
)
_CODES = {
    "vq_block.codex.embeddings": "vq_block.level._codebook.embed",
    "vq_block.codex.initted": "vq_block.level._codebook.inited",
    "vq_block.counts": "vq_block.level._codebook.cluster_size",
}
_DERIVED = "vq_block.level._codebook.embed_avg"
_ROPE = re.compile(r"^(blocks\.\d+\.time_attn)\.rope_embedding_layer\.(freqs|rotate)$")
HALF_PRECISION = 1e-2
"""The published files were written in bfloat16: their angles are that far off."""


def load_official(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> nn.Module:
    """Load a published state dict of BrainTokenizer, BrainOmni or Du-IN.

    Parameters
    ----------
    network : Module
        Of the file's sizes.
    state : mapping
        Names of the published files.
    path : Path
        For messages.

    Raises
    ------
    UserError
        Naming the first tensors that are missing, left over or of another shape, or rotary buffers that are none.
    """
    ours: dict[str, Tensor] = {}
    rope: dict[str, Tensor] = {}
    for name, value in state.items():
        if _ROPE.match(name):
            rope[name] = value
        else:
            ours[_CODES.get(name, _renamed(name, _WEIGHT_NORM))] = value.float() if value.is_floating_point() else value
    if _CODES["vq_block.counts"] in ours and "vq_block.codex.embeddings" in state:
        ours[_DERIVED] = ours[_CODES["vq_block.codex.embeddings"]] * ours[_CODES["vq_block.counts"]][:, None]
    load_strictly(network, ours, path)
    _check_rope(network, rope, path)
    return network


def as_official(network: nn.Module) -> dict[str, Tensor]:
    """Return the state dict under the published names; rotary buffers as they were meant."""
    back = {ours: name for name, ours in _CODES.items()}
    found = {
        back.get(name, _renamed(name, _WEIGHT_NORM_BACK)): value
        for name, value in network.state_dict().items()
        if name != _DERIVED
    }
    if isinstance(network, BrainOmni):
        for number in range(len(network.blocks)):
            freqs = rope_frequencies(network.shape.width // 2)
            angle = torch.outer(torch.arange(RELEASED_POSITIONS), freqs)
            layer = f"blocks.{number}.time_attn.rope_embedding_layer"
            found |= {f"{layer}.freqs": freqs, f"{layer}.rotate": torch.polar(torch.ones_like(angle), angle)}
    return found


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, other in rules:
        name = re.sub(pattern, other, name)
    return name


def _check_rope(network: nn.Module, rope: Mapping[str, Tensor], path: Path) -> None:
    """Refuse a file whose rotary buffers are not those that are computed here: cosines at least."""
    meant = {name: value for name, value in as_official(network).items() if _ROPE.match(name)}
    wanted = set(meant)
    if wanted != set(rope):
        missing = sorted(wanted - set(rope)) + sorted(set(rope) - wanted)
        raise UserError(f"weights: {path} lacks rotary buffers, or has others: {', '.join(missing[:3])}")
    for name, value in rope.items():
        expected = meant[name].real
        real = value.real if value.is_complex() else value[..., 0] if value.ndim == 3 else value
        if real.shape != expected.shape or (real.float() - expected).abs().max() > HALF_PRECISION:
            raise UserError(f"weights: {path}: {name} is no rotary buffer of base 10,000 over the whole width")
