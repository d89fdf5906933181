"""Writes small copies of data sets of repeated pictures and clips, with signal that follows how bright they are."""

import json
import pickle

import h5py
import numpy as np
from PIL import Image


def shades(n, seed=0):
    return np.random.default_rng(seed).permutation(np.linspace(20, 235, n)).astype(np.uint8)


def save_picture(path, shade, size=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(int(shade)).integers(0, 12, (size, size, 3))
    Image.fromarray(np.clip(int(shade) + noise, 0, 255).astype(np.uint8)).save(path)


def marked(root, **said):
    root.mkdir(parents=True, exist_ok=True)
    (root / "synthetic_copy.json").write_text(json.dumps({"copy": True, **said}))


def answer(shade, n_targets, rng, noise=0.3):
    """Return responses, ``(n, n_targets)``; the first half of the targets follows the shade."""
    values = noise * rng.standard_normal((len(shade), n_targets))
    signal = np.asarray(shade, dtype=float)[:, None] / 128 - 1
    values[:, : n_targets // 2] += signal * rng.uniform(0.5, 1.5, n_targets // 2)
    return values


def write_things_fmri(root, people=("sub-01", "sub-02"), n_sessions=3, n_concepts=6, n_voxels=12, own_column=True):
    """Two pictures of every concept for training, once each; for the test one of half of them, every session."""
    concepts = [f"thing{'y' * (k % 2)}{k}" for k in range(n_concepts)]
    train = [f"{one}_{number:02d}b.jpg" for one in concepts for number in (1, 2)]
    test = [f"{one}_13s.jpg" for one in concepts[: n_concepts // 2]]
    shade = dict(zip([*train, *test], shades(len(train) + len(test)), strict=True))
    for name, value in shade.items():
        save_picture(root / "images" / name.rpartition("_")[0] / name, value)
    folder = root / "betas_csv"
    folder.mkdir(parents=True)
    for p, person in enumerate(people):
        rng = np.random.default_rng(p)
        order = rng.permutation(train)
        rows, shown = [], []
        for session in range(n_sessions):
            mine = rng.permutation([*order[session::n_sessions], *test])
            for trial, name in enumerate(mine):
                rows.append(f"{p + 1},{session + 1},{trial // 5 + 1},{len(rows)},{name},{name.rpartition('_')[0]},"
                            f"{'test' if name in test else 'train'}")  # fmt: skip
                shown.append(shade[name])
        header = "subject_id,session,run,trial_id,stimulus,concept,trial_type"
        (folder / f"{person}_StimulusMetadata.csv").write_text("\n".join([header, *rows]) + "\n")
        drift = np.repeat(rng.normal(0, 3, n_sessions), len(rows) // n_sessions)[:, None]
        values = (answer(shown, n_voxels, rng) + drift).T
        ids = np.arange(n_voxels)
        with h5py.File(folder / f"{person}_ResponseData.h5", "w") as file:  # as pandas stores a table
            group = file.create_group("ResponseData")
            group["block0_values"] = values if own_column else np.c_[ids, values]
            if own_column:
                group["block1_values"] = ids[:, None]
        v1 = (ids < n_voxels // 2).astype(int)
        loc = ((ids >= n_voxels // 2) & (ids < n_voxels - 2)).astype(int)
        lines = ["voxel_id,voxel_x,nc_singletrial,V1,lLOC,prf-size"]
        lines += [f"{k},{k},{40 if v1[k] else 4},{v1[k]},{loc[k]},{0.3 * k:.2f}" for k in ids]
        (folder / f"{person}_VoxelMetadata.csv").write_text("\n".join(lines) + "\n")
    marked(root)


def write_things_eeg(root, people=("sub-01", "sub-02"), n_train=10, n_test=4, channels=("Pz", "O1", "Oz"), n_times=40):
    """Signal from 100 ms on, in the first channel; the folder's name says another rate than the data have."""
    names = {
        "training": [(f"{k // 2 + 1:05d}_thing{k // 2}", f"thing{k // 2}_{k % 2:02d}b.jpg") for k in range(n_train)],
        "test": [(f"{k + 1:05d}_other{k}", f"other{k}_06s.jpg") for k in range(n_test)],
    }
    meta, shade = {}, {}
    for part, listed in names.items():
        values = shades(len(listed), seed=len(part))
        for (concept, name), value in zip(listed, values, strict=True):
            save_picture(root / "image_set" / f"{part}_images" / concept / name, value)
            shade[name] = value
        key = "train" if part == "training" else "test"
        meta |= {f"{key}_img_concepts": [a for a, _ in listed], f"{key}_img_files": [b for _, b in listed]}
    np.save(root / "image_set" / "image_metadata.npy", meta)
    times = np.round(-0.1 + 0.02 * np.arange(n_times), 3)
    for p, person in enumerate(people):
        folder = root / "Preprocessed_data_250Hz" / person
        folder.mkdir(parents=True)
        for part, showings in (("training", 2), ("test", 5)):
            rng = np.random.default_rng([p, showings])
            listed = names[part]
            values = 0.5 * rng.standard_normal((len(listed), showings, len(channels), n_times))
            signal = np.array([shade[name] for _, name in listed]) / 128 - 1
            values[:, :, 0, times >= 0.1] += signal[:, None, None]
            held = {"preprocessed_eeg_data": values, "ch_names": list(channels), "times": times}
            if p:
                np.save(folder / f"preprocessed_eeg_{part}.npy", held)
            else:
                (folder / f"preprocessed_eeg_{part}.npy").write_bytes(pickle.dumps(held, protocol=4))
    marked(root)


def write_bold_moments(root, people=("sub-01",), n_train=8, n_test=3, n_vertices=6):
    """Clips 1 ... and 1001 ...; a showing of a test clip was not measured."""
    numbers = {"train": range(1, n_train + 1), "test": range(1001, 1001 + n_test)}
    shade = dict(zip([*numbers["train"], *numbers["test"]], shades(n_train + n_test), strict=True))
    for part, listed in numbers.items():
        (root / "stimuli" / part).mkdir(parents=True)
        for number in listed:
            frames = [Image.fromarray(np.full((8, 8, 3), min(255, int(shade[number]) + k), np.uint8)) for k in range(4)]
            path = root / "stimuli" / part / f"{number:04d}.gif"
            frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    for p, person in enumerate(people):
        folder = root / "derivatives" / "versionB" / "fsaverage" / "GLM" / person / "prepared_betas"
        folder.mkdir(parents=True)
        for part, showings in (("train", 3), ("test", 4)):
            order = np.random.default_rng([p, showings]).permutation(list(numbers[part]))
            for s, side in enumerate(("left", "right")):
                rng = np.random.default_rng([p, showings, s])
                shown = np.repeat([shade[number] for number in order], showings)
                betas = answer(shown, n_vertices, rng).reshape(len(order), showings, n_vertices)
                if part == "test":
                    betas[1, 3] = np.nan
                held = (betas, [f"vid{number:04d}" for number in order])
                name = f"{person}_organized_betas_task-{part}_hemi-{side}_normalized.pkl"
                (folder / name).write_bytes(pickle.dumps(held, protocol=4))
    marked(root)
