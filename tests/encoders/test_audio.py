"""Networks of sound, small, with random weights, saved to disk; sounds in windows; baselines."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.data.sound.recording import Recording
from brainbench.encoders.sound.listening import stretches
from tests.encoders.tiny import WORDS, features, make, noise, pieces, stimuli_of, write_audio

KINDS = ("whisper", "wav2vec2", "hubert", "wavlm", "data2vec-audio", "wav2vec2-bert")


def states_of(encoder, samples):
    """The library's own hidden states of one window, (n_frames, n_features) each."""
    given = encoder.processor([samples], sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        return [state[0].numpy() for state in encoder.network(**given, output_hidden_states=True).hidden_states]


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_the_librarys_hidden_states(kind, tmp_path):
    encoder = make("audio", model=str(write_audio(kind, tmp_path)), window_s=2, overlap_s=0)
    sound = noise(2)
    found = features(encoder, Stimuli.of_sounds([sound]))
    layers = [layer.name for layer in encoder.layers()]
    assert len(layers) == 4 and layers[0] == "stem"
    states = states_of(encoder, sound.samples)
    norm = getattr(encoder.network, "layer_norm", torch.nn.Identity())
    for name, state in zip(layers[:-1], states, strict=False):
        np.testing.assert_allclose(found[name][0], state.mean(0), atol=1e-5)
    last = encoder.run(encoder._inputs([sound.samples]), [encoder.taps[-1]])[layers[-1]]
    np.testing.assert_allclose(found[layers[-1]][0], last[0].mean(0), atol=1e-5)
    assert any(
        torch.allclose(of(last)[0], torch.from_numpy(states[-1]), atol=1e-5) for of in (torch.nn.Identity(), norm)
    )
    assert encoder.weight_files() and "in windows of 2 s that overlap by 0 s" in encoder.note


# Windows -----------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.floats(0.05, 95), st.integers(2, 30), st.data())
def test_windows_cover_a_sound_once(duration, window, data):
    overlap = data.draw(st.integers(0, window // 2))
    parts = stretches(duration, window, overlap)
    assert parts[0].keep_from == 0 and parts[-1].keep_to == duration
    for one, other in pairwise(parts):
        assert one.keep_to == other.keep_from > one.keep_from
    for part in parts:
        assert part.start <= part.keep_from and part.keep_to <= part.end <= part.start + window
        for edge, kept in ((part.start, part.keep_from), (part.end, part.keep_to)):
            assert edge in (0, duration) or abs(edge - kept) >= overlap / 2 - 1e-9


@pytest.mark.parametrize("kind", ["whisper", "wav2vec2"])
def test_a_piece_is_the_mean_of_its_frames_from_the_middle_of_windows(kind, tmp_path):
    encoder = make("audio", model=str(write_audio(kind, tmp_path)), window_s=2, overlap_s=1)
    sound = noise(4.3)
    cuts = [(0.0, 0.4), (0.4, 1.1), (1.3, 1.7), (1.4, 2.9), (3.9, 4.3)]
    found = features(encoder, pieces(sound, cuts))
    layer = encoder.layers()[1].name
    frames, at = [], []
    for part in stretches(4.3, 2, 1):
        state = states_of(encoder, sound.samples[part.start * 16000 : round(part.end * 16000)])[1]
        step = 0.02
        times = part.start + step * np.arange(len(state)) + (0 if kind == "whisper" else 0.0125)
        kept = (times >= part.keep_from) & (times < part.keep_to)
        frames.append(state[kept])
        at.append(times[kept])
    frames, at = np.concatenate(frames), np.concatenate(at)
    assert (np.diff(at) > 0).all()
    for row, (start, end) in enumerate(cuts):
        expected = frames[(at >= start) & (at < end)].mean(0)
        np.testing.assert_allclose(found[layer][row], expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["whisper", "wav2vec2-bert", "parakeet_encoder", "speech_to_text"])
def test_frames_are_at_the_moments_that_move_them(kind, tmp_path):
    """A click changes the frames around it most: their times must be its own on average, early and late in a window."""
    encoder = make("audio", model=str(write_audio(kind, tmp_path)), window_s=2, overlap_s=1)
    rng = np.random.default_rng(0)
    quiet, stem = (2e-2 * rng.standard_normal(32000)).astype(np.float32), encoder.taps[0]

    def frames(samples):
        with torch.inference_mode():
            return encoder.run(encoder._inputs([samples]), [stem])[stem.name][0].numpy()

    missed, still = [], frames(quiet)
    for at in np.arange(0.2, 1.8, 0.037):
        click = quiet.copy()
        click[round(at * 16000) - 8 : round(at * 16000) + 8] += 0.1 * rng.standard_normal(16).astype(np.float32)
        moved = np.abs(frames(click) - still).sum(1)
        moved -= np.median(moved)  # where processors scale a sound by its spread, all of it changes a little
        near = np.where(moved > 0.3 * moved.max(), moved, 0)
        missed.append(near @ encoder.times(len(near), 32000) / near.sum() - at)
    assert abs(np.mean(missed)) < 0.004 and abs(np.mean(missed[:14]) - np.mean(missed[-14:])) < 0.01


def test_a_network_of_spectra_as_pictures_has_no_moments(tmp_path):
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    small = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
    ASTModel(ASTConfig(**small)).save_pretrained(tmp_path)
    ASTFeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="ASTModel gives 1214 values of a sound of 1 s and 1214 of one of 2 s"):
        make("audio", model=str(tmp_path))


def test_a_piece_between_two_frames_has_the_nearest(whisper):
    encoder = make("audio", model=str(whisper), window_s=2, overlap_s=1)
    sound = noise(3)
    found = features(encoder, pieces(sound, [(0.052, 0.053), (1.0, 1.5), (2.9995, 2.9999)]))["stem"]
    first = states_of(encoder, sound.samples[:32000])[0]
    np.testing.assert_allclose(found[0], first[3], atol=1e-5)
    assert np.isfinite(found).all()


def test_sounds_of_other_rates_are_resampled_alike_in_every_window(whisper):
    sfreq = 11025
    t = np.arange(4 * sfreq) / sfreq
    slow = Recording.of((0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), sfreq, "tone")
    fast = 0.3 * np.sin(2 * np.pi * 440 * np.arange(4 * 16000) / 16000)
    for start, n in ((0, 32000), (1, 32000), (2, 16000)):
        inside = slice(200, n - 200)
        np.testing.assert_allclose(slow.stretch(start, n, 16000)[inside], fast[start * 16000 :][:n][inside], atol=2e-3)
    encoder = make("audio", model=str(whisper), window_s=2, overlap_s=1)
    (said,) = encoder.remarks(Stimuli.of_sounds([slow, noise(2)]))
    assert "1 of 2 sounds have fewer samples a second than the 16000 it listens at (tone: 11025)" in said


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 127), (np.int16, 2**15), (np.int32, 2**31), (np.float32, 1)])
def test_samples_of_every_kind_of_file_lie_in_minus_one_to_one(dtype, largest, tmp_path):
    from scipy.io import wavfile

    from brainbench.data.sound.recording import open_wav

    tone = 0.5 * np.sin(np.arange(8000) / 10)
    values = np.stack([tone, tone], axis=1) * largest + (128 if dtype == np.uint8 else 0)
    wavfile.write(tmp_path / "a.wav", 8000, values.astype(dtype))
    np.testing.assert_allclose(open_wav(tmp_path / "a.wav").read(100, 200), tone[100:200], atol=0.015)


def test_integers_saved_as_floats_are_refused(tmp_path):
    from scipy.io import wavfile

    from brainbench.data.sound.recording import open_wav

    wavfile.write(tmp_path / "a.wav", 8000, np.linspace(-9000, 9000, 800).astype(np.float32))
    with pytest.raises(UserError, match=r"a.wav: float samples of up to 9000; -1 to 1"):
        open_wav(tmp_path / "a.wav")


# Words -------------------------------------------------------------------------------------------------------------


def test_words_are_heard_where_they_are_spoken(whisper):
    sound = noise(6)
    cuts = [(0.3 * k, 0.3 * k + 0.25) for k in range(len(WORDS))]
    heard = pieces(sound, cuts)
    words = replace(stimuli_of(WORDS, "word"), onset=heard.onset, heard=heard.heard)
    encoder = make("audio", model=str(whisper), window_s=2, overlap_s=1)
    np.testing.assert_array_equal(features(encoder, words)["layers.2"], features(encoder, heard)["layers.2"])


@pytest.mark.parametrize("family", ["audio", "log_mel", "envelope"])
def test_words_without_a_sound_are_refused(family, whisper):
    encoder = make(family, **({"model": str(whisper), "window_s": 2, "overlap_s": 0} if family == "audio" else {}))
    with pytest.raises(UserError, match="listens, and the words of this data set have no sound"):
        features(encoder, stimuli_of(WORDS, "word"))


def test_pieces_outside_of_their_sound_and_sounds_too_short_are_named(whisper):
    encoder = make("audio", model=str(whisper), window_s=2, overlap_s=0)
    with pytest.raises(UserError, match=r"stimulus 'p1' is at 2.000 to 9.000 s of noise-0, which lasts 3.000 s"):
        features(encoder, pieces(noise(3), [(0, 1), (2, 9)]))
    with pytest.raises(UserError, match=r"'p0' is at 1.000 to 1.000 s of noise-0: it lasts no time \(and 1 more\)"):
        features(encoder, pieces(noise(3), [(1, 1), (2, 9)]))
    with pytest.raises(UserError, match="noise-0 lasts 50 ms, and the shortest sound it can hear 100 ms"):
        features(encoder, Stimuli.of_sounds([noise(0.05)]))


def test_settings_that_cannot_be(whisper, tmp_path):
    with pytest.raises(UserError, match=r"window_s: 30: .* reads 2 s at once"):
        make("audio", model=str(whisper))
    with pytest.raises(ValueError, match="`overlap_s: 2` is more than half of `window_s: 3`"):
        make("audio", model=str(whisper), window_s=3, overlap_s=2)
    with pytest.raises(UserError, match=r"preprocessing of the model .* could not be loaded"):
        make("audio", model=str(tmp_path))


# Baselines ---------------------------------------------------------------------------------------------------------


def test_log_mel_is_that_of_transformers():
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    sound = noise(3)
    found = features(make("log_mel", n_mels=20), pieces(sound, [(0.5, 2.5), (0, 3)]))["mel"]
    filters = mel_filter_bank(201, 20, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney")
    theirs = spectrogram(
        sound.samples, window_function(400, "hann"), 400, 160, fft_length=400, power=2.0, center=False,
        mel_filters=filters, log_mel="log10",
    )  # fmt: skip
    at = (np.arange(theirs.shape[1]) * 160 + 200) / 16000
    np.testing.assert_allclose(found[0], theirs[:, (at >= 0.5) & (at < 2.5)].mean(1), atol=1e-4)
    np.testing.assert_allclose(found[1], theirs.mean(1), atol=1e-4)


def test_envelope_is_loudness_and_its_rise():
    t = np.arange(2 * 16000) / 16000
    tone = np.where(t < 1, 0.1, 0.4) * np.sin(2 * np.pi * 400 * t)
    found = features(make("envelope"), pieces(Recording.of(tone, 16000), [(0, 0.9), (0.9, 1.1), (1.1, 2)]))["envelope"]
    np.testing.assert_allclose(found[[0, 2], 0], np.array([0.1, 0.4]) / np.sqrt(2), rtol=0.01)
    assert found[1, 1] > 0.01 > found[[0, 2], 1].max()


# Tables ------------------------------------------------------------------------------------------------------------


def write_table(folder, rows, name="stimuli.csv"):
    (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / name


def save(folder, name, seconds):
    from scipy.io import wavfile

    wavfile.write(folder / name, 16000, noise(seconds).samples)


def test_tables_of_sounds_and_of_words_with_sound(tmp_path):
    from brainbench.data.stimulus_files import read_stimuli

    save(tmp_path, "a.wav", 3)
    save(tmp_path, "b.wav", 1)
    table = read_stimuli(write_table(tmp_path, ["id,path,kind", "x,a.wav,low", "y,b.wav,high"]), "sound")
    assert list(table.stimuli.heard.end) == [3, 1] and table.stimuli.load(1).shape == (16000,)
    assert list(table.stimuli.labels) == ["kind"] and {file.name for file in table.files} >= {"a.wav", "b.wav"}
    rows = ["id,text,onset,duration,sound,start", "1,the,10,0.3,a.wav,0.5", "2,fox,10.5,0.4,a.wav,1.0"]
    words = read_stimuli(write_table(tmp_path, rows), "word", continuous=True).stimuli
    assert words.load(1) == "fox" and list(words.onset) == [10, 10.5]
    np.testing.assert_allclose([words.heard.start, words.heard.end], [[0.5, 1.0], [0.8, 1.4]])
    before = words.digest()
    save(tmp_path, "a.wav", 2.5)
    assert read_stimuli(tmp_path / "stimuli.csv", "word", continuous=True).stimuli.digest() != before


def test_what_is_wrong_with_a_table_of_sounds_is_said_at_once(tmp_path):
    from brainbench.data.stimulus_files import read_stimuli

    save(tmp_path, "a.wav", 1)
    (tmp_path / "bad.wav").write_bytes(b"RIFF....")
    (tmp_path / "c.mp3").write_bytes(b"ID3")
    rows = ["id,path,start,duration", "x,a.wav,0.5,3", "y,a.wav,0,0.5"]
    with pytest.raises(UserError, match=r"'x' is at 0.500 to 3.500 s of a.wav, which lasts 1.000 s"):
        read_stimuli(write_table(tmp_path, rows), "sound")
    with pytest.raises(UserError) as found:
        read_stimuli(write_table(tmp_path, ["id,path", "x,bad.wav", "y,c.mp3", "z,d.wav"]), "sound")
    for one in ("bad.wav: cannot be read as WAV", "c.mp3: sounds are .wav files", "d.wav"):
        assert one in str(found.value)
    with pytest.raises(UserError, match="no column 'duration'"):
        read_stimuli(write_table(tmp_path, ["id,text,onset,sound", "1,the,0,a.wav"]), "word", continuous=True)
