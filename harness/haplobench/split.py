"""Split a panel's people into training and held-out, by individual and stratified by population."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench.errors import BenchError
from haplobench.panel import Panel

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Who is where: increasing indices of a panel's people.

    Attributes
    ----------
    train, holdout : (n,) int64
        Together everybody, nobody in both.
    validation : (n,) int64
        The part of `train` set apart for early stopping.
    """

    train: Indices
    holdout: Indices
    validation: Indices

    @property
    def validation_in_train(self) -> Indices:
        """The validation people as indices into the training panel: (n,) int64."""
        return np.searchsorted(self.train, self.validation).astype(np.int64)


def split_panel(panel: Panel, holdout: float, validation: float = 0.0, seed: int = 1) -> Split:
    """Draw held-out people, and from the others validation people.

    Each population gives its share, rounded by largest remainders so that the total is exact
    and every population is within one person of its share. Who is drawn depends on the seed,
    the population and the people's names, not on their order in the file.

    Parameters
    ----------
    panel : Panel
    holdout, validation : float
        A share below 1 (of all people; of the training people), or a count of people.
    seed : int

    Raises
    ------
    BenchError
        If fewer than two people would be held out, or fewer than two trained on.
    """
    n_holdout = _count(holdout, panel.n_samples)
    if n_holdout < 2 or panel.n_samples - n_holdout < 2:
        raise BenchError(
            f"split.holdout: {holdout:g} of {panel.n_samples} people holds out {n_holdout} and "
            f"trains on {panel.n_samples - n_holdout}; at least 2 each are needed"
        )
    people = np.arange(panel.n_samples, dtype=np.int64)
    held = stratified_sample(panel, people, n_holdout, f"holdout {seed}")
    train = np.setdiff1d(people, held)
    n_validation = _count(validation, train.size)
    if train.size - n_validation < 2:
        raise BenchError(
            f"split.validation: {validation:g} of {train.size} training people leaves "
            f"{train.size - n_validation} to learn from; at least 2 are needed"
        )
    apart = stratified_sample(panel, train, n_validation, f"validation {seed}")
    return Split(train, held, apart)


def stratified_sample(
    panel: Panel, people: Indices, n: int, key: str, like: NDArray[np.str_] | None = None
) -> Indices:
    """Draw `n` of `people`, in proportion to their populations: (n,) int64, increasing.

    `key` seeds the draw. `like` gives populations of other people whose proportions to
    follow instead, as far as there are people enough.
    """
    labels = panel.population[people]
    names, sizes = np.unique(labels, return_counts=True)
    weights = sizes.astype(np.float64)
    if like is not None:
        weights = np.array([np.count_nonzero(like == name) for name in names], np.float64)
        if not weights.any():
            weights = sizes.astype(np.float64)
    chosen = []
    for name, count in zip(names, _apportion(n, weights, sizes), strict=True):
        members = people[labels == name]
        members = members[np.argsort(panel.samples[members], kind="stable")]
        digest = hashlib.sha256(f"{key}\0{name}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        chosen.append(rng.permutation(members)[:count])
    return np.sort(np.concatenate(chosen)).astype(np.int64) if chosen else people[:0]


def _count(amount: float, total: int) -> int:
    return round(amount * total) if amount < 1 else int(amount)


def _apportion(n: int, weights: NDArray[np.float64], sizes: NDArray[np.int64]) -> list[int]:
    """Share `n` out in proportion to `weights` by largest remainders, at most `sizes` to each."""
    n = min(n, int(sizes.sum()))
    counts = np.zeros(sizes.size, np.int64)
    while (left := n - int(counts.sum())) > 0:
        room = sizes - counts
        # Populations that are used up give their share to the others.
        open_weights = np.where(room > 0, weights, 0.0)
        if not open_weights.any():
            open_weights = room.astype(np.float64)
        exact = left * open_weights / open_weights.sum()
        counts += np.minimum(np.floor(exact).astype(np.int64), room)
        left = n - int(counts.sum())
        remainders = np.where(sizes > counts, exact - np.floor(exact), -1.0)
        for i in np.argsort(-remainders, kind="stable")[:left]:
            if sizes[i] > counts[i] and remainders[i] > 0:
                counts[i] += 1
    return [int(count) for count in counts]
