"""What opening a network finds out, and what it refuses."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel

from brainbench.core.errors import UserError
from brainbench.encoders import selfcheck
from brainbench.encoders.selfcheck import remembered_in
from tests.encoders.tiny import (
    SENTENCES,
    features,
    images,
    make,
    stimuli_of,
    write_audio,
    write_bert,
    write_video,
    write_vision,
)
from tests.encoders.vision_language import write_vision_language

TEXTS = stimuli_of(SENTENCES, "text")
SIZES = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 40, "pad_token_id": 0,
}  # fmt: skip
SMALL = {
    "albert": {**SIZES, "embedding_size": 8},
    "clip": {},
    "convbert": {**SIZES, "embedding_size": 16},
    "flaubert": {"emb_dim": 16, "n_layers": 3, "n_heads": 2, "max_position_embeddings": 40},
    "fnet": SIZES,
    "funnel": {
        "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 24, "block_sizes": [1, 1],
        "num_decoder_layers": 1, "architectures": ["FunnelModel"],
    },
    "gemma": {**SIZES, "hidden_size": 24, "num_key_value_heads": 1, "head_dim": 8},
    "longformer": {**SIZES, "attention_window": [4, 4, 4]},
    "mamba": {"hidden_size": 16, "num_hidden_layers": 3, "state_size": 4},
    "opt": {
        "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "ffn_dim": 24, "word_embed_proj_dim": 8,
        "max_position_embeddings": 40, "do_layer_norm_before": False,
    },
    "roberta": SIZES,
    "squeezebert": {**SIZES, "embedding_size": 16},
    "xglm": {"d_model": 16, "ffn_dim": 24, "num_layers": 2, "attention_heads": 2, "max_position_embeddings": 40},
    "xlm": {"emb_dim": 16, "n_layers": 3, "n_heads": 2, "max_position_embeddings": 40},
    "xlnet": {"d_model": 16, "n_layer": 3, "n_head": 2, "d_inner": 24},
}  # fmt: skip


@pytest.fixture(scope="session")
def folder(bert, tmp_path_factory):
    """Save a small network of a kind with BERT's tokenizer; return its folder."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bert)

    def build(kind, dtype=torch.float32, **more):
        where = tmp_path_factory.mktemp(kind)
        config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **{**SMALL[kind], **more})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            AutoModel.from_config(config).to(dtype).save_pretrained(where)
        tokenizer.save_pretrained(where)
        return str(where)

    return build


def own_states(encoder, text):
    tokens = encoder.tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        return [state[0] for state in encoder.network(**tokens, output_hidden_states=True).hidden_states]


@pytest.mark.parametrize(
    "kind", ["albert", "convbert", "flaubert", "fnet", "longformer", "roberta", "squeezebert", "xlm", "xlnet"]
)
def test_layers_are_the_librarys_hidden_states_of_a_text_alone(kind, folder):
    """Of all these kinds the layers were once wrong, or opening them crashed."""
    encoder = make("text", model=folder(kind))
    found = features(encoder, TEXTS)
    assert len(found) == 4
    assert {layer.width for layer in encoder.layers()} == {16}
    for row, text in enumerate(SENTENCES):
        states = own_states(encoder, text)
        assert len(states) == 4
        for values, state in zip(found.values(), states, strict=True):
            np.testing.assert_allclose(values[row], state.mean(0).numpy(), atol=2e-5)
    alone = kind in ("convbert", "fnet")  # they mix padding in
    assert encoder.reading.alone == alone
    assert ("every stimulus is read alone" in encoder.note) == alone
    assert encoder.batch_size() == (1 if alone else 32)


def test_shared_blocks_are_a_layer_at_every_pass(folder):
    encoder = make("text", model=folder("albert"))
    block = "encoder.albert_layer_groups.0.albert_layers.0"
    assert [layer.name for layer in encoder.layers()] == ["embeddings", *(f"{block}.pass.{k}" for k in range(3))]
    assert "share weights" in encoder.note
    only = encoder.features(SENTENCES, [f"{block}.pass.1"])
    np.testing.assert_allclose(only[f"{block}.pass.1"], features(encoder, TEXTS)[f"{block}.pass.1"], atol=1e-6)


def test_hidden_states_that_begin_or_end_elsewhere_are_understood(folder):
    assert len(make("text", model=folder("mamba")).layers()) == 4  # its library lists no embeddings
    assert [layer.width for layer in make("text", model=folder("opt")).layers()] == [16] * 4  # and a projection


def test_a_network_that_shortens_its_text_is_refused_by_name(folder):
    with pytest.raises(UserError, match="the layers of FunnelModel cannot be read rightly"):
        make("text", model=folder("funnel"))


def test_the_tower_that_reads_texts_is_named(bert, tmp_path):
    from transformers import AutoTokenizer, CLIPConfig, CLIPModel

    tokenizer = AutoTokenizer.from_pretrained(bert)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    text = {**sizes, "vocab_size": len(tokenizer), "max_position_embeddings": 30, "eos_token_id": 3}
    config = CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 16, "patch_size": 8})
    CLIPModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder = make("text", model=str(tmp_path))
    assert len(encoder.layers()) == 3 and encoder.max_tokens == 30
    assert "reads the part 'text_model' of CLIPModel" in encoder.note
    assert encoder.pools == ("mean",)  # [CLS] stands first, and sees nothing but itself


# A class token ------------------------------------------------------------------------------------------------------


def test_a_first_token_that_sees_nothing_is_no_class_token(bert, gpt2, folder):
    assert make("text", model=str(bert)).pools == ("cls", "mean")
    for where in (str(gpt2), folder("gemma")):  # the second is given [CLS], as Llama is given <s>
        encoder = make("text", model=where)
        assert encoder.pools == ("mean",)
        with pytest.raises(UserError, match="cannot pool by 'cls'; allowed: mean"):
            features(encoder, TEXTS, pool="cls")


@pytest.mark.parametrize(
    ("model", "prefixes", "token"),
    [
        ("test_vit", {1}, True),
        ("vit_tiny_patch16_dinov3_qkvb", {5}, True),
        ("cait_xxs24_224", {0}, False),
        ("convit_tiny", {0, 1}, False),
    ],
)
def test_tokens_before_the_first_place_are_counted_layer_by_layer(model, prefixes, token):
    """CaiT's class token joins after the blocks that are read, ConViT's in the middle of them."""
    size = {"image_size": 32} if model != "test_vit" else {}
    encoder = make("image", model=model, weights="random", **size)
    assert {tap.n_prefix for tap in encoder.taps} == prefixes
    assert ("cls" in encoder.pools) == token
    tap = encoder.taps[-1]
    pixels = encoder.inputs(images(2), range(2))
    with torch.inference_mode():
        (last,) = encoder.network.forward_intermediates(*pixels.args, indices=[-1], intermediates_only=True)
    np.testing.assert_allclose(features(encoder, images(2))[tap.name], last.mean((2, 3)).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("model", "layout"), [("test_mambaout", "map_last"), ("pvt_v2_b0", "map"), ("test_convnext", "map")]
)
def test_channels_are_found_wherever_they_stand(model, layout):
    encoder = make("image", model=model, weights="random", image_size=64)
    assert {tap.layout for tap in encoder.taps[1:]} == {layout}
    with torch.inference_mode():
        maps = encoder.network.forward_intermediates(*encoder.inputs(images(2), range(2)).args, intermediates_only=True)
    for tap, one in zip(encoder.taps[-len(maps) :], maps, strict=True):
        if tap.side == "output":
            np.testing.assert_allclose(features(encoder, images(2))[tap.name], one.mean((2, 3)).numpy(), atol=1e-5)


def test_several_branches_are_refused_by_name():
    with pytest.raises(UserError, match="the layers of CrossVit cannot be read rightly"):
        make("image", model="crossvit_tiny_240", weights="random")


# Weights ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gemma", "xglm"])
def test_half_precision_is_widened_before_anything_is_computed(kind, folder):
    """Buffers that a library computes in the checkpoint's precision would stay rounded."""
    where = folder(kind, dtype=torch.bfloat16)
    encoder = make("text", model=where)
    right = AutoModel.from_pretrained(where, dtype=torch.float32)
    late = AutoModel.from_pretrained(where, dtype=torch.bfloat16).float()
    differs = 0
    for (name, ours), (_, theirs), (_, rounded) in zip(
        encoder.network.named_buffers(), right.named_buffers(), late.named_buffers(), strict=True
    ):
        assert ours.dtype == torch.float32 and torch.equal(ours, theirs), name
        differs += not torch.equal(ours, rounded)
    assert differs
    assert {p.dtype for p in make("text", model=where, weights="random").network.parameters()} == {torch.float32}


def without(network, where, *parts, also=()):
    """Copy a network's folder without some of its tensors, and with some that it has no place for."""
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(network, where)
    state = load_file(where / "model.safetensors")
    state = {name: tensor for name, tensor in state.items() if not any(part in name for part in parts)}
    state |= {name: torch.zeros(2) for name in also}
    save_file(state, where / "model.safetensors", metadata={"format": "pt"})
    return str(where)


def test_weights_are_accounted_for(bert, tmp_path):
    assert make("text", model=str(bert)).note == "weights: 55 of 55 tensors found"
    # A pooler comes after every layer, and a head has no place: neither decides the features.
    where = without(bert, tmp_path / "headless", "pooler", also=["cls.bias"])
    encoder = make("text", model=where)
    assert "53 of 55 tensors found, 2 missing and random (pooler.dense.bias, pooler.dense.weight)" in encoder.note
    assert "1 left over (cls.bias)" in encoder.note
    whole = features(make("text", model=str(bert)), TEXTS)
    for name, values in features(encoder, TEXTS).items():
        np.testing.assert_array_equal(values, whole[name])


def test_weights_that_do_not_fill_the_layers_are_refused_unless_asked_for(bert, tmp_path):
    where = without(bert, tmp_path / "holes", "layer.1.")
    with pytest.raises(UserError, match="the weights fill 39 of the network's 55 tensors, and its layers need 16"):
        make("text", model=where)
    encoder = make("text", model=where, partial_weights=True)
    assert "16 missing and random" in encoder.note
    again = make("text", model=where, partial_weights=True)
    assert encoder.digest() == again.digest() != make("text", model=where, partial_weights=True, seed=1).digest()


PUBLISHED = {
    "image": (write_vision, "clip"), "audio": (write_audio, "wav2vec2"), "video": (write_video, "videomae"),
    "vision_language": (write_vision_language, "vilt"),
}  # fmt: skip
"""Family -> what writes a network of it, and its kind; those of texts are above."""


@pytest.mark.parametrize("family", PUBLISHED)
def test_networks_of_every_family_are_opened_alike(family, tmp_path):
    """Tensors are counted and asked for, half precision becomes float32, whatever the network is given."""
    write, kind = PUBLISHED[family]
    (tmp_path / "whole").mkdir()
    write(kind, tmp_path / "whole")
    encoder = make(family, model=str(tmp_path / "whole"))
    assert "tensors found" in encoder.note and "missing" not in encoder.note
    holes = without(tmp_path / "whole", tmp_path / "holes", "layers.1.", "layer.1.")
    with pytest.raises(UserError, match=r"the weights fill \d+ of the network's \d+ tensors, and its layers need"):
        make(family, model=holes)
    partial = make(family, model=holes, partial_weights=True)
    assert "missing and random" in partial.note
    assert partial.digest() != make(family, model=holes, partial_weights=True, seed=1).digest()
    half(tmp_path / "whole")
    assert {value.dtype for value in make(family, model=str(tmp_path / "whole")).network.parameters()} == {
        torch.float32
    }


def half(folder):
    """Save the tensors of a folder in half precision."""
    from safetensors.torch import load_file, save_file

    state = {name: value.to(torch.bfloat16) for name, value in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def test_weights_of_timm_are_whole():
    with pytest.raises(UserError, match="partial_weights: networks of transformers alone may lack weights"):
        make("image", model="vit_tiny_patch16_224", weights="random", partial_weights=True)


# Memory -------------------------------------------------------------------------------------------------------------


def test_a_check_is_remembered_for_weights_and_libraries(tmp_path, monkeypatch):
    where = write_bert_at(tmp_path)
    passes = []
    run = selfcheck.check
    monkeypatch.setattr(selfcheck, "check", lambda *args: passes.append(1) or run(*args))
    monkeypatch.setattr(selfcheck, "_REMEMBERED", {})
    with remembered_in(tmp_path / "checks"):
        first = make("text", model=where).reading
    (written,) = (tmp_path / "checks").glob("*.json")
    assert json.loads(written.read_text())["class_token"] is True
    selfcheck._REMEMBERED.clear()  # another process
    with remembered_in(tmp_path / "checks"):
        assert make("text", model=where).reading == first and len(passes) == 1
        selfcheck._REMEMBERED.clear()
        monkeypatch.setattr(selfcheck, "_versions", lambda: {"transformers": "6"})
        make("text", model=where)
        assert len(passes) == 2
        selfcheck._REMEMBERED.clear()
        for path in (tmp_path / "checks").glob("*.json"):
            path.write_text("{")
        assert make("text", model=where).reading == first and len(passes) == 3


def write_bert_at(tmp_path):
    folder = tmp_path / "bert"
    folder.mkdir()
    return str(write_bert(folder))


# Texts that are too long --------------------------------------------------------------------------------------------


def test_texts_that_are_cut_are_counted(bert):
    encoder = make("text", model=str(bert), context=60)
    assert encoder.remarks(TEXTS) == []
    long = stimuli_of(["fox", "dog " * 40, "lazy " * 61], "text")
    (sentence,) = encoder.remarks(long)
    assert "2 of 3 texts are longer than the 32 tokens" in sentence
    assert "(s1, ...; 38% of all tokens were not read)" in sentence  # 10 + 31 of 108
    (sentence,) = encoder.remarks(stimuli_of(["fox"] * 35, "word"))
    assert "the context of 5 of 35 words is longer than the 32 tokens" in sentence
