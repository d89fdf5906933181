"""Modes of a cross-subject evaluation: what is known of a new subject before its trials are decoded.

MOABB 1.6 gave them their names. Nothing heavy is imported here, since recipes are read with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ModeName = Literal[
    "train",
    "train_trialwise",
    "train_and_target_unlabeled_20p",
    "train_and_target_unlabeled_50p",
    "train_and_target_unlabeled_full",
    "train_and_target_labeled_20p",
    "train_and_target_labeled_50p",
]
"""Modes of a cross-subject evaluation, as MOABB 1.6 names them."""


@dataclass(frozen=True)
class Mode:
    """What is known of a new subject before its trials are decoded.

    Parameters
    ----------
    share : float
        Of each of its sessions the first trials, so many, are there beforehand; 1 takes those that are tested.
    labelled : bool
        With their labels: they train.
    trialwise : bool
        Every test trial is decoded as if it were the only one.
    text : str
        For the report.
    """

    share: float
    labelled: bool
    trialwise: bool
    text: str


def _sliced(share: float, *, labelled: bool) -> Mode:
    how = "with their labels, and train" if labelled else "without labels: aligned pipelines take the mean of these"
    return Mode(share, labelled, False, f"the first {share:.0%} of every session of the new subject are there {how}")


MODES: dict[ModeName, Mode] = {
    "train": Mode(0.0, False, False, ""),
    "train_trialwise": Mode(0.0, False, True, "nothing is known of the new subject, and every trial is decoded alone"),
    "train_and_target_unlabeled_20p": _sliced(0.2, labelled=False),
    "train_and_target_unlabeled_50p": _sliced(0.5, labelled=False),
    "train_and_target_unlabeled_full": Mode(
        1.0, False, False,
        "all trials of the new subject are there without labels (transductive): aligned pipelines take the mean of "
        "those that are tested",
    ),
    "train_and_target_labeled_20p": _sliced(0.2, labelled=True),
    "train_and_target_labeled_50p": _sliced(0.5, labelled=True),
}  # fmt: skip
"""Mode -> what it takes; `train` is leave-one-subject-out as everybody knows it."""
