"""Folded forward passes against the library's own: outputs, gradients, running statistics."""

from __future__ import annotations

import contextlib
import copy
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from brainbench.networks import classification
from brainbench.networks.options import Training
from brainbench.networks.zoo.folded import LongConv1d, folded, lagged_products

models = pytest.importorskip("braindecode.models")


@pytest.mark.parametrize(("n_times", "n_lags", "padding"), [(40, 8, 4), (40, 7, 3), (9, 8, 4), (64, 8, 0), (5, 1, 0)])
def test_lagged_products_are_the_sums_over_windows(n_times: int, n_lags: int, padding: int) -> None:
    X = torch.randn(2, 3, n_times, generator=torch.Generator().manual_seed(0)) + 5
    products, sums, n = lagged_products(X, n_lags, padding)
    windows = F.pad(X.double(), (padding, padding)).reshape(6, -1).unfold(1, n_lags, 1).reshape(-1, n_lags)
    assert n == len(windows)
    torch.testing.assert_close(products, windows.T @ windows, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(sums, windows.sum(dim=0), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize(
    ("n_times", "size", "padding"), [(100, 7, 3), (64, 8, 4), (64, 8, 0), (9, 9, 4), (5, 9, 4), (8, 1, 0)]
)
def test_long_kernels_filter_as_the_library_does(n_times: int, size: int, padding: int) -> None:
    """Output, and gradients of signals and kernels, at lengths that are whole blocks or not, also after inference."""
    torch.manual_seed(0)
    long = LongConv1d(3, size, padding).double()
    with torch.inference_mode():
        long(torch.zeros(1, 3, n_times, dtype=torch.float64))
    X = torch.randn(4, 3, n_times, dtype=torch.float64, requires_grad=True)
    found = long(X)
    expected = F.conv1d(X, long.weight, padding=padding, groups=3)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad((found * weight).sum(), (X, long.weight)),
        torch.autograd.grad((expected * weight).sum(), (X, long.weight)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def network(name: str, **settings: object) -> nn.Module:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: nn.Module = getattr(models, name)(n_chans=6, n_outputs=3, n_times=120, sfreq=80.0, **settings)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return made


CASES = [
    ("EEGNet", {}), ("EEGNet", {"kernel_length": 33, "F1": 4, "D": 3}),
    ("ShallowFBCSPNet", {"pool_time_length": 20, "pool_time_stride": 5}),
    ("ShallowFBCSPNet", {"pool_time_length": 20, "batch_norm": False}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings"), CASES)
@pytest.mark.parametrize("training", [True, False])
def test_output_gradients_and_running_statistics_are_the_librarys(
    name: str, settings: dict[str, object], training: bool
) -> None:
    plain = network(name, **settings).train(training)
    fast = copy.deepcopy(plain)
    generator = torch.Generator().manual_seed(1)
    X, y = torch.randn(10, 6, 120, generator=generator) + 0.3, torch.arange(10) % 3
    for _ in range(2):  # the second pass has running statistics that the first one left
        losses = []
        for net in (plain, fast):
            net.zero_grad()
            torch.manual_seed(2)  # of dropout
            if net is fast:
                with folded(net) as is_folded:
                    losses.append(F.cross_entropy(net(X), y))
                assert is_folded and "forward" not in vars(net)
            else:
                losses.append(F.cross_entropy(net(X), y))
            losses[-1].backward()
        assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-5)
        largest = max(float(weight.grad.abs().max()) for weight in plain.parameters())
        for (name, one), other in zip(plain.named_parameters(), fast.parameters(), strict=True):
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-5 * largest, msg=name)
        for one, other in zip(plain.buffers(), fast.buffers(), strict=True):
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


def test_what_it_does_not_know_stays_as_it_is() -> None:
    for net in (nn.Linear(3, 2), network("EEGConformer")):
        with folded(net) as is_folded:
            assert not is_folded and "forward" not in vars(net)
    hooked = network("EEGNet")
    hooked.conv_temporal.register_forward_hook(lambda *_: None)  # somebody reads what would not be computed
    with folded(hooked) as is_folded:
        assert not is_folded


def test_an_offset_far_above_the_signal_does_not_spoil_the_variance() -> None:
    plain = network("EEGNet").train()
    fast = copy.deepcopy(plain)
    X = torch.randn(10, 6, 120, generator=torch.Generator().manual_seed(1)) + 1000
    torch.manual_seed(2)
    expected = plain(X)
    torch.manual_seed(2)
    with folded(fast):
        found = fast(X)
    np.testing.assert_allclose(found.detach(), expected.detach(), atol=2e-3)


def test_an_epoch_ends_where_it_ends_without_folding(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 6, 120)).astype(np.float32), np.arange(40) % 3
    history = []
    for fold in (True, False):
        if not fold:
            monkeypatch.setattr(classification, "folded", contextlib.nullcontext)
        training = Training(n_epochs=3, batch_size=8)
        history.append(classification.train_classifier(network("EEGNet"), X, y, training, n_classes=3)[0].history)
    for one, other in zip(*history, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)
        assert one["validation_loss"] == pytest.approx(other["validation_loss"], rel=1e-3)
    assert history[0] != history[1]  # else nothing was folded
