"""Attention's numbers: patterns with known values (T7 to T10 of the lens's oracles), and networks' own attention."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from brainbench.lens.check import made_block
from brainbench.lens.diagnostics.attention import NO_SENSORS, NOT_A_SEQUENCE, _entropy, attention, diagnostic
from brainbench.lens.measure import measured
from tests.encoders.tiny import SENTENCES, images, make, stimuli_of, write_bert, write_gpt2

N = 196
NAMES = [column.name for column in diagnostic.columns]
UNIFORM = torch.full((N, N), 1 / N)
SINK = torch.zeros(N, N).index_fill(1, torch.tensor([3]), 1.0)
RING = sum(torch.eye(N).roll(step, 1) for step in (-1, 0, 1)) / 3


def of(*heads, inside=None, **places):
    """What is found of heads with these patterns."""
    pattern = torch.stack(heads).unsqueeze(0)
    every = torch.ones(1, pattern.shape[-1], dtype=torch.bool)
    inside = every if inside is None else inside
    block = replace(made_block(), values={"pattern": pattern}, keep=inside, real=every, inside=inside, places=places)
    return {name: value if isinstance(value, str) else float(value) for name, value in attention(block).items()}


def causal(n):
    below = torch.ones(n, n).tril()
    return below / below.sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("pattern", "nmi", "entropy"),
    [(UNIFORM, 0, 1), (torch.eye(N), 1, 0), (SINK, 0, 0), (RING, 1 - np.log(3) / np.log(N), np.log(3) / np.log(N))],
)
def test_mutual_information_of_known_patterns(pattern, nmi, entropy):
    found = of(pattern)
    assert found["nmi"] == pytest.approx(nmi, abs=1e-5) and found["attn_entropy"] == pytest.approx(entropy, abs=1e-5)
    assert found["eff_window"] == pytest.approx(N ** (1 - nmi) / N, abs=1e-4)


def test_heads_are_told_apart():
    found = of(UNIFORM, torch.eye(N), RING)
    assert (found["nmi_low"], found["nmi_high"]) == pytest.approx((0, 1), abs=1e-5)
    assert found["nmi"] == pytest.approx((1 + 0.7919) / 3, abs=1e-4)


@pytest.mark.parametrize(("n", "expected"), [(16, 0.191), (64, 0.139), (196, 0.112)])
def test_a_mask_alone_has_mutual_information(n, expected):
    found = of(causal(n), tokens=torch.arange(float(n)).unsqueeze(1))
    assert found["nmi"] == pytest.approx(expected, abs=5e-4) and found["nmi_mask"] == pytest.approx(found["nmi"])
    assert found["distance"] == pytest.approx((n - 1) / 4, rel=1e-5)
    assert of(RING)["nmi_mask"] == 0


@pytest.mark.parametrize(("mass", "nmi"), [(0.5, 0.497), (0.9, 0.197)])
def test_a_sink_lowers_mutual_information_and_is_taken_out(mass, nmi):
    found = of((1 - mass) * RING + mass * SINK)
    assert found["nmi"] == pytest.approx(nmi, abs=1e-3)
    assert found["nmi_no_sink"] == pytest.approx(of(RING)["nmi_no_sink"], abs=1e-4)
    others = N - 1
    received = (others * mass + 2 * (1 - mass) / 3) / others  # two neighbours look at it besides
    assert found["sink_mass"] == pytest.approx(received, rel=1e-5)


def test_without_the_most_attended_key_by_brute_force():
    pattern = torch.rand(9, 9, generator=torch.Generator().manual_seed(0)).softmax(-1).double()
    top = int(pattern.mean(0).argmax())
    rest = torch.cat([pattern[:, :top], pattern[:, top + 1 :]], 1)
    rest = rest / rest.sum(1, keepdim=True)
    keys = rest.mean(0)
    joint = rest / 9
    information = float((joint * (joint / (keys / 9)).log()).sum())
    expected = information / np.sqrt(np.log(9) * float(-(keys * keys.log()).sum()))
    assert of(pattern)["nmi_no_sink"] == pytest.approx(expected, rel=1e-6)


def test_distances_on_a_grid_and_along_a_text():
    grid = torch.cartesian_prod(torch.arange(14.0), torch.arange(14.0))
    assert of(UNIFORM, patches=grid)["distance"] == pytest.approx(7.2808, abs=1e-3)
    assert of(torch.eye(N), patches=grid)["distance"] == 0
    heads = of(UNIFORM, torch.eye(N), patches=grid)
    assert (heads["distance_low"], heads["distance_high"]) == pytest.approx((0, 7.2808), abs=1e-3)
    assert heads["distance"] == pytest.approx(7.2808 / 2, abs=1e-3)
    found = of(UNIFORM)
    assert found["distance"] == NOT_A_SEQUENCE and found["lag_ms"] == NO_SENSORS


def test_distances_of_sensors_are_centimetres_and_lags():
    """T10: sensors on a ring of radius 9 cm at two times; every token looks at its neighbour at the same time."""
    n = 8
    angle = torch.arange(n) * 2 * torch.pi / n
    ring = 9 * torch.stack([angle.cos(), angle.sin(), angle * 0], 1)
    neighbour = torch.eye(n).roll(1, 1)
    pattern = torch.block_diag(neighbour, neighbour)
    found = of(pattern, cm=ring.repeat(2, 1), ms=torch.tensor([0.0] * n + [250.0] * n).unsqueeze(1))
    assert found["distance_cm"] == pytest.approx(2 * 9 * np.sin(np.pi / n), rel=1e-5) and found["lag_ms"] == 0
    later = torch.zeros(2 * n, 2 * n)
    later[:n, n:] = later[n:, :n] = torch.eye(n)  # the same sensor at the other time
    found = of(later, cm=ring.repeat(2, 1), ms=torch.tensor([0.0] * n + [250.0] * n).unsqueeze(1))
    assert found["distance_cm"] == 0 and found["lag_ms"] == 250


def test_tokens_that_stand_for_nothing_are_cut_away():
    inside = torch.ones(1, N + 2, dtype=torch.bool)
    inside[0, [0, -1]] = False
    wide = torch.full((N + 2, N + 2), 0.25)
    wide[1:-1, 1:-1] = 0.5 * RING
    cut, alone = of(wide, inside=inside), of(RING)
    scattered = inside.clone()
    scattered[0, 7] = False
    for name in ("nmi", "nmi_no_sink", "attn_entropy", "eff_window"):
        assert cut[name] == pytest.approx(alone[name], abs=1e-5), name
    assert of(wide, inside=scattered)["nmi"] != cut["nmi"]


def test_a_network_of_pictures_agrees_with_its_own_attention():
    encoder, pictures = make("image", model="test_vit", weights="random", image_size=64, batch_size=2), images(3)
    found = measured(encoder, [(pictures, range(3))], [diagnostic])["attention"]
    assert {NAMES[i] for i, reason in enumerate(found.reasons) if reason} == {"distance_cm", "lag_ms"}
    x = encoder.inputs(pictures, range(3)).args[0]
    patterns = []
    attn = encoder.network.blocks[2].attn
    with torch.inference_mode():
        handle = attn.register_forward_pre_hook(lambda _module, args: patterns.append(args[0]))
        encoder.network(x)
        handle.remove()
        n, T, _ = patterns[0].shape
        q, k, _ = attn.qkv(patterns[0]).reshape(n, T, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
        P = (q @ k.transpose(2, 3) * attn.scale).softmax(-1)
    A = P[:, :, 1:, 1:]
    A = A / A.sum(-1, keepdim=True)
    grid = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))
    apart = torch.cdist(grid, grid)
    expected = (A * apart).sum(-1).mean((1, 2))
    np.testing.assert_allclose(found.values[NAMES.index("distance"), 2], expected, rtol=1e-4)
    entropy = -(A * A.log()).sum(-1).mean((1, 2)) / np.log(16)
    np.testing.assert_allclose(found.values[NAMES.index("attn_entropy"), 2], entropy, rtol=1e-4)
    others = (P.sum(2) - P.diagonal(dim1=2, dim2=3)) / 16  # the class token is among those that may be a sink
    np.testing.assert_allclose(found.values[NAMES.index("sink_mass"), 2], others.amax(-1).mean(1), rtol=1e-4)


@pytest.mark.parametrize("write", [write_bert, write_gpt2])
def test_padding_and_company_change_nothing(write, tmp_path):
    texts = stimuli_of(SENTENCES, "text")
    alone = make("text", model=str(write(tmp_path)), batch_size=1)
    together = make("text", model=str(tmp_path), batch_size=5)
    one, five = (measured(e, [(texts, range(5))], [diagnostic])["attention"] for e in (alone, together))
    np.testing.assert_allclose(one.values, five.values, rtol=1e-3, atol=1e-5)
    mask = one.values[NAMES.index("nmi_mask"), 0]
    assert ((mask[np.isfinite(mask)] > 0) == (write is write_gpt2)).all()


def test_attention_that_is_no_number_has_no_entropy():
    p = torch.tensor([[0.5, 0.5, 0.0], [float("nan"), 0.5, 0.5]])
    found = _entropy(p)
    assert found[0].item() == pytest.approx(np.log(2)) and found[1].isnan()
