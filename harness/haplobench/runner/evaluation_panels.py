"""Panels that are to be compared: cut to common sites, filtered, and nobody in two of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from haplobench.errors import BenchError
from haplobench.panel import Panel
from haplobench.plugin import RunContext
from haplobench.recombination import RecombinationMap
from haplobench.resolved_suite import digest_of
from haplobench.runner.matching import MatchedSites, match_sites
from haplobench.runner.prepared import Prepared
from haplobench.runner.stage_prepare import make_prepared
from haplobench.sequence import ReferenceSequence

_MOSTLY = 0.5


@dataclass(frozen=True)
class Panels:
    """Panels that fit together: the real ones prepared, the cohort at their sites or its own.

    `remark` is a line on what they have in common, for the user.
    """

    prepared: Prepared
    cohort: Panel
    site_matched: bool
    has_train: bool
    remark: str

    @property
    def key(self) -> str:
        """Digest of all of it."""
        return digest_of(
            [self.prepared.facts["content"], self.cohort.digest, self.site_matched, self.has_train]
        )


def fit_together(
    real: Panel,
    synthetic: Panel,
    train: Panel | None,
    min_maf: float,
    ctx: RunContext,
    recombination_map: RecombinationMap | None,
    sequence: ReferenceSequence | None,
) -> Panels:
    """Cut real, training and synthetic panel to common sites, and filter; see `evaluate`.

    Raises BenchError if they don't fit together.
    """
    if synthetic.ploidy != real.ploidy:
        raise BenchError(
            f"the synthetic panel's ploidy is {synthetic.ploidy}, the real one's {real.ploidy}"
        )
    if real.n_samples < 4:
        raise BenchError(f"{real.n_samples} real people; at least 4 are needed to make a floor")
    skipped: dict[str, int] = {}
    learned = real
    if train is not None:
        real, learned = _same_sites(real, train, skipped)
    real_sites = real.n_sites
    matched = match_sites(real, synthetic)
    site_matched = matched.n >= _MOSTLY * real.n_sites and matched.n > 0
    if site_matched:
        skipped |= {
            "not in the synthetic panel": real.n_sites - matched.n - matched.other_alleles,
            "only in the synthetic panel": synthetic.n_sites - matched.n - matched.other_alleles,
            "other alleles in the synthetic panel": matched.other_alleles,
        }
        cohort = matched.second_at(synthetic)
        complete = cohort.allele_counts[1] == cohort.n_haplotypes
        skipped["missing alleles in the synthetic panel"] = int((~complete).sum())
        first = matched.first[complete]
        real, learned = real.select_sites(first), learned.select_sites(first)
        cohort = cohort.select_sites(complete)
    prepared = make_prepared(
        train=learned,
        holdout=real,
        validation=np.empty(0, np.int64),
        recombination_map=recombination_map,
        sequence=sequence,
        min_maf=min_maf,
        max_missing=0.0,
        skipped={reason: n for reason, n in skipped.items() if n},
        provenance={},
        ctx=ctx,
    )
    if site_matched:
        kept = np.isin(real.positions, prepared.train.positions)
        cohort = replace(
            cohort.select_sites(kept),
            ref=prepared.train.ref,
            alt=prepared.train.alt,
            contig=prepared.train.contig,
            build=prepared.train.build,
        )
    else:
        complete = synthetic.allele_counts[1] == synthetic.n_haplotypes
        chosen = complete & (synthetic.maf >= min_maf)
        if not chosen.any():
            raise BenchError(
                f"the synthetic panel has no site without missing alleles and a MAF of {min_maf:g}"
            )
        cohort, moved = _over(prepared.train, synthetic.select_sites(chosen))
    remark = (
        f"{matched.n:,} of the {real_sites:,} real sites are among the synthetic panel's "
        f"{synthetic.n_sites:,}"
    )
    if not site_matched:
        remark += ": what compares site by site is left out" + moved
    return Panels(prepared, cohort, site_matched, train is not None, remark)


def _over(real: Panel, cohort: Panel) -> tuple[Panel, str]:
    """A cohort with sites of its own laid over the real region, and words for it if it moved.

    A simulator's coordinates often start at 0: unmoved, the cohort would seem to have no
    diversity in the region.
    """
    first, last = int(real.positions[0]), int(real.positions[-1])
    if ((cohort.positions >= first) & (cohort.positions <= last)).any():
        return cohort, ""
    offset = first - int(cohort.positions[0])
    where = f"{cohort.contig}:{cohort.positions[0]}-{cohort.positions[-1]}"
    moved = replace(cohort, positions=cohort.positions + offset)
    return moved, (
        f"; its sites ({where}) lie outside the real region ({real.contig}:{first}-{last}) and "
        "were moved to its start"
    )


def _same_sites(real: Panel, train: Panel, skipped: dict[str, int]) -> tuple[Panel, Panel]:
    """Real and training panel at the sites that both have; nobody may be in both."""
    if train.ploidy != real.ploidy:
        raise BenchError(
            f"the training panel's ploidy is {train.ploidy}, the real one's {real.ploidy}"
        )
    matched: MatchedSites = match_sites(real, train)
    if matched.n < _MOSTLY * min(real.n_sites, train.n_sites) or matched.n == 0:
        raise BenchError(
            f"only {matched.n} of the training panel's {train.n_sites} sites are among the real "
            f"one's {real.n_sites}; expected panels of the same sites"
        )
    skipped["not in both real panels"] = real.n_sites + train.n_sites - 2 * matched.n
    train = matched.second_at(train)
    real = real.select_sites(matched.first)
    train = replace(train, ref=real.ref, alt=real.alt, contig=real.contig, build=real.build)
    shared = _shared_people(real, train)
    if shared:
        raise BenchError(
            f"{len(shared)} people are in the real and in the training panel, {shared[0]} among "
            "them; expected held-out people",
            hint="leave them out of one",
        )
    return real, train


def _shared_people(real: Panel, train: Panel) -> list[str]:
    """People of the same name and the same haplotypes in both."""
    names, in_real, in_train = np.intersect1d(real.samples, train.samples, return_indices=True)
    if not names.size:
        return []
    same = (
        (real.select_samples(in_real).haplotypes == train.select_samples(in_train).haplotypes)
        .reshape(names.size, -1)
        .all(axis=1)
    )
    return [str(name) for name in names[same]]
