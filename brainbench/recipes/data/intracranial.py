"""Recordings of contacts in the head: published ones, and made ones in which informative contacts are planted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from brainbench.recipes.data.recordings import RecordingSettings


class DuInSettings(RecordingSettings):
    """Du-IN (Zheng et al. 2024): sEEG of 12 people who read 61 words aloud, differences of neighbouring contacts."""

    built_by = "brainbench.recordings.intracranial.duin:DuIn"
    official = True
    example = {"subjects": ["001", "002"]}
    begins = {"hold_out": ["run"], "evaluate": [{"scheme": "k-fold"}]}
    others = {"subjects": ["003"]}
    apart = "002"
    name: Literal["du-in"] = "du-in"
    version: Literal["unaligned", "aligned"] = "unaligned"
    """Which pickles of a run: those that the published training reads, or those aligned to the voice."""
    band: list[float] | None = Field(None, min_length=2, max_length=2, examples=[[70.0, 150.0]])
    """Pass band in Hz, filtered on every trial of the files alone; null leaves them as they are: 0.5-200 Hz."""
    tmin: float = Field(0.0, ge=0)
    """Start of a trial, in seconds after its first sample, which is half a second before the word is shown."""
    tmax: float = 2.999
    """End of a trial, in seconds after its first sample."""
    unit: Literal["microvolt", "volt"] = "microvolt"
    """What the numbers are; the files do not say."""
    contacts: str | None = Field(None, examples=["contacts.csv"])
    """Table of contacts, relative to root: `name`, `subject`, and columns of labels; none is published."""


class SimulatedSeegSettings(RecordingSettings):
    """Simulated sEEG of people who hear words: contacts of one region answer each word in its own way."""

    built_by = "brainbench.simulation.words:SimulatedSeeg"
    needs_root = False
    example = {"n_subjects": 1}
    begins = {"hold_out": ["run"], "evaluate": [{"scheme": "k-fold"}]}
    others = {"planted": False}
    apart = "sim-02"
    name: Literal["simulated-seeg"] = "simulated-seeg"
    n_subjects: int = Field(2, ge=1)
    """Number of participants, each with other contacts and another mixing."""
    n_words: int = Field(8, ge=2)
    """Number of words."""
    n_repeats: int = Field(20, ge=2)
    """How often each is heard, spread over the runs."""
    n_runs: int = Field(4, ge=1)
    """Runs."""
    n_shafts: int = Field(4, ge=1)
    """Shafts of five contacts, each in a region of its own: motor, temporal, insula, frontal, then region 5, ..."""
    strength: float = Field(0.25, ge=0)
    """Standard deviation of what a word adds to a contact of the planted region, in units of the contact's noise."""
    planted: bool = True
    """Whether contacts of the region `motor` answer at all; false makes a recording that tells nothing."""
    band: list[float] | None = Field([2.0, 80.0], min_length=2, max_length=2)
    """Pass band in Hz, filtered on the continuous recording before trials are cut; null leaves it as it is."""
    tmin: float = 0.0
    """Start of a trial, in seconds after its event."""
    tmax: float = 1.0
    """End of a trial, in seconds after its event."""
