"""A headless chromium that pages are opened in, driven through a pipe: no port, no further package."""

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip
TIMEOUT = 60.0


class Browser:
    """One chromium for many pages; use it as a context.

    It speaks the DevTools protocol: JSON messages that end with a zero byte, read from its file 3 and written to its 4.
    """

    def __enter__(self):
        program = next((found for name in NAMES if (found := shutil.which(name))), None)
        assert program, "pages are opened in chromium, and there is none: apt-get install chromium"
        self.home = tempfile.mkdtemp(prefix="brainbench-browser-")
        (theirs_in, self.into), (self.out, theirs_out) = os.pipe(), os.pipe()
        # Away from 3 and 4, so that neither is overwritten before it is copied.
        high = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in (theirs_in, theirs_out)]

        def hand_over():
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={self.home}", "about:blank"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(3, 4), preexec_fn=hand_over,
            start_new_session=True,
        )  # fmt: skip
        for one in (theirs_in, theirs_out, *high):
            os.close(one)
        self.number, self.rest, self.events = 0, b"", []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.send("Performance.enable", timeDomain="threadTicks")
        return self

    def __exit__(self, *_):
        os.close(self.into)
        os.close(self.out)
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def send(self, method, **params):
        """Send a command and return its result; events that come before it are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if getattr(self, "session", None):
            message["sessionId"] = self.session
        os.write(self.into, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def read(self):
        """Return the next message."""
        end = time.monotonic() + TIMEOUT
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.out], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"chromium said nothing for {TIMEOUT:g} s"
            part = os.read(self.out, 1 << 20)
            assert part, "chromium ended"
            self.rest += part
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def open(self, page: Path, width: int, scheme: str):
        """Load a page at a width, in light or dark, and keep what happens meanwhile in `events`."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.events = []
        self.send("Page.navigate", url=page.resolve().as_uri())
        while not any(one.get("method") == "Page.loadEventFired" for one in self.events):
            self.events.append(self.read())

    def run(self, script: str):
        """Return what a script's promise comes to."""
        found = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def seconds(self):
        """Return the seconds of the page's own thread so far."""
        metrics = self.send("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in metrics if one["name"] == "TaskDuration")

    def happened(self, *methods):
        """Return the parameters of events."""
        return [one["params"] for one in self.events if one.get("method") in methods]
