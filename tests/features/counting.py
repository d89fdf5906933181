"""An encoder that writes down every stimulus it reads, and how to run a store in a process of its own."""

import hashlib
import sys
import time
from pathlib import Path

import numpy as np

from brainbench.data.base import Stimuli
from brainbench.encoders.base import Encoder, Layer
from brainbench.features import growing
from brainbench.features.store import FeatureStore


def make_stimuli(n=6, change=""):
    texts = [f"text {i}{change}" for i in range(n)]
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    return Stimuli(
        ids=[f"s{i}" for i in range(n)], modality="text", load=texts.__getitem__, content_digests=digests, source="test"
    )


class Counting(Encoder):
    """Layer ``k`` of stimulus ``i`` is ``1000 * k + i`` in every column, plus the setting."""

    modalities = ("text",)

    def __init__(self, log=None, setting=0.0, width=3, batch=4, wait=0.0, name="counting"):
        self.name = name
        self.setting, self.width, self.batch, self.wait = setting, width, batch, wait
        self.log = log
        self.passes = []

    def layers(self):
        return [Layer("one", 0.0, self.width), Layer("two", 1.0, self.width)]

    def parameters(self):
        return {"setting": self.setting, "width": self.width}

    def encode(self, stimuli, layers, pool):
        self.passes.append(list(layers))
        if self.log is not None:
            with open(self.log, "a") as handle:
                handle.write("pass\n")
        for start in range(0, len(stimuli), self.batch):
            time.sleep(self.wait)
            rows = np.arange(start, min(start + self.batch, len(stimuli)))
            yield {layer: self.values(layer, rows) for layer in layers}

    def values(self, layer, rows):
        level = {"one": 0, "two": 1000}[layer] + self.setting
        return np.repeat((level + rows)[:, None], self.width, axis=1).astype(np.float32)


def main(root, log, wait):
    growing.EVERY_S = 0.0
    encoder = Counting(log, wait=float(wait))
    found = FeatureStore(root).features(encoder, make_stimuli(40), ["one", "two"], "mean")
    for layer in ("one", "two"):
        np.testing.assert_array_equal(found[layer], encoder.values(layer, np.arange(40)))
    print("right", flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]), sys.argv[3])
