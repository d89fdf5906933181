"""Places of a network as data: where blocks begin and end, and eight sites of a block, by family of architectures.

| site | shape | what it is |
|---|---|---|
| `resid_pre` | (n, T, d) | what the block is given |
| `pattern` | (n, heads, T, T) | attention after the softmax |
| `z` | (n, T, heads, d/heads) | what the heads give, before their projection |
| `attn_out` | (n, T, d) | what attention adds |
| `resid_mid` | (n, T, d) | the stream that the MLP adds to |
| `mlp_act` | (n, T, f) | hidden units, after the nonlinearity and after gating |
| `mlp_out` | (n, T, d) | what the MLP adds |
| `resid_post` | (n, T, d) | what the block gives |

Names of modules differ from architecture to architecture and from release to release of a library: they are data, and
tests hold them against the libraries that are installed. Families without sites of their own are read at their blocks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from brainbench.core.errors import UserError, one_of
from brainbench.encoders.capture import Tap

if TYPE_CHECKING:
    import torch

Site = Literal["resid_pre", "pattern", "z", "attn_out", "resid_mid", "mlp_act", "mlp_out", "resid_post"]
SITES: tuple[Site, ...] = get_args(Site)


@dataclass(frozen=True)
class Family:
    """Architectures whose modules carry the same names.

    Attributes
    ----------
    name : str
        Of the family, for messages and the documentation.
    block : str
        Name of a block, a regular expression of a module's whole name.
    attention : str
        Below a block: the projection that attention ends with; its input is `z`.
    mlp : str
        Below a block: the projection the MLP ends with; its input is `mlp_act`.
    middle : str
        Below a block: the norm between attention and MLP. Its input is `resid_mid`; with ``post`` its output is; with
        ``parallel`` there is none, and `resid_mid` is what the block is given.
    pattern : str
        Below a block: the module that computes the attention, or (timm, VisualBERT) the module that the pattern passes
        through.
    attn_out, mlp_out : str
        Below a block: the module whose output is added to the stream, where it is not the projection itself; with
        ``#1`` what it gives when it runs for the second time.
    norm : {"", "pre", "post", "parallel"}
        Where the block normalises. With ``pre`` and ``parallel`` the block gives its input plus `attn_out` plus
        `mlp_out`; with ``post`` it does not.
    first : str
        The module whose input is the input of block 0, where that is not block 0.
    setting : tuple of str and object, optional
        A setting of the network's configuration, and the value that tells it from others with the same names.
    crossed : bool
        Tokens are sources over time, ``(n, sources, times, d)``, and every head sees one line alone: the first half of
        the heads all sources at one time, the others one source at all times. `pattern` is among all tokens.
    """

    name: str
    block: str
    attention: str = ""
    mlp: str = ""
    middle: str = ""
    pattern: str = ""
    attn_out: str = ""
    mlp_out: str = ""
    norm: Literal["", "pre", "post", "parallel"] = ""
    first: str = ""
    setting: tuple[str, object] | None = None
    crossed: bool = False


# fmt: off
FAMILIES: tuple[Family, ...] = (
    # Of sensors, with or without what an encoder puts around them.
    Family(
        "BrainOmni", r"(network\.)?blocks\.\d+", "z", "ff.layer.2", "pre_ff_norm", "pattern", "added",
        norm="pre", crossed=True,
    ),
    Family(
        "Du-IN", r"(encoder\.1\.xfmr_blocks|blocks)\.\d+", "mha.proj.0", "ffn.fc2.0", "norm_mha", "mha.dropout",
        norm="post",
    ),
    Family(
        "LaBraM", r"blocks\.\d+", "attn.proj", "mlp.2", "norm2", "attn.attn_drop", "drop_path", "drop_path#1",
        norm="pre",
    ),
    Family(
        "LUNA", r"blocks\.\d+", "attn.proj", "mlp.fc2", "norm2", "attn.attn_drop_fn", norm="pre",
    ),
    Family(
        "timm ViT, DeiT", r"blocks\.\d+", "attn.proj", "mlp.fc2", "norm2", "attn.attn_drop", "ls1", "ls2", norm="pre"
    ),
    Family("timm BEiT, EVA, Mixer and relatives; stages of EfficientNet and MobileNet", r"blocks\.\d+"),
    Family("ConvNeXt, NFNet, ResNetV2, MaxViT, PVT, LeViT, FastViT", r"stages\.\d+"),
    Family("ResNet and its relatives", r"layer\d+"),
    Family(
        "VisualBERT", r"encoder\.layer\.\d+", "attention.output.dense", "output.dense", "attention.output",
        "attention.self.dropout", norm="post", setting=("model_type", "visual_bert"),
    ),
    Family(
        "BERT, RoBERTa, ELECTRA", r"encoder\.layer\.\d+", "attention.output.dense", "output.dense",
        "attention.output", "attention.self", norm="post",
    ),
    Family(
        "DINOv2", r"encoder\.layer\.\d+", "attention.o_proj", "mlp.fc2", "norm2", "attention", "layer_scale1",
        "layer_scale2", norm="pre",
    ),
    Family(
        "DINOv3", r"model\.layer\.\d+", "attention.o_proj", "mlp.down_proj", "norm2", "attention", "layer_scale1",
        "layer_scale2", norm="pre",
    ),
    Family("MPNet, DeBERTa, ConvBERT, Longformer, FNet", r"encoder\.layer\.\d+"),
    # SqueezeBERT calls `layer.forward`, past the hooks of its blocks; what ends a block is a module that is called.
    Family("SqueezeBERT", r"encoder\.layers\.\d+\.output", first="encoder.layers.0.attention"),
    Family("ALBERT: one block, every pass of it", r"encoder\.albert_layer_groups\.\d+\.albert_layers\.\d+"),
    Family("XLM, FlauBERT", r"layer_norm2\.\d+", first="attentions.0"),
    Family("XLNet", r"layer\.\d+"),
    Family(
        "DistilBERT", r"transformer\.layer\.\d+", "attention.out_lin", "ffn.lin2", "sa_layer_norm", "attention",
        norm="post",
    ),
    Family("GPT-2", r"h\.\d+", "attn.c_proj", "mlp.c_proj", "ln_2", "attn", norm="pre"),
    Family("BLOOM, Falcon, CTRL, GPT-Neo", r"h\.\d+"),
    Family(
        "Gemma 2 and 3", r"layers\.\d+", "self_attn.o_proj", "mlp.down_proj", "pre_feedforward_layernorm",
        "self_attn", "post_attention_layernorm", "post_feedforward_layernorm", norm="pre",
    ),
    Family(
        "OLMo 2", r"layers\.\d+", "self_attn.o_proj", "mlp.down_proj", "mlp", "self_attn", "post_attention_layernorm",
        "post_feedforward_layernorm", norm="pre",
    ),
    Family(
        "Llama, Mistral, Qwen, SmolLM2", r"layers\.\d+", "self_attn.o_proj", "mlp.down_proj",
        "post_attention_layernorm", "self_attn", norm="pre",
    ),
    # Without a norm between: Cohere's blocks give attention and MLP the same stream.
    Family(
        "Cohere", r"layers\.\d+", "self_attn.o_proj", "mlp.down_proj", pattern="self_attn", norm="parallel"
    ),
    Family(
        "transformers ViT", r"layers\.\d+", "attention.o_proj", "mlp.fc2", "layernorm_after", "attention", norm="pre"
    ),
    Family(
        "Whisper's encoder", r"layers\.\d+", "self_attn.out_proj", "fc2", "final_layer_norm", "self_attn", norm="pre",
        setting=("model_type", "whisper"),
    ),
    Family("Swin stages; ModernBERT, GPT-NeoX; BART's encoder", r"layers\.\d+"),
    Family(
        "CLIP, SigLIP", r"encoder\.layers\.\d+", "self_attn.out_proj", "mlp.fc2", "layer_norm2", "self_attn",
        norm="pre",
    ),
    Family(
        "wav2vec 2.0, HuBERT, base", r"encoder\.layers\.\d+", "attention.out_proj", "feed_forward.output_dense",
        "layer_norm", "attention", norm="post", setting=("do_stable_layer_norm", False),
    ),
    Family(
        "wav2vec 2.0, HuBERT, large", r"encoder\.layers\.\d+", "attention.out_proj", "feed_forward.output_dense",
        "final_layer_norm", "attention", norm="pre", setting=("do_stable_layer_norm", True),
    ),
    Family("OPT", r"decoder\.layers\.\d+"),
    Family(
        "T5's encoder", r"block\.\d+", "layer.0.SelfAttention.o", "layer.1.DenseReluDense.wo",
        "layer.1.layer_norm", "layer.0.SelfAttention", norm="pre",
    ),
    Family(
        "RBTransformer", r"intercortical_attention_blocks\.\d+", "attention.fn.to_out.0", "feed_forward.fn.net.3",
        "feed_forward.norm", "attention.fn.dropout", norm="pre",
    ),
    Family("RegNet", r"s\d+"),
    Family("DenseNet", r"features\.denseblock\d+"),
)
# fmt: on
"""Families in the order they are looked up; the first whose blocks and sites a model has is taken."""


def modules_matching(model: torch.nn.Module, pattern: str) -> list[str]:
    """Return the names of the modules that a regular expression matches as a whole, in order."""
    return [name for name, _ in model.named_modules() if re.fullmatch(pattern, name)]


def stream_of(model: torch.nn.Module, taps: Sequence[Tap]) -> Sequence[Tap]:
    """Return the taps around blocks whose sites are known: what the first of them is given, and what each gives.

    Parameters
    ----------
    model : torch.nn.Module
    taps : sequence of Tap
        Every layer of the model, among them others than blocks.

    Returns
    -------
    sequence of Tap
        Empty where there are none; depths are those of the layers.
    """
    for family in (family for family in FAMILIES if family.attention):
        found = [tap for tap in taps if re.fullmatch(family.block, tap.module)]
        if found and family_of(model, [tap.module for tap in found]) is family:
            begin = taps[taps.index(found[0]) - 1]
            return Tap("embeddings", found[0].module, "input", begin.depth, layout=found[0].layout), *found
    return ()


def family_of(model: torch.nn.Module, blocks: Sequence[str]) -> Family | None:
    """Return the family of a model that is read at `blocks`, or None where no family has such blocks."""
    names = {name for name, _ in model.named_modules()}
    config = getattr(model, "config", None)
    for family in FAMILIES:
        if family.setting is not None and getattr(config, family.setting[0], None) != family.setting[1]:
            continue
        below = [
            part
            for named in (family.attention, family.mlp, family.middle, family.pattern, family.attn_out, family.mlp_out)
            if (part := named.partition("#")[0])
        ]
        if all(
            re.fullmatch(family.block, block) and all(f"{block}.{part}" in names for part in below) for block in blocks
        ):
            return family
    return None


def site(model: torch.nn.Module, taps: Sequence[Tap], block: int, name: Site) -> Tap:
    """Return one site of a block, to read or to edit.

    Parameters
    ----------
    model : torch.nn.Module
    taps : sequence of Tap
        Every tap of the model, tap 0 first.
    block : int
        From 0.
    name : str
        One of `SITES`.

    Raises
    ------
    UserError
        If the model has no such block or site.
    """
    n_blocks = len(taps) - 1
    if not 0 <= block < n_blocks:
        raise UserError(f"block {block} does not exist: the network has blocks 0 to {n_blocks - 1}")
    post, depth = taps[block + 1], (block + 0.5) / n_blocks
    if name == "resid_post":
        return Tap(f"{name}.{block}", post.module, "output", post.depth, post.call, post.item, post.layout)
    family = family_of(model, [tap.module for tap in taps[1:]])
    if name == "resid_pre" or (name == "resid_mid" and family is not None and family.norm == "parallel"):
        first = taps[0] if block == 0 else Tap("", post.module, "input", taps[block].depth, post.call)
        return Tap(f"{name}.{block}", first.module, "input", first.depth, first.call, layout=post.layout)
    modules = {} if family is None else _modules(family)
    if name not in modules:
        has = ("resid_pre", *modules, "resid_post")
        raise UserError(f"site '{name}' is not known for {type(model).__name__}; known: {one_of(has)}")
    (module, _, call), side = modules[name][0].partition("#"), modules[name][1]
    n_heads = n_heads_of(model, post.module) if name == "z" else 0
    at = f"{post.module}.{module}"
    return Tap(f"{name}.{block}", at, side, depth, int(call or post.call), layout="tokens", n_heads=n_heads)


def _modules(family: Family) -> dict[str, tuple[str, Literal["input", "output", "pattern"]]]:
    """Return module and side of every site that a family names below a block."""
    if not family.attention:
        return {}
    middle: dict[str, tuple[str, Literal["input", "output", "pattern"]]] = {
        "resid_mid": (family.middle, "output" if family.norm == "post" else "input")
    }
    return {
        "pattern": (family.pattern, "pattern"),
        "z": (family.attention, "input"),
        "attn_out": (family.attn_out or family.attention, "output"),
        **(middle if family.middle else {}),
        "mlp_act": (family.mlp, "input"),
        "mlp_out": (family.mlp_out or family.mlp, "output"),
    }


def n_heads_of(model: torch.nn.Module, block: str) -> int:
    """Return the number of attention heads: the configuration's, or what a module of the block says."""
    config = getattr(model, "config", None)
    found: list[int] = [getattr(config, "num_attention_heads", None) or 0]
    for module in model.get_submodule(block).modules():
        found += [getattr(module, name) for name in ("num_heads", "n_heads") if hasattr(module, name)]
    return next(int(number) for number in found if number)
