import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.reconstruction.images import stimulus_images


def test_photographs_and_patterns_become_pictures_of_one_size():
    photographs = [np.full((20, 30, 3), value, dtype=np.uint8) for value in (0, 255)]
    found = stimulus_images(Stimuli.of(photographs), 8, 3)
    assert found.shape == (2, 8, 8, 3) and found.dtype == np.float32
    assert found[0].max() == 0 and found[1].min() == 1
    assert stimulus_images(Stimuli.of(photographs), 8, 1, [1]).shape == (1, 8, 8, 1)
    pattern = np.eye(6, dtype=np.float32)
    np.testing.assert_array_equal(stimulus_images(Stimuli.of([pattern]), 6, 1)[0, ..., 0], pattern)


def test_what_is_no_picture_is_refused():
    with pytest.raises(UserError, match="'text'"):
        stimulus_images(Stimuli.of(["a sentence"]), 8, 3)
    with pytest.raises(UserError, match=r"stimulus '00000': the values of a picture lie in \[0, 1\], got -1 to 2"):
        stimulus_images(Stimuli.of([np.array([[-1.0, 2.0], [0.0, 0.0]])]), 8, 1)
