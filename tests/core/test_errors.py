"""What is near enough to be meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainbench.core.errors import did_you_mean, slips


@pytest.mark.parametrize(
    ("one", "other", "n"),
    [
        ("seed", "sead", 1),
        ("seed", "esed", 1),
        ("seed", "", 4),
        ("kitten", "sitting", 3),
        ("ca", "abc", 3),
        ("a", "a", 0),
    ],
)
def test_slips_are_those_of_the_textbook(one, other, n):
    assert slips(one, other) == slips(other, one) == n


def brute(one: str, other: str) -> int:
    if not one or not other:
        return len(one) + len(other)
    found = [brute(one[1:], other) + 1, brute(one, other[1:]) + 1, brute(one[1:], other[1:]) + (one[0] != other[0])]
    if len(one) > 1 and len(other) > 1 and one[0] == other[1] and one[1] == other[0]:
        found.append(brute(one[2:], other[2:]) + 1)
    return min(found)


@given(st.text("ab", max_size=5), st.text("abc", max_size=5))
def test_slips_are_the_fewest_there_are(one, other):
    assert slips(one, other) == brute(one, other)


@pytest.mark.parametrize(
    ("word", "near"), [("modle", "model"), ("Path", "path"), ("stim", "stim_file"), ("fmriprep", "fmriprep-23.1.3")]
)
def test_what_is_near_is_named(word, near):
    assert did_you_mean(word, ["title", near, "seed"]) == f"; did you mean '{near}'?"


@pytest.mark.parametrize(("word", "far"), [("left", "label"), ("sub-07", "session"), ("banana", "bandpass")])
def test_what_is_far_is_not_named(word, far):
    assert did_you_mean(word, [far]) == ""
