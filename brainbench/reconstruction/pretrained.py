"""Pretrained models in diffusers' layout: found before any long work, read when first needed, never through pickle.

A model is a folder with parts (``unet``, ``vae``, ``text_encoder``), local or in the hub's cache. Weights are taken
from safetensors; where a repository has none, from a torch file that is read as plain tensors.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainbench.core.digests import digest, digest_file
from brainbench.core.errors import UserError
from brainbench.networks.weights import hub

_SAFE = re.compile(r"(diffusion_pytorch_model|model)(-\d+-of-\d+)?\.safetensors")
_TORCH = re.compile(r"(diffusion_pytorch_model|pytorch_model)(-\d+-of-\d+)?\.bin")
_VARIANTS = ["*.fp16.*", "*.bf16.*", "*non_ema*", "*lite*"]
"""Other versions of the same weights, which are not fetched."""


@dataclass(frozen=True)
class Pretrained:
    """A model's folder whose parts are known to be there.

    Attributes
    ----------
    model : str
        Hub name or folder, as the recipe gives it.
    folder : Path
        Where its files are.
    what : str
        Who asks, for messages: ``generator 'ip-adapter'``.
    """

    model: str
    folder: Path
    what: str

    def config(self, part: str, kind: Any = None) -> dict[str, Any]:
        """Return the ``config.json`` of a part; what it leaves out (old ones do) has the defaults of class `kind`."""
        path = self.folder / part / "config.json"
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{self.what}: {path} cannot be read: {error}") from error
        if kind is None:
            return values
        parameters = inspect.signature(kind.__init__).parameters.values()
        return {one.name: one.default for one in parameters if one.default is not one.empty} | values

    def load(self, kind: Any, part: str, device: str = "cpu") -> Any:
        """Return a part as an object of class `kind`: a network in float32, in evaluation mode and without gradients.

        Raises
        ------
        UserError
            If the part's weights do not fit its configuration.
        """
        import torch

        # Outside of inference mode, whoever asks first: weights made inside of it could take no part in a gradient.
        with quiet(), self._explained(part), torch.inference_mode(False):
            network, report = kind.from_pretrained(
                str(self.folder), subfolder=part, local_files_only=True, output_loading_info=True
            )
        lost = sorted(report["missing_keys"])
        if lost:
            raise UserError(
                f"{self.what}: {self.model}/{part} lacks {len(lost)} of its weights, the first is {lost[0]}"
            )
        return network.eval().requires_grad_(False).float().to(device)

    def tool(self, kind: Any, part: str, **settings: Any) -> Any:
        """Return a part without weights, a scheduler or a tokenizer; `settings` overrule its configuration."""
        with quiet(), self._explained(part):
            return kind.from_pretrained(str(self.folder), subfolder=part, local_files_only=True, **settings)

    def weight_files(self, part: str) -> list[Path]:
        """Return the files with the weights of a part, in order."""
        return weight_files(self.folder / part)

    def digest(self, *parts: str) -> str:
        """Return a digest of configurations and weights of some parts."""
        return digest([[part, self.config(part), *map(_digest, self.weight_files(part))] for part in parts])

    @contextlib.contextmanager
    def _explained(self, part: str) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # loaders raise errors of many kinds for files that are damaged or do not fit
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(f"{self.what}: {self.model}/{part} could not be loaded: {lines[0]}") from error


def find(model: str, what: str, *, networks: Sequence[str], others: Sequence[str] = ()) -> Pretrained:
    """Return a model whose files are all there, fetching those that are missing from the hub.

    Parameters
    ----------
    model : str
        Local folder, or hub name.
    what : str
        Who asks, for messages.
    networks : sequence of str
        Parts with a configuration and weights; ``.`` is the folder itself.
    others : sequence of str
        Parts or single files without them.

    Raises
    ------
    UserError
        Naming what is missing and how to get it.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        if re.fullmatch(r"[\w.-]+/[\w.-]+", model) is None:
            raise UserError(f"{what}: {model} is neither a folder nor a hub name (`owner/model`)")
        folder = _fetch(model, what, networks, others)
    missing = [part for part in networks if not (folder / part / "config.json").is_file()]
    missing += [f"weights of {part}" for part in networks if part not in missing and not weight_files(folder / part)]
    missing += [part for part in others if not (folder / part).exists()]
    if missing:
        raise UserError(f"{what}: {model} lacks {', '.join(missing)}", hint=_how(model))
    return Pretrained(model, folder, what)


def weight_files(folder: Path) -> list[Path]:
    """Return the files with the weights of one network: safetensors, else plain torch files."""
    names = sorted(folder.iterdir()) if folder.is_dir() else []
    for kind in (_SAFE, _TORCH):
        found = [path for path in names if kind.fullmatch(path.name)]
        if found:
            return found
    return []


def _fetch(model: str, what: str, networks: Sequence[str], others: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    parts = [f"{part}/".removeprefix("./") for part in networks]
    wanted = [f"{part}{name}" for part in parts for name in ("config.json", "*model*.safetensors", "*.index.json")]
    wanted += [pattern for part in others for pattern in (part, f"{part}/*.json", f"{part}/*.txt")]
    try:
        with quiet(), hub(f"{what}: {model}"):
            folder = Path(snapshot_download(model, allow_patterns=wanted, ignore_patterns=_VARIANTS))
            unsafe = [f"{part}*model*.bin" for part in parts if not weight_files(folder / part)]
            if unsafe:
                snapshot_download(model, allow_patterns=unsafe, ignore_patterns=_VARIANTS)
            return folder
    except UserError as error:
        raise UserError(error.message, hint=_how(model)) from error


def _how(model: str) -> str:
    return (
        f"`hf download {model}` (older versions: `huggingface-cli download {model}`) on a machine with network "
        "fills the hub's cache; a local folder in diffusers' layout can be named instead"
    )


def _digest(path: Path) -> str:
    # The hub's cache names large files by the digest of their bytes: gigabytes need not be read again.
    real = path.resolve()
    known = real.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", real.name)
    return real.name if known else digest_file(path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' bars and advice out of our own progress."""
    from diffusers.utils import logging as diffusers_log
    from transformers.utils import logging as transformers_log

    logs = (diffusers_log, transformers_log)
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    for log in logs:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log, (verbosity, bar) in zip(logs, before, strict=True):
            log.set_verbosity(verbosity)
            if bar:
                log.enable_progress_bar()
