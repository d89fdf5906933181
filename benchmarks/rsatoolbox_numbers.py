"""RSA of made participants by rsatoolbox, and the file it writes: what `tests/studies/test_rsa.py` holds ours against.

92 made grey images of 16 x 16 pixels; three participants whose RDMs of two regions come from noisy patterns of pixels.
It needs rsatoolbox (0.3.2 made the stored numbers) and no brainbench::

    python benchmarks/rsatoolbox_numbers.py tests/studies/rsatoolbox
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

PEOPLE, REGIONS = ("p1", "p2", "p3"), ("V1", "LO")


def made() -> tuple[np.ndarray, dict[tuple[str, str], np.ndarray]]:
    """Return 92 images ``(92, 16, 16, 3)`` uint8, and every participant's patterns by (participant, region)."""
    rng = np.random.default_rng(92)
    y, x = np.mgrid[:16, :16] / 16
    images = np.empty((92, 16, 16, 3), dtype=np.uint8)
    for image in images:
        waves = sum(
            rng.normal() * np.sin(2 * np.pi * (rng.integers(0, 4) * x + rng.integers(0, 4) * y) + rng.uniform(0, 6))
            for _ in range(4)
        )
        image[...] = np.clip(128 + 40 * waves[..., None] + rng.normal(0, 20), 0, 255)
    pixels = images.reshape(92, -1).astype(float)
    patterns = {}
    for person in PEOPLE:
        for region, noise in zip(REGIONS, (0.5, 4.0), strict=True):
            mixing = rng.normal(size=(pixels.shape[1], 40)) / pixels.shape[1] ** 0.5
            signal = (pixels - pixels.mean(0)) @ mixing
            patterns[person, region] = signal + noise * signal.std() * rng.normal(size=signal.shape)
    return images, patterns


def main(out: Path) -> None:
    """Write the numbers and a small file of RDMs as rsatoolbox saves it."""
    from importlib.metadata import version

    from rsatoolbox.data import Dataset
    from rsatoolbox.inference import boot_noise_ceiling
    from rsatoolbox.rdm import calc_rdm, compare, concat

    images, patterns = made()
    names = [f"image{index:02d}" for index in range(92)]
    model = calc_rdm(Dataset(images.reshape(92, -1).astype(float), obs_descriptors={"stimulus": names}), "correlation")
    found: dict[str, dict[str, list[float]]] = {"rsa": {}, "rsa_pearson": {}, "ceilings": {}}
    for region in REGIONS:
        each = [
            calc_rdm(Dataset(patterns[person, region], obs_descriptors={"stimulus": names}), "correlation")
            for person in PEOPLE
        ]
        together = concat(each)
        for metric, method in (("rsa", "spearman"), ("rsa_pearson", "corr")):
            found[metric][region] = compare(model, together, method=method)[0].tolist()
            low, high = boot_noise_ceiling(together, method=method, rdm_descriptor="index")
            found["ceilings"][f"{metric} {region}"] = [float(low), float(high)]
    out.with_suffix(".json").write_text(json.dumps({"rsatoolbox": version("rsatoolbox"), **found}, indent=1) + "\n")
    small = [
        calc_rdm(
            Dataset(patterns[person, region][:5], obs_descriptors={"stimulus": names[:5]}), "correlation", "stimulus"
        )
        for person in PEOPLE[:2]
        for region in REGIONS
    ]
    small_rdms = concat(small)
    small_rdms.rdm_descriptors["subject"] = [person for person in PEOPLE[:2] for _ in REGIONS]
    small_rdms.rdm_descriptors["roi"] = list(REGIONS) * 2
    out.with_suffix(".hdf5").unlink(missing_ok=True)
    small_rdms.save(str(out.with_suffix(".hdf5")), file_type="hdf5")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
