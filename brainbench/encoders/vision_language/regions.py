"""Regions of pictures for networks that see no pixels: features of 2048 numbers, and where each region lies.

VisualBERT and LXMERT were trained on regions of a Faster R-CNN that no library ships. A file brings such regions; the
cells of ResNet-50's last map, or its features inside the boxes of torchvision's detector, stand in for them, with the
same width and other statistics: the report says which were used.
"""

from __future__ import annotations

import zipfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainbench.core.digests import digest_file
from brainbench.core.errors import UserError, did_you_mean
from brainbench.data.base import Stimuli
from brainbench.encoders.pixels import checked_image, square
from brainbench.networks.weights import digest_weights, hub, seeded

if TYPE_CHECKING:
    from torch import Tensor

    from brainbench.recipes.encoders import VisionLanguageSettings

SIDE = 224
"""Pixels of the square that a grid of 7 x 7 cells comes of."""
DETECTOR = "fasterrcnn_resnet50_fpn"
MOST = 36
"""Boxes of a detector that are kept, those it is surest of."""


class RegionProvider(ABC):
    """Where regions come from.

    Attributes
    ----------
    note : str
        A sentence for the report.
    untrained : bool
        Whether random weights made them.
    files : list of Path
    """

    note: str
    untrained: bool = False
    files: list[Path]

    @abstractmethod
    def of(self, stimuli: Stimuli, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the regions of some pictures, on the CPU.

        Returns
        -------
        features : Tensor (n, n_regions, width)
        boxes : Tensor (n, n_regions, 4)
            Left, top, right, bottom as shares of width and height, 0 to 1.
        mask : Tensor (n, n_regions)
            bool: those that are there.
        """

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return what decides them, for keys."""

    def check(self, stimuli: Stimuli) -> None:  # noqa: B027
        """Raise a UserError for pictures that have no regions, before any work; networks find some in every picture."""


class RegionFile(RegionProvider):
    """Regions of an .npz file: `ids`, `features` (n, R, width), `boxes` (n, R, 4).

    Boxes are left, top, right, bottom: shares of the picture, or pixels with `image_size` (n, 2), width and height.
    `n_regions` (n,) says how many of a picture's rows are regions, where not all are.
    """

    def __init__(self, path: Path, who: str, width: int) -> None:
        self.path, self.who, self.files = path, who, [path]
        arrays = _opened(path, who)
        missing = [name for name in ("ids", "features", "boxes") if name not in arrays]
        if missing:
            raise UserError(
                f"{path}: no array '{missing[0]}'", hint="ids (n,), features (n, R, width), boxes (n, R, 4)"
            )
        self._place = {str(name): row for row, name in enumerate(arrays["ids"])}
        self._features = arrays["features"]
        n, shape = len(arrays["ids"]), self._features.shape
        if len(self._place) < n:
            raise UserError(f"{path}: 'ids' names {n - len(self._place)} pictures twice")
        if len(shape) != 3 or shape[0] != n or shape[2] != width:
            raise UserError(f"{path}: 'features' is {shape}; {who} reads ({n}, regions, {width})")
        boxes = np.asarray(arrays["boxes"], dtype=np.float32)
        if boxes.shape != (*shape[:2], 4):
            raise UserError(f"{path}: 'boxes' is {boxes.shape}, {(*shape[:2], 4)} was expected")
        if "image_size" in arrays:
            boxes = boxes / np.tile(np.asarray(arrays["image_size"], dtype=np.float32), 2)[:, None]
        self._n = np.asarray(arrays.get("n_regions", np.full(n, shape[1])), dtype=int)
        there = np.arange(shape[1]) < self._n[:, None]
        if self._n.min(initial=1) < 1 or self._n.max(initial=0) > shape[1]:
            raise UserError(f"{path}: 'n_regions' must lie in 1 ... {shape[1]}")
        wrong = there & ((boxes < 0) | (boxes > 1.001) | ~np.isfinite(boxes)).any(2)
        wrong |= there & ((boxes[:, :, 2:] <= boxes[:, :, :2]).any(2))
        if wrong.any():
            row, region = np.argwhere(wrong)[0]
            raise UserError(
                f"{path}: box {region} of '{arrays['ids'][row]}' is {boxes[row, region].tolist()}; left, top, right, "
                "bottom as shares of the picture (0 to 1) were expected",
                hint="boxes in pixels need an array 'image_size' (n, 2): width, height",
            )
        self._boxes = boxes.clip(0, 1)
        self._digest = digest_file(path)
        self.note = f"regions: {path.name}, up to {shape[1]} a picture"

    def check(self, stimuli: Stimuli) -> None:
        """Raise a UserError for the first picture that the file does not have."""
        for name in stimuli.ids:
            self._row(name)

    def _row(self, name: str) -> int:
        if name not in self._place:
            raise UserError(
                f"{self.path}: no regions of '{name}' ({len(self._place)} pictures){did_you_mean(name, self._place)}",
                hint="ids are those of the stimuli; `regions: grid` takes ResNet-50's map instead",
            )
        return self._place[name]

    def of(self, stimuli: Stimuli, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the regions of some pictures; see `RegionProvider.of`."""
        import torch

        places = [self._row(stimuli.ids[i]) for i in rows]
        features = np.stack([np.asarray(self._features[place], dtype=np.float32) for place in places])
        there = np.arange(features.shape[1]) < self._n[places][:, None]
        if not np.isfinite(features[there]).all():
            bad = next(k for k in range(len(places)) if not np.isfinite(features[k][there[k]]).all())
            raise UserError(f"{self.path}: features of '{stimuli.ids[rows[bad]]}' are not finite")
        features[~there] = 0
        return torch.from_numpy(features), torch.from_numpy(self._boxes[places]), torch.from_numpy(there)

    def parameters(self) -> dict[str, Any]:
        """Return the file's digest."""
        return {"regions": "file", "sha256": self._digest}


def _opened(path: Path, who: str) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file; those that are stored plainly stay on disk."""
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files if name != "features"}
            if "features" in found.files:
                mapped = _mapped(path, "features.npy")
                arrays["features"] = found["features"] if mapped is None else mapped
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        there = f"not readable ({error})" if path.exists() else "no such file"
        raise UserError(f"{who}: regions: {path}: {there}", hint="grid, detector, or an .npz file") from None
    return arrays


def _mapped(path: Path, member: str) -> np.ndarray | None:
    """Return an array of an .npz file as a memory map, or None where it is compressed."""
    with zipfile.ZipFile(path) as archive, open(path, "rb") as raw:
        info = archive.getinfo(member)
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        raw.seek(info.header_offset + 26)  # of the local header: lengths of name and extra field
        name, extra = (int.from_bytes(raw.read(2), "little") for _ in range(2))
        raw.seek(info.header_offset + 30 + name + extra)
        if np.lib.format.read_magic(raw) != (1, 0):
            return None
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(raw)
        return np.memmap(path, dtype, "r", raw.tell(), shape, "F" if fortran else "C")


class GridRegions(RegionProvider):
    """The 7 x 7 cells of ResNet-50's last map, 2048 numbers each."""

    def __init__(self, weights: str, who: str, device: str, seed: int) -> None:
        self.device, self.files, self.untrained = device, [], weights == "random"
        self._resnet = _body("resnet50", weights, who, seed).to(device)
        self._weights = digest_weights(self._resnet)
        self.note = f"regions: 7 x 7 cells of {_trained(weights)}'s last map, not those that it was trained on"

    def of(self, stimuli: Stimuli, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the cells of some pictures; see `RegionProvider.of`."""
        import torch

        maps = last_map(self._resnet, [checked_image(stimuli.load(i), stimuli.ids[i]) for i in rows], SIDE, self.device)
        n, _, high, wide = maps.shape
        top, left = np.divmod(np.arange(high * wide), wide)
        cells = np.stack([left / wide, top / high, (left + 1) / wide, (top + 1) / high], axis=1)
        boxes = torch.from_numpy(cells.astype(np.float32)).expand(n, -1, -1)
        return maps.flatten(2).transpose(1, 2), boxes, torch.ones(n, high * wide, dtype=torch.bool)

    def parameters(self) -> dict[str, Any]:
        """Return the digest of the network."""
        return {"regions": "grid", "side": SIDE, "weights": self._weights}


class DetectorRegions(RegionProvider):
    """ResNet-50's last map inside the boxes of torchvision's Faster R-CNN, the surest 36 of each picture."""

    def __init__(self, weights: str, who: str, device: str, seed: int) -> None:
        self.device, self.files, self.untrained = device, [], weights == "random"
        self._resnet = _body("resnet50", weights, who, seed).to(device)
        self._detector = _body(DETECTOR, weights, who, seed).to(device)
        self._weights = [digest_weights(self._resnet), digest_weights(self._detector)]
        self.note = (
            f"regions: {_trained(weights)}'s last map inside up to {MOST} boxes of torchvision's {DETECTOR}, not those "
            "that it was trained on"
        )

    def of(self, stimuli: Stimuli, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the boxes of some pictures; see `RegionProvider.of`."""
        import torch
        from torchvision.ops import roi_align

        images = [checked_image(stimuli.load(i), stimuli.ids[i]) for i in rows]
        maps = last_map(self._resnet, images, 2 * SIDE, self.device)
        boxes, mask = torch.zeros(len(rows), MOST, 4), torch.zeros(len(rows), MOST, dtype=torch.bool)
        with torch.inference_mode():
            for k, image in enumerate(images):
                pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float().to(self.device) / 255
                found = self._detector([pixels])[0]["boxes"][:MOST].cpu()
                high, wide = image.shape[:2]
                shares = (found / torch.tensor([wide, high, wide, high])).clamp(0, 1)
                shares = shares[(shares[:, 2:] > shares[:, :2]).all(1)]
                if not len(shares):
                    shares = torch.tensor([[0.0, 0.0, 1.0, 1.0]])  # nothing was found: the picture itself
                boxes[k, : len(shares)], mask[k, : len(shares)] = shares, True
            places = [one * maps.shape[-1] for one in boxes]
            inside = roi_align(maps, places, output_size=7, aligned=True).mean((2, 3)).view(len(rows), MOST, -1)
        return inside * mask.unsqueeze(-1), boxes, mask

    def parameters(self) -> dict[str, Any]:
        """Return the digests of the networks."""
        return {"regions": "detector", "most": MOST, "weights": self._weights}


def last_map(resnet: Any, images: Sequence[np.ndarray], side: int, device: str) -> Tensor:
    """Return ResNet's last map of pictures that are resized to squares, ``(n, 2048, side / 32, side / 32)``."""
    import torch

    batch = np.stack([square(image, side, side, "bilinear") for image in images])
    pixels = torch.from_numpy(batch).to(device).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor([0.485, 0.456, 0.406], device=device).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], device=device).view(3, 1, 1)
    with torch.inference_mode():
        value = (pixels - mean) / std
        for name, module in resnet.named_children():
            if name != "avgpool":
                value = module(value)
                continue
            return value.cpu()
    raise AssertionError("ResNet ends with a pooling")


def _body(model: str, weights: str, who: str, seed: int) -> Any:
    """Return a network of torchvision in evaluation mode."""
    from torchvision.models import get_model, get_model_weights

    none = {"weights_backbone": None} if model == DETECTOR else {}
    with seeded(seed):
        network = get_model(model, weights=None, **none)
    if weights == "pretrained":
        with hub(f"{who}: regions: weights of torchvision model '{model}'"):
            state = get_model_weights(model).DEFAULT.get_state_dict(progress=False, check_hash=True, weights_only=True)
        network.load_state_dict(state, strict=True)
    return network.eval().requires_grad_(False)


def _trained(weights: str) -> str:
    return "an untrained ResNet-50" if weights == "random" else "ResNet-50"


def open_regions(settings: VisionLanguageSettings, width: int, *, device: str, seed: int) -> RegionProvider:
    """Return the regions that an encoder's entry asks for, `width` numbers each."""
    who = f"encoder '{settings.name}'"
    if settings.regions not in ("grid", "detector"):
        return RegionFile(Path(settings.regions).expanduser(), who, width)
    if width != 2048:
        raise UserError(f"{who}: its regions have {width} numbers, those of `regions: {settings.regions}` 2048")
    if settings.regions == "grid":
        return GridRegions(settings.region_weights, who, device, seed)
    return DetectorRegions(settings.region_weights, who, device, seed)
