"""Whose network an image encoder's `model` names: timm's, torchvision's, or one of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainbench.core.errors import UserError
from brainbench.encoders.network import NetworkEncoder

if TYPE_CHECKING:
    from brainbench.recipes.encoders import ImageSettings


def image_encoder(settings: ImageSettings, **options: Any) -> NetworkEncoder:
    """Return the encoder of a model by name or folder.

    Folders and names on the hub are transformers' (``hf-hub:`` leads to timm's there), plain names are timm's, and
    torchvision's with ``torchvision:`` before them, or where timm has none (`alexnet`).

    Raises
    ------
    UserError
        If `partial_weights` is set for one of these.
    """
    model = settings.model
    if Path(model).expanduser().is_dir() or ("/" in model and not model.startswith(("hf-hub:", "hf_hub:"))):
        from brainbench.encoders.pictures.towers import TowerEncoder

        return TowerEncoder(settings, **options)
    if settings.partial_weights:
        raise UserError(
            f"encoder '{settings.name}': partial_weights: networks of transformers alone may lack weights; those of "
            f"'{model}' fit its network, or are refused"
        )
    if model.startswith("torchvision:") or model == "alexnet":
        from brainbench.encoders.pictures.torchvision import TorchvisionEncoder

        return TorchvisionEncoder(settings, **options)
    from brainbench.encoders.image import ImageEncoder

    return ImageEncoder(settings, **options)
