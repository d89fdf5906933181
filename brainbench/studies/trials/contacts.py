"""What single contacts contribute, judged on training rows alone, and decoding from the best of them.

In every fold of the leading scheme contacts are ranked by its training rows: by the accuracy of each alone on inner
folds, or by the weights of a network that was trained on all of them. Then the pipeline is fitted to the best 1, 2, 4,
... and tested on the rows held out, which had no say in the choice. Nothing is tested against chance here: the choice
would have to be made anew for every order of the labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from brainbench.core.errors import UserError
from brainbench.evaluation.trials.scores import score_trials
from brainbench.recipes.kinds.trials import TrialsRecipe
from brainbench.recipes.pipelines import ContactResolved, NetworkSettings, PipelineSettings
from brainbench.recordings.base import RecordingDataset
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.opened import Opened
from brainbench.studies.outcome import ALL, Outcome
from brainbench.studies.trials.groups import picked
from brainbench.studies.trials.nulls import learned_of
from brainbench.studies.trials.parts import SHOWN
from brainbench.studies.trials.trials import Case, by_subject, make_decoder, predicted, recordings_of

Fold = tuple[np.ndarray, np.ndarray]


def contact_units(opened: Opened[TrialsRecipe], case: Case) -> list[Unit]:
    """Return a unit per fold of a case; none where the recipe does not ask for contacts."""
    section = opened.recipe.contacts
    if section is None:
        return []
    return [_unit(opened.recipe, section, recordings_of(opened), case, index) for index in range(len(case.folds))]


def check_contacts(recipe: TrialsRecipe, lead: list[Case]) -> None:
    """Refuse numbers of contacts that a participant does not have, and inner folds that classes do not fill.

    Raises
    ------
    UserError
        Before any unit.
    """
    section = recipe.contacts
    if section is None:
        return
    settings = recipe.part_pipeline(section)
    for case in lead:
        member = case.members[0]
        names = list(member.info["ch_names"])
        if section.counts is not None and section.counts[-1] > len(names):
            raise UserError(
                f"contacts.counts: {section.counts[-1]} contacts, and {member.subject} has {len(names)} channels"
            )
        one = picked(member, names[:1])
        try:
            make_decoder(settings, one, recipe).check_trials(1, one.n_times, len(case.classes))
        except UserError as error:
            raise UserError(
                f"contacts: {member.subject}, {settings.name}, one contact alone: {error.message}", hint=error.hint
            ) from error
        for number, (train, _) in enumerate([] if isinstance(settings, NetworkSettings) else case.folds, start=1):
            counts = np.unique(case.rows.label[train], return_counts=True)[1]
            if counts.min() < section.n_splits:
                raise UserError(
                    f"contacts.n_splits: {section.n_splits} inner folds, and the training rows of fold {number} of "
                    f"{member.subject} have {counts.min()} trials of a class",
                    hint=f"`contacts.n_splits: {max(2, int(counts.min()))}`",
                )


def counts_of(section: ContactResolved, n_channels: int) -> list[int]:
    """Return the numbers of contacts that are decoded from."""
    if section.counts is not None:
        return section.counts
    doubled = [2**power for power in range(n_channels.bit_length()) if 2**power < n_channels]
    return [*doubled, n_channels]


def _unit(recipe: TrialsRecipe, section: ContactResolved, dataset: RecordingDataset, case: Case, index: int) -> Unit:
    settings, first = recipe.part_pipeline(section), case.members[0]
    who = first.subject if len(case.members) == 1 else str(case.rows.subject[case.folds[index][1][0]])

    def compute() -> dict[str, np.ndarray]:
        parts = [dataset.trials(member.subject, settings.band).X for member in case.members]
        X = parts[0] if len(parts) == 1 else np.concatenate(parts)
        train, test = case.folds[index]
        try:
            contribution, order = _ranked(recipe, section, settings, case, X, train)
            probability = [
                _decoded(recipe, settings, case, X, order[:count], index) for count in counts_of(section, X.shape[1])
            ]
        except (ValueError, np.linalg.LinAlgError) as error:
            raise UserError(f"{who}, {settings.name}, contacts, fold {index + 1}: {error}") from error
        return {"row": test, "probability": np.stack(probability), "contribution": contribution, "order": order}

    key = {
        "trials": case.digests,
        "rows": case.fold_digest(index),
        "contacts": section.model_dump(mode="json", exclude={"pipeline"}),
        "pipeline": settings.model_dump(mode="json", exclude={"name"}),
        "seed": recipe.seed,
        "threads": recipe.execution.threads_per_unit,
    }
    return Unit("decode_contacts", f"{who}, {settings.name}, contacts, fold {index + 1}", key, compute)


def _ranked(
    recipe: TrialsRecipe, section: ContactResolved, settings: PipelineSettings, case: Case, X: np.ndarray,
    train: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return what every contact contributes, and contacts from the best to the least, by training rows alone."""
    member, y, domains = case.members[0], case.rows.label, case.rows.sessions
    if isinstance(settings, NetworkSettings):
        decoder = make_decoder(settings, member, recipe)
        prepared = decoder.prepare(X)
        decoder.fit_prepared(prepared[train], y[train], groups=case.groups(train), domains=domains[train])
        weights = decoder.channel_weights()
        assert weights is not None  # `ranks_contacts` says it
        return weights, np.argsort(-weights, kind="stable")
    folds = _inner(section.n_splits, y[train], case.groups(train), recipe.seed)
    n_channels = X.shape[1]
    right, likely = np.zeros(n_channels), np.zeros(n_channels)
    for channel, name in enumerate(member.info["ch_names"]):
        decoder = make_decoder(settings, picked(member, [name]), recipe)
        prepared = decoder.prepare(X[train][:, [channel]])
        for fit, held in folds:
            decoder.fit_prepared(prepared[fit], y[train][fit], domains=domains[train][fit])
            found = decoder.probability_of(prepared[held], domains=domains[train][held])
            at = np.searchsorted(decoder.classes_, y[train][held]).clip(max=len(decoder.classes_) - 1)
            known = decoder.classes_[at] == y[train][held]  # a class may be missing from an inner fold
            right[channel] += np.sum(known & (found.argmax(axis=1) == at))
            likely[channel] += np.log(np.clip(np.where(known, found[np.arange(len(at)), at], 0), 1e-6, 1)).sum()
    # Accuracies of few trials are often equal: probabilities then say which contact comes first.
    return right / len(train), np.lexsort((-likely, -right))


def _inner(n_splits: int, y: np.ndarray, groups: np.ndarray, seed: int) -> list[Fold]:
    """Return folds of training rows, by run, session or participant where there are enough of them."""
    if len(np.unique(groups)) >= n_splits:
        return list(StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed).split(y, y, groups))
    return list(StratifiedKFold(n_splits, shuffle=True, random_state=seed).split(y, y))


def _decoded(
    recipe: TrialsRecipe, settings: PipelineSettings, case: Case, X: np.ndarray, chosen: np.ndarray, index: int
) -> np.ndarray:
    """Return the probabilities of a fold's test rows, decoded from some contacts."""
    train, test = case.folds[index]
    at = np.sort(chosen)
    names = [case.members[0].info["ch_names"][one] for one in at]
    decoder = make_decoder(settings, picked(case.members[0], names), recipe)
    prepared, domains = decoder.prepare(X[:, at]), case.rows.sessions
    decoder.fit_prepared(prepared[train], case.rows.label[train], groups=case.groups(train), domains=domains[train])
    return predicted(decoder, prepared, domains, test, case.known(index), trialwise=case.trialwise).astype(np.float64)


def report_contacts(
    outcome: Outcome, recipe: TrialsRecipe, runner: Runner, found: list[tuple[Case, list[Unit]]]
) -> None:
    """Add the scores of every number of contacts, and what the report draws of each contact."""
    section = recipe.contacts
    if section is None:
        return
    for case, units in found:
        arrays = runner.read(units)
        settings = recipe.part_pipeline(section)
        names = list(case.members[0].info["ch_names"])
        counts = counts_of(section, len(names))
        scheme = f"{case.label}, best contacts"
        for at, count in enumerate(counts):
            folds = [{"row": one["row"], "probability": one["probability"][at]} for one in arrays]
            for member, predictions in by_subject(case, folds):
                y = np.searchsorted(case.classes, case.rows.label[predictions.row])
                scored = score_trials(
                    y, predictions, learned=learned_of(case, member.subject), n_draws=recipe.bootstrap.n_draws,
                    confidence=recipe.bootstrap.confidence, seed=recipe.seed,
                )  # fmt: skip
                for metric in SHOWN:
                    score = scored.metrics[metric]
                    outcome.add(
                        subject=member.subject, scheme=scheme, pipeline=settings.name,
                        roi=f"{count} contact{'' if count == 1 else 's'}", fold=ALL, metric=metric, value=score.value,
                        ci_low=score.ci_low, ci_high=score.ci_high, n_targets=count, n_rows=scored.n_trials,
                    )  # fmt: skip
        known = outcome.findings["trials"]["contacts"] or {"maps": []}
        outcome.findings["trials"]["contacts"] = {
            "scheme": scheme,
            "pipeline": settings.name,
            "weights": isinstance(settings, NetworkSettings),
            "maps": [*known["maps"], *_maps(case, names, arrays)],
        }


def _maps(case: Case, names: list[str], arrays: list[dict[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Return what every contact contributes: mean over the folds that test a participant, and its ranks there."""
    found = []
    for member in case.members:
        mine = [one for one in arrays if np.all(case.rows.subject[one["row"]] == member.subject)]
        if not mine:
            continue
        contribution = np.stack([one["contribution"] for one in mine])
        rank = np.stack([np.argsort(one["order"]) + 1 for one in mine])
        found.append(
            {
                "subject": member.subject,
                "names": names,
                "mean": contribution.mean(axis=0).round(4).tolist(),
                "low": contribution.min(axis=0).round(4).tolist(),
                "high": contribution.max(axis=0).round(4).tolist(),
                "rank": np.median(rank, axis=0).round(1).tolist(),
                "folds": len(mine),
            }
        )
    return found
