import math

import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.networks.zoo.brainomni import BASE, BrainOmni, CrissCross, OmniShape, masked, rotate
from tests.networks.zoo.test_tokenizer import SMALL, recording


def small(**settings):
    torch.manual_seed(0)
    network = BrainOmni(OmniShape(width=24, n_heads=4, depth=3), SMALL, **settings)
    for layer in network.tokenizer.quantizer.rvq.layers:
        layer.codebook.embed.normal_()
    return network


@pytest.mark.parametrize(("shape", "size"), [(OmniShape(), 13_475_042), (BASE, 37_757_666)])
def test_the_released_networks_have_their_size(shape, size):
    assert sum(p.numel() for p in BrainOmni(shape).parameters()) == size


def test_halves_do_not_mix():
    """What time attention gives depends on its own source alone, what source attention gives on its own time."""
    block = CrissCross(24, 4, 0.0, "correct")
    x = torch.randn(1, 5, 7, 24, requires_grad=True)
    for half, axis, other in ((slice(12, 24), 1, 2), (slice(0, 12), 2, 1)):
        place = [0, 2, 3]
        (gradient,) = torch.autograd.grad(block.mixed(x)[0, 2, 3, half].sum(), x)
        touched = gradient.abs().sum(-1)[0].nonzero()
        assert set(touched[:, axis - 1].tolist()) == {place[axis]}
        assert len(set(touched[:, other - 1].tolist())) == x.shape[other]


def test_rotary_scores_depend_on_the_lag():
    q, k = torch.randn(1, 12), torch.randn(1, 12)
    turned_q, turned_k = (rotate(v.expand(1, 40, 12), "correct")[0] for v in (q, k))
    scores = turned_q @ turned_k.T
    for lag in (0, 3, 17):
        torch.testing.assert_close(scores.diagonal(lag), scores[0, lag].expand(40 - lag), atol=1e-4, rtol=1e-4)
    assert scores[0, 3] != scores[0, 17]


def test_the_released_buffer_has_cosines_alone():
    x = torch.randn(2, 240, 8)
    freqs = 1.0 / 10000 ** (torch.arange(0, 8, 2) / 8)
    buffer = torch.polar(torch.ones(240, 4), torch.outer(torch.arange(240.0), freqs))
    pairs = torch.view_as_complex(x.reshape(2, 240, 4, 2))
    torch.testing.assert_close(rotate(x, "correct"), torch.view_as_real(pairs * buffer).flatten(-2))
    torch.testing.assert_close(rotate(x, "released"), torch.view_as_real(pairs * buffer.real).flatten(-2))
    with pytest.raises(UserError, match="240 positions, the segments 241"):
        rotate(torch.randn(1, 241, 8), "released")


def test_half_of_the_tokens_are_masked():
    torch.manual_seed(0)
    tokens, mask_token = torch.randn(4, 5, 20, 6), torch.full((6,), 9.0)
    hidden, mask = masked(tokens, mask_token)
    assert (mask.sum(dim=(1, 2)) == 50).all()
    assert torch.equal(hidden[~mask], tokens[~mask])
    replaced = (hidden[mask] == 9).all(-1)
    assert replaced.sum() == 4 * 40
    others = hidden[mask][~replaced]
    assert (others[:, None] == tokens.reshape(1, -1, 6)).all(-1).any(1).all()


def test_the_loss_starts_at_chance():
    found = small().terms(*recording(n=8))["cross-entropy"]
    assert found.item() == pytest.approx(math.log(8), abs=0.05)


def test_only_what_is_masked_is_predicted_and_the_tokenizer_stays():
    network = small().train()
    before = {name: value.clone() for name, value in network.tokenizer.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    for _ in range(20):
        (loss,) = network.terms(*recording(n=8)).values()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in network.tokenizer.state_dict().items())


def test_evaluation_is_deterministic():
    network, given = small(), recording()
    network.eval()
    one = network.encode(*given)
    assert torch.equal(one, network.encode(*given)) and one.shape == (2, 3, 24, 24)
    torch.testing.assert_close(one.norm(dim=-1), torch.ones(2, 3, 24))
    network.train()
    assert not torch.equal(one, network.encode(*given))
