"""EEG: a recording as a table, decoded run by run, and applied to a new one."""

# %% Two runs of time stamps, channels and markers; a rhythm over one side goes with the cue.
from pathlib import Path

import numpy as np
import pandas as pd

import brainbench as bb
from brainbench.commands.apply import apply_run

root, rng = Path("my-eeg"), np.random.default_rng(2)
root.mkdir(exist_ok=True)


def recording() -> pd.DataFrame:
    """Return 64 s of four channels at 100 Hz."""
    time = np.arange(6400) / 100
    rows = pd.DataFrame(rng.normal(0, 10, (6400, 4)), columns=["C3", "Cz", "C4", "Pz"]).assign(time=time, marker="")
    for count, start in enumerate(range(200, 6100, 300)):
        side = ("left", "right")[count % 2]
        rows.loc[start, "marker"] = side
        rhythm = 30 * np.sin(2 * np.pi * 11 * time[:200] + rng.uniform(0, 6))
        rows.loc[start : start + 199, "C4" if side == "right" else "C3"] += rhythm
    return rows


for number in (1, 2, 3):
    recording().to_csv(root / f"run{number}.csv", index=False)
(root / "recordings.csv").write_text("path,subject,run\nrun1.csv,s1,1\nrun2.csv,s1,2\n")

# %% Trials of a second and a half; runs are held out.
recipe = {
    "kind": "decode",
    "title": "Which side was cued in made recordings?",
    "dataset": {
        "name": "eeg-folder", "root": str(root), "events": "annotations", "unit": "microvolt", "tmin": 0.0, "tmax": 1.5,
        "band": [6.0, 20.0],
    },
    "pipelines": [{"name": "tangent", "decoder": "tangent_lr"}],
    "evaluate": [{"scheme": "leave-one-run-out"}],
    "significance": {"n_permutations": 19},
    "bootstrap": {"n_draws": 20},
}  # fmt: skip
run = bb.run(recipe, out="runs/eeg")
print(run)

# %% A run that nobody has seen.
done = apply_run("runs/eeg", root / "run3.csv", out="predictions.csv")
print("\n".join(done.lines))
