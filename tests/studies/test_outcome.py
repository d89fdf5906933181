"""What an outcome takes back, and how it says so."""

import nibabel
import numpy as np
import pytest

from brainbench.core.made import MadeFiles
from brainbench.data.cifti import CiftiMasker
from brainbench.data.images import SubsetMasker, fitted_masker
from brainbench.data.surfaces import SurfaceMasker
from brainbench.studies.outcome import Outcome, TargetMap, write_image
from tests.data.bids_folder import brain_axis

MASKERS = {
    "volume": lambda: fitted_masker(nibabel.Nifti1Image(np.eye(5, dtype=np.uint8)[..., None], np.eye(4))),
    "surface": lambda: SurfaceMasker(2),
    "cifti": lambda: CiftiMasker(brain_axis(45)[20:25]),
}


def row(roi, ceiling, low, value=0.1, **more):
    known = {"subject": "s1", "scheme": "stimulus", "metric": "pearson_r", "fold": "all", "q": 0.5}
    return known | {"roi": roi, "value": value, "ceiling": ceiling, "ceiling_low": low, "ceiling_high": 0.9} | more


def test_ceilings_that_failed_are_said_once_for_all_regions_layers_and_metrics():
    rows = [row(f"R{n}", 0.2, -0.1, layer=layer) for n in range(8) for layer in "ab"]
    outcome = Outcome(
        rows=[*rows, row("V1", 0.5, 0.3, value=0.6, q=0.01), row("V2", 0.5, 0.3), row("A", 0.2, -0.1, fold="1")]
    )
    outcome.hold_ceilings()
    first, second = outcome.warnings
    assert first.startswith("s1, stimulus: the noise ceiling was not found in R0 0.20 [-0.10, 0.90], R1 ")
    assert "R4 0.20 [-0.10, 0.90] and 3 more regions: its interval reaches 0; nothing is divided by it" in first
    assert second == (
        "s1, stimulus: the noise ceiling was not found in V1 0.50 [0.30, 0.90]: a score above chance lies above it; "
        "nothing is divided by it"
    )
    assert [one["ceiling"] for one in outcome.rows[-3:]] == [None, 0.5, 0.2] and len(outcome.failed_ceilings) == 17


@pytest.mark.parametrize("space", MASKERS)
def test_where_nothing_was_measured_no_map_of_p_is_significant(tmp_path, space):
    """Outside of a mask, and at targets that were left out, p was 0 in images."""
    keep = np.array([True, True, False, True, False])
    values = np.array([0.04, 1e-9, 1.0])
    for metric, elsewhere in (("p", 1.0), ("pearson_r", 0.0)):
        item = TargetMap("sub-01", "stimulus", "pixels", "pixels", metric, values)
        file = write_image(MadeFiles(tmp_path), item, SubsetMasker(MASKERS[space](), keep), space)
        image = nibabel.load(tmp_path / file)
        seen = np.concatenate([one.data for one in image.darrays]) if space == "surface" else image.get_fdata()
        seen = np.diagonal(seen[..., 0]) if space == "volume" else seen.ravel()
        np.testing.assert_allclose(seen, [values[0], values[1], elsewhere, values[2], elsewhere], rtol=1e-6)
        if space == "volume":
            assert image.get_fdata()[0, 1, 0] == elsewhere
