"""Statistics of diversity, homozygosity and differentiation, synthetic against held-out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import wasserstein_distance

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.data.bits import pack_bits
from haplobench.data.distances import difference_counts, distance_blocks, distances_kept
from haplobench.kernels import compiled
from haplobench.memory import remember
from haplobench_fidelity.cohorts import (
    equal_rows,
    measured,
    require_complete,
    rows_key,
    site_blocks,
)
from haplobench_fidelity.specs_haplotypes import (
    HAPLOTYPE_STATISTICS,
    HaplotypeStatisticsParams,
)

_BLOCK_BYTES = 1 << 25
_MIN_SEGREGATING = 3
_FIGURE_BINS = 60
_HOMOZYGOSITY = ("h1", "h12", "h123", "h2_h1")


@dataclass(frozen=True)
class Region:
    """The stretch that both sides are compared over: bp, 1-based, both ends included."""

    start: int
    end: int

    @property
    def kb(self) -> float:
        """Length in kb."""
        return (self.end - self.start + 1) / 1000

    def columns(self, panel: Panel) -> slice:
        """The panel's columns inside the region."""
        low, high = np.searchsorted(panel.positions, [self.start, self.end + 1])
        return slice(int(low), int(high))

    def windows(self, length: int) -> NDArray[np.int64]:
        """First positions of whole windows of `length` bp; one window in a shorter region."""
        return np.arange(self.start, max(self.end - length + 2, self.start + 1), length)

    def window_columns(self, panel: Panel, length: int) -> NDArray[np.int64]:
        """First column and the one after the last of each window: (n_windows, 2) int64."""
        starts = self.windows(length)
        ends = np.minimum(starts + length, self.end + 1)
        columns = np.searchsorted(panel.positions, np.stack([starts, ends], axis=1))
        return columns.astype(np.int64)


@dataclass(frozen=True, eq=False)
class CohortStatistics:
    """Statistics of one cohort over a region.

    Attributes
    ----------
    diversity : float
        Mean differences between two haplotypes.
    diversity_by : dict
        The same, and the number of haplotypes, by superpopulation.
    tajimas_d : float
    window_tajimas_d : (n_windows,) float64
        NaN below 3 segregating sites.
    panel : Panel
        The cohort inside the region.
    rows : (n,) int64
        Its haplotypes whose pairs are counted.
    differences : (max + 1,) int64
        Pairs of them by number of differences.
    heterozygous, longest_run, total_run : (n_samples,) int64 or None
        Sites and bp; None unless diploid.
    """

    diversity: float
    diversity_by: Mapping[str, tuple[float, int]]
    tajimas_d: float
    window_tajimas_d: NDArray[np.float64]
    panel: Panel
    rows: NDArray[np.int64]
    differences: NDArray[np.int64]
    heterozygous: NDArray[np.int64] | None
    longest_run: NDArray[np.int64] | None
    total_run: NDArray[np.int64] | None


def cohort_statistics(
    panel: Panel, region: Region, params: HaplotypeStatisticsParams, rng: np.random.Generator
) -> CohortStatistics:
    """Statistics of a complete panel inside `region`; `rng` draws haplotypes if they are many."""
    n = panel.n_haplotypes
    inside = region.columns(panel)
    if inside != slice(0, panel.n_sites):
        panel = panel.select_sites(np.arange(inside.start, inside.stop))
    counts = panel.allele_counts[0]
    diversity = site_diversity(counts, n)
    segregating = (counts > 0) & (counts < n)
    running = np.concatenate([[0.0], diversity.cumsum()])
    running_sites = np.concatenate([[0], segregating.cumsum()])
    bounds = region.window_columns(panel, params.window_bp)
    by: dict[str, tuple[float, int]] = {}
    if panel.labelled and (panel.superpopulation != "").all():
        groups, sizes = np.unique(panel.superpopulation, return_counts=True)
        groups = groups[sizes >= params.min_people]
        tallies, numbers = group_counts(panel, panel.haplotype_superpopulations, groups)
        by = {
            str(group): (float(site_diversity(tally, int(number)).sum()), int(number))
            for group, tally, number in zip(groups, tallies, numbers, strict=True)
        }
    rows = np.arange(n)
    if n > params.max_haplotypes:
        rows = np.sort(rng.choice(n, params.max_haplotypes, replace=False))
    people: tuple[NDArray[np.int64] | None, ...] = (None, None, None)
    if panel.ploidy == 2:
        people = homozygous_runs(panel, region.start, region.end, params.min_run_bp)
    return CohortStatistics(
        float(diversity.sum()),
        by,
        float(tajimas_d(segregating.sum(), diversity.sum(), n)),
        tajimas_d(
            running_sites[bounds[:, 1]] - running_sites[bounds[:, 0]],
            running[bounds[:, 1]] - running[bounds[:, 0]],
            n,
        ),
        panel,
        rows,
        pair_differences(panel, rows),
        *people,
    )


def haplotype_statistics(
    reference: Reference, cohort: Panel, params: HaplotypeStatisticsParams, ctx: RunContext
) -> MetricResult:
    """All statistics; those that a cohort can't have say why.

    Raises PanelError on missing alleles.
    """
    holdout, n = reference.holdout, cohort.n_haplotypes
    require_complete("haplotype-statistics", holdout=holdout, synthetic=cohort)
    if not holdout.n_sites or min(n, holdout.n_haplotypes) < 2:
        note = "needs a site and two haplotypes on both sides"
        return HAPLOTYPE_STATISTICS.not_applicable(note, n)
    region = Region(int(holdout.positions[0]), int(holdout.positions[-1]))
    sampled = max(n, holdout.n_haplotypes) > params.max_haplotypes
    real = remember(
        ("statistics", holdout.digest, params, ctx.seed if sampled else None),
        lambda: cohort_statistics(holdout, region, params, ctx.rng("pairs", "holdout")),
        keep=not holdout.fleeting,
    )
    synthetic = cohort_statistics(cohort, region, params, ctx.rng("pairs", "synthetic"))
    inside = region.columns(cohort)
    outside = cohort.n_sites - (inside.stop - inside.start)
    note = f"{outside} sites outside the region left out" if outside else ""
    rng = ctx.rng("haplotype-homozygosity")
    homozygosity, windows = _homozygosity(holdout, cohort, region, params.window_bp, rng)
    measurements = {
        **_diversity(real, synthetic, region, n, note),
        **_distances(holdout, cohort, real, synthetic),
        **_people(real, synthetic, region, cohort.n_samples),
        **homozygosity,
        "fst_rmse": _fst_populations(holdout, cohort, params.min_people),
        "fst_real_synthetic": _fst_cohorts(holdout, cohort),
    }
    windows |= {
        "real_tajimas_d": real.window_tajimas_d,
        "synthetic_tajimas_d": synthetic.window_tajimas_d,
    }
    series = {
        "windows": windows,
        "pairwise": _densities(real.differences, synthetic.differences, region),
    }
    return MetricResult(measurements, series)


def _homozygosity(
    holdout: Panel, cohort: Panel, region: Region, length: int, rng: np.random.Generator
) -> tuple[dict[str, Measurement], dict[str, NDArray[Any]]]:
    real_rows, rows = equal_rows(holdout.n_haplotypes, cohort.n_haplotypes, rng)
    real = remember(
        ("homozygosity", holdout.digest, length, rows_key(real_rows)),
        lambda: windowed_homozygosity(holdout, real_rows, region.window_columns(holdout, length)),
    )
    synthetic = windowed_homozygosity(cohort, rows, region.window_columns(cohort, length))
    rmse = np.sqrt(((synthetic - real) ** 2).mean(axis=0))
    measurements = {
        f"{name}_rmse": Measurement(float(value), len(real))
        for name, value in zip(_HOMOZYGOSITY, rmse, strict=True)
    }
    windows: dict[str, NDArray[Any]] = {"start_bp": region.windows(length)}
    for i, name in enumerate(_HOMOZYGOSITY):
        windows |= {f"real_{name}": real[:, i], f"synthetic_{name}": synthetic[:, i]}
    return measurements, windows


def _fst_populations(holdout: Panel, cohort: Panel, min_people: int) -> Measurement:
    def large(panel: Panel) -> set[str]:
        names, sizes = np.unique(panel.population, return_counts=True)
        return set(names[(sizes >= min_people) & (names != "")].tolist())

    groups = np.array(sorted(large(holdout) & large(cohort)))
    if groups.size < 2:
        note = f"fewer than two populations with {min_people} labelled people on both sides"
        return Measurement(None, cohort.n_samples, note=note)

    def matrix(panel: Panel) -> NDArray[np.float64]:
        fst = fst_matrix(*group_counts(panel, panel.haplotype_populations, groups))
        return fst[np.triu_indices(groups.size, 1)]

    real = remember(("fst", holdout.digest, tuple(groups.tolist())), lambda: matrix(holdout))
    n, rmse = _rmse(matrix(cohort) - real)
    return measured(rmse, n or cohort.n_samples, "", "no site varies between populations")


def _fst_cohorts(holdout: Panel, cohort: Panel) -> Measurement:
    if not holdout.same_sites(cohort):
        return Measurement(None, cohort.n_haplotypes, note="sites differ")
    counts = np.stack([holdout.allele_counts[0], cohort.allele_counts[0]])
    fst = fst_matrix(counts, np.array([holdout.n_haplotypes, cohort.n_haplotypes]))[0, 1]
    if not np.isfinite(fst):
        return Measurement(None, cohort.n_haplotypes, note="no site varies")
    return Measurement(float(fst), holdout.n_sites)


def _rmse(difference: NDArray[np.float64]) -> tuple[int, float | None]:
    """How many differences there are, and their root mean square; None where there is none."""
    finite = difference[np.isfinite(difference)]
    return finite.size, float(np.sqrt((finite**2).mean())) if finite.size else None


def _diversity(
    real: CohortStatistics, synthetic: CohortStatistics, region: Region, n: int, note: str
) -> dict[str, Measurement | list[Measurement]]:
    shared = sorted(set(real.diversity_by) & set(synthetic.diversity_by))
    by_group = [
        Measurement(diversity / real.diversity_by[name][0], size, labels={"superpopulation": name})
        for name in shared
        for diversity, size in [synthetic.diversity_by[name]]
        if real.diversity_by[name][0] > 0
    ]
    per_kb = [np.arange(side.differences.size) / region.kb for side in (real, synthetic)]
    difference = synthetic.tajimas_d - real.tajimas_d
    n_windows, rmse = _rmse(synthetic.window_tajimas_d - real.window_tajimas_d)
    return {
        "diversity_ratio": _ratio(synthetic.diversity, real.diversity, n, note),
        "diversity_ratio_superpopulation": by_group
        if shared
        else Measurement(None, n, note="the cohort has no labels"),
        "pairwise_differences_wasserstein": Measurement(
            float(wasserstein_distance(*per_kb, real.differences, synthetic.differences)),
            int(synthetic.differences.sum()),
        ),
        "tajimas_d_difference": measured(
            difference if np.isfinite(difference) else None,
            n,
            "",
            "fewer than 3 segregating sites on one side",
        ),
        "tajimas_d_rmse": measured(
            rmse, n_windows, "", "no window has 3 segregating sites on both sides"
        ),
    }


def _distances(
    holdout: Panel, cohort: Panel, real: CohortStatistics, synthetic: CohortStatistics
) -> dict[str, Measurement]:
    """What separates haplotypes, in sites, within the cohort and between it and real people."""
    names = ("distances_within", "distances_between")
    if not holdout.same_sites(cohort):
        return dict.fromkeys(names, Measurement(None, cohort.n_haplotypes, note="sites differ"))
    between = pair_differences(real.panel, real.rows, synthetic.panel, synthetic.rows)
    values = (
        wasserstein_distance(
            np.arange(real.differences.size), np.arange(counts.size), real.differences, counts
        )
        for counts in (synthetic.differences, between)
    )
    numbers = zip(values, (synthetic.rows.size, real.rows.size), strict=True)
    measurements = (Measurement(float(value), n) for value, n in numbers)
    return dict(zip(names, measurements, strict=True))


def _people(
    real: CohortStatistics, synthetic: CohortStatistics, region: Region, n: int
) -> dict[str, Measurement]:
    names = (
        "heterozygosity_ratio",
        "heterozygosity_wasserstein",
        "run_longest_wasserstein",
        "run_total_wasserstein",
    )
    if real.heterozygous is None or synthetic.heterozygous is None:
        return dict.fromkeys(names, Measurement(None, n, note="people are not diploid"))
    ratio = _ratio(float(synthetic.heterozygous.mean()), float(real.heterozygous.mean()), n)
    pairs = (
        (real.heterozygous / region.kb, synthetic.heterozygous / region.kb),
        (real.longest_run, synthetic.longest_run),
        (real.total_run, synthetic.total_run),
    )
    first, *runs = (float(wasserstein_distance(*pair)) for pair in pairs)
    rest = (Measurement(value, n) for value in (first, *(run / 1000 for run in runs)))
    return dict(zip(names, (ratio, *rest), strict=True))


def _ratio(value: float, real: float, n: int, note: str = "") -> Measurement:
    ratio = value / real if real > 0 else None
    return measured(ratio, n, note, "the held-out people do not vary")


def _densities(
    real: NDArray[np.int64], synthetic: NDArray[np.int64], region: Region
) -> dict[str, NDArray[Any]]:
    """Densities of differences per kb in 60 bins of the range of both."""
    longest = max(real.size, synthetic.size)
    width = max(1, -(-longest // _FIGURE_BINS))
    n_bins = -(-longest // width)
    table: dict[str, NDArray[Any]] = {
        "differences_per_kb": (np.arange(n_bins) + 0.5) * width / region.kb
    }
    for name, counts in (("real", real), ("synthetic", synthetic)):
        padded = np.zeros(n_bins * width)
        padded[: counts.size] = counts
        table[f"{name}_density"] = padded.reshape(n_bins, width).sum(axis=1) / (
            counts.sum() * width / region.kb
        )
    return table


def haplotype_homozygosity(haplotypes: NDArray[np.int8]) -> tuple[float, float, float, float]:
    """H1, H12, H123 and H2/H1 of some haplotypes (Garud et al. 2015).

    `haplotypes` is (n_haplotypes, n_sites) int8 of 0 and 1; without sites all are one
    haplotype.
    """
    return _packed_homozygosity(pack_bits(haplotypes))


def _packed_homozygosity(words: NDArray[np.uint64]) -> tuple[float, float, float, float]:
    n = words.shape[0]
    keys = np.zeros(n, np.uint64)
    # Sorted much faster than whole rows: of 64 sites each key is another; of more, two rows
    # share one by chance with a probability of 2^-64 (mixed as in SplitMix64).
    for word in words.T:
        keys = (keys ^ word) * np.uint64(0xBF58476D1CE4E5B9)
        keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0x94D049BB133111EB)
        keys ^= keys >> np.uint64(31)
    counts = np.unique(keys, return_counts=True)[1]
    p = np.zeros(max(3, counts.size))
    p[: counts.size] = np.sort(counts)[::-1] / n
    h1 = float((p**2).sum())
    h12 = float(p[:2].sum() ** 2 + (p[2:] ** 2).sum())
    h123 = float(p[:3].sum() ** 2 + (p[3:] ** 2).sum())
    return h1, h12, h123, float((h1 - p[0] ** 2) / h1)


def windowed_homozygosity(
    panel: Panel, rows: NDArray[np.int64] | slice, bounds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """H1, H12, H123 and H2/H1 by window: (n_windows, 4) float64.

    `bounds` is (n_windows, 2): first column and the one after the last of each window.
    """
    table = np.empty((len(bounds), 4))
    for window, (low, high) in enumerate(bounds):
        table[window] = _packed_homozygosity(panel.packed_haplotypes(rows, slice(low, high)))
    return table


def homozygous_runs(
    panel: Panel, start: int, end: int, min_run: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Heterozygous sites and stretches without one, by person of a diploid panel.

    Parameters
    ----------
    panel : Panel
        Complete, ploidy 2.
    start, end : int
        The region, bp, both included; runs are cut there.
    min_run : int
        Shortest run that counts towards the total, bp.

    Returns
    -------
    heterozygous : (n_samples,) int64
        Heterozygous sites in the region.
    longest, total : (n_samples,) int64
        Longest run, and total length of runs of at least `min_run`, in bp.
    """
    table = np.empty((3, panel.n_samples), np.int64)
    low, high = np.searchsorted(panel.positions, [start, end + 1])
    positions = panel.positions[low:high].copy()
    step = max(1, _BLOCK_BYTES // max(1, 2 * (high - low)))
    for first in range(0, panel.n_samples, step):
        # A copy, so that the kernel compiles once and not again for read-only memory maps.
        people = slice(2 * first, 2 * (first + step))
        block = np.array(panel.alleles(people, slice(low, high)), order="C")
        table[:, first : first + step] = _runs(block, positions, start, end, min_run)
    return table[0], table[1], table[2]


@compiled
def _runs(
    haplotypes: NDArray[np.int8], positions: NDArray[np.int64], start: int, end: int, min_run: int
) -> NDArray[np.int64]:
    n_people = haplotypes.shape[0] // 2
    table = np.zeros((3, n_people), np.int64)
    for person in range(n_people):
        previous = start - 1
        heterozygous = longest = total = 0
        for site in range(positions.size):
            if haplotypes[2 * person, site] != haplotypes[2 * person + 1, site]:
                run = positions[site] - previous - 1
                longest = max(longest, run)
                if run >= min_run:
                    total += run
                previous = positions[site]
                heterozygous += 1
        run = end - previous
        longest = max(longest, run)
        if run >= min_run:
            total += run
        table[0, person] = heterozygous
        table[1, person] = longest
        table[2, person] = total
    return table


def site_diversity(counts: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """Mean pairwise difference at each site, 2k(n - k) / (n(n - 1)): same shape, float64.

    `counts` are copies k of the alternate allele among `n` haplotypes. The sum over sites is
    nucleotide diversity times the region's length (Nei and Li 1979).
    """
    if n < 2:
        return np.full(counts.shape, np.nan)
    return 2.0 * counts * (n - counts) / (n * (n - 1))


def tajimas_d(segregating: ArrayLike, diversity: ArrayLike, n: int) -> NDArray[np.float64]:
    """Tajima's D (1989) from numbers of segregating sites and summed mean pairwise differences.

    Elementwise, float64; NaN below 3 segregating sites, as in scikit-allel.
    """
    s = np.asarray(segregating, np.float64)
    i = np.arange(1, max(n, 2), dtype=np.float64)
    a1, a2 = (1 / i).sum(), (1 / i**2).sum()
    b1 = (n + 1) / (3 * (n - 1))
    b2 = 2 * (n * n + n + 3) / (9 * n * (n - 1))
    c1 = b1 - 1 / a1
    c2 = b2 - (n + 2) / (a1 * n) + a2 / a1**2
    e1, e2 = c1 / a1, c2 / (a1**2 + a2)
    with np.errstate(divide="ignore", invalid="ignore"):
        d = (np.asarray(diversity, np.float64) - s / a1) / np.sqrt(e1 * s + e2 * s * (s - 1))
    return np.where(s >= _MIN_SEGREGATING, d, np.nan)


def group_counts(
    panel: Panel, labels: NDArray[np.str_], groups: NDArray[np.str_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Alternate alleles by group and site, and haplotypes by group.

    `labels` is (n_haplotypes,) str. Returns (n_groups, n_sites) and (n_groups,) int64.
    """
    member = labels[None, :] == groups[:, None]
    masks = pack_bits(member.view(np.int8))
    counts = np.empty((groups.size, panel.n_sites), np.int64)
    for sites in site_blocks(panel.n_haplotypes, panel.n_sites):
        bits = panel.packed_sites(np.arange(sites.start, sites.stop))
        for group, mask in enumerate(masks):
            counts[group, sites] = np.bitwise_count(bits & mask).sum(axis=1, dtype=np.int64)
    return counts, member.sum(axis=1)


def packed_rows(panel: Panel, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Some of a panel's haplotypes, bit-packed: (rows.size, n_words) uint64."""
    if panel.bits is not None:
        return panel.bits.take(rows).words
    step = max(1, _BLOCK_BYTES // max(1, panel.n_sites))
    parts = [rows[low : low + step] for low in range(0, rows.size, step)]
    return np.concatenate([pack_bits(panel.haplotypes[part]) for part in parts])


def pair_differences(
    panel: Panel,
    rows: NDArray[np.int64],
    other: Panel | None = None,
    others: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Pairs of some haplotypes by number of differences, see `difference_counts`."""
    within = other is None or others is None
    to, there = (panel, rows) if other is None or others is None else (other, others)
    if not distances_kept(panel, to, rows, there):
        packed = packed_rows(panel, rows)
        return difference_counts(packed, None if within else packed_rows(to, there))
    counts = np.zeros(panel.n_sites + 1, np.int64)
    for low, block in distance_blocks(panel, to, rows, there):
        if within:  # each pair once
            block = block[np.tri(block.shape[0], block.shape[1], low - 1, dtype=np.bool_)]
        counts += np.bincount(block.ravel(), minlength=counts.size)
    return counts[: max(1, np.trim_zeros(counts, "b").size)]


def fst_matrix(counts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Hudson's Fst between all pairs of groups, as a ratio of sums over sites (Bhatia 2013).

    `counts` (n_groups, n_sites) are alternate alleles among `sizes` (n_groups,) haplotypes.
    Returns (n_groups, n_groups) float64; NaN where a pair has no site that varies. The
    diagonal has no meaning.
    """
    within = np.array(
        [site_diversity(row, int(n)).sum() for row, n in zip(counts, sizes, strict=True)]
    )
    p = counts / sizes[:, None]
    total = p.sum(axis=1)
    between = total[:, None] + total[None, :] - 2 * p @ p.T
    with np.errstate(divide="ignore", invalid="ignore"):
        fst: NDArray[np.float64] = 1 - (within[:, None] + within[None, :]) / (2 * between)
    fst[between <= 0] = np.nan
    return fst
