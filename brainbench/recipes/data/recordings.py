"""Recordings of sensors: the way from a recording to trials, and where recordings come from."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from brainbench.recipes.base import Section
from brainbench.recipes.data.base import DatasetSettings


class BandPower(Section):
    """Makes trials the stimuli, and the band power of electrode groups the responses (`kind: encode`)."""

    tmin: float | None = Field(None, examples=[4.0])
    """Start of the part whose power is predicted, in seconds after the event; null takes the part that encoders read,
    which asks what their layers keep of it. A later part asks what they foretell."""
    tmax: float | None = Field(None, examples=[5.0])
    """Its end, in seconds after the event."""
    bands: dict[str, list[float]] = Field(
        {"theta": [4.0, 8.0], "alpha": [8.0, 13.0], "beta": [13.0, 30.0]}, min_length=1
    )
    """Bands by name, in Hz."""
    groups: dict[str, list[str]] | None = Field(None, min_length=1, examples=[{"motor": ["C3", "Cz", "C4"]}])
    """Electrodes of each region, by name; null groups them by their 10-10 names."""
    detrend: bool = True
    """Take each run's linear trend out of the power: drifting electrodes would let the order of trials predict it."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if (self.tmin is None) != (self.tmax is None):
            raise ValueError("`tmin` and `tmax` go together: the later part that is predicted, or neither")
        if self.tmin is not None and self.tmax is not None and self.tmax <= self.tmin:
            raise ValueError(f"`tmax` ({self.tmax:g} s) must lie after `tmin` ({self.tmin:g} s)")
        for name, band in self.bands.items():
            if len(band) != 2 or not 0 < band[0] < band[1]:
                raise ValueError(f"band '{name}' is two rising frequencies above 0 Hz, got {band}")
        return self


class RecordingSettings(DatasetSettings):
    """What every data set of continuous sensor recordings has: the way from a recording to trials."""

    others: ClassVar[dict[str, Any]] = {}
    """Other recordings than those of `example`, for a network that is trained elsewhere (`trained_on`)."""
    apart: ClassVar[str] = ""
    """A participant that a template holds out."""

    band: list[float] | None = Field([8.0, 30.0], min_length=2, max_length=2)
    """Pass band in Hz, filtered on the continuous recording before trials are cut; null leaves it as it is."""
    filter: Literal["fir", "iir"] = "fir"
    """MNE's default FIR, or a Butterworth of order 4; both with zero phase."""
    tmin: float = 0.5
    """Start of a trial, in seconds after its event."""
    tmax: float = 3.5
    """End of a trial, in seconds after its event."""
    sfreq: float | None = Field(None, gt=0, examples=[128.0])
    """Resample to this rate in Hz, after filtering; null keeps the recorded rate."""
    reference: Literal["as_recorded", "average", "bipolar"] = "as_recorded"
    """Keep the recorded reference, subtract the mean of the chosen channels, or take the differences of neighbouring
    contacts along each shaft (contacts in the head, named by shaft and number)."""
    channels: Literal["all"] | list[str] = "all"
    """`all` channels that measure the brain, or a list of names."""
    exclude_channels: list[str] = Field([], examples=[["T9", "T10"]])
    """Channels to leave out, such as broken ones."""
    channel_types: dict[str, str] = Field({}, examples=[{"EXG1": "eog"}])
    """What single channels are where a file does not say so, or says it wrong, such as {EXG1: eog, X3: eeg}."""
    other_channels: Literal["leave_out", "keep"] = "leave_out"
    """Channels that name or values show to be eyes, heart, muscle, breath or triggers: left out, or decoded too."""
    bad_channels: Literal["leave_out", "interpolate", "keep"] = "leave_out"
    """Channels that a file calls bad: left out of all runs of the subject, interpolated, or used."""
    bad_stretches: Literal["leave_out", "keep"] = "leave_out"
    """Trials that touch a stretch marked BAD, or span an interruption of the recording: left out, or used."""
    projectors: Literal["apply", "leave"] = "apply"
    """Projectors of a file that are not applied yet: applied to all channels before any is left out, or never."""
    repeated_trials: Literal["leave_out", "keep"] = "leave_out"
    """Trials whose samples stand in an earlier run of the subject too: left out, or used (a leak, which is said)."""
    band_power: BandPower | None = None
    """With `kind: encode`: trials are the stimuli, and the band power of electrode groups the responses."""

    @property
    def modality_shown(self) -> str:
        """Names of the classes; with `band_power` the signals of the trials."""
        return "text" if self.band_power is None else "array"

    @property
    def shown_otherwise(self) -> str:
        """See `DatasetSettings.shown_otherwise`."""
        return "; with a `band_power` section, the signals of its trials (array)" if self.band_power is None else ""

    @property
    def starters(self) -> list[dict[str, Any]]:
        """A network that was trained on other recordings, held against the power of what it reads."""
        network = {"decoder": "braindecode", "model": "EEGNet"}
        return [
            {"name": "eegnet", "family": "eeg", "decoder": network, "trained_on": self.others},
            {"name": "power", "family": "band_power"},
        ]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.tmax <= self.tmin:
            raise ValueError(f"`tmax` ({self.tmax:g} s) must lie after `tmin` ({self.tmin:g} s)")
        later = self.band_power.tmin if self.band_power is not None else None
        if later is not None and later < self.tmax:
            raise ValueError(
                f"`band_power.tmin` ({later:g} s) must not lie before `tmax` ({self.tmax:g} s), the end of what "
                "encoders read; leave it out to take the same part"
            )
        if self.band is not None and not 0 <= self.band[0] < self.band[1]:
            raise ValueError(f"`band` must rise from 0 Hz or more, got {self.band}")
        return self


class PhysionetMiSettings(RecordingSettings):
    """EEG Motor Movement/Imagery (Schalk et al. 2004): 109 subjects, 64 channels, 160 Hz."""

    built_by = "brainbench.recordings.physionet:PhysionetMi"
    official = True
    example = {"subjects": ["S001", "S002", "S003"]}
    begins = {"hold_out": ["run"], "evaluate": [{"scheme": "leave-one-run-out"}]}
    others = {"paradigm": "executed_left_right"}
    apart = "S003"
    name: Literal["physionet-mi"] = "physionet-mi"
    paradigm: Literal[
        "imagery_left_right",
        "imagery_fists_feet",
        "executed_left_right",
        "executed_fists_feet",
        "left_right",
        "fists_feet",
        "rest_left_right",
        "eyes_open_closed",
    ] = "imagery_left_right"
    """Which runs: imagined left or right fist (4, 8, 12), imagined fists or feet (6, 10, 14), executed ones, or both
    kinds together; `rest_left_right` has rest (1, 2) besides, for what reads recordings whole; `eyes_open_closed` is
    rest, cut into trials one after the other: every run has one label, so that people are held out, not runs."""


class MoabbSettings(RecordingSettings):
    """Any data set of MOABB, by the name of its class."""

    built_by = "brainbench.recordings.moabb:Moabb"
    keeps_own_root = True
    example = {"dataset": "BNCI2014_001", "subjects": ["1", "2", "3"]}
    begins = {"hold_out": ["run"], "evaluate": [{"scheme": "leave-one-session-out"}]}
    others = {"subjects": ["4", "5", "6"]}
    apart = "3"
    name: Literal["moabb"] = "moabb"
    dataset: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", examples=["BNCI2014_001"])
    """Class in `moabb.datasets`, such as BNCI2014_001."""
    parameters: dict[str, Any] = Field({}, examples=[{"imagined": True}])
    """Arguments of that class."""
    events: list[str] | None = Field(None, min_length=2, examples=[["left_hand", "right_hand"]])
    """Classes to keep; without it all of the data set's."""
    tmin: float = 0.0
    """Start of a trial, in seconds after the data set's task interval begins."""
    tmax: float = 3.0
    """End of a trial, in seconds after the data set's task interval begins."""


class EegFolderSettings(RecordingSettings):
    """The user's own recordings (EDF, BDF, GDF, BrainVision, EEGLAB, FIF, CSV) with a table of events."""

    built_by = "brainbench.recordings.eeg_folder:EegFolder"
    example = {"subjects": ["01", "02"]}
    begins = {"hold_out": ["run"], "evaluate": [{"scheme": "k-fold"}]}
    others = {"subjects": ["03"]}
    apart = "02"
    name: Literal["eeg-folder"] = "eeg-folder"
    recordings: str = "recordings.csv"
    """Table of the files, relative to root: `path`, `subject`, and where there are several `session`, `run`."""
    events: str = "events.csv"
    """Table of the events, relative to root: `path`, `onset` in seconds, `label`; `annotations`, the files' own (where
    a file has none, those of its stim channel); or `stim`, the codes of a stim channel."""
    stim_channel: str | None = Field(None, examples=["Status"])
    """Channel that holds the codes, where it is not the one of kind stim that MNE takes."""
    labels: dict[str, str] | None = Field(None, examples=[{"T1": "left", "T2": "right"}])
    """Labels to keep and what to call them, such as {T1: left, T2: right}; without it every label as it stands."""
    unit: Literal["volt", "microvolt"] = "volt"
    """What the numbers are when a file does not say; MNE takes them for volts."""
    montage: str | None = Field(None, examples=["standard_1020"])
    """Name of an MNE montage whose positions the channel names stand for; null keeps the files' own positions."""
    kind: Literal["eeg", "seeg", "ecog", "mag", "grad"] = "eeg"
    """Kind of channel that is decoded."""
    contacts: str | None = Field(None, examples=["contacts.csv"])
    """Table of contacts, relative to root: `name`, where it is of several people `subject`, and columns of labels
    (region, atlas, tissue); null takes the electrodes.tsv of BIDS beside the recordings, where there is one."""

    @model_validator(mode="after")
    def _one_source_of_events(self) -> Self:
        if self.stim_channel is not None and self.events not in ("annotations", "stim"):
            raise ValueError(f"`stim_channel` is for `events: stim`; events would come from the table {self.events}")
        return self
