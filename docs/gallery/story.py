"""A story: words with their times, and a region's time course while it was heard."""

# %% A table of words with onsets, and a time course that follows how many words are heard.
from pathlib import Path

import numpy as np
import pandas as pd

import brainbench as bb

root, rng = Path("my-story"), np.random.default_rng(1)
(root / "sub-01").mkdir(parents=True, exist_ok=True)
onset = np.cumsum(rng.uniform(0.2, 1.2, 500))
words = rng.choice(["the", "rabbit", "ran", "down", "a", "hole", "and", "Alice", "fell"], 500)
pd.DataFrame({"id": [f"w{index}" for index in range(500)], "text": words, "onset": onset.round(3)}).to_csv(
    root / "stimuli.csv", index=False
)
n_volumes = int(onset[-1] / 2) + 3
heard, _ = np.histogram(onset, bins=np.arange(n_volumes + 1) * 2.0)
slow = np.convolve(heard, [0, 0, 0.3, 0.5, 0.2], mode="full")[:n_volumes]
np.save(root / "sub-01" / "responses.npy", (slow[:, None] + rng.normal(size=(n_volumes, 3))).astype("float32"))

# %% Words become volumes: summed in each of them and convolved with a haemodynamic response.
recipe = {
    "kind": "encode",
    "title": "Does a made region follow the rate of words?",
    "dataset": {
        "name": "folder", "root": str(root), "modality": "word", "continuous": True, "design": None, "t_r": 2.0,
        "simulated": True,
    },
    "encoders": [
        {"name": "rate", "family": "word_rate", "role": "model"},
        {"name": "random", "family": "random", "width": 8},
    ],
    "folds": {"n_splits": 3, "trim_s": 10.0},
    "timing": {"high_pass_s": 100.0},
    "significance": {"n_permutations": 19},
    "bootstrap": {"n_draws": 0},
}  # fmt: skip
run = bb.run(recipe, out="runs/story")
print(run)
