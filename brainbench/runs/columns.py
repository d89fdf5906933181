"""The columns of ``scores.csv``: one schema for every kind of recipe.

Rows are long form: one number each, with its ceiling, confidence and p value beside it. ``fold`` is the number of
a test fold, or ``all`` for the score over folds, which alone carries a confidence, a p and a q. ``subject`` is a
participant, ``group`` (the mean response over participants, with its own ceiling) or ``mean`` (the mean of the
participants' scores, participants being a random effect).
"""

from __future__ import annotations

COLUMNS: dict[str, str] = {
    "subject": "participant, `group` (mean response) or `mean` (mean of the participants' scores)",
    "scheme": "what was held out: stimulus, run, stimulus+run; of trials: leave-one-run-out, few-shot-5, ...",
    "encoder": "encoder as the recipe names it; empty for decoding",
    "role": "model or control",
    "layer": "layer of the encoder",
    "depth": "relative depth of the layer in [0, 1]",
    "pipeline": "classifier or decoder as the recipe names it, `a - b` for a difference; empty for encoding",
    "roi": "region, a named set of targets; of trials: the time window or the band that was decoded",
    "stage": "of an image: codec, low_level, final; of a region: encoding, training, unguided, guided, facet",
    "row": "rung of the ladder that an image stands on: predicted, oracle, nearest, shuffled, ...",
    "folds": "how folds were made (images): the scheme, repeated so that tables of images stand alone",
    "stimulus": "one stimulus, or empty for the score over stimuli",
    "fold": "number of the test fold, or `all`",
    "metric": "pearson_r, median_pearson_r, r2, explained_variance, unique_r2, two_vs_two, rsa, accuracy, roc_auc, ...",
    "value": "the score, never clipped, squared or divided by the ceiling",
    "ci_low": "lower end of the confidence interval",
    "ci_high": "upper end of the confidence interval",
    "ceiling": "best score the repeats allow, in the unit of the metric; empty where it was not found",
    "ceiling_low": "lower end of the ceiling's interval, where repeats or participants give one",
    "ceiling_high": "upper end of the ceiling's interval",
    "null_95": "95th percentile of the permutation null, the 5th where lower is better; of `ece`: of decoders that are "
    "perfectly calibrated",
    "p": "permutation p = (b + 1) / (n + 1); of `ece`: against decoders that are perfectly calibrated",
    "test": "what was exchanged, and whether the p is about new stimuli or about these",
    "q": "p after Benjamini-Hochberg, over all encoders, regions and participants of a scheme (best_...; the group "
    "apart), else over all encoder x layer x ROI tests of this metric, subject and scheme",
    "n_targets": "targets in the ROI; of `mean` empty where participants have different numbers",
    "n_rows": "rows scored; of `mean` participants",
}
"""Column name -> meaning, in order."""

KEY: tuple[str, ...] = (
    "subject", "scheme", "encoder", "layer", "pipeline", "roi", "stage", "row", "folds", "stimulus", "fold", "metric",
)  # fmt: skip
"""Columns that together name a row; rows are sorted by them."""
