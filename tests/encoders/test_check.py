"""Every registered family keeps the contract; the contract's own test finds what does not."""

from dataclasses import replace

import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders import open_encoder
from brainbench.encoders.base import Encoder, Layer
from brainbench.encoders.check import check_encoder
from brainbench.recipes.encoders import ENCODERS, encoder_settings
from tests.encoders.tiny import SENTENCES, WORDS, images, make, noise, pieces, stimuli_of

ARRAYS = stimuli_of(list(np.random.default_rng(0).standard_normal((5, 10, 10)).astype(np.float32)), "array")

CASES = {
    "image-resnet": ("image", {"model": "resnet18", "weights": "random", "image_size": 32}, "image"),
    "image-vit": ("image", {"model": "vit_tiny_patch16_224", "weights": "random", "image_size": 32}, "image"),
    "image-installed": ("image", {"weights": "installed", "image_size": 64}, "image"),
    "image-shuffled": ("image", {"model": "resnet18", "weights": "random", "image_size": 32, "shuffle": True}, "image"),
    "gabor": ("gabor", {"image_size": 32, "wavelengths_px": [4.0, 8.0], "grid": 3}, "image"),
    "gabor-arrays": ("gabor", {"image_size": 10, "wavelengths_px": [4.0], "grid": 3}, "array"),
    "pixels": ("pixels", {"image_size": 8}, "image"),
    "pixels-arrays": ("pixels", {}, "array"),
    "pixels-shuffled": ("pixels", {"shuffle": True}, "array"),
    "random": ("random", {"width": 7}, "image"),
    "random-words": ("random", {"width": 7}, "word"),
    "one_hot": ("one_hot", {}, "image"),
    "one_hot-texts": ("one_hot", {}, "text"),
    "word_rate": ("word_rate", {}, "word"),
    "vectors": ("vectors", {"file": "VECTORS"}, "word"),
    "vectors-texts": ("vectors", {"file": "VECTORS"}, "text"),
    "text-gpt2-stream": ("text", {"model": "GPT2", "context": "stream", "tokens": "last"}, "word"),
    "audio": ("audio", {"model": "WHISPER", "window_s": 2, "overlap_s": 0}, "sound"),
    "audio-shuffled": ("audio", {"model": "WHISPER", "window_s": 2, "overlap_s": 1, "shuffle": True}, "sound"),
    "log_mel": ("log_mel", {"n_mels": 8}, "sound"),
    "envelope": ("envelope", {}, "sound"),
    "random-sounds": ("random", {"width": 7}, "sound"),
    "text-minilm": ("text", {"model": "minilm"}, "text"),
    "text-minilm-words": ("text", {"model": "minilm", "context": 4}, "word"),
    "text-untrained": ("text", {"model": "BERT", "weights": "random"}, "text"),
    "text-bert": ("text", {"model": "BERT"}, "text"),
    "text-bert-words": ("text", {"model": "BERT", "context": 3}, "word"),
    "text-gpt2": ("text", {"model": "GPT2"}, "text"),
    "text-gpt2-words": ("text", {"model": "GPT2", "context": 3}, "word"),
}


@pytest.mark.parametrize("case", CASES)
def test_encoder_keeps_the_contract(case, bert, gpt2, vectors, whisper):
    family, settings, modality = CASES[case]
    where = {"BERT": str(bert), "GPT2": str(gpt2), "VECTORS": str(vectors), "WHISPER": str(whisper)}
    settings = {name: where.get(value, value) if isinstance(value, str) else value for name, value in settings.items()}
    stimuli = {
        "sound": pieces(noise(5), [(0, 0.7), (0.7, 2.1), (2.3, 3.0), (4.2, 5.0)]), "image": images(),
        "array": ARRAYS, "text": stimuli_of(SENTENCES, "text"), "word": stimuli_of(WORDS, "word"),
    }[modality]  # fmt: skip
    check_encoder(lambda: make(family, **settings), stimuli)


def test_every_family_is_held_against_it():
    # What needs recordings, captions or clips: test_signals, test_sensors, test_vision_language, test_video.
    elsewhere = {"eeg", "band_power", "sensor", "vision_language", "video", "motion_energy"}
    assert {family for family, _, _ in CASES.values()} == set(ENCODERS) - {"recorded"} - elsewhere


def test_a_recorded_predictor_is_no_encoder():
    with pytest.raises(UserError, match="'mine': a recorded predictor comes with the responses"):
        make("recorded", feature="sound_power")


class Good(Encoder):
    name = "good"
    modalities = ("image",)
    pools = ("mean",)

    def layers(self):
        return [Layer("a", 0.0, 2), Layer("b", 1.0, 3)]

    def parameters(self):
        return {"x": 1}

    def encode(self, stimuli, layers, pool):
        self.check_modality(stimuli)
        widths = {"a": 2, "b": 3}
        for start in range(0, len(stimuli), 2):
            n = min(2, len(stimuli) - start)
            yield {layer: self.compute(n, widths[layer], start) for layer in layers}

    def compute(self, n, width, start):
        return np.full((n, width), start, dtype=np.float32)


def variant(**members):
    return type("Bad", (Good,), members)


def layers_of(*layers):
    return lambda self: list(layers)


def drifting(self, n, width, start):
    type(self).calls = getattr(type(self), "calls", 0) + 1
    return np.full((n, width), type(self).calls, dtype=np.float32)


def changing(self):
    return {"x": id(self)}


def generous(self, stimuli, layers, pool):
    yield from Good.encode(self, stimuli, ["a", "b"], pool)


def not_finite(self, n, width, start):
    return np.full((n, width), np.nan, dtype=np.float32)


def forgetful(self, stimuli, layers, pool):
    for batch in Good.encode(self, stimuli, layers, pool):
        self.encoded = True
        yield batch


BAD = {
    "two layers have one name": variant(layers=layers_of(Layer("a", 0, 2), Layer("a", 1, 2))),
    "not in order of depth": variant(layers=layers_of(Layer("a", 1, 2), Layer("b", 0, 3))),
    "depths lie in": variant(layers=layers_of(Layer("a", 0, 2), Layer("b", 2, 3))),
    "no layer": variant(layers=layers_of()),
    "width 3, announced 4": variant(layers=layers_of(Layer("a", 0, 2), Layer("b", 1, 4))),
    "float64": variant(compute=lambda self, n, width, start: np.zeros((n, width))),
    "not finite": variant(compute=not_finite),
    "shape": variant(compute=lambda self, n, width, start: np.zeros((n, width, 1), np.float32)),
    "another encoder of the same settings differs": variant(compute=drifting),
    "digest differs": variant(parameters=changing),
    "another one after encoding": variant(
        encode=forgetful, parameters=lambda self: {"x": getattr(self, "encoded", False)}
    ),
    "layers come that were not asked for": variant(encode=generous),
    "another modality": variant(check_modality=lambda self, stimuli: None),
    "a layer it does not have": variant(select=lambda self, patterns: self.layers()),
    "one pooling or more": variant(pools=()),
}


@pytest.mark.parametrize("message", BAD)
def test_the_check_finds(message):
    instances = []  # kept alive, so that ids differ

    def fresh():
        instances.append(BAD[message]())
        return instances[-1]

    with pytest.raises(AssertionError, match=message):
        check_encoder(fresh, images())


def test_the_check_passes_what_is_right():
    check_encoder(Good, images())
    assert encoder_settings({"name": "x", "family": "gabor"}).role == "control"


def test_a_shuffled_story_is_read_whole_and_its_features_are_dealt_out():
    words = "the cat sat on the mat and the dog sat too".split()
    story = replace(
        Stimuli.of(words), modality="word", onset=np.arange(len(words), dtype=float), duration=np.full(len(words), 0.2)
    )
    settings = {"name": "m", "family": "text", "model": "minilm", "layers": ["embeddings"]}
    true = open_encoder(settings).features(story, ["encoder.layer.2"])["encoder.layer.2"]
    dealt = open_encoder({**settings, "shuffle": True}).features(story, ["encoder.layer.2"])["encoder.layer.2"]
    place = [int(np.flatnonzero(np.abs(true - row).max(axis=1) < 1e-5)[0]) for row in dealt]
    assert all(words[at] != word for at, word in zip(place, words, strict=True))
    assert len({at for at, word in zip(place, words, strict=True) if word == "the"}) == 1
