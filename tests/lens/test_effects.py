"""Effects on a brain whose answer is known: frozen, refitted, controls, recovery (T15, T19, T21, T22, T28)."""

import numpy as np
import pytest
import torch

from benchmarks.lens_calibration import simulated
from brainbench.lens import edits as e
from brainbench.lens.beyond import band, p_controls, p_noise, share_beyond
from brainbench.lens.effects import Design, centre_of_mass, dissociation, effects, recovery, reuse, shared_heads
from brainbench.lens.modules import ModuleEncoder
from brainbench.lens.running import edited
from brainbench.ridge.encoding import FoldSettings, fit_fold
from tests.lens.test_edits import Blocks, Scaling

N = 240
FOLDS = [(np.setdiff1d(np.arange(N), test), test) for test in np.array_split(np.arange(N), 4)]


def design(Y, metric="r2", folds=FOLDS, **rois):
    regions = np.array(list(rois.values()) or [np.ones(Y.shape[1], bool)])
    return Design(Y, folds, FoldSettings(np.logspace(-4, 4, 9)), regions, np.zeros(len(Y), int), metric=metric)


class Product(torch.nn.Module):
    """Adds the product of two features of the stream to a third one."""

    def __init__(self, one, other, to):
        super().__init__()
        self.places = one, other, to

    def forward(self, x):
        one, other, to = self.places
        out = x.clone()
        out[..., to] = out[..., to] + out[..., one] * out[..., other]
        return out


@pytest.fixture(scope="module")
def brain():
    """Block 0 writes a * b, block 1 that times c; region A follows what block 0 wrote, region B what block 1 wrote."""
    rng = np.random.default_rng(0)
    x = np.zeros((N, 1, 6), np.float32)
    x[:, 0, :3] = rng.choice([-1.0, 1.0], (N, 3)) * rng.uniform(0.5, 1.5, (N, 3))
    a, b, c = x[:, 0, :3].T
    noise = rng.standard_normal((N, 2)) * 0.4
    Y = np.stack([a * b + 0.7 * a, a * b * c + 0.7 * c], 1) + noise
    encoder = ModuleEncoder(Blocks(Product(0, 1, 3), Product(3, 2, 4)), torch.from_numpy(x))
    return encoder, design(Y, A=np.array([True, False]), B=np.array([False, True]))


def under(encoder, tap, *changes):
    return edited(encoder, encoder.stimuli, range(N), changes, encoder.taps[tap].name, "flatten")


def test_a_frozen_head_says_what_was_used_and_a_refitted_one_what_is_gone(brain):
    """T21: without block 0 both regions fall far with the head as it was, and to what the raw input says with a new."""
    encoder, how = brain
    clean, (no0, no1) = under(encoder, 2, e.skip(0), e.skip(1))
    found = effects(clean, [no0, no1], how)
    raw = effects(clean[:, :3], [], how).clean
    assert found.clean.min() > 0.8
    # A does not need block 1, B needs both; what is left after a refit is what the raw input gives.
    assert found.lost_frozen[1, 0] == pytest.approx(0, abs=0.02) and found.lost_frozen[1, 1] > 0.5
    assert (found.lost_frozen[0] > 0.5).all()
    np.testing.assert_allclose(found.refitted[0], raw, atol=0.02)
    assert found.refitted[1, 1] == pytest.approx(raw[1], abs=0.02)
    assert (found.refitted[0] > found.frozen[0] - 0.02).all() and raw.min() > 0.2
    # Upstream of an edit nothing changes at all.
    before, (same,) = under(encoder, 1, e.skip(1))
    np.testing.assert_array_equal(same, before)
    assert effects(before, [same], how).lost_frozen.tolist() == [[0, 0]]


class Turning(torch.nn.Module):
    """Turns two features of the stream into each other."""

    def forward(self, x):
        return x[..., [0, 1, 2, 4, 3, 5]]


def test_a_head_of_the_end_finds_what_is_there_in_the_form_of_the_end_and_a_new_one_what_is_there():
    """T15 with a region as the readout: block 1 writes what it follows, block 2 turns it into the form of the end."""
    rng = np.random.default_rng(0)
    x = np.zeros((N, 1, 6), np.float32)
    x[:, 0, :3] = rng.choice([-1.0, 1.0], (N, 3)) * rng.uniform(0.5, 1.5, (N, 3))
    followed = x[:, 0, :1] * x[:, 0, 1:2]
    network = Blocks(Product(0, 2, 5), Product(0, 1, 3), Turning(), Product(1, 2, 5))
    encoder = ModuleEncoder(network, torch.from_numpy(x))
    clean, read = under(encoder, 4, *(e.brain_lens(block, 4) for block in range(4)))
    for block in range(4):
        np.testing.assert_array_equal(read[block], under(encoder, block + 1, e.skip(0))[0])
    found = effects(clean, list(read), design(followed + 0.4 * rng.standard_normal((N, 1)), A=np.array([True])))
    intact = found.clean[0]
    assert intact > 0.7 and found.frozen[2:, 0] == pytest.approx(intact, abs=0.02)
    assert (found.frozen[:2, 0] < 0.1).all()  # at block 1 it is there, but not where the head looks
    assert found.refitted[1:, 0] == pytest.approx(intact, abs=0.02) and found.refitted[0, 0] < 0.1


def test_a_layer_that_was_trained_on_a_scale_can_go_below_zero_frozen(brain):
    encoder, how = brain
    clean, (pushed,) = under(encoder, 2, e.steer({1: torch.tensor([0, 0, 0, 0, 9.0, 0])}, 1.0))
    found = effects(clean, [pushed], how)
    assert found.frozen[0, 1] < 0 and found.refitted[0, 1] == pytest.approx(found.clean[1], abs=1e-6)


def test_frozen_is_the_head_of_the_clean_training_rows(brain):
    """By brute force: fitted on clean rows, asked for edited ones, fold by fold."""
    encoder, how = brain
    clean, (no0,) = under(encoder, 2, e.skip(0))
    found = effects(clean, [no0], how)
    scores = []
    for train, test in FOLDS:
        both = np.concatenate([clean, no0[test]])
        Y = np.concatenate([how.Y, how.Y[test]])
        done = fit_fold([both], Y, train, np.arange(N, N + len(test)), how.settings, inner_groups=None,
                        run=np.zeros(len(Y), int))  # fmt: skip
        left = ((done.y_true - done.y_pred) ** 2).sum(0)
        scores.append(1 - left / ((done.y_true - done.y_true.mean(0)) ** 2).sum(0))
    np.testing.assert_allclose(found.frozen[0], np.mean(scores, axis=0), rtol=1e-4)


@pytest.mark.parametrize(("reduction", "d"), [("none", 8), ("none", 90), ("pca", 30)])
def test_in_time_frozen_and_refitted_are_fits_of_their_own(reduction, d):
    """By brute force, with drift and motion taken out, features wider than rows or reduced."""
    rng = np.random.default_rng(0)
    n, run = 60, np.zeros(60, int)
    X, Z = (np.cumsum(rng.standard_normal((n, d)), axis=0) for _ in range(2))
    Y, motion = X[:, :3] + rng.standard_normal((n, 3)), np.cumsum(rng.standard_normal((n, 2)), axis=0)
    folds = [(np.setdiff1d(np.arange(n), test), test) for test in np.array_split(np.arange(n), 2)]
    how = FoldSettings(np.logspace(-2, 4, 4), reduction, 5, inner_folds=2, high_pass_s=40.0, t_r=2.0)
    found = effects(X, [Z], Design(Y, folds, how, np.eye(3, dtype=bool), run, nuisance=motion, metric="r2"))
    for number, (train, test) in enumerate(folds):
        mixed = X.copy()
        mixed[test] = Z[test]
        for features, scores in ((mixed, found.frozen_folds), (Z, found.refitted_folds)):
            done = fit_fold([features], Y, train, test, how, inner_groups=None, run=run, nuisance=motion)
            left = ((done.y_true - done.y_pred) ** 2).sum(0)
            expected = 1 - left / ((done.y_true - done.y_true.mean(0)) ** 2).sum(0)
            np.testing.assert_allclose(scores[number, 0], expected, rtol=1e-4, atol=1e-5)


def test_a_planted_head_stands_out_of_its_controls():
    """T22: one of 24 heads drives the region."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((N, 24)).astype(np.float32)
    Y = X[:, [5]] + 0.3 * rng.standard_normal((N, 1))
    without = [X * (np.arange(24) != head) for head in range(24)]
    found = effects(X, without, design(Y))
    lost = found.lost_frozen[:, 0]

    def beside(head):
        scores = found.frozen_folds[:, :, 0].T
        return band(found.clean_folds[:, 0][None], scores[head][None], np.delete(scores, head, 0)[:, None], 1 / 3)

    about = beside(5)
    assert lost[5] > 0.8 and abs(about.mean) < 0.02 and about.high < 0.05 and about.p < 0.001 and about.n == 23
    assert about.p == max(about.p_controls, about.p_noise, about.p_intact)
    assert min(beside(head).p for head in range(24) if head != 5) > 0.05


def test_few_controls_are_counted_and_no_p_is_below_what_their_number_allows():
    others = np.array([0.1, 0.2, 0.3, 0.2, 0.1])
    assert p_controls(9.0, others) == 1 / 6 and p_controls(0.2, others) == 4 / 6
    many = np.resize(others, 20)
    assert p_controls(9.0, many) < 1e-5 and p_controls(9.0, many, law=False) == 1 / 21


def test_p_among_controls_is_that_of_one_more_of_their_kind():
    """A twenty-first control is called beyond the twenty others in 5 of 100 cases, whatever their mean and spread."""
    draws = np.random.default_rng(0).normal(0.03, 0.004, (4000, 21))
    p = np.array([p_controls(row[0], row[1:]) for row in draws])
    for level in (0.05, 0.01):
        assert np.mean(p < level) == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / len(p)))
    assert share_beyond(draws) == pytest.approx(0.05, abs=0.01)
    skewed = np.random.default_rng(1).standard_exponential((400, 21)) ** 3
    assert share_beyond(skewed) != pytest.approx(0.05, abs=0.005) and np.isnan(share_beyond(draws[:, :19]))
    by_hand = [p_controls(row[k], np.delete(row, k)) < 0.05 for row in draws[:20] for k in range(21)]
    assert share_beyond(draws[:20]) == np.mean(by_hand)


def test_p_of_noise_is_a_test_over_participants_or_over_folds():
    from scipy.stats import ttest_1samp

    rng = np.random.default_rng(2)
    people = rng.normal(0.2, 1, (8, 4))
    expected = ttest_1samp(people.mean(1), 0, alternative="greater").pvalue
    assert p_noise(people, 0.25) == pytest.approx(expected)
    # Folds share what they are trained on: Nadeau and Bengio's variance, (1 / k + n_test / n_train) s^2.
    one = rng.normal(0.2, 1, (1, 5))
    plain, paid = (p_noise(one, shares) for shares in (0.0, 0.25))
    assert plain == pytest.approx(ttest_1samp(one[0], 0, alternative="greater").pvalue)
    assert (paid > plain) == (one.mean() > 0) and np.isnan(p_noise(one[:, :1], 0.25))


@pytest.mark.parametrize("elsewhere", [True, False])
def test_noise_and_a_region_that_an_edit_does_not_touch_are_seldom_called_beyond(elsewhere):
    """p among controls alone calls a third of noise an effect where controls lie in directions that do not vary."""
    rng = np.random.default_rng(0)
    found = [simulated(rng, people=1, folds=5, elsewhere=elsewhere) for _ in range(60)]
    noise, untouched, hit = (np.array([[one[k].p, one[k].p_controls] for one in found]) < 0.05 for k in range(3))
    assert (noise[:, 1].mean() > 0.2) == elsewhere
    assert noise[:, 0].mean() <= 0.05 and untouched[:, 0].mean() <= 0.05 and hit[:, 0].mean() > 0.7


def test_recovery_of_the_parts_of_a_linear_stream_is_their_weight():
    """T19: .1 .4 .3 .2 of the outcome come back; nothing is said where nothing was lost."""
    weights = np.array([0.1, 0.4, 0.3, 0.2])
    x = torch.randn(5, 4, 1, generator=torch.Generator().manual_seed(0))
    network = Blocks(Scaling(1.0), Scaling(2.0), Scaling(0.5))
    good, bad = ModuleEncoder(network, x), ModuleEncoder(network, x - 3)  # every part loses as much
    site = good.site(1, "resid_post")
    with torch.inference_mode():
        stored = dict(enumerate(good.run(good.inputs(good.stimuli, range(5)), [site])[site.name]))

    def one(part):
        return lambda inside: inside & (torch.arange(4) == part)

    def outcome(encoder, *changes):
        last = encoder.taps[-1].name
        intact, changed = edited(encoder, encoder.stimuli, range(5), changes or [e.skip(0)], last, "flatten")
        return [float((values @ weights).mean()) for values in (intact, *changed)]

    clean = outcome(good)[0]
    corrupt, *patched = outcome(bad, *(e.patch(1, "resid_post", stored, one(part)) for part in range(4)))
    found = [recovery(clean, corrupt, value) for value in patched]
    np.testing.assert_allclose(found, weights, rtol=1e-5)
    assert sum(found) == pytest.approx(1)
    assert np.isnan(recovery(0.5, 0.5, 0.5)) and np.isnan(recovery(0.5, 0.4, 0.6, 0.06))
    assert recovery(0.5, 0.3, 0.6) == pytest.approx(1.5) and recovery(0.5, 0.3, 0.2) == pytest.approx(-0.5)


def test_patching_a_clean_value_back_gives_back_what_it_carried(brain):
    encoder, _ = brain
    corrupt = ModuleEncoder(encoder.network, encoder.given[""].flip(0))
    site = encoder.site(0, "resid_post")
    with torch.inference_mode():
        clean = encoder.run(encoder.inputs(encoder.stimuli, range(N)), [site])[site.name]
    stored = {row: clean[row] for row in range(N)}
    target, _ = under(encoder, 2, e.skip(0))
    broken, (patched,) = under(corrupt, 2, e.patch(0, "resid_post", stored))
    np.testing.assert_array_equal(patched, target)
    assert not np.allclose(broken, target)


def test_dissociation_of_disjoint_and_of_shared_circuits():
    """T28: two sets of units, two regions; each region reads one set, or both read the first."""
    assert dissociation(np.array([[0.4, 0.0], [0.0, 0.3]])) == pytest.approx(0.7)
    assert dissociation(np.array([[0.4, 0.3], [0.4, 0.3]])) == pytest.approx(0)
    rng = np.random.default_rng(3)
    X = rng.standard_normal((N, 8)).astype(np.float32)
    lesions = [X * (np.arange(8) // 4 != which) for which in (0, 1)]
    one, other = X[:, :4].sum(1), X[:, 4:].sum(1)
    regions = {"A": np.array([True, False]), "B": np.array([False, True])}
    lost = {}
    for name, sources in (("disjoint", (one, other)), ("shared", (one, one))):
        Y = np.stack(sources, 1) + 0.5 * rng.standard_normal((N, 2))
        lost[name] = effects(X, lesions, design(Y, **regions)).lost_frozen
    apart = lost["disjoint"]
    assert dissociation(apart) == pytest.approx(apart[0, 0] + apart[1, 1], abs=0.02) and np.diag(apart).min() > 0.8
    assert lost["shared"][0].min() > 0.8 and dissociation(lost["shared"]) == pytest.approx(0, abs=0.05)


def test_shared_heads_are_found_across_participants():
    """Two regions with the same heads, one with others, and two of noise that is common within participants."""
    rng = np.random.default_rng(0)
    lost = 0.1 * rng.standard_normal((8, 100, 5))
    lost[:, :10, :2] += 1
    lost[:, 50:60, 2] += 1
    lost[:, :, 3:] += rng.standard_normal((8, 100, 1))
    found = reuse(lost, 0.1)
    assert (found[:2, :2] == 1).all() and found[2, 2] == 1 and (found[2, :2] == 0).all()
    assert found[3, 4] < 0.3  # in the same participants: nearly 1
    assert np.isnan(reuse(lost[:1])).all()


def test_overlap_of_head_sets_has_a_known_null():
    """Of 144 heads the first 15 of either: 1.56 are shared by chance, six or more with p .0013."""
    effect = np.arange(144.0)[::-1]
    other = np.full(144, -1.0)
    other[:6], other[50:59] = 1.0, 0.5
    jaccard, p = shared_heads(effect, other, 15 / 144)
    assert jaccard == 6 / 24 and p == pytest.approx(0.0013, abs=1e-4)


def test_the_centre_of_mass_of_a_curve():
    assert centre_of_mass(np.array([0, 0, 1.0])) == 1 and centre_of_mass(np.array([1.0, -5, 1])) == 0.5
    assert np.isnan(centre_of_mass(np.array([-1.0, np.nan])))
