"""What is read off a block: the network's own readout against the library's logits, and planted labels (T15, T16)."""

import numpy as np
import pytest
import timm
import torch
import transformers

from brainbench.lens.base import Looked
from brainbench.lens.diagnostics.content import (
    FEW,
    NO_LABELS,
    NO_WORDS,
    across,
    concept,
    depth90,
    diagnostic,
    jump,
    lens,
)
from brainbench.lens.measure import measured
from brainbench.lens.readout import TIED, Readout, readout_of
from tests.encoders.tiny import SENTENCES, images, make, stimuli_of, write_bert, write_gpt2

NAMES = [column.name for column in diagnostic.columns]


def planted(n_blocks=6, at=3, n=100, n_words=100, size=6.0):
    """States to which the target's direction is added at block `at`, and what reads them."""
    draw = torch.Generator().manual_seed(0)
    states = 0.1 * torch.randn(n, n_words, generator=draw).expand(n_blocks, -1, -1).clone()
    target = torch.randint(n_words, (n,), generator=draw)
    states[at:, torch.arange(n), target] += size
    return list(states), Readout("words", lambda tokens, _real: tokens[:, -1], lambda state: state), target


def test_what_is_written_at_a_block_is_read_from_there_on():
    states, readout, target = planted()
    found = lens(states, Looked(readout=readout, group=[int(target[0])]))
    here, end = (one.double().softmax(-1) for one in (states[0], states[-1]))
    forth, back = ((p * (p / q).log()).sum(-1) for p, q in ((here, end), (end, here)))
    torch.testing.assert_close(found["lens_kl"][0].double(), forth, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["lens_kl_reverse"][0].double(), back, rtol=1e-4, atol=1e-5)
    assert (forth - back).abs().mean() > 0.5  # the direction matters
    for name in ("lens_kl", "lens_kl_reverse"):
        assert found[name][3:].max() == 0 and found[name][:3].min() > 1
    assert found["lens_top5"][3:].min() == 1 and found["lens_top1"][3:].min() == 1
    assert found["lens_top1"][0].mean() < 0.1 and (found["committed"] == found["lens_top1"]).all()
    torch.testing.assert_close(found["group_mass"][5, 0].double(), end[0, target[0]])
    assert lens(states, Looked(readout=readout))["group_mass"] == NO_WORDS


def test_commitment_is_the_first_block_from_which_nothing_changes():
    said = torch.tensor([2, 1, 2, 2, 1, 2])  # what is said block by block; 2 at the end
    states = [torch.nn.functional.one_hot(word, 4).float().unsqueeze(0) for word in said]
    found = lens(states, Looked(readout=Readout("words", None, lambda state: state)))
    assert found["lens_top1"][:, 0].tolist() == [1, 0, 1, 1, 0, 1]
    assert found["committed"][:, 0].tolist() == [0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("kind", sorted(TIED))
def test_the_readout_of_the_last_block_is_the_network_s_own(kind):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
             "num_key_value_heads": 1, "vocab_size": 50, "tie_word_embeddings": True}  # fmt: skip
    if kind == "gpt2":
        sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 50, "n_positions": 16}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(kind, **sizes)).eval()
    blocks = whole.base_model.h if kind == "gpt2" else whole.base_model.layers
    found = {}
    handle = blocks[-1].register_forward_hook(lambda _module, _args, out: found.update(state=out))
    ids, mask = torch.arange(4, 16).reshape(2, 6), torch.ones(2, 6).long()
    mask[1, 4:] = 0
    with torch.inference_mode():
        logits = whole(input_ids=ids, attention_mask=mask).logits
        state = found["state"] if torch.is_tensor(found["state"]) else found["state"][0]
        readout = readout_of(whole.base_model)
        read = readout.logits(readout.state(state, mask.bool()))
    handle.remove()
    torch.testing.assert_close(read, logits[torch.arange(2), torch.tensor([5, 3])], rtol=1e-4, atol=1e-5)
    whole.config.tie_word_embeddings = False
    assert "no part of what is read" in readout_of(whole.base_model).why


@pytest.mark.parametrize("pooling", ["token", "avg"])
def test_the_readout_of_a_vision_network_is_its_classifier(pooling):
    network = timm.create_model("test_vit", img_size=32, num_classes=7, global_pool=pooling).eval()
    torch.nn.init.normal_(network.head.weight)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        state = network.forward_intermediates(x, intermediates_only=True, output_fmt="NLC", norm=False,
                                              return_prefix_tokens=True)[-1]  # fmt: skip
        tokens = torch.cat([state[1], state[0]], 1)
        readout = readout_of(network)
        read = readout.logits(readout.state(tokens, torch.ones(tokens.shape[:2]).bool()))
        torch.testing.assert_close(read, network(x), rtol=1e-4, atol=1e-5)
    assert readout_of(timm.create_model("test_vit", num_classes=0)).why == "VisionTransformer has no classifier"
    assert "not known" in readout_of(timm.create_model("test_resnet")).why


def test_a_label_that_needs_a_nonlinearity_appears_where_it_is_computed():
    """T16: the exclusive or of two bits of the stream, written at block 3."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (200, 2))
    states = []
    for block in range(6):
        xor = (bits[:, :1] ^ bits[:, 1:]) * (block >= 3)
        states.append(np.hstack([bits, xor, rng.normal(0, 0.1, (200, 3))]))
    found = concept(states, Looked(labels=bits[:, 0] ^ bits[:, 1]))
    curve = found["concept"].numpy().mean(1)
    assert curve[:3] == pytest.approx(0.5, abs=0.12) and (curve[3:] == 1).all()
    control = found["concept_control"].numpy().mean(1)
    assert control == pytest.approx(0.5, abs=0.12)
    np.testing.assert_allclose(found["selectivity"].numpy().mean(1), curve - control)
    assert depth90(curve, 0.5) == 4 / 6 and jump(curve) == 3  # the tap behind block 3
    assert np.isnan(jump(np.array([0.9, 0.95, 0.94])))


def test_rare_classes_count_as_much_and_runs_stay_together():
    rng = np.random.default_rng(1)
    labels = np.array(["a"] * 90 + ["b"] * 10)
    found = concept([rng.normal(size=(100, 3))], Looked(labels=labels))["concept"].numpy()[0]
    right = found > 0
    assert found.mean() == pytest.approx((right[:90].mean() + right[90:].mean()) / 2)
    # Every run has a feature of its own that gives its label away: worth nothing for other runs.
    runs = np.repeat(np.arange(20), 5)
    labels = np.repeat(rng.permutation(20) % 2, 5)
    own = np.eye(20)[runs]
    apart = concept([own], Looked(labels=labels, runs=runs))["concept"].numpy().mean()
    mixed = concept([own], Looked(labels=labels))["concept"].numpy().mean()
    assert mixed == 1 and apart < 0.7
    assert concept([own], Looked(labels=np.array(["a"] * 97 + ["b"] * 3)))["concept"] == FEW


def test_networks_are_read_off(tmp_path):
    texts = stimuli_of(SENTENCES, "text")
    gpt2 = make("text", model=str(write_gpt2(tmp_path)), batch_size=2)
    found = measured(gpt2, [(texts, range(5))], [diagnostic], Looked(group=[3, 4]))["content"]
    whole = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    kl, mass = (found.values[NAMES.index(name)] for name in ("lens_kl", "group_mass"))
    assert kl[-1].max() == 0 and kl[0].min() > 0
    for row, sentence in enumerate(SENTENCES):
        with torch.inference_mode():
            logits = whole(**gpt2.tokenizer(sentence, return_tensors="pt")).logits[0, -1]
        assert mass[-1, row] == pytest.approx(float(logits.softmax(-1)[[3, 4]].sum()), rel=1e-4)
    (tmp_path / "bert").mkdir()
    bert = make("text", model=str(write_bert(tmp_path / "bert")))
    found = measured(bert, [(texts, range(5))], [diagnostic])["content"]
    assert found.reasons[NAMES.index("lens_kl")] == "BertModel is read without an output layer"
    assert found.reasons[NAMES.index("concept")] == NO_LABELS
    resnet = make("image", model="test_resnet", weights="random", image_size=32)
    pictures = images(12)
    labels = np.array(["x", "y"] * 6)
    found = measured(resnet, [(pictures, range(12))], [diagnostic], Looked(labels=labels))["content"]
    assert np.isfinite(found.values[NAMES.index("concept")]).all()


def test_without_anything_known_every_column_has_a_reason():
    found = across({"pooled": [torch.zeros(4, 2)]}, Looked(why_no_readout="none"))
    assert set(found) == set(NAMES) and all(isinstance(value, str) for value in found.values())
