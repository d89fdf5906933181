"""The ``dataset:`` section, one model per data set: those of `brainbench.recipes.data` are found by themselves.

A third party adds a model under the entry point ``brainbench.recipes.datasets`` beside its data set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from brainbench.recipes.catalogue import Catalogue
from brainbench.recipes.data.base import DatasetSettings
from brainbench.recipes.data.own import BidsSettings, FolderSettings, RdmSettings
from brainbench.recipes.data.published import (
    AliceSettings,
    Bold5000Settings,
    HaxbySettings,
    MiyawakiSettings,
    NsdSettings,
)
from brainbench.recipes.data.recordings import (
    BandPower,
    EegFolderSettings,
    MoabbSettings,
    PhysionetMiSettings,
    RecordingSettings,
)
from brainbench.recipes.data.simulated import PlantedRoi, SimulatedSettings

__all__ = [
    "DATASETS", "AliceSettings", "AnyDataset", "BandPower", "BidsSettings", "Bold5000Settings", "DatasetSettings",
    "EegFolderSettings", "FolderSettings", "HaxbySettings", "MiyawakiSettings", "MoabbSettings", "NsdSettings",
    "PhysionetMiSettings", "PlantedRoi", "RdmSettings", "RecordingSettings", "SimulatedSettings", "dataset_settings",
]  # fmt: skip

DATASETS = Catalogue(
    "datasets",
    "data set",
    DatasetSettings,
    module="brainbench.recipes.data",
    tag="name",
    section="dataset",
    room="simulation",
)
"""Settings of data sets by name; each builds a `brainbench.data.base.Dataset`, a simulation with encoders."""

if TYPE_CHECKING:
    AnyDataset = DatasetSettings
else:
    AnyDataset = Annotated[DatasetSettings, DATASETS]


def dataset_settings(values: dict[str, Any]) -> DatasetSettings:
    """Return validated settings from plain values, for use from Python."""
    return DATASETS.settings(values)
