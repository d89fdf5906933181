"""The stream's ratios and cosines: planted blocks, and networks whose own hidden states say the same."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from brainbench.lens.check import check_diagnostic, made_block
from brainbench.lens.diagnostics.stream import MORE, NORMALISED, _grown, diagnostic, stream, void
from brainbench.lens.measure import NOTHING, depths, measured
from brainbench.recipes.lens import DIAGNOSTICS
from tests.encoders.tiny import SENTENCES, images, make, stimuli_of, write_bert

NAMES = [column.name for column in diagnostic.columns]


def planted(attention, mlp, norm="pre"):
    """A block of which attention and MLP add what is planted to a random stream."""
    before = made_block().values["resid_pre"]
    a = attention(before)
    between = before + a
    m = mlp(between)
    values = {"resid_pre": before, "attn_out": a, "resid_mid": between, "mlp_out": m, "resid_post": between + m}
    return replace(made_block(norm=norm), values=values)


@pytest.mark.parametrize("name", sorted(DIAGNOSTICS))
def test_every_diagnostic_keeps_the_contract(name):
    assert DIAGNOSTICS[name].name == name
    check_diagnostic(DIAGNOSTICS[name])


@pytest.mark.parametrize(
    ("mlp", "ratio", "cosine"),
    [(lambda h: h, 1, 1), (lambda h: -2 * h, 2, -1), (torch.zeros_like, 0, np.nan)],
)
def test_what_is_planted_is_found(mlp, ratio, cosine):
    found = stream(planted(torch.zeros_like, mlp))
    for part, r, cos in (("attn", 0, np.nan), ("mlp", ratio, cosine), ("layer", ratio, cosine)):
        np.testing.assert_allclose(found[f"r_{part}"], r, rtol=1e-6, err_msg=part)
        np.testing.assert_allclose(found[f"cos_{part}"], cos, rtol=1e-6, err_msg=part)


def test_a_new_direction_has_cosine_0():
    def orthogonal(h):
        return torch.stack([h[..., 1], -h[..., 0], *(h[..., i] * 0 for i in range(2, 8))], -1)

    found = stream(planted(orthogonal, torch.zeros_like))
    assert found["cos_attn"].abs().max() < 1e-6 and found["r_attn"].min() > 0


def test_tokens_that_do_not_count_do_not_count():
    block = made_block()
    loud = {site: value.clone() for site, value in block.values.items()}
    for site in ("resid_pre", "resid_mid", "resid_post"):
        loud[site][:, 0] += 1000
    again = stream(replace(block, values=loud))
    for name, value in stream(block).items():
        torch.testing.assert_close(again[name], value)


def test_blocks_that_normalise_have_no_ratio_of_the_whole():
    """Planted at half the stream: .5 at both additions; what leaves the block, minus what came in, says .62."""
    draw = torch.Generator().manual_seed(1)
    h, a, m = (torch.randn(4, 200, 256, generator=draw) * size for size in (1, 0.5, 0.5))
    normed = torch.nn.LayerNorm(256, elementwise_affine=False)
    u = normed(h + a)
    values = {"resid_pre": h, "attn_out": a, "resid_mid": u, "mlp_out": m, "resid_post": normed(u + m)}
    found = stream(replace(made_block(4, 200, norm="post"), values=values))
    assert found["r_attn"].mean() == pytest.approx(0.5, abs=0.01)
    assert found["r_mlp"].mean() == pytest.approx(0.5, abs=0.01)
    naive = ((values["resid_post"] - h).norm(dim=-1) / h.norm(dim=-1)).mean()
    assert naive > 0.6 and found["r_layer"] == found["cos_layer"] == found["void_80"] == NORMALISED


def test_a_stream_that_is_no_sum_is_left_empty():
    block = made_block()
    values = {**block.values, "resid_post": 1.1 * block.values["resid_post"]}
    assert stream(replace(block, values=values)) == dict.fromkeys(NAMES, MORE)


def along(norms):
    """A block, and how much of the stream it adds, of every growth of a token whose norm is `norms`."""
    carry = {}
    for before, after in pairwise(norms):
        values = {
            "resid_pre": torch.full((1, 1, 1), float(before)), "resid_post": torch.full((1, 1, 1), float(after)),
        }  # fmt: skip
        one = torch.ones(1, 1, dtype=torch.bool)
        block = replace(made_block(), values=values, keep=one, real=one, inside=one, carry=carry)
        yield block, torch.tensor([[abs(after - before) / before]])


def flagged(norms, name, **how):
    return [bool(void(block, ratio, **how)[name]) for block, ratio in along(norms)]


def thresholds(norms, inclusive=False):
    return [0.8 * float(_grown(block)[2 if inclusive else 1]) for block, _ in along(norms)]


def test_void_is_a_growth_below_a_share_of_the_range_before():
    """T4 and T5: thresholds 0, 0, .8, 1.6, 1.6; after one massive norm everything is void, also what adds much."""
    norms = [1, 2, 4, 4, 5, 3]
    assert flagged(norms, "void_80") == [False, False, True, True, True]
    assert flagged(norms, "void_80", inclusive=True) == [False, False, True, True, True]
    for name, at_growth_1 in (("void_50", False), ("void_70", True), ("void_90", True)):  # thresholds 1, 1.4, 1.8
        assert flagged(norms, name) == [False, False, True, at_growth_1, True]
    assert thresholds(norms) == pytest.approx([0, 0, 0.8, 1.6, 1.6])
    assert thresholds(norms, inclusive=True) == pytest.approx([0, 0.8, 1.6, 1.6, 3.2])
    massive = [1, 2, 1000, 1002, 1010, 1030, 1200]
    assert thresholds(massive)[2:] == pytest.approx([797.6] * 4)
    assert flagged(massive, "void_80") == [False, False, True, True, True, True]
    assert flagged(massive, "void_disagrees") == [False] * 5 + [True]  # 1030 -> 1200: more than a tenth


def over(tokens):
    return np.array([row.mean() for row in tokens])


def test_a_vision_network_agrees_with_its_own_hidden_states():
    encoder, pictures = make("image", model="test_vit", weights="random", image_size=64, batch_size=2), images(5)
    found = measured(encoder, [(pictures, [0, 2]), (pictures, [3])], [diagnostic])["stream"]
    n_blocks = len(encoder.taps) - 1
    assert found.values.shape == (11, n_blocks, 3) and found.reasons == [""] * 11
    np.testing.assert_allclose(depths(encoder), (np.arange(n_blocks) + 0.5) / n_blocks)
    with torch.inference_mode():
        x = encoder.inputs(pictures, [0, 2, 3]).args[0]
        states = encoder.network.forward_intermediates(x, intermediates_only=True, output_fmt="NLC", norm=False)
    for block in range(1, n_blocks):  # patch tokens alone: the class token is none of the stimulus's places
        before, after = states[block - 1], states[block]
        added = after - before
        np.testing.assert_allclose(
            found.values[NAMES.index("r_layer"), block], over(added.norm(dim=-1) / before.norm(dim=-1)), rtol=1e-4
        )
        cosine = torch.nn.functional.cosine_similarity(added, before, dim=-1)
        np.testing.assert_allclose(found.values[NAMES.index("cos_layer"), block], over(cosine), atol=1e-5)


def test_a_language_network_is_read_without_its_special_tokens(tmp_path):
    texts = stimuli_of(SENTENCES, "text")
    encoder = make("text", model=str(write_bert(tmp_path)), batch_size=2)
    found = measured(encoder, [(texts, range(5))], [diagnostic])["stream"]
    assert [reason for reason in found.reasons if reason] == [NORMALISED] * 7
    for row, sentence in enumerate(SENTENCES):
        tokens = encoder.tokenizer(sentence, return_tensors="pt")
        with torch.inference_mode():
            h = encoder.network(**tokens, output_hidden_states=True).hidden_states
            for block, layer in enumerate(encoder.network.encoder.layer):
                a = layer.attention.output.dense(layer.attention.self(h[block])[0])
                u = layer.attention.output.LayerNorm(h[block] + a)
                m = layer.output.dense(layer.intermediate(u))
                for name, added, to in (("attn", a, h[block]), ("mlp", m, u)):
                    ratio = (added.norm(dim=-1) / to.norm(dim=-1))[0, 1:-1].mean()  # without [CLS] and [SEP]
                    cosine = torch.nn.functional.cosine_similarity(added, to, dim=-1)[0, 1:-1].mean()
                    assert found.values[NAMES.index(f"r_{name}"), block, row] == pytest.approx(float(ratio), rel=1e-4)
                    assert found.values[NAMES.index(f"cos_{name}"), block, row] == pytest.approx(
                        float(cosine), abs=1e-5
                    )
    assert np.isnan(found.values[NAMES.index("r_layer")]).all()


def test_networks_without_the_sites_say_so():
    encoder = make("image", model="resnet18", weights="random", image_size=32)
    found = measured(encoder, [(images(2), [0, 1])], [diagnostic])["stream"]
    assert found.values.shape == (11, 0, 2) and all(
        "'attn_out' is not known for ResNet" in one for one in found.reasons
    )
    assert NOTHING not in found.reasons
