"""A stream is filtered as recordings are; what causality changes, and what it does not."""

import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.decoders.check import SFREQ, planted_trials
from brainbench.decoders.covariance import CspLda, FbcspLda
from brainbench.decoders.online import FirBank, SlidingDecoder

mne = pytest.importorskip("mne")


def test_the_bank_is_mnes_filter_edges_included():
    X = np.random.default_rng(0).normal(size=(3, 500)).cumsum(axis=1)
    bands = [(8.0, 30.0), (0.0, 20.0), (4.0, 8.0), None]
    for band, found in zip(bands, FirBank(bands, 100.0, 500).apply(X), strict=True):
        expected = X if band is None else mne.filter.filter_data(X, 100.0, band[0] or None, band[1], verbose="ERROR")
        assert np.abs(found - expected).max() < 1e-10


def stream(decoder, bands, method="fir", delay=0.0, **options):
    return SlidingDecoder(
        decoder, bands=bands, method=method, n_channels=6, sfreq=SFREQ, trained_sfreq=SFREQ, n_times=160, delay=delay,
        **options,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["fir", "iir"])
def test_with_half_a_filter_of_delay_windows_are_those_of_the_whole_recording(method):
    X, y, _ = planted_trials()
    decoder = CspLda(4).fit(X, y)
    data = np.concatenate(list(X[:12]), axis=1)
    whole = mne.filter.filter_data(data, SFREQ, 8.0, 30.0, method=method, verbose="ERROR")
    late = stream(decoder, [[8.0, 30.0]], method, delay=2.0, buffer=9.0)
    early = stream(decoder, [[8.0, 30.0]], method)
    for start in range(0, 1000, 70):
        for one in (late, early):
            one.push(data[:, start : start + 70])
    n = 1050 - 160
    assert np.allclose(late.window()[0], whole[:, n - 160 : n], atol=1e-4 * whole.std())
    now = early.window()[0]
    assert np.allclose(now[:, :60], whole[:, 1050 - 160 : 1050 - 100], atol=1e-2 * whole.std())
    assert np.abs(now[:, -5:] - whole[:, 1045:1050]).max() > 0.1 * whole.std()  # there is no future to filter with
    assert early.decide().sum() == pytest.approx(1)


def test_a_filter_bank_reads_all_bands_and_a_short_buffer_is_refused():
    X, y, _ = planted_trials()
    bank = [[8.0, 12.0], [12.0, 20.0]]
    decoder = FbcspLda(bank, sfreq=SFREQ).fit(X, y)
    online = stream(decoder, bank)
    online.push(np.concatenate(list(X[:6]), axis=1))
    assert online.window().shape == (1, 2, 6, 160)
    with pytest.raises(UserError, match=r"a buffer of 1 s is too short"):
        stream(decoder, bank, buffer=1.0)
