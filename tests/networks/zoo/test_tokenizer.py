import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.networks.zoo.seanet import SEANetDecoder, SEANetEncoder
from brainbench.networks.zoo.tokenizer import BrainTokenizer, TokenizerShape, codec_terms, pearson, zscored

SMALL = TokenizerShape(
    window=64, n_filters=4, ratios=(4, 2), width=16, n_heads=2, n_sources=3, n_levels=2, n_codes=8
)  # fmt: skip


def small(**settings):
    torch.manual_seed(0)
    return BrainTokenizer(SMALL, **settings)


def recording(n=2, channels=6, times=128, seed=0):
    """Return signals, places and types of a few sources seen by many sensors."""
    g = torch.Generator().manual_seed(seed)
    place = torch.nn.functional.pad(
        torch.nn.functional.normalize(torch.randn(channels, 3, generator=g), dim=-1), (0, 3)
    )
    time = torch.arange(times) / 64
    waves = torch.sin(
        2 * math.pi * torch.tensor([3.0, 5.0, 8.0])[:, None] * time + torch.rand(n, 3, 1, generator=g) * 6
    )
    signals = torch.einsum("cd,ndt->nct", place[:, :3], waves)
    return signals, place.expand(n, -1, -1), torch.zeros(n, channels, dtype=torch.long)


def test_the_released_network_has_its_size():
    network = BrainTokenizer()
    assert sum(p.numel() for p in network.parameters()) == 5_050_338
    assert sum(p.numel() for p in network.sensor_embed.parameters()) == 560_512
    assert network.shape.stride == 64


def test_the_codec_is_that_of_encodec():
    encodec = pytest.importorskip("transformers.models.encodec.modeling_encodec")
    config = encodec.EncodecConfig(
        num_filters=4, upsampling_ratios=[4, 2], kernel_size=5, last_kernel_size=5, hidden_size=16,
        use_causal_conv=False, norm_type="weight_norm", num_lstm_layers=2,
    )  # fmt: skip
    for theirs, ours, x in (
        (encodec.EncodecEncoder(config), SEANetEncoder(16, 4, (4, 2), 5, 5), torch.randn(3, 1, 64)),
        (encodec.EncodecDecoder(config), SEANetDecoder(16, 4, (4, 2), 5, 5), torch.randn(3, 16, 8)),
    ):
        state = {name.replace("layers.", "model.", 1): value for name, value in theirs.state_dict().items()}
        state = {
            name if name in ours.state_dict() else name.replace(".conv.", ".convtr."): value
            for name, value in state.items()
        }
        ours.load_state_dict(state)
        torch.testing.assert_close(theirs.eval()(x), ours.eval()(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("times", "tokens"), [(512, 8), (1024, 24), (2560, 56), (7680, 160), (100, 8)])
def test_number_of_tokens(times, tokens):
    network = object.__new__(BrainTokenizer)
    torch.nn.Module.__init__(network)
    network.shape = TokenizerShape()
    windows = network.windows(torch.ones(1, 1, times), 0.25)
    assert windows.shape[2] * 8 == tokens and windows.shape[3] == 512
    assert windows[0, 0, 0].sum() == min(times, 512)


def test_order_of_channels_does_not_matter():
    network, (x, place, kind) = small().eval(), recording()
    order = torch.randperm(6)
    tokens, codes = network.tokenize(x, place, kind)
    again, same = network.tokenize(x[:, order], place[:, order], kind[:, order])
    assert tokens.shape == (2, 3, 16, 16) and codes.shape == (2, 3, 16, 2)
    torch.testing.assert_close(tokens, again, atol=1e-5, rtol=0)
    latent = network.encoder(network.windows(x), network.sensor_embed(place, kind))
    other = network.encoder(network.windows(x[:, order]), network.sensor_embed(place[:, order], kind[:, order]))
    torch.testing.assert_close(latent, other, atol=1e-5, rtol=0)
    assert torch.equal(codes, same)


def test_a_second_sensor_at_the_same_place_changes_little():
    network, (x, place, kind) = small().eval(), recording(channels=32)
    latent = network.encoder(network.windows(x), network.sensor_embed(place, kind))
    double = [torch.cat([one, one[:, :1]], dim=1) for one in (x, place, kind)]
    other = network.encoder(network.windows(double[0]), network.sensor_embed(*double[1:]))
    assert (latent - other).norm() < 0.1 * latent.norm()
    assert not torch.equal(latent, other)


def test_place_direction_and_type_each_matter():
    embed = small().sensor_embed
    _, place, kind = recording()
    base = embed(place, kind)
    for dim in range(6):
        moved = place.clone()
        moved[..., dim] += 0.5
        assert not torch.allclose(embed(moved, kind), base, atol=1e-4)
    assert not torch.allclose(embed(place, kind + 1), base, atol=1e-4)


def test_evaluation_is_deterministic_and_training_is_not():
    network, given = small(), recording(n=4)
    first, second = network.terms(*given), network.terms(*given)
    assert first["samples"] != second["samples"]
    network.eval()
    assert all(torch.equal(a, b) for a, b in zip(network.tokenize(*given), network.tokenize(*given), strict=True))


def test_topography_is_attention_over_sensors():
    network, given = small().eval(), recording()
    weights = network.topography(*given)
    assert weights.shape == (2, 3, 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3))


@pytest.mark.slow
def test_it_learns_to_decode_channels_that_it_did_not_see():
    """On new recordings of the same sensors, withheld channels are nearer than their nearest neighbour."""
    torch.manual_seed(0)
    shape = TokenizerShape(
        window=64, n_filters=4, ratios=(4, 2), width=32, n_heads=2, n_sources=4, n_levels=2, n_codes=32
    )  # fmt: skip
    network = BrainTokenizer(shape)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, betas=(0.5, 0.9))
    (x, place, kind), phases = recording(n=512, channels=8), torch.Generator().manual_seed(1)
    for _ in range(400):
        rows = torch.randperm(448, generator=phases)[:16]
        terms = network.terms(x[rows], place[rows], kind[rows])
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
    network.eval()
    new, place, kind = x[448:], place[448:], kind[448:]
    seen = torch.arange(8) % 4 != 0
    target = zscored(network.windows(new))[:, ~seen]
    with torch.inference_mode():
        decoded = network.reconstruct(new, place, kind, seen)[:, ~seen]
    distance = torch.cdist(place[0, ~seen], place[0, seen])
    near = network.windows(new)[:, seen][:, distance.argmin(1)]
    assert pearson(decoded, target).mean() > pearson(near, target).mean()


def test_phases_are_circular_unless_released():
    size, taper = torch.rand(33) + 0.5, torch.hamming_window(64)
    angle = torch.full((33,), math.pi - 0.01)
    angle[[0, -1]] = 0  # real by nature
    a, b = (torch.fft.irfft(torch.polar(size, sign * angle), n=64) / taper for sign in (1, -1))
    circular, released = (float(codec_terms(a[None], b[None], phase)["phase"]) for phase in ("circular", "released"))
    assert circular == pytest.approx(0.5 * 0.02 * 31 / 33, rel=0.01)
    assert released == pytest.approx(0.5 * (2 * math.pi - 0.02) * 31 / 33, rel=0.01)
    same = codec_terms(a[None], a[None], "circular")
    assert same["samples"] == same["phase"] == same["amplitude"] == 0
    assert same["correlation"] == pytest.approx(math.exp(-1))


def test_terms_by_hand():
    x, y = torch.randn(2, 3, 32), torch.randn(2, 3, 32)
    terms = codec_terms(x, y, "released")
    r = torch.stack(
        [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(x.flatten(0, 1), y.flatten(0, 1), strict=True)]
    )
    assert float(terms["correlation"]) == pytest.approx(float(torch.exp(-r.mean())), rel=1e-5)
    window = torch.hamming_window(32)
    a, b = torch.fft.rfft(x * window) / 32**0.5, torch.fft.rfft(y * window) / 32**0.5
    assert float(terms["amplitude"]) == pytest.approx(float((a.abs() - b.abs()).abs().mean()), rel=1e-4)
    assert float(terms["phase"]) == pytest.approx(0.5 * float((a.angle() - b.angle()).abs().mean()), rel=1e-3)


def test_one_channel_is_refused():
    with pytest.raises(UserError, match="two channels"):
        small().terms(*recording(channels=1))


FIELD = replace(SMALL, mixing="field", n_sources=8)
ATTENTION = (
    "encoder.backwardsolution.v", "encoder.backwardsolution.proj", "encoder.k_proj",
    "decoder.forwardsolution.kv", "decoder.forwardsolution.proj",
)  # fmt: skip


def fielded(seed=0, **changes):
    torch.manual_seed(seed)
    return BrainTokenizer(replace(FIELD, **changes)).eval()


def embedded(network, given):
    x, place, kind = given
    return network.windows(x), network.sensor_embed(place, kind)


def test_a_field_is_built_beside_the_published_network():
    """Only how sources and sensors meet differs: attention's own tensors are gone, one number is new."""
    published, field = (BrainTokenizer(TokenizerShape(mixing=mixing)) for mixing in ("attention", "field"))
    theirs, ours = ({k: v.shape for k, v in one.state_dict().items()} for one in (published, field))
    assert set(ours) - set(theirs) == {"encoder.log_noise"}
    gone = {f"{name}.{part}" for name in ATTENTION for part in ("weight", "bias")}
    assert set(theirs) - set(ours) == gone
    assert all(theirs[name] == size for name, size in ours.items() if name in theirs)
    assert sum(p.numel() for p in field.parameters()) == 5_050_338 - 6 * (256 * 256 + 256) + 1


def test_courses_are_ridge_regression_on_the_field():
    from sklearn.linear_model import Ridge

    network, given = fielded(), recording(channels=12)
    windows, sensors = embedded(network, given)
    with torch.inference_mode():
        courses, field = network.encoder.courses(windows, sensors), network.encoder.field(sensors)
    ridge = Ridge(alpha=network.encoder.log_noise.exp().item(), fit_intercept=False, solver="cholesky")
    for one in range(2):
        y = windows[one].reshape(12, -1).double().numpy()
        expected = ridge.fit(field[one].double().numpy(), y).coef_.T
        np.testing.assert_allclose(courses[one].reshape(8, -1), expected, atol=1e-4)


def test_a_field_interpolates_before_training():
    """Sources' courses, carried to sensors that were not seen, come nearer than the nearest sensor, in every draw."""
    given = recording(n=4, channels=40, seed=3)
    seen = torch.arange(40) % 4 != 0
    for seed in range(3):
        network = fielded(seed, n_sources=16, width=64)
        windows, sensors = embedded(network, given)
        with torch.inference_mode():
            courses = network.encoder.courses(windows[:, seen], sensors[:, seen])
            found = torch.einsum("ncs,nswt->ncwt", network.encoder.field(sensors), courses)
        near = torch.cdist(given[1][0, ~seen], given[1][0, seen]).argmin(1)
        known = pearson(windows[:, seen][:, near], windows[:, ~seen]).mean()
        assert pearson(found[:, ~seen], windows[:, ~seen]).mean() > known


def test_withheld_sensors_never_reach_a_field():
    network, (x, place, kind) = fielded(), recording(channels=8)
    seen = torch.arange(8) % 4 != 0
    other = torch.where(seen[:, None], x, torch.randn_like(x))
    network.quantizer.rvq.layers.apply(lambda one: one.embed.normal_() if hasattr(one, "embed") else None)
    with torch.inference_mode():
        found, again = (network.reconstruct(one, place, kind, seen) for one in (x, other))
    assert torch.equal(found, again) and found.abs().sum() > 0
    torch.testing.assert_close(found.mean(-1), torch.zeros(found.shape[:-1]), atol=1e-5, rtol=0)


def test_order_of_channels_does_not_matter_to_a_field():
    network, (x, place, kind) = fielded(), recording(channels=7)
    order = torch.randperm(7)
    with torch.inference_mode():
        latent, other = (
            network.encoder(*embedded(network, (x[:, one], place[:, one], kind[:, one])))
            for one in (torch.arange(7), order)
        )
        maps = network.topography(x, place, kind)
    torch.testing.assert_close(latent, other, atol=1e-4, rtol=0)
    assert latent.shape == (2, 8, 16, 16) and maps.shape == (2, 8, 7) and maps.min() < 0 < maps.max()


def test_all_of_a_field_learns():
    network = fielded().train()
    sum(network.terms(*recording(n=4)).values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_codebooks_begin_when_they_are_told_to():
    """Until then tokens pass, nothing is learned of codes, and too few vectors for them are refused at once."""
    network, given = fielded().train(), recording(n=4)
    assert network.terms(*given, torch.tensor(False))["commitment"] == 0
    books = [layer.codebook for layer in network.quantizer.rvq.layers]
    assert all(book.inited == 0 and book.embed.abs().sum() == 0 for book in books)
    assert network.terms(*given, torch.tensor(True))["commitment"] > 0
    assert all(book.inited == 1 and book.embed.abs().sum() > 0 for book in books)
    with pytest.raises(UserError, match="512 vectors for 2,000 codes"):
        fielded(n_codes=2000).train().terms(*given, False)


def test_narrow_codes_stand_between_two_projections():
    """Codebooks read what is narrow, uncoded tokens take the same way, and vectors of levels add up on both sides."""
    torch.manual_seed(0)
    network, given = fielded(code_width=5).train(), recording(n=4)
    quantizer = network.quantizer
    network.terms(*given)
    network.eval()
    assert quantizer.rvq.layers[0].codebook.embed.shape == (8, 5)
    latent = network.encoder(*embedded(network, given))
    narrow = torch.nn.functional.normalize(latent @ quantizer.narrow.weight.T + quantizer.narrow.bias, dim=-1)
    near = torch.cdist(narrow.flatten(0, 2), quantizer.rvq.layers[0].codebook.embed).argmin(1)
    tokens, codes = network.tokenize(*given)
    assert torch.equal(codes[..., 0].flatten(), near) and tokens.shape == latent.shape
    torch.testing.assert_close(tokens, quantizer.rvq.decode(codes) @ quantizer.widen.weight.T)
    torch.testing.assert_close(quantizer.uncoded(latent)[0], narrow @ quantizer.widen.weight.T)
    network.train()
    sum(network.terms(*given).values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
