"""A recipe from start to end, and everything that can go wrong on the way."""

import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

import brainbench as bb
from brainbench.cli import main
from brainbench.core.errors import UserError
from brainbench.recipes.reader import parse_recipe
from brainbench.runs.columns import COLUMNS
from brainbench.runs.folder import RunFolder
from brainbench.runs.units import jobs_to_use
from brainbench.studies.opened import open_all
from tests import processes
from tests.processes import command
from tests.studies.recipes import SMALL, write_recipe

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("shared-cache")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cache):
    """One finished run that tests may read but not change."""
    folder = tmp_path_factory.mktemp("finished")
    return bb.run(write_recipe(folder), out=folder / "run", cache=cache)


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run, to be changed."""
    return shutil.copytree(finished.path, tmp_path / "run")


def test_scores_are_long_form_with_ceilings_nulls_and_q(finished):
    scores = finished.scores
    assert list(scores.columns) == list(COLUMNS)
    assert set(scores["subject"]) == {"sim-01", "sim-02", "mean"}
    assert {"pearson_r", "median_pearson_r", "r2", "unique_r2", "rsa", "cka"} <= set(scores["metric"])
    tested = scores[(scores["metric"] == "pearson_r") & (scores["fold"] == "all") & (scores["subject"] == "sim-01")]
    assert len(tested) == 5 * 3  # layers of both encoders x regions
    assert tested[["value", "p", "q", "ci_low", "ci_high", "null_95"]].notna().all().all()
    assert (tested["q"] >= tested["p"] - 1e-12).all()
    assert tested["p"].min() < 1 / 100  # a tail goes on where no exchange reaches the score
    assert tested.loc[tested["roi"] != "silent", "ceiling"].between(0.7, 0.9).all()
    r2 = scores[(scores["metric"] == "r2") & (scores["roi"] == "fine") & (scores["fold"] == "all")]
    assert r2.loc[r2["subject"] == "sim-01", "ceiling"].between(0.5, 0.8).all()
    assert not scores.duplicated(["subject", "scheme", "encoder", "layer", "pipeline", "roi", "fold", "metric"]).any()


def test_every_score_is_what_it_was(finished):
    """A change that is to move no score moves none by more than the float32 of stored predictions does."""
    with open(Path(__file__).with_name("small_scores.csv"), newline="") as handle:
        was = {name: np.array(values, dtype=float) for name, *values in csv.reader(handle)}
    now = {path.stem: np.load(path, allow_pickle=False) for path in finished.path.glob("targets/*pearsonr.npy")}
    assert now.keys() == was.keys() and len(now) == 10
    for name, values in now.items():
        np.testing.assert_allclose(values, was[name], rtol=0, atol=1e-6, err_msg=name)


def test_the_planted_layers_are_found(finished):
    scores = finished.scores
    lead = scores[(scores["metric"] == "pearson_r") & (scores["fold"] == "all") & (scores["encoder"] == "gabor")]
    for subject in ("sim-01", "sim-02", "mean"):
        for roi, layer in (("fine", "scale.0"), ("coarse", "scale.3")):
            cell = lead[(lead["subject"] == subject) & (lead["roi"] == roi)]
            assert cell.loc[cell["value"].idxmax(), "layer"] == layer
    assert lead.loc[lead["roi"] == "silent", "value"].abs().max() < 0.15


def test_the_run_folder_can_be_read_without_brainbench(finished):
    path = finished.path
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["status"] == "finished" and manifest["seed"] == 3
    assert {"python", "versions", "hardware", "stages", "peak_memory_mb"} <= set(manifest)
    targets = sorted(path.glob("targets/*.npy"))
    assert len(targets) == 2 * 5 * 2 and np.load(targets[0], allow_pickle=False).shape == (36,)
    assert len(list(path.glob("maps/*.nii.gz"))) >= 20 and list(path.glob("figures/*.svg"))
    events = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]
    done = [event["unit"] for event in events if event["event"] == "unit_done"]
    assert len(done) == len(set(done)) == len(list(path.glob("units/*.npz")))
    assert pd.read_csv(path / "scores.csv").shape[0] == len(finished.scores)
    assert "simulated" in (path / "report.html").read_text().lower()


def test_a_second_run_is_quick_and_imports_nothing_heavy(finished, cache):
    code = (
        "import sys, time\n"
        "import brainbench as bb\n"
        f"bb.run({str(finished.path.parent / 'small.yaml')!r}, out={str(finished.path)!r}, cache={str(cache)!r})\n"
        "heavy = {'torch', 'nilearn', 'sklearn', 'matplotlib', 'timm', 'transformers'} & set(sys.modules)\n"
        "print(sorted(heavy), time.process_time())"  # processor time since Python started; neighbours change it little
    )
    before = (finished.path / "scores.csv").stat().st_mtime_ns
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] ")
    assert float(done.stdout.split()[-1]) < 3
    assert (finished.path / "scores.csv").stat().st_mtime_ns == before


def test_jobs_never_change_a_byte(finished, tmp_path, cache, no_page):
    recipe = write_recipe(tmp_path)
    for jobs in {1, 2} - {jobs_to_use(0, 1)}:
        run = bb.run(recipe, overrides=[f"execution.jobs={jobs}"], out=tmp_path / f"jobs{jobs}", cache=cache)
        assert (run.path / "scores.csv").read_bytes() == (finished.path / "scores.csv").read_bytes()


def test_a_changed_setting_is_computed_and_the_rest_is_kept(copied, tmp_path, cache, no_page):
    recipe = write_recipe(tmp_path)
    first = bb.open_run(copied)
    fits = {event["unit"] for event in first.folder.events() if event.get("kind") == "fit"}
    old = first.scores
    again = bb.run(recipe, overrides=["significance.n_permutations=49"], out=tmp_path / "run", cache=cache)
    assert {event["unit"] for event in again.folder.events() if event.get("kind") == "fit"} == fits
    assert again.scores.query("subject != 'mean'")["p"].min() == pytest.approx(1 / 50)
    assert old.query("subject != 'mean' and metric == 'rsa'")["p"].min() <= 1 / 100
    other = bb.run(recipe, overrides=["head.n_alphas=5"], out=tmp_path / "run", cache=cache)
    assert {event["unit"] for event in other.folder.events() if event.get("kind") == "fit"} > fits
    back = bb.run(recipe, out=tmp_path / "run", cache=cache)
    pd.testing.assert_frame_equal(back.scores, old)


def test_damaged_units_and_missing_files_are_made_again(copied, tmp_path, cache, no_page):
    recipe = write_recipe(tmp_path)
    run = bb.open_run(copied)
    expected = (run.path / "scores.csv").read_bytes()
    units = sorted((run.path / "units").iterdir())
    units[0].write_bytes(b"not a zip archive")
    units[1].write_bytes(units[1].read_bytes()[:100])
    units[2].unlink()
    (run.path / "scores.csv").unlink()
    assert bb.run(recipe, out=tmp_path / "run", cache=cache).path.joinpath("scores.csv").read_bytes() == expected
    for unit in units:
        unit.write_bytes(unit.read_bytes()[:200])
    (run.path / "scores.csv").unlink()
    assert bb.run(recipe, out=tmp_path / "run", cache=cache).path.joinpath("scores.csv").read_bytes() == expected
    counts = pd.Series([e["unit"] for e in run.folder.events() if e["event"] == "unit_done"]).value_counts()
    assert counts.max() == 1


def wait_for(condition, seconds=240):
    end = time.time() + seconds
    while time.time() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def start(recipe, out, cache, *more):
    return processes.start("run", recipe, "--out", out, "--cache", cache, *more)


def test_kill_9_at_three_moments_changes_nothing(finished, tmp_path):
    recipe, out, cache = write_recipe(tmp_path), tmp_path / "run", tmp_path / "cache"
    folder = RunFolder(out)

    def done():
        return sum(event["event"] == "unit_done" for event in folder.events())

    total = sum(event["event"] == "unit_done" for event in finished.folder.events())
    rng = np.random.default_rng(0)
    killed = 0

    def at(share, process):
        ready = out.exists() if share == 0 else done() >= share * total
        return ready or process.poll() is not None

    for share in (0.0, 0.2, 0.8):
        process = start(recipe, out, cache)
        wait_for(partial(at, share, process))
        time.sleep(float(rng.uniform(0, 0.05)))
        killed += process.poll() is None
        process.kill()
        process.wait()
    assert killed >= 2
    left = done()
    last = start(recipe, out, cache).wait(timeout=300)
    assert last.returncode == 0, last.stderr
    assert (out / "scores.csv").read_bytes() == (finished.path / "scores.csv").read_bytes()
    events = folder.events()
    units = [event["unit"] for event in events if event["event"] == "unit_done"]
    assert len(units) == len(set(units)) == total and left < total
    started = pd.Series([event["unit"] for event in events if event["event"] == "unit_started"]).value_counts()
    # Only what was in flight at a kill is started again: at most one unit per job and kill.
    assert (started - 1).sum() <= 3 * os.cpu_count()
    assert not list(out.rglob(".tmp-*")) and not list(cache.rglob(".tmp-*"))


def test_ctrl_c_keeps_what_is_done(tmp_path, cache, no_page):
    recipe, out = write_recipe(tmp_path), tmp_path / "run"
    process = start(recipe, out, cache)
    folder = RunFolder(out)
    assert wait_for(lambda: any(event["event"] == "unit_done" for event in folder.events()))
    process.send_signal(signal.SIGINT)
    ended = process.wait(timeout=300)
    assert ended.returncode == 130
    assert "run the same command to continue" in ended.stderr and "Traceback" not in ended.stderr
    kept = sum(event["event"] == "unit_done" for event in folder.events())
    run = bb.run(recipe, out=out, cache=cache)
    assert kept > 0 and run.manifest["status"] == "finished"


def test_two_processes_on_one_cache_and_one_folder(finished, tmp_path):
    recipe, cache = write_recipe(tmp_path), tmp_path / "cache"
    with pytest.raises(UserError, match="not a run folder"):
        bb.open_run(tmp_path)
    both = {name: start(recipe, tmp_path / name, cache, "--quiet") for name in ("a", "b")}
    for name, process in both.items():
        ended = process.wait(timeout=300)
        assert ended.returncode == 0 and ended.stdout.strip() == str(tmp_path / name / "report.html")
        # As from Python, which made the finished run.
        assert (tmp_path / name / "scores.csv").read_bytes() == (finished.path / "scores.csv").read_bytes()
        assert bb.open_run(tmp_path / name).scores.equals(finished.scores)
    with RunFolder(tmp_path / "a").writing():
        done = command("run", recipe, "--out", tmp_path / "a", "--set", "seed=9", "--cache", cache)
    assert done.returncode == 2 and "another process is writing" in done.stderr


def test_a_full_disk_is_one_message_and_the_run_continues(tmp_path, cache, monkeypatch, no_page):
    recipe, out = write_recipe(tmp_path), tmp_path / "run"
    real, calls = os.replace, []

    def replace(source, target):
        if "units" in str(target):
            calls.append(target)
            if len(calls) > 5:
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(UserError, match="no space left on the disk"):
        bb.run(recipe, out=out, cache=cache)
    monkeypatch.setattr(os, "replace", real)
    assert not list(out.rglob(".tmp-*"))
    assert bb.run(recipe, out=out, cache=cache).manifest["status"] == "finished"


def test_an_inner_or_read_only_place_is_one_message(tmp_path, cache):
    recipe = write_recipe(tmp_path)
    (tmp_path / "file").write_text("x")
    for arguments in (["--out", tmp_path / "file"], ["--out", tmp_path / "file" / "run"]):
        done = command("run", recipe, *arguments, "--cache", cache)
        assert done.returncode == 2 and "Traceback" not in done.stderr and "file" in done.stderr
    done = command("run", recipe, "--out", tmp_path / "run", "--cache", tmp_path / "file")
    assert done.returncode == 2 and "Traceback" not in done.stderr and "cannot be a folder" in done.stderr


def test_a_corrupt_cache_entry_is_never_served(finished, tmp_path, cache, no_page):
    recipe, cache = write_recipe(tmp_path), shutil.copytree(cache, tmp_path / "cache")
    for path in cache.rglob("features.npy"):
        values = np.lib.format.open_memmap(path, mode="r+")
        values[0, 0] += 1
        values.flush()
        del values
    with pytest.warns(UserWarning, match="computed again"):
        run = bb.run(recipe, out=tmp_path / "b", cache=cache)
    assert (run.path / "scores.csv").read_bytes() == (finished.path / "scores.csv").read_bytes()


def test_plan_says_what_is_cached_and_what_is_left(finished, cache, tmp_path):
    recipe = finished.path.parent / "small.yaml"
    text = bb.plan(recipe, out=finished.path, cache=cache).render()
    assert "(finished)" in text and "gabor: 4 layers, done" in text and "0 to compute" in text
    new = bb.plan(recipe, out=tmp_path / "new", cache=tmp_path / "empty").render()
    assert "time        about 0 s" in text and re.search(r"time        about \d+ (s|min)", new)
    assert "GB at its peak" in new and "to compute" in new and "(finished)" not in new
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["execution.memory_gb=0.01"], "GB are allowed by execution.memory_gb"),
        (["encoders[1]={name: minilm, family: text, model: minilm, role: control}"], "reads text or word stimuli"),
        (["encoders[0].layers=[scale.9]"], "layer pattern 'scale.9' matches none"),
        (["folds.n_splits=500"], "n_splits"),
        (["folds={scheme: predefined, column: fold}"], "no row label 'fold'"),
        (["folds.scheme=contiguous"], "'contiguous' is for continuous designs"),
        (["dataset.subjects=[]"], "an empty list names nobody"),
        (["dataset.subjects=[sim-03]"], "'sim-03' is not a subject"),
        (["dataset.images=/nowhere"], "/nowhere"),
        (["ceiling.method=between_subjects"], "needs three or more participants"),
        (["dataset.rois[0].layer=scale.7"], "scale.7"),
        (["zero_shot={n_shuffles: 1}", "dataset.n_repeats=1"], "were shown in one run alone"),
        (["significance.null=block"], "'block' is for continuous designs"),
        (["encoders[1]={name: loud, family: recorded, feature: sound_power}"], "sound_power"),
    ],
)
def test_what_only_the_data_can_tell_is_one_message(tmp_path, cache, change, message, capsys):
    arguments = ["run", write_recipe(tmp_path), "--out", tmp_path / "run", "--cache", cache]
    arguments += [part for setting in change for part in ("--set", setting)]
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    errors = capsys.readouterr().err
    assert caught.value.code == 2 and message in errors and "Traceback" not in errors
    assert not (tmp_path / "run" / "scores.csv").exists()


def test_compare_export_and_report(finished, tmp_path, cache):
    other = bb.run(
        write_recipe(tmp_path), overrides=["seed=4", "dataset.n_subjects=1"], out=tmp_path / "other", cache=cache
    )
    done = command("compare", finished.path, other.path, "--csv", tmp_path / "both.csv")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "both.csv")
    mine = finished.scores.query("metric == 'pearson_r' and fold == 'all' and subject == 'sim-01' and roi == 'fine'")
    joined = table.query("subject == 'sim-01' and roi == 'fine'")
    assert sorted(joined["run"].round(6)) == sorted(mine["value"].round(6))
    done = command("compare", finished.path, other.path, "--metric", "pearson")
    assert done.returncode == 2 and "did you mean" in done.stderr
    done = command("export", other.path, "--out", tmp_path / "export", "--cache", cache)
    assert done.returncode == 0, done.stderr
    y_true = np.load(next((tmp_path / "export" / "predictions").glob("*gabor*scale.0_ytrue.npy")))
    y_pred = np.load(next((tmp_path / "export" / "predictions").glob("*gabor*scale.0_ypred.npy")))
    assert y_true.shape == y_pred.shape == (90, 36)
    found = other.predictions(encoder="gabor", layer="scale.0", cache=str(cache))
    np.testing.assert_array_equal(found.y_pred, y_pred)
    np.testing.assert_array_equal(found.y_true, y_true)
    # Repeats are averaged, so that the number of a row is not that of a presentation: its stimulus is named.
    dataset = open_all(parse_recipe((other.path / "recipe.yaml").read_text(), "recipe.yaml"), cache).dataset
    shown, ids = dataset.responses("sim-01"), np.array(dataset.stimuli("sim-01").ids)
    means = np.array([shown.data[ids[shown.stimulus] == one].mean(axis=0) for one in found.stimulus])
    for fold in range(3):
        trained_on = means[found.fold != fold].mean(axis=0)
        np.testing.assert_allclose(found.y_true[found.fold == fold], means[found.fold == fold] - trained_on, atol=1e-5)
    stimulus = np.load(next((tmp_path / "export" / "predictions").glob("*gabor*scale.0_stimulus.npy")))
    assert len(shown.data) > 90 and list(stimulus) == list(found.stimulus)
    assert repr(found) == "Predictions(sim-01, stimulus, gabor scale.0): 90 rows x 36 targets"
    with pytest.raises(UserError, match="has no layer"):
        other.predictions(layer="scale.9", cache=str(cache))
    coef = np.load(next((tmp_path / "export" / "weights").glob("*gabor*scale.0_coef.npy")))
    assert coef.shape[1] == 36 and np.isfinite(coef).all()
    preference = np.load(next((tmp_path / "export" / "preference").glob("*.npy")))
    assert (preference[:12] == 0).mean() > 0.7 and (preference[12:24] == 3).mean() > 0.7
    # In an image everything outside is 0, so that the first layer is 1.
    image = nibabel.load(next((tmp_path / "export" / "maps").glob("*stat-preferredlayer.nii.gz"))).get_fdata()
    assert sorted(image[image != 0]) == sorted(preference[preference >= 0] + 1)
    (other.path / "report.html").unlink()
    done = command("report", other.path)
    assert done.returncode == 0 and (other.path / "report.html").exists()


def test_the_seed_decides_everything_random(tmp_path, cache, finished, no_page):
    run = bb.run(write_recipe(tmp_path), overrides=["seed=4"], out=tmp_path / "run", cache=cache)
    assert not run.scores["value"].equals(finished.scores["value"])
    assert SMALL.count("seed: 3") == 1
