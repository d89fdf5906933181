"""Images that a run keeps: every reconstruction, and a gallery sorted best, median, worst, that nobody picked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainbench.core.made import escaped, subject_label
from brainbench.reconstruction.images import stimulus_images
from brainbench.reconstruction.metrics import METRICS, WITHIN
from brainbench.runs.engines import Runner
from brainbench.studies.outcome import ImageFile, Outcome
from brainbench.studies.reconstruct.claims import lead_metric
from brainbench.studies.reconstruct.ladder import Item, Judge
from brainbench.studies.reconstruct.reconstruction import Reconstruction

SHOWN = (("final", "predicted"), ("low_level", "predicted"), ("final", "oracle"), ("codec", "codec"))
"""Columns of the gallery beside the original, where they were made; then the baselines."""


def keep_images(
    outcome: Outcome,
    runner: Runner,
    one: Reconstruction,
    judge: Judge,
    items: Sequence[Item],
    scored: dict[tuple[str, str], dict[str, np.ndarray]],
) -> None:
    """Keep the reconstructions and its gallery for the run folder."""
    last = "final" if one.generator is not None else "low_level"
    lead = lead_metric(one.recipe)
    values = scored[last, "predicted"].get(lead)
    by_name = {(item.stage, item.name): item for item in items}
    ids = np.array(one.case.features.stimuli.ids)
    rows = one.case.rows
    stem = f"{subject_label(rows.subject)}_scheme-{escaped(rows.scheme.label)}"
    facts = {"subject": rows.subject, "scheme": rows.scheme.label, "stage": last}
    predicted = judge.images(by_name[last, "predicted"], runner)
    outcome.image_files.append(
        ImageFile(
            f"{stem}_reconstructions",
            {"row": judge.rows, "stimulus": ids[judge.stimulus], "images": _bytes(predicted)},
            {**facts, "what": "reconstructions"},
        )
    )
    if values is None or not np.isfinite(values).any():
        return
    chosen = ranked(values, one.recipe.n_gallery, lower_is_better=METRICS[lead.removesuffix(WITHIN)].better == "lower")
    index = np.concatenate(list(chosen.values()))
    truth = stimulus_images(one.case.features.stimuli, judge.size, judge.channels, judge.stimulus[index])
    pictures = {"original": _bytes(truth)}
    wanted = [*SHOWN, *((item.stage, item.name) for item in items if item.stage == "baseline")]
    for stage, name in wanted:
        if (stage, name) in by_name:
            made = judge.images(by_name[stage, name], runner)[index, 0]
            pictures[f"{stage}: {name}"] = _bytes(made)
    outcome.image_files.append(
        ImageFile(
            f"{stem}_gallery",
            {
                "place": np.repeat(list(chosen), [len(part) for part in chosen.values()]),
                "stimulus": ids[judge.stimulus[index]],
                "score": values[index],
                **pictures,
            },
            {**facts, "what": "gallery", "metric": lead, "columns": list(pictures)},
        )
    )


def ranked(values: np.ndarray, n: int, *, lower_is_better: bool = False) -> dict[str, np.ndarray]:
    """Return rows of the best, median and worst scores, so many of each and none twice, best first.

    Of two there is no median, and one alone is the best.
    """
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known] if lower_is_better else -values[known], kind="stable")]
    n = min(n, max(1, len(order) // 3))
    middle = (len(order) - n) // 2
    found = {"best": order[:n], "median": order[middle : middle + n], "worst": order[-n:]}
    few = {1: ("best",), 2: ("best", "worst")}.get(len(order), tuple(found))
    return {place: found[place] for place in few}


def _bytes(images: np.ndarray) -> np.ndarray:
    return np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)
