"""Haplotypes as words, as sequence and as people: descriptions and parameters."""

from __future__ import annotations

from functools import partial

from pydantic import Field

from haplobench import FigureSpec, MetricSpec, Module, Params, SubmetricSpec

_lower = partial(SubmetricSpec, direction="lower", ideal=0.0)
_higher = partial(SubmetricSpec, direction="higher", ideal=1.0)
_closer = partial(SubmetricSpec, direction="closer")
_info = partial(SubmetricSpec, direction="info")

_NUMBA = Module("numba", "haplobench[metrics]")
_SCIPY = Module("scipy", "haplobench[metrics]")


class KmerParams(Params):
    """Parameters of `k-mers`.

    k : bases in a k-mer (1 to 31).
    canonical : count a k-mer and its reverse complement as one.
    """

    k: int = Field(11, ge=1, le=31)
    canonical: bool = True


K_MERS = MetricSpec(
    name="k-mers",
    version="1",
    target="haplobench_fidelity.kmers:kmer_spectra",
    summary=(
        "Whether the haplotypes, written out as sequence, spell the k-mers of real ones. Sequence "
        "that never varies is the same in all, so the k-mers that overlap a variant are also "
        "compared alone."
    ),
    family="fidelity",
    params=KmerParams,
    site_matched=False,
    needs=(_NUMBA,),
    submetrics=(
        _lower(
            "variant_jsd",
            "k-mer JSD at variants",
            "Jensen-Shannon divergence (base 2) between the k-mer spectra of the synthetic and "
            "the held-out haplotypes, over k-mers that overlap at least one site; not for cohorts "
            "whose sites differ.",
            unit="bit",
            min_effect=0.0005,
            headline=True,
            site_matched=True,
        ),
        _lower(
            "all_jsd",
            "k-mer JSD, all",
            "The same over every k-mer of the region; small for any haplotypes over the same "
            "reference sequence, because most of it never varies.",
            unit="bit",
            min_effect=0.0001,
        ),
        _closer(
            "variant_distinct_ratio",
            "Distinct k-mers at variants, ratio",
            "Distinct k-mers that overlap a site, synthetic over held-out; above 1 where alleles "
            "are combined that real haplotypes keep apart.",
            ideal=1.0,
            min_effect=0.01,
            site_matched=True,
        ),
    ),
    figures=(
        FigureSpec(
            "k-mer-spectrum",
            "k-mer spectrum at variants",
            "k-mers that overlap a variant, by their frequency in held-out (x) and in synthetic "
            "haplotypes (y; first seed, first draw); stronger cells hold more k-mers, the lowest "
            "row and column those absent from one side.",
            "haplobench_fidelity.figures:draw_kmer_spectrum",
        ),
    ),
    citations=("lin1991",),
)


class MashParams(Params):
    """Parameters of `mash`.

    k : bases in a k-mer (1 to 31; the `mash` program's default is 21).
    sketch_size : hashes kept per cohort. Two cohorts over one reference share most k-mers,
        so the default is ten times the program's, which would tell only a few hashes apart.
    """

    k: int = Field(21, ge=1, le=31)
    sketch_size: int = Field(10_000, ge=1)


MASH = MetricSpec(
    name="mash",
    version="1",
    target="haplobench_fidelity.minhash:mash",
    summary=(
        "Mash distance between the synthetic and the held-out cohort, each taken as one set of "
        "k-mers. It tells how much sequence one has that the other lacks, not how often it occurs."
    ),
    family="fidelity",
    params=MashParams,
    site_matched=False,
    needs=(_NUMBA,),
    submetrics=(
        _lower(
            "distance",
            "Mash distance",
            "-ln(2J / (1 + J)) / k, with J the MinHash estimate of the Jaccard index of the "
            "distinct canonical k-mers of all synthetic and of all held-out haplotypes pooled; "
            "the hashes are those of the `mash` program.",
            min_effect=0.0001,
            headline=True,
        ),
        _higher(
            "jaccard",
            "Jaccard index",
            "The MinHash estimate J itself: shared over all of the smallest hashes.",
            min_effect=0.002,
        ),
    ),
    citations=("ondov2016",),
)


def _words(length: int) -> tuple[SubmetricSpec, ...]:
    return (
        _lower(
            f"jsd_{length}",
            f"{length}-SNP word JSD",
            f"Jensen-Shannon divergence (base 2) between the distributions of {length}-site "
            "haplotypes, synthetic and held-out, at equal numbers of haplotypes; mean over "
            f"non-overlapping windows. The first begins {length // 2} sites in, so that the "
            "borders of a generator's windows lie inside words.",
            unit="bit",
            min_effect=0.005,
            headline=length == 10,
        ),
        _lower(
            f"pooled_jsd_{length}",
            f"{length}-SNP word JSD, pooled",
            f"The same between the {length}-site words of all windows counted together, "
            "wherever they stand.",
            unit="bit",
            min_effect=0.002,
        ),
        _higher(
            f"coverage_{length}",
            f"{length}-SNP word coverage",
            f"Share of held-out {length}-site haplotypes that also occur in the same window "
            "of the synthetic cohort, mean over windows.",
            min_effect=0.005,
        ),
        _lower(
            f"novel_{length}",
            f"Novel {length}-SNP words",
            f"Share of synthetic {length}-site haplotypes that no training or held-out person "
            "carries in that window, mean over windows; 0 for the floor and for copies, "
            "however few, by construction: read coverage and distinct haplotypes beside it.",
            min_effect=0.005,
        ),
        _closer(
            f"distinct_ratio_{length}",
            f"Distinct {length}-SNP haplotypes, ratio",
            f"Distinct {length}-site haplotypes per window summed over non-overlapping "
            "windows, synthetic over held-out, at equal numbers of haplotypes.",
            ideal=1.0,
            min_effect=0.05,
            headline=length == 20,
        ),
    )


HAPLOTYPE_WORDS = MetricSpec(
    name="haplotype-words",
    version="2",
    target="haplobench_fidelity.haplotype_words:haplotype_words",
    summary=(
        "Which haplotypes of 10 and of 20 adjacent sites occur, and how often. Sites drawn one by "
        "one give many words that nobody carries; a generator that collapses gives too few."
    ),
    family="fidelity",
    needs=(_NUMBA,),
    submetrics=(*_words(10), *_words(20)),
    figures=(
        FigureSpec(
            "word-divergence",
            "Haplotype words along the region",
            "Jensen-Shannon divergence of 10-site haplotypes in each window, synthetic against "
            "held-out, mean over stretches of the region; grey is the floor of real people.",
            "haplobench_fidelity.figures:draw_words",
        ),
    ),
    citations=("lin1991",),
)


class PcaParams(Params):
    """Parameters of `pca`.

    n_components : principal components compared.
    max_people : training people that the axes are made from; a seeded sample of more.
    max_haplotypes : of each side that coupled components are made from, where there are as many
        sites; a seeded sample of more.
    """

    n_components: int = Field(10, ge=1, le=50)
    max_people: int = Field(4000, ge=2)
    max_haplotypes: int = Field(1024, ge=2)


PCA = MetricSpec(
    name="pca",
    version="2",
    target="haplobench_fidelity.principal_components:pca",
    summary=(
        "Where synthetic people fall on the principal components of the training people, compared "
        "with held-out people. Population structure that is blurred, shifted or missing shows "
        "here. Where training people are drawn of a panel, as a sample or for a floor, dosages are "
        "scaled by the frequencies among all of it."
    ),
    contigs="joined",
    family="fidelity",
    params=PcaParams,
    phased=False,
    needs=(_NUMBA, _SCIPY),
    submetrics=(
        _lower(
            "wasserstein",
            "PCA Wasserstein",
            "Wasserstein-1 distance between synthetic and held-out people on each principal "
            "component of the training people (standardised dosages, Patterson 2006), over the "
            "held-out standard deviation of that component; mean over components.",
            unit="SD",
            min_effect=0.05,
            headline=True,
        ),
        _lower(
            "wasserstein_pc",
            "PCA Wasserstein by component",
            "The same for one component.",
            unit="SD",
            min_effect=0.1,
        ),
        _lower(
            "wasserstein_superpopulation",
            "PCA Wasserstein by superpopulation",
            "The same among people of one superpopulation, mean over components, in units of the "
            "whole held-out cohort's standard deviations.",
            unit="SD",
            min_effect=0.1,
        ),
        _lower(
            "coupled_wasserstein",
            "Coupled PCA Wasserstein",
            "Wasserstein-1 distance between synthetic and held-out haplotypes on each of the first "
            "six principal components of both together (alleles centred, not scaled), summed over "
            "components, as Yelmen et al. give it.",
            min_effect=0.1,
        ),
        _info(
            "population_match",
            "Nearest population is the label",
            "Share of synthetic people whose nearest population centroid of the training people, "
            "over all components, is that of their label.",
        ),
        _info(
            "population_match_holdout",
            "Nearest population, held-out",
            "The same share among held-out people.",
        ),
        _closer(
            "population_match_difference",
            "Nearest population, difference",
            "The synthetic share less the held-out share.",
            ideal=0.0,
            min_effect=0.05,
        ),
        _info(
            "superpopulation_match",
            "Nearest superpopulation is the label",
            "Share of synthetic people whose nearest superpopulation centroid of the training "
            "people is that of their label.",
        ),
        _info(
            "superpopulation_match_holdout",
            "Nearest superpopulation, held-out",
            "The same share among held-out people.",
        ),
        _closer(
            "superpopulation_match_difference",
            "Nearest superpopulation, difference",
            "The synthetic share less the held-out share.",
            ideal=0.0,
            min_effect=0.05,
        ),
        _higher(
            "path_monotone",
            "Paths between people, rank r",
            "Of generators that interpolate: Spearman correlation of the steps from one training "
            "person to one of another label (superpopulations, or populations where there is one "
            "superpopulation) with their places along the line between both ends on all "
            "components, mean over paths. 1 where no step goes back.",
            min_effect=0.02,
        ),
        _info(
            "path_longest_step",
            "Paths between people, longest step",
            "The longest of a path's eight steps along that line, over the way from end to end, "
            "mean over paths: 1/8 where they are even, 1 where all changes at once.",
        ),
    ),
    figures=(
        FigureSpec(
            "pca",
            "Principal components",
            "First two principal components of the training people, with the share of variance "
            "that each explains: held-out people (first panel) and the people of each cohort "
            "(first seed, first draw) by superpopulation or population, and unlabelled ones; in "
            "grey beneath, the held-out people.",
            "haplobench_fidelity.figures:draw_components",
        ),
    ),
    citations=("patterson2006", "yelmen2023"),
)


class HaplotypeStatisticsParams(Params):
    """Parameters of `haplotype-statistics`.

    window_bp : length of the windows of Tajima's D and of haplotype homozygosity.
    min_run_bp : shortest run of homozygosity that counts.
    max_haplotypes : haplotypes of each side that are compared pair by pair; a seeded sample
        of more.
    min_people : people a population must have on both sides to enter Fst.
    """

    window_bp: int = Field(20_000, ge=1)
    min_run_bp: int = Field(50_000, ge=1)
    max_haplotypes: int = Field(2000, ge=2)
    min_people: int = Field(5, ge=2)


HAPLOTYPE_STATISTICS = MetricSpec(
    name="haplotype-statistics",
    version="1",
    target="haplobench_fidelity.haplotype_statistics:haplotype_statistics",
    summary=(
        "Classical statistics of diversity, haplotype homozygosity and differentiation, synthetic "
        "against held-out. None needs the sites to agree, but for the Fst between both cohorts."
    ),
    family="fidelity",
    params=HaplotypeStatisticsParams,
    site_matched=False,
    needs=(_NUMBA, _SCIPY),
    submetrics=(
        _closer(
            "diversity_ratio",
            "Nucleotide diversity, ratio",
            "Nucleotide diversity (mean pairwise differences over the region, Nei and Li 1979), "
            "synthetic over held-out. A mean over pairs: a few haplotypes repeated can have it "
            "right.",
            ideal=1.0,
            min_effect=0.01,
            headline=True,
        ),
        _closer(
            "diversity_ratio_superpopulation",
            "Nucleotide diversity ratio by superpopulation",
            "The same within one superpopulation.",
            ideal=1.0,
            min_effect=0.02,
        ),
        _lower(
            "pairwise_differences_wasserstein",
            "Pairwise differences",
            "Wasserstein-1 distance between the distributions of differences per kb between two "
            "haplotypes, over all pairs within a cohort.",
            unit="differences/kb",
            min_effect=0.05,
        ),
        _lower(
            "distances_within",
            "Haplotype distances within",
            "Wasserstein-1 distance between the distributions of Hamming distances of all pairs of "
            "held-out and of all pairs of synthetic haplotypes.",
            unit="sites",
            min_effect=0.2,
            site_matched=True,
        ),
        _lower(
            "distances_between",
            "Haplotype distances between",
            "The same between those of pairs of held-out haplotypes and those of a held-out with a "
            "synthetic one. A copy of the held-out people isn't at 0: each is at distance 0 from "
            "its copy.",
            unit="sites",
            min_effect=0.2,
            site_matched=True,
        ),
        _closer(
            "heterozygosity_ratio",
            "Heterozygosity, ratio",
            "Mean number of heterozygous sites per person, synthetic over held-out.",
            ideal=1.0,
            min_effect=0.02,
        ),
        _lower(
            "heterozygosity_wasserstein",
            "Heterozygosity by person",
            "Wasserstein-1 distance between the distributions of heterozygous sites per kb over "
            "people.",
            unit="sites/kb",
            min_effect=0.05,
        ),
        _closer(
            "tajimas_d_difference",
            "Tajima's D, difference",
            "Tajima's D (1989) of the region, synthetic less held-out; the dataset's MAF filter "
            "shifts both.",
            ideal=0.0,
            min_effect=0.1,
        ),
        _lower(
            "tajimas_d_rmse",
            "Tajima's D by window, RMSE",
            "Root mean square difference of Tajima's D over windows with at least 3 segregating "
            "sites on both sides.",
            min_effect=0.05,
        ),
        *(
            _lower(
                f"{name}_rmse",
                f"{title} by window, RMSE",
                f"Root mean square difference of {what} (Garud 2015) over windows of equal length, "
                "at equal numbers of haplotypes.",
                min_effect=0.01,
            )
            for name, title, what in (
                ("h1", "H1", "haplotype homozygosity H1"),
                ("h12", "H12", "H12, the two most frequent haplotypes taken as one,"),
                ("h123", "H123", "H123, the three most frequent haplotypes taken as one,"),
                ("h2_h1", "H2/H1", "H2/H1"),
            )
        ),
        _lower(
            "run_longest_wasserstein",
            "Longest run of homozygosity",
            "Wasserstein-1 distance between the distributions over people of the longest stretch "
            "without a heterozygous site, cut at the region's ends.",
            unit="kb",
            min_effect=5.0,
        ),
        _lower(
            "run_total_wasserstein",
            "Total in runs of homozygosity",
            "Wasserstein-1 distance between the distributions over people of the total length of "
            "stretches without a heterozygous site that are at least `min_run_bp` long.",
            unit="kb",
            min_effect=20.0,
        ),
        _lower(
            "fst_rmse",
            "Fst between populations, RMSE",
            "Root mean square difference between the held-out and the synthetic cohort's Hudson "
            "Fst (Bhatia 2013, ratio of sums) over pairs of populations.",
            min_effect=0.002,
        ),
        _closer(
            "fst_real_synthetic",
            "Fst, real against synthetic",
            "Hudson Fst between the held-out and the synthetic cohort as two populations; about "
            "-1/n for n haplotypes that are the held-out ones themselves.",
            ideal=0.0,
            min_effect=0.001,
            site_matched=True,
        ),
    ),
    figures=(
        FigureSpec(
            "pairwise-differences",
            "Pairwise differences",
            "Distribution of differences per kb between two haplotypes of a cohort (first seed, "
            "first draw); the grey area is the held-out people, the grey line the floor.",
            "haplobench_fidelity.figures:draw_pairwise",
        ),
        FigureSpec(
            "haplotype-homozygosity",
            "Haplotype homozygosity H12",
            "H12 of each window, held-out (x) against synthetic (y; first seed, first draw); "
            "windows on the diagonal agree.",
            "haplobench_fidelity.figures:draw_homozygosity",
        ),
    ),
    citations=("nei1979", "tajima1989", "garud2015", "bhatia2013"),
)

SPECS = (K_MERS, MASH, HAPLOTYPE_WORDS, PCA, HAPLOTYPE_STATISTICS)
