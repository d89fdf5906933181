"""Which units of a network follow a label of the stimuli: a functional localizer on model units.

Choose units on some stimuli and lesion them (`brainbench.lens.edits.ablate_units`) on others: chosen and tried on the
same ones, any unit looks specific.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainbench.core.errors import UserError


@dataclass(frozen=True)
class Contrast:
    """What units say of a label.

    Attributes
    ----------
    precision : ndarray (n_units,)
        Average precision of the unit's value as a score of the label.
    base_rate : float
        That of a unit that knows nothing: the share of stimuli with the label.
    t : ndarray (n_units,)
        Welch's t of stimuli with the label against those without; 0 for units that do not vary.
    limit : float
        95th percentile, over exchanges of the label, of the largest average precision of all units.
    """

    precision: np.ndarray
    base_rate: float
    t: np.ndarray
    limit: float

    def found(self, share: float = 0.05) -> np.ndarray:
        """Return the units beyond `limit`, at most a share of all (one at the least), the most precise first."""
        most = max(1, round(share * len(self.precision)))
        order = np.argsort(-self.precision, kind="stable")[:most]
        return order[self.precision[order] > self.limit]


def contrast(values: np.ndarray, label: np.ndarray, *, n_exchanges: int = 200, seed: int = 0) -> Contrast:
    """Return how well every unit tells stimuli with a label from those without.

    After the functionality score of bricks (arXiv:2409.02877) and contrast maps of experts (arXiv:2502.11096).

    Parameters
    ----------
    values : ndarray (n_stimuli, n_units)
        Such as the mean size of a hidden unit over the tokens of a stimulus.
    label : bool ndarray (n_stimuli,)
    n_exchanges, seed : int
        Of the label.

    Raises
    ------
    UserError
        If fewer than two stimuli have the label, or lack it.
    """
    label = np.asarray(label, dtype=bool)
    if min(label.sum(), (~label).sum()) < 2:
        raise UserError(
            f"a contrast needs two stimuli with the label and two without, got {label.sum()} of {len(label)}"
        )
    rng = np.random.default_rng([seed, 47])
    # Units are ranked once: an exchange of the label exchanges what stands at the ranks.
    order, last = _ranked(values)
    largest = [_precision(order, last, rng.permutation(label)).max() for _ in range(n_exchanges)]
    limit = float(np.quantile(largest, 0.95)) if n_exchanges else float("nan")
    return Contrast(_precision(order, last, label), float(label.mean()), _welch(values, label), limit)


def bricks(values: np.ndarray, n_bricks: int, *, seed: int = 0) -> list[np.ndarray]:
    """Return units that are active together: sets to lesion as one, in place of single units.

    k-means on the units' activations over stimuli, standardised, so that their distance is 2 n (1 - r), after the
    bricks of arXiv:2409.02877; the algorithm is ours. Units that never vary are in none.

    Parameters
    ----------
    values : ndarray (n_stimuli, n_units)
        Such as the mean size of a hidden unit over the tokens of a stimulus.
    n_bricks : int
    seed : int

    Returns
    -------
    list of int ndarray
        Units of each brick, the largest brick first.

    Raises
    ------
    UserError
        If fewer units vary than there shall be bricks.
    """
    from sklearn.cluster import KMeans

    spread = values.std(axis=0)
    varying = np.flatnonzero(spread > 1e-12)
    if not 1 <= n_bricks <= len(varying):
        raise UserError(f"{n_bricks} bricks of {len(varying)} units that vary: give 1 to {len(varying)}")
    scaled = ((values[:, varying] - values[:, varying].mean(axis=0)) / spread[varying]).T
    brick = KMeans(n_bricks, n_init=4, random_state=seed).fit_predict(scaled)
    found = [varying[brick == number] for number in range(n_bricks)]
    return sorted((one for one in found if len(one)), key=lambda one: (-len(one), one[0]))


def _ranked(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return stimuli by falling value of every unit, and the last place of those tied with each, by unit."""
    order = np.argsort(-values, axis=0, kind="stable")
    falling = np.take_along_axis(values, order, axis=0)
    n = len(values)
    ends = np.concatenate([falling[1:] != falling[:-1], np.ones((1, values.shape[1]), dtype=bool)])
    place = np.where(ends, np.arange(n)[:, None], n)
    return order, np.minimum.accumulate(place[::-1], axis=0)[::-1]


def _precision(order: np.ndarray, last: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return the mean, over stimuli with the label, of the share with it among those of as large a value."""
    hit = label[order]
    among = np.take_along_axis(np.cumsum(hit, axis=0), last, axis=0) / (last + 1)
    return np.asarray((among * hit).sum(axis=0) / label.sum())


def _welch(values: np.ndarray, label: np.ndarray) -> np.ndarray:
    one, other = values[label], values[~label]
    error = np.sqrt(one.var(axis=0, ddof=1) / len(one) + other.var(axis=0, ddof=1) / len(other))
    apart = one.mean(axis=0) - other.mean(axis=0)
    return np.asarray(np.divide(apart, error, out=np.zeros_like(apart), where=error > 0))
