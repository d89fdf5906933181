"""What an edit does to the prediction of a brain: once with the head as it was, once with the head fitted again.

With the head frozen an effect says that the head used what the edit changed; with the head fitted again, that the
information is gone. Neither says that a brain needs it. Beside every effect stand those of controls: edits of the same
kind and size, chosen at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brainbench.evaluation.metrics import METRICS
from brainbench.ridge.encoding import FoldDesign, FoldSettings


@dataclass(frozen=True)
class Design:
    """Rows of responses, and how they are held out.

    Attributes
    ----------
    Y : ndarray (n_rows, n_targets)
    folds : sequence of (train, test)
        int arrays of rows.
    settings : FoldSettings
    regions : bool ndarray (n_rois, n_targets)
        Scores are means over the targets of each.
    run : ndarray (n_rows,)
    inner_groups : sequence of ndarray or None
        Of every fold's training rows; None for contiguous inner folds.
    nuisance : ndarray (n_rows, n_nuisance), optional
    metric : str
        A metric of targets: ``pearson_r`` or ``r2``.
    pooled : bool
        Score the predictions of all folds together, where a fold is too small for a score of its own; else scores are
        means over folds.
    """

    Y: np.ndarray
    folds: Sequence[tuple[np.ndarray, np.ndarray]]
    settings: FoldSettings
    regions: np.ndarray
    run: np.ndarray
    inner_groups: Sequence[np.ndarray | None] | None = None
    nuisance: np.ndarray | None = None
    metric: str = "pearson_r"
    pooled: bool = False


@dataclass(frozen=True)
class Effects:
    """Scores of regions, intact and under every edit; nothing is clipped.

    Attributes
    ----------
    clean_folds : ndarray (n_folds, n_rois)
        Of every fold; of all together where they are pooled.
    frozen_folds, refitted_folds : ndarray (n_folds, n_edits, n_rois)
        Under the edit; effects are `clean_folds` minus these.
    """

    clean_folds: np.ndarray
    frozen_folds: np.ndarray
    refitted_folds: np.ndarray

    @property
    def clean(self) -> np.ndarray:
        """Intact scores, mean over folds, ``(n_rois,)``."""
        return np.asarray(self.clean_folds.mean(axis=0))

    @property
    def frozen(self) -> np.ndarray:
        """Scores with the head as it was, ``(n_edits, n_rois)``."""
        return np.asarray(self.frozen_folds.mean(axis=0))

    @property
    def refitted(self) -> np.ndarray:
        """Scores with the head fitted again, ``(n_edits, n_rois)``."""
        return np.asarray(self.refitted_folds.mean(axis=0))

    @property
    def lost_frozen(self) -> np.ndarray:
        """How much lower the score is with the head as it was, ``(n_edits, n_rois)``."""
        return self.clean - self.frozen

    @property
    def lost_refitted(self) -> np.ndarray:
        """How much lower the score is with the head fitted again, ``(n_edits, n_rois)``."""
        return self.clean - self.refitted


def effects(
    X: np.ndarray, edited: Sequence[np.ndarray], design: Design, shown: Sequence[np.ndarray] | None = None
) -> Effects:
    """Return scores with and without edits, mean over the targets of every region.

    Frozen, a head is fitted on clean training rows and predicts edited test rows: what is chosen or scaled by training
    rows is the same for both. Refitted, training and test rows are edited.

    Parameters
    ----------
    X : ndarray (n_rows, n_features)
        Features of the network as it is.
    edited : sequence of ndarray (n_rows, n_features)
        Under every edit.
    design : Design
    shown : sequence of ndarray (n_rows, n_features), optional
        What the frozen head is shown of every edit, in place of `edited` (`about_mean_of`).
    """
    shown = edited if shown is None else shown
    parts = [_predictions(X, edited, shown, design, number) for number in range(len(design.folds))]
    if design.pooled:
        parts = [(np.concatenate([true for true, _ in parts]), np.concatenate([said for _, said in parts], axis=1))]
    scores = np.array([[_by_region(y_true, y_pred, design) for y_pred in said] for y_true, said in parts])
    n_edits = len(edited)
    return Effects(scores[:, 0], scores[:, 1 : 1 + n_edits], scores[:, 1 + n_edits :])


def about_mean_of(intact: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Return features under an edit about the mean that they have without it, over all stimuli.

    What an edit adds to all stimuli alike says nothing of any of them. A frozen head would make the number of words of
    it where words of a volume are summed, and a wrong level where rows are stimuli; one that is fitted again has to
    live with it.

    Parameters
    ----------
    intact, changed : ndarray (n_stimuli, n_features)
    """
    moved = intact.mean(axis=0, dtype=np.float64) - changed.mean(axis=0, dtype=np.float64)
    return changed + moved.astype(changed.dtype)


def _predictions(
    X: np.ndarray, edited: Sequence[np.ndarray], shown: Sequence[np.ndarray], design: Design, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return measured test rows of a fold, and predicted ones ``(1 + 2 n_edits, n_test, n_targets)``.

    Intact first, then with the head frozen under every edit, then refitted.
    """
    train, test = design.folds[number]
    groups = None if design.inner_groups is None else design.inner_groups[number]
    whole = FoldDesign(
        [X], train, test, design.settings, inner_groups=groups, run=design.run, nuisance=design.nuisance,
        also=[[one] for one in shown],
    )  # fmt: skip
    y_train, y_test = whole.responses(design.Y)
    y_true = y_test - y_train.mean(axis=0)  # predictions are deviations from the training mean
    frozen = whole.fit(design.Y).y_pred.reshape(1 + len(edited), *y_true.shape)
    refitted = [whole.of([one]).fit(design.Y).y_pred for one in edited]
    return y_true, np.concatenate([frozen, np.stack(refitted)]) if refitted else frozen


def _by_region(y_true: np.ndarray, y_pred: np.ndarray, design: Design) -> np.ndarray:
    values = np.asarray(METRICS[design.metric].function(y_true, y_pred))
    return np.array([values[mask].mean() for mask in design.regions])


def recovery(clean: float, corrupt: float, patched: float, error: float = 0.0) -> float:
    """Return how much of what a corruption took a patch gives back; NaN where it took less than two standard errors.

    Neither clipped below 0 nor above 1 (FCCT, arXiv:2511.05923).
    """
    lost = clean - corrupt
    return float("nan") if lost <= 2 * error or lost == 0 else (patched - corrupt) / lost


def modality_gain(both: float, *alone: float) -> float:
    """Return what a score gains where a network is given all of a stimulus, over the best part of it alone.

    Parts are dropped at the input (`given: image` and `given: text` of `family: vision_language`), not set to 0 inside.
    """
    return both - max(alone)


def dissociation(effect: np.ndarray) -> float:
    """Return [E(A; U_A) - E(B; U_A)] + [E(B; U_B) - E(A; U_B)] of effects ``(2 sets, 2 outcomes)``."""
    return float(effect[0, 0] - effect[0, 1] + effect[1, 1] - effect[1, 0])


def centre_of_mass(values: np.ndarray) -> float:
    """Return the relative depth that values lie at, sum(l max(v, 0)) / sum(max(v, 0)) / (n - 1); NaN without any."""
    positive = np.clip(np.nan_to_num(values), 0, None)
    total = positive.sum()
    return float("nan") if total == 0 else float(positive @ np.arange(len(values)) / total / max(len(values) - 1, 1))


def reuse(lost: np.ndarray, share: float = 0.1) -> np.ndarray:
    """Return how much the most harmful heads of two regions overlap, each found in one half of the participants.

    Found in the same participants two regions would share the heads of their common noise. On the diagonal stand a
    region's own heads in both halves: what there is to be shared. No p: heads that change features most are, by that
    alone, more often among the most harmful of both.

    Parameters
    ----------
    lost : ndarray (n_people, n_heads, n_rois)
    share : float
        Of the heads, the most harmful.

    Returns
    -------
    ndarray (n_rois, n_rois)
        Jaccard's index, mean over both ways to deal halves to regions; NaN for a single participant.
    """
    n_people, n_heads, n_rois = lost.shape
    if n_people < 2:
        return np.full((n_rois, n_rois), np.nan)
    k = max(round(share * n_heads), 1)
    halves = [
        np.argsort(np.argsort(-lost[half::2].mean(axis=0), axis=0, kind="stable"), axis=0) < k for half in (0, 1)
    ]  # (n_heads, n_rois), whether a head is among the k
    both = halves[0].T.astype(int) @ halves[1].astype(int)
    jaccard = both / (2 * k - both)
    return np.asarray((jaccard + jaccard.T) / 2)


def shared_heads(one: np.ndarray, other: np.ndarray, share: float = 0.1) -> tuple[float, float]:
    """Return how much the most harmful heads of two regions overlap, and p of as much by chance.

    Parameters
    ----------
    one, other : ndarray (n_heads,)
        Effects of the heads on either region.
    share : float
        Of the heads, the most harmful.

    Returns
    -------
    jaccard, p : float
        p from the hypergeometric distribution.
    """
    from scipy.stats import hypergeom

    n, k = len(one), max(round(share * len(one)), 1)
    first, second = (set(np.argsort(-values, kind="stable")[:k].tolist()) for values in (one, other))
    both = len(first & second)
    return both / len(first | second), float(hypergeom.sf(both - 1, n, k, k))
