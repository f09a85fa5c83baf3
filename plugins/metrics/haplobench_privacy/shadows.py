"""Shadow models: scores of people calibrated by cohorts fitted with and without them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Calibration:
    """What shadows tell of each person and feature.

    Attributes
    ----------
    centre : (n_features, n_people) float64
        Half way between a person's features with and without them.
    gain : (n_features, n_people) float64
        By how much a feature rises where the person was fitted on.
    variance : (n_features,) float64
        Of a feature about its mean, over people and shadows.
    """

    centre: NDArray[np.float64]
    gain: NDArray[np.float64]
    variance: NDArray[np.float64]

    @classmethod
    def fit(cls, features: NDArray[np.float64], fitted: NDArray[np.bool_]) -> Calibration:
        """Fit to shadow cohorts.

        A person's own gain is shrunk towards everybody's by how much people differ beyond
        chance (empirical Bayes): with a handful of shadows it would mostly be noise. The
        variance is shared by all, as Carlini et al. (2022) do with few shadows.

        Parameters
        ----------
        features : (n_features, n_people, n_shadows) float64
        fitted : (n_people, n_shadows) bool
            Each person in some and out of some.
        """
        n_in = fitted.sum(axis=1)
        n_out = fitted.shape[1] - n_in
        inside = np.where(fitted, features, 0).sum(axis=2) / n_in
        outside = np.where(fitted, 0, features).sum(axis=2) / n_out
        residual = features - np.where(fitted, inside[..., None], outside[..., None])
        freedom = np.maximum(n_in - 1, 0) + np.maximum(n_out - 1, 0)
        variance = (residual**2).sum(axis=(1, 2)) / max(1, int(freedom.sum()))
        gain = inside - outside
        overall = gain.mean(axis=1, keepdims=True)
        noise = variance[:, None] * (1 / n_in + 1 / n_out)
        between = np.maximum(gain.var(axis=1, keepdims=True) - noise.mean(axis=1, keepdims=True), 0)
        weight = between / np.maximum(between + noise, _TINY)
        return cls((inside + outside) / 2, overall + weight * (gain - overall), variance)

    def scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log likelihood ratio of having been fitted on, summed over features: (n_people,) float64.

        log N(x; with, v) - log N(x; without, v) = (x - centre) gain / v.

        Parameters
        ----------
        features : (n_features, n_people) float64
            From the cohort attacked.
        """
        # A feature that never varies but by membership tells it without noise: no more than
        # that gain's own square is asked of it.
        floor = np.maximum(1e-6 * (self.gain**2).mean(axis=1), _TINY)
        spread = np.maximum(self.variance, floor)[:, None]
        return np.asarray(((features - self.centre) * self.gain / spread).sum(axis=0))


def held_out_scores(
    features: NDArray[np.float64], fitted: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores of people under each shadow, calibrated by the other shadows, and who was in.

    Pairs of complementary shadows are left out together, so that everybody stays in half of
    the others. Two pairs must be left to know a score's scale: fewer than three give nothing.

    Returns
    -------
    (n,) float64, (n,) bool
    """
    n_shadows = fitted.shape[1]
    scores, inside = [], []
    for first in range(0, n_shadows, 2):
        others = np.setdiff1d(np.arange(n_shadows), (first, first + 1))
        if others.size < 4:
            continue
        calibration = Calibration.fit(features[:, :, others], fitted[:, others])
        for shadow in (first, first + 1):
            scores.append(calibration.scores(features[:, :, shadow]))
            inside.append(fitted[:, shadow])
    if not scores:
        return np.empty(0), np.empty(0, bool)
    return np.concatenate(scores), np.concatenate(inside)


def threshold(unseen: NDArray[np.float64], rate: float) -> float:
    """The least score that at most a share `rate` of scores without membership exceeds."""
    return float(np.quantile(unseen, 1 - rate, method="higher"))
