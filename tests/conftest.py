"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.figures import unwritten

_CANDIDATES = [os.environ.get("BRAINBENCH_DATA"), Path(__file__).resolve().parents[2] / "shared" / "data"]
_REAL: set[str] = set()
"""Tests that read real recordings, from their reports: with pytest-xdist the tests run in other processes."""


def real_data_root() -> Path | None:
    """Return the folder of real recordings, or None when it is not on this machine."""
    for candidate in _CANDIDATES:
        if candidate and Path(candidate, "README.md").exists():
            return Path(candidate)
    return None


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the report of runs unwritten."""
    unwritten(monkeypatch)


@pytest.fixture
def real_data(request: pytest.FixtureRequest) -> Path:
    """Return the folder of real recordings; the test is skipped where there is none."""
    root = real_data_root()
    if root is None:
        pytest.skip("real data not found")
    request.node.user_properties.append(("real_data", True))
    return root


@pytest.fixture(scope="session", autouse=True)
def _no_data_folder() -> Iterator[None]:
    """Keep tests, and what whole modules share, away from the user's data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BRAINBENCH_DATA", raising=False)
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's cache."""
    monkeypatch.setenv("BRAINBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal long files first."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note which tests read real recordings."""
    if any(name == "real_data" for name, _ in report.user_properties):
        _REAL.add(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests read real recordings; CI fails when none did although they are there."""
    terminalreporter.write_line(f"real-data tests run: {len(_REAL)}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a whole CI run in which no real-data test ran although the recordings are there."""
    whole = os.environ.get("BRAINBENCH_REQUIRE_REAL_DATA") == "1" and not hasattr(session.config, "workerinput")
    if whole and real_data_root() is not None and not _REAL:
        session.exitstatus = 1
