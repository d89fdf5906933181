import inspect
import math

import pytest
import torch
import torch.nn.functional as F

from brainbench.core.errors import UserError
from brainbench.networks.zoo.contrastive import cross_model_loss, cross_view_loss
from brainbench.networks.zoo.mvcnet import (
    MultiViewLoss,
    MVCNet,
    OneBandIFNet,
    paper_settings,
    window_lengths,
)
from brainbench.networks.zoo.views import FrequencyShift, Reflection, SignFlip

VIEWS = (SignFlip(), FrequencyShift(100.0), Reflection([1, 0, 2], [1, 0]))


def tiny(**settings):
    torch.manual_seed(0)
    return MVCNet(3, 2, 101, 100.0, **{"n_filters": 4, "pool_times": 25, "kernel_times": 9, **settings})


def batch(n=6):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, 101, generator=generator), torch.arange(n) % 2


@pytest.mark.parametrize(
    ("channels", "times", "sfreq", "pool", "features"),
    [
        (22, 1001, 250.0, None, 512),
        (14, 1251, 250.0, None, 640),
        (59, 750, 250.0, None, 384),
        (15, 2561, 512.0, 128, 1280),
    ],
)
def test_feature_sizes_of_the_published_recordings(channels, times, sfreq, pool, features):
    net = OneBandIFNet(channels, 2, times, sfreq, pool_times=pool)
    assert net.cnn.n_features == features
    assert net.eval()(torch.zeros(1, channels, times)).shape == (1, 2)


def test_parameter_counts_of_bnci2014001():
    with torch.device("meta"):
        net = MVCNet(22, 2, 1001, 250.0)
    # spatial 22 x 64, two norms 4 x 64, temporal 64 x 63, classifier 512 x 2 + 2
    assert net.n_parameters(deployed=True) == 1408 + 256 + 4032 + 1026 == 6722
    # attention and feed-forward of width 1000, two norms; flatten 22000 -> 2048, norm, 2048 -> 512
    layer = 3 * (1000**2 + 1000) + 1000**2 + 1000 + 2000 * 1000 + 2000 + 2000 * 1000 + 1000 + 4000
    project = 22000 * 2048 + 2048 + 2 * 2048 + 2048 * 512 + 512
    assert net.n_parameters() - 6722 == layer + project == 54_122_232


def test_deployed_weights_are_those_of_the_one_band_network():
    torch.manual_seed(3)
    whole = MVCNet(3, 2, 101, 100.0).eval()
    torch.manual_seed(3)
    alone = OneBandIFNet(3, 2, 101, 100.0).eval()
    X, _ = batch()
    assert torch.equal(whole(X), alone(X))
    assert whole.n_parameters(deployed=True) == sum(weight.numel() for weight in alone.parameters())


def test_shapes_and_what_decides():
    X, _ = batch()
    for pool in (1, 4, 7):
        net = tiny(time_pool=pool).eval()
        f, z = net.branches(X)
        assert f.shape == z.shape == (6, 16) and z.abs().max() <= 1
        assert net(X).shape == (6, 2)
    cnn, fused = tiny().eval(), tiny(deploy="fused").eval()
    for net in (cnn, fused):
        before = net(X)
        with torch.no_grad():
            for weight in net.transformer.parameters():
                weight.add_(torch.randn_like(weight))
        assert torch.equal(net(X), before) == (net is cnn)
    assert fused.n_parameters(deployed=True) == fused.n_parameters()


def test_time_pooling_averages_before_attention():
    pooled = tiny(time_pool=4).transformer
    assert pooled.width == 24  # 100 samples / 4 = 25, even for two heads
    X, _ = batch()
    constant = X[..., :96].reshape(6, 3, 24, 4).mean(-1).repeat_interleave(4, -1)
    torch.testing.assert_close(pooled.eval()(X[..., :96]), pooled(constant))


@pytest.mark.parametrize("deploy", ["cnn", "fused"])
def test_every_weight_gets_a_gradient(deploy):
    net = tiny(deploy=deploy).train()
    MultiViewLoss(VIEWS)(net, *batch()).backward()
    without = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.abs().sum()]
    assert without == []


def test_the_loss_is_the_weighted_sum_of_its_terms():
    net = tiny().eval()  # no dropout, fixed norms: the parts can be computed again
    X, y = batch()
    seen = [(X, y), *(view(X, y) for view in VIEWS)]
    f, z = zip(*(net.branches(trials) for trials, _ in seen), strict=True)
    ce = sum(F.cross_entropy(net(trials), labels) for trials, labels in seen)
    expected = ce + 0.3 * cross_view_loss(f, z) + 0.7 * cross_model_loss(f, z)
    found = MultiViewLoss(VIEWS, cross_view=0.3, cross_model=0.7)(net, X, y)
    torch.testing.assert_close(found, expected)
    alone = MultiViewLoss(VIEWS, cross_view=0.0, cross_model=0.0)(net, X, y)
    torch.testing.assert_close(alone, ce)


def test_the_transformer_is_not_run_where_nothing_asks_for_it():
    net = tiny()
    net.transformer.register_forward_hook(lambda *_: pytest.fail("the Transformer was run"))
    X, y = batch()
    MultiViewLoss(VIEWS, cross_view=0, cross_model=0)(net, X, y).backward()
    net.eval()(X)


def test_views_carry_their_labels_into_the_cross_entropy():
    net = tiny().eval()
    X, y = batch()
    swapped = MultiViewLoss([Reflection([1, 0, 2], [1, 0])], 0, 0)(net, X, y) - F.cross_entropy(net(X), y)
    torch.testing.assert_close(swapped, F.cross_entropy(net(X[:, [1, 0, 2]]), 1 - y))


def test_windows_follow_the_sampling_rate():
    assert window_lengths(1001, 250) == (63, 125)
    assert window_lengths(480, 160) == (41, 80)
    assert window_lengths(480, 160, 41, 60) == (41, 60)
    with pytest.raises(UserError, match="shorter than one pooling window"):
        window_lengths(100, 250)
    with pytest.raises(UserError, match="odd"):
        window_lengths(1000, 250, 64)
    with pytest.raises(UserError, match="deploy"):
        tiny(deploy="both")
    with pytest.raises(UserError, match="time_pool"):
        tiny(time_pool=200)
    with pytest.raises(UserError, match="time_pool"):
        tiny(time_pool=0)


def test_the_paper_preset_names_real_settings():
    preset = paper_settings(512.0)
    assert preset["shift_hz"] == pytest.approx(0.2048) and preset["pool_times"] == 128
    assert paper_settings(250.0)["shift_hz"] == pytest.approx(0.1)
    network = set(inspect.signature(MVCNet).parameters)
    assert {"deploy", "n_filters", "kernel_times", "pool_times", "time_pool", "drop_prob"} <= network & set(preset)
    assert preset["temperature"] == 0.2 and math.isclose(preset["cross_view"], preset["cross_model"])


def test_two_calls_in_evaluation_are_equal():
    X, _ = batch()
    net = tiny(deploy="fused").eval()
    assert torch.equal(net(X), net(X))
    torch.testing.assert_close(net(X)[:2], net(X[:2]))


def test_the_multi_view_loss_needs_both_branches():
    with pytest.raises(TypeError, match="OneBandIFNet"):
        MultiViewLoss()(OneBandIFNet(3, 2, 101, 100.0), *batch())
