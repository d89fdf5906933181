"""Replays a recording as if it arrived now: a decision every step, its latency, and what causality costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from brainbench.commands.apply import Applied, Ready, add_probabilities, make_ready
from brainbench.core.errors import UserError
from brainbench.core.files import write_text
from brainbench.core.progress import Stages
from brainbench.decoders.covariance import CovarianceDecoder
from brainbench.decoders.online import SlidingDecoder
from brainbench.evaluation.trials.evidence import accuracy_over_time, decide, gather
from brainbench.recordings.cutting import filtered
from brainbench.runs.units import one_thread_pool
from brainbench.studies.trials.trials import recordings_of


@dataclass(frozen=True)
class StreamSettings:
    """How a recording is replayed.

    Parameters
    ----------
    step : float
        Seconds between decisions.
    window : float, optional
        Seconds of a window; without it a trial's. Decoders on covariances take any, networks only a trial's.
    delay : float
        Seconds between the end of a window and the newest sample.
    buffer : float, optional
        Seconds kept; without it a window, the delay and the filter.
    evidence : float, optional
        Gather log-probabilities after every event until a class has this probability.
    """

    step: float = 0.25
    window: float | None = None
    delay: float = 0.0
    buffer: float | None = None
    evidence: float | None = None

    def __post_init__(self) -> None:
        if not self.step > 0:
            raise UserError(f"--step {self.step:g}: seconds between decisions must be above 0")
        if self.delay < 0:
            raise UserError(f"--delay {self.delay:g}: seconds cannot be negative")
        if self.window is not None and not self.window > 0:
            raise UserError(f"--window {self.window:g}: seconds must be above 0")
        if self.evidence is not None and not 0.5 < self.evidence < 1:
            raise UserError(f"--evidence {self.evidence:g}: a probability between 0.5 and 1 is needed, such as 0.9")


def stream_run(
    run: str | Path, recording: str | Path, *, out: str | Path, settings: StreamSettings | None = None,
    pipeline: str | None = None, subjects: Sequence[str] = (), train_runs: Sequence[str] = (),
    events: str | Path | None = None, root: str | None = None, cache: str | None = None, quiet: bool = True,
) -> Applied:  # fmt: skip
    """Decode a recording window by window; see `brainbench.commands.apply.apply_run` for the common parameters.

    Returns
    -------
    Applied
        One row per decision: `time` (seconds, of the newest sample), `trial`, `seconds` (from its event), `label`,
        probabilities, `predicted`, `latency_ms`; with `evidence` also an `evidence_<class>` per class.
    """
    settings = settings or StreamSettings()
    ready = make_ready(
        run, recording, pipeline=pipeline, subjects=subjects, train_runs=train_runs, events=events, root=root,
        cache=cache, whole_trials=False,
    )  # fmt: skip
    if settings.evidence is not None and not len(ready.new.recording.onsets):
        raise UserError(f"--evidence: {recording} has no events after which evidence could be gathered")
    online = make_online(ready, settings)
    data = ready.new.recording.raw.get_data()
    stages = Stages(quiet)
    with one_thread_pool(ready.opened.recipe.execution.threads_per_unit):
        ends, probability, latency, work = replay(online, data, settings.step, stages)
        whole = whole_recording(ready, online, ends)
    table = _table(ready, settings, online, ends, latency)
    table = add_probabilities(table, probability, ready.classes)
    lines = [
        *ready.lines,
        *_latency_lines(ready, settings, online, latency, work),
        *_cost_lines(ready, table, probability, whole),
    ]
    lines += _accuracy_lines(ready, settings, table, probability)
    if settings.evidence is not None:
        lines += _evidence(ready, settings, online, table, probability)
    write_text(out, table.to_csv(index=False))
    return Applied(table, lines)


def make_online(ready: Ready, settings: StreamSettings) -> SlidingDecoder:
    """Return the sliding decoder of a stream that has the recording's rate."""
    fitted, dataset, raw = ready.fitted, recordings_of(ready.opened), ready.new.recording.raw
    domain = fitted.domain_of(ready.new)
    fitted.check_online(domain)
    trained = float(fitted.member.info["sfreq"])
    n_times = fitted.member.n_times
    if settings.window is not None:
        n_times = round(settings.window * trained) + 1
        if n_times != fitted.member.n_times and not isinstance(fitted.decoder, CovarianceDecoder):
            raise UserError(
                f"--window {settings.window:g}: {fitted.settings.name} is a network of "
                f"{(fitted.member.n_times - 1) / trained:g} s; only decoders on covariances take another length"
            )
    online = SlidingDecoder(
        fitted.decoder, bands=[band or dataset.settings.band for band in fitted.bands],
        method=dataset.settings.filter, n_channels=len(raw.ch_names), sfreq=float(raw.info["sfreq"]),
        trained_sfreq=trained, n_times=n_times, delay=settings.delay, buffer=settings.buffer, domain=domain,
    )  # fmt: skip
    if online.samples.shape[1] > raw.n_times:
        raise UserError(
            f"{ready.new.recording.where}: {raw.n_times / raw.info['sfreq']:.1f} s are shorter than the buffer of "
            f"{online.samples.shape[1] / raw.info['sfreq']:.1f} s"
        )
    return online


def replay(
    online: SlidingDecoder, data: np.ndarray, step: float, stages: Stages
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Push a recording in steps; decide whenever the buffer is full.

    Parameters
    ----------
    online : SlidingDecoder
    data : ndarray (n_channels, n_samples)
    step : float
        Seconds.

    Returns
    -------
    ends : int ndarray (n_decisions,)
        Samples that had arrived.
    probability : ndarray (n_decisions, n_classes)
    latency : ndarray (n_decisions,)
        Seconds from the last sample's arrival to the decision.
    work : ndarray (n_decisions,)
        Seconds of processor time in them, which other programs do not lengthen.
    """
    n_step, size = max(1, round(step * online.sfreq)), online.samples.shape[1]
    ends = np.arange(size, data.shape[1] + 1, n_step)
    online.push(data[:, :size])
    online.decide()  # what is loaded and compiled at the first call is loaded before a session begins
    found, latency, work, seen = [], [], [], size
    with stages.stage("stream", total=len(ends)) as advance:
        for end in ends:
            start, busy = time.perf_counter(), time.process_time()
            if end > seen:
                online.push(data[:, seen:end])
            found.append(online.decide())
            latency.append(time.perf_counter() - start)
            work.append(time.process_time() - busy)
            seen = end
            advance(1)
    return ends, np.stack(found), np.array(latency), np.array(work)


def whole_recording(ready: Ready, online: SlidingDecoder, ends: np.ndarray) -> np.ndarray:
    """Return the probabilities of the same windows, cut from the recording filtered whole, with its future."""
    dataset, recording = recordings_of(ready.opened), ready.new.recording
    settings = dataset.settings.model_copy(update={"sfreq": online.trained_sfreq})
    parts = [filtered(recording, settings, band).get_data() for band in ready.fitted.bands]
    last = np.round((ends - online.n_delay) * online.trained_sfreq / online.sfreq).astype(int)
    decoder, found = online.decoder, []
    for rows in np.array_split(last, max(1, len(last) // 64)):
        X = np.stack([[part[:, end - online.n_times : end] for part in parts] for end in rows])
        prepared = decoder.prepare(X if decoder.bands is not None else X[:, 0])
        found.append(decoder.probability_of(prepared, domains=np.repeat(online.domain, len(rows))))
    return np.concatenate(found)


def _table(
    ready: Ready, settings: StreamSettings, online: SlidingDecoder, ends: np.ndarray, latency: np.ndarray
) -> pd.DataFrame:
    """Return time, trial, seconds from its event and label of every decision; those outside of trials have none."""
    recording, dataset = ready.new.recording, recordings_of(ready.opened)
    order = np.argsort(recording.onsets, kind="stable")
    onsets, labels = recording.onsets[order], recording.labels[order]
    at = (ends - 1) / online.sfreq
    latest = np.searchsorted(onsets, at - 1e-9, side="left") - 1
    since = at - np.where(latest >= 0, onsets[np.clip(latest, 0, None)] if len(onsets) else 0.0, np.inf)
    inside = (latest >= 0) & (since <= dataset.settings.tmax + settings.delay + settings.step)
    return pd.DataFrame(
        {
            "time": at.round(6),
            "trial": np.where(inside, latest, -1),
            "seconds": np.where(inside, since, np.nan).round(6),
            "label": np.where(inside, labels[np.clip(latest, 0, None)], "") if len(onsets) else "",
            "latency_ms": (1000 * latency).round(3),
        }
    )


def _latency_lines(
    ready: Ready, settings: StreamSettings, online: SlidingDecoder, latency: np.ndarray, work: np.ndarray
) -> list[str]:
    ms, busy = 1000 * latency, 1000 * float(np.median(work))
    threads = ready.opened.recipe.execution.threads_per_unit
    window, size = online.n_times / online.trained_sfreq, online.samples.shape[1] / online.sfreq
    return [
        f"{len(ms)} decisions, one every {settings.step:g} s, from windows of {window:.2f} s that end "
        f"{settings.delay:g} s before the newest sample, in a buffer of {size:.2f} s",
        f"latency of a decision: median {np.median(ms):.1f} ms, 95 % below {np.quantile(ms, 0.95):.1f} ms, longest "
        f"{ms.max():.1f} ms ({threads} thread{'s' * (threads > 1)}), of which the processor worked {busy:.1f} ms"
        + ("; LONGER THAN THE STEP" if np.quantile(latency, 0.95) > settings.step else ""),
    ]


def _cost_lines(ready: Ready, table: pd.DataFrame, probability: np.ndarray, whole: np.ndarray) -> list[str]:
    same = float(np.mean(probability.argmax(axis=1) == whole.argmax(axis=1)))
    moved = float(np.abs(probability - whole).max(axis=1).mean())
    text = (
        f"what causality costs: {100 * same:.0f} % of decisions are those of the same windows in the recording "
        f"filtered whole, with zero phase; probabilities differ by {moved:.2g} on average"
    )
    known = (table["label"] != "").to_numpy()
    if known.any():
        label = table["label"].to_numpy()[known]
        names = np.array(ready.classes)
        online, offline = (float(np.mean(names[p[known].argmax(axis=1)] == label)) for p in (probability, whole))
        text += f"; accuracy {online:.2f} against {offline:.2f}"
    return [text]


def _accuracy_lines(ready: Ready, settings: StreamSettings, table: pd.DataFrame, probability: np.ndarray) -> list[str]:
    known = (table["label"] != "").to_numpy()
    if not known.any():
        return ["labels are not known: nothing to score"]
    right = np.array(ready.classes)[probability.argmax(axis=1)] == table["label"].to_numpy()
    width = max(0.5, settings.step)
    rows = accuracy_over_time(right[known], table["seconds"].to_numpy()[known], width)
    return [
        "accuracy by seconds after the event (a window lies wholly inside its trial from "
        f"{_complete(ready, settings):g} s on):",
        *(f"  {start:g} to {end:g} s  {value:.2f}  of {n} decisions" for start, end, value, n in rows),
    ]


def _complete(ready: Ready, settings: StreamSettings) -> float:
    """Return the seconds after an event from which on a window lies wholly inside the trial."""
    dataset, member = recordings_of(ready.opened), ready.fitted.member
    window = (member.n_times - 1) / member.info["sfreq"] if settings.window is None else settings.window
    return float(dataset.settings.tmin + window + settings.delay)


def _evidence(
    ready: Ready, settings: StreamSettings, online: SlidingDecoder, table: pd.DataFrame, probability: np.ndarray
) -> list[str]:
    """Gather evidence over the windows that lie inside a trial, add its columns, and return what came of it."""
    assert settings.evidence is not None
    window = (online.n_times - 1) / online.trained_sfreq
    seconds = table["seconds"].to_numpy()
    with np.errstate(invalid="ignore"):
        inside = seconds >= _complete(ready, settings) - 0.5 / online.sfreq
    trial = np.where(inside, table["trial"], -1)
    gathered = gather(probability, trial, new_share=settings.step / window)
    for index, name in enumerate(ready.classes):
        table[f"evidence_{name}"] = gathered[:, index]
    found = decide(gathered, trial, seconds, settings.evidence)
    if not len(found.trial):
        raise UserError(
            f"--evidence: no window lies inside a trial: windows of {window:g} s end after the trial",
            hint="--window takes a shorter one for decoders on covariances",
        )
    n, reached = len(found.trial), int(found.reached.sum())
    per_trial = np.bincount(trial[trial >= 0])
    lines = [
        f"evidence until {settings.evidence:g}: reached in {reached} of {n} trials"
        + (f", after a median of {np.median(found.seconds[found.reached]):.2f} s from the event" if reached else "")
        + f"; {per_trial[per_trial > 0].mean():.1f} windows lie inside a trial"
    ]
    labels = ready.new.recording.labels[np.argsort(ready.new.recording.onsets, kind="stable")][found.trial]
    known = labels != ""
    if known.any():
        right = np.array(ready.classes)[found.predicted] == labels
        said = f"accuracy of all {int(known.sum())} trials {right[known].mean():.2f} (the others decide last)"
        if (known & found.reached).any():
            said += f", of those that reached it {right[known & found.reached].mean():.2f}"
        lines.append(said)
    return lines
