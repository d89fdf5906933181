"""All layers into the feature store, against a bare forward pass of the same network on the same batches.

The bare pass gets batches that are already tensors, so the ratio holds everything extraction adds: hooks, pooling,
normalisation, copies, hashing and the disk. Weights are random where a model's are not installed; time does not
depend on them.

    python benchmarks/extraction.py [--quick]
    python benchmarks/extraction.py --families     # ViT-B, CLIP, Whisper base, SmolLM2-135M, BrainOmni tiny, in full
    python benchmarks/extraction.py --memory       # peaks of a long run and of a tenth of it, each in its own process

`--families` counts CPU seconds, which hold on a machine that others use too; the bare pass gets the very inputs that
extraction gave the network.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Targets, alternate, peak_mb, ratio

from brainbench.core.digests import digest, digest_array
from brainbench.data.base import Stimuli
from brainbench.data.sound.recording import Heard, Recording
from brainbench.encoders.base import open_encoder
from brainbench.features.store import FeatureStore
from brainbench.networks.zoo.brainomni import TINY, BrainOmni
from brainbench.networks.zoo.official import as_official
from brainbench.recipes.encoders import encoder_settings
from brainbench.recordings.whole.sensors import Layout

BATCH = 32
LIMIT = 1.15
MORE_MIB = 300


def photographs(n: int, size: int) -> Stimuli:
    """Return `n` random images of `size` pixels a side; content does not change the time."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    return Stimuli(
        ids=[f"image-{i}" for i in range(n)],
        modality="image",
        load=images.__getitem__,
        content_digests=[digest_array(image) for image in images],
    )


def compare(model: str, pool: str, n: int, size: int, repeats: int) -> float:
    """Print one line, and return the ratio."""
    weights = "installed" if model == "tf_efficientnet_lite0" else "random"
    settings = encoder_settings(
        {"name": "x", "family": "image", "model": model, "weights": weights, "image_size": size, "pool": pool}
    )
    encoder = open_encoder(settings, batch_size=BATCH, device="cpu")
    stimuli = photographs(n, size)
    layers = [layer.name for layer in encoder.layers()]
    batches = [
        encoder.prepare([stimuli.load(i) for i in range(start, min(start + BATCH, n))]) for start in range(0, n, BATCH)
    ]
    folder = Path(tempfile.mkdtemp())

    def bare() -> None:
        with torch.inference_mode():
            for batch in batches:
                encoder.network(batch)

    def store() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        FeatureStore(folder).features(encoder, stimuli, layers, pool)

    seconds = alternate({"bare": bare, "store": store}, repeats)
    shutil.rmtree(folder, ignore_errors=True)
    found = ratio(seconds, "store", "bare")
    bare_s, store_s = (statistics.median(seconds[name]) for name in ("bare", "store"))
    print(
        f"{model:28} {pool:5} {len(layers):3} layers  bare {bare_s:6.2f} s  store {store_s:6.2f} s  ratio {found:5.3f}"
    )
    return found


# Families -------------------------------------------------------------------------------------------------------------


def pictures(n: int) -> Stimuli:
    """Return `n` pictures of which few are held in memory: the encoder's memory is what is measured."""
    kept = np.random.default_rng(0).integers(0, 256, (BATCH, 224, 224, 3), dtype=np.uint8)
    return Stimuli([f"{i}" for i in range(n)], "image", lambda i: kept[i % BATCH], [f"{i}" for i in range(n)])


def captioned(n: int) -> Stimuli:
    """Return pictures with captions of about ten words."""
    rng = np.random.default_rng(3)
    return replace(pictures(n), captions=[(" ".join(rng.choice(WORDS, 10)),) for _ in range(n)])


def story(n: int) -> Stimuli:
    """Return `n` words as a story."""
    words = [WORDS[i] for i in np.random.default_rng(1).integers(0, len(WORDS), n)]
    return Stimuli([f"{i}" for i in range(n)], "word", words.__getitem__, [digest(word) for word in words])


def speech(seconds: int) -> Stimuli:
    """Return noise in pieces of a third of a second."""
    noise = np.random.default_rng(2).standard_normal(seconds * 16_000).astype(np.float32) / 10
    starts = np.arange(0, seconds - 1, 1 / 3)
    heard = Heard([Recording.of(noise, 16_000)], np.zeros(len(starts), int), starts, starts + 0.3)
    return Stimuli([f"{i}" for i in range(len(starts))], "sound", heard.piece, [f"{i}" for i in starts], heard=heard)


def segments(n: int, n_channels: int = 32) -> Stimuli:
    """Return `n` segments of two seconds of noise at 256 Hz, of electrodes of a cap of 32."""
    import mne

    montage = mne.channels.make_standard_montage("biosemi32")
    info = mne.create_info(montage.ch_names[:n_channels], 256.0, "eeg").set_montage(montage)
    kept = np.random.default_rng(4).standard_normal((BATCH, n_channels, 512)).astype(np.float32)
    names = [f"{i}" for i in range(n)]
    return Stimuli(names, "array", lambda i: kept[i % BATCH], names, sfreq=256.0, layout=Layout(info, "benchmark"))


WORDS = ("the", "cat", "sat", "on", "a", "very", "long", "mat", "that", "goes", "and", "without", "end", "in", "sight")
FAMILIES: dict[str, tuple[dict[str, object], Callable[[int], Stimuli], int, int]] = {
    "vit": ({"family": "image"}, pictures, 32, 10_000),
    "clip": ({"family": "image"}, pictures, 32, 10_000),
    "clip_joint": ({"family": "vision_language"}, captioned, 32, 10_000),
    "whisper": ({"family": "audio"}, speech, 90, 1_800),
    "smollm2": ({"family": "text", "context": "stream"}, story, 2_000, 5_000),
    "brainomni": ({"family": "sensor", "published": "tiny"}, segments, 32, 2_000),
}
"""Settings, stimuli of a size, the size that is timed, that of `--memory` (10,000 images, half an hour of speech)."""
LIMITS = {"brainomni": 1.1}
"""Of the ratio, where it is not `LIMIT`."""
SLIM = {"brainomni": lambda n: segments(n, 4)}
"""Stimuli of `--memory` that cost less, where the network itself is whole."""


def family(kind: str, folder: Path, slim: bool = False) -> Any:
    """Return an encoder of a network in its real shape, with random weights.

    A `slim` one is as wide and deep, and sees pictures of two patches through narrow MLPs: 10,000 in their real size
    take an hour, and what a long run keeps is the same. BrainOmni is whole, of fewer electrodes: it is
    read from random tensors in the official layout.
    """
    if kind == "brainomni":
        torch.manual_seed(0)
        untrained = BrainOmni(TINY)
        for level in untrained.tokenizer.quantizer.rvq.layers:
            level.codebook.embed.normal_()
        torch.save(as_official(untrained), folder / "tiny.pt")
        settings = {"name": kind, "network": str(folder / "tiny.pt"), **FAMILIES[kind][0]}
        return open_encoder(settings, device="cpu", batch_size=BATCH)
    import transformers
    from architectures import tokenizer

    config: Any = {
        "vit": transformers.ViTConfig, "clip": transformers.CLIPConfig,
        "clip_joint": transformers.CLIPConfig, "whisper": transformers.WhisperConfig,
        "smollm2": transformers.LlamaConfig,
    }[kind]()  # fmt: skip
    if kind == "whisper":
        config.update({"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048})
        config.update({"decoder_layers": 1, "decoder_ffn_dim": 64, "decoder_attention_heads": 8, "vocab_size": 60_000})
        transformers.WhisperFeatureExtractor().save_pretrained(folder)
    elif kind == "smollm2":
        config.update(
            {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "intermediate_size": 1536}
        )
        config.update({"num_key_value_heads": 3, "head_dim": 64, "vocab_size": 49_152, "max_position_embeddings": 8192})
        made = tokenizer()
        made.model_max_length = 8192
        made.save_pretrained(folder)
    else:
        size = 32 if slim else 224
        for part in (config, getattr(config, "vision_config", None)):
            if hasattr(part, "image_size"):
                part.image_size = size
        transformers.ViTImageProcessor(size={"height": size, "width": size}).save_pretrained(folder)
        if kind == "clip_joint":
            tokenizer().save_pretrained(folder)
    for part in (config, getattr(config, "vision_config", None), getattr(config, "text_config", None)) if slim else ():
        for name in ("intermediate_size", "encoder_ffn_dim"):
            if hasattr(part, name):
                setattr(part, name, 64)
    config.save_pretrained(folder)
    settings = {"name": kind, "model": str(folder), "weights": "random", **FAMILIES[kind][0]}
    return open_encoder(settings, device="cpu", batch_size=BATCH)


def compare_family(kind: str, repeats: int) -> float:
    """Print one line, and return the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = family(kind, Path(folder))
        stimuli = FAMILIES[kind][1](FAMILIES[kind][2])
        layers = [layer.name for layer in encoder.layers()]
        given: list[tuple[Any, Any]] = []
        hook = encoder.network.register_forward_pre_hook(
            lambda _m, args, kwargs: given.append((args, kwargs)), with_kwargs=True
        )
        encoder.features(stimuli)
        hook.remove()

        def bare() -> None:
            with torch.inference_mode():
                for args, kwargs in given:
                    encoder.network(*args, **kwargs)

        def store() -> None:
            shutil.rmtree(Path(folder) / "store", ignore_errors=True)
            FeatureStore(Path(folder) / "store").features(encoder, stimuli, layers, "mean")

        seconds = alternate({"bare": bare, "store": store}, repeats, time.process_time)
    found = ratio(seconds, "store", "bare")
    bare_s, store_s = (statistics.median(seconds[name]) for name in ("bare", "store"))
    print(
        f"{kind:10} {len(layers):3} layers  bare {bare_s:6.2f}  store {store_s:6.2f} CPU s  ratio {found:5.3f}",
        flush=True,
    )
    return found


def peak_of(kind: str, size: int) -> None:
    """Extract once and print the peak of this process."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = family(kind, Path(folder), slim=True)
        layers = [layer.name for layer in encoder.layers()]
        FeatureStore(Path(folder) / "store").features(encoder, SLIM.get(kind, FAMILIES[kind][1])(size), layers, "mean")
    print(peak_mb())


def compare_memory(kind: str, whole: int) -> float:
    """Print one line, and return how much higher the peak of the whole is than that of a tenth, in MiB."""
    peaks = []
    for size in (whole // 10, whole):
        command = [sys.executable, __file__, "--peak", kind, str(size)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        peaks.append(float(said.split()[-1]) / 1.048576)
    small, large = (f"{size:6} peak {peak:6.0f} MiB" for size, peak in zip((whole // 10, whole), peaks, strict=True))
    print(f"{kind:10} {small}  {large}  more {peaks[1] - peaks[0]:5.0f}", flush=True)
    return peaks[1] - peaks[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds")
    parser.add_argument("--families", action="store_true", help="networks of transformers, in their real shapes")
    parser.add_argument("--memory", action="store_true", help="peaks of a long run and of a tenth of it")
    parser.add_argument("--only", choices=list(FAMILIES), nargs="*", default=list(FAMILIES))
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        peak_of(options.peak[0], int(options.peak[1]))
        return
    targets, what = Targets(), "all layers into the store over a bare pass, the worst"
    if options.families or options.memory:
        ratios = {kind: compare_family(kind, 3) for kind in options.only} if options.families else {}
        most = max(compare_memory(kind, FAMILIES[kind][3]) for kind in options.only) if options.memory else 0.0
        for limit in sorted({LIMITS.get(kind, LIMIT) for kind in ratios}):
            worst = max(value for kind, value in ratios.items() if LIMITS.get(kind, LIMIT) == limit)
            targets.at_most(what, worst, limit, ", ".join(k for k in ratios if LIMITS.get(k, LIMIT) == limit))
        if options.memory:
            targets.at_most("peak of a run over that of a tenth, MiB more", most, MORE_MIB)
        targets.leave()
    n, repeats = (64, 3) if options.quick else (256, 5)
    print(f"{n} images, batch {BATCH}, {torch.get_num_threads()} threads, medians of {repeats} alternating rounds")
    cases = [("tf_efficientnet_lite0", "mean", 224), ("resnet18", "mean", 224)]
    cases += [("vit_tiny_patch16_224", pool, 224) for pool in ("mean", "cls")]
    worst = max(compare(model, pool, n, size, repeats) for model, pool, size in cases)
    targets.at_most(what, worst, LIMIT, f"peak memory {peak_mb():.0f} MB")
    targets.leave()


if __name__ == "__main__":
    main()
