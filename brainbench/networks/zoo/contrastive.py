"""Contrastive terms between views of a trial and between two networks (MVCNet, arXiv 2502.17482)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 0.2
"""Temperature of the paper."""


def nt_xent(a: Tensor, b: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Normalised-temperature cross-entropy of N pairs of rows.

    All 2N rows are normalised to length one; a row has to find its partner among the 2N - 1 others,
    ``mean_i -log( exp(s_ip / t) / sum_{j != i} exp(s_ij / t) )``. With equal partners and all else orthogonal
    it is ``log(1 + (2N - 2) exp(-1 / t))``.

    Parameters
    ----------
    a, b : Tensor (n_pairs, n_features)
        Row i of `a` and row i of `b` are partners.
    temperature : float

    Returns
    -------
    Tensor ()
    """
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"partners must be two equal (n_pairs, n_features) arrays, not {a.shape} and {b.shape}")
    n = a.shape[0]
    rows = F.normalize(torch.cat([a, b]), dim=1)
    similarity = rows @ rows.T / temperature
    itself = torch.eye(2 * n, dtype=torch.bool, device=rows.device)
    partner = torch.arange(2 * n, device=rows.device).roll(n)
    return F.cross_entropy(similarity.masked_fill(itself, -torch.inf), partner)


def cross_view_loss(cnn: Sequence[Tensor], transformer: Sequence[Tensor], temperature: float = TEMPERATURE) -> Tensor:
    """Pull the views of a trial together: mean over views of NT-Xent between raw rows and the view's rows.

    The rows of a view are the features of both networks, one below the other: 2B rows for B trials.

    Parameters
    ----------
    cnn, transformer : sequence of Tensor (n_trials, n_features)
        Features of the raw trials first, then of each view.
    temperature : float

    Returns
    -------
    Tensor ()
    """
    if len(cnn) < 2 or len(cnn) != len(transformer):
        raise ValueError(f"raw trials and at least one view of both networks, not {len(cnn)} and {len(transformer)}")
    raw, *views = [torch.cat(pair) for pair in zip(cnn, transformer, strict=True)]
    return torch.stack([nt_xent(raw, view, temperature) for view in views]).mean()


def cross_model_loss(cnn: Sequence[Tensor], transformer: Sequence[Tensor], temperature: float = TEMPERATURE) -> Tensor:
    """Pull the two networks together: NT-Xent between all rows of one and all rows of the other.

    Parameters
    ----------
    cnn, transformer : sequence of Tensor (n_trials, n_features)
        Features of the raw trials and of each view, in the same order for both.
    temperature : float

    Returns
    -------
    Tensor ()
    """
    return nt_xent(torch.cat(list(cnn)), torch.cat(list(transformer)), temperature)
