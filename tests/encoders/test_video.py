"""Networks of clips, small, with random weights, saved to disk; and motion energy."""

import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.data.vision.clip import Clip
from brainbench.encoders.check import check_encoder
from tests.encoders.tiny import clips, features, images, make, write_video, write_vision

CLIPS = clips()


@pytest.mark.parametrize(("kind", "n_class"), [("videomae", 0), ("timesformer", 1), ("vjepa2", 0)])
def test_layers_are_the_librarys_hidden_states(kind, n_class, tmp_path):
    encoder = make("video", model=str(write_video(kind, tmp_path)))
    found = features(encoder, CLIPS)
    assert encoder.n_frames == 4 and "sees 4 frames, evenly over each clip" in encoder.note
    assert encoder.pools == (("cls", "mean") if n_class else ("mean",))
    for row in range(5):
        given = encoder.inputs(CLIPS, [row]).kwargs
        with torch.inference_mode():
            states = encoder.network(**given, output_hidden_states=True).hidden_states
        assert len(states) == len(found) == 4
        for layer, state in zip(found.values(), states, strict=True):
            theirs = state[0, n_class:].mean(0).numpy()
            if state is states[-1] and np.abs(layer[row] - theirs).max() > 1e-4:  # behind the final norm
                norm = encoder.network.encoder.layernorm if kind == "vjepa2" else encoder.network.layernorm
                (tap,) = encoder.taps[-1:]
                with torch.inference_mode():
                    raw = norm(encoder.run(encoder.inputs(CLIPS, [row]), [tap])[tap.name])
                assert torch.allclose(raw, state, atol=1e-5)
                continue
            assert np.abs(layer[row] - theirs).max() <= 1e-5 * np.abs(theirs).max()


def test_frames_are_the_processors_and_lie_evenly_over_the_clip(tmp_path):
    encoder = make("video", model=str(write_video("videomae", tmp_path)))
    given = encoder.inputs(CLIPS, [2]).kwargs["pixel_values"]
    frames = CLIPS.load(2).read([1, 3, 5, 7])  # the middles of four quarters of eight frames
    alone = encoder.processor(list(frames), return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    assert torch.equal(given, alone.reshape(given.shape))


def test_the_contract(tmp_path):
    write_video("timesformer", tmp_path)
    check_encoder(lambda: make("video", model=str(tmp_path), batch_size=2), CLIPS)


def test_what_cannot_be_read_is_refused(tmp_path):
    encoder = make("video", model=str(write_video("videomae", tmp_path)))
    with pytest.raises(UserError, match="reads clip stimuli, the data set has image stimuli"):
        encoder.features(images())
    said = encoder.remarks(clips(3, n_frames=2))
    assert "3 of 3 clips have fewer than its 4 frames (c0: 2)" in said[0] and not encoder.remarks(CLIPS)
    (tmp_path / "vit").mkdir()
    with pytest.raises(UserError, match="'vit' is no network of clips"):
        make("video", model=str(write_vision("vit", tmp_path / "vit")))


# Motion energy --------------------------------------------------------------------------------------------------------


def drifting(hz, direction, size=64, wavelength=16.0, fps=48.0, seconds=1.0):
    """A grating that drifts along x."""
    t = np.arange(round(fps * seconds)) / fps
    x = np.arange(size)
    wave = np.cos(2 * np.pi * (x[None] / wavelength - direction * hz * t[:, None]))
    grey = np.repeat((127 + 100 * wave)[:, None, :, None], size, axis=1).astype(np.uint8)
    return Clip.of(np.repeat(grey, 3, axis=3), fps, f"{hz}")


def energy(clip):
    encoder = make("motion_energy", grid=1)
    found = encoder._of_clip(clip, "x")
    return {name: values.reshape(-1, 3, 4) for name, values in found.items()}  # (ways, wavelengths, orientations)


def test_motion_energy_finds_speed_way_and_size():
    still, right, left = energy(drifting(0.0, 1)), energy(drifting(4.0, 1)), energy(drifting(4.0, -1))
    assert max(still, key=lambda name: still[name].max()) == "hz.0"
    for found in (right, left):
        assert max(found, key=lambda name: found[name].max()) == "hz.4"
        both = found["hz.4"]
        assert np.unravel_index(both.argmax(), both.shape)[1:] == (1, 0)  # wavelength 16, along x
        assert both[:, 1, 0].max() > 10 * both[:, 1, 0].min()
    assert right["hz.4"][:, 1, 0].argmax() != left["hz.4"][:, 1, 0].argmax()


def test_motion_energy_keeps_the_contract():
    check_encoder(lambda: make("motion_energy", image_size=24, wavelengths_px=[6.0, 12.0], grid=2), CLIPS)
    encoder = make("motion_energy", image_size=24, wavelengths_px=[6.0, 12.0], grid=2)
    assert [layer.name for layer in encoder.layers()] == ["hz.0", "hz.2", "hz.4", "hz.8", "all"]
    with pytest.raises(ValueError, match="half of `sfreq`"):
        make("motion_energy", rates_hz=[13.0])
