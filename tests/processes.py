"""Processes of their own, to be killed, interrupted and set beside each other.

They are copied from a server that has imported what a run imports, since a start costs more than what is tested. That
the command starts from nothing is tested where `subprocess` is used.
"""

import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.warm"])


class Done(NamedTuple):
    """A process that ended; its return code is minus the signal where one ended it."""

    returncode: int | None
    stdout: str
    stderr: str


class Started:
    """A process that calls a function; what it prints goes to files."""

    def __init__(self, function: Callable, *arguments: Any, cwd: Path | None = None, env: dict | None = None) -> None:
        self._printed = tempfile.TemporaryDirectory(prefix="printed-", ignore_cleanup_errors=True)
        environment = dict(os.environ if env is None else env)
        place = str(cwd or Path.cwd())
        self._process = SERVER.Process(target=_call, args=(function, arguments, place, environment, self._printed.name))
        self._process.start()
        self.pid = self._process.pid
        self.kill = self._process.kill

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> Done:
        """Wait for its end and return what it printed."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"still running after {timeout} s"
        return Done(
            self._process.exitcode, *(Path(self._printed.name, name).read_text() for name in ("stdout", "stderr"))
        )


def start(*arguments: Any, cwd: Path | None = None, env: dict | None = None) -> Started:
    """Start the command line."""
    return Started(_command, *map(str, arguments), cwd=cwd, env=env)


def command(*arguments: Any, cwd: Path | None = None, env: dict | None = None) -> Done:
    """Run the command line to its end."""
    return start(*arguments, cwd=cwd, env=env).wait()


def python(code: str, cwd: Path | None = None, env: dict | None = None) -> Done:
    """Run a script to its end; what brainbench deprecates is an error."""
    return Started(_script, code, cwd=cwd, env=env).wait()


def module(name: str, *arguments: Any) -> Started:
    """Start what ``python -m`` would."""
    return Started(_module, name, *map(str, arguments))


def _call(function: Callable, arguments: tuple, cwd: str, environment: dict, printed: str) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(Path(printed, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    # A shell starts what runs in its background with interrupts ignored, and children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    function(*arguments)


def _command(*arguments: str) -> None:
    from brainbench.cli import main

    sys.argv = ["brainbench", *arguments]
    main(list(arguments))


def _module(name: str, *arguments: str) -> None:
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name="__main__")


def _script(code: str) -> None:
    warnings.filterwarnings("error", category=DeprecationWarning, module="brainbench$")
    sys.path.insert(0, os.getcwd())
    exec(compile(code, "<script>", "exec"), {"__name__": "__main__"})
