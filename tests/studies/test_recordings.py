"""The shipped recipes on the real recordings; floors are well under what a plain method reaches."""

import numpy as np
import pandas as pd
import pytest

import brainbench as bb
from tests.figures import undrawn

pytestmark = pytest.mark.long


def over_folds(run, **query):
    scores = run.scores
    scores = scores[scores["fold"] == "all"]
    for name, value in query.items():
        scores = scores[scores[name] == value]
    return scores


@pytest.fixture(scope="module")
def haxby(tmp_path_factory):
    from tests.conftest import real_data_root

    root = real_data_root()
    if root is None:
        pytest.skip("real data not found")
    out = tmp_path_factory.mktemp("haxby")
    return bb.run(
        "haxby-categories",
        overrides=[f"dataset.root={root / 'haxby2001'}", "zero_shot.n_shuffles=99", "significance.n_permutations=99"],
        out=out / "run",
        cache=out / "cache",
    )


def test_haxby_categories_can_be_decoded(haxby, real_data):
    accuracy = over_folds(haxby, metric="accuracy", roi="all").iloc[0]
    assert accuracy["value"] > 0.6 and accuracy["p"] < 0.01
    pairs = over_folds(haxby, roi="all")
    pairs = pairs[pairs["metric"].str.startswith("accuracy_")]
    assert len(pairs) == 28
    face_house = pairs[pairs["metric"].str.contains("face") & pairs["metric"].str.contains("house")].iloc[0]
    assert face_house["value"] > 0.9


def test_haxby_semantics_is_claimed_only_on_unseen_categories(haxby, real_data):
    unseen = over_folds(haxby, metric="two_vs_two")
    assert {"minilm", "one_hot", "shuffled_minilm"} == set(unseen["encoder"])
    # Labels without similarity cannot tell two unseen categories apart.
    assert np.allclose(unseen.loc[unseen["encoder"] == "one_hot", "value"], 0.5)
    claims = " ".join(haxby.facts["claims"])
    best = unseen[unseen["encoder"] == "minilm"].sort_values("value").iloc[-1]
    assert ("none of its 7 layers are above chance" in claims) == bool(best["q"] >= 0.05)
    assert "one_hot identity tells 0.50 of pairs apart" in claims
    maps = sorted((haxby.path / "maps").glob("*.nii.gz"))
    assert maps and any("encoder-minilm" in path.name for path in maps)
    assert any((haxby.path / "figures").glob("map_*.svg"))


def test_miyawaki_beats_its_null_and_shows_the_leaking_score_as_such(tmp_path, real_data, monkeypatch):
    undrawn(monkeypatch)
    run = bb.run(
        "miyawaki-encoding",
        overrides=[f"dataset.root={real_data / 'miyawaki2008'}", "significance.n_permutations=99"],
        out=tmp_path / "run",
        cache=tmp_path / "cache",
    )
    medians = over_folds(run, metric="median_pearson_r", roi="all", scheme="stimulus+run")
    for encoder in ("pixels", "gabor"):
        best = medians[medians["encoder"] == encoder].sort_values("value").iloc[-1]
        # The mean over voxels is what is tested, once over all layers of the encoder.
        tested = over_folds(run, metric="best_pearson_r", roi="all", scheme="stimulus+run", encoder=encoder).iloc[0]
        assert best["value"] > 0.08 and tested["p"] < 0.01
        layers = over_folds(run, metric="pearson_r", roi="all", scheme="stimulus+run", encoder=encoder)
        assert (layers["value"] > layers["null_95"]).all()
    alone = over_folds(run, metric="pearson_r", roi="all", scheme="stimulus")
    assert (alone["value"] != 0).all()  # folds of one stimulus are pooled: within one, predictions are all the same
    schemes = {scheme["label"]: scheme for scheme in run.facts["schemes"]}
    assert schemes["stimulus+run"]["certificate"]["ok"]
    assert not schemes["stimulus"]["certificate"]["ok"]
    assert any("style" in finding for finding in schemes["stimulus"]["certificate"]["findings"])
    assert "LEAK" in (run.path / "report.html").read_text()


def test_alice_is_held_against_its_controls(tmp_path, real_data, monkeypatch):
    undrawn(monkeypatch)
    run = bb.run(
        "alice-language",
        overrides=[
            f"dataset.root={real_data / 'alice'}",
            "dataset.subjects=[s26, s35, s37]",  # who agree most: every region has a ceiling
            "folds.n_splits=3",
            "encoders[0].layers=[encoder.layer.1]",
            "encoders[0].context=3",
            "significance.n_permutations=9",
        ],
        out=tmp_path / "run",
        cache=tmp_path / "cache",
    )
    group = over_folds(run, subject="group", metric="pearson_r")
    rate = group[group["encoder"] == "word_rate"].set_index("roi")["value"]
    assert (rate[["LATL", "RATL", "LPTL"]] > 0.1).all()
    assert set(group["encoder"]) == {"minilm", "word_rate", "sound_power", "random_embedding"}
    unique = over_folds(run, subject="group", metric="unique_r2")
    assert set(unique["encoder"]) == {"minilm"} and unique[["p", "q"]].notna().all().all()
    assert group["ceiling"].between(0.2, 1).all()
    single = over_folds(run, subject="s26", metric="pearson_r")
    assert single.groupby("roi")["ceiling"].first().mean() < group.groupby("roi")["ceiling"].first().mean()
    facts = run.facts
    assert facts["schemes"][0]["certificate"]["ok"]
    text = " ".join(facts["claims"])
    assert "LPTL (group)" in text and "LIPL (group)" in text
    assert pd.read_csv(run.path / "scores.csv")["subject"].nunique() == 5
