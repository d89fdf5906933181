"""`data init` on responses in images: volumes with mask and atlas, and pairs of surfaces."""

import pytest

from brainbench.commands.proposing.init import init
from brainbench.recipes.reader import read_recipe
from tests.data.folders import SURFACES, VOLUMES, write_surfaces, write_trials, write_volumes
from tests.sweeps.made_folders import write_cifti


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_trials(tmp_path / "my images")
    return tmp_path / "my images"


@pytest.mark.parametrize(("write", "known"), [(write_volumes, VOLUMES), (write_surfaces, SURFACES)])
def test_images_of_responses_lead_to_a_recipe_without_problems(folder, write, known):
    write(folder)
    for path in folder.rglob("*.npy"):
        path.unlink()
    lines = init("my images")
    dataset = read_recipe("my images.yaml").dataset
    found = {name: value.replace("sub-{", "{") for name, value in dataset.model_dump().items() if name in known}
    assert found == known and dataset.name == "folder"
    assert any(line.endswith("my images.yaml: no problems") for line in lines), lines
    assert not any("simulated" in line for line in lines)


def test_cifti_files_are_found_with_their_regions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my images"
    write_cifti(folder)
    for path in folder.rglob("*.npy"):
        path.unlink()
    lines = init("my images")
    dataset = read_recipe("my images.yaml").dataset
    assert dataset.rois == "areas.dlabel.nii" and dataset.responses.endswith("}/betas.dscalar.nii")
    assert any(line.endswith("my images.yaml: no problems") for line in lines), lines


def test_volumes_without_a_mask_say_that_it_is_missing(folder):
    write_volumes(folder)
    for path in (*folder.rglob("*.npy"), folder / "mask.nii.gz"):
        path.unlink()
    lines = init("my images")
    assert any(line.startswith("missing  the mask of the volumes") for line in lines)
    assert not any("no problems" in line for line in lines)


def test_one_hemisphere_alone_is_no_pair(folder):
    write_surfaces(folder, n=20)
    for path in (*folder.rglob("*.npy"), *folder.rglob("*hemi-R*")):
        path.unlink()
    assert any("no array, volume or pair of surfaces" in line for line in init("my images"))
