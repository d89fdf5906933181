"""What is made of features once serves participants who saw the same stimuli, each in an order of their own."""

import numpy as np
import pytest

from brainbench.core.progress import Stages
from brainbench.evaluation.refit import column_scores
from brainbench.recipes.reader import read_recipe
from brainbench.ridge.encoding import FoldDesign
from brainbench.ridge.fixed import FixedFits
from brainbench.runs.engines import LocalEngine, Runner
from brainbench.runs.folder import RunFolder
from brainbench.studies.base import study_of
from brainbench.studies.encode.designs import KeptDesigns
from brainbench.studies.encode.fits import fold_settings
from brainbench.studies.opened import open_all
from tests.studies.recipes import write_recipe

RECIPE = """\
kind: encode
dataset: {name: simulated, images: drawings, n_subjects: 2, n_stimuli: 30, n_repeats: 2, n_runs: 2,
          rois: [{roi: a, encoder: pixels, layer: pixels, n_voxels: 20}]}
folds: {n_splits: 3}
encoders: [{name: pixels, family: pixels, role: model, image_size: 4}]
head: {n_alphas: 3, inner_folds: 2}
"""


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("designs")
    recipe = read_recipe(write_recipe(folder, RECIPE))
    opened = open_all(recipe, folder / "cache")
    study = study_of(opened, Runner(RunFolder(folder / "run"), LocalEngine(1), Stages()))
    return recipe, study.cases[:2]


def test_people_share_folds_and_each_gets_their_own_rows(cases):
    recipe, people = cases
    kept, sources = KeptDesigns(), [("pixels", "pixels")]
    designs = [kept.of(recipe, case, fold_settings(recipe, case), sources) for case in people]
    assert designs[0].shared is designs[1].shared
    assert (people[0].rows.stimulus != people[1].rows.stimulus).any()
    rng = np.random.default_rng(0)
    for case, one in zip(people, designs, strict=True):
        X, Y = case.features.rows(*sources[0])[case.rows.first], rng.normal(size=(len(case.rows), 4)).astype(np.float32)
        settings = fold_settings(recipe, case)
        own = [
            FoldDesign([X], train, test, settings, inner_groups=case.split.inner_groups(train), run=case.rows.run)
            for train, test in case.split.folds
        ]
        score, fixed = column_scores("pearson_r", "folds"), FixedFits(own, 10.0, len(Y))
        np.testing.assert_allclose(score(list(one.refit(Y))), score([fold.refit(Y) for fold in own]), atol=1e-5)
        np.testing.assert_allclose(score(one.fixed(10.0)(Y)), score(fixed(Y)), atol=1e-5)
        np.testing.assert_allclose(one.fixed(10.0).form(), fixed.form(), atol=1e-5)
