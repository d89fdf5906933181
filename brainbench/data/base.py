"""The contract of a data set: stimuli, and for each subject the responses to their presentations.

See :func:`brainbench.data.check.check_dataset`, which every registered data set passes.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from brainbench.core.digests import digest, digest_array
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.data.account import Modelled, RunUse, rows_by_run
from brainbench.data.sound.recording import Heard, Recording, sounds_of
from brainbench.recipes import datasets as catalogue

Modality = Literal["image", "text", "word", "sound", "clip", "array"]


class TargetMasker(Protocol):
    """What turns target values back into an image: a fitted nilearn masker."""

    def inverse_transform(self, X: np.ndarray) -> Any:
        """Return an image of `X`, ``(n_targets,)`` or ``(n_maps, n_targets)``."""


@dataclass(frozen=True)
class Pieces:
    """What stimuli were shown as, several pieces each: the pictures of a concept. Features are the mean over pieces.

    Parameters
    ----------
    stimuli : Stimuli
        The pieces.
    of : int ndarray (n_pieces,)
        The stimulus that each belongs to.
    """

    stimuli: Stimuli
    of: np.ndarray

    def mean(self, features: np.ndarray) -> np.ndarray:
        """Return the mean of the pieces' features, ``(n_stimuli, n_features)`` float32."""
        total = np.zeros((int(self.of.max()) + 1, features.shape[1]))
        np.add.at(total, self.of, features)
        return (total / np.bincount(self.of)[:, None]).astype(np.float32)


@dataclass(frozen=True)
class Stimuli:
    """What the participants saw, heard or read; loaded one at a time.

    Parameters
    ----------
    ids : sequence of str
        One name per stimulus, unique, in the order encoders see them.
    modality : {"image", "text", "word", "sound", "clip", "array"}
        ``image``: `load` gives ``(height, width, 3)`` uint8 RGB. ``text``: a string. ``word``: one word of a
        continuous story, in order (`load` gives the word; encoders may use the words before it).
        ``sound``: a piece of a recording (`load` gives float32 ``(n_samples,)``; `heard` says which).
        ``clip``: a moving picture (`load` gives a `brainbench.data.vision.clip.Clip`).
        ``array``: a float array that only array encoders accept (pixels of a pattern, sound power).
    load : callable
        ``load(i)`` returns stimulus `i`.
    content_digests : sequence of str
        SHA-256 of each stimulus' content, so that equal content under two ids is found.
    onset, duration : ndarray (n_stimuli,), optional
        Seconds from the start of the recording; continuous designs (``word``) only.
    labels : mapping of str to ndarray (n_stimuli,), optional
        What is known of the stimuli: category, style.
    source : str
        Where they come from, for the report.
    captions : sequence of tuples of str (n_stimuli,), optional
        What people wrote of each image or clip, where somebody did. Encoders of texts read the first of each.
    sfreq : float, optional
        Samples per second, where stimuli are signals: ``array`` of ``(n_channels, n_times)``.
    layout : brainbench.recordings.whole.sensors.Layout, optional
        Which sensors the channels of signals are, for encoders that ask where they lie.
    heard : Heard, optional
        The piece of a recording that each stimulus is: always for ``sound``, for ``word`` where the sound is known.
    pieces : Pieces, optional
        What each stimulus was shown as, where that is several pieces.
    """

    ids: Sequence[str]
    modality: Modality
    load: Callable[[int], Any]
    content_digests: Sequence[str]
    onset: np.ndarray | None = None
    duration: np.ndarray | None = None
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    source: str = ""
    captions: Sequence[tuple[str, ...]] | None = None
    sfreq: float | None = None
    layout: Any = None
    heard: Heard | None = None
    pieces: Pieces | None = None

    @property
    def encoded(self) -> Stimuli:
        """What encoders are given: the stimuli, or the pieces they were shown as."""
        return self if self.pieces is None else self.pieces.stimuli

    @classmethod
    def of(cls, values: Sequence[np.ndarray] | Sequence[str], ids: Sequence[str] | None = None) -> Stimuli:
        """Return stimuli held in memory: images ``(height, width, 3)`` uint8, other float arrays, or texts."""
        first = values[0]
        modality: Modality = "text"
        if not isinstance(first, str):
            modality = "image" if first.dtype == np.uint8 and first.ndim == 3 else "array"
        return cls(
            ids=list(ids) if ids is not None else [f"{index:05d}" for index in range(len(values))],
            modality=modality,
            load=values.__getitem__,
            content_digests=[digest(value) if isinstance(value, str) else digest_array(value) for value in values],
            source="values in memory",
        )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: np.ndarray) -> Stimuli:
        """Return some of the stimuli, in the order given; nothing is loaded."""
        rows = [int(i) for i in index]
        return replace(
            self,
            ids=[self.ids[i] for i in rows],
            load=lambda i: self.load(rows[i]),
            content_digests=[self.content_digests[i] for i in rows],
            onset=None if self.onset is None else np.asarray(self.onset)[rows],
            duration=None if self.duration is None else np.asarray(self.duration)[rows],
            labels={name: np.asarray(values)[rows] for name, values in self.labels.items()},
            captions=None if self.captions is None else [self.captions[i] for i in rows],
            heard=None if self.heard is None else self.heard.take(rows),
            pieces=None if self.pieces is None else self._pieces_of(rows),
        )

    def _pieces_of(self, rows: list[int]) -> Pieces:
        assert self.pieces is not None
        each = [np.flatnonzero(self.pieces.of == row) for row in rows]
        of = np.repeat(np.arange(len(rows)), [len(one) for one in each])
        return Pieces(self.pieces.stimuli.take(np.concatenate(each)), of)

    @classmethod
    def of_sounds(cls, recordings: Sequence[Recording]) -> Stimuli:
        """Return whole recordings as stimuli; `Recording.of` holds one in memory, `open_wav` opens a file."""
        heard = sounds_of(recordings)
        return cls(
            ids=[f"{index:05d}-{one.name}" for index, one in enumerate(recordings)],
            modality="sound",
            load=heard.piece,
            content_digests=[one.digest for one in recordings],
            source="sounds in memory",
            heard=heard,
        )

    def caption(self, index: int) -> str:
        """Return the first caption of an image.

        Raises
        ------
        UserError
            If it has none, or an empty one.
        """
        texts = () if self.captions is None else self.captions[index]
        if not texts or not texts[0].strip():
            raise UserError(
                f"stimulus '{self.ids[index]}' has no caption, and what is read of it is an image with its text",
                hint="`dataset.captions`, or a column `caption` of the table of stimuli, says where captions are",
            )
        return texts[0]

    def seen_by(self, modalities: Sequence[str]) -> Stimuli:
        """Return the stimuli as one that reads these modalities sees them: captions of pictures as texts."""
        if self.modality in modalities or self.captions is None or "text" not in modalities:
            return self
        texts = [self.caption(i) for i in range(len(self))]
        return replace(
            self,
            modality="text",
            load=texts.__getitem__,
            content_digests=[digest(text) for text in texts],
            captions=None,
            source=f"captions of {self.source}",
        )

    def digest(self) -> str:
        """Return one digest of the stimuli's content, order and timing."""
        timing = [None if a is None else digest_array(np.asarray(a)) for a in (self.onset, self.duration)]
        captions = [] if self.captions is None else [[list(one) for one in self.captions]]
        rate = [] if self.sfreq is None else [self.sfreq]
        layout = [] if self.layout is None else [self.layout.digest()]
        heard = [] if self.heard is None else [self.heard.digest()]
        if self.pieces is not None:
            heard += [self.pieces.stimuli.digest(), digest_array(self.pieces.of)]
        return digest([self.modality, list(self.content_digests), timing, *captions, *rate, *layout, *heard])


@dataclass(frozen=True)
class Continuous:
    """Timing of a continuous recording: row ``k`` was measured at ``row_time[k]`` seconds.

    ``row_time`` and the stimuli's ``onset`` share one clock. ``t_r`` is in seconds.
    """

    row_time: np.ndarray
    t_r: float


@dataclass
class Responses:
    """What was measured of one subject.

    Parameters
    ----------
    subject : str
    data : ndarray or memmap (n_presentations, n_targets)
        float32 or float64; finite; no flat target.
    stimulus : int ndarray (n_presentations,) or None
        Index into the stimuli of each row; None for continuous designs, where rows are time points.
    run : str ndarray (n_presentations,)
        The run (group) of each row.
    rois : mapping of str to bool ndarray (n_targets,)
    continuous : Continuous, optional
        Set for continuous designs.
    masker : TargetMasker, optional
        Turns target values into an image, when the data has a space.
    space : str
        ``"volume"``, ``"fsaverage5"``, ``"surface"`` (another mesh), ``"cifti"``, ``"roi"`` (targets are ROI means)
        or ``"none"``.
    nuisance : ndarray (n_presentations, n_nuisance), optional
        Regressors of no interest (motion) of continuous designs, regressed out inside folds.
    labels : mapping of str to ndarray (n_presentations,)
        Known facts of the rows that a decoder may ask for (``category``) or that the leak certificate checks
        (``style``).
    extra_features : mapping of str to ndarray (n_presentations, n_features)
        Per-row predictors that belong to this subject's recording, such as sound power.
    ceiling : ndarray (n_targets,), optional
        A ceiling in units of Pearson r that is known beforehand (simulations, published ceilings).
    ncsnr : ndarray (n_targets,), optional
        Noise ceiling SNR of single showings: standard deviation of signal over that of noise (Allen et al. 2022).
    background : Any, optional
        An image to draw maps on (nibabel image).
    notes : list of str
        Sentences for the report: files used, spaces, resampling.
    account : list of RunUse
        What was used of every run and what was left out, for the report; without it rows are counted by run.
    modelled : Modelled, optional
        The GLMs that the responses were estimated by, where that was done here.
    """

    subject: str
    data: np.ndarray
    stimulus: np.ndarray | None
    run: np.ndarray
    rois: Mapping[str, np.ndarray]
    continuous: Continuous | None = None
    masker: TargetMasker | None = None
    space: str = "none"
    nuisance: np.ndarray | None = None
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    extra_features: Mapping[str, np.ndarray] = field(default_factory=dict)
    ceiling: np.ndarray | None = None
    ncsnr: np.ndarray | None = None
    background: Any = None
    notes: list[str] = field(default_factory=list)
    account: list[RunUse] = field(default_factory=list)
    modelled: Modelled | None = None

    def __post_init__(self) -> None:
        # Equal values have equal digests, whatever their order in memory; sums in another order have other last digits.
        if self.data.flags.f_contiguous and not self.data.flags.c_contiguous:
            self.data = np.ascontiguousarray(self.data)
        if not self.account:
            self.account = rows_by_run(self.subject, self.run)

    @property
    def n_presentations(self) -> int:
        """Number of rows."""
        return int(self.data.shape[0])

    @property
    def n_targets(self) -> int:
        """Number of columns."""
        return int(self.data.shape[1])

    def digest(self) -> str:
        """Return one digest of everything that can change a score."""

        def of(value: np.ndarray | None) -> str | None:
            return None if value is None else digest_array(np.asarray(value))

        return digest(
            {
                "data": of(self.data),
                "stimulus": of(self.stimulus),
                "run": of(np.asarray(self.run, dtype=str)),
                "rois": {name: of(mask) for name, mask in self.rois.items()},
                "row_time": None if self.continuous is None else of(self.continuous.row_time),
                "t_r": None if self.continuous is None else self.continuous.t_r,
                "nuisance": of(self.nuisance),
                "labels": {name: of(np.asarray(v, dtype=str)) for name, v in self.labels.items()},
                "extra": {name: of(v) for name, v in self.extra_features.items()},
                "ceiling": of(self.ceiling),
                "ncsnr": of(self.ncsnr),
            }
        )


@dataclass(frozen=True)
class Context:
    """What a data set may know of the recipe that opens it.

    Parameters
    ----------
    seed : int
        The recipe's seed.
    cache : Path or None
        Folder of the feature store.
    encoders : mapping of str to settings
        The recipe's encoders by name; a simulation plants their layers.
    device : str
        Where encoders run.
    """

    seed: int = 0
    cache: Path | None = None
    encoders: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"


class Dataset(ABC):
    """A data set in its official layout.

    Attributes
    ----------
    name : str
        The name recipes use; also the name of its card ``datasets/<name>.yaml``.
    simulated : bool
        True when no brain was measured; said on every page.
    measured : bool
        False when nobody was shown the stimuli: there are no responses.
    aligned_targets : bool
        True when target ``j`` means the same in every subject (ROI time courses, a common space), so that a
        group mean of responses and between-subject ceilings exist.
    expected : str
        The files by which its folder is known, for messages.
    quick_stimuli : bool
        False when looking at the stimuli takes minutes the first time.
    quick_responses : bool
        False when the responses of one subject take minutes, because they are computed.
    made : str
        What was made in the place of what participants met, such as synthetic speech; said on the page, and nothing is
        claimed. Empty where stimuli are what was met.
    says_files : bool
        False when it cannot say which files it reads: a finished run reads them again, and fits only what changed.
    """

    name: str
    expected: str = "files in the official layout"
    simulated: bool = False
    measured: bool = True
    made: str = ""
    aligned_targets: bool = False
    quick_stimuli: bool = True
    quick_responses: bool = True
    says_files: bool = True

    @classmethod
    @abstractmethod
    def open(cls, settings: Any, root: Path | None, context: Context) -> Dataset:
        """Open the data set.

        Parameters
        ----------
        settings : pydantic model
            The recipe's ``dataset:`` section (see `brainbench.recipes.datasets`).
        root : Path or None
            The resolved folder (None for data sets that need no files).
        context : Context
            Seed, cache and encoders of the recipe.
        """

    @classmethod
    def looks_like(cls, path: Path) -> bool:
        """Return whether a folder holds this data set."""
        return path.is_dir()

    @property
    @abstractmethod
    def subjects(self) -> list[str]:
        """Every subject found, in order."""

    @abstractmethod
    def stimuli(self, subject: str) -> Stimuli:
        """Return the stimuli that `subject` was shown (may be shared by all subjects)."""

    @abstractmethod
    def responses(self, subject: str) -> Responses:
        """Return the responses of `subject`."""

    @abstractmethod
    def files(self) -> list[Path]:
        """Return every file this data set reads, for digests; empty when there are none."""

    def summary(self, subject: str) -> str:
        """Return in the words of its kind how much of what a subject has, for `brainbench data check`."""
        stimuli, responses = self.stimuli(subject), self.responses(subject)
        return (
            f"{responses.n_presentations} rows x {responses.n_targets} targets, {len(np.unique(responses.run))} runs, "
            f"{len(stimuli)} {stimuli.modality} stimuli, {len(responses.rois)} ROIs, space {responses.space}"
        )

    def truth(self) -> dict[str, Any]:
        """Return the planted truth of a simulation; empty for measured data."""
        return {}

    def notes(self) -> list[str]:
        """Sentences about the data set for the report: folder taken, subjects refused and why."""
        return []


def subject_named(known: Sequence[str], name: str) -> str | None:
    """Return the subject that a recipe calls so: by name, without ``sub-``, or by a number that only one has.

    ``1``, ``01`` and ``sub-01`` are the same where subjects are ``sub-01``, ``sub-02``; None stands for nobody.
    """
    for exact in (name, f"sub-{name}"):
        if exact in known:
            return exact
    found = []
    for one in known if name.isdecimal() else ():
        number = re.fullmatch(r"\D*(\d+)", one)
        if number is not None and int(number[1]) == int(name):
            found.append(one)
    return found[0] if len(found) == 1 else None


def subjects_asked(known: Sequence[str], wanted: str | Sequence[str]) -> list[str]:
    """Return those of `known` that `dataset.subjects` names; `choose_subjects` refuses names of nobody."""
    if wanted == "all":
        return list(known)
    named = {subject_named(known, name) for name in wanted}
    return [subject for subject in known if subject in named]


def choose_subjects(dataset: Dataset, wanted: str | Sequence[str]) -> list[str]:
    """Return the subjects asked for, in the data set's order.

    Raises
    ------
    UserError
        If none is named, or one does not exist, with the nearest that does.
    """
    known = dataset.subjects
    if wanted == "all":
        if not known:
            raise UserError("dataset: no subject was found")
        return known
    if not wanted:
        raise UserError("dataset.subjects: an empty list names nobody", hint=f"`all`, or some of {one_of(known)}")
    for subject in wanted:
        if subject_named(known, subject) is None:
            reasons = [note for note in dataset.notes() if subject in note]
            raise UserError(
                f"dataset.subjects: '{subject}' is not a subject of this data set"
                f"{did_you_mean(subject, known)}{' (' + reasons[0] + ')' if reasons else ''}",
                hint=f"subjects: {one_of(known)}",
            )
    return subjects_asked(known, wanted)


class _Loaders(Mapping[str, Any]):
    """Data sets by name -> their class."""

    def __getitem__(self, name: str) -> Any:
        return catalogue.DATASETS.builder(name)

    def __iter__(self) -> Iterator[str]:
        return iter(catalogue.DATASETS)

    def __len__(self) -> int:
        return len(catalogue.DATASETS)


DATASETS = _Loaders()
"""Data sets at the public door; the catalogue is `brainbench.recipes.datasets.DATASETS`."""
