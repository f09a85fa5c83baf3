"""ROC curves of attacks: area, rates at a low false positive rate, and their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement

FALSE_POSITIVE_RATE = 0.01
_NORMAL_QUANTILE = 1.959963984540054
_TAIL = 0.025
# A curve's points for figures: false positive rates.
_GRID = np.concatenate([[0.0], np.geomspace(1e-3, 1, 61)])


def auc(
    members: NDArray[np.float64], others: NDArray[np.float64], ploidy: int = 1
) -> tuple[float, float]:
    """Area under the ROC curve and its standard error.

    The Mann-Whitney probability that a member outscores a non-member, ties 1/2; variance
    after DeLong et al. (1988) from the placement of each score among the other group's.
    `ploidy` adjacent scores belong to one person: the variance is then that between persons'
    means (clustered data, Obuchowski 1997). The error is 0 for a group of one.
    """
    low, high = np.sort(others), np.sort(members)
    of_members = (np.searchsorted(low, members) + np.searchsorted(low, members, "right")) / 2
    of_others = (np.searchsorted(high, others) + np.searchsorted(high, others, "right")) / 2
    placed = (of_members / others.size).reshape(-1, ploidy).mean(axis=1)
    left = (1 - of_others / members.size).reshape(-1, ploidy).mean(axis=1)
    variance = sum(values.var(ddof=1) / values.size for values in (placed, left) if values.size > 1)
    return float(placed.mean()), float(np.sqrt(variance))


def auc_interval(area: float, error: float, n_members: int, n_others: int) -> tuple[float, float]:
    """95 % interval of an area: normal on the logit scale, so that it stays within 0 and 1.

    A perfect area has no DeLong variance. Its bound is that of a share of 1 (or 0) among as
    many independent cases as the smaller group has (Clopper and Pearson 1934).
    """
    edge = float(_TAIL ** (1 / max(1, min(n_members, n_others))))
    if area in (0.0, 1.0):
        return (edge, 1.0) if area == 1 else (0.0, 1 - edge)
    logit, spread = np.log(area / (1 - area)), _NORMAL_QUANTILE * error / (area * (1 - area))
    low, high = 1 / (1 + np.exp(-(logit - spread))), 1 / (1 + np.exp(-(logit + spread)))
    return float(low), float(high)


def roc(
    members: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False and true positive rates from (0, 0) to (1, 1), a point per distinct score."""
    scores = np.concatenate([members, others])
    order = np.argsort(-scores, kind="stable")
    is_member = order < members.size
    last = np.concatenate([np.diff(scores[order]) != 0, [True]])
    true = np.cumsum(is_member)[last] / members.size
    false = np.cumsum(~is_member)[last] / others.size
    return np.concatenate([[0.0], false]), np.concatenate([[0.0], true])


@dataclass(frozen=True)
class LowRate:
    """True positive rate at 1 % false positive rate: value, standard error, 95 % interval."""

    value: float
    error: float
    low: float
    high: float


def low_rate(
    members: NDArray[np.float64],
    others: NDArray[np.float64],
    bootstraps: int,
    rng: np.random.Generator,
) -> LowRate:
    """True positive rate at 1 % false positive rate, by a bootstrap over people of both groups."""
    value = float(np.interp(FALSE_POSITIVE_RATE, *roc(members, others)))
    drawn = np.empty(bootstraps)
    for i in range(bootstraps):
        curve = roc(
            members[rng.integers(members.size, size=members.size)],
            others[rng.integers(others.size, size=others.size)],
        )
        drawn[i] = np.interp(FALSE_POSITIVE_RATE, *curve)
    low, high = np.quantile(drawn, (_TAIL, 1 - _TAIL))
    return LowRate(value, float(drawn.std(ddof=1)), float(low), float(high))


def judged(
    members: NDArray[np.float64],
    others: NDArray[np.float64],
    bootstraps: int,
    rng: np.random.Generator,
    note: str,
) -> dict[str, Measurement]:
    """The measurements that every attack reports: `auc`, `tpr_at_low_fpr`, their intervals,
    and `advantage`. Scores are one per person, higher for members.
    """
    n = members.size + others.size
    area, error = auc(members, others)
    low, high = auc_interval(area, error, members.size, others.size)
    rate = low_rate(members, others, bootstraps, rng)
    false, true = roc(members, others)
    return {
        "auc": Measurement(area, n, error, note=note),
        "auc_low": Measurement(low, n),
        "auc_high": Measurement(high, n),
        "tpr_at_low_fpr": Measurement(rate.value, n, rate.error),
        "tpr_low": Measurement(rate.low, n),
        "tpr_high": Measurement(rate.high, n),
        "advantage": Measurement(float((true - false).max()), n),
    }


def curve(
    members: NDArray[np.float64], others: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """The ROC curve at fixed false positive rates, for figures."""
    return {"false": _GRID, "true": np.interp(_GRID, *roc(members, others))}
