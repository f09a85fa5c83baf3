"""ROC curves of attacks: area, rates at a low false positive rate, and their intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom, mannwhitneyu, norm

from haplobench import Measurement
from haplobench_privacy.cohorts import share_error

FALSE_POSITIVE_RATE = 0.01
_NORMAL_QUANTILE = 1.959963984540054
_TAIL = 0.025
# Normal quantiles of a level of 5 % shared by a dozen attacks, and of a power of 80 %.
_SEEN = 2.64 + 0.84
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


def area_evidence(
    members: NDArray[np.float64],
    others: NDArray[np.float64],
    *,
    ploidy: int = 1,
    note: str = "",
) -> Measurement:
    """The AUC as evidence: DeLong's error and interval, and Mann and Whitney's (1947) p-value.

    One-sided: members outscore others. What can be shown goes by the error of chance,
    sqrt((m + n + 1) / (12 m n)) of m and n people.
    """
    area, error = auc(members, others, ploidy)
    m, n = members.size // ploidy, others.size // ploidy
    low, high = auc_interval(area, error, m, n)
    sides = (scores.reshape(-1, ploidy).mean(axis=1) for scores in (members, others))
    p = float(mannwhitneyu(*sides, alternative="greater", method="asymptotic").pvalue)
    chance = float(np.sqrt((m + n + 1) / (12 * m * n)))
    return Measurement(
        area,
        members.size + others.size,
        error,
        note=note,
        low=low,
        high=high,
        p=1.0 if np.isnan(p) else p,
        detectable=min(1.0, 0.5 + _SEEN * chance),
    )


def difference_evidence(
    value: float,
    error: float,
    n: int,
    labels: Mapping[str, str] | None = None,
    note: str = "",
    skewness: float = 0.0,
) -> Measurement:
    """A difference between training and held-out people as evidence, by its normal error.

    Where chance makes large differences of this sign likelier than a normal error would
    (`skewness` > 0), the p-value is greater by Edgeworth's first term.
    """
    reach = _NORMAL_QUANTILE * error
    z = value / error if error > 0 else 0.0
    heavier = norm.pdf(z) * max(0.0, skewness) / 6 * max(0.0, z * z - 1)
    return Measurement(
        value,
        n,
        error,
        labels=labels or {},
        note=note,
        low=value - reach,
        high=value + reach,
        p=min(1.0, float(norm.sf(z) + heavier)) if error > 0 else float(value <= 0),
        detectable=_SEEN * error,
    )


def share_evidence(
    members: NDArray[np.bool_], others: NDArray[np.bool_], *, note: str = ""
) -> Measurement:
    """The share of members who are so minus that of others, with Fisher's (1935) exact p-value.

    The interval is Newcombe's (1998, method 10), of two Wilson scores.
    """
    m, n = members.size, others.size
    a, b = int(members.sum()), int(others.sum())
    p = float(hypergeom.sf(a - 1, m + n, a + b, m))
    low_a, high_a = wilson(a, m)
    low_b, high_b = wilson(b, n)
    value = a / m - b / n
    errors = share_error(members), share_error(others)
    return Measurement(
        value,
        m + n,
        float(np.hypot(*errors)),
        note=note,
        low=value - float(np.hypot(a / m - low_a, high_b - b / n)),
        high=value + float(np.hypot(high_a - a / m, b / n - low_b)),
        p=p,
        detectable=_SEEN * float(np.hypot(*errors)),
    )


def wilson(yes: float, n: int) -> tuple[float, float]:
    """Wilson's (1927) 95 % interval of `yes` of `n`."""
    z = _NORMAL_QUANTILE
    centre = (yes + z * z / 2) / (n + z * z)
    reach = z / (n + z * z) * float(np.sqrt(yes * (n - yes) / n + z * z / 4))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def low_rate(
    members: NDArray[np.float64],
    others: NDArray[np.float64],
    bootstraps: int,
    rng: np.random.Generator,
) -> Measurement:
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
    n = members.size + others.size
    spread = float(drawn.std(ddof=1))
    return Measurement(value, n, spread, low=float(low), high=float(high))


def judged(
    members: NDArray[np.float64],
    others: NDArray[np.float64],
    bootstraps: int,
    rng: np.random.Generator,
    note: str,
) -> dict[str, Measurement]:
    """The measurements that every attack reports: `auc`, `tpr_at_low_fpr` and `advantage`.

    Scores are one per person, higher for members.
    """
    false, true = roc(members, others)
    return {
        "auc": area_evidence(members, others, note=note),
        "tpr_at_low_fpr": low_rate(members, others, bootstraps, rng),
        "advantage": Measurement(float((true - false).max()), members.size + others.size),
    }


def curve(
    members: NDArray[np.float64], others: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """The ROC curve at fixed false positive rates, for figures."""
    return {"false": _GRID, "true": np.interp(_GRID, *roc(members, others))}
