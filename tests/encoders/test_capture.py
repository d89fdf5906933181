import threading

import pytest
import torch
from torch import nn

from brainbench.encoders import capture
from brainbench.encoders.capture import Edit, Tap, captured, hooked


class InPlace(nn.Module):
    """Blocks that return a tuple, and change their input in place."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Identity() for _ in range(3)])

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
            x += 1
        return x


TAPS = [
    Tap("stem", "blocks.0", "input", 0.0), *(Tap(f"blocks.{k}", f"blocks.{k}", "output", (k + 1) / 3) for k in range(3))
]  # fmt: skip


def pooled(value):
    return value.clone()


def test_values_are_those_before_later_modules_change_them():
    model = InPlace()
    with captured(model, TAPS, pooled) as values:
        model(torch.zeros(1))
    assert {name: float(value) for name, value in values.items()} == {
        "stem": 0, "blocks.0": 0, "blocks.1": 1, "blocks.2": 2
    }  # fmt: skip


def n_hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_hooks_are_gone_however_the_block_is_left():
    model = InPlace()
    with captured(model, TAPS, pooled):
        assert n_hooks(model) == 5  # one of them begins a pass
    assert n_hooks(model) == 0
    with pytest.raises(RuntimeError, match="stop"), captured(model, TAPS, pooled):
        raise RuntimeError("stop")
    assert n_hooks(model) == 0
    with (
        pytest.raises(AttributeError),
        captured(model, [Tap("a", "blocks.0", "output", 0), Tap("b", "x", "output", 1)], pooled),
    ):
        pass
    assert n_hooks(model) == 0


def test_other_threads_are_not_recorded():
    model = InPlace()
    with captured(model, TAPS, pooled) as values:
        other = threading.Thread(target=model, args=(torch.full((1,), 100.0),))
        other.start()
        other.join()
        assert values == {}
        model(torch.zeros(1))
    assert float(values["blocks.2"]) == 2


def test_first_tensor():
    x = torch.ones(2)
    for value in (x, (x, None), [(x,)], {"hidden_states": x}):
        assert capture.first_tensor(value) is x
    for value in (None, (), "text"):
        with pytest.raises(TypeError, match="not a tensor"):
            capture.first_tensor(value)


class Shared(nn.Module):
    """One block that runs three times, given and giving mappings and tuples."""

    def __init__(self):
        super().__init__()
        self.block = Doubles()

    def forward(self, x):
        for _ in range(3):
            x = self.block(hidden_states=x)[0]["state"]
        return x


class Doubles(nn.Module):
    def forward(self, hidden_states):
        return {"state": 2 * hidden_states}, None


def test_every_pass_through_a_shared_block_is_a_place():
    model = Shared()
    taps = [Tap("stem", "block", "input", 0), *(Tap(f"{k}", "block", "output", 0, call=k) for k in range(3))]
    with captured(model, taps, pooled) as values:
        model(torch.ones(1))
        model(torch.ones(1))  # counted anew in each pass
    assert {name: float(value) for name, value in values.items()} == {"stem": 1, "0": 2, "1": 4, "2": 8}


@pytest.mark.parametrize("side", ["input", "output"])
def test_an_edit_changes_what_comes_after_it_and_nothing_before(side):
    model = Shared()
    taps = [Tap(f"{k}", "block", "output", 0, call=k) for k in range(3)]
    at = Tap("edited", "block", side, 0, call=1)
    edits = [Edit(at, lambda value: value + 1), Edit(at, lambda value: 10 * value)]
    with hooked(model, dict.fromkeys([*taps, at], pooled), edits) as values:
        out = model(torch.ones(1))
    assert float(values["0"]) == 2 and float(values["edited"]) == (2 if side == "input" else 4)
    if side == "input":  # (2 + 1) * 10 goes into the second pass
        assert (float(values["1"]), float(values["2"]), float(out)) == (60, 120, 120)
    else:  # (4 + 1) * 10 goes into the third; the second is read as it was computed
        assert (float(values["1"]), float(values["2"]), float(out)) == (4, 100, 100)
    assert float(model(torch.ones(1))) == 8


def test_an_edit_of_heads_sees_them_apart():
    model = nn.Sequential(nn.Identity(), nn.Identity())
    at = Tap("z", "1", "input", 0, n_heads=2)

    def silence_the_second(value):
        assert value.shape == (1, 2, 3)
        return value * torch.tensor([1.0, 0.0])[:, None]

    with hooked(model, {}, [Edit(at, silence_the_second)]):
        out = model(torch.arange(6.0)[None])
    assert out.tolist() == [[0, 1, 2, 0, 0, 0]]
