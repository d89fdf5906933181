"""A rotating sample of the fuzz: another one every day; benchmarks/fuzz.py runs as many as wanted."""

from datetime import date

import pytest

from benchmarks.fuzz import PARTS, run_cases

SAMPLES = {"texts": 120, "recipes": 120, "folders": 24}
"""Recordings have theirs in tests/data/test_statements.py."""


@pytest.mark.parametrize("part", SAMPLES)
def test_what_is_wrong_is_a_message(part):
    tally = run_cases(part, date.today().toordinal(), range(SAMPLES[part]), PARTS[part])
    assert not tally.crashes, "\n\n".join(tally.crashes[:3])
    assert len(tally.ends) == 2  # some are accepted or run, some are refused
