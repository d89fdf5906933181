"""Units and tokens: planted sparsity, massive values, smoothing and clusters (T11 to T14 of the lens's oracles)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import gelu

from brainbench.lens.base import Looked
from brainbench.lens.check import made_block
from brainbench.lens.diagnostics.units import (
    FEW_TOKENS,
    SAMPLE,
    SMOOTH,
    across,
    clustered_entropy,
    effective_rank,
    gaussian_ratio,
    origin,
    similarity,
    units,
)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def block_of(act=None, stream=None, *, rectified=True, out_norm=None):
    values = dict(made_block(2, 4).values)
    n_tokens = (act if act is not None else stream).shape[1]
    every = torch.ones(2, n_tokens, dtype=torch.bool)
    act = torch.ones(2, n_tokens, 6) if act is None else act
    stream = drawn(2, n_tokens, 8) if stream is None else stream
    values |= {"mlp_act": act, "resid_post": stream, "attn_out": stream * 0.1, "mlp_out": stream * 0.9}
    return replace(
        made_block(), values=values, keep=every, real=every, inside=every, rectified=rectified,
        out_norm=torch.ones(act.shape[-1]) if out_norm is None else out_norm,
    )  # fmt: skip


def test_sparsity_of_relu_is_what_its_bias_makes_it():
    """T12: normal values below 1.2816 are cut off, so that a tenth is left; through GELU no unit is off."""
    before = drawn(2, 50, 2000) - 1.2816
    found = units(block_of(before.relu()))
    assert found["active_exact"].numpy() == pytest.approx(0.1, abs=0.005)
    smooth = units(block_of(gelu(before), rectified=False))
    assert smooth["active_exact"] == SMOOTH
    flat = gelu(before).abs().flatten(1).numpy()
    limit = 0.01 * np.quantile(flat, 0.999, axis=1, method="nearest")
    np.testing.assert_allclose(smooth["active_rel"], (flat > limit[:, None]).mean(1), atol=1e-6)


def test_sparsity_of_one_unit_and_of_all_alike():
    one = torch.zeros(2, 5, 40)
    one[..., 7] = 3.0
    found = units(block_of(one))
    assert found["hoyer"].tolist() == pytest.approx([1, 1]) and found["n95"].tolist() == pytest.approx([1 / 40] * 2)
    alike = units(block_of(torch.full((2, 5, 40), 2.0)))
    assert alike["hoyer"].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert alike["n95"].tolist() == pytest.approx([38 / 40] * 2)
    # What is written counts, not what is active: a unit whose output weights are 0 holds nothing.
    loud = torch.ones(2, 5, 4)
    loud[..., 0] = 100
    assert units(block_of(loud, out_norm=torch.tensor([0.0, 1, 1, 1])))["n95"].tolist() == [3 / 4] * 2


def test_a_massive_value_is_found_where_it_stands():
    """T13: 1000 among normal values of 197 x 768."""
    stream = drawn(2, 197, 768)
    stream[:, 5, 77] = 1000.0
    found = units(block_of(stream=stream))
    np.testing.assert_allclose(found["massive_ratio"], 1000 / 0.6745, rtol=0.01)
    np.testing.assert_allclose(found["massive_excess"], 220, rtol=0.03)
    assert found["massive_token"].tolist() == [5, 5] and found["massive_feature"].tolist() == [77, 77]
    plain = units(block_of(stream=drawn(2, 197, 768, seed=1)))
    np.testing.assert_allclose(plain["massive_excess"], 1, rtol=0.15)


@pytest.mark.parametrize("n", [1000, 20_000])
def test_what_normal_values_alone_would_give(n):
    size = drawn(400 if n == 1000 else 60, n).abs().numpy()
    assert gaussian_ratio(n) == pytest.approx((size.max(1) / np.median(size, axis=1)).mean(), rel=0.02)


def test_tokens_that_look_like_the_first():
    stream = drawn(2, 6, 8)
    stream[:, 3] = 2 * stream[:, 0]
    block = block_of(stream=stream)
    keep = torch.zeros(2, 6, dtype=torch.bool)
    keep[:, 3] = True
    assert units(replace(block, keep=keep))["first_token_cos"].numpy() == pytest.approx(1)
    keep[:, 4] = True
    cosine = torch.nn.functional.cosine_similarity(stream[:, 4], stream[:, 0], dim=-1)
    torch.testing.assert_close(units(replace(block, keep=keep))["first_token_cos"], (1 + cosine) / 2)


def test_padding_is_no_value():
    block = block_of(stream=drawn(2, 6, 8))
    real = block.real.clone()
    real[1, 4:] = False
    padded = units(replace(block, real=real, keep=real))
    short = units(block_of(stream=block["resid_post"][:, :4]))
    for name in ("massive_ratio", "massive_excess", "massive_token"):
        assert padded[name][1] == pytest.approx(short[name][1]), name


def test_the_origin_is_the_first_block_with_half_of_the_final_size():
    peak = torch.ones(5, 2, 3)
    peak[:, 0, 2] = torch.tensor([1.0, 4, 51, 90, 100])
    peak[:, 1, 0] = torch.tensor([2.0, 49, 49, 60, 100])
    by_mlp = torch.zeros(5, 2, 3, dtype=torch.bool)
    by_mlp[2, 0, 2] = True
    found = origin(peak, by_mlp)
    assert found["origin_mlp"].nonzero().tolist() == [[2, 0]] and found["origin_attn"].nonzero().tolist() == [[3, 1]]


def test_smoothing_follows_its_closed_form():
    """T11: x <- x / 2 + mean / 2 with tokens mu + delta; without the mean token cosines stay where they were."""
    n, d, b = 40, SAMPLE, 0.5
    mu, delta = drawn(1, 1, 400) * 1.0, drawn(n, d, 400, seed=2)
    delta = delta - delta.mean(1, keepdim=True)
    size = float(mu.square().sum())
    spread = float(delta.square().sum(-1).mean())
    layers, expected, x = [], [], mu + delta
    for step in range(6):
        layers.append(x)
        x = (1 - b) * x + b * x.mean(1, keepdim=True)
        v = spread * (1 - b) ** (2 * step)
        expected.append((size - v / (d - 1)) / (size + v))
    found = similarity(torch.stack(layers), 0)
    np.testing.assert_allclose(found["token_cos"].mean(1), expected, atol=1e-3)
    np.testing.assert_allclose(found["token_cos_centred"].mean(1), -1 / (d - 1), atol=2e-3)
    same = similarity(torch.ones(1, 2, SAMPLE, 8), 0)
    assert same["token_cos"].numpy() == pytest.approx(1) and same["eff_rank"].numpy() == pytest.approx(1, abs=1e-3)
    apart = similarity(torch.eye(SAMPLE).expand(1, 2, -1, -1), 0)
    assert apart["token_cos"].abs().max() < 1e-6 and apart["eff_rank"].numpy() == pytest.approx(SAMPLE)


def test_effective_rank_by_singular_values():
    tokens = drawn(3, SAMPLE, 30).double() @ drawn(30, 30, seed=5).double()
    for row, value in zip(tokens.numpy(), effective_rank(tokens), strict=True):
        share = np.linalg.svd(row, compute_uv=False)
        share /= share.sum()
        assert float(value) == pytest.approx(np.exp(-(share * np.log(share)).sum()))


def test_the_entropy_of_equal_clusters():
    """T14: eight equal clusters; more clusters than there are is another number."""
    centres = 100 * drawn(8, 20).double()
    tokens = centres.repeat(40, 1) + 0.01 * drawn(320, 20, seed=3).double()
    assert clustered_entropy(tokens, 8, 0) == pytest.approx(1)
    assert 2.2 < clustered_entropy(tokens, 20, 0) * np.log(20) < np.log(20)
    assert clustered_entropy(torch.ones(50, 4).double(), 8, 0) == 0


def test_few_tokens_are_left_empty():
    block = made_block()
    kept = {name: [value] for name, value in units(block).items() if name in ("peak", "by_mlp", "sample")}
    found = across(kept, Looked())
    assert found["token_cos"] == found["act_entropy"] == FEW_TOKENS and found["origin_mlp"].shape == (1, 3)
