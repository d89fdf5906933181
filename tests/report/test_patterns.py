"""The section on whole patterns of a region."""

import jinja2
import pandas as pd

from brainbench.report.sections.responses import patterns


class Page:
    def __init__(self, rows):
        self.scores = pd.DataFrame(rows)

    def over_folds(self, metric):
        return self.scores[self.scores.metric == metric]


def row(metric, layer, value, encoder="clip", role="model"):
    place = {"subject": "CSI1", "scheme": "paper", "encoder": encoder, "role": role, "roi": "LOC"}
    return {**place, "metric": metric, "layer": layer, "value": value}


def test_the_largest_of_every_score_stands_with_its_layer():
    rows = [row("pattern_r", "joint.0", 0.1), row("pattern_r", "joint.2", 0.3), row("pairs_r", "joint.0", 0.7)]
    rows += [
        row("pairs_r", "joint.2", 0.6),
        row("pattern_r", "stem", 0.2, "pixels", "control"),
        row("pairs_r", "stem", 0.5, "pixels", "control"),
    ]
    assert patterns.applies({"metrics": ["pearson_r", "pairs_r"]}) and not patterns.applies({"metrics": ["pearson_r"]})
    drawn = patterns.draw(Page(rows))
    assert drawn["names"] == ["pattern_r", "pairs_r"]
    first = drawn["rows"][0]
    assert (first["pattern_r"], first["pairs_r"]) == (
        {"value": 0.3, "layer": "joint.2"}, {"value": 0.7, "layer": "joint.0"}
    )  # fmt: skip
    place = patterns.__file__.replace(".py", ".html")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=True)
    environment.filters["number"] = lambda value, digits=2: f"{value:.{digits}f}"
    html = environment.from_string(open(place, encoding="utf-8").read()).render(**drawn, heading=lambda text: text)
    assert html.count("<tr>") == 3 and "pixels <span" in html and ">0.70<" in html
    assert patterns.draw(Page([row("pearson_r", "joint.0", 0.1)])) is None
