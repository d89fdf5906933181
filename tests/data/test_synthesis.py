"""Synthetic speech for stories without their sound, by a stand-in for espeak-ng."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.data.sound.synthesis import SFREQ, spoken, stretched
from brainbench.recipes.datasets import DATASETS, dataset_settings
from brainbench.studies.facts import said
from tests.sweeps.made_folders import write_alice

PROGRAM = """#!{python} -SE
import array, math, sys, wave
if "--version" in sys.argv:
    print("eSpeak NG text-to-speech: 1.51  Data at: here")
    raise SystemExit
word = open(sys.argv[sys.argv.index("-f") + 1], encoding="utf-8").read()
if word == "fails":
    sys.exit("no voice")
loud = 0 if word == "mute" else 20000
tone = [int(loud * math.sin(2 * math.pi * 200 * len(word) * k / 22050)) for k in range(2205 * len(word))]
with wave.open(sys.argv[sys.argv.index("-w") + 1], "wb") as out:
    out.setparams((1, 2, 22050, 0, "NONE", ""))
    out.writeframes(array.array("h", [0] * 2000 + tone + [0] * 2000).tobytes())
with open({log!r}, "a") as log:
    log.write(word + "\\n")
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    path = folder / "espeak-ng"
    path.write_text(PROGRAM.format(python=sys.executable, log=str(tmp_path / "log")))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "log"


def pitch(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.fft.rfftfreq(len(samples), 1 / SFREQ)[spectrum.argmax()]


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_a_stretched_sound_keeps_its_pitch_and_fills_its_time(factor):
    tone = np.sin(2 * np.pi * 440 * np.arange(SFREQ // 2) / SFREQ).astype(np.float32)
    n = int(factor * len(tone))
    found = stretched(tone, n)
    assert found.shape == (n,) and found.dtype == np.float32 and abs(pitch(found) - 440) < 12
    parts = np.array_split(found, 10)
    assert min(np.abs(part).max() for part in parts[1:-1]) > 0.25  # loud all the time


def test_words_are_spoken_at_their_onsets_for_their_durations(program, tmp_path):
    words, onset = ["ab", "abc", "ab"], np.array([0.5, 2.0, 4.0])
    duration = np.array([0.6, 0.3, 1.0])
    recording = spoken(words, onset, duration, tmp_path / "cache")
    assert recording.name == "words spoken by espeak-ng 1.51"
    for word, start, length in zip(words, onset, duration, strict=True):
        inside = recording.read(round(start * SFREQ), round((start + length) * SFREQ))
        assert abs(pitch(inside) - 200 * len(word)) < 15 and np.abs(inside).mean() > 0.1
    for start, end in ((0.0, 0.5), (1.2, 2.0), (2.4, 4.0)):
        assert np.abs(recording.read(round(start * SFREQ), round(end * SFREQ))).max() < 1e-6
    assert program.read_text().split() == ["ab", "abc"]  # each word once, and never again with the cache
    again = spoken(words, onset, duration, tmp_path / "cache")
    assert program.read_text().split() == ["ab", "abc"] and again.digest == recording.digest
    assert spoken(words, onset + 1, duration, None).digest != recording.digest


@pytest.mark.parametrize(("word", "message"), [("mute", "'mute': it says nothing"), ("fails", "exit 1: no voice")])
def test_a_word_that_is_not_spoken_is_named(word, message, program):
    with pytest.raises(UserError, match=message):
        spoken([word], np.zeros(1), np.ones(1), None)


def test_without_the_program_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="espeak-ng is not installed"):
        spoken(["a"], np.zeros(1), np.ones(1), None)


@pytest.mark.parametrize("made", ["", "words were spoken by a program"])
def test_nothing_is_claimed_of_stimuli_that_were_made(made):
    study = SimpleNamespace(
        opened=SimpleNamespace(dataset=SimpleNamespace(made=made)),
        answer=lambda outcome: ["an answer"], claims=lambda outcome: ["a claim"],
    )  # fmt: skip
    found = said(study, None)
    assert found == ({"answer": [], "claims": []} if made else {"answer": ["an answer"], "claims": ["a claim"]})


def alice(root, **settings):
    given = dataset_settings({"name": "alice", **settings})
    return DATASETS.builder("alice").open(given, root, Context())


def test_alice_hears_words_and_says_that_they_were_made(program, tmp_path):
    write_alice(tmp_path / "alice")
    dataset = alice(tmp_path / "alice", sound="espeak-ng")
    check_dataset(dataset)
    stimuli = dataset.stimuli("s1")
    assert "spoken by espeak-ng" in dataset.made and stimuli.heard is not None
    assert len(stimuli.heard.piece(0)) == 2 * SFREQ and alice(tmp_path / "alice").stimuli("s1").heard is None
    recording = stimuli.heard.recordings[0]
    from scipy.io import wavfile

    wavfile.write(tmp_path / "alice" / "story.wav", SFREQ, np.asarray(recording.samples))
    own = alice(tmp_path / "alice", sound="story.wav")
    assert own.made == "" and tmp_path / "alice" / "story.wav" in own.files()
    np.testing.assert_allclose(own.stimuli("s1").heard.piece(2), stimuli.heard.piece(2))
    wavfile.write(tmp_path / "alice" / "story.wav", SFREQ, np.asarray(recording.samples)[: 30 * SFREQ])
    with pytest.raises(UserError, match=r"which lasts 30\.000 s"):
        alice(tmp_path / "alice", sound="story.wav").stimuli("s1")
