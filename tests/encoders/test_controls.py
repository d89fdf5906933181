import numpy as np
import pytest

from brainbench.core.errors import UserError
from tests.encoders.tiny import WORDS, features, images, make, photographs, stimuli_of


def only(encoder, stimuli):
    (values,) = features(encoder, stimuli).values()
    return values


def test_pixels_are_luma_in_zero_to_one():
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    pictures = [np.full((20, 30, 3), colour, np.uint8) for colour in colours]
    found = only(make("pixels", image_size=4), stimuli_of(pictures, "image"))
    assert found.shape == (4, 16)
    np.testing.assert_allclose(found, np.repeat([[0.299], [0.587], [0.114], [1.0]], 16, axis=1), atol=1e-6)


def test_pixels_keep_their_places():
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:8, 8:] = 255
    found = only(make("pixels", image_size=2), stimuli_of([picture], "image")).reshape(2, 2)
    assert found[0, 1] > 0.7 and found[0, 0] < 0.2 and found[1, 0] < 0.2 and found[1, 1] < 0.2


def test_arrays_are_used_as_they_are():
    arrays = list(np.random.default_rng(0).standard_normal((3, 10, 10)))
    found = only(make("pixels", image_size=4), stimuli_of(arrays, "array"))
    np.testing.assert_array_equal(found, np.array(arrays, dtype=np.float32).reshape(3, 100))


def test_pixels_of_what_is_no_image():
    with pytest.raises(UserError, match="stimulus 's0': an image must be uint8"):
        only(make("pixels"), stimuli_of([np.zeros((4, 4, 4), np.uint8)], "image"))


def test_word_rate_is_one_for_every_word():
    np.testing.assert_array_equal(only(make("word_rate"), stimuli_of(WORDS, "word")), np.ones((len(WORDS), 1)))
    with pytest.raises(UserError, match="reads word stimuli"):
        only(make("word_rate"), images())


def test_random_vectors_belong_to_contents():
    found = only(make("random", width=200), stimuli_of(WORDS, "word"))
    assert found.shape == (len(WORDS), 200)
    index = {word: i for i, word in enumerate(WORDS)}
    for i, word in enumerate(WORDS):
        np.testing.assert_array_equal(found[i], found[index[word]])
    backwards = only(make("random", width=200), stimuli_of(WORDS[::-1], "word"))
    np.testing.assert_array_equal(backwards[::-1], found)
    alone = only(make("random", width=200), stimuli_of(WORDS[3:4], "word"))
    np.testing.assert_array_equal(alone[0], found[3])


def test_random_vectors_are_unrelated_and_follow_the_seed():
    words = [f"word {i}" for i in range(40)]
    found = only(make("random", width=500), stimuli_of(words, "word"))
    r = np.corrcoef(found)[np.triu_indices(40, 1)]
    assert abs(r.mean()) < 0.01 and np.abs(r).max() < 0.25
    assert found.mean() == pytest.approx(0, abs=0.03) and found.std() == pytest.approx(1, abs=0.03)
    other = make("random", width=500, seed=1)
    assert np.abs(np.corrcoef(only(other, stimuli_of(words, "word"))[0], found[0])[0, 1]) < 0.2
    assert other.digest() != make("random", width=500).digest() != make("random", width=400).digest()


def test_one_hot_is_identity_without_similarity():
    pictures = [*photographs(4), photographs(4)[1]]
    found = only(make("one_hot"), stimuli_of(pictures, "image"))
    assert found.shape == (5, 4)
    same = np.eye(5)
    same[1, 4] = same[4, 1] = 1
    np.testing.assert_array_equal(found @ found.T, same)
    assert set(found.ravel()) == {0, 1}


def test_more_stimuli_than_a_batch():
    words = [f"word {i}" for i in range(600)]
    assert only(make("random", width=3), stimuli_of(words, "word")).shape == (600, 3)
    np.testing.assert_array_equal(only(make("one_hot"), stimuli_of(words, "word")).sum(axis=0), np.ones(600))


def test_a_grey_picture_with_its_axis_of_channels_is_one_picture():
    """Every row of it was taken for a picture."""
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    encoder = make("pixels", image_size=4)
    one, rgb = (encoder.features(given)["pixels"] for given in (picture[..., None], np.stack([picture] * 3, axis=-1)))
    assert one.shape == (1, 16)
    np.testing.assert_array_equal(one, rgb)
