"""All layers of an encoder against one response matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone

from brainbench.core.arrays import Array, arrays_of
from brainbench.ridge.inputs import check_alphas
from brainbench.ridge.ridge import RidgeCV, fit_together
from brainbench.ridge.solver.folds import choose, descending


class MultiLayer:
    """Ridge of every layer by itself, with what layers share done once.

    Blocks of responses (centred, scaled, in the cache) are shared: each is read once for all layers. The factorisations
    of all layers are in memory together.

    Parameters
    ----------
    head : RidgeCV
        Its parameters are used for every layer; it is not changed.

    Attributes
    ----------
    heads_ : dict of str to RidgeCV
        A fitted head per layer.
    scores_ : array (n_layers, n_targets)
        Score on inner folds of each layer's best penalty, for the choice of a layer. As with every choice, report the
        chosen layer by its score on rows that took no part.
    """

    def __init__(self, head: RidgeCV) -> None:
        self.head = head

    def fit(self, layers: Mapping[str, Any], y: Any, groups: Any = None) -> MultiLayer:
        """Fit every layer.

        Parameters
        ----------
        layers : mapping of str to array-like or tensor (n_rows, n_features of the layer)
        y : array-like or tensor (n_rows,) or (n_rows, n_targets)
        groups : array-like (n_rows,), optional
        """
        self._fit(layers, y, dict.fromkeys(layers), groups)
        return self

    def fit_then_predict(
        self, layers: Mapping[str, Any], y: Any, new: Mapping[str, Any], groups: Any = None
    ) -> dict[str, Array]:
        """Fit every layer and predict new rows, ``{layer: (n_new, n_targets)}``."""
        if set(new) != set(layers):
            raise ValueError("the layers to predict from must be those to fit")
        predicted = self._fit(layers, y, new, groups)
        single = np.ndim(y) == 1
        return {name: one[:, 0] if single else one for name, one in predicted.items()}

    def predict(self, layers: Mapping[str, Any]) -> dict[str, Array]:
        """Predict from every layer, ``{layer: (n_rows, n_targets)}``."""
        return {name: self.heads_[name].predict(X) for name, X in layers.items()}

    def _fit(self, layers: Mapping[str, Any], y: Any, new: Mapping[str, Any], groups: Any) -> dict[str, Array]:
        names = list(layers)
        if not names:
            raise ValueError("there is no layer to fit")
        heads = [clone(self.head) for _ in names]
        predicted = fit_together(heads, list(layers.values()), y, [new[name] for name in names], groups)
        self.heads_ = dict(zip(names, heads, strict=True))
        xp = arrays_of(heads[0].cv_scores_)
        self.scores_ = xp.empty((len(names), heads[0].cv_scores_.shape[1]), "float64")
        for index, head in enumerate(heads):
            order = xp.asarray(descending(check_alphas(head.alphas)))
            best = choose(head.cv_scores_, order)
            self.scores_[index] = head.cv_scores_[best, xp.asarray(np.arange(len(best)))]
        return dict(zip(names, predicted, strict=True))
