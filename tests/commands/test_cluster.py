"""A real scheduler and separate worker processes on 127.0.0.1."""

import signal
import socket
import time

import pytest

import brainbench as bb
from brainbench.core.errors import UserError
from brainbench.recipes.parts import Execution, Slurm
from brainbench.runs import cluster
from brainbench.runs.folder import RunFolder
from tests import processes
from tests.figures import unwritten
from tests.studies.recipes import SMALL, write_recipe

pytestmark = pytest.mark.long

pytest.importorskip("distributed")


RECIPE = SMALL.replace("n_subjects: 2", "n_subjects: 1")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def spawn(*arguments):
    return processes.module(f"distributed.cli.{arguments[0]}", *arguments[1:])


def spawn_worker(address):
    return spawn(
        "dask_worker", address, "--nthreads", 1, "--no-nanny", "--no-dashboard", "--host", "127.0.0.1",
        "--death-timeout", 60,
    )  # fmt: skip


@pytest.fixture
def scheduler():
    """A scheduler and two workers, each a process of its own."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    processes = [spawn("dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")]
    processes += [spawn_worker(address) for _ in range(2)]
    from distributed import Client

    with Client(address, timeout=60) as client:
        client.wait_for_workers(2, timeout=60)
    yield address, processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", autouse=True)
def _no_page():
    """Runs of this process leave their page undrawn; those of the command line draw it."""
    with pytest.MonkeyPatch.context() as patch:
        unwritten(patch)
        yield


@pytest.fixture(scope="module")
def local(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("local")
    return bb.run(write_recipe(folder, RECIPE), out=folder / "run", cache=cache)


def units_done(folder):
    return [event["unit"] for event in folder.events() if event["event"] == "unit_done"]


def wait_for(condition, seconds=240):
    end = time.time() + seconds
    while time.time() < end and not condition():
        time.sleep(0.02)
    assert condition()


def start(recipe, out, cache, address):
    return processes.start("run", recipe, "--out", out, "--cache", cache, "--address", address)


def test_a_cluster_gives_the_same_bytes_and_a_killed_worker_loses_nothing(scheduler, local, tmp_path, cache):
    address, processes = scheduler
    folder = RunFolder(tmp_path / "run")
    process = start(write_recipe(tmp_path, RECIPE), folder.path, cache, address)
    wait_for(lambda: len(units_done(folder)) >= 3 or process.poll() is not None)
    processes[1].send_signal(signal.SIGKILL)
    ended = process.wait(timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert (folder.path / "scores.csv").read_bytes() == (local.path / "scores.csv").read_bytes()
    assert sorted(units_done(folder)) == sorted(units_done(local.folder))
    assert bb.open_run(folder.path).manifest["execution"]["engine"] == "dask"


def test_a_scheduler_that_goes_away_is_one_message_and_the_run_resumes(scheduler, local, tmp_path, cache):
    address, processes = scheduler
    folder = RunFolder(tmp_path / "run")
    recipe = write_recipe(tmp_path, RECIPE)
    process = start(recipe, folder.path, cache, address)
    wait_for(lambda: len(units_done(folder)) >= 3 or process.poll() is not None)
    processes[0].send_signal(signal.SIGKILL)
    ended = process.wait(timeout=300)
    assert ended.returncode == 2, ended.stderr
    assert f"the scheduler at {address} went away" in ended.stderr and "Traceback" not in ended.stderr
    kept = len(units_done(folder))
    run = bb.run(recipe, out=folder.path, cache=cache)
    assert kept >= 3 and len(units_done(folder)) == len(set(units_done(folder)))
    assert (run.path / "scores.csv").read_bytes() == (local.path / "scores.csv").read_bytes()


def test_workers_of_its_own(local, tmp_path, cache):
    overrides = ["execution.engine=dask", "execution.jobs=1"]
    run = bb.run(write_recipe(tmp_path, RECIPE), overrides=overrides, out=tmp_path / "run", cache=cache)
    assert (run.path / "scores.csv").read_bytes() == (local.path / "scores.csv").read_bytes()


def test_no_scheduler_is_one_message(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match=f"no scheduler answers at {address}"):
        bb.run(
            write_recipe(tmp_path, RECIPE),
            overrides=["execution.engine=dask", f"execution.address={address}"],
            out=tmp_path / "run",
            cache=cache,
        )


def test_a_worker_that_sees_other_data_says_so(local, tmp_path, cache):
    from brainbench.commands.worker import compute_remotely

    recipe = (local.path / "recipe.yaml").read_text()
    unit = units_done(local.folder)[0]
    arrays = compute_remotely(recipe, str(local.path), str(cache), 1, unit)
    stored = local.folder.read_unit(unit)
    assert set(arrays) == set(stored) and all((arrays[name] == stored[name]).all() for name in stored)
    with pytest.raises(UserError, match="a worker finds no unit"):
        compute_remotely(recipe.replace("seed: 3", "seed: 4"), str(local.path), str(cache), 1, unit)


def test_the_slurm_job_asks_for_what_the_recipe_says():
    pytest.importorskip("dask_jobqueue")
    slurm = Slurm(queue="gpu", account="lab", cores=16, memory_gb=64, walltime="1-02:00:00", directives=["--exclusive"])
    one = cluster.slurm_cluster(Execution(engine="slurm", slurm=slurm, threads_per_unit=2))
    try:
        script = one.job_script()
    finally:
        one.close()
    for line in ("#SBATCH -p gpu", "#SBATCH -A lab", "--cpus-per-task=16", "-t 1-02:00:00", "#SBATCH --exclusive"):
        assert line in script
    assert "--nworkers 8" in script and "--nthreads 1" in script
