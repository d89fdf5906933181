import numpy as np
import pytest

from brainbench.core.errors import UserError
from tests.encoders.tiny import features, make, photographs, stimuli_of

SIZE, GRID = 96, 6
SETTINGS = {"n_orientations": 6, "wavelengths_px": [4.0, 8.0, 16.0, 32.0], "image_size": SIZE, "grid": GRID}


def grating(wavelength=8.0, orientation=0, phase=0.0, contrast=1.0, size=SIZE):
    """A sine whose frequency points along ``orientation * 30`` degrees, x to the right and y down."""
    y, x = np.mgrid[:size, :size]
    angle = np.pi * orientation / 6
    along = x * np.cos(angle) + y * np.sin(angle)
    return (contrast * np.cos(2 * np.pi * along / wavelength + phase)).astype(np.float32)


def energy(pictures, **settings):
    """Features, ``(n, scale, orientation, row, column)``."""
    encoder = make("gabor", **{**SETTINGS, **settings})
    found = features(encoder, stimuli_of(pictures, "array"))
    n = len(encoder.settings.wavelengths_px)
    return np.stack([found[f"scale.{k}"] for k in range(n)], axis=1).reshape(len(pictures), n, 6, GRID, GRID)


@pytest.mark.parametrize("orientation", range(6))
@pytest.mark.parametrize("scale", [0, 1, 2])
def test_each_filter_answers_to_its_own_orientation_and_frequency(scale, orientation):
    wavelength = SETTINGS["wavelengths_px"][scale]
    found = energy([grating(wavelength, orientation)])[0][:, :, 1:-1, 1:-1].mean(axis=(2, 3))
    assert np.unravel_index(found.argmax(), found.shape) == (scale, orientation)
    assert found[scale, orientation] == pytest.approx(0.5, rel=0.1)  # half the amplitude: the analytic signal
    others = np.delete(found.ravel(), found.argmax())
    assert others.max() < 0.75 * found.max()
    assert found[scale, (orientation + 3) % 6] < 0.02  # at a right angle


def test_the_answer_knows_no_phase_and_grows_with_contrast():
    phases = energy([grating(16, 0, phase) for phase in (0, 1, 2, np.pi)])
    inner = phases[:, 2, 0, 1:-1, 1:-1]
    np.testing.assert_allclose(inner, inner[:1].repeat(4, axis=0), rtol=0.02)
    half, full = energy([grating(contrast=0.5), grating()])
    np.testing.assert_allclose(half * 2, full, rtol=1e-4, atol=1e-6)


def test_mean_luminance_is_not_seen():
    np.testing.assert_allclose(energy([np.full((SIZE, SIZE), 0.7, np.float32)]), 0, atol=1e-6)
    np.testing.assert_allclose(*energy([grating(), grating() + 5]), atol=1e-5)


def test_places_are_rows_then_columns():
    picture = np.zeros((SIZE, SIZE), np.float32)
    picture[16:32, 64:80] = grating(4)[16:32, 64:80]  # row 1, column 4 of the grid
    found = energy([picture])[0, 0, 0]
    assert np.unravel_index(found.argmax(), found.shape) == (1, 4)
    assert found[4, 1] < 0.01 * found.max()


def test_cells_average_energy_where_the_grid_does_not_divide_the_image():
    settings = {"image_size": 50, "wavelengths_px": [8.0], "grid": 6}
    picture = np.random.default_rng(0).standard_normal((50, 50)).astype(np.float32)
    found = energy([picture], **settings)[0, 0] ** 2
    edges = np.linspace(0, 50, 7).round().astype(int)
    size = np.outer(np.diff(edges), np.diff(edges))
    whole = energy([picture], **{**settings, "grid": 6})[0, 0] ** 2
    one = features(make("gabor", **{**SETTINGS, **settings, "grid": 1}), stimuli_of([picture], "array"))["scale.0"]
    np.testing.assert_allclose((found * size).sum(axis=(1, 2)) / 2500, one[0] ** 2, rtol=1e-4)
    np.testing.assert_array_equal(found, whole)


def test_layers():
    encoder = make("gabor", **{**SETTINGS, "wavelengths_px": [16.0, 4.0]})
    assert [(layer.name, layer.depth, layer.width) for layer in encoder.layers()] == [
        ("scale.0", 0.0, 216), ("scale.1", 0.5, 216), ("all", 1.0, 432)
    ]  # fmt: skip
    found = features(encoder, stimuli_of([grating(4)], "array"))
    np.testing.assert_array_equal(found["all"], np.concatenate([found["scale.0"], found["scale.1"]], axis=1))
    assert found["scale.0"].mean() > 3 * found["scale.1"].mean()  # from the shortest wavelength, whatever the order
    assert encoder.digest() == make("gabor", **{**SETTINGS, "wavelengths_px": [4.0, 16.0]}).digest()
    assert encoder.digest() != make("gabor", **SETTINGS).digest()


def test_colour_images_are_read_as_luma():
    colour = photographs(2)
    grey = (colour.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)) / 255
    encoder = make("gabor", **SETTINGS)
    np.testing.assert_allclose(
        features(encoder, stimuli_of(list(colour), "image"))["all"],
        features(encoder, stimuli_of(list(grey), "array"))["all"],
        atol=1e-5,
    )


def test_no_class_token():
    with pytest.raises(UserError, match="cannot pool by 'cls'"):
        features(make("gabor", **SETTINGS), stimuli_of([grating()], "array"), pool="cls")
