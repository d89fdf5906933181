import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from brainbench.evaluation import metrics, scoring
from brainbench.evaluation.scoring import Scored, Scoring, best_of, regions_r2, score_nested, score_predictions

ROIS = {"a": np.array([1, 1, 0, 0, 0], bool), "b": np.array([0, 0, 1, 1, 1], bool), "all": np.ones(5, bool)}


def held_out(seed=0, n=66, strength=0.3):
    rng = np.random.default_rng(seed)
    fold = rng.permutation(np.repeat([0, 2, 5], [20, 22, 24]))
    y = rng.standard_normal((n, 5)) + fold[:, None]
    p = strength * y + rng.standard_normal((n, 5))
    design = {"rois": ROIS, "run": np.arange(n) % 3, "stimulus": np.arange(n) // 2}
    return y, p, fold, design


def how(**options):
    metrics_of = ("pearson_r", "r2", "explained_variance")
    return Scoring(**{"metrics": metrics_of, "n_draws": 0, **options})


def roi_mean(values):
    return np.array([values[mask].mean() for mask in ROIS.values()])


def test_scores_over_folds_equal_a_plain_loop():
    y, p, fold, design = held_out()
    scored = score_predictions(y, p, fold, how(), **design)
    for name, metric in metrics.target_metrics().items():
        per_fold = np.array([metric.function(y[fold == f], p[fold == f]) for f in (0, 2, 5)])
        np.testing.assert_allclose(scored.targets[name], per_fold.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(scored.roi_values[name], roi_mean(per_fold.mean(axis=0)), rtol=1e-12)
        np.testing.assert_allclose(scored.folds[name], [roi_mean(row) for row in per_fold], rtol=1e-12)
        found = list(scored.per_fold(name, "b"))
        assert [(number, rows) for number, _, rows in found] == [(1, 20), (2, 22), (3, 24)]
        np.testing.assert_allclose([value for _, value, _ in found], scored.folds[name][:, 1])
    medians = [np.median(scored.targets["pearson_r"][mask]) for mask in ROIS.values()]
    np.testing.assert_allclose(scored.roi_values["median_pearson_r"], medians)
    assert scored.metrics == ["pearson_r", "median_pearson_r", "r2", "explained_variance"]
    assert scored.n_rows == 66


def test_pooled_scores_use_all_rows_at_once():
    y, p, fold, design = held_out()
    scored = score_predictions(y, p, fold, how(over="pooled"), **design)
    np.testing.assert_allclose(scored.targets["pearson_r"], [stats.pearsonr(y[:, v], p[:, v])[0] for v in range(5)])
    np.testing.assert_allclose(scored.targets["r2"], r2_score(y, p, multioutput="raw_values"))
    assert scored.folds == {} and list(scored.per_fold("r2", "a")) == []
    per_fold = score_predictions(y, p, fold, how(), **design)
    assert (scored.targets["pearson_r"] > per_fold.targets["pearson_r"]).all()  # the folds' levels count when pooled


def absolute_error(y_true, y_pred):
    return np.abs(np.asarray(y_true) - np.asarray(y_pred)).mean(axis=0)


@pytest.fixture(params=["pearson_r", "r2", "explained_variance", "absolute_error"])
def lead(request, monkeypatch):
    """Every metric that can lead a recipe, and one without closed forms of which less is better."""
    added = metrics.Metric("absolute_error", "absolute error", absolute_error, True, chance=None, direction=-1)
    monkeypatch.setitem(metrics.METRICS._entries, "absolute_error", added)
    return metrics.METRICS[request.param]


@pytest.mark.parametrize("over", ["folds", "pooled"])
def test_bootstrap_draws_equal_a_slow_reference(lead, over):
    from brainbench.evaluation.bootstrap import row_weights

    y, p, fold, design = held_out()
    y[:, 4] = 0.1  # a constant target scores 0 in every draw
    group = np.unique(fold, return_inverse=True)[1] if over == "folds" else np.zeros(len(y), int)
    scored = score_predictions(y, p, fold, how(metrics=(lead.name,), over=over, n_draws=20, seed=4), **design)
    weights = row_weights(design["stimulus"], fold=group, n_draws=20, seed=4).astype(int)

    def of(weight):
        rows = [np.repeat(np.arange(len(y)), weight * (group == f)) for f in np.unique(group)]
        return np.mean([lead.function(y[one], p[one]) for one in rows], axis=0)

    if lead.name in ("r2", "explained_variance"):
        expected = [first_order(lead, y, p, group, weight) for weight in weights]
    else:
        expected = [of(weight) for weight in weights]
    np.testing.assert_allclose(scored.draws, [roi_mean(one) for one in expected], atol=1e-7)


def first_order(metric, y, p, group, weight):
    """The score plus what a small change of every row's weight changes, taken by differences."""
    step, value = 1e-6, []
    for part in np.unique(group):
        rows = group == part

        def share(w, rows=rows):
            left = y[rows] - p[rows] - (metric.name == "explained_variance") * (y[rows] - p[rows]).mean(axis=0)
            spread = w @ (y[rows] - y[rows].mean(axis=0)) ** 2
            return np.where(np.arange(5) == 4, 0.0, 1 - w @ left**2 / spread)

        ones = np.ones(rows.sum())
        slopes = [(share(ones + step * one) - share(ones - step * one)) / (2 * step) for one in np.eye(rows.sum())]
        np.testing.assert_allclose(share(ones), metric.function(y[rows], p[rows]))
        value.append(share(ones) + (weight[rows] - 1) @ np.array(slopes))
    return np.mean(value, axis=0)


@pytest.mark.parametrize("name", ["r2", "explained_variance"])
def test_draws_lie_about_the_value_in_small_folds(name):
    """Over sixty targets in folds of twelve rows a bias of 1 / 12 would leave the value outside."""
    rng = np.random.default_rng(0)
    y = rng.standard_normal((36, 60))
    p = 0.6 * y + 0.5 * rng.standard_normal((36, 60))
    rois = {"all": np.ones(60, bool)}
    scored = score_predictions(
        y, p, np.arange(36) % 3, how(metrics=(name,), n_draws=400), rois=rois, run=np.zeros(36), stimulus=np.arange(36)
    )
    spread = scored.draws.std()
    assert abs(scored.draws.mean() - scored.roi_values[name][0]) < 0.2 * spread


def test_summary_and_storage():
    y, p, fold, design = held_out()
    scored = score_predictions(y, p, fold, how(n_draws=40, confidence=0.8), **design)
    scored.roi_p["pearson_r"], scored.roi_null_95["pearson_r"] = np.array([0.1, 0.2, 0.3]), np.ones(3)
    assert scored.summary("pearson_r", "b")["p"] == 0.2
    assert set(scored.summary("r2", "b")) == {"value"}
    back = Scored.from_arrays(scored.to_arrays())
    assert back.rois == scored.rois and back.metrics == scored.metrics and back.confidence == 0.8
    for name in ("targets", "roi_values", "roi_p", "roi_null_95", "folds"):
        for key, values in getattr(scored, name).items():
            np.testing.assert_array_equal(getattr(back, name)[key], values)
    np.testing.assert_allclose(back.draws, scored.draws, rtol=1e-6)


# Nested models -----------------------------------------------------------------------------------------------------


def nested(seed=0, useful=0.0, n=60):
    """Held-out predictions of a smaller model, and of a full model whose added part is of some use or of none."""
    rng = np.random.default_rng([seed, 77])
    fold = np.repeat([0, 1, 2], n // 3)
    base, more = rng.standard_normal((2, n, 5))
    y = base + useful * more + rng.standard_normal((n, 5))
    full = base + (useful + 0.2) * more
    return y, base, full, fold


def test_nested_score_is_the_difference_of_the_models_r2():
    y, small, full, fold = nested(useful=0.5)
    scored = score_nested(y, small, full, fold, how(), rois=ROIS)
    difference = np.mean([metrics.r2(y[fold == f], full[fold == f]) - metrics.r2(y[fold == f], small[fold == f])
                          for f in range(3)], axis=0)  # fmt: skip
    np.testing.assert_allclose(scored.targets["unique_r2"], difference, rtol=1e-10)
    np.testing.assert_allclose(scored.roi_values["unique_r2"], roi_mean(difference), rtol=1e-10)
    pooled = score_nested(y, small, full, fold, how(over="pooled"), rois=ROIS)
    np.testing.assert_allclose(pooled.targets["unique_r2"], metrics.r2(y, full) - metrics.r2(y, small), rtol=1e-10)


@pytest.mark.parametrize("over", ["folds", "pooled"])
def test_r2_of_regions_is_that_of_scores(over):
    y, small, full, fold = nested(useful=0.5)
    for predicted in (small, full):
        scored = score_predictions(y, predicted, fold, how(over=over, metrics=("r2",)), rois=ROIS, run=fold,
                                   stimulus=np.arange(len(y)))  # fmt: skip
        found = regions_r2(y, predicted, fold, how(over=over), rois=ROIS)
        np.testing.assert_allclose(found, scored.roi_values["r2"], rtol=1e-10)


def test_every_target_is_held_against_the_best_smaller_model():
    y, small, full, fold = nested(useful=0.5)
    poor = np.zeros_like(small)
    mixed = [np.where(np.arange(5) < 2, small, poor), np.where(np.arange(5) < 2, poor, small)]
    best = score_nested(y, best_of(y, mixed, fold, how()), full, fold, how(), rois=ROIS)
    np.testing.assert_allclose(
        best.targets["unique_r2"], score_nested(y, small, full, fold, how(), rois=ROIS).targets["unique_r2"]
    )


def test_constant_targets_gain_nothing():
    y, small, full, fold = nested(useful=0.5)
    y[:, 3] = 0.1
    scored = score_nested(y, small, full, fold, how(), rois=ROIS)
    assert scored.targets["unique_r2"][3] == 0


def test_blocks_of_targets_change_nothing(monkeypatch):
    rng = np.random.default_rng(5)
    y, small, other, full = (rng.normal(size=(30, 7)).astype(np.float32) for _ in range(4))
    fold, how = np.arange(30) % 3, Scoring(metrics=("r2",), n_draws=0)
    rois = {"all": np.ones(7, dtype=bool), "some": np.arange(7) < 3}

    def found():
        best = best_of(y, [small, other], fold, how)
        return best, score_nested(y, best, full, fold, how, rois=rois)

    best, whole = found()
    monkeypatch.setattr(scoring, "AT_ONCE", 2)
    in_blocks, parts = found()
    assert np.array_equal(best, in_blocks)
    assert np.allclose(whole.targets["unique_r2"], parts.targets["unique_r2"], rtol=0, atol=1e-12)
    assert np.allclose(whole.roi_values["unique_r2"], parts.roi_values["unique_r2"], rtol=0, atol=1e-12)
