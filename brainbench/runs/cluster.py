"""Units on many machines, with dask.distributed.

A worker gets no data through the scheduler: it gets the recipe, the run folder and a unit's digest, opens the same
files itself, and finds the unit of that digest. If it sees other data or another version, there is no such unit, and
it says so. Arrays come back to the one process that writes the run folder. Run folder, cache and data lie on a disk
that all workers share.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from brainbench.core.errors import UserError
from brainbench.recipes.parts import Execution
from brainbench.runs.engines import Engine, LocalEngine
from brainbench.runs.folder import RunFolder
from brainbench.runs.units import Unit, jobs_to_use

UNITS_PER_THREAD = 2
"""Units handed out at once per worker thread: one to compute and one to come."""

PATIENCE_S = 120.0
"""How long the run waits while the cluster has no worker at all."""

CONNECT_S = 15

Task = Callable[[str], Mapping[str, np.ndarray]]


class DaskEngine(Engine):
    """Hands units to the workers of a dask cluster.

    Parameters
    ----------
    client : distributed.Client
    task : callable
        ``task(digest)`` computes a unit on a worker; a `functools.partial` of a function that workers can import.
    where : str
        Where the scheduler is, for messages.
    close : callable, optional
        Called when the run is over.
    """

    def __init__(self, client: Any, task: Task, where: str, close: Callable[[], object] | None = None) -> None:
        self.client = client
        self.task = task
        self.where = where
        self._close = close

    def compute(self, units: Sequence[Unit], folder: RunFolder) -> Iterator[Unit]:
        """Compute units on the workers; see `Engine.compute`.

        A unit whose worker dies is given to another one.

        Raises
        ------
        UserError
            If a unit raises one, the scheduler goes away, or no worker comes for `PATIENCE_S`.
        """
        from distributed import wait

        waiting = list(reversed(units))
        running: dict[Any, tuple[Unit, float]] = {}
        alone_since = None
        try:
            while waiting or running:
                threads = self._threads()
                while waiting and len(running) < max(1, UNITS_PER_THREAD * threads):
                    unit = waiting.pop()
                    folder.event("unit_started", unit=unit.digest, kind=unit.kind)
                    with self._connected():
                        future = self.client.submit(self.task, unit.digest, key=f"brainbench-{unit.digest}", pure=False)
                    running[future] = (unit, time.perf_counter())
                done: set[Any] = set()
                with self._connected(), suppress(TimeoutError):
                    done = wait(list(running), timeout=1, return_when="FIRST_COMPLETED").done
                for future in done:
                    unit, start = running.pop(future)
                    arrays = self._result(future, unit)
                    folder.write_unit(unit.digest, arrays)
                    seconds = round(time.perf_counter() - start, 3)
                    folder.record_done(unit.digest, kind=unit.kind, label=unit.label, seconds=seconds)
                    future.release()
                    yield unit
                alone_since = None if threads or done else alone_since or time.monotonic()
                if alone_since is not None and time.monotonic() - alone_since > PATIENCE_S:
                    raise UserError(
                        f"the scheduler at {self.where} has no worker",
                        hint="start workers (`dask worker ADDRESS --nthreads 1`) and run again: the run continues",
                    )
        finally:
            if self.client.status == "running":
                with suppress(Exception):  # the connection may break right here; the reason is on its way already
                    self.client.cancel(list(running))

    def close(self) -> None:
        """Disconnect, and end a cluster that was started for this run."""
        with suppress(OSError):  # a client without a scheduler has nobody to say good-bye to
            self.client.close()
        if self._close is not None:
            self._close()

    def _threads(self) -> int:
        with self._connected():
            return sum(self.client.nthreads().values())

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Call the client for something that raises no error of a unit: whatever it raises, its connection is gone.

        Depending on the moment these are errors of the connection, cancelled futures, or a client that is closed.
        """
        try:
            yield
        except Exception as error:
            raise self._gone() from error

    def _result(self, future: Any, unit: Unit) -> Mapping[str, np.ndarray]:
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        try:
            arrays: Mapping[str, np.ndarray] = future.result()
            return arrays
        except UserError:
            raise
        except KilledWorker as error:
            raise UserError(
                f"{unit.label}: the workers that computed it died, one after the other",
                hint="they may have run out of memory: give workers fewer threads or more memory",
            ) from error
        except Exception as error:
            if isinstance(error, CommClosedError) or future.cancelled() or self.client.status != "running":
                raise self._gone() from error
            self._threads()  # the error may be older than the client's news of its connection
            raise

    def _gone(self) -> UserError:
        return UserError(
            f"the scheduler at {self.where} went away",
            hint="start it again and run the same command: what is finished is kept, and the run continues",
        )


def open_engine(execution: Execution, task: Task) -> Engine:
    """Return the engine that a recipe's ``execution`` section asks for.

    Raises
    ------
    UserError
        If a scheduler does not answer, or the cluster packages are missing.
    """
    if execution.engine == "local":
        return LocalEngine(execution.jobs, execution.threads_per_unit)
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise UserError(f"--engine {execution.engine} needs dask", hint="pip install 'brainbench[cluster]'") from None
    # A lost connection is one message of ours, not a traceback per broken channel. Each of these has its own level.
    for name in ("distributed", "distributed.client", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if execution.engine == "slurm":
        cluster = slurm_cluster(execution)
        cluster.scale(jobs=execution.slurm.nodes)
        return DaskEngine(quiet(Client(cluster)), task, cluster.scheduler_address, cluster.close)
    if execution.address is None:
        cluster = LocalCluster(
            n_workers=jobs_to_use(execution.jobs, execution.threads_per_unit),
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
        )
        return DaskEngine(quiet(Client(cluster)), task, cluster.scheduler_address, cluster.close)
    try:
        client = Client(execution.address, timeout=CONNECT_S)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(
            f"execution.address: no scheduler answers at {execution.address}",
            hint="start one with `dask scheduler --host 127.0.0.1`, and give the address it prints",
        ) from error
    return DaskEngine(quiet(client), task, execution.address)


def quiet(client: Any) -> Any:
    """Return the client, whose event loop now drops the connection errors that nobody waits for.

    A client that reconnects leaves futures behind, and asyncio prints the traceback of each one that fails when it is
    collected. The engine learns of a lost connection from its own calls.
    """

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), OSError | asyncio.CancelledError):
            loop.default_exception_handler(context)

    client.loop.asyncio_loop.set_exception_handler(handle)
    return client


def slurm_cluster(execution: Execution) -> Any:
    """Return a SLURM cluster of which no job has been started yet."""
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise UserError("--engine slurm needs dask-jobqueue", hint="pip install 'brainbench[cluster]'") from None
    settings = execution.slurm
    return SLURMCluster(
        queue=settings.queue,
        account=settings.account,
        cores=settings.cores,
        processes=max(1, settings.cores // execution.threads_per_unit),
        memory=f"{settings.memory_gb:g}GB",
        walltime=settings.walltime,
        interface=settings.interface,
        job_extra_directives=list(settings.directives),
        worker_extra_args=["--nthreads", "1"],
        scheduler_options={"dashboard_address": None},
    )
