"""What a recipe that explores found: score rows, pictures and facts of every target."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from brainbench.core.made import escaped, subject_label
from brainbench.reconstruction.images import stimulus_images
from brainbench.studies.explore.exploration import Exploration, Target, standardised
from brainbench.studies.outcome import ALL, ImageFile, Outcome

WEAK = 0.1
"""Held-out r at or below which an encoding model is said to predict nothing."""


def report_exploration(outcome: Outcome, one: Exploration) -> None:
    """Add one subject's rows, pictures, facts and warnings."""
    models = one.fits()
    for index, model in enumerate(models):
        for roi, r in zip(one.rois, model["r"], strict=True):
            _add(outcome, one, index, roi=roi, stage="encoding", metric="pearson_r", value=float(r))
    stimuli = [standardised(model["predicted"], model) for model in models]
    unguided = one.runner.read([one.draw_unit(None, 0.0)])[0]
    for target in one.targets:
        for roi in filter(None, (target.roi, target.minus)):
            r = float(models[0]["r"][one.rois.index(roi)])
            if r <= WEAK:
                outcome.warn(
                    f"{one.subject}: the encoding model of {roi} does not predict held-out stimuli (r {r:.2f}); "
                    f"images of {target.name} show what the fit took from noise"
                )
        outcome.note("exploration", _target(outcome, one, target, models, stimuli, unguided))
    outcome.warn(
        "Drawn images are the output of a model, not a measurement: only responses to images that were shown say what "
        "a region prefers."
    )


def _target(
    outcome: Outcome,
    one: Exploration,
    target: Target,
    models: list[dict[str, np.ndarray]],
    stimuli: list[np.ndarray],
    unguided: dict[str, np.ndarray],
) -> dict[str, Any]:
    recipe, readers = one.recipe, len(one.sources)

    def answers(read: np.ndarray) -> np.ndarray:
        """Return the target's response: its region's, or the difference of two."""
        found: np.ndarray = read[:, one.rois.index(target.roi)]
        return found if target.minus is None else found - read[:, one.rois.index(target.minus)]

    shown = [answers(values) for values in stimuli]
    high = [float(np.quantile(values, 0.95)) for values in shown]
    steps: list[dict[str, Any]] = []
    runs = [("unguided", "", 0.0, unguided)]
    for scale in recipe.scales:
        runs.append(("guided", f"scale {scale:g}", scale, one.runner.read([one.draw_unit(target, scale)])[0]))
    faceted = None
    if recipe.facets is not None:
        faceted = one.runner.read([one.draw_unit(target, one.facet_scale, facets=True)])[0]
        runs.append(("facet", f"scale {one.facet_scale:g}", one.facet_scale, faceted))
    for stage, row, scale, arrays in runs:
        about: dict[str, Any] = {"stage": stage, "row": row, "scale": scale, "readers": []}
        for index in range(readers):
            read = arrays[f"read_{index}"]
            values = answers(read)
            low, up = _interval(values, recipe)
            place = {"pipeline": target.name, "roi": target.name, "stage": stage, "row": row, "n_rows": len(values)}
            mean, above = float(values.mean()), float(np.mean(values > high[index]))
            _add(outcome, one, index, **place, metric="predicted_response", value=mean, ci_low=low, ci_high=up)
            _add(outcome, one, index, **place, metric="share_above_95", value=above)
            about["readers"].append({"mean": mean, "ci_low": low, "ci_high": up, "above_95": above})
            if index:
                continue
            about["rois"] = _regions(outcome, one, target, place, read)
            _selectivity(outcome, one, target, place, read)
            for number, value in enumerate(values):
                name = f"image-{number + 1:04d}"
                _add(outcome, one, 0, **place | {"n_rows": 1}, metric="predicted_response", stimulus=name, value=value)
        if stage == "guided":
            about["trace"] = arrays["trace"].mean(axis=0).tolist()
        steps.append(about)
    top = np.argsort(-shown[0], kind="stable")[: recipe.n_gallery]
    for index in range(readers):
        place = {"pipeline": target.name, "roi": target.name, "stage": "training", "n_rows": len(shown[index])}
        _add(outcome, one, index, **place, row="95th percentile", metric="predicted_response", value=high[index])
        best = float(shown[index][top].mean())
        _add(outcome, one, index, **place, row="top images", metric="predicted_response", value=best)
    guided = [step for step in steps if step["stage"] == "guided"]
    means = [step["readers"][0]["mean"] for step in guided]
    best_index = int(np.argmax(means))
    pictures = _pictures(one, target, top, runs, best_index, faceted)
    stem = f"{subject_label(one.subject)}_explore-{escaped(target.name.replace(' ', ''))}"
    facts = {"what": "exploration", "subject": one.subject, "target": target.name, "columns": list(pictures)}
    outcome.image_files.append(ImageFile(stem, pictures, facts))
    return {
        "subject": one.subject,
        "target": target.name,
        "roi": target.roi,
        "minus": target.minus,
        "rois": one.rois,
        "readers": [{"encoder": name, "layer": layer} for name, layer in one.sources],
        "r": [[float(value) for value in model["r"]] for model in models],
        "high": high,
        "top": float(shown[0][top].mean()),
        "steps": steps,
        "best": guided[best_index]["row"],
        "reversed": guided[best_index + 1]["row"] if best_index + 1 < len(guided) else None,
        "only_guide": _only_guide(guided, [model["r"][one.rois.index(target.roi)] for model in models]),
        "n_images": recipe.n_images,
        "n_gallery": recipe.n_gallery,
    }


def _only_guide(guided: list[dict[str, Any]], r: list[np.ndarray]) -> str | None:
    """Return the first scale that raises the guide's own reading and lowers that of a judge that predicts held out."""
    for before, after in pairwise(guided):
        own = after["readers"][0]["mean"] > before["readers"][0]["mean"]
        for index in range(1, len(r)):
            if own and r[index] > WEAK and after["readers"][index]["ci_high"] < before["readers"][index]["ci_low"]:
                return str(after["row"])
    return None


def _regions(
    outcome: Outcome, one: Exploration, target: Target, place: dict[str, Any], read: np.ndarray
) -> dict[str, float]:
    """Add the predicted responses of all other regions, and return those of all."""
    means = {roi: float(value) for roi, value in zip(one.rois, read.mean(axis=0), strict=True)}
    for roi, value in means.items():
        if roi != target.name:
            _add(outcome, one, 0, **place | {"roi": roi}, metric="predicted_response", value=value)
    return means


def control_regions(rois: Mapping[str, np.ndarray], target: Target) -> list[int]:
    """Return the places of the regions that have no voxel of the target's: parts and wholes of it are no controls."""
    own = np.any([rois[name] for name in (target.roi, target.minus) if name is not None], axis=0)
    return [place for place, mask in enumerate(rois.values()) if not np.any(own & mask)]


def _selectivity(outcome: Outcome, one: Exploration, target: Target, place: dict[str, Any], read: np.ndarray) -> None:
    """Add the region's response less the mean of the control regions'."""
    controls = control_regions(one.case.responses.rois, target)
    if not controls:
        return
    values = read[:, one.rois.index(target.roi)] - read[:, controls].mean(axis=1)
    low, up = _interval(values, one.recipe)
    _add(outcome, one, 0, **place, metric="selectivity", value=float(values.mean()), ci_low=low, ci_high=up)


def _pictures(
    one: Exploration,
    target: Target,
    top: np.ndarray,
    runs: list[tuple[str, str, float, dict[str, np.ndarray]]],
    best: int,
    faceted: dict[str, np.ndarray] | None,
) -> dict[str, np.ndarray]:
    """Return rows of pictures, uint8, all that were drawn, in the order of their seeds."""
    generator = one.generator
    guided = [(row, arrays) for stage, row, _, arrays in runs if stage == "guided"]
    rows = {
        "stimuli: top": _bytes(stimulus_images(one.stimuli, generator.image_size, generator.channels, top)),
        "unguided": runs[0][3]["images"],
    }
    for index, (row, arrays) in enumerate(guided):
        rows[f"guided: {row}{' (highest)' if index == best else ''}"] = arrays["images"]
    if faceted is not None:
        rows["facets: mean"] = _bytes(faceted["mean"])
        for facet in range(len(faceted["mean"])):
            rows[f"facets: facet {facet + 1}"] = faceted["images"][faceted["facet"] == facet]
    return rows


def _bytes(images: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)


def _interval(values: np.ndarray, recipe: Any) -> tuple[float, float]:
    """Return the bootstrap interval of a mean over images."""
    rng = np.random.default_rng([recipe.seed, 109])
    n_draws, share = recipe.bootstrap.n_draws, recipe.bootstrap.confidence
    if n_draws == 0:
        return float("nan"), float("nan")
    means = values[rng.integers(0, len(values), (n_draws, len(values)))].mean(axis=1)
    low, up = np.quantile(means, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(up)


def _add(outcome: Outcome, one: Exploration, index: int, **values: Any) -> None:
    name, layer = one.sources[index]
    entry = one.opened.encoder(name)
    scheme = one.case.rows.scheme
    common = {"subject": one.subject, "scheme": scheme.label, "encoder": name, "layer": layer, "fold": ALL}
    outcome.add(**common, role=entry.settings.role, **values)


def explore_claims(outcome: Outcome) -> list[str]:
    """Return sentences about every target."""
    sentences = []
    for item in outcome.findings["exploration"]:
        steps = {(step["stage"], step["row"]): step["readers"] for step in item["steps"]}
        best, plain = steps["guided", item["best"]], steps["unguided", ""]
        low, up = best[0]["ci_low"], best[0]["ci_high"]
        drawn = low is not None and np.isfinite(low)  # not without draws
        sure = (low if drawn else best[0]["mean"]) > item["high"][0]
        held = "above" if sure else "not reliably above" if drawn else "not above"
        text = (
            f"{item['subject']}, {item['target']}: guided images ({item['best']}, the highest of those tried) are "
            f"predicted {best[0]['mean']:.2f} standard deviations above the mean of the stimuli"
            f"{f' ({low:.2f} to {up:.2f})' if drawn else ''}, {held} the 95th percentile of the stimuli "
            f"({item['high'][0]:.2f}); without guidance {plain[0]['mean']:.2f}"
        )
        judges = [
            f"{reader['encoder']} {reader['layer']} reads {best[i]['mean']:.2f} (unguided {plain[i]['mean']:.2f})"
            for i, reader in enumerate(item["readers"])
            if i
        ]
        sentences.append(
            text + (f"; judged by encoders that did not guide: {', '.join(judges)}" if judges else "") + "."
        )
        if item["reversed"] is not None:
            sentences.append(
                f"{item['subject']}, {item['target']}: over-guided from {item['reversed']} on, where the predicted "
                "response falls again."
            )
        if item["only_guide"] is not None:
            sentences.append(
                f"{item['subject']}, {item['target']}: from {item['only_guide']} on the guide's own reading rises "
                "while an encoder that did not guide reads less: the images exploit the guide."
            )
    return sentences
