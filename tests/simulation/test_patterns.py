"""Patterns and pictures that brainbench draws itself."""

from __future__ import annotations

import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.features.store import FeatureStore
from brainbench.recipes.reconstruction import SmallSettings
from brainbench.simulation.drawings import CLASSES, drawings, drawn_stimuli
from brainbench.simulation.patterns import LETTERS, PATTERNS, binary_patterns, draw_strokes, pattern_digest
from brainbench.studies.cases.training_images import training_set


def test_patterns_are_binary_distinct_and_seeded() -> None:
    images, kinds = binary_patterns(300, 12, seed=3)
    again, _ = binary_patterns(300, 12, seed=3)
    other, _ = binary_patterns(300, 12, seed=4)
    assert images.shape == (300, 12, 12, 1)
    assert images.dtype == np.float32
    assert set(np.unique(images)) == {0.0, 1.0}
    assert len(np.unique(images.reshape(300, -1), axis=0)) == 300
    assert set(kinds) == set(PATTERNS)
    np.testing.assert_array_equal(images, again)
    assert not np.array_equal(images, other)


def test_patterns_that_equal_a_stimulus_are_left_out() -> None:
    images, _ = binary_patterns(200, 8, seed=0)
    taken = images[:50]
    as_arrays, _ = binary_patterns(200, 8, seed=0, exclude=list(255 * taken[..., 0]))
    as_digests, _ = binary_patterns(200, 8, seed=0, exclude=[pattern_digest(one) for one in taken])
    np.testing.assert_array_equal(as_arrays, as_digests)
    left = {one.tobytes() for one in as_arrays}
    assert not left & {one.tobytes() for one in taken}
    # Nothing else changes: the patterns that are not left out come in the same order.
    np.testing.assert_array_equal(as_arrays[:150], images[50:])


def test_letters_have_the_style_that_is_asked_for() -> None:
    thin = draw_strokes(LETTERS["O"], 12, (3, 4, 5, 4), brush=1)
    expected = np.zeros((12, 12), dtype=bool)
    expected[3:8, 4:8] = True
    expected[4:7, 5:7] = False
    np.testing.assert_array_equal(thin, expected)
    thick = draw_strokes(LETTERS["U"], 12, (3, 3, 6, 6), brush=2)
    expected = np.zeros((12, 12), dtype=bool)
    expected[3:9, 3:9] = True
    expected[3:7, 5:7] = False
    np.testing.assert_array_equal(thick, expected)


def test_small_grids_and_too_many_patterns_are_refused() -> None:
    with pytest.raises(UserError, match="at least 6 x 6 cells, got 4 x 4"):
        binary_patterns(4, 4, seed=0)


def test_every_class_is_drawn_and_told_apart_by_its_label() -> None:
    images, labels = drawings(60, 32, seed=1)
    assert images.shape == (60, 32, 32, 3)
    assert images.dtype == np.uint8
    assert len(CLASSES) >= 5
    assert set(labels) == set(CLASSES)
    np.testing.assert_array_equal(images, drawings(60, 32, seed=1)[0])
    # Two colours that differ in lightness: every picture has a figure.
    assert (images.reshape(60, -1, 3).mean(axis=2).std(axis=1) > 15).all()
    stimuli = drawn_stimuli(12, 16, seed=0)
    assert stimuli.load(3).shape == (16, 16, 3)
    assert list(stimuli.labels["category"][: len(CLASSES)]) == list(CLASSES)
    assert len(set(stimuli.content_digests)) == 12


def test_patterns_beside_arrays_have_their_size(tmp_path):
    """Encoders read arrays as they are: features of larger patterns would be of another width than the data's."""
    shown = Stimuli.of(list(np.random.default_rng(0).integers(0, 2, (4, 12, 12)).astype(float)))
    settings = SmallSettings(name="small", train_on="patterns", n_images=16, grey=True, image_size=24)
    with pytest.raises(UserError, match=r"generator.image_size: 24, and the stimuli are arrays of 12 x 12"):
        training_set(settings, 0, FeatureStore(tmp_path), shown, np.arange(4))
    drawn = training_set(settings.model_copy(update={"image_size": 12}), 0, FeatureStore(tmp_path), shown, np.arange(4))
    assert np.shape(drawn.stimuli.load(0)) == (12, 12)
