"""Small copies of Tuckute et al. (2024) and of Algonauts 2023 in their layouts, with planted signal."""

import json

import numpy as np
from PIL import Image

from tests.data.nsd_copy import draw_images

REGIONS = ("lang_LH_IFG", "lang_LH_netw", "md_LH_netw")
FILE = "brain-lang-data_participant_20230728.csv"


def write_tuckute(root, people=("848", "853"), n=30):
    """Sentences B, D and S; the language network answers to the length of a sentence."""
    rng = np.random.default_rng(0)
    lines = ["item_id,sentence,cond,roi,target_UID,response_target"]
    conditions = ["B"] * (n - 10) + ["D"] * 5 + ["S"] * 5
    for person in people:
        for item, cond in enumerate(conditions, start=1):
            sentence = " ".join(["word"] * (1 + item % 6)) + f" {item}"
            for roi in REGIONS:
                value = (item % 6) * (roi != "md_LH_netw") + 0.3 * rng.standard_normal()
                lines.append(f'{item},"{sentence}",{cond},{roi},{person},{value:.4f}')
    root.mkdir(exist_ok=True)
    (root / FILE).write_text("\n".join(lines) + "\n")
    (root / "synthetic_copy.json").write_text(json.dumps({"copy": True}))
    return root


def write_algonauts(root, subject="subj01", n=24, vertices=(14, 10)):
    """Vertices of V1v and of EBA answer to the photographs."""
    rng = np.random.default_rng(1)
    latents = rng.random((n, 8))
    base = root / subject
    for folder in ("training_split/training_images", "training_split/training_fmri", "roi_masks"):
        (base / folder).mkdir(parents=True)
    for row, image in enumerate(draw_images(latents, 16), start=1):
        Image.fromarray(image).save(base / "training_split/training_images" / f"train-{row:04d}_nsd-{row * 7:05d}.png")
    for side, size in zip(("lh", "rh"), vertices, strict=True):
        values = 0.3 * rng.standard_normal((n, size))
        values[:, :5] += (latents - 0.5) @ rng.standard_normal((8, 5))
        np.save(base / "training_split/training_fmri" / f"{side}_training_fmri.npy", values.astype(np.float32))
        for name in ("prf-visualrois", "floc-bodies", "floc-faces", "floc-places", "floc-words", "streams"):
            labels = np.zeros(size)
            labels[:3] = {"prf-visualrois": 1, "streams": 5}.get(name, 0)
            labels[3:5] = {"floc-bodies": 1, "streams": 6}.get(name, 0)
            np.save(base / "roi_masks" / f"{side}.{name}_challenge_space.npy", labels.astype(np.float32))
    (root / "synthetic_copy.json").write_text(json.dumps({"copy": True}))
    return latents
