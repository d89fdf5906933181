"""Own images: a folder with pictures and responses, from files to the layer that explains them best."""

# %% Files: a table of stimuli, and per participant a table of rows and an array of responses.
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import brainbench as bb

root, rng = Path("my-images"), np.random.default_rng(0)
(root / "images").mkdir(parents=True, exist_ok=True)
names = [f"image{index:02d}" for index in range(24)]
pixels = rng.integers(0, 256, (24, 4, 4, 3), dtype=np.uint8)
for name, image in zip(names, pixels, strict=True):
    Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR).save(root / "images" / f"{name}.png")
pd.DataFrame({"id": names, "path": [f"images/{name}.png" for name in names]}).to_csv(root / "stimuli.csv", index=False)
light = pixels.mean(axis=-1).reshape(24, -1) / 64
for subject in ("sub-01", "sub-02"):
    (root / subject).mkdir(exist_ok=True)
    shown = [(index, f"run-{run}") for run in (1, 2) for index in rng.permutation(24)]
    table = pd.DataFrame({"stimulus": [names[index] for index, _ in shown], "run": [run for _, run in shown]})
    table.to_csv(root / subject / "design.csv", index=False)
    signal = light[[index for index, _ in shown]] @ rng.normal(size=(16, 8))
    np.save(root / subject / "responses.npy", (signal + rng.normal(size=signal.shape)).astype("float32"))

# %% A recipe as a dictionary; `brainbench new encode --dataset folder` writes it with every setting.
recipe = {
    "kind": "encode",
    "title": "Which part of a picture do made responses follow?",
    "dataset": {"name": "folder", "root": str(root), "simulated": True},
    "encoders": [
        {"name": "pixels", "family": "pixels", "role": "model", "image_size": 4},
        {"name": "coarse", "family": "pixels", "image_size": 2},
    ],
    "significance": {"n_permutations": 19},
    "bootstrap": {"n_draws": 20},
}
run = bb.run(recipe, out="runs/own-images")
print(run)

# %% Numbers and figures.
print(run.scores.query("metric == 'pearson_r' and fold == 'all'")[["subject", "encoder", "roi", "value", "ceiling"]])
figure = run.plot("participants")
