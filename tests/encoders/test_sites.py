"""Eight sites of a block, held against the installed libraries, and what an edit may and may not change."""

import warnings
from functools import cache

import numpy as np
import pytest
import timm
import torch
import transformers

from brainbench.core.errors import UserError
from brainbench.encoders.capture import Edit, Tap, hooked
from brainbench.encoders.patterns import patterns_made
from brainbench.encoders.selfcheck import Probe, check
from brainbench.encoders.sensors import Reader
from brainbench.encoders.sites import FAMILIES, SITES, family_of, site
from brainbench.lens.measure import tokens_of
from brainbench.networks.zoo.brainomni import BrainOmni, OmniShape
from brainbench.networks.zoo.duin import DuInClassifier, DuInShape
from brainbench.networks.zoo.rbtransformer import RBTransformer
from tests.encoders.tiny import images, make
from tests.networks.zoo.test_tokenizer import SMALL as TOKENIZER
from tests.networks.zoo.test_tokenizer import recording

SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
WORDS = {"vocab_size": 50, "max_position_embeddings": 32}
PICTURE = {"image_size": 16, "patch_size": 8}
LLAMA = {**SIZES, **WORDS, "num_key_value_heads": 1}
TEXT = {
    "bert": ("BertModel", {**SIZES, **WORDS}),
    "clip text": ("CLIPTextModel", {**SIZES, **WORDS, "eos_token_id": 3}),
    "cohere": ("CohereModel", LLAMA),
    "olmo2": ("Olmo2Model", LLAMA),
    "distilbert": ("DistilBertModel", {"vocab_size": 50, "dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24}),
    "gemma3": ("Gemma3TextModel", {**LLAMA, "head_dim": 8}),
    "gpt2": ("GPT2Model", {"vocab_size": 50, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 32}),
    "llama": ("LlamaModel", LLAMA),
    "qwen2": ("Qwen2Model", LLAMA),
    "qwen3": ("Qwen3Model", {**LLAMA, "head_dim": 8}),
    "t5": ("T5EncoderModel", {"vocab_size": 50, "d_model": 16, "num_layers": 3, "num_heads": 2, "d_ff": 24, "d_kv": 8}),
}
VISION = {
    "clip vision": ("CLIPVisionModel", {**SIZES, **PICTURE}),
    "dinov2": ("Dinov2Model", {**SIZES, **PICTURE, "mlp_ratio": 2, "layerscale_value": 0.5}),
    "dinov3": ("DINOv3ViTModel", {**SIZES, **PICTURE, "num_register_tokens": 2, "layerscale_value": 0.5}),
    "siglip": ("SiglipVisionModel", {**SIZES, **PICTURE}),
    "vit": ("ViTModel", {**SIZES, **PICTURE}),
}
PAIR = {"visual bert": ("VisualBertModel", {**SIZES, **WORDS, "visual_embedding_dim": 8})}
WAVES = {**SIZES, "vocab_size": 32, "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16,
         "num_conv_pos_embedding_groups": 2}  # fmt: skip
SOUND = {
    "hubert": ("HubertModel", WAVES),
    "wav2vec2": ("Wav2Vec2Model", WAVES),
    "wav2vec2 large": ("Wav2Vec2Model", {**WAVES, "do_stable_layer_norm": True, "feat_extract_norm": "layer"}),
    "whisper": ("WhisperModel", {
        "d_model": 16, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_layers": 1,
        "decoder_attention_heads": 2, "decoder_ffn_dim": 24, "vocab_size": 32, "pad_token_id": 0, "bos_token_id": 1,
        "eos_token_id": 2, "decoder_start_token_id": 1, "max_source_positions": 10,
    }),
}  # fmt: skip
SENSORS = ("brainomni", "duin", "labram", "luna", "rbtransformer")
POST_NORM = ("bert", "distilbert", "duin", "hubert", "visual bert", "wav2vec2")
MIDDLE = {"bert": "attention.output.LayerNorm", "distilbert": "sa_layer_norm", "duin": "norm_mha",
          "hubert": "layer_norm", "visual bert": "attention.output.LayerNorm", "wav2vec2": "layer_norm"}  # fmt: skip
CAUSAL = ("clip text", "cohere", "gemma3", "gpt2", "llama", "olmo2", "qwen2", "qwen3")
KINDS = [*TEXT, *VISION, *PAIR, *SOUND, "timm", *SENSORS]


def of_sensors(kind):
    """A small network of sensors, and what it is run on."""
    if kind == "brainomni":
        network = Reader(BrainOmni(OmniShape(width=24, n_heads=4, depth=3), TOKENIZER))
        for layer in network.tokenizer.quantizer.rvq.layers:
            layer.codebook.embed.normal_()
        return network, dict(zip(("x", "place", "kind"), recording(), strict=True))
    if kind == "duin":
        shape = DuInShape(n_channels=3, n_neural=4, n_filters=4, patch=20, depth=3, n_heads=2, head_width=8, n_codes=4)
        return DuInClassifier(2, 5, shape), {"x": torch.randn(2, 3, 100), "subject": torch.zeros(2, dtype=torch.long)}
    if kind == "rbtransformer":
        return RBTransformer(5, 2, width=16, depth=3, n_heads=2, head_width=8), {"tokens": torch.randn(2, 5, 4)}
    models = pytest.importorskip("braindecode.models")
    places = [{"ch_name": name, "kind": "eeg", "loc": np.r_[place, np.full(9, np.nan)]} for name, place in (
        ("C3", [-0.06, 0, 0.06]), ("Cz", [0, 0, 0.09]), ("C4", [0.06, 0, 0.06]))]  # fmt: skip
    sizes = {"n_outputs": 2, "n_times": 160, "sfreq": 100.0, "chs_info": places, "patch_size": 40}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "labram":
            network = models.Labram(n_chans=3, embed_dim=40, num_heads=4, num_layers=3, **sizes)
            names = {"ch_names": ["C3", "CZ", "C4"]}
            network.register_forward_pre_hook(lambda _m, args, kwargs: (args, kwargs | names), with_kwargs=True)
            return network, {"x": torch.randn(2, 3, 160)}
        return models.LUNA(embed_dim=16, num_queries=2, num_heads=2, depth=3, **sizes), {"X": torch.randn(2, 3, 160)}


@cache
def opened(kind):
    """A small network with weights that matter, what it is run on, and its taps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        if kind == "timm":
            network = timm.create_model("test_vit", img_size=32, init_values=0.5)
            inputs = {"x": torch.randn(2, 3, 32, 32)}
        elif kind in SENSORS:
            network, inputs = of_sensors(kind)
        else:
            name, sizes = {**TEXT, **VISION, **PAIR, **SOUND}[kind]
            model = getattr(transformers, name)
            network = model(model.config_class(**sizes))
            if kind in TEXT:
                inputs = {"input_ids": torch.arange(4, 24).reshape(2, 10), "attention_mask": torch.ones(2, 10).long()}
            elif kind in PAIR:
                inputs = {"input_ids": torch.arange(4, 16).reshape(2, 6), "visual_embeds": torch.randn(2, 4, 8)}
                inputs["attention_mask"] = torch.ones(2, 6).long()
                inputs["visual_attention_mask"] = inputs["visual_token_type_ids"] = torch.ones(2, 4).long()
            elif kind == "whisper":
                inputs = {"input_features": torch.randn(2, 80, 20)}
            elif kind in SOUND:
                inputs = {"input_values": torch.randn(2, 3200)}
            else:
                inputs = {"pixel_values": torch.randn(2, 3, 16, 16)}
        for name, parameter in network.named_parameters():  # initial values of 0.02 would hide what is added
            if parameter.ndim > 1 and "tokenizer.encoder" not in name:  # two signals need two codes
                parameter.data.normal_(0, 0.3)
    network = (network.get_encoder() if kind in ("t5", "whisper") else network).eval().requires_grad_(False)

    def states():
        if kind == "timm":
            return network.forward_intermediates(inputs["x"], intermediates_only=True)
        if kind in SENSORS:
            network(**inputs)
            return None  # nothing is said of its blocks
        return list(network(**inputs, output_hidden_states=True).hidden_states)

    mask = None
    if kind in SENSORS:
        n_tokens = {"brainomni": 3 * 24, "labram": 13, "luna": 4}.get(kind, 5)
        mask = torch.ones(2, n_tokens).bool()
    elif kind != "timm":
        with torch.inference_mode():
            mask = torch.ones(states()[0].shape[:2]).bool()
    one = {name: value[:1] for name, value in inputs.items()}
    probe = Probe(states, lambda: network(**one), mask, None if mask is None else mask[:1], False, "embeddings")
    return network, inputs, check(network, probe, kind).taps


def run(kind, reads, edits=()):
    network, inputs, _ = opened(kind)
    with torch.inference_mode(), hooked(network, {tap: torch.clone for tap in reads}, edits) as values:
        network(**inputs)
    return dict(values)


def sites_of(kind, block):
    network, _, taps = opened(kind)
    return {name: site(network, taps, block, name) for name in SITES}


EXACT = {"vit", "gpt2", "llama", "clip vision", "clip text"}
"""Networks that add attention and MLP to the stream one after the other: the sum is the same bits."""


@pytest.mark.parametrize("kind", KINDS)
def test_sites_are_what_they_are_called(kind):
    """T3."""
    network, _, taps = opened(kind)
    for block in range(len(taps) - 1):
        places = sites_of(kind, block)
        found = run(kind, places.values())
        values = {name: tokens_of(found[place.name], place) for name, place in places.items()}
        n, width = values["resid_pre"].shape[0], values["resid_pre"].shape[-1]
        assert values["z"].shape[0] == n and values["z"].shape[2] * values["z"].shape[3] >= width
        assert values["pattern"].shape[:2] == (n, values["z"].shape[2])
        torch.testing.assert_close(values["pattern"].sum(-1), torch.ones(values["pattern"].shape[:-1]))
        above = values["pattern"].triu(1)
        assert bool((above == 0).all()) == (kind in CAUSAL)
        added = values["resid_pre"] + values["attn_out"] + values["mlp_out"]
        gap = float((added - values["resid_post"]).abs().max())
        middle = values["resid_pre"] if kind == "cohere" else values["resid_pre"] + values["attn_out"]
        if kind in POST_NORM:
            assert gap > (0.05 if kind == "duin" else 0.1)
            norm = network.get_submodule(f"{taps[block + 1].module}.{MIDDLE[kind]}")
            torch.testing.assert_close(norm(middle), values["resid_mid"], atol=1e-5, rtol=1e-5)
        else:
            torch.testing.assert_close(middle, values["resid_mid"], atol=1e-5, rtol=1e-5)
            assert gap < 1e-5 * float(added.abs().max())
            if kind in EXACT:
                assert gap == 0
        assert float(values["attn_out"].abs().max()) > 1e-3 and float(values["mlp_out"].abs().max()) > 1e-3
        # The projections make of `z` and of the hidden units what is read behind them.
        family = family_of(network, [tap.module for tap in taps[1:]])
        for part, before, after in ((family.attention, "z", "attn_out"), (family.mlp, "mlp_act", "mlp_out")):
            projection = network.get_submodule(f"{taps[block + 1].module}.{part}")
            with torch.inference_mode():
                made = projection(values[before].flatten(2) if before == "z" else values[before])
            if (family.attn_out if before == "z" else family.mlp_out) == "":
                torch.testing.assert_close(made, values[after], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_leaves_what_lies_before_it_and_the_network_itself_alone(kind):
    network, _, taps = opened(kind)
    block = 1
    for name, place in sites_of(kind, block).items():
        with patterns_made(network) if name == "pattern" else torch.inference_mode():
            clean = run(kind, taps)
            null = run(kind, taps, [Edit(place, lambda value: value.clone())])
            edited = run(kind, taps, [Edit(place, lambda value: torch.zeros_like(value))])
            again = run(kind, taps)
        untouched = block + (2 if name == "resid_post" else 1)
        for t, tap in enumerate(taps):
            assert torch.equal(null[tap.name], clean[tap.name]), f"{name}: the null edit changes tap {t}"
            assert torch.equal(again[tap.name], clean[tap.name]), f"{name}: tap {t} is another one afterwards"
            same = torch.equal(edited[tap.name], clean[tap.name])
            assert same == (t < untouched), f"{name}: tap {t} is {'the same' if same else 'another'} under the edit"


def test_the_kernel_that_makes_patterns_computes_the_same_attention():
    for kind in KINDS:
        network, _, taps = opened(kind)
        fused = run(kind, taps)
        with patterns_made(network):
            made = run(kind, taps)
        for tap in taps:
            torch.testing.assert_close(made[tap.name], fused[tap.name], atol=2e-5, rtol=1e-4)
        assert all(
            torch.equal(fused[tap.name], value) for tap, value in zip(taps, run(kind, taps).values(), strict=True)
        )


def test_attention_that_shows_no_pattern_is_refused():
    """T31: transformers only warns where a network computes attention itself; nothing would be read, no edit act."""
    config = transformers.BlipTextConfig(**SIZES, vocab_size=50, max_position_embeddings=32, encoder_hidden_size=16)
    network = transformers.BlipTextModel(config).eval()
    tokens = torch.arange(4, 14).reshape(1, 10)
    pattern = Tap("pattern.1", "encoder.layer.1.attention.self", "pattern", 0.5)
    for kind in ("llama", "vit", "bert"):  # where the kernel shows none, another one is taken while it is read
        other, _, _ = opened(kind)
        assert other.config._attn_implementation == "sdpa"
        shown = run(kind, [sites_of(kind, 1)["pattern"]])["pattern.1"]
        assert shown.ndim == 4 and shown.sum(-1).allclose(torch.ones(()))
        assert other.config._attn_implementation == "sdpa"
    for edits in ((), [Edit(pattern, torch.zeros_like)]):
        reads = {} if edits else {pattern: torch.clone}
        with pytest.raises(UserError, match="BlipTextModel computes attention in its own way: no pattern is seen"):
            with torch.inference_mode(), hooked(network, reads, edits):
                network(tokens, is_decoder=False)


def test_heads_are_silenced_one_by_one():
    network, _, taps = opened("bert")
    place = site(network, taps, 0, "z")

    def silence(value):
        value = value.clone()
        value[:, :, 1] = 0
        return value

    own = site(network, taps, 0, "attn_out")
    values = run("bert", [own, place], [Edit(place, silence)])
    projection = network.encoder.layer[0].attention.output.dense
    expected = values[place.name][:, :, 0] @ projection.weight[:, :8].T + projection.bias
    torch.testing.assert_close(values[own.name], expected)


def test_networks_without_such_sites_say_so():
    encoder = make("image", model="test_resnet", weights="random")
    assert [encoder.site(1, name).module for name in ("resid_pre", "resid_post")] == ["layer2", "layer2"]
    with pytest.raises(UserError, match="site 'z' is not known for ResNet; known: resid_post, resid_pre"):
        encoder.site(0, "z")
    with pytest.raises(UserError, match="block 4 does not exist: the network has blocks 0 to 3"):
        encoder.site(4, "resid_post")
    edit = Edit(encoder.site(2, "resid_post"), torch.zeros_like)
    inputs = encoder.inputs(images(2), range(2))
    with torch.inference_mode():
        clean, edited = (encoder.run(inputs, encoder.taps, edits) for edits in ((), (edit,)))
    same = [torch.equal(clean[tap.name], edited[tap.name]) for tap in encoder.taps]
    assert same == [True, True, True, True, False]


def test_every_family_names_all_its_sites_or_none():
    for family in FAMILIES:
        assert bool(family.attention) == bool(family.mlp) == bool(family.pattern) == bool(family.norm), family.name
