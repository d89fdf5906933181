"""Classifiers from responses to labels: scikit-learn's, each with its scaler fitted on the training rows.

The discriminant is our own, equal to scikit-learn's, which takes the cube of the features where rows are few.
"""

from __future__ import annotations

from typing import Any

from brainbench.recipes.parts import CLASSIFIERS


def shrinkage_lda(seed: int = 0) -> Any:
    """Linear discriminant analysis with Ledoit-Wolf shrinkage."""
    from brainbench.decoders.discriminant import ShrinkageLDA

    return ShrinkageLDA()


def ridge_classifier(seed: int = 0) -> Any:
    """Ridge regression on label indicators, penalty by leave-one-out on training rows."""
    import numpy as np
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=np.logspace(-1, 6, 15)))


def logistic(seed: int = 0) -> Any:
    """Logistic regression with an L2 penalty."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000, random_state=seed))


def linear_svm(seed: int = 0) -> Any:
    """Linear support vector machine."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    return make_pipeline(StandardScaler(), LinearSVC(C=0.01, random_state=seed))


def make_classifier(name: str, seed: int = 0) -> Any:
    """Return a new classifier by name."""
    return CLASSIFIERS[name](seed)
