"""Population structure of people without labels: clusters of their principal components."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel

_COMPONENTS = 6
_MOST_SITES = 5_000
_MIN_MAF = 0.05
# People of a cluster, on average, and clusters at most.
_PEOPLE, _CLUSTERS = 100, 8


def with_clusters(train: Panel, clusters: int | None, seed: int) -> Panel:
    """A training panel whose people, where nobody has a label, are labelled by cluster.

    `clusters`: how many; None: one for every 100 people, 8 at the most. K-means of six principal
    components of the people's dosages, at up to 5,000 evenly chosen sites with a MAF of 5 %.
    `cluster 1` is the largest.
    """
    if (train.population != "").any():
        return train
    wanted = clusters or min(_CLUSTERS, train.n_samples // _PEOPLE)
    sites = np.flatnonzero(train.common_sites(_MIN_MAF))
    if wanted < 2 or sites.size < 2:
        return train
    from sklearn.cluster import KMeans

    chosen = sites[np.linspace(0, sites.size - 1, min(sites.size, _MOST_SITES)).astype(np.int64)]
    found = KMeans(min(wanted, train.n_samples), n_init=4, random_state=seed % 2**32).fit_predict(
        _components(train.select_sites(chosen))
    )
    rank = np.argsort(np.argsort(-np.bincount(found), kind="stable"))
    return replace(train, population=np.char.add("cluster ", (rank[found] + 1).astype(np.str_)))


def _components(panel: Panel) -> NDArray[np.float64]:
    """Scores of people on the first components of their standardised dosages: (n_samples, 6)."""
    alleles = np.asarray(panel.haplotypes)
    known = np.where(alleles < 0, panel.frequencies, alleles)
    dosages = known.reshape(panel.n_samples, panel.ploidy, -1).sum(axis=1)
    centred = dosages - dosages.mean(axis=0)
    deviation = centred.std(axis=0)
    standard = centred[:, deviation > 0] / deviation[deviation > 0]
    values, vectors = np.linalg.eigh(standard @ standard.T)
    return np.asarray(vectors[:, -_COMPONENTS:] * np.sqrt(np.maximum(values[-_COMPONENTS:], 0)))
