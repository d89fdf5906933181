"""Compare: two recipes on the same participants, and a page of their paired differences."""

# %% Two encoders of one family, five simulated participants.
from pathlib import Path

import brainbench as bb
from brainbench.commands.compare import write_page

base = {
    "kind": "encode",
    "dataset": {
        "name": "simulated", "images": "drawings", "n_subjects": 5, "n_stimuli": 30, "n_repeats": 2, "n_runs": 2,
        "rois": [{"roi": "early", "encoder": "gabor", "layer": "scale.0", "n_voxels": 6}],
    },
    "encoders": [{"name": "gabor", "family": "gabor", "layers": ["scale.0"], "image_size": 32}],
    "folds": {"n_splits": 2},
    "head": {"n_alphas": 3, "inner_folds": 2},
    "metrics": ["pearson_r"],
    "significance": {"n_permutations": 0},
    "bootstrap": {"n_draws": 0},
}  # fmt: skip
one = bb.run(base, out="runs/one-penalty-grid")
two = bb.run(base, overrides={"head.log10_alphas": [3, 9]}, out="runs/heavy-penalties")

# %% A table, and a page with intervals and what does not match.
print(bb.compare_runs([one.path, two.path]).to_string(index=False))
page = write_page([one.path, two.path], Path("runs/compared.html"))
print(page)
