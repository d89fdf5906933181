"""All layers into the feature store, against a bare forward pass of the same network on the same batches.

The bare pass gets batches that are already tensors, so the ratio holds everything extraction adds: hooks, pooling,
normalisation, copies, hashing and the disk. Weights are random where a model's are not installed; time does not
depend on them.

    python benchmarks/extraction.py [--quick]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import alternate, peak_mb, ratio

from brainbench.core.digests import digest_array
from brainbench.data.base import Stimuli
from brainbench.encoders.base import open_encoder
from brainbench.features.store import FeatureStore
from brainbench.recipes.encoders import encoder_settings

BATCH = 32
LIMIT = 1.15


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds")
    options = parser.parse_args()
    n, repeats = (64, 3) if options.quick else (256, 5)
    print(f"{n} images, batch {BATCH}, {torch.get_num_threads()} threads, medians of {repeats} alternating rounds")
    cases = [("tf_efficientnet_lite0", "mean", 224), ("resnet18", "mean", 224)]
    cases += [("vit_tiny_patch16_224", pool, 224) for pool in ("mean", "cls")]
    worst = max(compare(model, pool, n, size, repeats) for model, pool, size in cases)
    print(f"worst ratio {worst:.3f} (limit {LIMIT}); peak memory {peak_mb():.0f} MB")


if __name__ == "__main__":
    main()
