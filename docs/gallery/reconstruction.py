"""Reconstruction: pictures from responses, beside what no brain, a lookup or the codec alone would reach."""

# %% Simulated responses to drawings; the codec is principal components of the training pictures.
import brainbench as bb

recipe = {
    "kind": "reconstruct",
    "title": "Pictures from made responses",
    "dataset": {
        "name": "simulated", "images": "drawings", "n_subjects": 1, "n_stimuli": 40, "n_repeats": 2, "n_runs": 4,
        "rois": [{"roi": "layout", "encoder": "pixels", "layer": "pixels", "n_voxels": 40, "ceiling": 0.9}],
    },
    "folds": {"n_splits": 2},
    "encoders": [{"name": "pixels", "family": "pixels", "image_size": 8}],
    "low_level": {"codec": "pca", "image_size": 16, "n_components": 10},
    "head": {"n_alphas": 5, "inner_folds": 2},
    "metrics": ["two_way_pixels", "pixcorr"],
    "significance": {"n_permutations": 19},
    "bootstrap": {"n_draws": 50},
    "n_gallery": 1,
}  # fmt: skip
run = bb.run(recipe, out="runs/reconstruction")
print(run)

# %% The ladder: every rung's score.
print(run.scores.query("stimulus.isna() and fold == 'all'")[["stage", "row", "metric", "value"]].to_string(index=False))
figure = run.plot("gallery")
