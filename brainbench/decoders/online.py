"""A decoder that sees samples as they arrive: a sliding buffer, filtered anew for every decision.

Training filters whole recordings with zero phase, which uses samples of the future. Online there are none: the same
filter runs inside the buffer, whose newest end it pads by reflection, so that the last samples of a window differ from
those of the whole recording. A window that ends half a filter before the newest sample does not: that delay is the
price of the trained signals.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainbench.core.errors import UserError
from brainbench.decoders.base import TrialDecoder


class SlidingDecoder:
    """Decides from the newest window of a stream.

    Parameters
    ----------
    decoder : TrialDecoder
        Fitted.
    bands : sequence of [low, high] or None
        What the decoder reads; more than one for a filter bank. None: unfiltered.
    method : {"fir", "iir"}
        As in training.
    n_channels : int
    sfreq : float
        Of the stream, in Hz.
    trained_sfreq : float
        Of the training trials, in Hz.
    n_times : int
        Samples of a window at `trained_sfreq`.
    delay : float
        Seconds between the end of a window and the newest sample.
    buffer : float, optional
        Seconds of samples kept; by default a window, the delay, and the longest filter.
    domain : str
        Subject and session, for alignment.

    Raises
    ------
    UserError
        If the buffer is too short for the window and the filter.
    """

    def __init__(
        self, decoder: TrialDecoder, *, bands: Sequence[Sequence[float] | None], method: str, n_channels: int,
        sfreq: float, trained_sfreq: float, n_times: int, delay: float = 0.0, buffer: float | None = None,
        domain: str = "",
    ) -> None:  # fmt: skip
        self.decoder = decoder
        self.bands = [None if band is None else (float(band[0]), float(band[1])) for band in bands]
        self.method = method
        self.sfreq = sfreq
        self.trained_sfreq = trained_sfreq
        self.n_times = n_times
        self.n_delay = round(delay * sfreq)
        self.domain = np.array([domain])
        self.filter_seconds = max(filter_length(band, sfreq, method) for band in self.bands) / sfreq
        window = n_times / trained_sfreq
        shortest = max(window + delay + 1 / sfreq, self.filter_seconds)
        seconds = window + delay + self.filter_seconds if buffer is None else buffer
        if seconds < shortest:
            raise UserError(
                f"a buffer of {seconds:g} s is too short: the window has {window:.2f} s, its delay {delay:g} s, the "
                f"filter {self.filter_seconds:.2f} s",
                hint=f"{shortest:.2f} s or more",
            )
        self.samples = np.zeros((n_channels, int(np.ceil(seconds * sfreq))))
        if method == "fir":
            self.filters = FirBank(self.bands, sfreq, self.samples.shape[1])

    def push(self, samples: np.ndarray) -> None:
        """Take new samples ``(n_channels, n)`` in volts; the oldest fall out."""
        n, size = samples.shape[1], self.samples.shape[1]
        if n >= size:
            self.samples[:] = samples[:, -size:]
            return
        self.samples[:, :-n] = self.samples[:, n:].copy()
        self.samples[:, -n:] = samples

    def window(self) -> np.ndarray:
        """Return the newest window, filtered, as the decoder reads it: ``(1, [n_bands,] n_channels, n_times)``."""
        parts = np.stack([self._cut(X) for X in self._filtered()])
        return parts[None] if self.decoder.bands is not None else parts

    def decide(self) -> np.ndarray:
        """Return the probability of each class for the newest window, ``(n_classes,)``."""
        found = self.decoder.probability_of(self.decoder.prepare(self.window()), domains=self.domain)
        return np.asarray(found[0], dtype=np.float64)

    def _filtered(self) -> list[np.ndarray]:
        """Return the buffer in every band."""
        import mne

        if self.method == "fir":
            return self.filters.apply(self.samples)
        return [
            self.samples
            if band is None
            else mne.filter.filter_data(
                self.samples, self.sfreq, band[0] or None, band[1], method=self.method, verbose="ERROR"
            )
            for band in self.bands
        ]

    def _cut(self, X: np.ndarray) -> np.ndarray:
        import mne

        if self.n_delay:
            X = X[:, : -self.n_delay]
        if self.sfreq != self.trained_sfreq:
            X = mne.filter.resample(X, up=self.trained_sfreq, down=self.sfreq, verbose="ERROR")
        return X[:, -self.n_times :]


class FirBank:
    """MNE's default filters, designed once and applied to all channels and bands through one Fourier transform.

    The same result as `mne.filter.filter_data`, edges included (odd reflection), in a fraction of its time.

    Parameters
    ----------
    bands : sequence of (low, high) or None
        Hz; None leaves signals as they are.
    sfreq : float
    n_times : int
        Samples to filter.
    """

    def __init__(self, bands: Sequence[tuple[float, float] | None], sfreq: float, n_times: int) -> None:
        import mne
        from scipy.fft import next_fast_len, rfft

        made = [
            np.ones(1)
            if band is None
            else mne.filter.create_filter(None, sfreq, band[0] or None, band[1], method="fir", verbose="ERROR")
            for band in bands
        ]
        self.n_times = n_times
        self.pad = max(len(taps) // 2 for taps in made)
        self.size = next_fast_len(n_times + 2 * self.pad, real=True)
        self.half = [len(taps) // 2 for taps in made]
        self.response = [rfft(taps, self.size) for taps in made]

    def apply(self, X: np.ndarray) -> list[np.ndarray]:
        """Return `X`, ``(n_channels, n_times)``, in every band."""
        from scipy.fft import irfft, rfft

        n = self.pad
        left, right = 2 * X[:, :1] - X[:, n:0:-1], 2 * X[:, -1:] - X[:, -2 : -n - 2 : -1]
        spectrum = rfft(np.concatenate([left, X, right], axis=1), self.size)
        found = []
        for half, response in zip(self.half, self.response, strict=True):
            start = n + half  # where the centre of the filter meets the first sample
            found.append(irfft(spectrum * response, self.size)[:, start : start + self.n_times])
        return found


def filter_length(band: Sequence[float] | None, sfreq: float, method: str) -> int:
    """Return the samples that a filter spans: its taps, or how long it rings."""
    import mne

    if band is None:
        return 1
    made = mne.filter.create_filter(None, sfreq, band[0] or None, band[1], method=method, verbose="ERROR")
    if method == "fir":
        return len(made)
    return int(mne.filter.estimate_ringing_samples(made["sos"]))
