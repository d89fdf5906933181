"""The contract every pretrained generator keeps, on tiny random models."""

import numpy as np
import pytest

from brainbench.core.errors import UserError
from tests.reconstruction.pretrained_models import pictures, stimuli


def true_features(generator, shown):
    """Features of every condition through the generator's own encoders, `(n, *shape)`."""
    found = {}
    for condition in generator.conditions():
        values = condition.encoder.features(shown, [condition.layer], condition.pool)[condition.layer]
        found[condition.name] = values.reshape(len(shown), *condition.shape)
    return found


def check_generator(generator, *, tolerance=1e-5):
    """Shape, range, seeds, independence of order, effect of every condition, strength, messages."""
    shown = stimuli(3)
    features = true_features(generator, shown)
    initial = pictures(3, generator.image_size // 2)
    seen = []
    images = generator.generate(features, initial, [1, 2, 3], progress=lambda done, total: seen.append((done, total)))
    size = generator.image_size
    assert images.shape == (3, size, size, 3) and images.dtype == np.float32
    assert 0 <= images.min() and images.max() <= 1 and images.std() > 0
    assert seen[-1][0] == seen[-1][1] and [done for done, _ in seen] == sorted(done for done, _ in seen)

    again = generator.generate(features, initial, [1, 2, 3])
    np.testing.assert_array_equal(images, again)
    order = [2, 0]
    moved = generator.generate(
        {name: value[order] for name, value in features.items()}, initial[order], [[1, 2, 3][i] for i in order]
    )
    np.testing.assert_allclose(moved, images[order], atol=tolerance)
    other = generator.generate(features, initial, [1, 2, 4])
    np.testing.assert_allclose(other[:2], images[:2], atol=tolerance)
    assert np.abs(other[2] - images[2]).max() > 1e-3

    for name in features:
        changed = {**features, name: features[name][[1, 2, 0]] + np.float32(0.5)}
        assert np.abs(generator.generate(changed, initial, [1, 2, 3]) - images).max() > 1e-4, f"{name} has no effect"
    assert np.abs(generator.generate(features, 1 - initial, [1, 2, 3]) - images).max() > 1e-3
    from_noise = generator.generate(features, None, [1, 2, 3])
    assert from_noise.shape == images.shape

    with pytest.raises(UserError, match="it takes"):
        generator.generate({name: value[:, :-1] for name, value in features.items()}, initial, [1, 2, 3])
    name = next(iter(features))
    with pytest.raises(UserError, match=f"needs features '{name}'"):
        generator.generate({key: value for key, value in features.items() if key != name}, initial, [1, 2, 3])
    with pytest.raises(UserError, match="2 initial images"):
        generator.generate(features, initial[:2], [1, 2, 3])
    assert generator.weight_files() and all(path.is_file() for path in generator.weight_files())
    return features, images
