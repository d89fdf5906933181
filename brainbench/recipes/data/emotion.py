"""EEG of people who watch films and say what they felt, in the layouts of their authors."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from brainbench.recipes.data.recordings import RecordingSettings


class FilmSettings(RecordingSettings):
    """What data sets of films share: each film is a trial, or many."""

    official = True
    begins = {"hold_out": ["run"], "evaluate": [{"scheme": "k-fold"}]}
    band: list[float] | None = Field([4.0, 45.0], min_length=2, max_length=2)
    """Pass band in Hz, filtered on every film before trials are cut; null leaves it as it is."""
    tmin: float = Field(0.0, ge=0)
    """Start of a trial, in seconds after its event: the film's beginning, or with `every` a later one."""
    tmax: float = 60.0
    """End of a trial, in seconds after its event; films that end before are left out and counted."""
    every: float | None = Field(None, gt=0, examples=[4.0])
    """Seconds from one trial of a film to the next; every film is then a run, and leave-one-run-out holds whole films
    out. Null: a film is one trial, and a session a run."""
    unit: Literal["microvolt", "volt"] = "microvolt"
    """What the numbers are; the files do not say."""
    montage: str | None = "standard_1005"
    """Name of an MNE montage whose positions the channel names stand for; null goes without positions."""

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.every is not None and self.tmin:
            raise ValueError("with `every` a trial begins at its event: `tmin` is 0")
        return self


class DeapSettings(FilmSettings):
    """DEAP (Koelstra et al. 2012): 32 participants, 40 music videos, 32 channels; `data_preprocessed_python`."""

    built_by = "brainbench.recordings.films.deap:Deap"
    example = {"subjects": ["s01", "s02"]}
    others = {"subjects": ["s03"]}
    apart = "s02"
    name: Literal["deap"] = "deap"
    rating: Literal["valence", "arousal", "dominance", "liking"] = "valence"
    """Which scale, from 1 to 9."""
    threshold: float | None = 5.0
    """Ratings from here on are `high`, others `low`; null makes every whole number a class."""


class DreamerSettings(FilmSettings):
    """DREAMER (Katsigiannis & Ramzan 2018): 23 participants, 18 film clips, 14 channels; `DREAMER.mat`."""

    built_by = "brainbench.recordings.films.dreamer:Dreamer"
    example = {"subjects": ["1", "2"]}
    others = {"subjects": ["3"]}
    apart = "2"
    name: Literal["dreamer"] = "dreamer"
    rating: Literal["valence", "arousal", "dominance"] = "valence"
    """Which scale, from 1 to 5."""
    threshold: float | None = 3.0
    """Ratings from here on are `high`, others `low`; null makes every whole number a class."""


class ClipSettings(FilmSettings):
    """What the two sets of SEED share."""

    example = {"subjects": ["1", "2"]}
    others = {"subjects": ["3"]}
    apart = "2"
    exclude_channels: list[str] = Field(["CB1", "CB2"], examples=[["CB1", "CB2"]])
    """Channels to leave out; these two have no place in any montage, so that `[]` needs `montage: null`."""


class SeedSettings(ClipSettings):
    """SEED (Zheng & Lu 2015): 15 participants, 15 film clips in each of three sessions; `Preprocessed_EEG`."""

    built_by = "brainbench.recordings.films.seed:Seed"
    name: Literal["seed"] = "seed"


class SeedIvSettings(ClipSettings):
    """SEED-IV (Zheng et al. 2018): 15 participants, 24 film clips in each of three sessions; `eeg_raw_data`."""

    built_by = "brainbench.recordings.films.seed:SeedIv"
    name: Literal["seed-iv"] = "seed-iv"
    tmax: float = 40.0
    """End of a trial, in seconds after its event; films that end before are left out and counted."""
