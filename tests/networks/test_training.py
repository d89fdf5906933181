import numpy as np
import pytest
import torch
from torch import nn

from brainbench.core.errors import UserError
from brainbench.networks import training as loop
from brainbench.networks.training import CrossEntropy, Training, split_validation, train
from brainbench.networks.zoo.views import Reflection, SignFlip


class Stop(Exception):
    pass


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def network():
    with loop.torch_alone(1):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(24, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 2))


def trials(n=45, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    X = rng.normal(size=(n, 3, 8)).astype(np.float32)
    X[:, 0] += 0.7 * (2 * y[:, None] - 1)
    return X, y, np.arange(n) // 5


def run(settings=None, **kwargs):
    X, y, groups = trials()
    net = network()
    found = train(
        net, X, y, settings or Training(n_epochs=6, batch_size=11), n_classes=2, **{"groups": groups, **kwargs}
    )
    return net, found


def same(a, b):
    return all(
        torch.equal(one, other) for one, other in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    first, found = run()
    torch.manual_seed(99)
    second, again = run()
    assert same(first, second) and found.history == again.history
    other, _ = run(Training(n_epochs=6, batch_size=11, seed=1))
    assert not same(first, other)
    net = network()
    torch.set_rng_state(state)
    train(net, *trials()[:2], Training(n_epochs=1), n_classes=2)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("stop_after", "schedule"), [(1, "constant"), (3, "cosine"), (5, "constant")])
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(tmp_path, monkeypatch, stop_after, schedule):
    monkeypatch.setattr(loop, "CHECKPOINT_S", 0.0)
    settings = Training(n_epochs=6, batch_size=11, schedule=schedule, weight_decay=0.01)
    views = [SignFlip(), Reflection([1, 0, 2], [1, 0])]
    whole, expected = run(settings, augment=views)

    def stop(record):
        if record["epoch"] == stop_after:
            raise Stop

    with pytest.raises(Stop):
        run(settings, augment=views, checkpoint=tmp_path, progress=stop)
    seen = []
    resumed, found = run(settings, augment=views, checkpoint=tmp_path, progress=seen.append)
    assert [record["epoch"] for record in seen] == list(range(stop_after + 1, 7))
    assert same(whole, resumed)
    assert found.history == expected.history and found.best_epoch == expected.best_epoch
    # What is finished is not trained again, and gives the same weights.
    third, again = run(settings, augment=views, checkpoint=tmp_path, progress=lambda record: pytest.fail("trained"))
    assert same(whole, third) and again.history == expected.history
    assert len(list(tmp_path.iterdir())) == 1


def test_another_setting_is_another_checkpoint(tmp_path):
    settings = Training(n_epochs=2, batch_size=11)
    run(settings, checkpoint=tmp_path)
    changed = [
        ({}, Training(n_epochs=3, batch_size=11)),
        ({}, Training(n_epochs=2, batch_size=11, seed=1)),
        ({"objective": CrossEntropy(label_smoothing=0.1)}, settings),
        ({"augment": [SignFlip()]}, settings),
        ({"groups": None}, settings),
    ]
    for count, (kwargs, other) in enumerate(changed, start=2):
        run(other, checkpoint=tmp_path, **kwargs)
        assert len(list(tmp_path.iterdir())) == count


def test_a_broken_checkpoint_is_named(tmp_path):
    settings = Training(n_epochs=2)
    run(settings, checkpoint=tmp_path)
    file = next(tmp_path.iterdir())
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"no checkpoint that can be continued"):
        run(settings, checkpoint=tmp_path)


def test_checkpoints_hold_no_code(tmp_path):
    run(Training(n_epochs=2), checkpoint=tmp_path)
    content = torch.load(next(tmp_path.iterdir()), weights_only=True)
    assert content["finished"] and set(content["best"]) == set(network().state_dict())


def test_the_best_epoch_is_taken_and_patience_ends_training():
    X, _, groups = trials()
    noise = np.random.default_rng(3).integers(0, 2, len(X))
    net = network()
    settings = Training(n_epochs=60, batch_size=11, patience=4, learning_rate=0.01, validation=0.3)
    found = train(net, X, noise, settings, n_classes=2, groups=groups)
    losses = [record["validation_loss"] for record in found.history]
    assert len(losses) < 60 and found.best_epoch == int(np.argmin(losses)) + 1
    assert len(losses) == found.best_epoch + 4
    logits = loop.predict_logits(net, X[found.validation_rows], "cpu", n_classes=2)
    now = nn.functional.cross_entropy(logits, torch.tensor(noise[found.validation_rows]))
    assert float(now) == pytest.approx(min(losses), abs=1e-6)
    assert not net.training


def test_without_validation_the_last_epoch_is_taken():
    _, found = run(Training(n_epochs=4, validation=0.0))
    assert found.best_epoch == 4 and len(found.validation_rows) == 0
    assert "validation_loss" not in found.history[0]


def test_validation_keeps_groups_together():
    _, y, groups = trials()
    for seed in range(5):
        fit, held = split_validation(y, groups, 0.25, seed)
        assert not set(groups[fit]) & set(groups[held])
        assert len(set(groups[held])) == 2 and set(y[fit]) == set(y[held]) == {0, 1}
        assert sorted([*fit, *held]) == list(range(len(y)))
    fit, held = split_validation(y, None, 0.2, 0)
    assert np.bincount(y[held]).tolist() == [5, 4]
    assert split_validation(y, groups, 0.0, 0)[1].size == 0


def test_validation_that_cannot_be_is_refused():
    y, groups = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])
    with pytest.raises(UserError, match="a class is missing"):
        split_validation(y, groups, 0.5, 0)
    with pytest.raises(UserError, match="only one group"):
        split_validation(y, np.zeros(4), 0.5, 0)
    with pytest.raises(UserError, match="one trial"):
        split_validation(np.array([0, 0, 1]), None, 0.5, 0)
    # A class in two groups only: the choice that keeps it in training is found.
    y, groups = np.array([0, 1, 0, 1, 0, 0, 0, 0]), np.arange(8) // 2
    for seed in range(5):
        fit, _ = split_validation(y, groups, 0.5, seed)
        assert set(y[fit]) == {0, 1}


def test_changed_copies_are_rows_of_their_own():
    seen = []

    class Recorder(CrossEntropy):
        def __call__(self, net, X, y):
            seen.extend((float(x[0, 0]), int(label)) for x, label in zip(X, y, strict=True))
            return super().__call__(net, X, y)

    X, y, _ = trials(20)
    kept = X.copy()
    view = Reflection([1, 0, 2], [1, 0])
    train(
        network(),
        X,
        y,
        Training(n_epochs=1, batch_size=8, validation=0),
        n_classes=2,
        objective=Recorder(),
        augment=[view],
    )
    expected = [(float(x[0, 0]), int(label)) for x, label in zip(X, y, strict=True)]
    expected += [(float(x[1, 0]), 1 - int(label)) for x, label in zip(X, y, strict=True)]
    assert sorted(seen) == sorted(expected)
    np.testing.assert_array_equal(X, kept)


def test_one_row_left_over_joins_the_last_batch():
    assert [len(batch) for batch in loop._batches(torch.arange(33), 16)] == [16, 17]
    assert [len(batch) for batch in loop._batches(torch.arange(34), 16)] == [16, 16, 2]
    assert [len(batch) for batch in loop._batches(torch.arange(1), 16)] == [1]


def test_cosine_falls_from_the_first_rate_to_almost_nothing():
    settings = Training(n_epochs=100, schedule="cosine", learning_rate=1e-3)
    assert settings.rate(0) == pytest.approx(1e-3) and settings.rate(50) == pytest.approx(5.005e-4)
    assert settings.rate(99) < 2e-6
    assert [record["learning_rate"] for record in run(Training(n_epochs=2, schedule="cosine"))[1].history] == [
        pytest.approx(1e-3),
        pytest.approx(5.005e-4),
    ]


def test_networks_that_train_in_threads_of_one_process_do_not_disturb_each_other():
    from concurrent.futures import ThreadPoolExecutor

    settings = [Training(n_epochs=6, batch_size=11, seed=seed) for seed in range(6)]
    alone = [run(one)[0] for one in settings]
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda one: run(one)[0], settings))
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_epochs": 0},
        {"n_epochs": 2.5},
        {"batch_size": -1},
        {"patience": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"weight_decay": -1.0},
        {"validation": 1.0},
        {"schedule": "linear"},
        {"threads": 0},
        {"seed": -1},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        Training(**wrong)


def test_a_loss_that_is_not_finite_and_an_output_of_another_shape_are_refused():
    X, y, _ = trials()
    with pytest.raises(UserError, match="loss is nan"):
        train(network(), X, y, Training(n_epochs=1), n_classes=2, objective=lambda net, X, y: net(X).sum() * np.nan)
    with pytest.raises(UserError, match="must give logits"):
        train(network(), X, y, Training(n_epochs=1), n_classes=3)
