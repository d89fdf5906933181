"""One subject's regions: the images that a region's encoding model responds to most, beside what they are held against.

Controls: the same noise without guidance, the stimuli themselves (mean, 95th percentile and the best of them), the
regions that were not asked for, and encoding models on other encoders, which judge the images and never guide them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import numpy as np

from brainbench.core.digests import digest_array
from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.data.base import Stimuli
from brainbench.recipes.kinds.explore import ExploreRecipe
from brainbench.reconstruction.base import Generator, Images
from brainbench.reconstruction.facets import mean_images
from brainbench.ridge.encoding import FoldSettings, fit_all, fit_fold
from brainbench.runs.engines import Runner
from brainbench.runs.units import Unit
from brainbench.studies.cases.case import Case
from brainbench.studies.cases.training_images import TrainingSet, training_set
from brainbench.studies.opened import Opened

Source = tuple[str, str]
"""Encoder and layer."""


@dataclass(frozen=True)
class Target:
    """What is raised: the response of a region, or the difference of two."""

    name: str
    roi: str
    minus: str | None = None

    def weights(self, rois: Sequence[str], spread: np.ndarray) -> np.ndarray:
        """Return the weight of every region's predicted response; `spread` is theirs over the stimuli."""
        found = np.zeros(len(rois))
        for name, sign in ((self.roi, 1.0), (self.minus, -1.0)):
            if name is not None:
                found[list(rois).index(name)] = sign / max(float(spread[list(rois).index(name)]), 1e-9)
        return found


@dataclass
class Exploration:
    """One subject's regions."""

    opened: Opened[ExploreRecipe]
    case: Case
    runner: Runner

    @property
    def recipe(self) -> ExploreRecipe:
        """The recipe."""
        return self.opened.recipe

    @property
    def subject(self) -> str:
        """The participant."""
        return self.case.rows.subject

    @property
    def stimuli(self) -> Stimuli:
        """What the participant saw."""
        return self.case.features.stimuli

    @cached_property
    def rois(self) -> list[str]:
        """Names of all regions."""
        return list(self.case.responses.rois)

    @cached_property
    def guide(self) -> Source:
        """The layer that guides."""
        entry = self.opened.encoder(self.recipe.guide.encoder)
        return entry.name, entry.encoder.select([self.recipe.guide.layer])[0].name  # type: ignore[union-attr]

    @cached_property
    def sources(self) -> list[Source]:
        """The layer that guides, then those that judge."""
        others = [(entry.name, layer.name) for entry in self.opened.encoders for layer in entry.layers]
        return [self.guide, *(source for source in others if source[0] != self.guide[0])]

    @cached_property
    def targets(self) -> list[Target]:
        """What is explored.

        Raises
        ------
        UserError
            If a region does not exist.
        """
        recipe = self.recipe
        chosen = [name for name in self.rois if any(fnmatchcase(name, pattern) for pattern in recipe.rois)]
        if not chosen:
            raise UserError(f"rois: {recipe.rois} matches none of {one_of(self.rois)}")
        for contrast in recipe.contrasts:
            for name in (contrast.roi, contrast.minus):
                if name not in self.rois:
                    raise UserError(
                        f"contrasts: {self.subject} has no region '{name}'{did_you_mean(name, self.rois)}",
                        hint=f"regions: {one_of(self.rois)}",
                    )
        return [
            *(Target(name, name) for name in chosen),
            *(Target(f"{one.roi} - {one.minus}", one.roi, one.minus) for one in recipe.contrasts),
        ]

    # Encoding models -----------------------------------------------------------------------------------------------

    def features(self, source: Source) -> np.ndarray:
        """Return features of every stimulus as the linear reader takes them."""
        return self._normed(self.case.features.stored(*source))

    def _normed(self, features: np.ndarray) -> np.ndarray:
        X = np.asarray(features, dtype=np.float64)
        if not self.recipe.unit_norm:
            return X
        return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)

    def fit_unit(self, source: Source) -> Unit:
        """Return the unit that fits the encoding models of all regions on one layer, and scores them held out."""
        case, recipe = self.case, self.recipe
        low, high = recipe.head.log10_alphas
        settings = FoldSettings(
            np.logspace(low, high, recipe.head.n_alphas), inner_folds=recipe.head.inner_folds, seed=recipe.seed
        )
        masks = np.array([case.responses.rois[name] for name in self.rois], dtype=float)
        masks /= masks.sum(axis=1, keepdims=True)
        folds = case.split.folds

        def compute() -> dict[str, np.ndarray]:
            all_features = self.features(source)
            X, Y = all_features[case.rows.stimulus], case.rows.Y
            true, predicted = [], []
            for train, test in folds:
                inner = case.split.inner_groups(train)
                fold = fit_fold([X], Y, train, test, settings, inner_groups=inner, run=case.rows.run)
                true.append(fold.y_true @ masks.T)
                predicted.append(fold.y_pred @ masks.T)
            rows = np.arange(len(Y))
            fit = fit_all(X, Y, settings, inner_groups=case.split.inner_groups(rows), run=case.rows.run)
            coef, intercept = fit["coef"] @ masks.T, masks @ fit["intercept"]
            return {
                "coef": coef,
                "intercept": intercept,
                "predicted": all_features @ coef + intercept,
                "r": _columns_r(np.concatenate(true), np.concatenate(predicted)),
            }

        key = {
            "rows": case.rows.digest,
            "features": case.features.digest(*source),
            "unit_norm": recipe.unit_norm,
            "settings": {**vars(settings), "alphas": settings.alphas.tolist()},
            "rois": [[name, digest_array(case.responses.rois[name])] for name in self.rois],
            "folds": [[digest_array(part) for part in fold] for fold in folds],
        }
        return Unit("fit", f"{self.subject}, {source[0]}, {source[1]}", key, compute)

    def fits(self) -> list[dict[str, np.ndarray]]:
        """Return the fitted encoding models, that of the guide first."""
        return self.runner.read([self.fit_unit(source) for source in self.sources])

    # Drawing -------------------------------------------------------------------------------------------------------

    @cached_property
    def training(self) -> TrainingSet:
        """What the generator is trained on."""
        return training_set(
            self.recipe.generator, self.recipe.seed, self.opened.store, self.stimuli, np.arange(len(self.stimuli))
        )

    def _generator_key(self) -> dict[str, Any]:
        generator = self.opened.generator
        assert generator is not None
        images = self.training.digest if generator.trainable else None
        return {"generator": generator.parameters(), "images": images, "seed": self.recipe.seed}

    def train_unit(self) -> Unit:
        """Return the unit that trains the generator."""

        def compute() -> dict[str, np.ndarray]:
            return self.generator.training_record()

        return Unit("train", f"{self.subject}, generator", self._generator_key(), compute)

    @cached_property
    def generator(self) -> Generator:
        """The trained generator; a finished training is read from the run folder."""
        generator = self.opened.generator
        assert generator is not None
        if not generator.trainable:
            return generator
        return generator.train(
            self.training.pictures(generator.image_size, generator.channels),
            self.training.features(generator.conditions()),
            self.runner.folder.path / "generators" / self.train_unit().digest,
            seed=self.recipe.seed,
        )

    def seeds(self, n: int) -> list[int]:
        """Return seeds, the same for every target and scale."""
        return [int(seed) for seed in np.random.SeedSequence([self.recipe.seed, 107]).generate_state(n)]

    def draw_unit(self, target: Target | None, scale: float, *, facets: bool = False) -> Unit:
        """Return the unit that draws images and reads every region's response to them.

        Parameters
        ----------
        target : Target or None
            None draws without guidance.
        scale : float
        facets : bool
            Start from the mean images of the target's facets.
        """
        recipe = self.recipe
        fits = [self.fit_unit(source) for source in self.sources]

        def compute() -> dict[str, np.ndarray]:
            from brainbench.reconstruction.guidance import guide, process_of

            models = self.runner.read(fits)
            process = process_of(self.generator)
            starts: dict[str, np.ndarray] = {}
            initial: Images | None = None
            n = recipe.n_images
            if facets:
                assert target is not None and recipe.facets is not None
                starts = self._facets(target, models[0])
                each = max(1, n // len(starts["mean"]))
                initial = np.repeat(starts["mean"], each, axis=0)
                starts["facet"] = np.repeat(np.arange(len(starts["mean"])), each)
                n = len(initial)
            made = guide(
                process, self._response(target, models[0]), self.seeds(n), scale=scale, steps=recipe.generator.steps,
                initial=initial, strength=recipe.generator.strength,
            )  # fmt: skip
            images = np.rint(made.images * 255).astype(np.uint8)
            read = {f"read_{i}": self._read(images, i, models[i]) for i in range(len(self.sources))}
            return {"images": images, "trace": made.trace, **read, **starts}

        key = {
            **self._generator_key(),
            "revision": recipe.generator.revision,
            "fits": [unit.digest for unit in fits],
            "target": None if target is None else vars(target),
            "scale": scale,
            "n_images": recipe.n_images,
            "steps": recipe.generator.steps,
            "strength": recipe.generator.strength if facets else None,
            "facets": recipe.facets.model_dump() if facets and recipe.facets is not None else None,
        }
        what = "unguided" if target is None else f"{target.name}, {'facets' if facets else f'scale {scale:g}'}"
        return Unit("draw", f"{self.subject}, {what}", key, compute)

    def _response(self, target: Target | None, model: dict[str, np.ndarray]) -> Any:
        """Return the response that guides: standard deviations above the mean over the stimuli."""
        if target is None:
            return lambda pictures: pictures.flatten(1).sum(1) * 0
        from brainbench.reconstruction.guidance import linear_response

        encoder: Any = self.opened.encoder(self.guide[0]).encoder
        features = encoder.differentiable(self.guide[1], self.opened.encoder(self.guide[0]).settings.pool)
        weights = target.weights(self.rois, model["predicted"].std(axis=0))
        offset = float((model["intercept"] - model["predicted"].mean(axis=0)) @ weights)
        return linear_response(
            features, model["coef"] @ weights, offset, unit_norm=self.recipe.unit_norm, device=encoder.device
        )

    def _facets(self, target: Target, model: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        recipe, generator = self.recipe, self.generator
        assert recipe.facets is not None
        answer = model["predicted"] @ target.weights(self.rois, model["predicted"].std(axis=0))
        top = np.argsort(-answer, kind="stable")[: recipe.facets.n_top]
        from brainbench.reconstruction.images import stimulus_images

        pictures = stimulus_images(self.stimuli, generator.image_size, generator.channels, top)
        means, members = mean_images(
            pictures, self.features(self.guide)[top], recipe.facets.n_facets, recipe.facets.n_mean, recipe.seed
        )
        return {"mean": means, "members": top[members]}

    def _read(self, images: np.ndarray, index: int, model: dict[str, np.ndarray]) -> np.ndarray:
        """Return every region's response to images, standardised by those to the stimuli, ``(n, n_rois)``."""
        name, layer = self.sources[index]
        entry = self.opened.encoder(name)
        assert entry.encoder is not None
        found = entry.encoder.features(list(images), [layer], entry.settings.pool)[layer]
        return standardised(self._normed(found) @ model["coef"] + model["intercept"], model)

    def plan(self) -> dict[str, list[Unit]]:
        """Return every unit by stage."""
        scales, facets = self.recipe.scales, self.recipe.facets
        draw = [self.draw_unit(None, 0.0)]
        draw += [self.draw_unit(target, scale) for target in self.targets for scale in scales]
        if facets is not None:
            draw += [self.draw_unit(target, self.facet_scale, facets=True) for target in self.targets]
        train = [self.train_unit()] if self.opened.generator and self.opened.generator.trainable else []
        return {"fit": [self.fit_unit(source) for source in self.sources], "train": train, "draw": draw}

    @property
    def facet_scale(self) -> float:
        """The scale at which facets are drawn: the middle one."""
        return self.recipe.scales[len(self.recipe.scales) // 2]


def standardised(predicted: np.ndarray, model: dict[str, np.ndarray]) -> np.ndarray:
    """Return predicted responses in standard deviations of those to the stimuli, from their mean."""
    spread = np.maximum(model["predicted"].std(axis=0), 1e-9)
    out: np.ndarray = ((predicted - model["predicted"].mean(axis=0)) / spread).astype(np.float32)
    return out


def check_guide(one: Exploration) -> None:
    """Refuse a guide or a region that is not there, before any long work.

    Raises
    ------
    UserError
        Naming it.
    """
    entry, layer = one.opened.encoder(one.recipe.guide.encoder), one.recipe.guide.layer
    if entry.encoder is None or not hasattr(entry.encoder, "differentiable"):
        raise UserError(f"guide: encoder '{entry.name}' is shuffled or has no gradient; it cannot guide")
    if len(entry.encoder.select([layer])) != 1:
        raise UserError(f"guide: layer '{layer}' of '{entry.name}' matches more than one layer")
    one.targets  # noqa: B018 (names of regions are checked)


def _columns_r(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return Pearson's r of every column; 0 where one does not vary."""
    a, b = true - true.mean(axis=0), predicted - predicted.mean(axis=0)
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    out: np.ndarray = np.where(size > 0, (a * b).sum(axis=0) / np.where(size > 0, size, 1), 0.0)
    return out
