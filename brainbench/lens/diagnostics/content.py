"""What can be read off a block: the network's own answer, and a label of the stimuli."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from brainbench.lens.base import Block, Column, Diagnostic, Looked

if TYPE_CHECKING:
    from torch import Tensor

TOP = 5
AT_ONCE = 64
"""States that are read at once: logits of a vocabulary are large."""
FOLDS = 5
NO_LABELS = "stimuli have no label: `lens.labels` names one"
NO_WORDS = "no words or classes are named: `lens.words` does"
FEW = f"a class has fewer than {FOLDS} stimuli, or runs"


def content(block: Block) -> Mapping[str, Tensor | str]:
    """Keep what the readout reads, and the mean token, of every block."""
    stream = block["resid_post"]
    kept = {"pooled": (stream * block.keep.unsqueeze(-1)).sum(1) / block.keep.sum(1, keepdim=True).clamp(min=1)}
    if block.state is not None:
        kept["state"] = block.state(stream, block.real)
    return kept


def across(kept: Mapping[str, Sequence[Tensor]], looked: Looked) -> Mapping[str, Tensor | str]:
    """Return what the readout says of every block, and how well a label is read off it."""
    return {**lens(kept.get("state", ()), looked), **concept([one.double().numpy() for one in kept["pooled"]], looked)}


# The network's own readout -------------------------------------------------------------------------------------------


def lens(states: Sequence[Tensor], looked: Looked) -> dict[str, Tensor | str]:
    """Return how far the readout of every block is from that of the last one.

    KL divergences in nats in both directions, shared words among the first five, probability of the words named, and
    whether the first word is, from this block on, the last block's.
    """
    import torch

    names = ("lens_kl", "lens_kl_reverse", "lens_top5", "lens_top1", "group_mass", "committed")
    readout = looked.readout
    if readout is None:
        return dict.fromkeys(names, looked.why_no_readout)
    n_blocks, n = len(states), len(states[0])
    values = {name: torch.full((n_blocks, n), float("nan")) for name in names}
    members = list(looked.group)
    for start in range(0, n, AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        with torch.inference_mode():
            last = readout.logits(states[-1][rows]).float().log_softmax(-1)
        first = last.argmax(-1)
        top = last.topk(min(TOP, last.shape[-1]), dim=-1).indices
        for block in range(n_blocks):
            with torch.inference_mode():
                here = readout.logits(states[block][rows]).float().log_softmax(-1)
            values["lens_kl"][block, rows] = (here.exp() * (here - last)).sum(-1).clamp(min=0)
            values["lens_kl_reverse"][block, rows] = (last.exp() * (last - here)).sum(-1).clamp(min=0)
            mine = here.topk(top.shape[-1], dim=-1).indices
            values["lens_top5"][block, rows] = (mine.unsqueeze(2) == top.unsqueeze(1)).any(2).float().mean(1)
            values["lens_top1"][block, rows] = (here.argmax(-1) == first).float()
            if members:
                values["group_mass"][block, rows] = here[:, members].exp().sum(-1)
    agrees = values["lens_top1"].flip(0).cumprod(0).flip(0)
    values["committed"] = agrees
    found: dict[str, Tensor | str] = dict(values)
    return found if members else found | {"group_mass": NO_WORDS}


# Labels ---------------------------------------------------------------------------------------------------------------


def concept(pooled: Sequence[np.ndarray], looked: Looked) -> dict[str, Tensor | str]:
    """Return how well a label is read off the mean token of every block, beside the same with labels exchanged.

    Logistic regression on standardised features, fitted on other stimuli (other runs, where these are known). A
    stimulus counts n / (classes x stimuli of its class) where it is right and 0 where not: the mean is the balanced
    accuracy.

    Parameters
    ----------
    pooled : sequence of ndarray (n, d)
        Of every block.
    looked : Looked
    """
    import torch

    names = ("concept", "concept_control", "selectivity")
    if looked.labels is None:
        return dict.fromkeys(names, NO_LABELS)
    classes, y = np.unique(np.asarray(looked.labels, dtype=str), return_inverse=True)
    runs = np.arange(len(y)) if looked.runs is None else np.unique(looked.runs, return_inverse=True)[1]
    if len(classes) < 2 or min(len(np.unique(runs[y == k])) for k in range(len(classes))) < FOLDS:
        return dict.fromkeys(names, FEW)
    other = np.random.default_rng([looked.seed, 43]).permutation(y)
    right = np.stack([balanced(features, y, runs, looked.seed) for features in pooled])
    control = np.stack([balanced(features, other, runs, looked.seed) for features in pooled])
    values = {"concept": right, "concept_control": control, "selectivity": right - control}
    return {name: torch.from_numpy(value) for name, value in values.items()}


def balanced(features: np.ndarray, y: np.ndarray, runs: np.ndarray, seed: int) -> np.ndarray:
    """Return what every stimulus adds to the balanced accuracy of a held-out classifier, ``(n,)``."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    share = np.bincount(y) / len(y)
    found = np.full(len(y), np.nan)
    for train, test in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(features, y, runs):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        right = model.fit(features[train], y[train]).predict(features[test]) == y[test]
        found[test] = right / (len(share) * share[y[test]])
    return found


def depth90(curve: np.ndarray, chance: float) -> float:
    """Return the relative depth of the first block whose output reaches chance + 90 % of the way to the peak."""
    reached = np.flatnonzero(curve >= chance + 0.9 * (np.nanmax(curve) - chance))
    return float("nan") if not len(reached) else float((reached[0] + 1) / len(curve))


def jump(curve: np.ndarray) -> float:
    """Return the first block whose accuracy is 1.1 times that of the block before it, or more; NaN without any."""
    found = np.flatnonzero(curve[1:] >= 1.1 * curve[:-1])
    return float("nan") if not len(found) else float(found[0] + 1)


KL, TOKENS, LABEL = "KL of the readout here and at the end (nats)", "readout here and at the end", "balanced accuracy"
diagnostic = Diagnostic(
    name="content",
    paper="readout: Csordás et al. (2025), arXiv:2505.13898; groups: Zhong et al. (2024), Beyond English-centric LLMs, "
    "arXiv:2408.10811; labels: Jin et al. (2024), Concept depth, arXiv:2404.07066; commitment: after DST, "
    "arXiv:2510.06107",
    formula="p_l = softmax(output layer of block l's state): KL(p_l || p_L), KL(p_L || p_l), shared of the first five, "
    "probability of the words named, first word the last one's from here on; balanced accuracy of a logistic "
    f"regression over {FOLDS} folds, of the label and of the label exchanged, and their difference",
    sites=("resid_post",),
    columns=(
        Column("lens_kl", "KL(here || end)", KL),
        Column("lens_kl_reverse", "KL(end || here)", KL),
        Column("lens_top5", "shared of the first five", TOKENS),
        Column("lens_top1", "same first", TOKENS),
        Column("committed", "same first from here on", TOKENS),
        Column("group_mass", "words named", "probability of words"),
        Column("concept", "label", LABEL),
        Column("concept_control", "label exchanged", LABEL),
        Column("selectivity", "difference", "balanced accuracy above the label exchanged"),
    ),
    function=content,
    across=across,
    caution="A readout trained for the last block misreads early ones: a large divergence does not say that nothing is "
    "known yet. Chance commits early too. A label that can be read off a block need not be used by the network.",
)
