"""The sweep over settings: each is changed alone, and a result that began from the old run equals a fresh one.

The old run folder and the old cache lie there when the changed recipe runs; a key that forgets the setting would serve
what they hold.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml

import brainbench as bb
from brainbench.core.errors import UserError
from brainbench.recipes.reader import find_recipe, key_path, parse_recipe
from brainbench.recipes.template import templates, write_template

Place = tuple[str | int, ...]

TINY = ["significance.n_permutations=9", "bootstrap.n_draws=9"]
SIMULATED = ["dataset.n_subjects=1", "dataset.n_stimuli=48", "dataset.n_repeats=2", "dataset.n_runs=4"]
VISIO_LINGUISTIC = [
    *TINY,
    "folds.n_splits=3",
    "also[0].folds.n_splits=3",
    "encoders=[{name: visualbert, family: vision_language, model: NETWORKS/visualbert, regions: DATA/regions.npz, "
    'layers: ["*.1"]}, {name: vit, family: image, model: NETWORKS/vit, layers: ["*.1"]}, '
    '{name: clip_picture, family: vision_language, model: NETWORKS/clip, given: image, layers: ["*.1"]}, '
    "{name: lxmert_words, family: vision_language, model: NETWORKS/lxmert, regions: DATA/regions.npz, given: text, "
    'role: control, layers: ["*.1"]}]',
]
"""One of the recipes' networks a family and what it is given."""
REDUCED: dict[str, list[str]] = {
    "quickstart": [
        *TINY, *SIMULATED, "dataset.n_subjects=2", *(f"dataset.rois[{k}].n_voxels=6" for k in range(5)),
        "encoders[0].image_size=32", "encoders[0].layers=[blocks.1, blocks.3, blocks.6]", "encoders[1].image_size=32",
        "folds.n_splits=3",
    ],
    "explore-simulated": [
        *TINY, *SIMULATED, *(f"dataset.rois[{k}].n_voxels=6" for k in range(4)), "encoders[0].image_size=32",
        "generator.n_images=48", "generator.train_steps=6", "generator.steps=2", "scales=[5, 20]", "n_images=3",
        "n_gallery=2", "facets={n_facets: 2, n_top: 6, n_mean: 2}",
    ],
    "simulated-photos-reconstruct": [
        *TINY, *SIMULATED, *(f"dataset.rois[{k}].n_voxels=20" for k in range(2)), "encoders[0].image_size=32",
        "metrics=[pixcorr, two_way_pixels]",
        "encoders[1].image_size=8", "low_level.n_components=10", "low_level.image_size=16",
        "generator.image_size=16", "generator.train_steps=3", "generator.batch_size=8", "generator.width=8",
        "generator.steps=2", "n_gallery=2",
    ],
    "alice-language": [
        *TINY, "dataset.subjects=[s1, s2]", "encoders[0].layers=[\"*.1\"]", "encoders[0].context=4",
        "encoders[3].width=20", "folds.n_splits=3",
    ],
    "haxby-categories": [
        *TINY, "zero_shot.n_shuffles=9", "encoders[0].layers=[\"*.1\"]", "encoders[2].layers=[\"*.1\"]",
    ],
    "miyawaki-encoding": [*TINY, "encoders[1].image_size=24", "encoders[1].grid=4"],
    "eeg-motor-imagery": [
        *TINY, "dataset.subjects=[S001]", "pipelines[5].max_epochs=2", "pipelines[6].max_epochs=2",
        "time_resolved={tmin: 0.5, tmax: 2.5, window: 1.5, step: 0.5}", "bands={ranges: {alpha: [8.0, 13.0]}}",
    ],
    "eeg-layers": [
        *TINY, "dataset.subjects=[S001]", "encoders[0].decoder.max_epochs=2", "encoders[0].layers=[pool_1]",
        "encoders[1].layers=[pool_1]", "dataset.band_power.groups={left: [C3, C1], right: [C2, C4]}",
    ],
    "eeg-cross-subject": [*TINY, "dataset.subjects=[S001, S002]", "evaluate[1].shots=[0, 4]"],
    "miyawaki-reconstruct": [
        *TINY, "generator.n_images=48", "generator.train_steps=3", "generator.batch_size=8", "generator.width=8",
        "generator.steps=2", "n_gallery=2",
    ],
    "alice-smollm2": [
        *TINY, "dataset.subjects=[s1, s2]", "folds.n_splits=3", "encoders[0].model=NETWORKS/causal",
        "encoders[0].layers=[\"*.1\"]", "encoders[3].file=NETWORKS/vectors.txt", "encoders[4].width=20",
        "encoders[5].model=NETWORKS/causal", "encoders[5].layers=[\"*.1\"]",
    ],
    "friends-language": [
        *TINY, "dataset.subjects=[sub-01]", "folds.n_splits=2", "encoders[0].model=NETWORKS/causal",
        "encoders[0].layers=[\"*.1\"]", "encoders[2].width=8",
    ],
    "alice-whisper": [
        *TINY, "dataset.subjects=[s1, s2]", "dataset.sound=NETWORKS/story.wav", "folds.n_splits=3",
        "encoders[0].model=NETWORKS/whisper", "encoders[0].layers=[\"*.1\"]", "encoders[0].window_s=2",
        "encoders[0].overlap_s=1", "encoders[5].model=NETWORKS/whisper", "encoders[5].layers=[\"*.1\"]",
        "encoders[5].window_s=2", "encoders[5].overlap_s=1",
    ],
    "nsd-brain-diffuser": [
        *TINY, "low_level.weights=random", "low_level.encoder_blocks=16x1,16d2,8x1,8d4,2d2,1x1",
        "low_level.decoder_blocks=1x1,2m1,8m2,8x1,16m8,16x1", "low_level.width=16", "low_level.z_channels=3",
        "low_level.n_layers=4", "low_level.n_mixtures=2", "generator.model=NETWORKS", "generator.image_size=16",
        "generator.steps=4", "metrics=[pixcorr, two_way_pixels]", "n_gallery=1",
    ],
    "tokenizer-eeg": [
        "dataset.subjects=[S001, S002]", "dataset.sfreq=64.0", "dataset.band=[0.5, 30.0]", "held_out=[S002]",
        "tokenizer={mixing: field, window: 64, n_filters: 2, ratios: [4, 2], width: 8, n_heads: 2, n_sources: 3, "
        "n_levels: 2, n_codes: 8}",
        "training.steps=4", "training.codes_after=1", "training.sensors=4", "training.batch_size=4",
        "least_perplexity=0.0",
    ],
    "tokenizer-probe": [  # without its probes: the network that they read is trained by another recipe
        *TINY, "dataset.subjects=[S001, S002]",
        "pipelines=[{name: tangent_lr, decoder: tangent_lr}, {name: power_lr, decoder: power_lr, C: 0.01}]",
    ],
    "seeg-words": [
        *TINY, "dataset.n_subjects=1", "dataset.n_words=3", "dataset.n_repeats=8", "dataset.n_runs=2",
        "dataset.n_shafts=2", "dataset.strength=0.7", "contacts.counts=[1, 3]", "contacts.n_splits=2",
    ],
    "lens-alice": [
        *TINY, "dataset.subjects=[s1, s2]", "encoders[0].model=NETWORKS/bert", "encoders[0].layers=[\"*.1\"]",
        "encoders[0].context=4", "encoders[1].model=NETWORKS/bert", "encoders[1].layers=[\"*.1\"]",
        "encoders[1].context=4", "folds.n_splits=3", "lens.stimuli=12", "lens.controls=1",
    ],
    "lens-photos": [
        *TINY, *SIMULATED, *(f"dataset.rois[{k}].n_voxels=6" for k in range(2)), "encoders[0].model=test_vit",
        "encoders[0].image_size=32", "encoders[0].layers=[blocks.2]", "dataset.rois[1].layer=blocks.2",
        "folds.n_splits=3", "lens.stimuli=12", "lens.controls=2",
    ],
    "visio-linguistic-bold5000": [*VISIO_LINGUISTIC, "dataset.captions=captions.json"],
    "visio-linguistic-pereira": [*VISIO_LINGUISTIC, "dataset.atlases=[languageLH, DMN]"],
    "decode": [*TINY],
    "lens": [
        "lens.diagnostics=[stream, units, content]", "lens.labels=category", "lens.stimuli=12", "bootstrap.n_draws=9",
        "encoders[0].model=test_vit", "encoders[0].image_size=32", "encoders[0].layers=[blocks.2]",
    ],
    "rsa": [
        *TINY, "dataset.modality=text", "dataset.rois=[V1, LO]", "similarity=[rsa, rsa_pearson]",
        "encoders=[{name: random, family: random, width: 4}, {name: other, family: random, width: 3, role: control}]",
    ],
}  # fmt: skip
"""Shipped recipe, or template of what none of them does -> what makes it small.

`small_data` writes the folders NETWORKS and DATA (of `ROOTS`).
"""
HOURS = {"visio-linguistic-pereira": ("zero_shot",)}
"""What a recipe does not ask for and could not pay: 2 vs 2 of 180 concepts is 16,110 pairs, of 8 categories 28."""
ROOTS = {
    "alice-language": "alice",
    "haxby-categories": "haxby2001",
    "miyawaki-encoding": "miyawaki2008",
    "miyawaki-reconstruct": "miyawaki2008",
    "simulated-photos-reconstruct": "caltech101-mini",
    "alice-smollm2": "alice",
    "alice-whisper": "alice",
    "friends-language": "friends",
    "lens-alice": "alice",
    "lens-photos": "caltech101-mini",
    "nsd-brain-diffuser": "nsd",
    "visio-linguistic-bold5000": "bold5000",
    "visio-linguistic-pereira": "pereira",
    "decode": "haxby2001",
    "lens": "photos",
    "rsa": "rdm",
} | dict.fromkeys(
    ("eeg-motor-imagery", "eeg-layers", "eeg-cross-subject", "tokenizer-eeg", "tokenizer-probe"), "MNE-eegbci-data"
)
"""Recipe -> folder of the real recordings it needs."""
TAGS = ("kind", "name", "family", "decoder", "codec", "root", "execution", "title", "note")
"""Keys that choose the other keys, and those that say nothing of the result."""


@dataclass(frozen=True)
class Setting:
    """One setting and another value of it that a recipe may have.

    Attributes
    ----------
    name : str
        ``head.n_alphas: 5 -> 6``
    recipe : str
        The whole recipe with the other value.
    """

    name: str
    recipe: str


@dataclass(frozen=True)
class Verdict:
    """What became of one change: ``changed``, ``same``, ``refused`` (and what it said), or what differs."""

    name: str
    outcome: str
    said: str = ""

    @property
    def right(self) -> bool:
        """Whether the cached result equals the fresh one."""
        return self.outcome in ("changed", "same", "refused")


def reduced(name: str, root: Path | None = None, networks: Path | None = None) -> dict[str, Any]:
    """Return the values of a shipped recipe or a template, made small and with every default resolved.

    Parameters
    ----------
    name : str
    root : Path, optional
        Holds the folders of `ROOTS`.
    networks : Path, optional
        Holds what `small_data.NETWORKS` writes for the recipe.
    """
    data = root / ROOTS[name] if root and name in ROOTS else None
    overrides = [one.replace("NETWORKS", str(networks)).replace("DATA", str(data)) for one in REDUCED[name]]
    overrides += [f"dataset.root={data}"] if data else []
    text = write_template(name) if name in templates() else find_recipe(name).read_text(encoding="utf-8")
    return parse_recipe(text, name, overrides).model_dump(mode="json")


def places(name: str, values: dict[str, Any]) -> list[tuple[Place, Any]]:
    """Return where every setting stands, and its value, but for those that take hours."""
    slow = HOURS.get(name, ())
    return [(place, value) for place, value in _leaves(values, ()) if key_path(place) not in slow]


def setting(values: dict[str, Any], place: Place, value: Any) -> Setting | None:
    """Return another value of one setting, or None where no other is allowed."""
    for other in _others(values, place, value):
        text = _with(values, place, other)
        if other != value and _reads(text) is None:
            return Setting(f"{key_path(place)}: {value!r} -> {other!r}", text)
    return None


def compare(values: dict[str, Any], chosen: Iterable[Setting], folder: Path) -> Iterator[Verdict]:
    """Run a recipe, and each changed one twice: from what the old run left, and from nothing."""
    before = _run(yaml.safe_dump(values), folder / "old")
    if "refused" in before:
        raise AssertionError(f"the recipe itself is refused: {before['refused'].decode()}")
    for changed in chosen:
        shutil.copytree(folder / "old", folder / "cached")
        cached, fresh = (_run(changed.recipe, folder / name) for name in ("cached", "fresh"))
        differing = sorted(name for name in {*cached, *fresh} if cached.get(name) != fresh.get(name))
        if differing:
            outcome = f"cached and fresh differ in {', '.join(differing[:4])}"
        elif "refused" in fresh:
            outcome = "refused"
        else:
            outcome = "same" if fresh == before else "changed"
        yield Verdict(changed.name, outcome, fresh.get("refused", b"").decode().split("\n")[0])
        for name in ("cached", "fresh"):
            shutil.rmtree(folder / name)


def _run(text: str, folder: Path) -> dict[str, bytes]:
    """Return the content of every table and array of a run, and its facts, by name; a refusal is one entry."""
    folder.mkdir(exist_ok=True)
    file = folder.parent / "recipe.yaml"
    file.write_text(text, encoding="utf-8")
    with patch("brainbench.report.write_report", lambda folder: (folder / "report.html").write_text("")):
        try:
            run = bb.run(file, out=folder / "run", cache=folder / "cache")
        except UserError as error:
            return {"refused": re.sub(r"/\S+", "PATH", str(error)).encode()}
    found = {"scores.csv": (run.path / "scores.csv").read_bytes()}
    found["facts.json"] = (run.path / "facts.json").read_text(encoding="utf-8").replace(str(folder), "FOLDER").encode()
    for path in sorted(run.path.glob("targets/*.npy")):
        found[path.name] = path.read_bytes()
    for path in sorted(run.path.glob("images/*.npz")):
        with np.load(path, allow_pickle=False) as stored:
            found |= {f"{path.name}/{name}": stored[name].tobytes() for name in stored.files}
    return found


def _leaves(value: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in TAGS:
                yield from _leaves(inner, (*place, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*place, index))
    else:
        yield place, value


def _others(values: dict[str, Any], place: Place, value: Any) -> Iterator[Any]:
    """Yield other values, the most telling first; not all of them are allowed."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1, value * 2, value // 2)
    elif isinstance(value, float):
        yield from (value * 1.25, value * 0.75, value + 0.25)
    elif isinstance(value, list):
        yield from (value[:-1], value[1:], [*value, *value[:1]], value[::-1])
        if all(isinstance(one, int | float) for one in value):
            yield [*value[:-1], *(1.1 * one for one in value[-1:])]
    wrong = _reads(_with(values, place, "zz")) or ""
    yield from (word for word in re.findall(r"'([^']+)'", wrong) if word not in ("zz", value))
    if value is None or value == []:
        yield from (1, 2, 0.5, 20.0, True, [4.0], ["x"], {})


def _with(values: dict[str, Any], place: Place, value: Any) -> str:
    changed = deepcopy(values)
    here: Any = changed
    for part in place[:-1]:
        here = here[part]
    here[place[-1]] = value
    return yaml.safe_dump(changed, sort_keys=False)


def _reads(text: str) -> str | None:
    """Return what is wrong with a recipe, or None."""
    try:
        parse_recipe(text, "sweep.yaml")
    except UserError as error:
        return str(error)
    return None
