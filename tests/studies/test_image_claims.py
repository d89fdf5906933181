"""Sentences about images: on the right side of the shuffles, and none about intervals that were not drawn."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from brainbench.studies.explore.results import explore_claims
from brainbench.studies.outcome import Outcome
from brainbench.studies.reconstruct.claims import image_claims
from brainbench.studies.reconstruct.ladder import _add


def told(metric: str, value: float, draws: np.ndarray, **bootstrap: float) -> tuple[dict[str, Any], list[str]]:
    """Return the row and the sentences of images whose truth changed places."""
    recipe = SimpleNamespace(
        bootstrap=SimpleNamespace(**{"n_draws": 400, "confidence": 0.95} | bootstrap), seed=0, generator=None,
        metrics=[metric], identify_within=None,
    )  # fmt: skip
    rows = SimpleNamespace(scheme=SimpleNamespace(label="stimulus"), subject="sub-1", Y=np.zeros((20, 3)))
    one = SimpleNamespace(case=SimpleNamespace(
        rows=rows, features=SimpleNamespace(stimuli=SimpleNamespace(ids=[str(i) for i in range(20)]))
    ), recipe=recipe)  # fmt: skip
    judge = SimpleNamespace(
        stimulus=np.arange(20), shown=np.arange(20), learned=False,
        exchange=SimpleNamespace(text="all of them", n_distinct=1e9),
    )  # fmt: skip
    outcome = Outcome()
    values = value + 0.01 * np.random.default_rng(0).standard_normal(20)
    _add(outcome, one, judge, "low_level", "predicted", metric, values, draws)  # type: ignore[arg-type]
    return outcome.rows[0], image_claims(recipe, outcome)  # type: ignore[arg-type]


@pytest.mark.parametrize(("metric", "value", "said"), [
    ("swav", 0.5, "below the 0.8"), ("swav", 0.98, "not below the 0.8"),
    ("pixcorr", 0.98, "above the 0.9"), ("pixcorr", 0.5, "not above the 0.9"),
])  # fmt: skip
def test_a_distance_is_held_against_the_lower_end_of_its_shuffles(metric: str, value: float, said: str) -> None:
    draws = np.random.default_rng(1).uniform(0.8, 0.95, 999)
    row, (claim,) = told(metric, value, draws)
    assert row["null_95"] == pytest.approx(np.quantile(draws, 0.05 if metric == "swav" else 0.95))
    assert f", {said}" in claim
    assert f" {'over' if metric == 'swav' else 'under'} which 95 % of shuffles lie" in claim


def test_an_interval_is_as_wide_as_the_recipe_asks() -> None:
    wide, narrow = (told("pixcorr", 0.5, np.linspace(0, 0.5, 99), confidence=c)[0] for c in (0.95, 0.6))
    ratio = (narrow["ci_high"] - narrow["ci_low"]) / (wide["ci_high"] - wide["ci_low"])
    assert 0.35 < ratio < 0.52  # .84 and 1.96 standard errors


def test_nothing_is_said_of_an_interval_that_was_not_drawn() -> None:
    _, (claim,) = told("pixcorr", 0.98, np.linspace(0, 0.5, 99), n_draws=0)
    assert "0.98, above the" in claim
    outcome = Outcome()
    none = {"ci_low": float("nan"), "ci_high": float("nan")}
    steps = [
        {"stage": stage, "row": row, "readers": [{"mean": mean, **none}]}
        for stage, row, mean in (("unguided", "", 0.1), ("guided", "scale 10", 2.5))
    ]
    outcome.note("exploration", {
        "subject": "sub-1", "target": "face", "steps": steps, "best": "scale 10", "high": [1.6], "reversed": None,
        "readers": [{"encoder": "a", "layer": "b"}], "only_guide": None,
    })  # fmt: skip
    (sentence,) = explore_claims(outcome)
    assert "nan" not in sentence
    assert "above the mean of the stimuli, above the 95th percentile" in sentence
