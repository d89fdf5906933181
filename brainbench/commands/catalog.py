"""What can be chosen: encoders, data sets, metrics, recipes, layers, and what the cache holds."""

from __future__ import annotations

from pathlib import Path

import yaml

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.core.share import share_folder
from brainbench.recipes.catalogue import catalogues
from brainbench.recipes.encoders import ENCODERS, EncoderSettings, encoder_settings


def listing(what: str | None = None) -> str:
    """Return the names of one kind of thing, a line each with what it is; without a kind what can be listed."""
    further = {"diagnostics": _diagnostics, "edits": _edits, "kinds": _kinds, "metrics": _metrics, "recipes": _recipes}
    nouns = catalogues()
    known = [*nouns, *further]
    if what is None:
        return "\n".join(sorted(known))
    if what in further:
        return _columns(further[what]())
    if what not in nouns:
        raise UserError(
            f"list {what}: there is no such list{did_you_mean(what, known)}", hint=f"lists: {one_of(known)}"
        )
    lines = {name: _first_line(model.__doc__) for name, model in nouns[what].items()}
    if nouns[what].room == "reconstruction":
        lines = {name: f"{text} {_licence(name)}" for name, text in lines.items()}
    return _columns(lines)


def _metrics() -> dict[str, str]:
    from brainbench.evaluation.metrics import METRICS
    from brainbench.reconstruction.metrics import METRICS as IMAGE_METRICS

    lines = {name: _first_line(METRICS[name].function.__doc__) for name in METRICS}
    return lines | {name: f"images: {metric.describe()}" for name, metric in IMAGE_METRICS.items()}


def _diagnostics() -> dict[str, str]:
    from brainbench.recipes.lens import DIAGNOSTICS

    found = (DIAGNOSTICS[name] for name in DIAGNOSTICS)
    return {one.name: f"{one.formula}; at {', '.join(one.sites)}; {one.paper}" for one in found}


def _edits() -> dict[str, str]:
    from brainbench.lens.edits import EDITS

    return {name: f"{one.formula}; at {one.site}; {one.paper}" for name, one in EDITS.items()}


def _kinds() -> dict[str, str]:
    from brainbench.recipes.template import templates

    return {name: _first_line(model.__doc__) for name, model in templates().items()}


def _recipes() -> dict[str, str]:
    files = sorted(share_folder("recipes").glob("*.yaml"))
    return {path.stem: str(yaml.safe_load(path.read_text(encoding="utf-8")).get("title", "")) for path in files}


def layers_table(model: str, *, weights: str, pattern: str) -> str:
    """Return the layers of an encoder with depth and width; needs no trained weights."""
    from brainbench.encoders.base import open_encoder

    encoder = open_encoder(guess(model, weights), seed=0, device="cpu")
    rows = [("layer", "depth", "width")]
    for layer in encoder.select([pattern]):
        rows.append((layer.name, f"{layer.depth:.3f}", "?" if layer.width is None else str(layer.width)))
    width = max(len(row[0]) for row in rows)
    table = "\n".join(f"{name:<{width}}  {depth:>5}  {size:>6}" for name, depth, size in rows)
    return f"{table}\n{encoder.note}" if encoder.note else table


def guess(model: str, weights: str) -> EncoderSettings:
    """Return settings for a model given by name alone: a family, a text model, or else a timm model."""
    if model in ENCODERS and _speaks_for_itself(ENCODERS[model]):
        return encoder_settings({"name": model, "family": model})
    folder = Path(model)
    if folder.suffix in _WEIGHTS:
        return _of_file(folder)
    if (folder / "preprocessor_config.json").is_file() and not (folder / "tokenizer_config.json").is_file():
        kind = "random" if weights == "random" else "pretrained"
        return encoder_settings({"name": "model", "family": "image", "model": model, "weights": kind})
    if model == "minilm" or "/" in model or folder.is_dir():
        kind = "random" if weights == "random" and model != "minilm" and not folder.is_dir() else "pretrained"
        return encoder_settings({"name": "model", "family": "text", "model": model, "weights": kind})
    return encoder_settings({"name": model, "family": "image", "model": model, "weights": weights})


_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
"""Endings of files of weights."""


def _of_file(file: Path) -> EncoderSettings:
    """Return settings for a file of weights: of the transformers folder it lies in, or of the timm model it is called.

    Raises
    ------
    UserError
        If there is no such file, or its name says no network.
    """
    if not file.is_file():
        near = [path.name for path in file.parent.glob("*") if path.suffix in _WEIGHTS] if file.parent.is_dir() else []
        raise UserError(f"layers {file}: no such file{did_you_mean(file.name, near)}")
    if (file.parent / "config.json").is_file():
        return guess(str(file.parent), "pretrained")
    import timm

    name = file.name.partition(".")[0]
    if name not in timm.list_models():
        raise UserError(
            f"layers {file}: weights do not say which network they are of{did_you_mean(name, timm.list_models())}",
            hint=f"`brainbench layers MODEL --weights {file}`, with a model of timm",
        )
    return encoder_settings({"name": name, "family": "image", "model": name, "weights": str(file)})


def _speaks_for_itself(settings: type[EncoderSettings]) -> bool:
    """Return whether the family alone says which encoder it is: it asks for no model, and nothing else is missing."""
    fields = settings.model_fields
    return "model" not in fields and not any(field.is_required() for name, field in fields.items() if name != "name")


def cache_table(cache: str | None) -> str:
    """Return what the cache holds, features and trained networks, a line an entry."""
    from brainbench.features.store import NETWORKS, FeatureStore, default_cache
    from brainbench.networks.store import NetworkStore

    folder = default_cache(cache)
    entries, networks = FeatureStore(folder).entries(), NetworkStore(folder / NETWORKS).entries()
    if not entries and not networks:
        return f"{folder}: empty"
    lines = [f"{entry.key[:12]}  {entry.n_bytes / 1e6:9.1f} MB  {entry.encoder}  {entry.layer}" for entry in entries]
    lines += [f"{one.key[:12]}  {one.n_bytes / 1e6:9.1f} MB  trained network  {one.network}" for one in networks]
    total = sum(entry.n_bytes for entry in entries) + sum(one.n_bytes for one in networks)
    return "\n".join([*lines, f"{len(entries) + len(networks)} entries, {total / 1e6:.1f} MB in {folder}"])


def explain(cache: str | None, key: str) -> str:
    """Return everything that made an entry of the cache, as indented JSON."""
    from brainbench.features.store import NETWORKS, FeatureStore, default_cache
    from brainbench.networks.store import NetworkStore

    folder = default_cache(cache)
    networks = [one.key for one in NetworkStore(folder / NETWORKS).entries() if one.key.startswith(key)]
    features = [entry.key for entry in FeatureStore(folder).entries() if entry.key.startswith(key)]
    if len(networks) == 1 and not features:
        return (folder / NETWORKS / f"{networks[0]}.json").read_text(encoding="utf-8").rstrip()
    return FeatureStore(folder).explain(key)


def prune(cache: str | None, *, days: float | None, everything: bool) -> str:
    """Remove left-overs, old entries or everything, and say what went."""
    from brainbench.features.store import NETWORKS, FeatureStore, default_cache
    from brainbench.networks.store import NetworkStore

    folder = default_cache(cache)
    removed = FeatureStore(folder).prune(keep_days=days, everything=everything)
    removed += NetworkStore(folder / NETWORKS).prune(keep_days=days, everything=everything)
    return f"{len(removed)} removed from {folder}"


def _licence(name: str) -> str:
    """Return size and licence of what a codec or generator downloads, in brackets."""
    from brainbench.reconstruction.cards import load_weights_card

    card = load_weights_card(name)
    if card is None or not card.weights:
        return "[needs no download]"
    asks = "; needs `accept_license: true`" if card.needs_acceptance else ""
    return f"[{sum(one.gigabytes for one in card.weights):g} GB; {card.licence}{asks}]"


def _columns(lines: dict[str, str]) -> str:
    width = max((len(name) for name in lines), default=0)
    return "\n".join(f"{name:<{width}}  {text}".rstrip() for name, text in sorted(lines.items()))


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0] if text else ""
