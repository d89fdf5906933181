import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.encoders.base import _derangement
from tests.encoders.tiny import features, images, make, photographs, stimuli_of

SETTINGS = {"family": "pixels", "image_size": 8}


@pytest.mark.parametrize("seed", range(5))
def test_every_stimulus_gets_the_features_of_another_one(seed):
    plain = features(make(**SETTINGS), images(6))["pixels"]
    dealt = features(make(**SETTINGS, shuffle=True, seed=seed), images(6))["pixels"]
    source = [int(np.flatnonzero((plain == row).all(axis=1))[0]) for row in dealt]
    assert sorted(source) == list(range(6))
    assert all(a != b for a, b in enumerate(source))


def test_equal_content_gets_equal_features():
    pictures = list(photographs(3))
    stimuli = stimuli_of([pictures[0], pictures[1], pictures[0], pictures[2]], "image")
    dealt = features(make(**SETTINGS, shuffle=True), stimuli)["pixels"]
    plain = features(make(**SETTINGS), stimuli)["pixels"]
    np.testing.assert_array_equal(dealt[0], dealt[2])
    assert (dealt != plain).any(axis=1).all()


def test_digests_and_errors():
    shuffled = make(**SETTINGS, shuffle=True)
    digests = {shuffled.digest(), make(**SETTINGS).digest(), make(**SETTINGS, shuffle=True, seed=1).digest()}
    assert len(digests) == 3
    assert shuffled.untrained is False and shuffled.pools == make(**SETTINGS).pools
    assert make("image", model="resnet18", weights="random", image_size=32, shuffle=True).untrained
    with pytest.raises(UserError, match="reads image or array stimuli"):
        features(shuffled, stimuli_of(["a", "b"], "text"))


@pytest.mark.parametrize("n", [2, 3, 10])
def test_derangement(n):
    orders = {tuple(_derangement(n, np.random.default_rng(seed))) for seed in range(60)}
    for order in orders:
        assert sorted(order) == list(range(n)) and all(a != b for a, b in enumerate(order))
    assert len(orders) == {2: 1, 3: 2}.get(n, 60)
    np.testing.assert_array_equal(_derangement(1, np.random.default_rng(0)), [0])
