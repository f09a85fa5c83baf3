"""Which sites LD is measured at, in held-out people and in a synthetic cohort."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel
from haplobench_fidelity.reporting import basis
from haplobench_fidelity.site_bits import SiteBits, pack_sites
from haplobench_fidelity.specs.ld import LDParams


@dataclass(frozen=True, eq=False)
class LDSites:
    """LD sites of two panels, packed.

    Attributes
    ----------
    real_sites, synthetic_sites : (n,) int64
        Indices of the sites in each panel; the same where the panels have the same sites.
    real, synthetic : SiteBits
    zero : bool
        Whether a pair with a site fixed in the synthetic panel counts as r = 0.
    note : str
        What the comparison rests on.
    """

    real_sites: NDArray[np.int64]
    synthetic_sites: NDArray[np.int64]
    real: SiteBits
    synthetic: SiteBits
    zero: bool
    note: str


def ld_sites(
    holdout: Panel, synthetic: Panel, params: LDParams, *, max_sites: int | None = None
) -> LDSites:
    """Choose and pack the sites at which LD is compared.

    Where both panels have the same sites, held-out frequencies choose; otherwise each panel's
    own. Alleles are haplotypes', or people's dosages where either panel is unphased.
    With `max_sites`, that many evenly spaced sites at most.

    Raises PanelError where dosages are needed of people who are not diploid.
    """
    min_maf = 0.0 if params.fixed == "all-polymorphic" else params.min_maf
    matched = synthetic.same_sites(holdout)
    real_sites = _chosen(holdout, min_maf)
    fixed = np.zeros(real_sites.size, np.bool_)
    if matched:
        frequency = synthetic.frequencies[real_sites]
        fixed = (frequency == 0) | (frequency == 1)
        if params.fixed != "zero":
            real_sites = real_sites[~fixed]
        real_sites = synthetic_sites = _thinned(real_sites, max_sites)
    else:
        real_sites = _thinned(real_sites, max_sites)
        synthetic_sites = _thinned(_chosen(synthetic, min_maf), max_sites)
    dosages = needs_dosages(holdout, synthetic)
    counted = (
        f"{real_sites.size:,} sites"
        if matched
        else (f"{synthetic_sites.size:,} and {real_sites.size:,} sites, each side's own")
    )
    note = basis(
        synthetic.n_haplotypes,
        holdout.n_haplotypes,
        f"{counted} with MAF > {min_maf:g}",
        f"fixed sites: {params.fixed}, {int(fixed.sum()):,} found" if matched else "",
        "r of dosages (unphased)" if dosages else "",
    )
    return LDSites(
        real_sites=real_sites,
        synthetic_sites=synthetic_sites,
        real=pack_sites(holdout, real_sites, dosages=dosages),
        synthetic=pack_sites(synthetic, synthetic_sites, dosages=dosages),
        zero=params.fixed == "zero",
        note=note,
    )


def needs_dosages(*panels: Panel) -> bool:
    """Whether LD must be of people's dosages: some panel is unphased.

    A haploid person's row is a haplotype, phased or not.
    """
    return any(not panel.phased and panel.ploidy > 1 for panel in panels)


def _chosen(panel: Panel, min_maf: float) -> NDArray[np.int64]:
    return np.flatnonzero(panel.maf > min_maf)


def _thinned(sites: NDArray[np.int64], max_sites: int | None) -> NDArray[np.int64]:
    """At most `max_sites` of them, evenly spaced in their order."""
    if max_sites is None or sites.size <= max_sites:
        return sites
    return sites[np.linspace(0, sites.size - 1, max_sites).round().astype(np.int64)]
