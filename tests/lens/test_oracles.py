"""Localizer, maps, curves, gain and paths on what is planted (T23, T26, T27, T29, T33), and sites beside nnsight's."""

import builtins
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from brainbench.core.errors import UserError
from brainbench.lens import edits as e
from brainbench.lens.effects import effects, modality_gain
from brainbench.lens.growth import curve, growth
from brainbench.lens.localize import bricks, contrast
from brainbench.lens.maps import map_error, matched
from brainbench.lens.modules import ModuleEncoder
from brainbench.lens.paths import conductance, joint_score, path_stability, unit_path
from brainbench.lens.running import edited
from tests.encoders.test_sites import KINDS
from tests.encoders.tiny import images, make
from tests.lens.test_edits import Blocks, Scaling, encoder_of
from tests.lens.test_effects import N, Product, design

FOLDS = [(np.setdiff1d(np.arange(150), test), test) for test in np.array_split(np.arange(150), 2)]


def test_a_planted_unit_is_the_only_one_a_localizer_finds():
    """T23: average precision 1, the others about the base rate; the same numbers as scikit-learn's, ties and all."""
    rng = np.random.default_rng(0)
    label = rng.permutation(200) < 40
    values = rng.standard_normal((200, 60))
    values[:, 17] = label * 4.0 + rng.uniform(0, 1, 200)
    values[:, 5] = np.round(values[:, 5])
    found = contrast(values, label)
    assert found.precision[17] == 1.0 and found.found().tolist() == [17] and found.base_rate == 0.2
    assert np.delete(found.precision, 17).mean() == pytest.approx(0.2, abs=0.03) and found.t.argmax() == 17
    for unit in (0, 5, 17):
        assert found.precision[unit] == pytest.approx(average_precision_score(label, values[:, unit]))
    assert contrast(rng.standard_normal((200, 60)), label).found().size == 0
    layers = np.stack([rng.standard_normal((200, 12)) for _ in range(4)], axis=1)  # all blocks side by side
    layers[:, 2, 5] += 4.0 * label
    every = contrast(layers.reshape(200, -1), label)
    assert np.unravel_index(every.found()[0], (4, 12)) == (2, 5) and np.sort(every.t)[-2] < every.t.max() / 5
    with pytest.raises(UserError, match="two stimuli with the label"):
        contrast(values, np.arange(200) == 3)


def test_units_that_are_active_together_make_a_brick():
    rng = np.random.default_rng(0)
    group, sources = rng.permutation(np.repeat([0, 1, 2], [20, 12, 8])), rng.standard_normal((150, 3))
    values = (
        sources[:, group] * rng.uniform(0.5, 20, 40) + rng.uniform(-9, 9, 40) + 0.3 * rng.standard_normal((150, 40))
    )
    values = np.insert(values, 5, 1.0, axis=1)  # a unit that never varies
    places = np.delete(np.arange(41), 5)
    found = bricks(values, 3)
    assert [one.tolist() for one in found] == [places[group == one].tolist() for one in (0, 1, 2)]
    with pytest.raises(UserError, match="41 bricks of 40 units that vary: give 1 to 40"):
        bricks(values, 41)


def test_a_lesion_of_the_unit_that_was_found_takes_what_it_carried():
    """What is found is a unit of the network's own site, and its lesion is an edit."""
    encoder = make("image", model="test_vit", weights="random", image_size=64)
    shown, site = images(8), encoder.site(2, "mlp_act")
    with torch.inference_mode():
        act = encoder.run(encoder.inputs(shown, range(8)), [site])[site.name].abs().mean(1).numpy()
    label = act[:, 7] > np.median(act[:, 7])
    (first, *_) = np.argsort(-contrast(act, label, n_exchanges=20).precision, kind="stable")
    assert (
        contrast(act, label, n_exchanges=20).precision[7] == 1.0 and act[label, first].min() > act[~label, first].max()
    )
    clean, (without,) = edited(encoder, shown, range(8), [e.ablate_units(2, [7])], encoder.taps[-1].name, "mean")
    assert np.abs(without - clean).max() > 0


def steps(rng, n_taps, n=150, d=6):
    """A network whose steps are rotations with a bend: layers of features that follow from one another nonlinearly."""
    layers = [rng.standard_normal((n, d))]
    for _ in range(n_taps - 1):
        layers.append(layers[-1] + 0.8 * np.tanh(layers[-1] @ rng.standard_normal((d, d))))
    return layers


def test_layers_are_matched_with_those_of_a_network_of_half_steps():
    """T27: every step split in two and rotated: errors below 1e-3 at the same places, half steps at a neighbour."""
    rng = np.random.default_rng(1)
    layers = steps(rng, 5)
    halves = [layers[0]]
    for before, after in pairwise(layers):
        halves += [(before + after) / 2, after]
    other = [one @ np.linalg.qr(rng.standard_normal((6, 6)))[0] for one in halves]
    found = matched(layers, other, FOLDS)
    assert found.nearest[::2].tolist() == [0, 1, 2, 3, 4]
    assert all(k in (j // 2, j // 2 + 1) for j, k in enumerate(found.nearest))
    assert max(found.error[k, 2 * k] for k in range(5)) < 1e-3 and found.error.min(axis=0)[1::2].min() > 5e-3
    assert found.rho > 0.95 and found.p < 0.01
    noise = rng.standard_normal((150, 6))
    assert map_error(layers[2], noise, FOLDS) == pytest.approx(1, abs=0.1)
    assert map_error(layers[2], layers[2], FOLDS) < 1e-6
    # An offset is not explained variance: the published error, which is not centred, would be near 0.
    assert map_error(layers[2], noise + 1000, FOLDS) == pytest.approx(1, abs=0.1)


def test_a_product_of_two_modalities_gains_from_both_from_the_block_on_that_makes_it():
    """T29: text and picture alone say nothing of their product; no gain before block 2, nearly all behind it."""
    rng = np.random.default_rng(2)
    text, picture = rng.standard_normal((2, N))
    how = design((text * picture + 0.3 * rng.standard_normal(N))[:, None])
    network = Blocks(Scaling(1.0), Scaling(1.0), Product(0, 1, 2), Scaling(1.0), Scaling(1.0))
    shown = {name: np.zeros((N, 1, 3), np.float32) for name in ("both", "text", "picture")}
    for name in ("both", "text"):
        shown[name][:, 0, 0] = text
    for name in ("both", "picture"):
        shown[name][:, 0, 1] = picture
    scores = {}
    for name, given in shown.items():
        encoder = ModuleEncoder(network, torch.from_numpy(given))
        layers = [one.name for one in encoder.taps]
        batches = list(encoder.encode(encoder.stimuli, layers, "flatten"))
        found = [np.concatenate([batch[layer] for batch in batches]) for layer in layers]
        scores[name] = [float(effects(one, [], how).clean[0]) for one in found]
    gain = [modality_gain(*one) for one in zip(scores["both"], scores["text"], scores["picture"], strict=True)]
    np.testing.assert_allclose(gain[:3], 0, atol=0.03)  # taps 0 to 2 lie before the block
    np.testing.assert_allclose(gain[3:], 0.9, atol=0.06)
    driven = design((picture + 0.3 * rng.standard_normal(N))[:, None])
    alone, both = (effects(np.stack(one, 1), [], driven).clean[0] for one in ((picture,), (text, picture)))
    assert modality_gain(both, alone) == pytest.approx(0, abs=0.01)


def test_a_curve_over_checkpoints_is_found_again_with_its_peak():
    """T33: 2 % of noise; the closed form of the peak is where the curve is largest."""
    true = (900.0, 0.12, 0.0006, 1.2, 40.0)
    grid = np.linspace(0, 60_000, 60_001)
    peak = grid[curve(grid, *true).argmax()]
    where = np.geomspace(100, 60_000, 40)
    clean = curve(where, *true)
    rng = np.random.default_rng(3)
    found = growth(where, clean * (1 + 0.02 * rng.standard_normal(len(where))))
    assert found.r2 > 0.99 and found.peak == pytest.approx(peak, rel=0.05)
    exact = growth(where, clean)
    assert exact.r2 > 0.99999 and exact.peak == pytest.approx(peak, rel=0.01)
    np.testing.assert_allclose(exact(where), clean, rtol=0.01)
    with pytest.raises(UserError, match="5 parameters over 5 checkpoints"):
        growth(where[:5], clean[:5])


# Conductance ---------------------------------------------------------------------------------------------------------


class Chain(torch.nn.Module):
    """An MLP block without a stream beside it: what it gives is what its hidden units write."""

    def __init__(self, live, width=4, hidden=6):
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(width, hidden, bias=False), torch.nn.Linear(hidden, width, bias=False)
        with torch.no_grad():
            self.fc1.weight.zero_(), self.fc2.weight.zero_()
            self.fc1.weight[live, 0], self.fc2.weight[0, live] = 1.0, 1.0

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(x)))


def test_conductance_adds_up_and_the_path_is_that_of_the_live_units():
    """T26: one live unit a block is the path; in every block conductances add up to F(x) - F(0)."""
    pytest.importorskip("captum", reason="captum is not installed (extra `lens`)")
    live = [4, 1, 3]
    torch.manual_seed(0)
    x = torch.randn(3, 1, 4).abs() + 0.2
    encoder = ModuleEncoder(Blocks(*(Chain(unit) for unit in live)), x)
    taps = encoder.taps

    def site(block, name):
        tap = taps[0] if name == "resid_pre" else taps[block + 1]
        return type(tap)(**{**vars(tap), "module": tap.module if name == "resid_pre" else f"{tap.module}.fc2"})

    encoder.site = site
    weights = np.array([2.0, 0, 0, 0])
    found = conductance(encoder, encoder.stimuli, range(3), weights, n_steps=200, pool="flatten")
    assert found.shape == (3, 3, 6) and unit_path(found).tolist() == live
    with torch.no_grad():
        out, zero = (
            encoder.network(value).hidden_states[-1][:, 0] @ torch.tensor(weights).float() for value in (x, 0 * x)
        )
    for block in range(3):
        np.testing.assert_allclose(found[block].sum(1), (out - zero).numpy(), rtol=5e-3)  # 1 % with 64 steps
    assert (np.delete(found[0], live[0], axis=1) == 0).all()
    assert path_stability(found, 1 / 6).tolist() == [1, 1, 1]


def test_the_released_score_of_a_path_does_not_add_up():
    """For F = c . w it gives 10, 0, 10 where the units add 5, 3, 0."""
    cases = [((1, 1), (2, 3)), ((1, -1), (2, -1)), ((2, 0), (0, 5))]
    assert [joint_score(np.array(w), np.array(c)) for c, w in cases] == [10, 0, 10]
    assert [float(np.dot(c, w)) for c, w in cases] == [5, 3, 0]


def test_without_captum_conductance_says_what_is_missing(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("captum"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="needs the package captum") as missing:
        conductance(None, None, [], np.zeros(3))
    assert "brainbench[lens]" in missing.value.hint


# Another library ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("bert", "visual bert")])
def test_sites_are_those_of_nnsight(kind):
    """Where nnsight is installed: what its own tracing reads at the modules of the sites.

    BERT's modules called `output` it cannot name: it has an attribute of that name on every module.
    """
    nnsight = pytest.importorskip("nnsight", reason="nnsight is a test oracle, and not installed")
    encoder = encoder_of(kind)
    network, inputs = encoder.network, encoder.given
    places = [encoder.site(block, name) for block in range(2) for name in ("attn_out", "mlp_out", "resid_post")]
    with torch.no_grad():
        ours = encoder.run(encoder.inputs(encoder.stimuli, range(2)), places)
    theirs = {}
    traced = nnsight.NNsight(network)
    for place in places:
        with torch.no_grad(), traced.trace(**inputs):
            module = traced
            for part in place.module.split("."):
                module = module[int(part)] if part.isdigit() else getattr(module, part)
            saved = module.output.save()
        theirs[place.name] = saved[0] if isinstance(saved, tuple) else saved
    for place in places:
        torch.testing.assert_close(ours[place.name], theirs[place.name], rtol=0, atol=1e-6, msg=place.name)
