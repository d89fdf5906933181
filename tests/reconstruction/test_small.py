"""The small diffusion network: what it learns, what decides its images, and how its training resumes."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.recipes.encoders import PixelsSettings
from brainbench.recipes.reconstruction import GENERATORS, SmallSettings
from brainbench.reconstruction.generators.small import Scaler, SmallGenerator, SmallNetwork
from tests.reconstruction.toy import Told, bars, blue, lying, toy_generator

pytestmark = pytest.mark.long


def told(is_lying: np.ndarray, is_blue: np.ndarray) -> dict[str, np.ndarray]:
    return {"shape.told": np.eye(2)[is_lying.astype(int)], "colour.told": np.eye(2)[is_blue.astype(int)]}


@pytest.fixture(scope="module")
def asked() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.integers(0, 2, 40), rng.integers(0, 2, 40)


@pytest.fixture(scope="module")
def drawn(trained_small: SmallGenerator, asked: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return trained_small.generate(told(*asked), None, list(range(40)))


def test_it_draws_what_both_conditions_ask_for(drawn: np.ndarray, asked: tuple[np.ndarray, np.ndarray]) -> None:
    assert drawn.shape == (40, 12, 12, 3)
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0 <= drawn.max() <= 1
    assert np.mean(lying(drawn) == asked[0]) > 0.85
    assert np.mean(blue(drawn) == asked[1]) > 0.95


def test_each_condition_matters_alone(trained_small: SmallGenerator, asked: tuple[np.ndarray, np.ndarray]) -> None:
    is_lying, is_blue = asked
    seeds = list(range(40))
    turned = trained_small.generate(told(1 - is_lying, is_blue), None, seeds)
    painted = trained_small.generate(told(is_lying, 1 - is_blue), None, seeds)
    assert np.mean(lying(turned) != is_lying) > 0.85
    assert np.mean(blue(turned) == is_blue) > 0.95
    assert np.mean(lying(painted) == is_lying) > 0.85
    assert np.mean(blue(painted) != is_blue) > 0.95


def test_an_image_depends_on_its_seed_and_neither_on_order_nor_batch(
    trained_small: SmallGenerator, drawn: np.ndarray, asked: tuple[np.ndarray, np.ndarray]
) -> None:
    order = np.random.default_rng(0).permutation(40)[:7]
    some = trained_small.generate(told(asked[0][order], asked[1][order]), None, order.tolist())
    np.testing.assert_allclose(some, drawn[order], atol=1e-4)
    again = trained_small.generate(told(asked[0][order], asked[1][order]), None, order.tolist())
    np.testing.assert_array_equal(some, again)
    other = trained_small.generate(told(asked[0][order], asked[1][order]), None, (order + 100).tolist())
    assert np.abs(other - some).mean() > 0.02


def with_settings(generator: SmallGenerator, **changes: object) -> SmallGenerator:
    other = copy.copy(generator)
    other.settings = generator.settings.model_copy(update=changes)
    return other


def test_sixty_one_steps_draw_what_sixty_do(trained_small: SmallGenerator) -> None:
    # diffusers' `set_timesteps(61)` returns 62 times, the last of them -1.
    _, features = bars(2, seed=9)
    sixty, more = (with_settings(trained_small, steps=n).generate(features, None, [0, 1]) for n in (60, 61))
    assert np.abs(more - sixty).mean() < 0.02


def test_strength_says_how_much_of_the_initial_image_is_replaced(trained_small: SmallGenerator) -> None:
    images, features = bars(16, seed=9)
    seeds = list(range(16))
    distance = []
    for strength in (0.0, 0.3, 0.7, 1.0):
        made = with_settings(trained_small, strength=strength).generate(features, images, seeds)
        distance.append(float(np.abs(made - images).mean()))
    assert distance[0] == 0
    assert distance == sorted(distance)
    np.testing.assert_array_equal(made, trained_small.generate(features, None, seeds))
    # Of any size, and grey or not.
    kept = with_settings(trained_small, strength=0.0)
    large = np.kron(images, np.ones((1, 4, 4, 1), dtype=np.float32))
    np.testing.assert_allclose(kept.generate(features, large, seeds), images, atol=0.15)
    assert kept.generate(features, large[..., :1], seeds).shape == images.shape


def stop_at(step: int):
    def progress(done: int, total: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    return progress


def test_a_killed_training_resumes_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, features = bars(40, seed=1)
    short = toy_generator(train_steps=60, width=8, batch_size=8)
    whole = short.train(images, features, tmp_path / "whole", seed=4)
    monkeypatch.setattr("brainbench.networks.training.CHECKPOINT_S", 0.0)
    monkeypatch.setattr("brainbench.networks.training.CHECKPOINT_SHARE", np.inf)
    broken = tmp_path / "broken"
    for step in (11, 37):
        with pytest.raises(KeyboardInterrupt):
            short.train(images, features, broken, seed=4, progress=stop_at(step))
        assert [path.name for path in broken.iterdir() if "checkpoint" in path.name]
    steps: list[int] = []
    resumed = short.train(images, features, broken, seed=4, progress=lambda done, _: steps.append(done))
    assert steps[0] >= 30  # it went on and did not start again
    (first,), (second,) = whole.weight_files(), resumed.weight_files()
    assert first.read_bytes() == second.read_bytes()
    assert whole.losses == resumed.losses
    assert sorted(path.suffix for path in broken.iterdir() if path.is_file()) == [".json", ".safetensors"]


def test_finished_weights_are_read_and_never_trained_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, features = bars(30, seed=1)
    short = toy_generator(train_steps=6, width=8, batch_size=8)
    first = short.train(images, features, tmp_path, seed=4)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained twice")

    monkeypatch.setattr("brainbench.reconstruction.generators.small.train", refuse)
    # Settings of sampling have no part in the weights.
    second = toy_generator(train_steps=6, width=8, batch_size=8, strength=0.2, steps=5).train(
        images, features, tmp_path, seed=4
    )
    assert first.parameters()["weights"] == second.parameters()["weights"]
    one = {name: values[:3] for name, values in features.items()}
    second.settings = first.settings
    np.testing.assert_array_equal(first.generate(one, None, [1, 2, 3]), second.generate(one, None, [1, 2, 3]))
    # Other images, features, seeds and settings are other trainings.
    changed = {name: values[::-1].copy() for name, values in features.items()}
    for arguments in [(images[::-1].copy(), features, 4), (images, changed, 4), (images, features, 5)]:
        with pytest.raises(AssertionError, match="trained twice"):
            short.train(*arguments[:2], tmp_path, seed=arguments[2])
    with pytest.raises(AssertionError, match="trained twice"):
        toy_generator(train_steps=7, width=8, batch_size=8).train(images, features, tmp_path, seed=4)


@pytest.mark.parametrize(("side", "grey"), [(8, True), (12, True), (20, False), (28, True), (32, False), (64, False)])
def test_sizes_and_channels(tmp_path: Path, side: int, grey: bool) -> None:
    generator = toy_generator(image_size=side, grey=grey, train_steps=2, width=8, batch_size=4, steps=2)
    channels = 1 if grey else 3
    images = np.random.default_rng(0).random((6, side, side, channels), dtype=np.float32)
    _, features = bars(6, seed=0)
    made = generator.train(images, features, tmp_path, seed=0).generate(features, None, list(range(6)))
    assert made.shape == images.shape
    assert np.isfinite(made).all()


def test_wide_features_are_projected_and_noise_is_in_their_own_units() -> None:
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((300, 5)) * [5, 4, 3, 2, 1]
    X = factors @ rng.standard_normal((5, 700)) * 40 + 17
    scaler = Scaler.fit(X, noise=0.5)
    scaled = scaler(X).numpy()
    assert scaled.shape == (300, 128)
    standard = (X - X.mean(0)) / X.std(0)
    variance = np.sort(np.linalg.svd(standard - standard.mean(0), compute_uv=False) ** 2 / 300)[::-1][:5]
    np.testing.assert_allclose(scaled.var(0)[:5], variance / (variance + 0.25), rtol=0.02)
    assert scaled.var(0)[5:].max() < 1e-6
    narrow = np.c_[X[:, :3], np.full(300, 7.0)]
    scaled = Scaler.fit(narrow, noise=0.0)(narrow).numpy()
    np.testing.assert_allclose(scaled.std(0), [1, 1, 1, 0], atol=1e-4)


def test_rows_without_features_do_not_see_them() -> None:
    network = SmallNetwork(12, 1, 3, 8).eval()
    images, times = torch.randn(4, 1, 12, 12), torch.full((4,), 500)
    seen = [network(images, times, torch.randn(4, 3), torch.tensor([0.0, 0.0, 1.0, 1.0])) for _ in range(2)]
    torch.testing.assert_close(seen[0][:2], seen[1][:2])
    assert (seen[0][2:] - seen[1][2:]).abs().max() > 1e-6


def test_without_conditions_it_is_unconditional(tmp_path: Path) -> None:
    images, _ = bars(8, seed=0)
    plain = toy_generator(condition_on=[], train_steps=2, width=8, batch_size=4, steps=2)
    assert plain.conditions() == []
    made = plain.train(images, {}, tmp_path, seed=0).generate({}, None, [3, 4])
    assert made.shape == (2, 12, 12, 3)


def test_what_cannot_be_is_refused_in_one_message(tmp_path: Path, trained_small: SmallGenerator) -> None:
    images, features = bars(8, seed=0)
    generator = toy_generator()
    with pytest.raises(UserError, match="must be trained before"):
        generator.generate(features, None, list(range(8)))
    with pytest.raises(UserError, match=r"images or more of shape \(12, 12, 3\), got \(8, 12, 12, 1\)"):
        generator.train(images[..., :1], features, tmp_path, seed=0)
    with pytest.raises(UserError, match=r"must lie in \[0, 1\]"):
        generator.train(images * 255, features, tmp_path, seed=0)
    with pytest.raises(UserError, match=r"features of \['shape.told', 'colour.told'\], got shape.told"):
        generator.train(images, {"shape.told": features["shape.told"]}, tmp_path, seed=0)
    with pytest.raises(UserError, match=r"shape.told must be \(8, 2\), got \(8, 3\)"):
        trained_small.generate({**features, "shape.told": np.ones((8, 3))}, None, list(range(8)))
    with pytest.raises(UserError, match="need a seed each, got 3 seeds"):
        trained_small.generate(features, None, [1, 2, 3])
    settings = SmallSettings.model_validate({"condition_on": [{"encoder": "nothing", "layer": "told"}]})
    with pytest.raises(UserError, match="no encoder 'nothing'"):
        SmallGenerator(settings, {"shape": (Told("shape"), PixelsSettings(name="shape"))}, device="cpu")


def test_it_is_found_by_name() -> None:
    assert GENERATORS.builder("small") is SmallGenerator
