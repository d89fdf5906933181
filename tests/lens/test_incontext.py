"""The toy task of labels in context: networks whose way of solving it is known are told apart by four measures."""

import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.lens.incontext import Task, progress

TASK = Task(n_classes=64, within=0.05, width=64)
CHANCE = 1 / TASK.n_labels
SHARP = 40.0


def attention(scores):
    """From scores ``(n, T, T)`` to causal attention."""
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return (SHARP * scores).masked_fill(later, -torch.inf).softmax(-1)


def from_context(task, shown, *, prepared=True):
    """Two heads: labels take the item before them along, and the last item looks for the label that has its like."""
    tokens = torch.from_numpy(shown.tokens)
    length = tokens.shape[1]
    before = torch.eye(length).roll(-1, 0).T if prepared else torch.eye(length)  # to the place before
    first = attention(before.expand(len(tokens), -1, -1))
    content = tokens[..., length:]
    carried = first @ content
    is_label = torch.arange(length) % 2 == 1
    second = attention(content @ carried.transpose(1, 2) * is_label - 2.0 * ~is_label)
    said = SHARP * (second @ content)[:, -1] @ torch.from_numpy(task.looks[1]).float().T
    return [first.numpy(), second.numpy()], said.softmax(-1).numpy()


def from_weights(task, shown):
    """No head looks anywhere in particular; every class is known by heart."""
    tokens = torch.from_numpy(shown.tokens)
    even = attention(torch.zeros(len(tokens), *[tokens.shape[1]] * 2))
    like = SHARP * tokens[:, -1, tokens.shape[1] :] @ torch.from_numpy(task.looks[0]).float().T
    by_class = like.softmax(-1).numpy()
    said = np.stack([by_class[:, label :: task.n_labels].sum(axis=1) for label in range(task.n_labels)], axis=1)
    return [even.numpy()] * 2, said


def found(network, asked, task=TASK, **more):
    shown = task.draw(400, 1, asked)
    return progress(*network(task, shown, **more), shown)


def test_a_network_that_copies_from_the_context_is_known_by_its_heads_and_by_exchanged_labels():
    trained, swapped, absent = (found(from_context, asked) for asked in ("trained", "swapped", "absent"))
    for one in (trained, swapped):
        assert min(one.values()) > 0.95
    assert absent["previous"] > 0.95 and np.isnan(absent["matched"])
    # Of another class it can only say some label of the context.
    assert absent["in_context"] > 0.95 and absent["answer"] < 0.3


def test_a_network_that_knows_by_heart_answers_without_a_context_and_against_it():
    trained, swapped, absent = (found(from_weights, asked) for asked in ("trained", "swapped", "absent"))
    assert trained["answer"] > 0.95 and absent["answer"] > 0.95 and swapped["answer"] < 0.05
    # A label at place t looks evenly at t + 1 tokens; of nine, two are labels of the last item's class.
    assert trained["previous"] == pytest.approx(np.mean([1 / (t + 1) for t in (1, 3, 5, 7)]), abs=1e-5)
    assert trained["matched"] == pytest.approx(2 / 9, abs=1e-5)


def test_without_the_head_that_prepares_it_nothing_is_matched():
    """Held to look at the token itself, as `clamp` would hold it: half of the labels are right by chance."""
    one = found(from_context, "swapped", prepared=False)
    assert one["previous"] < 1e-6 and 0.4 < one["matched"] < 0.6 and 0.4 < one["answer"] < 0.7


def test_what_pays_depends_on_the_data():
    """Many classes that never burst are no use to copying; items that differ within classes are none to either way."""
    rare = Task(n_classes=512, burstiness=0, within=0.05, width=64)
    shown = rare.draw(4000, 0)
    same = (shown.classes[:, :-1] == shown.classes[:, -1:]).any(axis=1).mean()
    assert same == pytest.approx(1 - (1 - 1 / 512) ** 4, abs=0.006)
    assert found(from_context, "trained", rare)["answer"] < 0.3 < 0.9 < found(from_weights, "trained", rare)["answer"]
    unequal = Task(n_classes=512, burstiness=0, within=0.05, width=64, exponent=2.0)
    assert found(from_context, "trained", unequal)["answer"] > 0.6  # a few classes come again and again
    loose = Task(n_classes=64, within=3.0, width=64)
    assert found(from_context, "swapped", loose)["matched"] < 0.8 < found(from_context, "swapped")["matched"]
    assert found(from_weights, "absent", loose)["answer"] < 0.8


def test_sequences_are_what_they_are_said_to_be():
    shown = TASK.draw(300, 3)
    assert shown.tokens.shape == (300, 9, 9 + 64) and shown.tokens.dtype == np.float32
    counts = (shown.classes[:, :-1, None] == shown.classes[:, None, :-1]).sum(axis=2)
    assert (counts == 2).all() and (shown.classes[:, :-1] == shown.classes[:, -1:]).sum(axis=1).tolist() == [2] * 300
    assert (shown.labels == shown.classes % 8).all()
    np.testing.assert_array_equal(shown.tokens[:, :, :9], np.broadcast_to(np.eye(9), (300, 9, 9)))
    np.testing.assert_allclose(shown.tokens[:, 1::2, 9:], TASK.looks[1][shown.labels[:, :-1]], rtol=1e-6)
    absent = TASK.draw(300, 3, "absent")
    assert not (absent.classes[:, :-1] == absent.classes[:, -1:]).any()
    np.testing.assert_array_equal(TASK.draw(300, 3, "swapped").labels, (TASK.draw(300, 3, "swapped").classes + 1) % 8)
    often = np.bincount(Task(n_classes=64, burstiness=0, exponent=1.0).draw(4000, 0).classes.ravel(), minlength=64)
    wanted = (1 / np.arange(1.0, 65)) / (1 / np.arange(1.0, 65)).sum()
    np.testing.assert_allclose(often / often.sum(), wanted, atol=0.01)


def test_tasks_that_cannot_be_drawn_are_refused():
    with pytest.raises(UserError, match="burstiness 3 does not divide the 4 pairs of a context: take 2"):
        Task(n_classes=64, burstiness=3)
    with pytest.raises(UserError, match="4 classes for 8 labels and 4 pairs: take at least 8 classes"):
        Task(n_classes=4)
