import threading

import pytest
import torch
from torch import nn

from brainbench.core.errors import UserError
from brainbench.encoders import capture
from brainbench.encoders.capture import Tap, block_names, captured, find_taps


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


def pooled(value):
    return value.clone()


def test_values_are_those_before_later_modules_change_them():
    model = InPlace()
    taps = find_taps(model, "stem")
    assert [(tap.name, tap.module, tap.side, tap.depth) for tap in taps] == [
        ("stem", "blocks.0", "input", 0.0),
        *((f"blocks.{k}", f"blocks.{k}", "output", (k + 1) / 3) for k in range(3)),
    ]
    with captured(model, taps, pooled) as values:
        model(torch.zeros(1))
    assert {name: float(value) for name, value in values.items()} == {
        "stem": 0, "blocks.0": 0, "blocks.1": 1, "blocks.2": 2
    }  # fmt: skip


def n_hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_hooks_are_gone_however_the_block_is_left():
    model = InPlace()
    with captured(model, find_taps(model, "stem"), pooled):
        assert n_hooks(model) == 4
    assert n_hooks(model) == 0
    with pytest.raises(RuntimeError, match="stop"), captured(model, find_taps(model, "stem"), pooled):
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
    with captured(model, find_taps(model, "stem"), pooled) as values:
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


def named(*names):
    model = nn.Module()
    for name in names:
        parent = model
        for part in name.split(".")[:-1]:
            if not hasattr(parent, part):
                parent.add_module(part, nn.Module())
            parent = getattr(parent, part)
        parent.add_module(name.split(".")[-1], nn.Identity())
    return model


@pytest.mark.parametrize(
    "blocks",
    [
        ["blocks.0", "blocks.1"], ["stages.0", "stages.1"], ["layer1", "layer2"], ["encoder.layer.0"],
        ["transformer.layer.0"], ["h.0", "h.1"], ["layers.0"], ["encoder.layers.0"], ["block.0"], ["s1", "s2"],
        ["features.denseblock1"],
    ],
)  # fmt: skip
def test_blocks_by_their_names(blocks):
    assert block_names(named("conv_stem", *blocks, *(f"{name}.norm" for name in blocks), "head")) == blocks


def test_blocks_of_an_unknown_network():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.ReLU(), nn.ReLU()))
    assert block_names(model) == ["1.0", "1.1", "1.2"]
    with pytest.raises(UserError, match="Linear has no blocks"):
        block_names(nn.Linear(2, 2))
