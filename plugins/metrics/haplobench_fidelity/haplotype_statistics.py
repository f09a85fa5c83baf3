"""Statistics of diversity and differentiation, compared between synthetic and held-out people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench_fidelity.cohorts import (
    equal_rows,
    not_applicable,
    remember,
    require_complete,
    rows_key,
)
from haplobench_fidelity.differentiation import fst_matrix
from haplobench_fidelity.diversity import (
    group_counts,
    pairwise_differences,
    site_diversity,
    tajimas_d,
)
from haplobench_fidelity.homozygosity import homozygous_runs, windowed_homozygosity
from haplobench_fidelity.specs.structure import (
    STATISTICS_SUBMETRICS,
    HaplotypeStatisticsParams,
)

_FIGURE_BINS = 60
_HOMOZYGOSITY = ("h1", "h12", "h123", "h2-h1")


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
    differences : (max + 1,) int64
        Pairs of haplotypes by number of differences.
    heterozygous, longest_run, total_run : (n_samples,) int64 or None
        Sites and bp; None unless diploid.
    """

    diversity: float
    diversity_by: Mapping[str, tuple[float, int]]
    tajimas_d: float
    window_tajimas_d: NDArray[np.float64]
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
        pairwise_differences(panel, rows),
        *people,
    )


class HaplotypeStatisticsMetric:
    """Classical statistics, synthetic against held-out (see the spec)."""

    def __init__(
        self, reference: Reference, params: HaplotypeStatisticsParams, ctx: RunContext
    ) -> None:
        self._real = reference.holdout
        self._params = params
        self._ctx = ctx
        self._cohort: Panel | None = None

    def update(self, data: Panel) -> None:
        """Take the synthetic cohort. Raises PanelError on missing alleles."""
        require_complete("haplotype-statistics", holdout=self._real, synthetic=data)
        self._cohort = data

    def result(self) -> MetricResult:
        """All statistics; those that a cohort can't have say why."""
        assert self._cohort is not None, "update comes first"
        cohort, holdout = self._cohort, self._real
        n = cohort.n_haplotypes
        if not holdout.n_sites or min(n, holdout.n_haplotypes) < 2:
            note = "needs a site and two haplotypes on both sides"
            return MetricResult(not_applicable(STATISTICS_SUBMETRICS, n, note))
        region = Region(int(holdout.positions[0]), int(holdout.positions[-1]))
        sampled = max(n, holdout.n_haplotypes) > self._params.max_haplotypes
        real = remember(
            ("statistics", holdout.digest, self._params, self._ctx.seed if sampled else None),
            lambda: cohort_statistics(
                holdout, region, self._params, self._ctx.rng("pairs", "holdout")
            ),
        )
        synthetic = cohort_statistics(
            cohort, region, self._params, self._ctx.rng("pairs", "synthetic")
        )
        inside = region.columns(cohort)
        outside = cohort.n_sites - (inside.stop - inside.start)
        note = f"{outside} sites outside the region left out" if outside else ""
        homozygosity, windows = self._homozygosity(cohort, region)
        measurements = {
            **_diversity(real, synthetic, region, n, note),
            **_people(real, synthetic, region, cohort.n_samples),
            **homozygosity,
            "fst-rmse": self._fst_populations(cohort),
            "fst-real-synthetic": self._fst_cohorts(cohort),
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
        self, cohort: Panel, region: Region
    ) -> tuple[dict[str, Measurement], dict[str, NDArray[Any]]]:
        holdout, length = self._real, self._params.window_bp
        real_rows, rows = equal_rows(
            holdout.n_haplotypes, cohort.n_haplotypes, self._ctx.rng("haplotype-homozygosity")
        )
        real = remember(
            ("homozygosity", holdout.digest, length, rows_key(real_rows)),
            lambda: windowed_homozygosity(
                holdout, real_rows, region.window_columns(holdout, length)
            ),
        )
        synthetic = windowed_homozygosity(cohort, rows, region.window_columns(cohort, length))
        rmse = np.sqrt(((synthetic - real) ** 2).mean(axis=0))
        measurements = {
            f"{name}-rmse": Measurement(float(value), len(real))
            for name, value in zip(_HOMOZYGOSITY, rmse, strict=True)
        }
        windows: dict[str, NDArray[Any]] = {"start_bp": region.windows(length)}
        for i, name in enumerate(_HOMOZYGOSITY):
            key = name.replace("-", "_")
            windows |= {f"real_{key}": real[:, i], f"synthetic_{key}": synthetic[:, i]}
        return measurements, windows

    def _fst_populations(self, cohort: Panel) -> Measurement:
        holdout, least = self._real, self._params.min_people
        shared = []
        for panel in (holdout, cohort):
            names, sizes = np.unique(panel.population, return_counts=True)
            shared.append({str(name) for name, size in zip(names, sizes, strict=True)
                           if name and size >= least})  # fmt: skip
        groups = np.array(sorted(shared[0] & shared[1]))
        if groups.size < 2:
            return Measurement(
                None,
                cohort.n_samples,
                note=f"fewer than two populations with {least} labelled people on both sides",
            )

        def matrix(panel: Panel) -> NDArray[np.float64]:
            fst = fst_matrix(*group_counts(panel, panel.haplotype_populations, groups))
            return fst[np.triu_indices(groups.size, 1)]

        real = remember(("fst", holdout.digest, tuple(groups.tolist())), lambda: matrix(holdout))
        difference = matrix(cohort) - real
        difference = difference[np.isfinite(difference)]
        if not difference.size:
            return Measurement(None, cohort.n_samples, note="no site varies between populations")
        return Measurement(float(np.sqrt((difference**2).mean())), difference.size)

    def _fst_cohorts(self, cohort: Panel) -> Measurement:
        holdout = self._real
        if not holdout.same_sites(cohort):
            return Measurement(None, cohort.n_haplotypes, note="sites differ")
        counts = np.stack([holdout.allele_counts[0], cohort.allele_counts[0]])
        fst = fst_matrix(counts, np.array([holdout.n_haplotypes, cohort.n_haplotypes]))[0, 1]
        if not np.isfinite(fst):
            return Measurement(None, cohort.n_haplotypes, note="no site varies")
        return Measurement(float(fst), holdout.n_sites)


def _diversity(
    real: CohortStatistics, synthetic: CohortStatistics, region: Region, n: int, note: str
) -> dict[str, Measurement | list[Measurement]]:
    found: dict[str, Measurement | list[Measurement]] = {}
    found["diversity-ratio"] = _ratio(synthetic.diversity, real.diversity, n, note)
    shared = sorted(set(real.diversity_by) & set(synthetic.diversity_by))
    if shared:
        found["diversity-ratio-superpopulation"] = [
            Measurement(
                synthetic.diversity_by[name][0] / real.diversity_by[name][0],
                synthetic.diversity_by[name][1],
                labels={"superpopulation": name},
            )
            for name in shared
            if real.diversity_by[name][0] > 0
        ]
    else:
        found["diversity-ratio-superpopulation"] = Measurement(
            None, n, note="the cohort has no labels"
        )
    values = [np.arange(side.differences.size) / region.kb for side in (real, synthetic)]
    found["pairwise-differences-wasserstein"] = Measurement(
        float(wasserstein_distance(*values, real.differences, synthetic.differences)),
        int(synthetic.differences.sum()),
    )
    if np.isfinite(real.tajimas_d) and np.isfinite(synthetic.tajimas_d):
        found["tajimas-d-difference"] = Measurement(synthetic.tajimas_d - real.tajimas_d, n)
    else:
        found["tajimas-d-difference"] = Measurement(
            None, n, note="fewer than 3 segregating sites on one side"
        )
    difference = synthetic.window_tajimas_d - real.window_tajimas_d
    difference = difference[np.isfinite(difference)]
    found["tajimas-d-rmse"] = (
        Measurement(float(np.sqrt((difference**2).mean())), difference.size)
        if difference.size
        else Measurement(None, 0, note="no window has 3 segregating sites on both sides")
    )
    return found


def _people(
    real: CohortStatistics, synthetic: CohortStatistics, region: Region, n: int
) -> dict[str, Measurement]:
    names = (
        "heterozygosity-ratio",
        "heterozygosity-wasserstein",
        "run-longest-wasserstein",
        "run-total-wasserstein",
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
    values = [first, *(run / 1000 for run in runs)]
    rest = (Measurement(value, n) for value in values)
    return dict(zip(names, (ratio, *rest), strict=True))


def _ratio(value: float, real: float, n: int, note: str = "") -> Measurement:
    if real <= 0:
        return Measurement(None, n, note="the held-out people do not vary")
    return Measurement(value / real, n, note=note)


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
