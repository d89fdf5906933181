"""Published layouts, written from random tensors after the tables of names and shapes, find their places."""

from pathlib import Path

import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.networks.zoo.brainomni import BrainOmni, OmniShape
from brainbench.networks.zoo.duin import DuInCodec, DuInMasked, DuInShape
from brainbench.networks.zoo.official import as_official, load_official
from brainbench.networks.zoo.tokenizer import BrainTokenizer, TokenizerShape

FILE = Path("official.pt")
SMALL = TokenizerShape(
    window=64, n_filters=4, ratios=(8, 4, 2), width=32, n_heads=2, n_sources=3, n_levels=2, n_codes=8
)  # fmt: skip
DUIN = DuInShape(
    n_channels=4, n_subjects=2, n_filters=8, depth=2, decoder_depth=1, n_heads=2, head_width=4, n_codes=16,
    code_width=5,
)  # fmt: skip


def linear(name, n_in, n_out):
    return {f"{name}.weight": (n_out, n_in), f"{name}.bias": (n_out,)}


def conv(name, n_in, n_out, kernel):
    return {f"{name}.weight_g": (n_out, 1, 1), f"{name}.weight_v": (n_out, n_in, kernel), f"{name}.bias": (n_out,)}


def residual(name, n):
    return {
        **conv(f"{name}.block.1.conv.conv", n, n // 2, 3),
        **conv(f"{name}.block.3.conv.conv", n // 2, n, 1),
        **conv(f"{name}.shortcut.conv.conv", n, n, 1),
    }


def lstm(name, n):
    return {
        f"{name}.lstm.{part}_l{layer}": shape
        for layer in (0, 1)
        for part, shape in (
            ("weight_ih", (4 * n, n)), ("weight_hh", (4 * n, n)), ("bias_ih", (4 * n,)), ("bias_hh", (4 * n,)),
        )
    }  # fmt: skip


def tokenizer_layout(s):
    """Section 2.6 of the reference: names and shapes of BrainTokenizer.pt."""
    w, f = s.width, s.n_filters
    embed, encoder, decoder = "sensor_embed", "encoder.seanet_encoder.model", "decoder.seanet_decoder.model"
    found = {
        f"{embed}.sensor_embedding_layer.weight": (3, w),
        **linear(f"{embed}.pos_embedding_layer.0", 6, w // 2),
        **linear(f"{embed}.pos_embedding_layer.2", w // 2, w),
        **linear(f"{embed}.aggregate_mlp.layer.0", w, 4 * w),
        **linear(f"{embed}.aggregate_mlp.layer.2", 4 * w, w),
        f"{embed}.norm.weight": (w,),
        "encoder.neuros": (s.n_sources, w),
        **linear("encoder.k_proj", w, w),
        **linear("encoder.backwardsolution.v", w, w),
        **linear("encoder.backwardsolution.proj", w, w),
        **conv(f"{encoder}.0.conv.conv", 1, f, 5),
        **linear("decoder.forwardsolution.kv", w, 2 * w),
        **linear("decoder.forwardsolution.proj", w, w),
        **conv(f"{decoder}.0.conv.conv", w, 8 * f, 5),
        **lstm(f"{decoder}.1", 8 * f),
    }
    for k, ratio in enumerate((2, 4, 8)):
        n = f * 2**k
        found |= residual(f"{encoder}.{1 + 3 * k}", n)
        found |= conv(f"{encoder}.{3 + 3 * k}.conv.conv", n, 2 * n, 2 * ratio)
    found |= lstm(f"{encoder}.10", 8 * f) | conv(f"{encoder}.12.conv.conv", 8 * f, w, 5)
    for k, ratio in enumerate((8, 4, 2)):
        n = f * 2 ** (3 - k)
        name = f"{decoder}.{3 + 3 * k}.convtr.convtr"
        found |= {
            f"{name}.weight_g": (n, 1, 1), f"{name}.weight_v": (n, n // 2, 2 * ratio), f"{name}.bias": (n // 2,),
        }  # fmt: skip
        found |= residual(f"{decoder}.{4 + 3 * k}", n // 2)
    found |= conv(f"{decoder}.12.conv.conv", f, 1, 5)
    for level in range(s.n_levels):
        book = f"quantizer.rvq.layers.{level}._codebook"
        found |= {f"{book}.inited": (1,), f"{book}.cluster_size": (s.n_codes,)}
        found |= {f"{book}.embed": (s.n_codes, w), f"{book}.embed_avg": (s.n_codes, w)}
    return found


def omni_layout(shape, s):
    w, half = shape.width, shape.width // 2
    found = {f"tokenizer.{name}": size for name, size in tokenizer_layout(s).items()}
    found |= {"mask_token": (s.width,)} | linear("predict_head", w, s.n_levels * s.n_codes)
    found |= {} if w == s.width else linear("projection", s.width, w)
    for k in range(shape.depth):
        block = f"blocks.{k}"
        for part in ("time_attn", "spatial_attn"):
            found |= linear(f"{block}.{part}.qkv", half, 3 * half) | linear(f"{block}.{part}.proj", half, half)
        found |= {f"{block}.{norm}.weight": (w,) for norm in ("pre_attn_norm", "pre_ff_norm")}
        found |= linear(f"{block}.ff.layer.0", w, 4 * w) | linear(f"{block}.ff.layer.2", 4 * w, w)
    return found


def duin_layout(s, kind):
    """Section 3.7 of the reference."""
    w, inner = s.width, s.n_heads * s.head_width
    found = {
        "subj_block.subj_layer.W.weight": (s.n_channels * s.n_neural, s.n_subjects),
        "subj_block.subj_layer.B.weight": (s.n_neural, s.n_subjects),
        "emb_time.time_encodings": (s.n_positions, w),
    }
    n_in = s.n_neural
    for k, (n_out, kernel) in enumerate(((s.n_filters, 19), (s.n_filters, 3), (s.n_neural, 3))):
        name = f"tokenizer.conv_blocks.{k}"
        found |= {f"{name}.0.1.weight": (n_out, n_in, kernel), f"{name}.0.1.bias": (n_out,)}
        found |= {f"{name}.1.1.{part}": (n_out,) for part in ("weight", "bias", "running_mean", "running_var")}
        found |= {f"{name}.1.1.num_batches_tracked": ()}
        n_in = n_out

    def block(name):
        parts = {}
        for one in "qkv":
            parts |= linear(f"{name}.mha.W_{one}.W", w, inner)
        for norm, size in (
            ("mha.norm_q", s.head_width),
            ("mha.norm_k", s.head_width),
            ("norm_mha", w),
            ("norm_ffn", w),
        ):
            parts |= {f"{name}.{norm}.{part}": (size,) for part in ("weight", "bias")}
        parts |= {f"{name}.mha.attention.scale": ()} | linear(f"{name}.mha.proj.0", inner, w)
        return parts | linear(f"{name}.ffn.fc1.0", w, 2 * w) | linear(f"{name}.ffn.fc2.0", 2 * w, w)

    for k in range(s.depth):
        found |= block(f"encoder.1.xfmr_blocks.{k}")
    if kind == "mae":
        return found | {"mask_emb": (w,)} | linear("cls_block.cls_head.0.0", w, s.n_codes)
    for k in range(s.decoder_depth):
        found |= block(f"decoder.1.xfmr_blocks.{k}")
    found |= linear("vq_block.pre_proj.0", w, w) | linear("vq_block.pre_proj.2", w, s.code_width)
    found |= {"vq_block.codex.embeddings": (s.n_codes, s.code_width), "vq_block.codex.initted": (1,)}
    found |= {"vq_block.counts": (s.n_codes,), "vq_block.layernorm.weight": (s.code_width,)}
    found |= {"vq_block.layernorm.bias": (s.code_width,)} | linear("vq_block.post_proj.0", s.code_width, w)
    n_in = w
    for k, (n_out, kernel) in enumerate(
        ((s.n_filters, 3), (s.n_filters, 3), (s.n_filters, 10), (s.n_filters, 9), (16, 19))
    ):
        found |= {
            f"rgs_block.rgs_head.{k}.0.1.weight": (n_in, n_out, kernel),
            f"rgs_block.rgs_head.{k}.0.1.bias": (n_out,),
        }
        n_in = n_out
    found |= linear("rgs_block.rgs_head.5.0", 16, 16)
    found |= {"desubj_block.subj_layer.W.weight": (16 * s.n_channels, s.n_subjects)}
    return found | {"desubj_block.subj_layer.B.weight": (s.n_channels, s.n_subjects)}


def random(layout):
    return {
        name: torch.tensor(3) if name.endswith("tracked") else torch.rand(size) for name, size in layout.items()
    }  # fmt: skip


def rope(depth, half, lost):
    freqs = 1.0 / 10000 ** (torch.arange(0, half, 2).float() / half)
    angle = torch.outer(torch.arange(240).float(), freqs)
    turn = torch.complex(angle.cos(), torch.zeros_like(angle)) if lost else torch.polar(torch.ones_like(angle), angle)
    name = "blocks.{}.time_attn.rope_embedding_layer"
    return {
        f"{name.format(k)}.{part}": value for k in range(depth) for part, value in (("freqs", freqs), ("rotate", turn))
    }


OMNI = OmniShape(width=48, n_heads=4, depth=2)
CASES = {
    "tokenizer": (lambda: BrainTokenizer(SMALL), tokenizer_layout(SMALL), {}),
    "brainomni": (lambda: BrainOmni(OMNI, SMALL), omni_layout(OMNI, SMALL), rope(2, 24, False)),
    "same width": (
        lambda: BrainOmni(OmniShape(32, 4, 2), SMALL), omni_layout(OmniShape(32, 4, 2), SMALL), rope(2, 16, False),
    ),
    "duin vqvae": (lambda: DuInCodec(DUIN), duin_layout(DUIN, "vqvae"), {}),
    "duin mae": (lambda: DuInMasked(DUIN), duin_layout(DUIN, "mae"), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_tensor_goes_in_and_comes_out(name):
    build, layout, buffers = CASES[name]
    state = random(layout) | buffers
    back = as_official(load_official(build(), state, FILE))
    assert set(back) == set(state)
    assert all(torch.allclose(back[key].to(torch.complex64), state[key].to(torch.complex64)) for key in state)


@pytest.mark.parametrize("name", CASES)
def test_what_is_missing_left_over_or_of_another_shape_is_refused(name):
    build, layout, buffers = CASES[name]
    state, key = random(layout) | buffers, next(iter(layout))
    with pytest.raises(UserError, match="is missing"):
        load_official(build(), {k: v for k, v in state.items() if k != key}, FILE)
    with pytest.raises(UserError, match="extra is left over"):
        load_official(build(), state | {"extra": torch.zeros(1)}, FILE)
    with pytest.raises(UserError, match=r"is \(1, 2, 3\), not"):
        load_official(build(), state | {key: torch.zeros(1, 2, 3)}, FILE)


def test_rotary_buffers_are_looked_at():
    state = random(omni_layout(OMNI, SMALL))
    load_official(BrainOmni(OMNI, SMALL, rope="released"), state | rope(2, 24, True), FILE)
    with pytest.raises(UserError, match="lacks rotary buffers"):
        load_official(BrainOmni(OMNI, SMALL), state | rope(1, 24, True), FILE)
    with pytest.raises(UserError, match="no rotary buffer"):
        load_official(BrainOmni(OMNI, SMALL), state | {k: 2 * v for k, v in rope(2, 24, True).items()}, FILE)


def test_the_official_sizes_have_the_official_layout():
    for network, layout in (
        (BrainTokenizer(), tokenizer_layout(TokenizerShape())),
        (DuInCodec(), duin_layout(DuInShape(), "vqvae")),
    ):
        assert {name: tuple(value.shape) for name, value in as_official(network).items()} == layout
