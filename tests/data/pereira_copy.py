"""Writes a small copy of Pereira et al. (2018) in both families of files, with planted signal."""

import json

import numpy as np
from PIL import Image
from scipy.io import savemat

from brainbench.data.layouts.texts.pereira import COUNTS, PASSAGES
from tests.data.nsd_copy import draw_images

ATLASES = (
    "languageLH", "languageRH", "visual_body", "visual_face", "visual_object", "visual_scene", "visual", "DMN", "MD"
)  # fmt: skip
N_VOXELS = 40


def write_pereira(
    root, subjects=("P01", "M02"), *, experiment="384sentences", family="data", noise=0.5, seed=0, latents=None
):
    """Write the files of an experiment; voxels of `languageLH` and `visual_object` carry the latents of the stimuli."""
    rng = np.random.default_rng(seed)
    n = COUNTS[experiment]
    latents = rng.random((n, 8)) if latents is None else latents
    names = [f"concept{row:03d}" if experiment == "180concepts" else f"Sentence {row} is short." for row in range(n)]
    for number, subject in enumerate(subjects):
        own = np.random.default_rng([seed, number])
        parcels = {name: _parcels(own, index) for index, name in enumerate(ATLASES)}
        values = noise * own.standard_normal((n, N_VOXELS))
        for name in ("languageLH", "visual_object"):
            voxels = np.concatenate(parcels[name]) - 1
            values[:, voxels] += (latents - 0.5) @ own.standard_normal((latents.shape[1], len(voxels)))
        (root / subject).mkdir(parents=True, exist_ok=True)
        savemat(*_contents(root / subject, experiment, family, names, values, parcels))
    (root / "synthetic_copy.json").write_text(json.dumps({"copy": True}))
    return latents


def _parcels(rng, index):
    """Two parcels an atlas, numbered from 1 as MATLAB does."""
    first = 1 + index * 4
    return [np.arange(first, first + 3), np.array([first + 3])]


def _contents(folder, experiment, family, names, values, parcels):
    concepts = experiment == "180concepts"
    stem = f"{experiment}_pictures" if concepts else experiment
    cells = np.empty((len(names), 1), dtype=object)
    cells[:, 0] = names
    found = {"keyConcept" if concepts else "keySentences": cells}
    found["examples" if concepts or family == "examples" else "examples_passagesentences"] = values
    if not concepts:
        n = PASSAGES[experiment]
        sizes = np.full(n, len(names) // n)
        sizes[: len(names) - sizes.sum()] += 1
        topics = np.empty((24, 1), dtype=object)
        topics[:, 0] = [f"topic{number}" for number in range(24)]
        found |= {
            "labelsPassageForEachSentence": np.repeat(np.arange(1, n + 1), sizes)[:, None],
            "labelsPassageCategory": (np.arange(n) % 24 + 1)[:, None], "keyPassageCategory": topics,
        }  # fmt: skip
    columns = np.empty(len(parcels), dtype=object)
    for row, one in enumerate(parcels.values()):
        columns[row] = np.empty(len(one), dtype=object)
        for parcel, voxels in enumerate(one):
            columns[row][parcel] = voxels[:, None].astype(float)
    meta = {"dimensions": 3, "atlases": np.array(list(parcels), dtype=object), "roiColumns": columns}
    if family == "examples":
        meta = {"dimensions": 3, "roiColumnsGordon": columns[0], "roiColumnsAAL": columns[4]}
    return folder / f"{family}_{stem}.mat", {**found, "meta": meta}


def write_pictures(root, captions, latents, n_each=2, size=32):
    """Write `n_each` pictures of every concept and the table that says which is which."""
    folder = root / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["id,path,concept,caption"]
    jitter = np.random.default_rng(3).normal(0, 0.03, (n_each, *latents.shape))
    for k in range(n_each):
        for row, image in enumerate(draw_images(np.clip(latents + jitter[k], 0, 1), size)):
            name = f"c{row:03d}_{k}.png"
            Image.fromarray(image).save(folder / name)
            lines.append(f"{name[:-4]},pictures/{name},concept{row:03d},{captions[row]}")
    (root / "pictures.csv").write_text("\n".join(lines) + "\n")
