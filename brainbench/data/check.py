"""The contract every data set keeps: `brainbench data check NAME`, and the test that new loaders pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.account import shortened
from brainbench.data.base import Dataset, Responses, Stimuli
from brainbench.data.vision.clip import Clip

SPACES = ("volume", "fsaverage5", "surface", "cifti", "roi", "none")


def check_dataset(dataset: Dataset, subjects: Sequence[str] | None = None) -> list[str]:
    """Open stimuli and responses of every subject and hold them against the contract.

    Parameters
    ----------
    dataset : Dataset
    subjects : sequence of str, optional
        Check these only.

    Returns
    -------
    facts : list of str
        What was found, a line per subject and below it what was used of every run.

    Raises
    ------
    UserError
        With everything that breaks the contract.
    """
    facts, problems = [], []
    if not dataset.subjects:
        problems.append("no subject")
    if len(set(dataset.subjects)) != len(dataset.subjects):
        problems.append("a subject is listed twice")
    for path in dataset.files():
        if not path.is_file():
            problems.append(f"files() names {path}, which is not a file")
    for subject in subjects if subjects is not None else dataset.subjects:
        stimuli, found, account, modelled = dataset.stimuli(subject), [], [], None
        if dataset.measured:
            responses = dataset.responses(subject)
            found, account = [*_responses(responses, stimuli, subject)], responses.account
            modelled = responses.modelled
            if dataset.responses(subject).digest() != responses.digest():
                found.append("responses differ when they are read again")
        found = [*_stimuli(stimuli), *found]
        if dataset.stimuli(subject).digest() != stimuli.digest():
            found.append("stimuli differ when they are read again")
        problems += [f"{subject}: {problem}" for problem in found]
        facts.append(f"{subject}: {dataset.summary(subject)}")
        facts += [f"  {row}" for row in shortened(account)]
        facts += [f"  {model}" for model in modelled.runs] if modelled else []
        repeated = repeated_content(stimuli)
        if repeated is not None:
            facts.append(f"  {repeated}")
    if problems:
        raise UserError("\n".join(problems), hint=f"the contract is brainbench.data.base ({dataset.name})")
    return facts


def repeated_content(stimuli: Stimuli) -> str | None:
    """Say which stimuli have the content of another one under another id; words of a story may, and say nothing."""
    if stimuli.modality == "word":
        return None
    first: dict[str, str] = {}
    pairs = []
    for name, content in zip(stimuli.ids, stimuli.content_digests, strict=True):
        if content in first:
            pairs.append((first[content], name))
        first.setdefault(content, name)
    if not pairs:
        return None
    return (
        f"{len(pairs)} of {len(stimuli)} stimuli have the content of another one under another id "
        f"('{pairs[0][1]}' that of '{pairs[0][0]}')"
    )


def _stimuli(stimuli: Stimuli) -> Iterator[str]:
    n = len(stimuli)
    if not n:
        yield "no stimulus"
        return
    if len(set(stimuli.ids)) != n:
        yield "a stimulus id is there twice"
    if len(stimuli.content_digests) != n:
        yield f"{len(stimuli.content_digests)} content digests for {n} stimuli"
    for name, values in (("onset", stimuli.onset), ("duration", stimuli.duration), *stimuli.labels.items()):
        if values is not None and len(values) != n:
            yield f"{name} has {len(values)} values for {n} stimuli"
    if stimuli.modality == "word" and stimuli.onset is None:
        yield "words have no onset"
    if stimuli.onset is not None and np.any(np.diff(stimuli.onset) < 0):
        yield "onsets do not rise"
    for index in {0, n // 2, n - 1}:
        yield from _stimulus(stimuli, index)


def _stimulus(stimuli: Stimuli, index: int) -> Iterator[str]:
    value, name = stimuli.load(index), stimuli.ids[index]
    if stimuli.modality == "image":
        if not (isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3):
            yield f"stimulus '{name}' is not an image (height, width, 3) of uint8"
    elif stimuli.modality == "clip":
        if not (isinstance(value, Clip) and value.at(np.zeros(1)).ndim == 4):
            yield f"stimulus '{name}' is not a clip"
    elif stimuli.modality in ("array", "sound"):
        if not (isinstance(value, np.ndarray) and value.dtype.kind == "f" and np.isfinite(value).all()):
            yield f"stimulus '{name}' is not an array of finite numbers"
    elif not (isinstance(value, str) and value.strip()):
        yield f"stimulus '{name}' is not a text"


def _responses(responses: Responses, stimuli: Stimuli, subject: str) -> Iterator[str]:
    n, n_targets = responses.n_presentations, responses.n_targets
    data = np.asarray(responses.data)
    if responses.subject != subject:
        yield f"responses say they are of '{responses.subject}'"
    if data.ndim != 2 or data.dtype not in (np.float32, np.float64):
        yield f"data is {data.dtype} of {data.ndim} axes; two axes of float32 or float64 are needed"
        return
    if not np.isfinite(data).all():
        yield "data has values that are not finite"
    elif n > 1 and np.any(np.ptp(data, axis=0) == 0):
        yield f"{int(np.sum(np.ptp(data, axis=0) == 0))} targets never change"
    if len(responses.run) != n:
        yield f"run has {len(responses.run)} values for {n} rows"
    if not responses.rois:
        yield "no ROI"
    for name, mask in responses.rois.items():
        if mask.shape != (n_targets,) or mask.dtype != bool:
            yield f"ROI '{name}' is not a mask of {n_targets} targets"
        elif not mask.any():
            yield f"ROI '{name}' is empty"
    per_row = {"nuisance": responses.nuisance, **responses.labels, **responses.extra_features}
    for name, values in per_row.items():
        if values is not None and len(values) != n:
            yield f"{name} has {len(values)} values for {n} rows"
    for name in ("ceiling", "ncsnr"):
        values = getattr(responses, name)
        if values is not None and np.shape(values) != (n_targets,):
            yield f"{name} is not one number for each of {n_targets} targets"
    yield from _timing(responses, stimuli)
    if responses.space not in SPACES:
        yield f"space '{responses.space}' is none of {', '.join(SPACES)}"
    if responses.masker is not None:
        responses.masker.inverse_transform(data[0].astype(np.float32))


def _timing(responses: Responses, stimuli: Stimuli) -> Iterator[str]:
    n, continuous = responses.n_presentations, responses.continuous
    if (responses.stimulus is None) != (continuous is not None):
        yield "rows need either a stimulus each (trials) or a time each (continuous)"
    if responses.nuisance is not None and continuous is None:
        yield "nuisance is taken out of continuous designs alone"
    if responses.stimulus is not None:
        stimulus = np.asarray(responses.stimulus)
        if stimulus.shape != (n,) or stimulus.dtype.kind != "i":
            yield f"stimulus is not one whole number for each of {n} rows"
        elif stimulus.min() < 0 or stimulus.max() >= len(stimuli):
            yield f"stimulus points outside of the {len(stimuli)} stimuli"
    if continuous is not None:
        if len(continuous.row_time) != n:
            yield f"row_time has {len(continuous.row_time)} values for {n} rows"
        if stimuli.onset is None:
            yield "a continuous recording needs stimuli with onsets"
        if np.any(np.diff(continuous.row_time) <= 0):
            yield "row_time does not rise"
