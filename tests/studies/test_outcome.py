"""What an outcome takes back, and how it says so."""

from brainbench.studies.outcome import Outcome


def row(roi, ceiling, low, value=0.1, **more):
    known = {"subject": "s1", "scheme": "stimulus", "metric": "pearson_r", "fold": "all", "q": 0.5}
    return known | {"roi": roi, "value": value, "ceiling": ceiling, "ceiling_low": low, "ceiling_high": 0.9} | more


def test_ceilings_that_failed_are_said_once_for_all_regions_layers_and_metrics():
    rows = [row(f"R{n}", 0.2, -0.1, layer=layer) for n in range(8) for layer in "ab"]
    outcome = Outcome(
        rows=[*rows, row("V1", 0.5, 0.3, value=0.6, q=0.01), row("V2", 0.5, 0.3), row("A", 0.2, -0.1, fold="1")]
    )
    outcome.hold_ceilings()
    first, second = outcome.warnings
    assert first.startswith("s1, stimulus: the noise ceiling was not found in R0 0.20 [-0.10, 0.90], R1 ")
    assert "R4 0.20 [-0.10, 0.90] and 3 more regions: its interval reaches 0; nothing is divided by it" in first
    assert second == (
        "s1, stimulus: the noise ceiling was not found in V1 0.50 [0.30, 0.90]: a score above chance lies above it; "
        "nothing is divided by it"
    )
    assert [one["ceiling"] for one in outcome.rows[-3:]] == [None, 0.5, 0.2] and len(outcome.failed_ceilings) == 17
