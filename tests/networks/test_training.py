import numpy as np
import pytest
import torch
from torch import nn

from brainbench.core.errors import UserError
from brainbench.networks import training as loop
from brainbench.networks.classification import (
    CrossEntropy,
    batches_of,
    predict_logits,
    split_validation,
    train_classifier,
)
from brainbench.networks.options import Training
from brainbench.networks.zoo.views import Reflection, SignFlip


class Stop(Exception):
    pass


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def often(monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_S", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", np.inf)


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
    settings = settings or Training(n_epochs=6, batch_size=11)
    found, _ = train_classifier(net, X, y, settings, n_classes=2, **{"groups": groups, **kwargs})
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
    train_classifier(net, *trials()[:2], Training(n_epochs=1), n_classes=2)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("stop_after", "schedule"), [(1, "constant"), (3, "cosine"), (5, "constant")])
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(tmp_path, monkeypatch, stop_after, schedule):
    often(monkeypatch)
    settings = Training(n_epochs=6, batch_size=11, schedule=schedule, weight_decay=0.01)
    views = [SignFlip(), Reflection([1, 0, 2], [1, 0])]
    whole, expected = run(settings, augment=views)

    def stop(record):
        if record["epoch"] == stop_after:
            raise Stop

    file = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Stop):
        run(settings, augment=views, checkpoint=file, key="k", progress=stop)
    assert file.exists()
    seen = []
    resumed, found = run(settings, augment=views, checkpoint=file, key="k", progress=seen.append)
    assert [record["epoch"] for record in seen] == list(range(stop_after + 1, 7))
    assert same(whole, resumed)
    assert found.history == expected.history and found.best_epoch == expected.best_epoch
    # A checkpoint of something else is not continued.
    seen.clear()
    other, _ = run(settings, augment=views, checkpoint=file, key="other", progress=seen.append)
    assert len(seen) == 6 and same(other, whole)


def test_a_damaged_checkpoint_is_said_and_not_used(tmp_path, monkeypatch):
    often(monkeypatch)
    settings, file = Training(n_epochs=3, batch_size=11), tmp_path / "checkpoint.safetensors"
    whole, _ = run(settings, checkpoint=file, key="k")
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    seen = []
    with pytest.warns(UserWarning, match=r"checkpoint.safetensors is damaged"):
        again, _ = run(settings, checkpoint=file, key="k", progress=seen.append)
    assert len(seen) == 3 and same(whole, again)


def test_the_best_epoch_is_taken_and_patience_ends_training():
    X, _, groups = trials()
    noise = np.random.default_rng(3).integers(0, 2, len(X))
    net = network()
    settings = Training(n_epochs=60, batch_size=11, patience=4, learning_rate=0.01, validation=0.3)
    found, held = train_classifier(net, X, noise, settings, n_classes=2, groups=groups)
    losses = [record["validation_loss"] for record in found.history]
    assert len(losses) < 60 and found.best_epoch == int(np.argmin(losses)) + 1
    assert len(losses) == found.best_epoch + 4
    logits = predict_logits(net, X[held], "cpu", n_classes=2)
    now = nn.functional.cross_entropy(logits, torch.tensor(noise[held]))
    assert float(now) == pytest.approx(min(losses), abs=1e-6)
    assert not net.training


def test_without_validation_the_last_epoch_is_taken():
    X, y, _ = trials()
    found, held = train_classifier(network(), X, y, Training(n_epochs=4, validation=0.0), n_classes=2)
    assert found.best_epoch == 4 and len(held) == 0
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
    train_classifier(
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
    assert [len(batch) for batch in batches_of(torch.arange(33), 16)] == [16, 17]
    assert [len(batch) for batch in batches_of(torch.arange(34), 16)] == [16, 16, 2]
    assert [len(batch) for batch in batches_of(torch.arange(1), 16)] == [1]


def test_cosine_falls_from_the_first_rate_to_almost_nothing():
    settings = Training(n_epochs=100, schedule="cosine", learning_rate=1e-3)
    assert settings.rate(0) == pytest.approx(1e-3) and settings.rate(50) == pytest.approx(5.005e-4)
    assert settings.rate(99) < 2e-6
    assert [record["learning_rate"] for record in run(Training(n_epochs=2, schedule="cosine"))[1].history] == [
        pytest.approx(1e-3),
        pytest.approx(5.005e-4),
    ]


def test_warm_up_rises_evenly_and_falls_by_half_a_cosine_to_one_percent():
    settings = Training(schedule="warmup_cosine", n_steps=500, learning_rate=2.0)
    assert [settings.rate(0, step) for step in (0, 24, 49)] == [0.04, 1.0, 2.0]
    assert settings.rate(0, 50) == 2.0 and settings.rate(0, 500) == pytest.approx(0.02)
    assert settings.rate(0, 275) == pytest.approx(2 * (0.01 + 0.99 / 2))
    with pytest.raises(UserError, match="n_steps"):
        Training(schedule="warmup_cosine")


class Pull:
    """One weight is pulled to 1: ``w - rate`` every step, as the gradient is always 1 and Adam takes its sign."""

    def __call__(self, epoch, step):
        for _ in range(3):
            yield 1, (torch.ones(1, 1),)


def pulled(**settings):
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    path = []

    def objective(net, X):
        path.append(float(net.weight))
        return {"up": net(X).sum() * 2, "down": -net(X).sum()}

    training = Training(n_epochs=2, learning_rate=0.1, validation=0.0, **settings)
    found = loop.train(net, Pull(), objective, training)
    return float(net.weight), path, found.history


def test_the_moving_average_of_the_weights_is_taken_and_follows_faster_at_first():
    last, path, _ = pulled()
    assert path == pytest.approx([-0.1 * i for i in range(6)], abs=1e-6) and last == pytest.approx(-0.6, abs=1e-6)
    average, _, _ = pulled(ema=0.2)
    expected = 0.0
    for step in range(6):
        decay = min(0.2, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * -0.1 * (step + 1)
    assert average == pytest.approx(expected, abs=1e-6)


def test_terms_are_summed_and_written_down_each():
    _, path, history = pulled()
    for epoch, record in enumerate(history):
        mean = float(np.mean(path[3 * epoch : 3 * epoch + 3]))
        assert record["up"] == pytest.approx(2 * mean) and record["down"] == pytest.approx(-mean)
        assert record["loss"] == pytest.approx(mean)


def test_a_gradient_is_cut_to_its_largest_norm(monkeypatch):
    seen = []
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self: seen.append(float(self.param_groups[0]["params"][0].grad))
    )
    pulled(clip=0.25)
    pulled()
    assert seen[:6] == pytest.approx([0.25] * 6, abs=1e-5) and seen[6:] == [1.0] * 6


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
        {"ema": 1.0},
        {"clip": 0.0},
        {"n_steps": 0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        Training(**wrong)


def test_a_loss_that_is_not_finite_and_an_output_of_another_shape_are_refused():
    X, y, _ = trials()
    with pytest.raises(UserError, match="loss is nan"):
        train_classifier(
            network(), X, y, Training(n_epochs=1), n_classes=2, objective=lambda net, X, y: net(X).sum() * np.nan
        )
    with pytest.raises(UserError, match="must give logits"):
        train_classifier(network(), X, y, Training(n_epochs=1), n_classes=3)
