"""Probes of a span of tokens, on what is planted there, beside means taken one by one."""

import numpy as np
import pytest
import torch
import transformers

from brainbench.core.errors import UserError
from brainbench.lens.modules import ModuleEncoder
from brainbench.lens.spans import span_probe, span_states
from tests.lens.test_edits import Blocks

SPANS = [(2, 4)] * 80


class Product(torch.nn.Module):
    """Writes the product of two features of tokens 2 and 3 into a third one."""

    def forward(self, x):
        x = x.clone()
        x[:, 2:4, 2] += x[:, 2:4, 0] * x[:, 2:4, 1]
        return x


def test_a_label_is_read_off_the_span_that_holds_it_from_the_block_on_that_makes_it():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(80, 6, 4, generator=generator)
    x[:, :, :2] = x[:, :1, :2].sign()  # which of two features says nothing of whether they agree
    x[:, :, 2] = 0
    labels = np.where((x[:, 0, 0] * x[:, 0, 1]).numpy() > 0, "same", "other").tolist()
    encoder = ModuleEncoder(Blocks(torch.nn.Identity(), Product(), torch.nn.Identity()), x)
    found = span_probe(encoder, encoder.stimuli, SPANS, labels)
    assert found[1:, 0].tolist() == [1.0, 1.0] and found[0, 0] < 0.7 and (found[:, 1] < 0.7).all()
    assert (span_probe(encoder, encoder.stimuli, [(0, 2)] * 80, labels)[:, 0] < 0.7).all()
    with pytest.raises(UserError, match="labels: 3 for 80 stimuli"):
        span_probe(encoder, encoder.stimuli, SPANS, labels[:3])
    with pytest.raises(UserError, match="fewer than 5 stimuli"):
        span_probe(encoder, encoder.stimuli, SPANS, ["a", *["b"] * 79])


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_span_is_counted_without_padding(side):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
        )
        network = transformers.LlamaModel(config)
        tokens = torch.randint(4, 40, (3, 9))
    mask = torch.ones_like(tokens)
    mask[1, :3] = 0
    if side == "right":
        mask = mask.flip(1)
    given = {"input_ids": tokens, "attention_mask": mask}
    encoder = ModuleEncoder(network, given)
    spans = [(1, 3), (0, 6), (4, 9)]
    found = span_states(encoder, encoder.stimuli, spans)
    with torch.inference_mode():
        layers = [network.get_submodule(f"layers.{block}") for block in (0, 1)]
        outputs = []
        hooks = [layer.register_forward_hook(lambda _m, _a, out: outputs.append(out)) for layer in layers]
        network(**given)
        for hook in hooks:
            hook.remove()
    for block, states in enumerate(outputs):
        for row, (start, stop) in enumerate(spans):
            by_hand = states[row][mask[row].bool()][start:stop].mean(0)
            np.testing.assert_allclose(found[block, row], by_hand, atol=1e-6)
    for wrong in [(2, 2), (0, 7), (-1, 2)]:
        with pytest.raises(UserError, match=f"spans: tokens {wrong[0]} to {wrong[1]} of stimulus 2, which has 6"):
            span_states(encoder, encoder.stimuli, [(1, 3), wrong, (4, 9)])
    with pytest.raises(UserError, match="spans: 2 for 3 stimuli"):
        span_states(encoder, encoder.stimuli, spans[:2])
