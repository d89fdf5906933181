import pytest

from brainbench.evaluation.metrics import METRICS
from brainbench.studies.encode.claims import _against_controls


def row(role, value, **more):
    names = {"encoder": role, "layer": "one", "roi": "V1", "role": role, "value": value, "metric": "pearson_r"}
    return {**names, "q": 0.001, **more}


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ({"ci_low": 0.5, "ci_high": 0.7}, "its confidence interval lies above the best control, control at 0.24"),
        ({"ci_low": 0.1, "ci_high": 0.9}, "its confidence interval includes the best control, control at 0.24"),
        ({}, "its best control is control at 0.24, and there is no interval"),
        ({"ci_low": None, "ci_high": None}, "its best control is control at 0.24, and there is no interval"),
    ],
)
def test_nothing_is_said_of_an_interval_that_is_not_there(interval, said):
    """The mean of three participants has none; it was said to include every control."""
    (sentence,) = _against_controls(
        "mean", [row("model", 0.6, **interval), row("control", 0.24)], METRICS["pearson_r"], {}
    )
    assert said in sentence
