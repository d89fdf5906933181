import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.networks.zoo.rbtransformer import (
    BANDS,
    RBTransformer,
    attention_entropy,
    attention_rollout,
    band_entropy,
    gaussian_entropy,
)


def noise(n=2, channels=3, times=512, seed=0):
    return np.random.default_rng(seed).normal(size=(n, channels, times))


def tiny(**settings):
    torch.manual_seed(0)
    return RBTransformer(5, 2, **{"width": 16, "depth": 2, "n_heads": 2, "head_width": 8, **settings})


def test_white_noise_has_the_entropy_of_its_bands():
    expected = gaussian_entropy([2 * (high - low) / 128 for low, high in BANDS])
    np.testing.assert_allclose(expected, [0.0471, 0.3396, 1.0908, 1.1321], atol=1e-4)
    for zscore in ("window", "channel", "none"):
        tokens = band_entropy(noise(1, 4, 200_000), 128.0, zscore=zscore)
        # A Butterworth filter of order 5 passes 1.7 % more noise than its nominal band: 0.012 bits.
        np.testing.assert_allclose(tokens.mean(axis=(0, 1)), expected + 0.012, atol=0.01)
    short = band_entropy(noise(400, 4, 512), 128.0).mean(axis=(0, 1))
    assert short[0] == pytest.approx(-0.03, abs=0.03)  # the transient of the causal filter in 4 s


def test_a_gaussian_of_known_variance():
    assert gaussian_entropy(1.0) == pytest.approx(2.0471, abs=1e-4)
    assert gaussian_entropy(1 / (2 * np.pi * np.e)) == pytest.approx(0.0, abs=1e-12)


def test_twice_the_amplitude_is_one_bit_more():
    X = noise()
    kept = X.copy()
    once, twice = (band_entropy(k * X, 160.0, zscore="none") for k in (1, 2))
    np.testing.assert_allclose(twice - once, 1.0, atol=1e-6)
    np.testing.assert_allclose(band_entropy(2 * X, 160.0), band_entropy(X, 160.0), atol=1e-6)
    np.testing.assert_array_equal(X, kept)
    louder = X * np.array([1, 2, 1])[:, None]
    np.testing.assert_allclose(
        band_entropy(louder, 160.0, zscore="channel"), band_entropy(X, 160.0, zscore="channel"), atol=1e-6
    )
    assert once.shape == (2, 3, 4) and once.dtype == np.float32


@pytest.mark.parametrize("sfreq", [128.0, 160.0, 200.0, 1000.0])
@pytest.mark.parametrize("filtering", ["causal", "zero_phase"])
def test_filters_are_stable_and_follow_the_sampling_rate(sfreq, filtering):
    time = np.arange(int(20 * sfreq)) / sfreq
    sine = np.sin(2 * np.pi * 10 * time)[None, None] + 1e-3 * noise(1, 1, len(time))
    tokens = band_entropy(sine, sfreq, filtering=filtering)[0, 0]
    assert np.isfinite(tokens).all() and tokens.argmax() == 1
    assert tokens[1] == pytest.approx(2.047, abs=0.02)  # variance one after the z-score, all in alpha


def test_bad_input_is_refused():
    with pytest.raises(UserError, match=r"31-49 Hz .*\(40 Hz\)"):
        band_entropy(noise(), 80.0)
    flat = noise()
    flat[1, 2] = 5
    with pytest.raises(UserError, match="channel 2 of trial 1 is flat"):
        band_entropy(flat, 128.0)
    with pytest.raises(UserError, match="zscore"):
        band_entropy(noise(), 128.0, zscore="trial")
    with pytest.raises(UserError, match="filtering"):
        band_entropy(noise(), 128.0, filtering="none")
    with pytest.raises(UserError, match="n_trials"):
        band_entropy(noise()[0], 128.0)


@pytest.mark.parametrize(("electrodes", "classes", "count"), [(14, 2, 662_530), (62, 3, 668_803), (32, 2, 664_834)])
def test_parameter_counts_of_the_published_data_sets(electrodes, classes, count):
    net = RBTransformer(electrodes, classes)
    assert sum(weight.numel() for weight in net.parameters()) == count
    assert net(torch.zeros(2, electrodes, 4)).shape == (2, classes)


def test_names_are_those_of_published_checkpoints():
    names = set(RBTransformer(14, 2).state_dict())
    block = "intercortical_attention_blocks.3."
    assert {
        "bde_proj_layer.linear.weight",
        "electrode_id_embedding.embedding",
        *(f"{block}{part}.norm.weight" for part in ("attention", "feed_forward")),
        f"{block}attention.fn.to_qkv.weight",
        f"{block}attention.fn.to_out.0.bias",
        f"{block}feed_forward.fn.net.0.weight",
        f"{block}feed_forward.fn.net.3.weight",
        "classification_head.norm.weight",
        *(f"classification_head.mlp.{k}.weight" for k in (0, 3, 6, 9)),
    } <= names
    assert f"{block}attention.fn.to_qkv.bias" not in names


def test_every_weight_gets_a_gradient():
    net = tiny()
    torch.nn.functional.cross_entropy(net(torch.randn(6, 5, 4)), torch.arange(6) % 2).backward()
    assert [name for name, weight in net.named_parameters() if not weight.grad.abs().sum()] == []


def test_attention_is_electrode_by_electrode():
    net = tiny().eval()
    with pytest.raises(RuntimeError, match="forward pass"):
        net.attention()
    net(torch.randn(3, 5, 4))
    attention = net.attention()
    assert attention.shape == (2, 3, 2, 5, 5)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3, 2, 5))
    assert not attention.requires_grad
    assert not [name for name in net.state_dict() if name.endswith("weights")]


def test_electrodes_are_known_by_their_embedding_alone():
    net, order = tiny().eval(), torch.tensor([3, 0, 4, 1, 2])
    tokens = torch.randn(3, 5, 4)
    logits = net(tokens)
    attention = net.attention()
    assert not torch.allclose(net(tokens[:, order]), logits, atol=1e-4)
    with torch.no_grad():
        net.electrode_id_embedding.embedding.copy_(net.electrode_id_embedding.embedding[:, order].clone())
    torch.testing.assert_close(net(tokens[:, order]), logits)
    torch.testing.assert_close(net.attention(), attention[..., order, :][..., order])


def test_rollout_and_entropy():
    uniform, itself = np.full((2, 4, 4), 0.25), np.stack([np.eye(4)] * 2)
    np.testing.assert_allclose(attention_entropy(uniform), 1.0)
    np.testing.assert_allclose(attention_entropy(itself), 0.0)
    np.testing.assert_allclose(attention_rollout(itself), np.eye(4))
    # One block: half stays, half is spread; two blocks leave a quarter in place.
    np.testing.assert_allclose(attention_rollout(uniform[:1]), np.eye(4) / 2 + 0.125)
    np.testing.assert_allclose(attention_rollout(uniform), np.eye(4) / 4 + 0.75 / 4)
