"""What the lens costs beside a bare forward pass, and a run under an edit beside a whole one; CPU seconds, ratios.

    python benchmarks/lens.py [--images 200] [--model vit_small_patch16_224]

Diagnostics that need neither labels nor gradients are to cost at most 1.6 bare passes together; skipping each of L
blocks at most 0.6 of L whole passes.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import sklearn.cluster  # noqa: F401 (imported before anything is timed: `units` would pay for it)
import torch

from brainbench.data.base import Stimuli
from brainbench.encoders import open_encoder
from brainbench.lens.edits import skip
from brainbench.lens.measure import measured
from brainbench.lens.running import edited
from brainbench.recipes.lens import DIAGNOSTICS


def seconds(work):
    """CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main():
    """Print a line a diagnostic, all together, and skips of all blocks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--model", default="vit_small_patch16_224")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng, n = np.random.default_rng(0), options.images
    images = Stimuli.of([rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(n)])
    encoder = open_encoder({"name": "vit", "family": "image", "model": options.model, "weights": "random"}, seed=0)
    last = encoder.taps[-1].name
    bare = min(seconds(lambda: list(encoder.encode(images, [last], "mean"))) for _ in range(2))
    print(f"{options.model}, {n} images, one thread: bare pass {bare:.1f} CPU s")
    shown = [(images, range(n))]
    for names in ([name] for name in DIAGNOSTICS):
        took = seconds(lambda names=names: measured(encoder, shown, [DIAGNOSTICS[name] for name in names]))
        print(f"  {names[0]:<10} {took / bare:.2f}")
    together = seconds(lambda: measured(encoder, shown, [DIAGNOSTICS[name] for name in DIAGNOSTICS])) / bare
    print(f"  all        {together:.2f}  ({'holds' if together <= 1.6 else 'FAILS'}: 1.6)")
    few, n_blocks = range(min(n, 32)), len(encoder.taps) - 1
    part = seconds(
        lambda: [encoder.inputs(images, few), list(encoder.encode(images.take(np.array(few)), [last], "mean"))]
    )
    skips = [skip(block) for block in range(n_blocks)]
    edited(encoder, images, [0], skips, last, "mean")  # whether runs may begin in the middle is tried once a network
    took = seconds(lambda: edited(encoder, images, few, skips, last, "mean")) / (n_blocks * part)
    print(f"  {n_blocks} skips   {took:.2f} of {n_blocks} whole passes ({'holds' if took <= 0.6 else 'FAILS'}: 0.6)")


if __name__ == "__main__":
    main()
