import numpy as np
import pytest

from brainbench.evaluation import ceilings
from brainbench.evaluation.metrics import pearson_r
from brainbench.simulation import participants


def repeated(reliability, n_stimuli=400, repeats=4, seed=0):
    """Presentations whose single showings have the given share of repeatable variance per target."""
    rng = np.random.default_rng(seed)
    reliability = np.asarray(reliability, dtype=float)
    signal = rng.standard_normal((n_stimuli, len(reliability))) * np.sqrt(reliability)
    stimulus = np.repeat(np.arange(n_stimuli), repeats)
    noise = rng.standard_normal((len(stimulus), len(reliability))) * np.sqrt(1 - reliability)
    return signal, signal[stimulus] + noise, stimulus


@pytest.mark.parametrize("repeats", [2, 3, 5])
def test_split_half_finds_the_planted_reliability(repeats):
    rho = [0.1, 0.3, 0.6, 0.9]
    _, data, stimulus = repeated(rho, n_stimuli=1500, repeats=repeats)
    order = np.random.default_rng(1).permutation(len(data))
    found = ceilings.split_half(data[order], stimulus[order], n_splits=20)
    np.testing.assert_allclose(found.single, rho, atol=0.05)


def test_the_ceiling_is_what_the_true_signal_reaches():
    signal, data, stimulus = repeated([0.2, 0.5, 0.8], n_stimuli=1500)
    found = ceilings.split_half(data, stimulus, n_splits=20)
    np.testing.assert_allclose(found.of_mean(1), pearson_r(data, signal[stimulus]), atol=0.03)
    means = data.reshape(-1, 4, 3).mean(axis=1)
    np.testing.assert_allclose(found.of_mean(4), pearson_r(means, signal), atol=0.03)


def test_spearman_brown_by_hand():
    reliability = ceilings.Reliability(np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(reliability.of_mean(1), [0, np.sqrt(0.5), 1])
    np.testing.assert_allclose(reliability.of_mean(3), [0, np.sqrt(3 * 0.5 / 2), 1])


def test_two_showings_have_one_split():
    """With two showings each, a split half is the correlation of first and second up to their order."""
    data = np.array([[1.0], [1.2], [2.0], [2.1], [5.0], [4.0], [7.0], [8.0]])
    stimulus = np.repeat(np.arange(4), 2)
    found = ceilings.split_half(data, stimulus, n_splits=200, seed=1).single
    every = []
    for flip in np.ndindex(2, 2, 2, 2):
        pairs = data.reshape(4, 2)
        a = pairs[np.arange(4), list(flip)]
        b = pairs[np.arange(4), 1 - np.array(flip)]
        every.append(np.corrcoef(a, b)[0, 1])
    assert found[0] == pytest.approx(np.mean(every), abs=0.005)


def test_stimuli_shown_once_are_left_out_and_noise_gives_zero_or_more():
    _, data, stimulus = repeated([0.5], n_stimuli=50)
    extra = np.random.default_rng(0).standard_normal((30, 1)) * 100
    with_singles = ceilings.split_half(np.concatenate([data, extra]), np.append(stimulus, 1000 + np.arange(30)))
    np.testing.assert_array_equal(with_singles.single, ceilings.split_half(data, stimulus).single)
    noise = ceilings.split_half(np.random.default_rng(1).standard_normal((40, 60)), np.repeat(np.arange(10), 4))
    assert (noise.single >= 0).all() and (noise.single == 0).any()
    with pytest.raises(ValueError, match="three stimuli shown twice, found 2"):
        ceilings.split_half(data[:8], stimulus[:8])


def test_perfect_repeats_have_ceiling_one():
    signal, _, stimulus = repeated([0.5, 0.5], n_stimuli=10)
    np.testing.assert_allclose(ceilings.split_half(signal[stimulus], stimulus).of_mean(1), 1)


def test_leave_one_out_by_a_loop():
    data = np.random.default_rng(0).standard_normal((4, 30, 3)) + np.random.default_rng(1).standard_normal((30, 3))
    found = ceilings.leave_one_out(data)
    for s in range(4):
        others = np.delete(data, s, axis=0).mean(axis=0)
        for v in range(3):
            assert found[s].values[v] == pytest.approx(np.corrcoef(data[s, :, v], others[:, v])[0, 1])


def test_leave_one_out_is_never_negative():
    data = np.random.default_rng(0).standard_normal((2, 20, 1))
    opposed = np.concatenate([data[:1], -data[:1]])
    np.testing.assert_array_equal([one.targets for one in ceilings.leave_one_out(opposed)], 0)


@pytest.mark.parametrize("n_subjects", [6, 7])
def test_group_split_half_is_what_the_shared_signal_reaches(n_subjects):
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((4000, 2))
    data = signal + np.array([1.0, 2.0]) * rng.standard_normal((n_subjects, 4000, 2))
    found = ceilings.group_split_half(data, n_splits=30).targets
    np.testing.assert_allclose(found, pearson_r(data.mean(axis=0), signal), atol=0.02)
    np.testing.assert_allclose(found, np.sqrt(1 / (1 + np.array([1.0, 4.0]) / n_subjects)), atol=0.02)


def test_from_ncsnr():
    s = np.array([0.0, 0.5, 1.0, 2.0])
    np.testing.assert_allclose(ceilings.from_ncsnr(s, 1), np.sqrt(s**2 / (s**2 + 1)))
    np.testing.assert_allclose(ceilings.from_ncsnr(s, 3), np.sqrt(s**2 / (s**2 + 1 / 3)))
    # Allen et al. (2022): stimuli of 1, 2 and 3 trials; the noise variance is the mean of 1 / n.
    noise = (1 + 1 / 2 + 1 / 3) / 3
    np.testing.assert_allclose(ceilings.from_ncsnr(s, np.array([1, 2, 3])), np.sqrt(s**2 / (s**2 + noise)))


def test_ncsnr_and_split_half_agree():
    rho = np.array([0.2, 0.5, 0.8])
    _, data, stimulus = repeated(rho, n_stimuli=1500)
    ncsnr = np.sqrt(rho / (1 - rho))
    split = ceilings.split_half(data, stimulus, n_splits=20)
    for n in (1, 4):
        np.testing.assert_allclose(split.of_mean(n), ceilings.from_ncsnr(ncsnr, n), atol=0.03)


@pytest.mark.parametrize("counts", [[2, 10], [2, 40], [2, 2, 2, 20], [2, 3]])
def test_stimuli_shown_unequally_often(counts):
    """The length of a half is the harmonic mean: with the arithmetic one, 2 and 40 gave .40 where .71 was planted."""
    rng = np.random.default_rng(3)
    stimulus = np.repeat(np.arange(120), np.resize(counts, 120))
    signal = rng.standard_normal((120, 300))
    data = signal[stimulus] + rng.standard_normal((len(stimulus), 300))
    found = ceilings.split_half(data, stimulus, n_splits=10).ceiling(1).region(np.ones(300, bool))
    assert found.value == pytest.approx(np.sqrt(0.5), abs=0.02)


def test_the_jackknife_by_a_loop():
    a, b = np.random.default_rng(5).standard_normal((2, 30, 4))
    groups = np.arange(30) % 7
    rows = ceilings._correlations(a, b, groups)
    for left in range(7):
        kept = groups != left
        want = [np.corrcoef(a[kept, v], b[kept, v])[0, 1] for v in range(4)]
        np.testing.assert_allclose(rows[left + 1], want, atol=1e-12)


def test_a_regions_ceiling_is_not_pulled_down_by_roots_of_noise():
    """A hundred stimuli shown twice: the mean of clipped roots is .27 where .30 was planted."""
    means, plain = [], []
    for seed in range(40):
        _, data, stimulus = repeated([0.09] * 20, n_stimuli=100, repeats=2, seed=seed)
        found = ceilings.split_half(data, stimulus, n_splits=4)
        means.append(found.ceiling(1).region(np.ones(20, bool)).value)
        plain.append(found.of_mean(1).mean())
    assert np.mean(means) == pytest.approx(0.3, abs=0.02) and np.mean(plain) < 0.28


def test_the_interval_covers_and_noise_fails():
    inside, failed = 0, 0
    for seed in range(60):
        _, data, stimulus = repeated([0.3] * 10, n_stimuli=100, repeats=3, seed=seed)
        region = ceilings.split_half(data, stimulus, n_splits=4).ceiling(1).region(np.ones(10, bool))
        inside += region.low <= np.sqrt(0.3) <= region.high
        noise = np.random.default_rng(seed).standard_normal(data.shape)
        failed += ceilings.split_half(noise, stimulus, n_splits=4).ceiling(1).region(np.ones(10, bool)).failed
    assert inside >= 53 and failed >= 55


def test_a_ceiling_that_is_given_has_no_interval():
    region = ceilings.Ceiling(np.array([0.8, 0.6, np.nan]), 1).region(np.array([True, True, True]), power=2)
    assert region.value == pytest.approx((0.64 + 0.36) / 2) and region.low is None and not region.failed
    assert ceilings.Ceiling(np.array([np.nan]), 1).region(np.array([True])) is None


@pytest.mark.parametrize(("n_runs", "size"), [(3, 1.0), (6, 1.0), (6, 0.0), (10, 0.5)])
def test_offsets_of_runs_are_no_noise_of_halves(n_runs, size):
    """With three runs and offsets as large as the signal, halves gave .55 where .70 was planted."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((200, 40))
    stimulus, run = participants.showings(200, 3, n_runs, rng)
    noise = np.sqrt(participants.noise_variance(0.7, 3))
    data = signal[stimulus] + noise * rng.standard_normal((len(stimulus), 40))
    data += size * rng.standard_normal((n_runs, 40))[run]
    clean = ceilings.without_offsets(data, stimulus, run)
    found = ceilings.split_half(clean, stimulus, n_splits=10).ceiling(3)
    means = [np.stack([one[stimulus == index].mean(axis=0) for index in range(200)]) for one in (clean, data)]
    share = means[0].var(axis=0) / means[1].var(axis=0)
    reached = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(signal.T, means[1].T, strict=True)])
    assert found.shared_with(share).region(np.ones(40, bool)).value == pytest.approx(reached, abs=0.02)


def test_what_repeats_do_not_tell_from_a_run_stays():
    rng = np.random.default_rng(1)
    stimulus, run = np.repeat(np.arange(40), 2), np.repeat(["a", "b"], 40)  # every stimulus in one run only
    data = rng.standard_normal((80, 3))
    np.testing.assert_allclose(ceilings.without_offsets(data, stimulus, run), data)
    crossed = np.tile(np.arange(40), 2)
    offset = np.array([1.0, -2.0, 5.0])
    clean = ceilings.without_offsets(np.concatenate([data[:40], data[:40] + offset]), crossed, run)
    np.testing.assert_allclose(clean[:40], clean[40:], atol=1e-9)


def test_halves_are_the_same_dealt_at_once_and_one_by_one():
    at_once = ceilings._dealt(np.array([3, 3, 3]), 50, np.random.default_rng(1))
    rng = np.random.default_rng(1)
    for split in range(50):
        for weights in at_once:
            order = rng.permutation(3)
            assert weights[split].argmax() == order[0] and weights[50 + split].argmax() == order[1]
            assert weights[split].sum() == weights[50 + split].sum() == 1
    for weights, count in zip(ceilings._dealt(np.array([2, 5]), 50, np.random.default_rng(1)), (2, 5), strict=True):
        first, second = weights.reshape(2, 50, count)
        np.testing.assert_array_equal((first > 0).sum(axis=1), count // 2)
        np.testing.assert_allclose(first.sum(axis=1), 1)
        assert not (first * second).any()
