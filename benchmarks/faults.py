"""Faults: runs that are killed, files that are damaged or exchanged, full disks; scores stay byte for byte.

    python benchmarks/faults.py --part kills corruptions disks readonly together --seed 1 --data ../shared/data

``kills`` ends runs of every kind with SIGKILL at random moments until each has been killed so many times, and resumes
them. ``corruptions`` changes, cuts, exchanges or removes one file of a finished run or its cache and runs it again.
``disks`` runs on file systems that are too small, in growing sizes; ``readonly`` with a run folder, a cache, or both
that cannot be written (both must be allowed to mount). ``together`` starts two processes on one run folder, or on one
cache. A file that somebody put beside brainbench's must be there at the end. No page is drawn. Exit code 1 if a table
differs or something was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))

import nilearn.maskers  # noqa: F401
import numpy as np
import scipy.stats  # noqa: F401
from PIL import Image

import brainbench as bb
from benchmarks.golden import EEG, EEG_LAYERS, EXPLORE, RECONSTRUCT
from brainbench.core.errors import UserError
from brainbench.recipes.reader import read_recipe
from brainbench.runs.folder import RunFolder
from brainbench.studies.base import study_class
from tests.studies.recipes import SMALL

DECODE = """\
kind: decode
dataset: {name: simulated, images: drawings, n_subjects: 1, n_stimuli: 48, n_repeats: 2, n_runs: 4,
          rois: [{roi: stripes-area, prefers: stripes, n_voxels: 10, ceiling: 0.8}]}
decoding: {label: category, decoders: [{name: lda, classifier: shrinkage_lda}], pairwise: true}
hold_out: [run]
significance: {n_permutations: 99}
bootstrap: {n_draws: 99}
"""
ENCODE = (
    SMALL.replace("n_subjects: 2", "n_subjects: 1").replace("n_stimuli: 90", "n_stimuli: 48")
    .replace("n_permutations: 99", "n_permutations: 19").replace("n_draws: 50", "n_draws: 9")
)  # fmt: skip
PRETRAIN = """\
kind: pretrain
dataset: {name: physionet-mi, subjects: [S001, S002], paradigm: imagery_left_right, band: [0.5, 30.0], sfreq: 64.0}
held_out: [S002]
seconds: 2.0
tokenizer:
  {window: 64, n_filters: 2, ratios: [4, 2], width: 8, n_heads: 2, n_sources: 3, n_levels: 2, n_codes: 8}
training: {steps: 150, batch_size: 4, sensors: 6, learning_rate: 0.003, ema: 0.9}
masked: {width: 8, n_heads: 2, depth: 2, steps: 100}
least_perplexity: 0.0
execution: {jobs: 1}
"""
RSA = """\
kind: rsa
dataset: {name: rdm, rdms: "{subject}.npy", rois: [V1, LO]}
encoders: [{name: images, family: pixels, role: model, image_size: 16}, {name: coarse, family: pixels, image_size: 2}]
similarity: [rsa, rsa_pearson]
significance: {n_permutations: 9999}
"""
LENS = """\
kind: lens
dataset: {name: stimuli}
encoders:
  - {name: vit, family: image, model: test_vit, weights: random, image_size: 32}
  - {name: other, family: image, model: test_vit2, weights: random, image_size: 32}
lens: {diagnostics: [stream, attention, units], stimuli: 40}
"""


def write_pictures(folder: Path) -> None:
    """Forty images of noise."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(40):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")


def write_rdms(folder: Path) -> None:
    """Two participants' RDMs of noise in two regions, of the images."""
    write_pictures(folder)
    rng = np.random.default_rng(1)
    (folder / "stimuli.csv").write_text("id,path\n" + "".join(f"{number},{number}.png\n" for number in range(40)))
    for subject in ("s1", "s2"):
        np.save(folder / f"{subject}.npy", rng.uniform(0.1, 2, (2, 40 * 39 // 2)))


RUNS: dict[str, tuple[str, str | Callable[[Path], None] | None]] = {
    "encode": (ENCODE, None),
    "decode": (DECODE, None),
    "reconstruct": (RECONSTRUCT, None),
    "explore": (EXPLORE, None),
    "trials": (EEG, "MNE-eegbci-data"),
    "layers of EEGNet": (EEG_LAYERS, "MNE-eegbci-data"),
    "pretrain": (PRETRAIN, "MNE-eegbci-data"),
    "rsa": (RSA, write_rdms),
    "lens": (LENS, write_pictures),
}
"""Name -> recipe, and the folder of recordings that it reads or what writes one."""


class Job:
    """One recipe with a run folder and a cache of its own, run in child processes."""

    def __init__(self, name: str, folder: Path, data: Path, cache: Path | None = None) -> None:
        text, reads = RUNS[name]
        self.folder = folder
        self.cache = folder / "cache" if cache is None else cache
        folder.mkdir(parents=True, exist_ok=True)
        root = folder.parent / reads.__name__ if callable(reads) else data / (reads or "")
        if callable(reads) and not root.exists():
            reads(root)
        self.overrides = [] if reads is None else [f"dataset.root={root.resolve()}"]
        (folder / "recipe.yaml").write_text(text, encoding="utf-8")

    @property
    def run(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.folder / "run")

    @property
    def scores(self) -> bytes:
        """The table of the finished run."""
        return (self.folder / "run" / "scores.csv").read_bytes()

    def start(self) -> int:
        """Run in a child, and return its process id; it ends with 0, with 2 for a message, with 1 for a crash."""
        # A child has what its parent has imported: most of a small run that finds its units is imports otherwise.
        study_class(read_recipe(self.folder / "recipe.yaml", self.overrides))
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            warnings.simplefilter("ignore")
            page = patch("brainbench.report.write_report", lambda folder: (folder / "report.html").write_text(""))
            page.start()  # drawing takes most of a small run and holds nothing that a later run reads
            bb.run(
                self.folder / "recipe.yaml", overrides=self.overrides, out=self.folder / "run",
                cache=self.cache,
            )  # fmt: skip
            code = 0
        except UserError as error:
            code = 2
            with contextlib.suppress(OSError):  # the disk may be full
                (self.folder / "message.txt").write_text(str(error))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def finish(self) -> int:
        """Run to the end; return the exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.start(), 0)[1])


def kills(rng: random.Random, n: int, data: Path, work: Path) -> list[str]:
    """Kill every kind `n` times at random moments and resume it."""
    wrong, total = [], 0
    for name, (_, reads) in RUNS.items():
        if isinstance(reads, str) and not (data / reads).is_dir():
            print(f"kills: {name} left out: {data / reads} is not there")
            continue
        reference, job = Job(name, work / f"{name}-whole", data), Job(name, work / f"{name}-killed", data)
        start = time.monotonic()
        assert reference.finish() == 0, f"{name} does not run"
        seconds = time.monotonic() - start
        killed, began_again, attempts = 0, 0, 0
        while killed < n and attempts < 4 * n:
            attempts += 1
            child = job.start()
            time.sleep(rng.uniform(0.01, 0.7) * seconds)
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            killed += os.WIFSIGNALED(status)
            mine = job.folder / "run" / "notes.txt"
            if mine.parent.is_dir() and (mine.parent / "events.jsonl").exists() and not mine.exists():
                mine.write_text("mine")
            if not os.WIFSIGNALED(status) or rng.random() < 0.2:  # from nothing, so that early moments are met again
                if os.WIFSIGNALED(status) and job.finish() != 0:
                    wrong.append(f"{name}: did not resume")
                began_again += 1
                wrong += _check(name, job, reference)
                shutil.rmtree(job.folder / "run", ignore_errors=True)
                if rng.random() < 0.5:
                    shutil.rmtree(job.folder / "cache", ignore_errors=True)
        if job.finish() != 0:
            wrong.append(f"{name}: did not resume")
        wrong += _check(name, job, reference)
        total += killed
        print(
            f"kills: {name}: {killed} kills, {began_again + 1} runs resumed to their end ({seconds:.0f} s each)",
            flush=True,
        )
    print(f"kills: {total} in all, {len(wrong)} wrong", flush=True)
    return wrong


def _check(name: str, job: Job, reference: Job) -> list[str]:
    wrong = []
    if job.scores != reference.scores:
        wrong.append(f"{name}: other scores")
    events = job.run.events()
    done = [event["unit"] for event in events if event["event"] == "unit_done"]
    if len(done) != len(set(done)):
        wrong.append(f"{name}: a finished unit was computed twice")
    if list(job.folder.rglob(".tmp-*")):
        wrong.append(f"{name}: half-written files stay")
    mine = job.folder / "run" / "notes.txt"
    if mine.exists() and mine.read_text() != "mine":
        wrong.append(f"{name}: a file of somebody else was changed")
    return wrong


def corruptions(rng: random.Random, n: int, data: Path, work: Path) -> list[str]:
    """Damage one file of a finished run at a time, and run it again with nothing but the cache and the units."""
    name = "encode"
    job = Job(name, work / "whole", data)
    assert job.finish() == 0
    scores, wrong, ends = job.scores, [], Counter[str]()
    for _ in range(n):
        shutil.rmtree(work / "damaged", ignore_errors=True)
        shutil.copytree(work / "whole", work / "damaged")
        other = Job(name, work / "damaged", data)
        files = [path for path in sorted(other.folder.rglob("*")) if path.is_file() and path.name != "recipe.yaml"]
        path = rng.choice(files)
        how = rng.choice([_cut, _flip, _remove, _exchange])
        how(path, [one for one in files if one.suffix == path.suffix and one != path], rng)
        (other.folder / "run" / "report.html").unlink(missing_ok=True)  # it has not finished, then
        code = other.finish()
        ends[f"{how.__name__[1:]}"] += 1
        if code != 0 or other.scores != scores:
            what = "other scores" if code == 0 else f"exit code {code}"
            wrong.append(f"{path.relative_to(other.folder)} {how.__name__[1:]}: {what}")
    counts = ", ".join(f"{count} {what}" for what, count in ends.items())
    print(f"corruptions: {ends.total()} ({counts}), {len(wrong)} wrong", flush=True)
    return wrong


def _cut(path: Path, others: list[Path], rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) + 1)])


def _flip(path: Path, others: list[Path], rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 8))):
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))


def _remove(path: Path, others: list[Path], rng: random.Random) -> None:
    path.unlink()


def _exchange(path: Path, others: list[Path], rng: random.Random) -> None:
    if others:
        shutil.copy(rng.choice(others), path)


def disks(rng: random.Random, n: int, data: Path, work: Path) -> list[str]:
    """Run on file systems of growing sizes; each that is too small ends in a message, and the next one continues."""
    reference = Job("encode", work / "whole", data)
    assert reference.finish() == 0
    needed = sum(path.stat().st_size for path in reference.folder.rglob("*") if path.is_file())
    wrong, ends = [], []
    for share in [(k + 0.5) / n for k in range(n)] + [3.0]:
        place = work / f"disk-{share:.2f}"
        place.mkdir()
        size = max(64, int(share * needed / 1024))
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(place)], capture_output=True
        )
        if mounted.returncode:
            print("disks: left out: no file system can be mounted here")
            return wrong
        try:
            job = Job("encode", place / "job", data)
            code = job.finish()
            ends.append(f"{size} kB: {'finished' if code == 0 else 'refused' if code == 2 else f'exit code {code}'}")
            if code not in (0, 2):
                wrong.append(f"a disk of {size} kB: exit code {code}")
            if code == 0 and job.scores != reference.scores:
                wrong.append(f"a disk of {size} kB: other scores")
            if list(place.rglob(".tmp-*")):
                wrong.append(f"a disk of {size} kB: half-written files stay")
            if code == 2:
                subprocess.run(["mount", "-o", f"remount,size={size + 4 * needed // 1024}k", str(place)], check=True)
                if job.finish() != 0 or job.scores != reference.scores:
                    wrong.append(f"a disk of {size} kB: did not continue when there was space")
        finally:
            subprocess.run(["umount", str(place)], check=False)
    print(f"disks: {', '.join(ends)}", flush=True)
    return wrong


def readonly(rng: random.Random, n: int, data: Path, work: Path) -> list[str]:
    """Run where the run folder, the cache or both cannot be written: a message or the same scores, then to the end."""
    reference = Job("encode", work / "whole", data)
    assert reference.finish() == 0
    wrong, ends = [], []
    for what in (("run",), ("cache",), ("run", "cache")):
        for filled in (False, True):  # with and without what an earlier run left
            place = work / f"{'-'.join(what)}-{filled}"
            job = Job("encode", place, data)
            for name in what:
                (place / name).mkdir()
                if subprocess.run(["mount", "-t", "tmpfs", "none", str(place / name)], capture_output=True).returncode:
                    print("readonly: left out: no file system can be mounted here")
                    return wrong
            try:
                if filled:
                    assert job.finish() == 0
                    (place / "run" / "report.html").unlink()  # it has not finished, then
                for name in what:
                    subprocess.run(["mount", "-o", "remount,ro", str(place / name)], check=True)
                before = _content(place)
                code = job.finish()
                label = f"{' and '.join(what)} of {'a finished run' if filled else 'nothing'}"
                ends.append(f"{label}: {'finished' if code == 0 else 'refused' if code == 2 else f'exit code {code}'}")
                if code not in (0, 2) or (code == 0 and job.scores != reference.scores):
                    wrong.append(f"read-only {label}: exit code {code}, or other scores")
                lost = [path for path, text in before.items() if _content(place).get(path) != text and "run" in what]
                if lost and code == 2:
                    wrong.append(f"read-only {label}: {lost[0]} was changed")
                for name in what:
                    subprocess.run(["mount", "-o", "remount,rw", str(place / name)], check=True)
                if job.finish() != 0 or job.scores != reference.scores:
                    wrong.append(f"read-only {label}: did not continue when it could be written")
            finally:
                for name in what:
                    subprocess.run(["umount", str(place / name)], check=False)
    print(f"readonly: {', '.join(ends)}", flush=True)
    return wrong


def _content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("message.txt", "recipe.yaml"))
    return {str(path): path.read_bytes() for path in files}


def together(rng: random.Random, n: int, data: Path, work: Path) -> list[str]:
    """Start two processes a moment apart on one run folder, or on two run folders and one cache."""
    reference = Job("encode", work / "whole", data)
    start = time.monotonic()
    assert reference.finish() == 0
    seconds = time.monotonic() - start
    wrong, ends = [], Counter[str]()
    for number in range(n):
        one = Job("encode", work / f"{number}-one", data)
        other = one if number % 2 else Job("encode", work / f"{number}-other", data, one.cache)
        first = one.start()
        time.sleep(rng.uniform(0.0, 0.8) * seconds)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in (first, other.start())]
        where = "one run folder" if other is one else "one cache"
        ends[f"{where}: exit codes {codes[0]} and {codes[1]}"] += 1
        again = [job.finish() for job in {id(one): one, id(other): other}.values() if 2 in codes]
        if not {0} <= {*codes} <= {0, 2} or any(again):
            wrong.append(f"{where}: exit codes {codes}, then {again}")
        elif any(job.scores != reference.scores for job in (one, other)):
            wrong.append(f"{where}: other scores")
        wrong += [f"{where}: half-written files stay" for job in (one, other) if list(job.folder.rglob(".tmp-*"))]
    print(f"together: {', '.join(f'{count} x {what}' for what, count in ends.items())}", flush=True)
    return wrong


PARTS: dict[str, tuple[Callable[[random.Random, int, Path, Path], list[str]], int]] = {
    "kills": (kills, 9),
    "corruptions": (corruptions, 200),
    "disks": (disks, 8),
    "readonly": (readonly, 1),
    "together": (together, 10),
}
"""Part -> function, and how many times: kills of each kind, damaged files, sizes, pairs of processes."""


def main() -> None:
    """Run parts and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--n", type=int, default=None)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", nargs="+", choices=RUNS, help="kinds that are killed")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the recordings")
    options = parser.parse_args()
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    wrong = []
    only = options.only or list(RUNS)
    for name in set(RUNS) - set(only):
        del RUNS[name]
    for part in options.part:
        function, times = PARTS[part]
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            wrong += function(random.Random(f"{seed}-{part}"), options.n or times, options.data, Path(folder))
    for sentence in wrong:
        print(f"WRONG  {sentence}")
    print(f"{len(wrong)} wrong")
    sys.exit(int(bool(wrong)))


if __name__ == "__main__":
    main()
