"""Edits of networks: three invariants over every family, and published edits on networks whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from brainbench.commands.catalog import listing
from brainbench.core.errors import UserError
from brainbench.encoders.capture import Edit
from brainbench.encoders.sites import SITES
from brainbench.lens import edits as e
from brainbench.lens.modules import ModuleEncoder
from brainbench.lens.paths import sent, without
from brainbench.lens.running import edit_of, edited, exact_from, means, resumed, spreads
from tests.encoders.test_sites import KINDS, POST_NORM, opened
from tests.encoders.test_stories import STORY
from tests.encoders.tiny import features, images, make, stimuli_of, write_gpt2

BLOCK = 1


def encoder_of(kind):
    network, inputs, taps = opened(kind)
    found = ModuleEncoder.__new__(ModuleEncoder)
    found.name, found.network, found.given, found.special, found.device = kind, network, dict(inputs), None, "cpu"
    found._batch_size = 2
    found.reading = type("Read", (), {"taps": taps, "alone": False, "largest": 1.0})
    return found


def left(encoder):
    """What hangs on the modules of a network; transformers has hooks of its own."""
    return [
        (len(module._forward_hooks), len(module._forward_pre_hooks), "forward" in vars(module))
        for module in encoder.network.modules()
    ]


def changes_of(encoder):
    """Every edit of the catalogue at one block, and a null edit of each site."""
    n_blocks, rows = len(encoder.taps) - 1, range(2)
    seen = {}
    with torch.inference_mode():
        inputs = encoder.inputs(encoder.stimuli, rows)
        found = encoder.run(inputs, [encoder.site(BLOCK, site) for site in SITES])
    seen = {site: found[f"{site}.{BLOCK}"] for site in SITES}
    mean = means(encoder, encoder.stimuli, rows, [(BLOCK, "resid_pre"), (BLOCK, "z"), (BLOCK, "mlp_act")])
    T, f = seen["pattern"].shape[-1], seen["mlp_act"].shape[-1]
    act = seen["mlp_act"].flatten(0, -2).numpy()
    other = {row: seen["mlp_out"][1 - row] for row in rows}
    uniform, everywhere = torch.full((T, T), 1 / T), torch.ones(T, T, dtype=torch.bool)
    direction = torch.ones(seen["resid_post"].shape[-1])
    return {
        "skip": e.skip(BLOCK),
        "last-active": e.last_active(n_blocks, 0.8),
        "brain-lens": e.brain_lens(BLOCK, n_blocks),
        "erase": e.erase(BLOCK, mean[BLOCK, "resid_pre"]),
        "heads": e.ablate_heads(BLOCK, [0], mean[BLOCK, "z"]),
        "units": e.ablate_units(BLOCK, range(f // 2), mean[BLOCK, "mlp_act"]),
        "sparsify": e.sparsify(BLOCK, 0.5, torch.from_numpy(e.thresholds(act, np.ones(f), 0.5, "channel"))),
        "patch": e.patch(BLOCK, "mlp_out", other),
        "path": e.path(BLOCK, {row: seen["attn_out"][1 - row] for row in rows}),
        "inject": e.inject({BLOCK: 1.0}, [BLOCK + 1], "mlp_out", 0.5, lambda inside: torch.ones_like(inside)),
        "clamp": e.clamp(BLOCK, [0], uniform, everywhere),
        "steer": e.steer({BLOCK: direction}, 2.0),
        "set-coordinate": e.set_coordinate(BLOCK, [0, 3]),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_edit_leaves_what_lies_before_it_and_the_network_itself_alone(kind):
    """T30 for every edit of the catalogue: earlier layers and the network afterwards are the same bits."""
    encoder = encoder_of(kind)
    stimuli, rows = encoder.stimuli, range(2)
    made = changes_of(encoder)
    assert set(made) == set(e.EDITS)
    before = left(encoder)
    for layer in (encoder.taps[BLOCK].name, encoder.taps[-1].name):
        clean, changed = edited(encoder, stimuli, rows, list(made.values()), layer, "flatten")
        whole = edited(encoder, stimuli, rows, list(made.values()), layer, "flatten", resume=False)
        np.testing.assert_array_equal(changed, whole[1])  # from the stored input: the same bits
        again, _ = edited(encoder, stimuli, rows, [made["clamp"]], layer, "flatten")
        np.testing.assert_array_equal(again, clean)
        for name, values in zip(made, changed, strict=True):
            same = np.array_equal(values, clean)
            if layer != encoder.taps[-1].name:
                assert same, f"{name} changes what lies before it"
            elif name != "last-active":
                assert not same, f"{name} changes nothing"
    assert left(encoder) == before


@pytest.mark.parametrize("kind", KINDS)
def test_runs_that_begin_behind_a_block_are_whole_runs_bit_for_bit(kind):
    """Skipped blocks and their controls, the first and the last ones too; and layers far before an edit."""
    encoder = encoder_of(kind)
    rows, blocks = range(2), range(len(encoder.taps) - 1)
    direction = torch.ones(encoder.taps[-1].width or 1)
    for tap in (1, len(blocks)):
        for block in blocks:
            drawn = spreads(encoder, encoder.stimuli, rows, [block], "skip")[block]
            made = [e.skip(block), e.skip_control(block, drawn, 0), e.steer({block: direction}, 2.0)]
            told = [
                edited(encoder, encoder.stimuli, rows, made, encoder.taps[tap].name, "flatten", resume=resume)
                for resume in (True, False)
            ]
            np.testing.assert_array_equal(told[0][1], told[1][1])
            assert [np.array_equal(one, told[0][0]) for one in told[0][1]] == [tap <= block] * 3


@pytest.mark.parametrize("kind", ["timm", "vit", "bert", "gpt2", "llama", "t5", "brainomni", "duin"])
def test_runs_that_begin_in_the_middle_are_tried(kind):
    encoder = encoder_of(kind)
    inputs, tap = encoder.inputs(encoder.stimuli, range(2)), encoder.taps[-1]
    with torch.inference_mode():
        pre = encoder.site(2, "resid_pre")
        found = encoder.run(inputs, [tap, pre])
        exact = exact_from(encoder, inputs, tap, found[tap.name], 2, found[pre.name], lambda value, _tap: value.clone())
    assert exact == (kind != "t5")  # the first block of T5 hands a position bias on


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_that_fails_leaves_no_hook_behind(kind):
    encoder = encoder_of(kind)
    before = left(encoder)

    def fail(_value, _now):
        raise RuntimeError("no")

    broken = e.Change("broken", (e.Step(2, "resid_post", fail),))
    with pytest.raises(RuntimeError, match="no"):
        edited(encoder, encoder.stimuli, range(2), [broken], encoder.taps[-1].name, "mean")
    with pytest.raises(KeyError), resumed(encoder, 2, torch.zeros(1)):
        raise KeyError
    assert left(encoder) == before


def test_the_catalogue_is_printed():
    text = listing("edits")
    assert all(name in text for name in e.EDITS) and "at z" in text and "arXiv:2310.08744" in text


# Networks whose answer is known --------------------------------------------------------------------------------------


class Scaling(torch.nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


class Blocks(torch.nn.Module):
    """Blocks one after the other, under the name that brainbench looks for."""

    def __init__(self, *blocks):
        super().__init__()
        self.blocks, self.config = torch.nn.ModuleList(blocks), SimpleNamespace()

    def forward(self, x, output_hidden_states=False):
        states = [x]
        for block in self.blocks:
            states.append(block(states[-1]))
        return SimpleNamespace(hidden_states=states)


def run(network, x, *changes):
    encoder = ModuleEncoder(network, x)
    last = encoder.taps[-1].name
    clean, changed = edited(encoder, encoder.stimuli, range(len(x)), changes, last, "flatten")
    return clean, list(changed)


def test_skipping_is_not_reading_out_the_last_active_block():
    """T6: x2, x4, x0.9, x3 on 1: the third is void. Skipped, 24 is left; read off the last active, 21.6 as before."""
    network = Blocks(Scaling(2.0), Scaling(4.0), Scaling(0.9), Scaling(3.0))
    x = torch.ones(2, 3, 1)
    clean, (skipped, active) = run(network, x, e.skip(2), e.last_active(4))
    assert clean == pytest.approx(21.6) and skipped == pytest.approx(24.0) and active == pytest.approx(21.6)
    network = Blocks(Scaling(2.0), Scaling(4.0), Scaling(0.9))
    _, (skipped, active) = run(network, x, e.skip(2), e.last_active(3))
    assert skipped == pytest.approx(8.0) and active == pytest.approx(8.0)  # where the last one is void, they agree


class Adding(torch.nn.Module):
    """Adds a linear map of some features of the stream to others."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = torch.nn.Parameter(matrix)

    def forward(self, x):
        return x + x @ self.matrix


def wire(d, *edges):
    matrix = torch.zeros(d, d)
    for start, end, weight in edges:
        matrix[start, end] = weight
    return Adding(matrix)


class Tupled(Adding):
    """Gives its output in a tuple with something else, as blocks did before transformers 5."""

    def forward(self, x):
        return super().forward(x[0] if isinstance(x, tuple) else x), None


class TupledBlocks(Blocks):
    def forward(self, x, output_hidden_states=False):
        states = [x]
        for block in self.blocks:
            states.append(block(states[-1])[0])
        return SimpleNamespace(hidden_states=states)


def test_blocks_that_give_a_tuple_are_read_and_edited_like_others():
    """T32."""
    maps = [0.3 * torch.randn(5, 5, generator=torch.Generator().manual_seed(block)) for block in range(3)]
    x, direction = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(9)), torch.ones(5)
    changes = (e.skip(1), e.steer({0: direction}, 2.0), e.erase(2, direction))
    plain, edits = run(Blocks(*map(Adding, maps)), x, *changes)
    tupled, same = run(TupledBlocks(*map(Tupled, maps)), x, *changes)
    np.testing.assert_array_equal(tupled, plain)
    for one, other in zip(same, edits, strict=True):
        np.testing.assert_array_equal(one, other)
        assert not np.array_equal(one, plain)


def test_a_later_block_feels_the_skip_of_what_it_reads():
    """T17: block 2 reads what block 0 wrote and block 4 what block 2 wrote; nothing else hangs together."""
    blocks = [wire(6) for _ in range(6)]
    blocks[0], blocks[2], blocks[4] = (
        wire(6, (0, 1, 1.0)),
        wire(6, (1, 2, 0.5), (0, 2, 0.5)),
        wire(6, (2, 4, 0.8), (0, 4, 0.2)),
    )
    x = torch.zeros(3, 2, 6)
    x[..., 0] = torch.tensor([1.0, 2.0, -1.0])[:, None]
    encoder = ModuleEncoder(Blocks(*blocks), x)
    later = np.triu(np.ones((6, 6), bool), 1)
    for kind, told in (
        ("total", {(0, 2): 0.5, (0, 4): 0.4, (2, 4): 0.8}),
        ("direct", {(0, 2): 0.5, (2, 4): 0.8}),  # block 4 reads nothing of what block 0 wrote
    ):
        found = without(encoder, encoder.stimuli, range(3), kind)
        expected = np.where(later, 0.0, np.nan)
        for pair, value in told.items():
            expected[pair] = value
        np.testing.assert_allclose(found.largest, expected, atol=1e-6)
        np.testing.assert_allclose(found.high, expected, atol=1e-6)
        assert found.silent.tolist() == [False, True, False, True, False, True]


@pytest.mark.parametrize("kind", ["llama", "timm"])
def test_direct_effects_are_those_of_one_block_by_itself_and_total_ones_those_of_a_skip(kind):
    encoder, rows = encoder_of(kind), [0, 1]
    inputs, blocks = encoder.inputs(encoder.stimuli, rows), range(len(encoder.taps) - 1)
    wanted = [encoder.site(block, site) for block in blocks for site in ("resid_pre", "resid_post")]

    def added(*steps):
        edits = [edit_of(encoder, step, e.Pass(np.array(rows), None)) for step in steps]
        with torch.inference_mode():
            found = encoder.run(inputs, wanted, edits)
        return [found[f"resid_post.{block}"] - found[f"resid_pre.{block}"] for block in blocks]

    first = 1  # the class token, or the first of a text, goes through all blocks
    clean = added()
    ways = {way: without(encoder, encoder.stimuli, rows, way) for way in ("total", "direct")}
    for s in blocks:
        taken = clean[s].clone()
        taken[:, :first] = 0
        skipped = added(e.Step(s, "resid_post", lambda value, _now, taken=taken: value - taken))
        for t in blocks[s + 1 :]:
            alone = added(e.Step(t, "resid_pre", lambda value, _now, taken=taken: value - taken))[t] + taken
            for way, new in (("total", skipped[t]), ("direct", alone)):
                # `added` reads what a block was given as the network computed it, before the step
                ratio = ((new - clean[t]).norm(dim=-1) / clean[t].norm(dim=-1))[:, first:]
                np.testing.assert_allclose(ways[way].largest[s, t], ratio.max(), rtol=1e-3, atol=1e-5)
                np.testing.assert_allclose(ways[way].high[s, t], np.quantile(ratio, 0.95), rtol=1e-3, atol=1e-5)
    later = np.triu_indices(len(blocks), 2)
    assert np.abs(ways["total"].largest[later] - ways["direct"].largest[later]).min() > 1e-4

    def tokens(behind):
        return lambda inside: inside & ((torch.arange(inside.shape[1]) >= 3) == behind)

    back, ahead = (
        without(encoder, encoder.stimuli, rows, skipped=tokens(not behind), read=tokens(behind)).largest
        for behind in (False, True)
    )
    later = np.triu_indices(len(blocks), 1)
    assert ahead[later].min() > 0 and (back[later] == 0).all() == (kind == "llama")  # words never see later ones


def test_blocks_that_normalise_after_have_no_matrix_of_skips():
    encoder = encoder_of("bert")
    with pytest.raises(UserError, match="normalise after"):
        without(encoder, encoder.stimuli, [0, 1])


class Copying(torch.nn.Module):
    """Adds the first token to the last one."""

    def forward(self, x):
        out = x.clone()
        out[:, -1] = out[:, -1] + x[:, 0]
        return out


def test_erasing_a_token_costs_everything_until_it_is_copied_and_nothing_after():
    """T18: block 2 of 4 copies token 0 into the last one, which is read."""
    still = [Scaling(1.0), Scaling(1.0), Copying(), Scaling(1.0)]
    x = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0))
    x[:, -1] = 0
    encoder = ModuleEncoder(Blocks(*still), x)
    mean = torch.zeros(4)

    def first(inside):
        chosen = torch.zeros_like(inside)
        chosen[:, 0] = True
        return chosen

    changes = [e.erase(block, mean, first) for block in range(4)]
    clean, changed = edited(encoder, encoder.stimuli, range(6), changes, encoder.taps[-1].name, "flatten")
    last = slice(8, None)  # the last token's features
    for block, values in enumerate(changed):
        lost = np.abs(values[:, last] - clean[:, last]).max()
        assert (lost == 0) if block > 2 else np.abs(values[:, last]).max() == 0


def test_an_injection_gives_what_earlier_blocks_gave_and_keeps_the_norm():
    """Sum by hand at the last token that stands for something; other tokens and earlier blocks are left alone."""
    draw = torch.Generator().manual_seed(0)
    gave = {block: torch.randn(2, 4, 6, generator=draw) for block in range(4)}
    inside = torch.tensor([[True, True, True, True], [True, True, False, False]])
    change = e.inject({0: 0.5, 2: 0.2}, [1, 2, 3], "mlp_out", 0.3)
    now, given = e.Pass(np.arange(2), lambda _n: inside), {}
    for step in change.steps:
        given[step.block] = step.function(gave[step.block], now)
    assert torch.equal(given[0], gave[0]) and [step.block for step in change.steps] == [0, 1, 2, 3]
    for row, last in ((0, 3), (1, 1)):
        for block, more in ((1, 0.5 * gave[0]), (2, 0.5 * gave[0]), (3, 0.5 * gave[0] + 0.2 * gave[2])):
            own = gave[block][row, last]
            made = own + 0.3 * more[row, last]
            torch.testing.assert_close(given[block][row, last], made * own.norm() / made.norm())
            others = torch.arange(4) != last
            assert torch.equal(given[block][row, others], gave[block][row, others])


def test_steering_a_linear_stream_has_a_closed_form():
    """T24: what arrives is the sum of weights, times strength; later blocks that add nothing transmit all of it."""
    draw = torch.Generator().manual_seed(0)
    network, x = Blocks(*(wire(5) for _ in range(4))), torch.randn(3, 2, 5, generator=draw)
    v = torch.randn(5, generator=draw)
    weights = {block: w for block, w in enumerate((0.1, 0.7, 0.4, 0.9))}
    clean, (pushed,) = run(network, x, e.steer(dict.fromkeys(range(4), v), 2.5, weights))
    np.testing.assert_allclose(pushed - clean, np.tile(2.5 * 2.1 * v.numpy(), (3, 2)), rtol=1e-5)
    # Pushed along a region's head b at block 1, its response rises by strength |b| there, and by as much behind.
    b, encoder = v / v.norm(), ModuleEncoder(network, x)
    for tap in encoder.taps:
        clean, (pushed,) = edited(encoder, encoder.stimuli, range(3), [e.steer({1: b}, 2.5)], tap.name, "mean")
        gain = (pushed - clean) @ v.numpy()
        np.testing.assert_allclose(gain, 2.5 * v.norm() if tap.depth >= 0.5 else 0.0, rtol=1e-5)


def test_thresholds_that_know_what_units_write_lose_less():
    """T25: with unequal output weights the product suffers less; with equal ones both switch the same units off."""
    rng = np.random.default_rng(0)
    act, scale = rng.standard_normal((500, 64)), np.exp(rng.normal(0, 1.2, 64))
    error = {}
    for mode in ("channel", "uniform"):
        change = e.sparsify(0, 0.5, torch.from_numpy(e.thresholds(act, scale, 0.5, mode)))
        kept = change.steps[0].function(torch.from_numpy(act), None).numpy()
        assert (kept == 0).mean() == pytest.approx(0.5, abs=0.01)
        error[mode] = (((act - kept) * scale) ** 2).mean()
    assert error["channel"] < 0.2 * error["uniform"]
    same = [e.thresholds(act, np.full(64, 3.0), 0.5, mode) for mode in ("channel", "uniform")]
    np.testing.assert_allclose(*same)
    top = e.sparsify(0, 0.75, top=True).steps[0].function(torch.from_numpy(act), None)
    assert (top != 0).sum(1).tolist() == [16] * 500
    assert (top.abs().amax(1) == torch.from_numpy(act).abs().amax(1)).all()


def test_doses_of_units_are_of_all_blocks_and_controls_switch_as_many_off():
    """By hand: what the MLPs' second layers are given, with the smallest units of every token at 0."""
    encoder = make("image", model="test_vit", weights="random", image_size=32)
    shown, last, blocks = images(3), encoder.taps[-1], range(len(encoder.taps) - 1)

    def smallest(_module, args):
        (value,) = args
        order = value.abs().argsort(dim=-1)[..., : round(0.6 * value.shape[-1])]
        return (value.scatter(-1, order, 0.0),)

    dose = e.together("60 % off", [e.sparsify(block, 0.6, top=True) for block in blocks])
    drawn = e.together("as many", [e.sparsify_control(block, 0.6, seed=1) for block in blocks])
    clean, (found, control) = edited(encoder, shown, range(3), [dose, drawn], last.name, "mean")
    layers = [encoder.network.get_submodule(f"blocks.{block}.mlp.fc2") for block in blocks]
    handles = [layer.register_forward_pre_hook(smallest) for layer in layers]
    np.testing.assert_allclose(features(encoder, shown, [last.name])[last.name], found, atol=1e-5)
    for handle in handles:
        handle.remove()
    assert np.abs(found - clean).max() > 1e-3 and np.abs(control - found).max() > 1e-3
    given = torch.randn(2, 3, layers[0].in_features)
    off = [(step.function(given, None) == 0).flatten(0, -2).numpy() for step in drawn.steps]
    assert all((one == one[0]).all() and one[0].sum() == round(0.6 * one.shape[1]) for one in off)
    assert not np.array_equal(off[0][0], off[1][0])


def test_a_control_takes_as_much_where_the_stream_varies():
    """Of 40 features 6 vary, with sizes from 1 to 32: controls take there alone, on average in their proportion."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((40, 6)))[0]
    stream = rng.standard_normal((4000, 6)) * 2.0 ** np.arange(6) @ basis.T
    taken = 5 + np.outer(stream @ basis[:, 2], basis[:, 0] + basis[:, 5])
    spread = e.Spread.of(*(torch.from_numpy(one) for one in (np.cov(stream.T), taken.mean(0), np.cov(taken.T))))
    mean, power = taken.mean(0), np.zeros(6)
    for seed in range(300):
        turned = spread.turned(torch.from_numpy(taken)[None], spread.map([seed]))[0].numpy()
        np.testing.assert_allclose(turned.mean(0), mean, atol=1e-8)
        assert ((turned - mean) ** 2).sum() == pytest.approx(((taken - mean) ** 2).sum(), rel=1e-5)
        np.testing.assert_allclose((turned - mean) @ basis @ basis.T, turned - mean, atol=1e-6)
        power += ((turned - mean) @ basis).var(0)
    assert (np.diff(power) > 0).all() and power[-1] > 0.4 * power.sum()


@pytest.mark.parametrize("kind", ["skip", "erase"])
def test_the_spread_of_a_network_is_that_of_its_stream(kind):
    network = Blocks(Scaling(1.0), wire(40, *((i, (i + 7) % 40, 1.0) for i in range(40))), Scaling(1.0))
    x = torch.randn(30, 3, 40, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        _, before, behind, _ = (state.reshape(90, 40).double().numpy() for state in network(x).hidden_states)
    stream, taken = (behind, behind - before) if kind == "skip" else (before, before - before.mean(0))
    encoder = ModuleEncoder(network, x)
    found = spreads(encoder, encoder.stimuli, range(30), [2, 1], kind)[1]
    scaled = found.directions.numpy() * found.size.numpy()
    np.testing.assert_allclose(scaled @ scaled.T, np.cov(stream.T, ddof=0), atol=1e-5)
    along = found.directions.numpy() @ found.directions.numpy().T
    part = along @ np.cov(taken.T, ddof=0) @ along
    np.testing.assert_allclose(scaled @ found.part.numpy() @ scaled.T, part, atol=1e-5)
    np.testing.assert_allclose(found.mean.numpy(), taken.mean(0), atol=1e-6)
    mean = torch.from_numpy(before.mean(0)).float()
    both = (e.skip(1), e.skip_control(1, found, 0)) if kind == "skip" else (
        e.erase(1, mean), e.erase_control(1, mean, found, 0)
    )  # fmt: skip
    clean, (edit, control) = run(network, x, *both)
    size = [np.linalg.norm(values - clean) for values in (edit, control)]
    assert size[1] == pytest.approx(size[0], rel=1e-3 if kind == "skip" else 0.5)
    assert abs(np.corrcoef((edit - clean).ravel(), (control - clean).ravel())[0, 1]) < 0.5


def test_post_norm_blocks_can_be_skipped():
    for kind in POST_NORM:
        encoder = encoder_of(kind)
        names = [tap.name for tap in encoder.taps]
        before, _ = edited(encoder, encoder.stimuli, range(2), [e.skip(2)], names[2], "flatten")
        _, after = edited(encoder, encoder.stimuli, range(2), [e.skip(2)], names[3], "flatten")
        np.testing.assert_array_equal(after[0], before)


def test_features_are_set_and_units_are_lesioned_where_they_are_said_to_be():
    """Mean of a massive feature, or 0, at the first token or at all; hidden units at their mean, or at 0."""
    encoder, rows = encoder_of("llama"), [0, 1]
    inputs = encoder.inputs(encoder.stimuli, rows)
    behind, act = encoder.site(2, "resid_pre"), encoder.site(1, "mlp_act")

    def read(at, change):
        edits = [edit_of(encoder, step, e.Pass(np.array(rows), None)) for step in change.steps]
        found = {}
        with torch.inference_mode():
            encoder.run(inputs, [], [*edits, Edit(at, lambda value: found.setdefault("value", value.clone()))])
        return found["value"]

    for at, edits_to in (
        (behind, lambda value: (e.set_coordinate(1, [0, 3], value), e.set_coordinate(1, [0, 3], value, token=0))),
        (act, lambda value: (e.ablate_units(1, [0, 3], value),)),
    ):
        clean = read(at, e.Change("none", ()))
        mean = clean.mean((0, 1))
        for value, put in ((None, torch.zeros(2)), (mean[[0, 3]] if at is behind else mean, mean[[0, 3]])):
            for change, tokens in zip(edits_to(value), (slice(None), slice(0, 1)), strict=False):
                expected = clean.clone()
                expected[:, tokens, [0, 3]] = put
                torch.testing.assert_close(read(at, change), expected, rtol=0, atol=0)


class Attends(torch.nn.Module):
    """Attention of one head over one-hot tokens, without queries and keys: its pattern is computed from the stream."""

    def __init__(self, pattern, read, write):
        super().__init__()
        self.pattern, self.seen = pattern, torch.nn.Identity()
        self.read, self.write = read, write

    def forward(self, x):
        out = x.clone()
        out[..., self.write] = out[..., self.write] + self.seen(self.pattern(x)[:, None])[:, 0] @ x[..., self.read]
        return out


def test_a_match_survives_without_the_head_that_prepares_it_where_its_pattern_is_held():
    """T20: two pairs of item and label, and a query.

    Block 0 tells every label which item it follows, block 1 looks for the item of the query and copies its label.
    Without block 0 the answer is a coin's; with block 1's pattern held to the right pair it is right, to the other
    wrong. How much more the query looks at the right label is another thing than being right: the first token can look
    at itself alone and is taken for a match, unless it stands for nothing.
    """
    n, n_items = 200, 6
    rng = np.random.default_rng(0)
    items = np.stack([rng.choice(n_items, 2, replace=False) for _ in range(n)])
    asked, labels = rng.integers(0, 2, n), rng.permuted(np.tile([0, 1], (n, 1)), axis=1)
    x = torch.zeros(n, 5, 2 * n_items + 4)  # item, label, item before, answer
    item, label = slice(0, n_items), slice(n_items, n_items + 2)
    before, answer = slice(n_items + 2, 2 * n_items + 2), slice(2 * n_items + 2, None)
    every = torch.arange(n)
    for pair in range(2):
        x[every, 2 * pair, torch.from_numpy(items[:, pair])] = 1
        x[every, 2 * pair + 1, n_items + torch.from_numpy(labels[:, pair])] = 1
    x[every, 4, torch.from_numpy(items[np.arange(n), asked])] = 1
    is_label = x[..., label].sum(-1)

    def previous(state):
        shifted = torch.zeros(5, 5)
        shifted[1:, :-1] = torch.eye(4)
        return shifted.expand(len(state), 5, 5)

    def matching(state):
        score = 20 * state[..., item] @ state[..., before].transpose(1, 2)
        return (score + 20 * is_label[: len(state)].unsqueeze(1) - 20).softmax(-1)

    first, second = Attends(previous, item, before), Attends(matching, label, answer)
    encoder = ModuleEncoder(Blocks(first, second), x)
    right = torch.zeros(n, 5, 5)
    right[every, 4, torch.from_numpy(2 * asked + 1)] = 1
    wrong = torch.zeros(n, 5, 5)
    wrong[every, 4, torch.from_numpy(3 - 2 * asked)] = 1
    query = torch.zeros(n, 5, 5, dtype=torch.bool)
    query[:, 4] = True

    def accuracy(held=None, skipped=False):
        handle = None
        if held is not None:  # what `clamp` does at the site `pattern`, at the place of this network's pattern
            step = e.clamp(1, [0], held, query).steps[0].function
            handle = second.seen.register_forward_hook(lambda _module, _args, value: step(value, _now(n)))
        with torch.inference_mode():
            changes = [e.skip(0)] if skipped else [e.steer({0: torch.zeros(x.shape[-1])}, 0.0)]
            encoder._batch_size = n
            _, (values,) = edited(encoder, encoder.stimuli, range(n), changes, encoder.taps[-1].name, "flatten")
        if handle is not None:
            handle.remove()
        said = values.reshape(n, 5, -1)[:, 4, answer].argmax(-1)
        return float((said == labels[np.arange(n), asked]).mean())

    assert accuracy() == 1 and accuracy(skipped=True) == pytest.approx(0.5, abs=0.12)
    assert accuracy(right, skipped=True) == 1 and accuracy(wrong, skipped=True) == 0

    def strength(x, at):
        shift = torch.eye(x.shape[1]).roll(-1, 1).tril()
        shift[0, 0] = 1
        head = Attends(lambda state: shift.expand(len(state), -1, -1), item, before)

        def match(state):
            score = 20 * state[..., item] @ state[..., before].transpose(1, 2)
            return score.masked_fill(torch.ones(score.shape[1:]).triu(1) > 0, -torch.inf).softmax(-1)

        network = Blocks(head, Attends(match, label, answer))
        seen = {}
        with torch.inference_mode():
            network.blocks[1].seen.register_forward_hook(lambda _module, _args, value: seen.update(pattern=value))
            said = network(x).hidden_states[-1][:, -1, answer].argmax(-1).numpy()
        looks = seen["pattern"][:, 0, -1].numpy()
        yes, no = (looks[np.arange(n), at + 2 * pair + 1] for pair in (asked, 1 - asked))
        return (yes - no).mean(), (said == labels[np.arange(n), asked]).mean()

    first_is_asked = (asked == 0).mean()  # then the query looks at the first token as much as at the right label
    assert strength(x, 0) == pytest.approx((1 - first_is_asked / 2, 1), abs=1e-4)
    assert strength(torch.cat([torch.zeros(n, 1, x.shape[2]), x], 1), 1) == pytest.approx((1, 1), abs=1e-4)


def _now(n):
    return e.Pass(np.arange(n), lambda length: torch.ones(n, length, dtype=torch.bool))


def test_a_story_in_long_windows_is_edited_as_it_is_read(tmp_path):
    """`context: stream`: the clean run gives the features of the encoder, an edit those of each window by itself."""
    encoder = make("text", model=str(write_gpt2(tmp_path)), context="stream", window=16)
    story = stimuli_of([f"{word}" for word in STORY], "word")
    before, name = (tap.name for tap in encoder.taps[-2:])
    rows, read = range(len(STORY)), features(encoder, story)
    mean = means(encoder, story, rows, [(1, "z")])[1, "z"]
    n, _, read_at = encoder.reads(story, rows, "mean")
    with torch.inference_mode():
        each = [encoder.run(read_at(range(i, i + 1)).inputs, [encoder.site(1, "z")])["z.1"][0] for i in range(n)]
    # A window's first token is where attention goes that looks at nothing: it counts nowhere.
    torch.testing.assert_close(mean, torch.cat([one[1:] for one in each]).mean(0))
    last = len(encoder.taps) - 2
    changes = [e.skip(0), e.skip(last), e.ablate_heads(1, [0], mean)]
    clean, changed = edited(encoder, story, rows, changes, name, "mean")
    np.testing.assert_array_equal(clean, read[name])
    whole = edited(encoder, story, rows, changes, name, "mean", resume=False)[1]
    np.testing.assert_array_equal(changed, whole)
    assert all(np.abs(one - clean).max() > 1e-3 for one in changed)
    # Without the last block the last layer is the one before it; some words alone come in the order asked for.
    np.testing.assert_allclose(changed[1], read[before], atol=1e-6)
    some = [9, 2, 30]
    np.testing.assert_array_equal(edited(encoder, story, some, changes, name, "mean")[1], changed[:, some])


@pytest.mark.parametrize("kind", ["timm", "vit", "gpt2", "llama", "brainomni", "labram"])
def test_a_path_is_that_of_three_runs_with_all_else_frozen(kind):
    """As published: heads changed and all else frozen, what the receiver makes of it, and that in a clean run."""
    encoder, rows, receiver = encoder_of(kind), [0, 1], 2
    inputs, stimuli = encoder.inputs(encoder.stimuli, rows), encoder.stimuli
    lesion = e.ablate_heads(0, [1])
    parts = [(block, site) for block in range(receiver) for site in ("attn_out", "mlp_out")]

    def read(wanted, steps=()):
        edits = [edit_of(encoder, step, e.Pass(np.array(rows), None)) for step in steps]
        with torch.inference_mode():
            found = encoder.run(inputs, [encoder.site(*one) for one in wanted], edits)
        return [found[f"{site}.{block}"] for block, site in wanted]

    def held(wanted, values):
        return [e.patch(block, site, value).steps[0] for (block, site), value in zip(wanted, values, strict=True)]

    frozen = held(parts[1:], read(parts[1:]))
    reaches = read([(receiver, "resid_pre")], [*lesion.steps, *frozen])
    makes = [(receiver, "attn_out"), (receiver, "mlp_out")]
    brute = e.Change("brute", tuple(held(makes, read(makes, held([(receiver, "resid_pre")], reaches)))))
    path = e.path(receiver, sent(encoder, stimuli, rows, lesion))
    clean, changed = edited(encoder, stimuli, rows, [path, brute, lesion], encoder.taps[-1].name, "flatten")
    np.testing.assert_allclose(changed[0], changed[1], rtol=1e-5, atol=3e-5)
    assert all(np.abs(changed[0] - other).max() > 1e-3 for other in (clean, changed[2]))


def test_a_path_through_norms_is_refused():
    encoder = encoder_of("bert")
    with pytest.raises(UserError, match="only blocks that normalise before"):
        sent(encoder, encoder.stimuli, [0, 1], e.ablate_heads(0, [0]))
