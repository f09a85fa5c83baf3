"""Scaled mutation rate of a panel whose rare sites were left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from haplobench import Panel, PluginError

Estimator = Literal["pi", "segregating-sites"]


@dataclass(frozen=True)
class Diversity:
    """An estimate of theta = 4 Ne mu, and what it rests on.

    Attributes
    ----------
    theta : float
        Of the whole region (not per bp).
    n_sites : int
        Polymorphic sites counted.
    least_count : int
        Minor alleles of the rarest site kept.
    span : int
        bp.
    """

    theta: float
    n_sites: int
    least_count: int
    span: int

    def effective_size(self, mutation_rate: float) -> float:
        """Ne = theta / (4 mu L), mu per bp and generation."""
        return self.theta / (4 * mutation_rate * self.span)


def estimate(panel: Panel, min_maf: float, estimator: Estimator = "pi") -> Diversity:
    """Theta of a panel of which only the sites of MAF `min_maf` or more were kept.

    In a population of constant size, n haplotypes have theta / i sites with i derived alleles
    (Fu 1995). With a the least minor allele count kept,

    - segregating sites S (Watterson 1975): E[S] = theta * sum of 1 / i, i from a to n - a;
    - mean pairwise difference pi (Tajima 1983): every minor allele count contributes the
      same to E[pi], so E[pi] = theta * (1 - 2 (a - 1) / (n - 1)).

    Without a filter (a = 1) both are the usual estimators. a is the larger of `min_maf` times
    n and the rarest site's count, so that a panel filtered by someone else isn't taken for
    complete.

    Parameters
    ----------
    panel : Panel
        Missing alleles are left out site by site; a is counted in haplotypes of the panel.
    min_maf : float
    estimator : str

    Raises
    ------
    PluginError
        If no site is polymorphic.
    """
    alternate, called = panel.allele_counts
    minor = np.minimum(alternate, called - alternate)
    polymorphic = minor > 0
    alternate, called, minor = alternate[polymorphic], called[polymorphic], minor[polymorphic]
    if not minor.size:
        raise PluginError(
            f"none of the training panel's {panel.n_sites} sites is polymorphic, so that its "
            "diversity says nothing",
            hint="set ne",
        )
    n = panel.n_haplotypes
    # Tolerance: 0.05 * 480 is 24.000000000000004 in floating point.
    least = max(1, int(np.ceil(min_maf * n - 1e-6)), int((minor * n // called).min()))
    if estimator == "pi":
        differences = 2 * alternate * (called - alternate) / (called * (called - 1))
        theta = differences.sum() / (1 - 2 * (least - 1) / (n - 1))
    else:
        theta = minor.size / (1 / np.arange(least, n - least + 1)).sum()
    return Diversity(float(theta), int(minor.size), least, panel.span)
