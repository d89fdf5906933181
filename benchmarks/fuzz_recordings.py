"""Fuzz of recordings: small folders in several formats with random defects, held against MNE's own Epochs.

::

    python benchmarks/fuzz_recordings.py --n 500

A case is right when its trials are those of `mne.Epochs` on the samples that were written (same channels, labels,
onsets and values), and everything of the file that is not among them is counted; or when it is refused with a
`UserError` for a defect that was planted. Anything else is a crash or a silent change. The seed is printed.
"""

from __future__ import annotations

import argparse
import datetime
import random
import re
import secrets
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import mne  # noqa: E402

from benchmarks.recording_files import write_recording  # noqa: E402
from brainbench.core.errors import UserError  # noqa: E402
from brainbench.data.base import Context  # noqa: E402
from brainbench.recipes.datasets import DATASETS, dataset_settings  # noqa: E402
from brainbench.recordings.base import RecordingDataset  # noqa: E402

SCALP = ("Fp1", "Fz", "C3", "Cz", "C4", "T7", "T8", "P7", "Pz", "Oz")
OTHERS = ("HEOG", "EOG left", "ECG", "EMG1", "Trigger", "Marker", "DC01", "GSR", "Resp", "STI 014")
MONTAGE = "colin27_1005"
OLD = {"T7": "T3", "T8": "T4", "P7": "T5"}
FORMATS = ("fif", "fif", "vhdr", "edf", "bdf", "set", "gdf")
REFUSED = ("NaN", "flat", "unit", "channel", "rate", "two classes", "cut")
"""Defects for which a refusal is right."""


@dataclass
class Run:
    """A run as it is planned: what is written, and what is right to make of it."""

    raw: mne.io.BaseRaw
    onsets: np.ndarray
    labels: np.ndarray
    written: mne.io.BaseRaw
    unit: str = "µV"
    events: str = "table"
    expected_names: list[str] = field(default_factory=list)
    repeated: bool = False
    doubled: int = 0


@dataclass
class Plan:
    """A folder with its defects."""

    format: str
    sfreq: float
    settings: dict[str, Any]
    runs: list[Run]
    defects: list[str]

    def __str__(self) -> str:
        return f"{self.format}, {self.sfreq:g} Hz, {len(self.runs)} runs, {self.settings}; defects: {self.defects}"


def make_plan(rng: random.Random) -> Plan:
    """Draw a folder."""
    np_rng = np.random.default_rng(rng.randrange(2**32))
    kind = rng.choice(FORMATS)
    sfreq = float(rng.choice((100, 128, 200)))
    settings: dict[str, Any] = {"tmin": rng.choice((-0.5, 0.0, 0.5)), "tmax": rng.choice((1.0, 1.5)), "band": None}
    names = rng.sample(SCALP, rng.randint(3, 8))
    names += rng.sample(OTHERS, rng.choice((0, 0, 1, 2)))
    rng.shuffle(names)
    defects: list[str] = []
    if rng.random() < 0.3:
        settings["band"] = [8.0, 30.0]
    scalp = [name for name in names if name in SCALP]
    if kind == "fif" and rng.random() < 0.4:  # the format that says which channels are bad
        settings["bad_channels"] = "keep"
        if len(scalp) > 4:
            settings |= {"bad_channels": "interpolate", "montage": MONTAGE}
            if rng.random() < 0.3:
                settings["channels"] = rng.sample(scalp, 2)
    runs = [_run(rng, np_rng, kind, sfreq, names, settings, defects) for _ in range(rng.randint(1, 3))]
    plan = Plan(kind, sfreq, settings, runs, defects)
    _across_runs(rng, plan, names)
    return plan


def _run(
    rng: random.Random, np_rng: np.random.Generator, kind: str, sfreq: float, names: list[str],
    settings: dict[str, Any], defects: list[str],
) -> Run:  # fmt: skip
    n = int(sfreq * rng.randint(16, 26))
    data = np_rng.normal(size=(len(names), n)).cumsum(axis=1)
    data = 1e-5 * (data - data.mean(axis=1, keepdims=True)) / data.std(axis=1, keepdims=True)
    data += 3e-6 * np_rng.normal(size=data.shape)
    for index, name in enumerate(names):
        if name in ("Trigger", "Marker", "STI 014"):
            data[index] = 1e-5 * np.repeat(np_rng.integers(0, 4, size=n // 50 + 1), 50)[:n]
    first = rng.choice((0, 0, rng.randint(1, 5000))) if kind == "fif" else 0
    raw = mne.io.RawArray(data, mne.create_info(names, sfreq, "eeg"), first_samp=first, verbose="ERROR")
    if rng.random() < 0.5:
        raw.set_meas_date(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    gap = rng.choice((0.7, 1.1, 2.0))
    onsets = np.arange(rng.choice((0.05, 0.6, 1.0)), n / sfreq - 0.1, gap)
    onsets = (np.round(onsets * sfreq) + rng.uniform(-0.3, 0.3)) / sfreq  # never halfway between two samples
    labels = np_rng.choice(["left", "right"], size=len(onsets))
    labels[:2] = ["left", "right"]
    run = Run(raw, onsets, labels, raw)
    events = {"fif": ("annotations", "table"), "vhdr": ("annotations", "table"), "set": ("annotations", "table")}
    run.events = rng.choice(events.get(kind, ("table",)))
    if kind == "bdf" and rng.random() < 0.5:
        run.events = "stim"
    marks: list[tuple[float, float, str]] = []
    marked = run.events == "annotations" or kind == "fif"
    end = n / sfreq
    if marked and rng.random() < 0.5:
        for _ in "12":  # edges near a sample count as on it, in brainbench alone
            begin, long = (beside(rng.uniform(0, most), sfreq) for most in (end - 1, 1))
            long = beside(begin + long, sfreq) - begin
            marks.append((begin, long, rng.choice(("BAD_move", "bad", "BAD x"))))
        defects.append("bad stretches")
    if kind == "vhdr":  # the format counts samples: what is planned is what it can say
        marks = [(round(at * sfreq) / sfreq, max(1, round(long * sfreq)) / sfreq, text) for at, long, text in marks]
    if marked and rng.random() < 0.3:
        marks.append((rng.uniform(1, end - 1), 0.0, "boundary"))
        defects.append("boundary")
    if marked and rng.random() < 0.3 and run.events == "annotations":
        marks.append((rng.uniform(0, end), 0.0, "Comment/looked away"))
        defects.append("comment")
    if kind == "fif":
        scalp = [name for name in names if name in SCALP]
        if len(scalp) > 3 and rng.random() < 0.3:
            raw.info["bads"] = [rng.choice(scalp)]
            defects.append("bads")
        if rng.random() < 0.4:
            raw.set_eeg_reference(projection=True, verbose="ERROR")
            defects.append("projector")
    if kind in ("vhdr", "edf", "gdf") and rng.random() < 0.4:
        units = {"vhdr": ("\u03bcV", "mV", "nV", "uV", "V"), "gdf": ("mV", "nV", "uV", "V")}
        run.unit = rng.choice(units.get(kind, ("mV", "nV", "uV")))
        defects.append(f"unit {run.unit}")
    if rng.random() < 0.1 and run.events != "stim":
        at = rng.randrange(len(onsets))
        other = rng.random() < 0.3
        label = labels[at] if not other else ("left" if labels[at] == "right" else "right")
        run.onsets, run.labels = np.insert(onsets, at, onsets[at]), np.insert(labels, at, label)
        run.doubled = 0 if other else 1
        defects.append("two classes at once" if other else "a label twice")
    what = rng.random()
    scalp_at = [index for index, name in enumerate(names) if name in SCALP]
    if what < 0.03 and kind not in ("edf", "bdf"):  # whole numbers know no NaN
        raw._data[rng.choice(scalp_at), n // 2] = np.nan
        defects.append("NaN")
    elif what < 0.06:
        raw._data[rng.choice(scalp_at)] = 0
        defects.append("flat")
    text = [str(label) for label in run.labels] if run.events == "annotations" else []
    at = list(run.onsets) if run.events == "annotations" else []
    raw.set_annotations(
        mne.Annotations(
            at + [one for one, _, _ in marks], [0.0] * len(at) + [one for _, one, _ in marks],
            text + [one for _, _, one in marks],
        ), verbose="ERROR",
    )  # fmt: skip
    run.expected_names = [name for name in names if name in SCALP]
    run.written = raw
    return run


def _across_runs(rng: random.Random, plan: Plan, names: list[str]) -> None:
    """Draw what differs between runs."""
    if len({run.events == "table" for run in plan.runs}) > 1 or len({run.events for run in plan.runs}) > 1:
        for run in plan.runs[1:]:
            _use_events(run, plan.runs[0].events)
    last, what = plan.runs[-1], rng.random()
    if len(plan.runs) == 1 or "NaN" in plan.defects or "flat" in plan.defects:
        return
    if what < 0.1:
        order = rng.sample(names, len(names))
        last.written = last.raw.copy().reorder_channels(order)
        plan.defects.append("another order")
    elif what < 0.2:
        renamed = {name: OLD.get(name, rng.choice((name.upper(), f"{name}.", f" {name}"))) for name in names}
        renamed = {old: new for old, new in renamed.items() if old in SCALP and old != new}
        # A copy of MNE 1.13 shares the names in its projectors with the original: renaming one renames both.
        last.written = last.raw.copy().del_proj().rename_channels(renamed, verbose="ERROR")
        if last.raw.info["projs"]:
            last.written.set_eeg_reference(projection=True, verbose="ERROR")
        plan.defects.append("other names")
    elif what < 0.25:
        first = plan.runs[0]
        if first is not last:
            plan.runs[-1] = Run(
                first.raw, first.onsets, first.labels, first.written, first.unit, first.events, first.expected_names,
                repeated=True, doubled=first.doubled,
            )  # fmt: skip
            plan.defects.append("a run twice")
    elif what < 0.3:
        last.written = last.raw.copy()
        last.written._data *= 1e3
        plan.defects.append("unit differs")
    elif what < 0.35 and len(last.expected_names) > 2:
        last.written = last.raw.copy().drop_channels([last.expected_names[0]])
        plan.defects.append("channel missing")
    elif what < 0.4:
        last.written = last.raw.copy().resample(plan.sfreq * 2, verbose="ERROR")
        plan.defects.append("rate differs")


def beside(time: float, sfreq: float) -> float:
    """Return a time a twentieth of a sample or more from every sample."""
    sample, part = divmod(time * sfreq, 1)
    return (sample + 0.05 + 0.9 * part) / sfreq


def _use_events(run: Run, events: str) -> None:
    """Give a run its events in another way: all runs of a folder have them in one."""
    marks = run.raw.annotations
    keep = np.array([text not in ("left", "right") for text in marks.description], dtype=bool)
    others = mne.Annotations(marks.onset[keep] - run.raw.first_time, marks.duration[keep], marks.description[keep])
    if events == "annotations":
        others.append(run.onsets, 0.0, run.labels)
    if events == "stim":  # a channel holds one code a sample: the one that is written last
        keep = np.append(np.diff(run.onsets) > 0, True)
        run.onsets, run.labels, run.doubled = run.onsets[keep], run.labels[keep], 0
    run.raw.set_annotations(others, verbose="ERROR")
    run.events = events


def expected(plan: Plan) -> list[tuple[mne.Epochs, Run]]:
    """Return the trials that MNE cuts from what was written, run by run."""
    settings, parts = plan.settings, []
    bads = {name for run in plan.runs for name in run.raw.info["bads"]}
    for run in plan.runs:
        raw = run.raw.copy()
        if len(run.written.ch_names) < len(raw.ch_names):  # a projector knows only the channels that the file has
            raw.drop_channels([name for name in raw.ch_names if name not in run.written.ch_names])
        if raw.info["projs"]:
            raw.apply_proj(verbose="ERROR")
        marks = raw.annotations
        onset = marks.onset - raw.first_time
        own = [at for at, text in enumerate(marks.description) if text.lower().startswith("bad")]
        breaks = [at for at, text in enumerate(marks.description) if text == "boundary"]
        breaks = [at for at in breaks if 0 < round(onset[at] * plan.sfreq) < raw.n_times]
        # A stretch of whole samples touches what has one of them; its edges would be held against seconds by chance.
        inset = 0.25 / plan.sfreq if plan.format == "vhdr" else 0.0
        stretches = mne.Annotations(onset[own] + inset, marks.duration[own] - 2 * inset, marks.description[own])
        breaks_at = np.round(onset[breaks] * plan.sfreq)
        stretches.append(breaks_at / plan.sfreq, 0.0, "EDGE boundary") if breaks else None
        raw.set_annotations(stretches, verbose="ERROR")
        names = [name for name in run.expected_names if name not in bads]
        if "bad_channels" in settings:
            names = settings.get("channels", run.expected_names)
        names = [name for name in names if name in raw.ch_names]
        if settings.get("bad_channels") == "interpolate" and raw.info["bads"]:
            scalp = (
                raw.copy()
                .pick([one for one in run.expected_names if one in raw.ch_names])
                .set_montage(MONTAGE)
                .interpolate_bads(verbose="ERROR")
            )
            raw._data[[raw.ch_names.index(name) for name in scalp.ch_names]] = scalp.get_data()
        raw.info["bads"] = []
        if plan.settings["band"]:
            raw.filter(*plan.settings["band"], picks="all", verbose="ERROR")
        sample = np.round(run.onsets * plan.sfreq).astype(int) + raw.first_samp
        _, first = np.unique(sample, return_index=True)
        events = np.column_stack([sample, 0 * sample, 1 + (run.labels == "right")])[first]
        with raw.info._unlock():
            raw.info["projs"] = []
        epochs = mne.Epochs(
            raw, events, {"left": 1, "right": 2}, settings["tmin"], settings["tmax"], baseline=None, picks=names,
            reject_by_annotation=True, preload=True, on_missing="ignore", verbose="ERROR",
        )  # fmt: skip
        # MNE's own rule compares seconds: whether a trial that begins at an interruption touches it would be chance.
        begin = epochs.events[:, 0] - raw.first_samp + round(settings["tmin"] * plan.sfreq)
        spans = [any(at < one < at + len(epochs.times) for one in breaks_at) for at in begin]
        parts.append((epochs.drop(np.flatnonzero(spans), verbose="ERROR"), run))
    return parts


def write(plan: Plan, root: Path) -> float:
    """Write a folder; return the size of its coarsest rounding in volts."""
    files, rows, step = [], [], 1e-9
    for number, run in enumerate(plan.runs, start=1):
        path = root / f"r{number}{'_raw' if plan.format == 'fif' else ''}.{plan.format}"
        step = max(step, write_recording(path, run.written, unit=run.unit, run=run))
        files.append({"path": path.name, "subject": "s1", "run": str(number)})
        rows += [{"path": path.name, "onset": t, "label": name} for t, name in zip(run.onsets, run.labels, strict=True)]
    pd.DataFrame(files).to_csv(root / "recordings.csv", index=False)
    pd.DataFrame(rows).to_csv(root / "events.csv", index=False, float_format="%.9f")
    return step


def check(plan: Plan, root: Path, rng: random.Random) -> str:
    """Write a folder, read it, and hold it against MNE; return how it ended."""
    step = write(plan, root)
    if rng.random() < 0.05:
        victim = root / next(path.name for path in sorted(root.iterdir()) if path.suffix[1:] == plan.format)
        if plan.format == "vhdr":
            victim = victim.with_suffix(".eeg")
        victim.write_bytes(victim.read_bytes()[: int(victim.stat().st_size * rng.uniform(0.05, 0.9))])
        plan.defects.append("cut short")
    settings = dict(plan.settings, name="eeg-folder")
    settings["events"] = {"table": "events.csv"}.get(plan.runs[0].events, plan.runs[0].events)
    if plan.runs[0].events == "stim":
        settings["labels"] = {"1": "left", "2": "right"}
    elif plan.format == "vhdr" and plan.runs[0].events == "annotations":
        settings["labels"] = {f"Stimulus/{name}": name for name in ("left", "right")}
    dataset = DATASETS.builder("eeg-folder").open(dataset_settings(settings), root, Context())
    assert isinstance(dataset, RecordingDataset)
    parts = expected(plan)
    whole = [part for part, run in parts if not run.repeated and len(part)]
    try:
        trials = dataset.trials("s1")
    except UserError as error:
        if any(defect.startswith(REFUSED) for defect in plan.defects):
            return "refused"
        if not whole and "leaves room" in str(error):
            return "refused"
        raise AssertionError(f"refused without a planted reason: {error}") from error
    if "cut short" in plan.defects:
        # A BrainVision header does not say how many samples there are: what is lost is only counted.
        assert plan.format == "vhdr", "a file that is cut short was read"
        lost = sum(
            int(found[1]) for row in dataset.account("s1")
            for found in re.finditer(r"(\d+) (?:annotations lie outside|events? left out)", str(row))
        )  # fmt: skip
        assert lost, "a file that is cut short was read without a word"
        return "counted"
    n = sum(len(part) for part in whole)
    assert len(trials) == n, f"{len(trials)} trials, MNE has {n}"
    names = whole[0].ch_names
    assert trials.ch_names == names, f"channels {trials.ch_names}, right are {names}"
    right = np.concatenate([part.get_data(verbose="ERROR") for part in whole])
    assert trials.X.shape == right.shape, f"shape {trials.X.shape}, right is {right.shape}"
    off = float(np.abs(trials.X - right).max()) if n else 0.0
    assert off <= 3 * step, f"samples off by {off:.3g} V (rounding {step:.3g})"
    code = {1: "left", 2: "right"}
    labels = [code[number] for part in whole for number in part.events[:, 2]]
    assert trials.label.tolist() == labels, "labels differ"
    _check_account(plan, dataset, parts)
    return "right"


def _check_account(plan: Plan, dataset: RecordingDataset, parts: list[tuple[mne.Epochs, Run]]) -> None:
    """Count: what is used and what is left out of a run is all that it has."""
    rows = dataset.account("s1")
    for number, (part, run) in enumerate(parts, start=1):
        mine = [row for row in rows if row.run == str(number)]
        left = sum(int(row.left_out.split()[0]) for row in mine if re.match(r"\d+ (trial|event)s?$", row.left_out))
        used = sum(int(found[1]) for row in mine if (found := re.match(r"(\d+) trials?\b", row.used)))
        assert used == (0 if run.repeated else len(part)), f"run {number}: {used} trials said to be used"
        n, other = (
            len(run.onsets),
            run.events == "stim",
        )  # further stim channels have codes of their own, which are counted too
        assert used + left == n or (other and used + left > n), f"run {number}: {used} used, {left} out, of {n}"
        channels = sum(int(found[1]) for row in mine if (found := re.match(r"(\d+) channels?\b", row.left_out)))
        kept = next(int(found[1]) for row in mine if (found := re.search(r", (\d+) channels?", row.used)))
        n = len(run.written.ch_names) + (plan.format == "bdf")
        assert kept + channels == n, f"run {number}: {kept} channels used, {channels} left out, of {n}"


def mutated_recording(rng: random.Random) -> Callable[[], str]:
    """Return a case of one folder of recordings."""
    plan = make_plan(rng)

    def case() -> str:
        root = Path(tempfile.mkdtemp(prefix="fuzz-recordings-"))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return check(plan, root, rng)
        finally:
            shutil.rmtree(root)

    case.text = str(plan)  # type: ignore[attr-defined]
    return case


def main() -> None:
    """Run cases and print their counts; exit code 1 where something crashed or changed without a word."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", type=int, default=None)
    options = parser.parse_args()
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    mne.set_log_level("ERROR")
    ends: Counter[str] = Counter()
    start = time.monotonic()
    for number in range(options.n) if options.only is None else [options.only]:
        case = mutated_recording(random.Random(f"{seed}-recordings-{number}"))
        try:
            ends[case()] += 1
        except UserError as error:
            ends["refused"] += 1
            print(f"case {number}: refused on opening: {error}\n  {case.text}")  # type: ignore[attr-defined]
        except AssertionError as error:
            ends["changed"] += 1
            print(f"case {number}: {error}\n  {case.text}", flush=True)  # type: ignore[attr-defined]
        except Exception:
            ends["crashed"] += 1
            print(f"case {number}\n  {case.text}\n{traceback.format_exc(limit=-5)}", flush=True)  # type: ignore[attr-defined]
    counts = ", ".join(f"{n} {name}" for name, n in sorted(ends.items()))
    print(f"recordings: {sum(ends.values())} cases, {counts}; {time.monotonic() - start:.0f} s")
    sys.exit(int(bool(ends["changed"] + ends["crashed"])))


if __name__ == "__main__":
    main()
