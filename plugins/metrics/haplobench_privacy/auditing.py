"""Lower bounds on ε from one run (Steinke, Nasr & Jagielski 2023)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom

_LARGEST = 60.0


def p_value(right: int, guesses: int, coins: int, epsilon: float, delta: float) -> float:
    """How probable `right` or more right guesses are at most under (ε, δ)-differential privacy.

    Theorem 5.2 of Steinke et al. (2023): with W binomial of `guesses` trials at success
    e^ε / (1 + e^ε), P[W >= right] + 2 m δ max_i P[right - i <= W < right] / i.

    Parameters
    ----------
    right, guesses : int
        Guesses made, and how many were right; other coins were abstained from.
    coins : int
        m, independent and fair; the neighbouring relation turns one of them over.
    epsilon, delta : float
    """
    if guesses == 0:
        return 1.0
    success = 1 / (1 + np.exp(-epsilon))
    tail = float(binom.sf(right - 1, guesses, success))
    if delta == 0 or right == 0:
        return min(1.0, tail)
    below = np.cumsum(binom.pmf(np.arange(right - 1, -1, -1), guesses, success))
    worst = float((below / np.arange(1, right + 1)).max())
    return min(1.0, tail + 2 * coins * delta * worst)


def lower_bound(
    right: int, guesses: int, coins: int, delta: float, level: float, *, replaced: bool
) -> float:
    """The largest ε that the guesses refute at `level`, or 0: a lower bound with 1 - `level`.

    `replaced`: each coin exchanges one record for another, and ε and δ are wanted for adding
    or removing one. Two such steps make an exchange, so (ε, δ) gives (2ε, (1 + e^ε) δ).
    """

    def excess(epsilon: float) -> float:
        if replaced:
            steps = 2 * epsilon, min(1.0, (1 + np.exp(epsilon)) * delta)
            return p_value(right, guesses, coins, *steps) - level
        return p_value(right, guesses, coins, epsilon, delta) - level

    if excess(0.0) >= 0:
        return 0.0
    # The probability grows with ε: the refuted ones lie below the root.
    return float(brentq(excess, 0.0, _LARGEST, xtol=1e-9))
