from dataclasses import replace

import numpy as np
import pytest
from nilearn.glm.first_level import compute_regressor, glover_hrf

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.data.haemodynamics import response_at, response_table
from brainbench.features.timing import acting_durations, timing_note, to_rows


def story(seed=0, n=60, width=3, t_r=2.0, n_rows=50):
    rng = np.random.default_rng(seed)
    onset = np.sort(rng.uniform(0, 0.9 * n_rows * t_r, n))
    return rng.standard_normal((n, width)), onset, np.arange(n_rows) * t_r + 1.0, t_r


def naive_window(features, onset, times, t_r, reduce):
    rows = []
    for time in times:
        inside = [f for f, o in zip(features, onset, strict=True) if time - t_r < o <= time]
        rows.append(reduce(inside, axis=0) if inside else np.zeros(features.shape[1]))
    return np.array(rows)


@pytest.mark.parametrize(("resample", "reduce"), [("sum", np.sum), ("mean", np.mean)])
def test_windows_end_with_the_volume(resample, reduce):
    features, onset, times, t_r = story()
    found = to_rows(features, onset, None, times, t_r, resample=resample, hrf="none")
    np.testing.assert_allclose(found, naive_window(features, onset, times, t_r, reduce), rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32 and (found == 0).all(axis=1).any()


def test_a_word_on_the_border_is_counted_once():
    found = to_rows(np.ones((1, 1)), [4.0], None, np.arange(0, 12, 2.0), 2.0, resample="sum", hrf="none")
    np.testing.assert_array_equal(found[:, 0], [0, 0, 1, 0, 0, 0])


def test_lanczos_against_the_formula():
    features, onset, times, t_r = story()
    found = to_rows(features, onset, None, times, t_r, resample="lanczos", hrf="none")
    expected = np.zeros_like(found, dtype=float)
    for k, time in enumerate(times):
        for w, at in enumerate(onset):
            x = (time - at) / t_r
            if abs(x) < 3:
                kernel = 1.0 if x == 0 else 3 * np.sin(np.pi * x) * np.sin(np.pi * x / 3) / (np.pi * x) ** 2
                expected[k] += kernel * features[w]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_lanczos_keeps_what_is_sampled_at_the_volumes():
    values = np.random.default_rng(0).standard_normal((20, 2))
    times = np.arange(20) * 1.5
    np.testing.assert_allclose(
        to_rows(values, times, None, times, 1.5, resample="lanczos", hrf="none"), values, atol=1e-6
    )


@pytest.mark.parametrize("hrf", ["glover", "spm"])
def test_sum_with_a_response_equals_nilearn(hrf):
    """nilearn's regressor of the same impulses; it starts a response one step of its grid late (ours: 0.05 s)."""
    features, onset, _, t_r = story(width=1)
    times = np.arange(50) * t_r
    found = to_rows(features, onset, None, times, t_r, resample="sum", hrf=hrf)[:, 0]
    events = np.stack([onset, np.zeros(len(onset)), features[:, 0]])
    expected = compute_regressor(events, hrf, times, oversampling=400, min_onset=-1)[0][:, 0]
    assert np.corrcoef(found, expected)[0, 1] > 0.9995
    # The same shape; only the unit differs (our response integrates to 1 over seconds).
    scale = found @ expected / (expected @ expected)
    np.testing.assert_allclose(found, scale * expected, atol=0.04 * np.abs(found).max())


def test_sum_with_a_response_is_exact():
    features, onset, times, t_r = story()
    H = response_at(times[:, None] - onset[None, :], "glover")
    np.testing.assert_allclose(to_rows(features, onset, None, times, t_r), H @ features, rtol=1e-5, atol=1e-7)


def test_response_integrates_to_one_and_follows_nilearn():
    times, values = response_table("glover")
    assert np.sum(values) * (times[1] - times[0]) == pytest.approx(1)
    theirs = glover_hrf(0.05, oversampling=1)
    np.testing.assert_allclose(values / values.max(), theirs / theirs.max(), atol=1e-12)
    assert 4.5 < times[values.argmax()] < 6
    assert (response_at(np.array([-0.01, -5.0, 100.0]), "glover") == 0).all()
    with pytest.raises(ValueError, match="glover, spm"):
        response_table("gamma")


@pytest.mark.parametrize("hrf", ["none", "glover"])
@pytest.mark.parametrize("resample", ["sum", "mean"])
def test_the_future_is_not_in_any_row(resample, hrf):
    features, onset, times, t_r = story()
    before = to_rows(features, onset, None, times, t_r, resample=resample, hrf=hrf)
    changed = features.copy()
    changed[30:] += 100
    after = to_rows(changed, onset, None, times, t_r, resample=resample, hrf=hrf)
    past = times < onset[30]
    np.testing.assert_array_equal(before[past], after[past])
    assert np.abs(before[~past] - after[~past]).max() > 1


def test_mean_with_a_response_is_a_discrete_convolution():
    features, onset, times, t_r = story()
    found = to_rows(features, onset, None, times, t_r, resample="mean", hrf="glover")
    sampled = naive_window(features, onset, times, t_r, np.mean)
    expected = np.zeros_like(sampled)
    for k in range(len(times)):
        for j in range(k + 1):
            expected[k] += sampled[j] * response_at(np.array((k - j) * t_r), "glover") * t_r
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("resample", ["sum", "mean", "lanczos"])
def test_words_before_the_first_volume_are_remembered(resample):
    features, onset, times, t_r = story()
    whole = to_rows(features, onset, None, times, t_r, resample=resample)
    # The same recording whose first ten volumes were dropped: later rows stay as they are.
    cut = to_rows(features, onset, None, times[10:], t_r, resample=resample)
    np.testing.assert_allclose(cut, whole[10:], rtol=1e-4, atol=1e-5)
    assert np.abs(cut[0]).max() > 0


def test_delays_stand_side_by_side_and_nothing_wraps():
    features, onset, times, t_r = story(width=2)
    plain = to_rows(features, onset, None, times, t_r, hrf="none")
    found = to_rows(features, onset, None, times, t_r, hrf="none", delays_s=[0.0, 2.0, 6.0])
    assert found.shape == (50, 6)
    np.testing.assert_array_equal(found[:, :2], plain)
    np.testing.assert_array_equal(found[1:, 2:4], plain[:-1])
    np.testing.assert_array_equal(found[3:, 4:], plain[:-3])
    assert (found[:3, 4:] == 0).all()


def stays(seed=0, n=20, t_r=2.0):
    rng = np.random.default_rng(seed)
    duration = rng.choice([0.5, 2.0, 7.0, 16.0], n)
    onset = 3.0 + np.concatenate([[0.0], np.cumsum(duration[:-1] + rng.uniform(0, 3, n - 1))])
    return rng.standard_normal((n, 2)), onset, duration, np.arange(int((onset[-1] + 40) / t_r)) * t_r + 1.0, t_r


@pytest.mark.parametrize("hrf", ["glover", "spm"])
def test_stimuli_that_last_equal_nilearns_regressor(hrf):
    features, onset, duration, times, t_r = stays()
    found = to_rows(features, onset, duration, times, t_r, hrf=hrf)
    for column in range(2):
        events = np.stack([onset, duration, features[:, column]])
        expected = compute_regressor(events, hrf, times, oversampling=400, min_onset=-1)[0][:, 0]
        scale = found[:, column] @ expected / (expected @ expected)
        np.testing.assert_allclose(found[:, column], scale * expected, atol=0.02 * np.abs(expected).max() * scale)


@pytest.mark.parametrize("resample", ["sum", "mean", "lanczos"])
def test_windows_of_stimuli_that_last_are_those_of_many_short_ones(resample):
    features, onset, duration, times, t_r = stays()
    found = to_rows(features, onset, duration, times, t_r, resample=resample, hrf="none")
    fine = [np.arange(a + 0.005, a + d, 0.01) for a, d in zip(onset, duration, strict=True)]
    row = np.repeat(np.arange(len(onset)), [len(one) for one in fine])
    short = to_rows(features[row], np.concatenate(fine), None, times, t_r, resample=resample, hrf="none")
    unit = {"sum": 0.01, "mean": 1.0, "lanczos": 0.01 / t_r}[resample]
    np.testing.assert_allclose(found, short * unit, atol=0.03 * np.abs(found).max())


def timed(duration, modality="text"):
    return replace(
        Stimuli.of([f"text {index}" for index in range(len(duration))]), modality=modality,
        onset=np.arange(len(duration)) * 3.0, duration=np.asarray(duration, dtype=float), source="stimuli.csv",
    )  # fmt: skip


def test_durations_act_unless_they_are_those_of_words():
    assert acting_durations(timed([0.3, 1.1], "word"), "auto") is None
    assert "not used" in timing_note(timed([0.3, 1.1], "word"), "auto")
    assert acting_durations(timed([0.3, 2.5], "word"), "auto").tolist() == [0.3, 2.5]
    assert acting_durations(timed([0.3, 1.1]), "auto").tolist() == [0.3, 1.1]
    assert acting_durations(timed([0.3, 9.0]), "ignore") is None
    assert acting_durations(timed([0.0, 0.0]), "auto") is None
    with pytest.raises(UserError, match=r"stimuli.csv: '00001' has duration 0 s \(1 such"):
        acting_durations(timed([2.0, 0.0]), "auto")
    with pytest.raises(UserError, match="gives no durations"):
        acting_durations(Stimuli.of(["a"]), "use")


def test_unknown_resampling():
    features, onset, times, t_r = story()
    with pytest.raises(ValueError, match="sum, mean or lanczos"):
        to_rows(features, onset, None, times, t_r, resample="linear", hrf="none")


@pytest.mark.parametrize(
    ("resample", "hrf", "delays"),
    [("sum", "glover", ()), ("mean", "spm", ()), ("lanczos", "glover", ()), ("lanczos", "none", (2.0, 4.0, 8.0))],
)
@pytest.mark.parametrize("lasting", [False, True])
def test_long_recordings_are_placed_in_stretches(resample, hrf, delays, lasting, monkeypatch):
    rng = np.random.default_rng(0)
    row_time = np.concatenate([start + 2.0 * np.arange(60) for start in (10.0, 210.0, 500.0)])
    onset = np.sort(np.concatenate([rng.uniform(start, start + 130, 200) for start in (0.0, 200.0, 490.0)]))
    duration = rng.uniform(0.1, 3.0, len(onset)) if lasting else None
    features = rng.standard_normal((len(onset), 3))
    how = {"resample": resample, "hrf": hrf, "delays_s": delays}
    whole = to_rows(features, onset, duration, row_time, 2.0, **how)
    monkeypatch.setattr("brainbench.features.timing._AT_ONCE", 2000)
    np.testing.assert_allclose(to_rows(features, onset, duration, row_time, 2.0, **how), whole, atol=1e-5)


@pytest.mark.parametrize("resample", ["mean", "lanczos"])
def test_the_first_volume_of_every_run_remembers_what_came_before_it(resample):
    # Two runs of the same words, both measured from the tenth second on: equal features.
    onset, features = np.arange(0.3, 60.0, 0.7), np.random.default_rng(0).standard_normal((86, 2))
    times = 10.0 + 2.0 * np.arange(30)
    alone = to_rows(features, onset, None, times, 2.0, resample=resample)
    both = to_rows(
        np.tile(features, (2, 1)), np.concatenate([onset, onset + 160.0]), None,
        np.concatenate([times, times + 160.0]), 2.0, resample=resample,
    )  # fmt: skip
    np.testing.assert_allclose(both, np.tile(alone, (2, 1)), atol=1e-5)


@pytest.mark.parametrize("resample", ["sum", "mean", "lanczos"])
@pytest.mark.parametrize("at_once", [1 << 24, 500])
def test_runs_in_another_order_than_the_clocks_have_the_same_features(resample, at_once, monkeypatch):
    # Who hears the second story first has the same features of it as everybody, in other rows.
    monkeypatch.setattr("brainbench.features.timing._AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    onset = np.concatenate([np.arange(0.3, 60.0, 0.7), 160.0 + np.arange(0.3, 60.0, 0.7)])
    features, times = rng.standard_normal((len(onset), 2)), 10.0 + 2.0 * np.arange(25)
    first, second = times, times + 160.0
    usual = to_rows(features, onset, None, np.concatenate([first, second]), 2.0, resample=resample)
    other = to_rows(features, onset, None, np.concatenate([second, first]), 2.0, resample=resample)
    np.testing.assert_array_equal(other, np.concatenate([usual[25:], usual[:25]]))
