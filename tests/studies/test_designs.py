"""What is made of features once serves participants who saw the same stimuli, each in an order of their own."""

import numpy as np
import pytest

from brainbench.core.last_used import LastUsed
from brainbench.core.progress import Stages
from brainbench.evaluation.refit import column_scores
from brainbench.recipes.reader import read_recipe
from brainbench.ridge.encoding import FoldDesign, fit_fold
from brainbench.ridge.fixed import FixedFits
from brainbench.ridge.solver.solver import Solver
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
    kept, sources = KeptDesigns(LastUsed(100_000_000)), [("pixels", "pixels")]
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


def test_people_are_fitted_by_folds_that_are_factorised_once(cases, monkeypatch):
    recipe, people = cases
    kept, sources, made = KeptDesigns(LastUsed(100_000_000)), [("pixels", "pixels")], []
    solver = Solver.__init__

    def counted(self, *args, **how):
        made.append(self)
        solver(self, *args, **how)

    monkeypatch.setattr(Solver, "__init__", counted)
    for number, case in enumerate(people):
        settings, X = fold_settings(recipe, case), case.features.rows(*sources[0])[case.rows.first]
        before = len(made)
        fits = [kept.of(recipe, case, settings, sources).fit(index, case.rows.Y) for index in range(3)]
        assert len(made) - before == (3 if number == 0 else 0)
        for (train, test), (rows, found) in zip(case.split.folds, fits, strict=True):
            inner = case.split.inner_groups(train)
            own = fit_fold([X], case.rows.Y, train, test, settings, inner_groups=inner, run=case.rows.run)
            place = np.argsort(rows)
            np.testing.assert_array_equal(rows[place], np.sort(test))
            for name in ("y_true", "y_pred"):
                np.testing.assert_allclose(
                    getattr(found, name)[place], getattr(own, name)[np.argsort(test)], atol=1e-6
                )  # fmt: skip
            np.testing.assert_array_equal(found.best_alphas, own.best_alphas)


def test_only_the_folds_that_are_asked_for_are_made(cases):
    recipe, (case, _) = cases
    small = KeptDesigns(LastUsed(0)).of(recipe, case, fold_settings(recipe, case), [("pixels", "pixels")])
    made = [make.func for make in small.shared._make]
    assert made == [FoldDesign] * 3 and not any(small.shared._folds)
    assert small.shared.fold(1) is small.shared.fold(1)
    assert [one is not None for one in small.shared._folds] == [False, True, False]
