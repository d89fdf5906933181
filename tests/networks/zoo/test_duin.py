import math

import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.networks.pipelines import Given, duin
from brainbench.networks.weights import seeded
from brainbench.networks.zoo.duin import (
    DuInClassifier,
    DuInCodec,
    DuInMasked,
    DuInShape,
    DuInTrials,
    half_mask,
    shifted,
)
from brainbench.recipes.pipelines import DuinSettings

SMALL = DuInShape(
    n_channels=4, n_subjects=2, patch=20, n_neural=6, n_filters=8, depth=2, decoder_depth=1, n_heads=2, head_width=4,
    n_codes=16, code_width=5, n_positions=12,
)  # fmt: skip


def signals(n=8, times=120, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, times, generator=g), torch.randint(2, (n,), generator=g)


def trainable(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def test_the_released_networks_have_their_size():
    assert round(trainable(DuInCodec()) / 1e6, 2) == 5.80
    assert round(trainable(DuInMasked()) / 1e6, 2) == 3.89
    # The published count of 4.38 M has positions, the codebook that is not used, and a contrastive head besides.
    besides = 30 * 160 + 25_760 + 10_304 + 2048 * 65 + 1 + 128 + 10_400 + 2 * (160 * 32 + 32) + 1
    assert round((trainable(DuInClassifier(61)) + besides) / 1e6, 2) == 4.38


def test_shapes():
    network, (x, subject) = DuInCodec(SMALL), signals()
    assert network(x, subject)[0].shape == x.shape
    network.eval()
    assert network.codes(x, subject).shape == (8, 6)
    assert torch.equal(network.codes(x, subject), network.codes(x, subject))
    assert DuInClassifier(3, 6, SMALL)(x, subject).shape == (8, 3)
    full = DuInClassifier(61)
    assert full.patches(torch.zeros(1, 10, 3000), torch.tensor([0])).shape == (1, 30, 160)


def test_every_participant_has_a_matrix():
    network, (x, _) = DuInCodec(SMALL), signals()
    layer = network.subj_block
    subject = torch.tensor([0, 1] * 4)
    column = layer.subj_layer["W"].weight[:, 1].reshape(4, 6)
    expected = x[1].T @ column + layer.subj_layer["B"].weight[:, 1]
    torch.testing.assert_close(layer(x.transpose(1, 2), subject)[1], expected)
    weights = network.channel_weights()
    torch.testing.assert_close(weights[1], column.abs().mean(1) / column.abs().mean(1).max())


def test_every_token_is_hidden_once():
    mask = half_mask(50, 6)
    assert (mask.sum(1) == 3).all() and 0.2 < mask.float().mean(0).min()
    network, (x, subject) = DuInMasked(SMALL).eval(), signals()
    mask = half_mask(8, 6)
    tokens = network.patches(x, subject)
    changed = torch.where(mask[..., None], tokens + 5, tokens)
    # A token does not see itself: what it says of itself is the same, whatever it is.
    network.patches = lambda *_: tokens
    one = network(x, subject, mask)
    for row, place in ((0, 0), (3, 4)):
        other = tokens.clone()
        other[row, place] += 5
        network.patches = lambda *_, other=other: other
        torch.testing.assert_close(network(x, subject, mask)[row, place], one[row, place])
    network.patches = lambda *_: changed
    assert not torch.allclose(network(x, subject, mask), one)


def test_the_loss_of_masked_codes_starts_at_chance():
    torch.manual_seed(0)
    x, subject = signals(n=128)
    start = DuInMasked(SMALL).terms(x, subject, torch.randint(16, (128, 6)))["cross-entropy"]
    assert start.item() == pytest.approx(math.log(16), abs=0.05)


def test_the_codec_learns():
    torch.manual_seed(0)
    network, (_, subject) = DuInCodec(SMALL), signals(n=32)
    cycles = torch.arange(120) / 20 * torch.tensor([0.5, 1, 2, 3])[:, None]
    x = torch.sin(2 * math.pi * (cycles + torch.rand(32, 1, 1)))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        terms = network.terms(x, subject)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        losses.append(terms["reconstruction"].item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("samples", [0, 3, -3])
def test_shifts(samples):
    x = torch.arange(1.0, 11)
    expected = {0: x, 3: torch.tensor([0.0, 0, 0, *range(1, 8)]), -3: torch.tensor([*range(4, 11), 0.0, 0, 0])}
    torch.testing.assert_close(shifted(x, samples), expected[samples].float())


def test_what_does_not_fit_is_refused():
    network = DuInCodec(SMALL)
    with pytest.raises(UserError, match="4 channels in patches of 20 samples, not 3 channels of 120"):
        network(torch.zeros(2, 3, 120), torch.zeros(2, dtype=torch.long))
    with pytest.raises(UserError, match="13 tokens, the network has 12 positions"):
        network(torch.zeros(2, 4, 260), torch.zeros(2, dtype=torch.long))
    with pytest.raises(UserError, match="2 vectors for 16 codes"):
        network(torch.zeros(1, 4, 40), torch.zeros(1, dtype=torch.long))


def test_the_classifier_of_trials_is_the_published_one_on_whole_tokens():
    sizes = {"n_neural": 4, "n_filters": 8, "depth": 2, "n_heads": 2, "head_width": 8}
    with seeded(0):
        whole = DuInClassifier(3, 5, DuInShape(n_channels=6, patch=20, n_positions=5, **sizes)).eval()
    with seeded(0):
        network = DuInTrials(6, 113, 3, patch=20, **sizes).eval()
    x = torch.randn(2, 6, 113)
    expected = whole(x[..., :100], torch.zeros(2, dtype=torch.long))
    torch.testing.assert_close(network(x), expected)
    torch.testing.assert_close(network.channel_weights(), whole.channel_weights()[0])
    with pytest.raises(UserError, match="a token of 200 samples does not fit into trials of 113"):
        DuInTrials(6, 113, 3, patch=200)


def test_the_weights_of_contacts_find_the_one_that_answers():
    """Two waveforms of one contact among six, at a fixed time: learned, and ranked first."""
    rng = np.random.default_rng(0)
    y = np.arange(160) % 2
    X = rng.normal(size=(160, 6, 100)).astype(np.float32)
    wave = np.sin(2 * np.pi * np.outer((0.08, 0.17), np.arange(30))).astype(np.float32)
    X[:, 2, 40:70] += 2 * wave[y]
    settings = DuinSettings(
        name="x", patch=0.2, depth=1, n_neural=4, n_filters=8, n_heads=2, head_width=8, max_epochs=30, patience=30,
        learning_rate=3e-3,
    )  # fmt: skip
    fitted = duin(settings, Given(100.0, [f"A{n}" for n in range(1, 7)])).fit(X[:120], y[:120])
    assert (fitted.predict(X[120:]) == y[120:]).mean() > 0.9
    assert int(fitted.network_.channel_weights().argmax()) == 2
