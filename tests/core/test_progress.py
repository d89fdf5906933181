"""Progress where nobody sees a bar: lines, and after a minute a forecast."""

import time

import pytest

from brainbench.core import progress
from brainbench.core.progress import Stages


def test_a_long_stage_says_how_far_it_is_on_a_pipe(monkeypatch, capfd):
    monkeypatch.setattr(progress, "EVERY_S", 0.05)
    monkeypatch.setattr(progress, "_FORECAST_AFTER_S", 0.15)
    with Stages().stage("fit", total=4) as advance:
        time.sleep(0.08)
        advance(1)
        time.sleep(0.25)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "fit: 0 of 4, 0 s"
    assert any(line.startswith("fit: 1 of 4") and line.endswith("s left") for line in lines)
    assert lines[-1].startswith("fit: 1 (")
    time.sleep(0.12)
    assert capfd.readouterr().err == "", "it still talks when the stage is over"


def test_a_stage_that_fails_falls_silent(monkeypatch, capfd):
    monkeypatch.setattr(progress, "EVERY_S", 0.02)
    with pytest.raises(ValueError, match="no"), Stages().stage("train"):
        raise ValueError("no")
    capfd.readouterr()
    time.sleep(0.06)
    assert capfd.readouterr().err == ""


def test_a_quiet_stage_says_nothing(monkeypatch, capfd):
    monkeypatch.setattr(progress, "EVERY_S", 0.01)
    with Stages(quiet=True).stage("fit", total=4):
        time.sleep(0.05)
    assert capfd.readouterr().err == ""


def test_the_forecast_is_the_rate_so_far():
    assert progress._so_far(10, 40, 120.0) == "10 of 40, 120 s, about 6 min left"
    assert progress._so_far(10, 40, 30.0) == "10 of 40, 30 s"
    assert progress._so_far(0, None, 12.0) == "at work, 12 s"
