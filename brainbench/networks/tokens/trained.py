"""What a trained tokenizer does with recordings given as arrays: codes, sensors that it did not see, sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from brainbench.core.errors import UserError
from brainbench.core.facts import read_facts
from brainbench.networks.tokens.training import Person
from brainbench.networks.weights import seeded
from brainbench.networks.zoo.brainomni import OVERLAP, BrainOmni, masked
from brainbench.networks.zoo.codebook import Usage, usage_of
from brainbench.networks.zoo.tokenizer import BrainTokenizer, pearson


def key_of(named: str) -> str:
    """Return the key of a trained network: as it is, or the last one that a run folder of `kind: pretrain` trained.

    Raises
    ------
    UserError
        If it is a folder of anything else, or of a run that has not finished.
    """
    folder = Path(named)
    if not folder.is_dir():
        return named
    trained = []
    if (folder / "facts.json").is_file():
        trained = [one["network"] for one in read_facts(folder)["findings"].get("training", []) if "network" in one]
    if not trained:
        raise UserError(
            f"`network`: {folder} is no finished run of `kind: pretrain`",
            hint="give the folder of one, or the key that its page prints",
        )
    return str(trained[-1])


@torch.inference_mode()
def code_counts(network: BrainTokenizer, people: Sequence[Person]) -> np.ndarray:
    """Return how often every code of every level occurs ``(n_levels, n_codes)``, in all segments of some people."""
    device = next(network.parameters()).device
    n_levels, n_codes = network.shape.n_levels, network.shape.n_codes
    counts = np.zeros((n_levels, n_codes), dtype=np.int64)
    for person in people:
        for batch in person.batches(str(device)):
            codes = network.tokenize(*batch)[1].reshape(-1, n_levels).cpu().numpy()
            for level in range(n_levels):
                counts[level] += np.bincount(codes[:, level], minlength=n_codes)
    return counts


def usages(counts: np.ndarray) -> list[Usage]:
    """Return how much of every level is used, from `code_counts`."""
    return [usage_of(torch.from_numpy(level)) for level in counts]


@torch.inference_mode()
def reconstruction_r(network: BrainTokenizer, person: Person, seen: np.ndarray) -> np.ndarray:
    """Return r of every channel ``(n_channels,)``, mean over windows, decoded from `seen` channels alone.

    Parameters
    ----------
    network : BrainTokenizer
    person : Person
        Scaled by the seen channels.
    seen : bool ndarray (n_channels,)
    """
    device = str(next(network.parameters()).device)
    among = torch.from_numpy(seen)
    found = []
    for x, place, kind in person.batches(device):
        decoded = network.reconstruct(x, place, kind, among)
        found.append(pearson(decoded, network.windows(x)).mean(-1).cpu().numpy())
    return np.concatenate(found).mean(axis=0)


@torch.inference_mode()
def source_topography(network: BrainTokenizer, person: Person) -> np.ndarray:
    """Return how much every source looks at every channel ``(n_sources, n_channels)``, mean over all segments."""
    device = str(next(network.parameters()).device)
    found = [network.topography(*batch).cpu().numpy() for batch in person.batches(device)]
    return np.concatenate(found).mean(axis=0)


@torch.inference_mode()
def masked_accuracy(network: BrainOmni, person: Person, seed: int) -> np.ndarray:
    """Return the share of masked codes that are predicted, by level ``(n_levels,)``."""
    device = str(next(network.parameters()).device)
    right, n = np.zeros(network.tokenizer.shape.n_levels), 0
    with seeded(seed):
        for x, place, kind in person.batches(device):
            tokens, codes = network.tokenizer.tokenize(x, place, kind, OVERLAP)
            hidden, mask = masked(tokens, network.mask_token)
            hit = network(hidden)[mask].argmax(-1) == codes[mask]
            right, n = right + hit.double().sum(0).cpu().numpy(), n + int(mask.sum())
    return right / n
