"""Evidence that a person was trained on: scores of real people from a synthetic cohort alone.

Nothing here knows who was trained on; each is kept for this process by panels and sites.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel
from haplobench.kinship import closest, nearest_genotypes
from haplobench_privacy import distances
from haplobench_privacy.cohorts import Cohorts
from haplobench_privacy.likelihood import likelihood_ratios, real_thinned_sites, smoothed
from haplobench_privacy.tracts import longest_matches

Scores = NDArray[np.float64]


def nearest_distances(data: Cohorts, panel: Panel) -> Scores:
    """Distances of a person's haplotypes to the nearest synthetic one, the least first.

    (n_samples, ploidy) float64, in sites; in order, so that equal people get equal scores to
    the bit.
    """
    return data.remember(
        "nearest synthetic", (panel, data.synthetic), lambda: _nearest(data, panel)
    )


def _nearest(data: Cohorts, panel: Panel) -> Scores:
    found = distances.nearest(data.packed(panel), data.packed(data.synthetic))
    return np.sort(found.reshape(panel.n_samples, panel.ploidy), axis=1).astype(np.float64)


def nearest_people(data: Cohorts, panel: Panel) -> Scores:
    """Squared distance of dosages to the nearest synthetic person: (n_samples,) float64."""
    return data.remember(
        "nearest synthetic person",
        (panel, data.synthetic),
        lambda: nearest_genotypes(data.dosages(panel), data.dosages(data.synthetic)),
    )


def longest_tracts(data: Cohorts, panel: Panel) -> Scores:
    """Longest exact match of any of a person's haplotypes with a synthetic one.

    (n_samples,) float64, in sites.
    """

    def make() -> Scores:
        n_sites = int(data.sites.sum())
        index = np.arange(n_sites, dtype=np.float64)[None]
        group = np.concatenate(
            [
                np.zeros(data.synthetic.n_haplotypes, np.int64),
                np.full(panel.n_haplotypes, -1, np.int64),
            ]
        )
        matches = longest_matches(
            lambda low, high: np.concatenate(
                [data.alleles(one, low, high) for one in (data.synthetic, panel)], axis=1
            ),
            n_sites,
            group,
            1,
            index,
            index + 1,
        )[0, :, 0]
        return np.asarray(matches.reshape(panel.n_samples, panel.ploidy).max(axis=1))

    return data.remember("longest synthetic tract", (panel, data.synthetic), make)


def closest_kin(data: Cohorts, panel: Panel) -> Scores:
    """KING-robust kinship with the closest synthetic person: (n_samples,) float64."""
    return data.remember(
        "closest synthetic kin",
        (panel, data.synthetic),
        lambda: closest(data.dosages(panel), data.dosages(data.synthetic)),
    )


def frequency_ratios(data: Cohorts, panel: Panel, max_r2: float = 0.1) -> Scores:
    """Log likelihood ratio of a person's haplotypes: synthetic frequencies against real ones.

    At sites in linkage equilibrium, the real frequencies those of training and held-out people
    together: what an attacker has who knows all candidates, and nothing of who was trained on.
    (n_samples,) float64.
    """

    def make() -> Scores:
        sites = real_thinned_sites(data, max_r2)
        at = np.flatnonzero(data.sites)[sites]
        counts = sum(one.allele_counts[0][at] for one in (data.train, data.holdout))
        n = data.train.n_haplotypes + data.holdout.n_haplotypes
        real = (counts + 0.5) / (n + 1)
        pool = smoothed(data.at(data.synthetic, sites))
        ratios = likelihood_ratios(data.at(panel, sites), pool, real)
        return np.asarray(ratios.reshape(panel.n_samples, panel.ploidy).sum(axis=1))

    return data.remember(
        f"frequency ratios {max_r2:g}", (panel, data.synthetic, data.train, data.holdout), make
    )
