"""Writes what a finished run knows in files that need no brainbench: predictions, weights, layer preferences."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brainbench.core.errors import UserError
from brainbench.core.files import write_array, write_json, write_text
from brainbench.core.progress import Stages
from brainbench.features.store import default_cache
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.recipes.reader import parse_recipe
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.runs.folder import FINISHED, Run
from brainbench.studies.cases.case import Case
from brainbench.studies.encode.fits import LayerFits, full_fit, gather, plan_fits
from brainbench.studies.encode.study import EncodeStudy
from brainbench.studies.opened import open_all
from brainbench.studies.outcome import TargetMap, write_image


def export_run(
    path: str | Path, *, out: str | Path | None = None, cache: str | None = None, weights: bool = True
) -> list[Path]:
    """Export an encoding run.

    Parameters
    ----------
    path : path-like
        A finished run folder.
    out : path-like, optional
        Where to; ``<run>/export`` without it.
    cache : str, optional
        Feature store.
    weights : bool
        Also refit every layer on all rows and write its weights (``.npy``, features x targets).

    Returns
    -------
    list of Path
        ``predictions/*.npy`` (held-out `y_true`, `y_pred`, `row`, `fold`), ``weights/*.npy``,
        ``preference/*.npy`` (index of the best layer per target, -1 where no layer is above zero) with
        ``preference/*.json`` naming the layers, and ``maps/*.nii.gz`` of the preferences.

    Raises
    ------
    UserError
        If the run is not a finished encoding run.
    """
    run = Run(path)
    if run.manifest.get("status") != FINISHED:
        raise UserError(f"{path}: the run has not finished", hint="run its recipe again to finish it")
    read = parse_recipe((run.path / "recipe.yaml").read_text(encoding="utf-8"), str(run.path / "recipe.yaml"))
    recipe = EncodeRecipe.of(read)
    if recipe is None:
        raise UserError(f"{path} is a {read.kind} run; export writes encoding runs")
    folder = Path(out) if out is not None else run.path / "export"
    opened = open_all(recipe, default_cache(cache))
    study = EncodeStudy(opened, Runner(run.folder, LocalEngine(), Stages(quiet=True)))
    written: list[Path] = []
    for case in study.cases:
        values: dict[str, list[tuple[str, np.ndarray]]] = {}
        for fit in plan_fits(opened, case):
            held_out = gather(fit, run.folder)
            stem = _stem(case, fit)
            for name in ("y_true", "y_pred", "row", "fold"):
                written.append(folder / "predictions" / f"{stem}_{name.replace('_', '')}.npy")
                write_array(written[-1], held_out[name])
            score = run.path / "targets" / f"{stem}_stat-{recipe.metrics[0].replace('_', '')}.npy"
            values.setdefault(fit.encoder.name, []).append((fit.layer.name, np.load(score, allow_pickle=False)))
            if weights and case.rows.scheme.label == recipe.schemes[0].label:
                written += _write_weights(folder, case, fit, full_fit(recipe, fit))
        written += _write_preference(folder, case, values)
    write_text(folder / "README.txt", README)
    return [*written, folder / "README.txt"]


def _stem(case: Case, fit: LayerFits) -> str:
    names = (case.rows.subject, case.rows.scheme.label, fit.encoder.name, fit.layer.name, "x")
    return TargetMap(*names, np.zeros(0)).stem.removesuffix("_stat-x")


def _write_weights(folder: Path, case: Case, fit: LayerFits, arrays: dict[str, np.ndarray]) -> list[Path]:
    written = []
    for name, values in arrays.items():
        written.append(folder / "weights" / f"{_stem(case, fit)}_{name}.npy")
        write_array(written[-1], values)
    return written


def _write_preference(folder: Path, case: Case, values: dict[str, list[tuple[str, np.ndarray]]]) -> list[Path]:
    written = []
    for encoder, layers in values.items():
        if len(layers) < 2:
            continue
        stack = np.stack([scores for _, scores in layers])
        best = np.where(stack.max(axis=0) > 0, stack.argmax(axis=0), -1).astype(np.int16)
        item = TargetMap(case.rows.subject, case.rows.scheme.label, encoder, "", "preferredlayer", best)
        path = folder / "preference" / f"{item.stem}.npy"
        write_array(path, best)
        write_json(path.with_suffix(".json"), {str(index): name for index, (name, _) in enumerate(layers)})
        written += [path, path.with_suffix(".json")]
        if case.responses.masker is not None:
            written.append(write_image(folder / "maps", item, case.responses.masker, case.responses.space))
    return written


README = """\
predictions/  held-out responses as they were fitted (ytrue) and predicted (ypred), rows x targets, with row and fold
weights/      ridge weights refitted on all rows of the main scheme, for raw features: coef (features x targets),
              intercept, and the penalty (alpha) of every target
preference/   index of the best layer of every target (-1: no layer above zero); the .json names the layers
maps/         the same as images
All arrays are plain .npy files without pickle.
"""
