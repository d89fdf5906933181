"""Null participants keep a recording's design and noise, and lose what it says of its stimuli."""

import numpy as np
import pytest

from brainbench.data.base import Continuous, Dataset, Responses, Stimuli
from brainbench.features.drift import remove_drift, segments_of
from brainbench.simulation.null import Effect, NullDataset, truths

N_STIMULI, N_REPEATS = 60, 3


class Made(Dataset):
    """Responses that a test has made."""

    name = "made"

    def __init__(self, members):
        self.members = {member.subject: member for member in members}

    @classmethod
    def open(cls, settings, root, context):
        raise NotImplementedError

    @property
    def subjects(self):
        return list(self.members)

    def stimuli(self, subject):
        return Stimuli.of([f"stimulus {index}" for index in range(N_STIMULI)])

    def responses(self, subject):
        return self.members[subject]

    def files(self):
        return []


def trials(subject, seed, *, signal=1.0, noise=1.0, smooth=0.0, offsets=0.0, n_targets=4):
    """Return responses to a signal that alternates over stimuli, in all targets; `smooth` is shared by targets."""
    rng = np.random.default_rng(seed)
    stimulus = np.concatenate([rng.permutation(N_STIMULI) for _ in range(N_REPEATS)])
    run = np.repeat(np.arange(N_REPEATS), N_STIMULI)
    own = rng.standard_normal((len(stimulus), n_targets))
    both = np.sqrt(smooth) * rng.standard_normal((len(stimulus), 1)) + np.sqrt(1 - smooth) * own
    effect = signal * np.where(stimulus % 2, 1.0, -1.0)
    data = noise * both + effect[:, None] + offsets * rng.standard_normal(3)[run, None]
    names = np.array([f"run-{number}" for number in run])
    return Responses(subject, data, stimulus, names, {"all": np.ones(n_targets, dtype=bool)})


def story(subject, seed, *, correlation=0.6, shared=0.0, drift=0.0, n=600):
    """Return autoregressive time courses of three targets; `shared` is the share of all participants' common part."""
    common, rng = np.random.default_rng(99), np.random.default_rng(seed)
    new = np.sqrt(shared) * common.standard_normal((n, 3)) + np.sqrt(1 - shared) * rng.standard_normal((n, 3))
    for row in range(1, n):
        new[row] += correlation * new[row - 1]
    slow = drift * np.cos(np.pi * np.arange(n) / n)[:, None]
    return Responses(
        subject, new + slow, None, np.repeat(["a", "b"], n // 2), {"all": np.ones(3, dtype=bool)},
        continuous=Continuous(2.0 * np.arange(n), 2.0),
    )  # fmt: skip


def drawn(dataset, numbers, subject):
    """Yield a null participant of every set."""
    for number in numbers:
        dataset.draw(number)
        yield dataset.participant(subject)


def test_a_null_participant_has_the_design_and_a_set_is_always_the_same():
    real = trials("a", 1)
    one, other = (NullDataset(Made([real]), answers=True, seed=4) for _ in range(2))
    first, second = drawn(one, (3, 4), "a")
    (again,) = drawn(other, (3,), "a")
    for name in ("stimulus", "run"):
        np.testing.assert_array_equal(getattr(first.responses, name), getattr(real, name))
    assert first.responses.data.shape == real.data.shape and list(first.responses.rois) == ["all"]
    np.testing.assert_array_equal(first.responses.data, again.responses.data)
    assert np.abs(first.responses.data - second.responses.data).min() > 0


def test_the_effect_of_the_real_data_is_lost():
    real = trials("a", 1, signal=3.0)
    effect = np.where(real.stimulus % 2, 1.0, -1.0)
    assert np.corrcoef(effect, real.data[:, 0])[0, 1] > 0.9
    dataset = NullDataset(Made([real]), answers=True, seed=0)
    found = [np.corrcoef(effect, one.responses.data[:, 0])[0, 1] for one in drawn(dataset, range(120), "a")]
    # Answers to 60 stimuli correlate with an effect by .13 at random, either way.
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))
    assert np.std(found) == pytest.approx(1 / np.sqrt(N_STIMULI), rel=0.25)


def test_variance_over_stimuli_noise_and_smoothness_are_those_of_the_data():
    dataset = NullDataset(Made([trials("a", 2, signal=1.0, noise=1.5, smooth=0.6)]), answers=True, seed=0)
    shared, left, alike, known = [], [], [], []
    for one in drawn(dataset, range(60), "a"):
        data, stimulus = one.responses.data, one.responses.stimulus
        means = np.stack([data[stimulus == index].mean(axis=0) for index in range(N_STIMULI)])
        residual = data - means[stimulus]
        noise = (residual**2).sum(axis=0) / (N_STIMULI * (N_REPEATS - 1))
        shared.append(means.var(axis=0, ddof=1) - noise / N_REPEATS)
        left.append(noise)
        alike.append(np.corrcoef(residual.T)[0, 1])
        known.append(one.ceiling)
    assert np.mean(left) == pytest.approx(1.5**2, rel=0.1)
    assert np.mean(shared) == pytest.approx(1.0, rel=0.2)
    assert np.mean(alike) == pytest.approx(0.6, abs=0.1)
    reliability = np.mean(shared) / (np.mean(shared) + np.mean(left) / N_REPEATS)
    assert np.mean(known) == pytest.approx(np.sqrt(reliability), abs=0.02)


def test_the_true_ceiling_is_what_the_answers_reach():
    """Held against means over showings of which the answers are known: the noise of another set, put on them."""
    dataset = NullDataset(Made([trials("a", 3, noise=2.0)]), answers=True, seed=0)
    silent = NullDataset(Made([trials("a", 3, noise=2.0)]), answers=False, seed=0)
    found = []
    for one, none in zip(drawn(dataset, range(60), "a"), drawn(silent, range(60), "a"), strict=True):
        answers = one.responses.data - none.responses.data  # the same noise: the same seed draws it
        order = np.argsort(one.responses.stimulus, kind="stable")
        means = one.responses.data[order].reshape(N_STIMULI, N_REPEATS, -1).mean(axis=1)
        signal = answers[order][::N_REPEATS]
        found.append([np.corrcoef(a, b)[0, 1] for a, b in zip(signal.T, means.T, strict=True)])
        assert np.all(none.ceiling == 0)
    np.testing.assert_allclose(np.mean(found, axis=0), one.ceiling, atol=0.03)


def test_means_of_runs_lower_a_ceiling_only_where_stimuli_meet_other_runs():
    whole = trials("a", 4, offsets=3.0)
    rows = np.flatnonzero((whole.stimulus < 30) == (whole.run == "run-0"))  # half the stimuli in their own run
    parted = Responses("a", whole.data[rows], whole.stimulus[rows], whole.run[rows], whole.rois)
    kept = dict(answers=True, seed=0)
    (all_runs,) = drawn(NullDataset(Made([whole]), **kept), [0], "a")
    (not_centered,) = drawn(NullDataset(Made([parted]), **kept), [0], "a")
    (centered,) = drawn(NullDataset(Made([parted]), **kept, centered=True), [0], "a")
    assert np.all(not_centered.ceiling < centered.ceiling - 0.01)
    (again,) = drawn(NullDataset(Made([whole]), **kept, centered=True), [0], "a")
    np.testing.assert_allclose(all_runs.ceiling, again.ceiling)


def lag_one(x):
    return float(np.mean([np.corrcoef(column[1:], column[:-1])[0, 1] for column in x.T]))


def test_time_courses_keep_autocorrelation_and_what_participants_share():
    people = [story("a", 1, shared=0.5), story("b", 2, shared=0.5), story("c", 3)]
    dataset = NullDataset(Made(people), answers=True, seed=0, high_pass_s=128.0)
    slow, alike, apart, size = [], [], [], []
    for number in range(12):
        dataset.draw(number)
        a, b, c = (dataset.responses(name).data for name in "abc")
        slow.append(lag_one(a[:300]))
        alike.append(np.corrcoef(a[:, 0], b[:, 0])[0, 1])
        apart.append(np.corrcoef(a[:, 0], c[:, 0])[0, 1])
        size.append(a.std())
    assert np.mean(slow) == pytest.approx(lag_one(people[0].data[:300]), abs=0.03)
    assert np.mean(alike) == pytest.approx(0.5, abs=0.1)
    assert abs(np.mean(apart)) < 0.1
    assert np.mean(size) == pytest.approx(people[0].data.std(), rel=0.1)
    assert truths(dataset, ["a"]) == {}  # the ceiling of other participants has no closed form


def test_drifts_are_drawn_anew():
    real = story("a", 1, drift=5.0)
    dataset = NullDataset(Made([real]), answers=True, seed=0, high_pass_s=128.0)
    first = real.data[:300, 0]  # of one run: means of runs are what they were
    found = [np.corrcoef(one.responses.data[:300, 0], first)[0, 1] for one in drawn(dataset, range(20), "a")]
    assert np.mean(np.abs(found)) > 0.2 and abs(np.mean(found)) < 0.4


def test_single_showings_and_unequal_ones():
    real = trials("a", 5)
    once = real.stimulus.copy()
    keep = np.unique(once, return_index=True)[1]
    alone = Responses("a", real.data[keep], once[keep], real.run[keep], real.rois)
    (one,) = drawn(NullDataset(Made([alone]), answers=True, seed=0), [0], "a")
    assert one.ceiling is None and one.responses.data.std() == pytest.approx(alone.data.std(), rel=0.3)
    rows = np.concatenate([keep, np.setdiff1d(np.arange(len(once)), keep)[:20]])
    unequal = Responses("a", real.data[rows], once[rows], real.run[rows], real.rois)
    found = [d.responses.data.std() for d in drawn(NullDataset(Made([unequal]), answers=True, seed=0), range(20), "a")]
    assert np.mean(found) == pytest.approx(unequal.data.std(), rel=0.15)


@pytest.mark.parametrize("kind", ["trials", "story"])
def test_an_effect_has_the_correlation_that_was_asked_for(kind):
    """Measured against the features themselves: what a fit to all features explains, runs and drifts aside."""
    if kind == "trials":
        real, answers = trials("a", 0, offsets=2.0), True
        shown, n = np.random.default_rng(5).normal(size=(N_STIMULI, 6)), N_STIMULI * N_REPEATS
        features = shown[real.stimulus]
    else:
        real, answers, n = story("a", 0, drift=3.0), False, 600
        features = np.random.default_rng(5).normal(size=(n, 6))
    settings = {"answers": answers, "seed": 0, "high_pass_s": 128.0}
    null = NullDataset(Made([real]), **settings)
    planted = NullDataset(Made([real]), **settings, effect=Effect(0.6, lambda stimuli, responses: features))
    signals, found = [], []
    for number in range(40 if kind == "trials" else 8):
        null.draw(number), planted.draw(number)
        assert planted.participant("a").ceiling is None
        without, with_effect = (one.responses("a").data for one in (null, planted))
        signals.append(with_effect - without)
        left = (1 - 0.6**2) / 0.6**2 * signals[0].var(axis=0)  # the variance that .6 asks of what is not the signal
        noise = without - np.stack([without[real.run == run].mean(axis=0) for run in real.run])
        if kind == "story":
            noise = remove_drift(noise, segments_of(np.arange(n), real.run), 2.0, 128.0)
        found.append(noise.var(axis=0) / left)
    np.testing.assert_allclose(signals[0], signals[1], atol=1e-5)  # weights stay: an expected score is one number
    # What is taken out with the drifts here was part of the process.
    assert np.mean(found) == pytest.approx(1.0 if kind == "trials" else 0.93, abs=0.06)
    design = np.column_stack([np.ones(n), features])
    if kind == "trials":
        residual = signals[0] - design @ np.linalg.lstsq(design, signals[0], rcond=None)[0]
        assert np.abs(residual).max() < 1e-5
