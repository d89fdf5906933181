import numpy as np
import pytest
from sklearn.decomposition import PCA

from brainbench.reconstruction.codecs.pca import PcaCodec


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.uniform(0, 1, (60, 8, 8, 3)).astype(np.float32)


def test_latents_are_principal_components(images):
    codec = PcaCodec(8, 3, 10).fit(images)
    flat = images.reshape(len(images), -1).astype(np.float64)
    expected = PCA(10, svd_solver="full").fit_transform(flat)
    found = codec.encode(images)
    assert found.shape == (60, 10) and found.dtype == np.float32
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)


def test_more_components_come_nearer_and_all_are_exact(images):
    errors = []
    for n in (2, 20, 59):
        codec = PcaCodec(8, 3, n).fit(images)
        errors.append(float(np.abs(codec.decode(codec.encode(images), [0] * 60) - images).mean()))
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-5


@pytest.mark.parametrize("channels", [1, 3])
def test_patches_keep_every_picture_even_unseen_ones(images, channels):
    codec = PcaCodec(8, channels, 4 * channels, patch=2).fit(images[:20, ..., :channels])
    unseen = images[20:, ..., :channels]
    latents = codec.encode(unseen)
    assert latents.shape == (40, 16 * 4 * channels)
    np.testing.assert_allclose(codec.decode(latents, [0] * 40), unseen, atol=1e-5)


def test_images_of_another_size_are_refused(images):
    with pytest.raises(ValueError, match=r"must be \(n, 4, 4, 3\)"):
        PcaCodec(4, 3).fit(images)
