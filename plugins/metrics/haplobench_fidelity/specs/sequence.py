"""Metrics of the sequence that haplotypes spell: k-mer spectra and Mash distance."""

from __future__ import annotations

from pydantic import Field

from haplobench import FigureSpec, MetricSpec, Module, Params, SubmetricSpec

_NEEDS = (Module("numba", "haplobench[metrics]"),)


class KmerParams(Params):
    """Parameters of `k-mers`.

    k : bases in a k-mer (1 to 31).
    canonical : count a k-mer and its reverse complement as one.
    """

    k: int = Field(11, ge=1, le=31)
    canonical: bool = True


class MashParams(Params):
    """Parameters of `mash`.

    k : bases in a k-mer (1 to 31; the `mash` program's default is 21).
    sketch_size : hashes kept per cohort. Two cohorts over one reference share most k-mers,
        so the default is ten times the program's, which would tell only a few hashes apart.
    """

    k: int = Field(21, ge=1, le=31)
    sketch_size: int = Field(10_000, ge=1)


SPECS: tuple[MetricSpec, ...] = (
    MetricSpec(
        name="k-mers",
        version="1",
        target="haplobench_fidelity.kmers:KmerMetric",
        summary=(
            "Whether the haplotypes, written out as sequence, spell the k-mers of real ones. "
            "Sequence that never varies is the same in all, so the k-mers that overlap a "
            "variant are also compared alone."
        ),
        family="fidelity",
        params=KmerParams,
        site_matched=False,
        needs=_NEEDS,
        submetrics=(
            SubmetricSpec(
                name="variant-jsd",
                title="k-mer JSD at variants",
                definition=(
                    "Jensen-Shannon divergence (base 2) between the k-mer spectra of the "
                    "synthetic and the held-out haplotypes, over k-mers that overlap at least "
                    "one site; not for cohorts whose sites differ."
                ),
                direction="lower",
                ideal=0.0,
                min_effect=0.0005,
                unit="bit",
                headline=True,
            ),
            SubmetricSpec(
                name="all-jsd",
                title="k-mer JSD, all",
                definition=(
                    "The same over every k-mer of the region; small for any haplotypes over "
                    "the same reference sequence, because most of it never varies."
                ),
                direction="lower",
                ideal=0.0,
                min_effect=0.0001,
                unit="bit",
            ),
            SubmetricSpec(
                name="variant-distinct-ratio",
                title="Distinct k-mers at variants, ratio",
                definition=(
                    "Distinct k-mers that overlap a site, synthetic over held-out; above 1 where "
                    "alleles are combined that real haplotypes keep apart."
                ),
                direction="closer",
                ideal=1.0,
                min_effect=0.01,
            ),
        ),
        figures=(
            FigureSpec(
                name="k-mer-spectrum",
                title="k-mer spectrum at variants",
                caption=(
                    "k-mers that overlap a variant, by their frequency in held-out (x) and in "
                    "synthetic haplotypes (y); stronger cells hold more k-mers, the lowest row and "
                    "column those absent from one side."
                ),
                target="haplobench_fidelity.figures_sequence:draw_spectrum",
            ),
        ),
        citations=("Lin 1991, doi:10.1109/18.61115 (Jensen-Shannon divergence)",),
    ),
    MetricSpec(
        name="mash",
        version="1",
        target="haplobench_fidelity.minhash:MashMetric",
        summary=(
            "Mash distance between the synthetic and the held-out cohort, each taken as one set "
            "of k-mers. It tells how much sequence one has that the other lacks, not how often "
            "it occurs."
        ),
        family="fidelity",
        params=MashParams,
        site_matched=False,
        needs=_NEEDS,
        submetrics=(
            SubmetricSpec(
                name="distance",
                title="Mash distance",
                definition=(
                    "-ln(2J / (1 + J)) / k, with J the MinHash estimate of the Jaccard index of "
                    "the distinct canonical k-mers of all synthetic and of all held-out "
                    "haplotypes pooled; the hashes are those of the `mash` program."
                ),
                direction="lower",
                ideal=0.0,
                min_effect=0.0001,
                headline=True,
            ),
            SubmetricSpec(
                name="jaccard",
                title="Jaccard index",
                definition="The MinHash estimate J itself: shared over all of the smallest hashes.",
                direction="higher",
                ideal=1.0,
                min_effect=0.002,
            ),
        ),
        citations=("Ondov et al. 2016, doi:10.1186/s13059-016-0997-x (Mash)",),
    ),
)
