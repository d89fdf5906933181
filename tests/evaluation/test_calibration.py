"""Counting and judging of calibration rows."""

import pytest
from scipy.stats import binomtest

from brainbench.evaluation.calibration import Rate, Row, judge


@pytest.mark.parametrize(("hits", "n"), [(0, 50), (7, 200), (50, 50)])
def test_intervals_are_exact(hits, n):
    expected = binomtest(hits, n).proportion_ci(0.99, method="exact")
    assert Rate.of(hits, n).low == pytest.approx(expected.low)
    assert Rate.of(hits, n).high == pytest.approx(expected.high)


def row(promise="p", **more):
    return Row("a row", promise, float, **more)


def grid(n, share, below):
    """Values of which a share lies below a level and the rest far above."""
    hits = round(n * share)
    return [below] * hits + [0.5] * (n - hits)


@pytest.mark.parametrize(
    ("share", "n", "verdict"), [(0.05, 2000, "holds"), (0.1, 2000, "FAILS"), (0.01, 2000, "FAILS"), (0.05, 100, "open")]
)
def test_a_p_value_is_judged_at_five_percent(share, n, verdict):
    assert judge(row(), grid(n, share, 0.04)).verdict == verdict


def test_a_p_value_is_judged_at_one_percent():
    assert judge(row(), grid(2000, 0.05, 0.009)).verdict == "FAILS"


def test_a_discrete_p_may_reject_rarely():
    assert judge(row("discrete p"), grid(2000, 0.01, 0.04)).verdict == "holds"


def test_power_covers_and_values():
    assert judge(row("power", at_least=0.8), grid(200, 0.5, 0.04)).verdict == "FAILS"
    assert judge(row("power", at_least=0.8), grid(200, 0.9, 0.04)).verdict == "holds"
    assert judge(row("cover"), [1.0] * 950 + [0.0] * 50).verdict == "holds"
    assert judge(row("cover"), [1.0] * 800 + [0.0] * 200).verdict == "FAILS"
    assert judge(row("value", between=(-0.02, 0.02)), [0.01, 0.0, -0.01] * 100).verdict == "holds"


def test_seeds_are_of_the_name_and_the_number():
    one, other = row(), Row("another row", "p", float)
    assert one.seed(0) == row().seed(0)
    assert len({one.seed(0), one.seed(1), other.seed(0), other.seed(1)}) == 4
