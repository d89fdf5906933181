"""A user's own folder from recipe to report: volumes, surfaces, a story, and fMRIPrep derivatives."""

import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml

import brainbench as bb
from brainbench.core.errors import UserError
from brainbench.recipes.reader import parse_recipe
from brainbench.studies.check import check_study
from tests.data.bids_folder import write_bids
from tests.data.folders import SURFACES, VOLUMES, write_story, write_surfaces, write_trials, write_volumes
from tests.figures import unwritten
from tests.sweeps.made_folders import write_cifti

COMMON = {"kind": "encode", "significance": {"n_permutations": 20}, "bootstrap": {"n_draws": 20}}
PIXELS = {"name": "pixels", "family": "pixels", "role": "model", "image_size": 4}


def run(tmp_path, dataset, encoders, **settings):
    recipe = {**COMMON, "dataset": {"root": str(tmp_path / "data"), **dataset}, "encoders": encoders, **settings}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    return bb.run(tmp_path / "mine.yaml", out=tmp_path / "run", cache=tmp_path / "cache")


@pytest.mark.parametrize(("write", "settings"), [(write_volumes, VOLUMES), (write_surfaces, SURFACES)])
def test_images_in_a_space_give_maps_that_are_drawn(tmp_path, write, settings):
    write_trials(tmp_path / "data")
    write(tmp_path / "data")
    done = run(tmp_path, {"name": "folder", **settings}, [PIXELS], similarity=["rsa"], folds={"n_splits": 3})
    maps = sorted((done.path / "maps").glob("*encoder-pixels*stat-pearsonr*"))
    assert len(maps) == 2
    scores = np.load(done.path / "targets" / "sub-01_scheme-stimulus_encoder-pixels_layer-pixels_stat-pearsonr.npy")
    image = nibabel.load(maps[0])
    values = (
        np.concatenate([array.data for array in image.darrays])
        if hasattr(image, "darrays")
        else np.asarray(image.dataobj)[np.asarray(nibabel.load(tmp_path / "data" / "mask.nii.gz").dataobj) > 0]
    )
    np.testing.assert_allclose(values, scores, rtol=1e-6)
    assert list((done.path / "figures").glob("map_*.svg"))
    bounds = {entry["roi"] for entry in done.facts["findings"]["rsa_ceilings"]}
    assert "all" in bounds


def test_rows_without_a_label_are_of_no_class(tmp_path):
    write_trials(tmp_path / "data")
    path = tmp_path / "data" / "stimuli.csv"
    pd.read_csv(path).assign(kind=["face", "house", "n/a", "face", "house", ""]).to_csv(path, index=False)
    recipe = {
        "kind": "decode", "dataset": {"name": "folder", "root": str(tmp_path / "data"), "subjects": ["sub-01"]},
        "hold_out": ["run"], "significance": {"n_permutations": 0}, "bootstrap": {"n_draws": 4},
        "decoding": {"label": "kind", "decoders": [{"name": "one", "classifier": "ridge_classifier"}]},
    }  # fmt: skip
    outcome, _ = check_study(parse_recipe(yaml.safe_dump(recipe), "recipe.yaml"), tmp_path / "run")
    assert {row["n_rows"] for row in outcome.rows if row["fold"] == "all"} == {12}
    assert all(item["labels"] == ["face", "house"] for item in outcome.findings["confusion"])
    assert outcome.chance["balanced_accuracy"] == 0.5
    assert "decoding of sub-01: 6 of 18 rows are left out, which have no label (n/a, or nothing)" in outcome.warnings


def test_a_story_of_ones_own(tmp_path):
    write_story(tmp_path / "data")
    encoders = [{"name": "rate", "family": "word_rate", "role": "model"}]
    dataset = {"name": "folder", "continuous": True, "modality": "word"}
    done = run(tmp_path, dataset, encoders, folds={"n_splits": 3, "trim_s": 4.0}, timing={"high_pass_s": 60.0})
    assert done.facts["schemes"][0]["certificate"]["ok"] is False  # four seconds are not enough between rows
    assert done.warnings[0].startswith("LEAK: training rows lie within")
    first_box = done.report.read_text().split("</header>")[0]
    assert done.warnings[0] in first_box
    assert set(done.scores["roi"]) == {"all"}


def test_regions_in_another_order_keep_their_own_numbers(tmp_path, monkeypatch):
    """Units keep numbers of regions side by side: intervals of one were read as those of another from the cache."""
    unwritten(monkeypatch)
    write_bids(tmp_path / "data")
    names = tmp_path / "data" / "atlas.tsv"
    dataset = {"name": "bids", "task": "read", "modality": "text", "atlas": "atlas.nii.gz"}
    encoders = [{"name": "random", "family": "random", "width": 4, "role": "model"}]
    settings = {"hold_out": ["run"], "patterns": ["pattern_r"]}
    before = run(tmp_path, dataset, encoders, **settings).scores
    assert before["ci_low"].notna().sum() > 2 and before["roi"].nunique() > 2
    header, *rows = names.read_text().splitlines()
    names.write_text("\n".join([header, *rows[::-1]]) + "\n")
    after = run(tmp_path, dataset, encoders, **settings).scores
    fresh = bb.run(tmp_path / "mine.yaml", out=tmp_path / "fresh", cache=tmp_path / "empty").scores
    pd.testing.assert_frame_equal(after, fresh)
    key = ["metric", "roi", "fold"]
    drawn = ["p", "q", "null_95"]  # which targets are fitted again is drawn region by region
    pd.testing.assert_frame_equal(
        *(one.sort_values(key, ignore_index=True).drop(columns=drawn) for one in (before, after))
    )


def test_derivatives_of_fmriprep(tmp_path):
    write_bids(tmp_path / "data")
    dataset = {
        "name": "bids", "task": "read", "modality": "text", "confounds": ["motion"], "atlas": "atlas.nii.gz",
    }  # fmt: skip
    encoders = [{"name": "random", "family": "random", "width": 16, "role": "model"}]
    done = run(tmp_path, dataset, encoders, hold_out=["run"])
    lead = done.scores.query("metric == 'pearson_r' and fold == 'all' and roi == 'all'").iloc[0]
    # Stimuli repeat in every run, so that even random vectors find their amplitudes again: a ceiling is near.
    assert lead["value"] > 0.5 and lead["ceiling"] > lead["value"] - 0.1
    first = done.facts["data"][0]
    assert (first["subject"], first["run"], first["left_out"]) == ("sub-01", "run-1", "1 of 9 events")
    page = done.report.read_text()
    assert "8 betas of 8 events in 120 volumes" in page and "stim_file&#39;: not modelled" in page
    assert list((done.path / "maps").glob("*.nii.gz"))
    assert "How responses were estimated" in page and "split-half reliability of a single showing" in page
    assert {path.name for path in done.path.glob("figures/*.svg")} >= {"design_sub-01.svg", "mask_sub-01.svg"}
    (models,) = done.facts["findings"]["models"]
    assert np.array(models["design"]["values"]).shape == (120, len(models["design"]["regressors"]))
    mask, mean = (nibabel.load(done.path / models[name]) for name in ("mask", "background"))
    assert mask.shape == mean.shape and int(np.asarray(mask.dataobj).sum()) == done.facts["subjects"][0]["n_targets"]


@pytest.mark.parametrize(
    ("form", "space", "ending"), [("surface", "fsaverage5", ".gii"), ("cifti", "fsLR", ".dscalar.nii")]
)
def test_derivatives_on_the_cortex_give_maps_that_are_not_drawn(tmp_path, form, space, ending):
    write_bids(tmp_path / "data", form=form)
    dataset = {"name": "bids", "task": "read", "modality": "text", "confounds": ["motion"], "space": space}
    encoders = [{"name": "random", "family": "random", "width": 16, "role": "model"}]
    done = run(tmp_path, dataset, encoders, hold_out=["run"])
    maps = sorted((done.path / "maps").iterdir())
    assert maps and all(path.name.endswith(ending) for path in maps)
    nibabel.load(maps[0])
    assert not list(done.path.glob("figures/map_*"))


def test_pictures_that_are_all_alike_are_said_to_explain_nothing(tmp_path):
    write_trials(tmp_path / "data")
    for index in range(1, 6):
        shutil.copy(tmp_path / "data" / "images" / "image0.png", tmp_path / "data" / "images" / f"image{index}.png")
    done = run(tmp_path, {"name": "folder"}, [PIXELS], folds={"n_splits": 3})
    assert done.scores.query("metric == 'pearson_r'")["value"].eq(0).all()
    assert sum("nothing was tested: the features are the same" in text for text in done.facts["warnings"]) == 2


def test_grayordinates_give_maps_in_their_own_format(tmp_path):
    write_cifti(tmp_path / "data")
    dataset = {"name": "folder", "responses": "{subject}/betas.dscalar.nii", "rois": "areas.dlabel.nii"}
    done = run(tmp_path, dataset, [PIXELS], folds={"n_splits": 3})
    maps = sorted((done.path / "maps").glob("*stat-pearsonr*.dscalar.nii"))
    assert len(maps) == 2
    image = nibabel.load(maps[0])
    assert image.shape == (1, 17) and set(image.header.get_axis(1).name) == {
        "CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT", "CIFTI_STRUCTURE_THALAMUS_LEFT",
    }  # fmt: skip
    assert "open it in Connectome Workbench" in done.report.read_text()


@pytest.mark.parametrize("n_stimuli", [2, 3])
def test_two_stimuli_are_too_few_to_hold_one_out(tmp_path, n_stimuli):
    write_trials(tmp_path / "data")
    stimuli = pd.read_csv(tmp_path / "data" / "stimuli.csv").iloc[:n_stimuli]
    stimuli.to_csv(tmp_path / "data" / "stimuli.csv", index=False)
    for subject in ("sub-01", "sub-02"):
        folder = tmp_path / "data" / subject
        design = pd.read_csv(folder / "design.csv")
        shown = design["stimulus"].isin(stimuli["id"]).to_numpy()
        design[shown].to_csv(folder / "design.csv", index=False)
        np.save(folder / "responses.npy", np.load(folder / "responses.npy")[shown])
    dataset = {"name": "folder", "root": str(tmp_path / "data")}
    pixels = [{"name": "pixels", "family": "pixels", "image_size": 4, "role": "model"}]
    with pytest.raises(UserError, match=rf"training of fold \d has 1 of {n_stimuli} rows; a model needs two or more"):
        run(tmp_path, dataset, pixels, hold_out=["stimulus"], folds={"n_splits": 2})
