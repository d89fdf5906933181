"""What decoders of trials looked at, and whether their probabilities can be believed; for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from brainbench.evaluation.trials.calibration import calibrate
from brainbench.recipes.kinds.trials import TrialsRecipe
from brainbench.recipes.pipelines import PipelineSettings
from brainbench.studies.outcome import ALL, Outcome
from brainbench.studies.trials.decoding import Held
from brainbench.studies.trials.trials import Case


def note_networks(outcome: Outcome, settings: PipelineSettings, arrays: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Write down under which keys a pipeline's networks are kept, and say it beside its settings."""
    keys = [str(one["network"]) for one in arrays if "network" in one]
    if not keys:
        return
    trials = outcome.findings["trials"]
    known = trials.setdefault("networks", {}).setdefault(settings.name, [])
    known += keys
    shown = ", ".join(known[:3]) + (", ..." if len(known) > 3 else "")
    said = f"{len(known)}, each on the training trials of its fold, keys {shown}"
    next(one for one in trials["pipelines"] if one["name"] == settings.name)["trained here"] = said


def note_explanations(
    outcome: Outcome, case: Case, settings: PipelineSettings, arrays: Sequence[Mapping[str, np.ndarray]]
) -> None:
    """Keep what each fold's decoder looked at in the trials it was not trained on, averaged per participant and class.

    Electrodes must have places for a map; attention needs only their names.
    """
    for member in case.members:
        mine = [one for one in arrays if np.all(case.rows.subject[one["row"]] == member.subject)]
        if not mine or "relevance" not in mine[0]:
            continue
        common = {"subject": member.subject, "pipeline": settings.name}
        label = case.rows.label[np.concatenate([one["row"] for one in mine])]
        relevance = np.concatenate([one["relevance"] for one in mine])
        # Every fold has a network of its own, with its own scale of logits: each counts as much as its trials do.
        scale = np.concatenate([np.full(len(one["row"]), np.abs(one["relevance"]).mean() or 1.0) for one in mine])
        classes = [name for name in case.classes if (label == name).any()]
        means = np.stack([(relevance / scale[:, None])[label == name].mean(axis=0) for name in classes])
        if member.positions is not None:
            outcome.findings["trials"]["relevance"].append(
                {
                    **common,
                    "n_trials": len(label),
                    "classes": classes,
                    "values": (means / np.abs(means).max()).round(4).tolist(),
                }
            )
        if "attention" in mine[0]:
            weights = [len(one["row"]) for one in mine]
            mean = np.average([one["attention"] for one in mine], axis=0, weights=weights)
            _note_attention(outcome, common, mean, list(member.info["ch_names"]), member.positions)


def _note_attention(
    outcome: Outcome, common: dict[str, str], attention: np.ndarray, names: list[str], positions: np.ndarray | None
) -> None:
    from scipy.stats import spearmanr

    from brainbench.networks.zoo.rbtransformer import attention_entropy, attention_rollout

    distance = None
    if positions is not None:
        apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
        other = ~np.eye(len(names), dtype=bool)
        distance = round(float(spearmanr(attention.mean(axis=0)[other], apart[other]).statistic), 3)
    outcome.findings["trials"]["attention"].append(
        {
            **common,
            "channels": names,
            "entropy": [round(float(value), 4) for value in attention_entropy(attention).mean(axis=1)],
            "with_distance": distance,
            "blocks": len(attention),
            "mean": attention.mean(axis=0).round(5).tolist(),
            "rollout": attention_rollout(attention).mean(axis=0).round(5).tolist(),
        }
    )


def note_calibration(outcome: Outcome, recipe: TrialsRecipe, held_out: Mapping[tuple[str, str, str], Held]) -> None:
    """Add the calibration error of every participant, pipeline and scheme; keep the bins of the leading scheme."""
    main = next(iter(outcome.schemes))
    for (scheme, pipeline, subject), (y, probability) in held_out.items():
        found = calibrate(y, probability, n_draws=recipe.significance.n_permutations, seed=recipe.seed)
        outcome.add(
            subject=subject, scheme=scheme, pipeline=pipeline, fold=ALL, metric="ece", value=found.ece, p=found.p,
            null_95=found.null_95, n_rows=len(y),
        )  # fmt: skip
        if scheme == main:
            outcome.findings["trials"]["calibration"].append(
                {
                    "subject": subject,
                    "pipeline": pipeline,
                    "edges": found.edges.tolist(),
                    "count": found.count.astype(int).tolist(),
                    "confidence": found.confidence.round(6).tolist(),
                    "right": found.right.astype(int).tolist(),
                    "ece": found.ece,
                    "expected": found.expected if np.isfinite(found.expected) else None,  # none without draws
                }
            )
