"""Writes what a finished run knows in files that need no brainbench: predictions, weights, layer preferences."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.distance import squareform

from brainbench.core.errors import UserError
from brainbench.core.files import atomic_open, write_array, write_json, write_text
from brainbench.core.made import MadeFiles, escaped, refuse_foreign, subject_label
from brainbench.core.progress import Stages
from brainbench.evaluation.metrics import METRICS, Metric
from brainbench.features.store import default_cache
from brainbench.recipes.kinds import Recipe
from brainbench.recipes.kinds.encode import EncodeRecipe
from brainbench.recipes.kinds.rsa import RsaRecipe
from brainbench.recipes.kinds.trials import TrialsRecipe
from brainbench.recipes.reader import parse_recipe
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.runs.folder import FINISHED, Run
from brainbench.studies.cases.case import Case
from brainbench.studies.encode.fits import LayerFits, full_fit, gather, plan_fits
from brainbench.studies.encode.study import EncodeStudy
from brainbench.studies.opened import open_all
from brainbench.studies.outcome import TargetMap, write_image
from brainbench.studies.rsa.study import RsaStudy
from brainbench.studies.trials.study import TrialsStudy
from brainbench.studies.trials.trials import by_subject


def export_run(
    path: str | Path, *, out: str | Path | None = None, cache: str | None = None, weights: bool = True
) -> list[Path]:
    """Export an encoding run, a run that decoded trials, or one that compared RDMs.

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
        ``predictions/*.npy`` (held-out `y_true`, `y_pred`, `row`, `fold`, of trials `stimulus`), ``weights/*.npy``,
        ``preference/*.npy`` (index of the best layer per target by the first metric, -1: none above chance) with
        ``preference/*.json`` naming the layers, and ``maps/*.nii.gz`` of the preferences, counted from 1 there (0 is
        outside, or none). Of a run that decoded
        trials ``predictions.csv``: what every pipeline said of every trial when it was held out. Of a run that
        compared RDMs ``measured/*.npy`` and ``layers/*.npy`` (square), ``stimuli.csv`` with their order,
        ``rdms.hdf5`` with all of them as rsatoolbox loads them (where h5py is installed), and ``scores.csv``.

    Raises
    ------
    UserError
        If the run is not finished, or of another kind.
    """
    run, read = Run(path), _recipe_of(path)
    recipe, decoded, compared = EncodeRecipe.of(read), TrialsRecipe.of(read), RsaRecipe.of(read)
    if recipe is None and decoded is None and compared is None:
        raise UserError(
            f"{path} is a {read.kind} run; export writes encoding runs, those that decoded trials, and those that "
            "compared RDMs"
        )
    folder = Path(out) if out is not None else run.path / "export"
    made = MadeFiles(folder)
    if out is not None and folder.exists() and not made.listed():
        refuse_foreign(folder, "--out", "an export")
    if decoded is not None:
        return _export_trials(run, decoded, made, cache)
    if compared is not None:
        return _export_rdms(run, compared, made, cache)
    assert recipe is not None
    lead = METRICS[recipe.metrics[0]]
    places = ("subject", "scheme", "encoder", "layer", "metric")
    scored = {tuple(entry[name] for name in places): entry["file"] for entry in run.facts["target_summaries"]}
    opened = open_all(recipe, default_cache(cache))
    study = EncodeStudy(opened, Runner(run.folder, LocalEngine(), Stages(quiet=True)))
    written: list[Path] = []
    for case in study.cases:
        values: dict[str, list[tuple[str, np.ndarray]]] = {}
        for fit in plan_fits(opened, case):
            names = (case.rows.subject, case.rows.scheme.label, fit.encoder.name, fit.layer.name)
            stem = TargetMap(*names, "x", np.zeros(0)).stem.removesuffix("_stat-x")
            for name, array in _read(fit, run).items():
                written.append(_write(made, "predictions", f"{stem}_{name.replace('_', '')}", array))
            score = np.load(run.path / scored[*names, lead.name], allow_pickle=False)
            values.setdefault(fit.encoder.name, []).append((fit.layer.name, score))
            if weights and case.rows.scheme.label == recipe.schemes[0].label:
                for name, array in full_fit(recipe, fit).items():
                    written.append(_write(made, "weights", f"{stem}_{name}", array))
        written += _write_preference(made, case, values, lead)
    written.append(made.add("README.txt"))
    write_text(written[-1], README)
    return written


def _export_trials(run: Run, recipe: TrialsRecipe, made: MadeFiles, cache: str | None) -> list[Path]:
    """Write the held-out probabilities of every trial, a row for each pipeline and way to hold out."""
    runner = Runner(run.folder, LocalEngine(), Stages(quiet=True))
    parts = []
    for case, settings, units in TrialsStudy(open_all(recipe, default_cache(cache)), runner).pipelines:
        for _, held_out in by_subject(case, runner.read(units)):
            rows, classes = case.rows.take(held_out.row), np.asarray(case.classes)
            table = {name: getattr(rows, name) for name in ("subject", "session", "run", "trial", "onset", "label")}
            table |= {"scheme": case.label, "pipeline": settings.name, "fold": held_out.fold}
            table["predicted"] = classes[held_out.probability.argmax(axis=1)]
            table |= {f"p_{name}": held_out.probability[:, at] for at, name in enumerate(classes)}
            parts.append(pd.DataFrame(table))
    path = made.add("predictions.csv")
    write_text(path, pd.concat(parts, ignore_index=True).to_csv(index=False))
    return [path]


def _export_rdms(run: Run, recipe: RsaRecipe, made: MadeFiles, cache: str | None) -> list[Path]:
    """Write the RDMs of participants and regions, those of layers, and the scores."""
    opened = open_all(recipe, default_cache(cache))
    study = RsaStudy(opened, Runner(run.folder, LocalEngine(), Stages(quiet=True)))
    ids = list(opened.dataset.stimuli(opened.subjects[0]).ids)
    written: list[Path] = []
    table: list[tuple[dict[str, str], np.ndarray]] = []
    for roi, people in study.geometries.items():
        for subject, values in people.items():
            table.append(({"what": "measured", "subject": subject, "roi": roi}, values))
            written.append(_write(made, "measured", f"{subject_label(subject)}_roi-{escaped(roi)}", squareform(values)))
    for encoder, layer, values in study.layer_rdms():
        table.append(({"what": "layer", "subject": encoder, "roi": layer}, values))
        stem = f"encoder-{escaped(encoder)}_layer-{escaped(layer)}"
        written.append(_write(made, "layers", stem, squareform(values)))
    for name, text in (
        ("stimuli.csv", pd.DataFrame({"id": ids}).to_csv(index=False)),
        ("scores.csv", (run.path / "scores.csv").read_text(encoding="utf-8")),
        ("README.txt", README_RDMS),
    ):
        written.append(made.add(name))
        write_text(written[-1], text)
    if importlib.util.find_spec("h5py") is not None:
        written.append(made.add("rdms.hdf5"))
        _write_rsatoolbox(written[-1], table, ids, recipe.distance)
    return written


def _write_rsatoolbox(
    path: Path, table: Sequence[tuple[dict[str, str], np.ndarray]], ids: Sequence[str], distance: str
) -> None:
    """Write RDMs as ``rsatoolbox.rdm.RDMs.save`` does; a layer has its encoder as `subject` and its name as `roi`."""
    import h5py

    with atomic_open(path) as handle, h5py.File(handle, "w") as file:
        file.attrs["dissimilarity_measure"] = distance
        file["dissimilarities"] = np.stack([values for _, values in table])
        file.create_group("descriptors")
        of_rdms, of_stimuli = file.create_group("rdm_descriptors"), file.create_group("pattern_descriptors")
        of_rdms["index"], of_stimuli["index"] = np.arange(len(table)), np.arange(len(ids))
        of_stimuli["stimulus"] = np.array([name.encode() for name in ids])
        for key in ("what", "subject", "roi"):
            of_rdms[key] = np.array([names[key].encode() for names, _ in table])


def _recipe_of(path: str | Path) -> Recipe:
    """Return the recipe of a finished run."""
    run = Run(path)
    if run.manifest.get("status") != FINISHED:
        raise UserError(f"{path}: the run has not finished", hint="run its recipe again to finish it")
    return parse_recipe((run.path / "recipe.yaml").read_text(encoding="utf-8"), str(run.path / "recipe.yaml"))


def held_out(
    path: str | Path, cache: str | None = None
) -> Iterator[tuple[dict[str, str], Callable[[], dict[str, np.ndarray]]]]:
    """Yield every fit of a finished encoding run: its names, and what reads its held-out rows.

    Raises
    ------
    UserError
        If the run is not a finished encoding run.
    """
    run, read = Run(path), _recipe_of(path)
    recipe = EncodeRecipe.of(read)
    if recipe is None:
        raise UserError(f"{path} is a {read.kind} run; predictions are those of encoding runs")
    opened = open_all(recipe, default_cache(cache))
    study = EncodeStudy(opened, Runner(run.folder, LocalEngine(), Stages(quiet=True)))
    for case in study.cases:
        for fit in plan_fits(opened, case):
            names = {
                "subject": case.rows.subject, "scheme": case.rows.scheme.label, "encoder": fit.encoder.name,
                "layer": fit.layer.name,
            }  # fmt: skip
            yield names, partial(_read, fit, run)


def _read(fit: LayerFits, run: Run) -> dict[str, np.ndarray]:
    """Return held-out rows; those of trials with the ids of their stimuli, for repeats were averaged into one row."""
    found, rows = gather(fit, run.folder), fit.case.rows
    arrays = {name: found[name] for name in ("y_true", "y_pred", "row", "fold")}
    if rows.continuous is None:
        arrays["stimulus"] = np.array(fit.case.features.stimuli.ids, dtype=str)[rows.stimulus[found["row"]]]
    return arrays


def _write(made: MadeFiles, folder: str, stem: str, array: np.ndarray) -> Path:
    path = made.root / made.claim(folder, stem, ".npy")
    write_array(path, array)
    return path


def _write_preference(
    made: MadeFiles, case: Case, values: dict[str, list[tuple[str, np.ndarray]]], metric: Metric
) -> list[Path]:
    written = []
    for encoder, layers in values.items():
        if len(layers) < 2:
            continue
        stack = metric.direction * np.stack([scores for _, scores in layers])
        least = -np.inf if metric.chance is None else metric.direction * metric.chance
        best = np.where(stack.max(axis=0) > least, stack.argmax(axis=0), -1).astype(np.int16)
        item = TargetMap(case.rows.subject, case.rows.scheme.label, encoder, "", "preferredlayer", best)
        written.append(_write(made, "preference", item.stem, best))
        written.append(made.root / made.claim("preference", item.stem, ".json"))
        write_json(written[-1], {str(index): name for index, (name, _) in enumerate(layers)})
        if case.responses.masker is not None:
            # What lies outside is 0 in an image: layers count from 1 there, and targets without one are 0 as well.
            seen = replace(item, values=best + 1)
            written.append(made.root / write_image(made, seen, case.responses.masker, case.responses.space))
    return written


README = """\
predictions/  held-out responses as they were fitted (ytrue) and predicted (ypred), rows x targets, less the mean of
              the training rows of their fold, with row and fold. Where repeats were averaged, rows are counted after
              that: stimulus says what each one showed. Of a story row is the row of the responses
weights/      ridge weights refitted on all rows of the main scheme, for raw features: coef (features x targets),
              intercept, and the penalty (alpha) of every target. Of a story both are without drifts (and nuisance), and
              with delays all features of the first delay stand before those of the next
preference/   index of the best layer of every target (-1: none is better than chance); the .json names the layers
maps/         the same as images, layers counted from 1; 0 is outside, and where none is better than chance
All arrays are plain .npy files without pickle.
"""
README_RDMS = """\
measured/    square RDMs of participants and regions; rows and columns in the order of stimuli.csv
layers/      square RDMs of the features of every layer, NaN where a stimulus has no pattern
rdms.hdf5    all of them, for rsatoolbox.rdm.load_rdm(..., file_type="hdf5"): descriptors `what` (measured or layer),
             `subject` and `roi` (of a layer: its encoder and its name)
scores.csv   the scores of the run
All arrays are plain .npy files without pickle.
"""
