"""Demography inferred from a cohort: sizes by the spectrum and by LD, local rates, kinship."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import spearmanr, wasserstein_distance

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.data.kinship import DEGREES, king
from haplobench.kernels import compiled
from haplobench.memory import remember
from haplobench_utility.cohorts import measured, window_starts
from haplobench_utility.specs_structure import DEMOGRAPHY, DemographyParams

Floats = NDArray[np.float64]
Windows = NDArray[np.int64]
# The spectrum is projected to so many haplotypes; of its classes those above so great a MAF are
# fitted, which sites that a MAF filter leaves out hardly reach: below .075, or two and a half
# times the filter's.
_PROJECTED, _LEAST_MAF, _ABOVE_FILTER = 40, 0.075, 2.5
_LEAST_EXCESS = 1e-4  # of r² over chance; without LD the inferred size is large, and not infinite
_CM = 100.0  # in a Morgan
_MIN_SITES, _MIN_WINDOWS, _MOST_SITES = 5, 10, 60
_RATES = np.geomspace(1e-6, 1.0, 121)  # 4 N r per bp
_NO_MAP = "no recombination map"


def demography(
    reference: Reference, cohort: Panel, params: DemographyParams, ctx: RunContext
) -> MetricResult:
    """Sizes, rates and kinship inferred from the cohort, against those from held-out people."""
    holdout, n = reference.holdout, cohort.n_haplotypes
    if not holdout.n_sites or min(n, holdout.n_haplotypes) < 4:
        return DEMOGRAPHY.not_applicable("needs four haplotypes on both sides, and a site", n)
    for side, panel in (("held-out", holdout), ("synthetic", cohort)):
        if panel.has_missing:
            return DEMOGRAPHY.not_applicable(f"alleles of the {side} panel are missing", n)
    inside = np.searchsorted(cohort.positions, [holdout.positions[0], holdout.positions[-1] + 1])
    if inside[1] - inside[0] < cohort.n_sites:
        cohort = cohort.select_sites(np.arange(inside[0], inside[1]))
    starts = window_starts(holdout, params.window_bp, params.step_bp)
    key = ("demography", holdout.digest, params, ctx.seed, ctx.recombination_map is None)
    projected = min(_PROJECTED, n, holdout.n_haplotypes) // 2 * 2
    real = remember(
        (*key, projected), lambda: _infer(holdout, starts, projected, params, ctx, "holdout")
    )
    own = _infer(cohort, starts, projected, params, ctx, "synthetic")
    ld, series = _by_ld(real, own, starts, params, ctx)
    return MetricResult(
        {**_by_spectrum(real, own, holdout.span, params), **ld, **_kin(real, own)}, series
    )


@dataclass(frozen=True, eq=False)
class _Inferred:
    """What one panel tells.

    Attributes
    ----------
    sites : int
        In the fitted classes of the spectrum, as far as they are projected into them.
    history : History or None
        None where there is no site in them.
    distances, excess : (n_bins,) float64
        Mean distance of pairs of sites in Morgans, and mean r² over 1 / n; NaN without pairs.
    rates : (n_windows,) float64
        4 N r per bp; NaN in windows of few sites.
    kinship : (n_pairs,) float32 or None
        KING-robust of each pair of people; None unless diploid.
    inbreeding : float or None
    n_haplotypes, n_rows : int
        Of the panel, and what r² was measured over: haplotypes, or people without phase.
    """

    sites: float
    history: History | None
    distances: Floats
    excess: Floats
    rates: Floats
    kinship: NDArray[np.float32] | None
    inbreeding: float | None
    n_haplotypes: int
    n_rows: int


def _infer(
    panel: Panel,
    starts: Windows,
    projected: int,
    params: DemographyParams,
    ctx: RunContext,
    side: str,
) -> _Inferred:
    n_bins = params.distance_bins
    spectrum = folded_projection(panel.allele_counts[0], panel.n_haplotypes, projected)
    least = max(_LEAST_MAF, _ABOVE_FILTER * ctx.min_maf)
    classes = np.arange(1, projected // 2 + 1)
    fitted = classes >= min(least * projected, projected / 4)
    history = fit_history(spectrum, fitted, projected)
    panel = _thinned(panel, params, ctx, side)
    common = panel.common_sites(params.min_maf) & (panel.maf > 0)
    panel = panel.select_sites(common)
    sites = np.arange(panel.n_sites)
    matrix = panel.site_rows(sites).T if panel.phased else np.asfortranarray(panel.dosages())
    distances = excess = np.full(n_bins, np.nan)
    if ctx.recombination_map is not None and panel.n_sites:
        at = ctx.recombination_map.at(panel.positions) / _CM
        edges = np.geomspace(params.least_cm / 100, params.greatest_cm / 100, n_bins + 1)
        rng = ctx.rng("demography", "pairs")
        distances, excess = excess_by_distance(matrix, at, edges, params.pairs, rng)
    people = panel.dosages() if panel.ploidy == 2 and panel.n_samples > 1 else None
    return _Inferred(
        float(spectrum[fitted].sum()),
        history,
        distances,
        excess,
        local_rates(matrix, panel.positions, starts, params.window_bp),
        None if people is None else pairwise_kinship(people),
        None if people is None or not panel.n_sites else inbreeding(panel, people),
        panel.n_haplotypes,
        matrix.shape[0],
    )


def _thinned(panel: Panel, params: DemographyParams, ctx: RunContext, side: str) -> Panel:
    """At most so many people, a seeded sample."""
    if panel.n_samples <= params.max_people:
        return panel
    rng = ctx.rng("demography", side)
    chosen = rng.choice(panel.n_samples, params.max_people, replace=False)
    return panel.select_samples(np.sort(chosen))


# --- the spectrum -----------------------------------------------------------------------------


@dataclass(frozen=True)
class History:
    """A size that changed once: `now` since `time`, before it 1; by a coalescent's units.

    Attributes
    ----------
    now : float
        Present size over the ancestral one.
    time : float
        Of the change, in units of 2 N generations, N the ancestral size.
    theta : float
        4 N u of the region, N the ancestral size.
    """

    now: float
    time: float
    theta: float

    def sizes(self, generations: Floats, rate: float) -> Floats:
        """Diploid people some generations ago; `rate`: mutations of a haplotype a generation."""
        ancestral = self.theta / (4 * rate)
        return np.where(generations < self.time * 2 * ancestral, self.now, 1.0) * ancestral


def folded_projection(counts: NDArray[np.int64], n: int, projected: int) -> Floats:
    """Folded spectrum expected among `projected` of the `n` haplotypes: (projected / 2,) float64.

    Class i - 1 holds the sites at which i carry the rarer allele: hypergeometric sampling
    (Gutenkunst et al. 2009). `counts` (n_sites,) are alternate alleles.
    """
    sites = np.bincount(counts, minlength=n + 1).astype(np.float64)
    full = _projection(n, projected) @ sites
    folded = full[1 : projected // 2 + 1].copy()
    other = full[projected // 2 : -1][::-1]
    folded[: projected // 2 - 1] += other[: projected // 2 - 1]
    return folded


@cache
def _projection(n: int, projected: int) -> Floats:
    """Chance of k of `projected` haplotypes for K of n: (projected + 1, n + 1)."""

    def choose(a: Any, b: Any) -> Any:
        fits = (b >= 0) & (b <= a)
        safe = np.where(fits, b, 0)
        log = gammaln(a + 1.0) - gammaln(safe + 1.0) - gammaln(a - safe + 1.0)
        return np.where(fits, log, -np.inf)

    k, many = np.arange(projected + 1)[:, None], np.arange(n + 1)[None, :]
    logs = choose(projected, k) + choose(n - projected, many - k) - choose(n, many)
    return np.asarray(np.exp(logs))


@cache
def _polanski_kimmel(n: int) -> Floats:
    """W of Polanski and Kimmel (2003): (n - 1, n - 1), classes 1 to n - 1 by lineages 2 to n."""
    b = np.arange(1, n)
    w = np.zeros((n - 1, n + 1))
    w[:, 2] = 6 / (n + 1)
    if n > 2:
        w[:, 3] = 30 * (n - 2 * b) / ((n + 1) * (n + 2))
    for j in range(2, n - 1):
        first = -(1 + j) * (3 + 2 * j) * (n - j) / (j * (2 * j - 1) * (n + j + 1))
        second = (3 + 2 * j) * (n - 2 * b) / (j * (n + j + 1))
        w[:, j + 2] = first * w[:, j] + second * w[:, j + 1]
    return w[:, 2:]


def expected_spectrum(n: int, now: Floats, time: Floats) -> Floats:
    """Folded spectra expected of `n` haplotypes after one change of size: (k, n / 2) float64.

    Per theta of the ancestral size (Polanski and Kimmel 2003). `now` and `time` (k,) are as in
    `History`; `n` is even.
    """
    rates = np.arange(2, n + 1) * np.arange(1, n) / 2
    gone = np.exp(-rates * (time / now)[:, None])
    waits = now[:, None] * (1 - gone) / rates + gone / rates
    unfolded = waits @ _polanski_kimmel(n).T / 2
    folded: Floats = unfolded[:, : n // 2].copy()
    folded[:, : n // 2 - 1] += unfolded[:, ::-1][:, : n // 2 - 1]
    return folded


def fit_history(spectrum: Floats, fitted: NDArray[np.bool_], n: int) -> History | None:
    """The change of size that makes some classes of a folded spectrum of `n` likeliest.

    Multinomial likelihood, sites taken as independent, on a grid that is refined thrice; sizes of
    1/32 to 32, times of 0.005 to 2. What the spectrum hardly tells is held back by a log-normal
    prior of the change, no change on average, of a factor of 3. None where the classes hold no
    site.
    """
    observed = spectrum[fitted]
    if observed.sum() <= 0:
        return None
    low, high = np.log([1 / 32, 0.005]), np.log([32.0, 2.0])
    best = (low + high) / 2
    for steps in (31, 17, 17, 17):
        axes = [np.linspace(low[i], high[i], steps) for i in range(2)]
        now, time = (np.exp(axis).ravel() for axis in np.meshgrid(*axes, indexing="ij"))
        expected = expected_spectrum(n, now, time)[:, fitted]
        shares = np.maximum(expected, 1e-300)
        total = shares.sum(axis=1)
        likelihood = np.log(shares / total[:, None]) @ observed
        i = int((likelihood - (np.log(now) / np.log(3)) ** 2 / 2).argmax())
        best = np.log([now[i], time[i]])
        width = np.array([axis[1] - axis[0] for axis in axes])
        low, high = np.maximum(low, best - 3 * width), np.minimum(high, best + 3 * width)
    now, time = np.exp(best)
    total = expected_spectrum(n, np.array([now]), np.array([time]))[0, fitted].sum()
    return History(float(now), float(time), float(observed.sum() / total))


def _by_spectrum(
    real: _Inferred, own: _Inferred, span: int, params: DemographyParams
) -> dict[str, Measurement]:
    n = round(own.sites)
    why = "no site of the frequencies that are fitted, on one side or both"
    if real.history is None or own.history is None:
        ratio = None if real.history is None else own.sites / real.sites
        lack = Measurement(None, n, note=why)
        return {"theta_ratio": measured(ratio, n, why), "history_rmse": lack}
    rate = params.mutation_rate * span
    times = np.geomspace(params.recent, params.remote, 40)
    sizes = [one.history.sizes(times, rate) for one in (real, own) if one.history]
    difference = np.log2(sizes[1] / sizes[0])

    def words(history: History) -> str:
        ancestral = history.theta / (4 * rate)
        ago = history.time * 2 * ancestral
        return f"{ancestral:,.0f} people, {history.now * ancestral:,.0f} since {ago:,.0f}"

    note = f"{words(own.history)} generations; real: {words(real.history)}"
    return {
        "theta_ratio": measured(own.sites / real.sites, n, why),
        "history_rmse": measured(float(np.sqrt((difference**2).mean())), n, why, note),
    }


# --- linkage disequilibrium -------------------------------------------------------------------


def excess_by_distance(
    matrix: NDArray[np.int8], at: Floats, edges: Floats, pairs: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Mean distance, and mean r² less 1 / n, of pairs of sites by distance: (n_bins,) each.

    Parameters
    ----------
    matrix : (n, n_sites) int8
        Alleles, or dosages; every site varies. Fastest in Fortran's order.
    at : (n_sites,) float64
        Positions in Morgans, not decreasing.
    edges : (n_bins + 1,) float64
        Morgans.
    pairs : int
        Drawn for each bin, with replacement, each site as likely to be the first.
    """
    n, sites = matrix.shape[0], matrix.T
    sums, norms = _moments(sites)
    distances, excess = np.full((2, edges.size - 1), np.nan)
    for i, (low, high) in enumerate(pairwise(edges)):
        first, last = np.searchsorted(at, at + low), np.searchsorted(at, at + high)
        first = np.maximum(first, np.arange(at.size) + 1)
        partners = np.flatnonzero(last > first)
        if not partners.size:
            continue
        a = rng.choice(partners, pairs)
        b = first[a] + (rng.random(pairs) * (last[a] - first[a])).astype(np.int64)
        products = np.einsum("ij,ij->i", sites[a].astype(np.float32), sites[b].astype(np.float32))
        r2 = (products - sums[a] * sums[b] / n) ** 2 / (norms[a] * norms[b])
        distances[i], excess[i] = (at[b] - at[a]).mean(), r2.mean() - 1 / n
    return distances, excess


def size_by_ld(distances: Floats, excess: Floats) -> Floats:
    """Diploid people by LD: (1 / (E[r²] - 1 / n) - 1) / 4c, after Sved 1971: (n_bins,) float64.

    Of some 1 / 2c generations ago (Hayes et al. 2003). An excess of r² below 1e-4 is taken for
    that, so that a cohort without LD has a large size and no infinite one.
    """
    bounded = np.clip(excess, _LEAST_EXCESS, 1 - _LEAST_EXCESS)
    return np.asarray((1 / bounded - 1) / (4 * distances), np.float64)


def local_rates(
    matrix: NDArray[np.int8], positions: NDArray[np.int64], starts: Windows, length: int
) -> Floats:
    """4 N r per bp in windows, by the sum of r² of a window's pairs: (n_windows,) float64.

    The rate at which the sum over pairs of (10 + x) / (22 + 13 x + x²), x = 4 N r d (Hill and Weir
    1988), is that of r² - 1 / n; at such short distances Sved's formula, without mutation, exceeds
    what simulated people have.
    NaN in windows with fewer than five sites; of more than 60 sites as many are taken evenly.
    """
    bounds = np.searchsorted(positions, np.stack([starts, starts + length], axis=1))
    windows = [np.arange(low, high) for low, high in bounds]
    for window, sites in enumerate(windows):
        if sites.size > _MOST_SITES:
            even = np.linspace(0, sites.size - 1, _MOST_SITES).astype(np.int64)
            windows[window] = sites[even]
        elif sites.size < _MIN_SITES:
            windows[window] = sites[:0]
    ends = np.cumsum([sites.size for sites in windows])
    rows = np.ascontiguousarray(matrix.T)
    chosen = np.concatenate([*windows, np.empty(0, np.int64)])
    excess, bins = _pair_sums(rows, *_moments(rows), positions, chosen, ends, _DISTANCES[1:-1])
    rates = np.full(starts.size, np.nan)
    logs = np.log(_RATES)
    for window in np.flatnonzero(bins.any(axis=1)).tolist():
        # Sums fall as the rate grows.
        rates[window] = np.exp(np.interp(-excess[window], -(bins[window] @ _EXPECTED), logs))
    return rates


def _moments(rows: NDArray[np.int8]) -> tuple[Floats, Floats]:
    """Sums, and sums of squared deviations from the mean, of each site's row: (n_sites,) each."""
    sums = rows.sum(axis=1, dtype=np.float64)
    squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    return sums, squares - sums**2 / max(1, rows.shape[1])


@compiled
def _pair_sums(
    rows: NDArray[np.int8],
    sums: Floats,
    norms: Floats,
    positions: NDArray[np.int64],
    chosen: NDArray[np.int64],
    ends: NDArray[np.int64],
    edges: Floats,
) -> tuple[Floats, NDArray[np.int64]]:
    """Sum of r² less 1 / n over pairs of each window's sites, and pairs by distance.

    `chosen` are the windows' sites, one window after the other up to its end. Returns
    (n_windows,) and (n_windows, edges + 1): distances as a histogram, since the sum is needed at
    every rate.
    """
    n = rows.shape[1]
    excess = np.zeros(ends.size)
    bins = np.zeros((ends.size, edges.size + 1), np.int64)
    first = 0
    for window in range(ends.size):
        for i in range(first, ends[window]):
            a = chosen[i]
            for j in range(i + 1, ends[window]):
                b = chosen[j]
                product = 0
                for k in range(n):
                    product += int(rows[a, k]) * int(rows[b, k])
                covariance = product - sums[a] * sums[b] / n
                excess[window] += covariance**2 / (norms[a] * norms[b]) - 1 / n
                bins[window, np.searchsorted(edges, positions[b] - positions[a], "right")] += 1
        first = ends[window]
    return excess, bins


_DISTANCES = np.concatenate([[0.0], np.geomspace(1, 1e7, 141)])
_SCALED = np.sqrt(np.maximum(_DISTANCES[:-1], 1) * _DISTANCES[1:])[:, None] * _RATES[None, :]
_EXPECTED = (10 + _SCALED) / (22 + 13 * _SCALED + _SCALED**2)


def _by_ld(
    real: _Inferred, own: _Inferred, starts: Windows, params: DemographyParams, ctx: RunContext
) -> tuple[dict[str, Measurement], dict[str, dict[str, NDArray[Any]]]]:
    series: dict[str, dict[str, NDArray[Any]]] = {}
    why = "no pairs of sites at distances at which real people's r² is twice what chance gives"
    if ctx.recombination_map is None:
        why = _NO_MAP
    sizes = [size_by_ld(one.distances, one.excess) for one in (real, own)]
    # As far as real people's r² is twice what chance gives: beyond it sizes are noise.
    known = np.isfinite(sizes[1]) & (np.nan_to_num(real.excess) >= 1 / real.n_rows)
    ratio = rmse = None
    if known.any():
        logs = np.log2(sizes[1][known] / sizes[0][known])
        ratio, rmse = float(2 ** logs.mean()), float(np.sqrt((logs**2).mean()))
        series["size"] = {
            "generations": 1 / (2 * real.distances[known]),
            "real": sizes[0][known],
            "synthetic": sizes[1][known],
        }
    bins = int(known.sum())
    note = f"{params.pairs:,} pairs of sites at each of {bins} distances"
    found = {
        "ld_size_ratio": measured(ratio, bins, why, note),
        "ld_size_rmse": measured(rmse, bins, why, note),
    }
    series["rates"] = {"start_bp": starts, "real": real.rates, "synthetic": own.rates}
    found["rate_rank"] = _rank(real.rates, own.rates)
    if ctx.recombination_map is None:
        return found | {"rate_map_rank": Measurement(None, starts.size, note=_NO_MAP)}, series
    ends = ctx.recombination_map.at(np.stack([starts, starts + params.window_bp]))
    mapped = np.asarray(ends[1] - ends[0])
    series["rates"]["map"] = mapped
    found["rate_map_rank"] = _rank(mapped, own.rates)
    return found, series


def _rank(real: Floats, own: Floats) -> Measurement:
    both = np.isfinite(real) & np.isfinite(own)
    n = int(both.sum())
    if n < _MIN_WINDOWS:
        note = f"fewer than {_MIN_WINDOWS} windows have {_MIN_SITES} sites on both sides"
        return Measurement(None, n, note=note)
    if not np.ptp(real[both]) > 0:
        return Measurement(None, n, note="one rate in all windows")
    if not np.ptp(own[both]) > 0:
        return Measurement(0.0, n, note="the cohort has one rate in all windows")
    return measured(float(spearmanr(real[both], own[both]).statistic), n, "")


# --- kinship ----------------------------------------------------------------------------------


def pairwise_kinship(dosages: NDArray[np.int8]) -> NDArray[np.float32]:
    """KING-robust kinship of each pair of people: (n_pairs,) float32, -inf where it's unknown."""
    people = np.arange(dosages.shape[0])
    parts = [block[people > people[rows, None]] for rows, block in king(dosages, dosages)]
    return np.concatenate(parts)


def inbreeding(panel: Panel, dosages: NDArray[np.int8]) -> float:
    """1 less heterozygotes over those expected, 2p(1 - p) 2n / (2n - 1), summed over sites."""
    p, n = panel.frequencies, panel.n_haplotypes
    expected = float((2 * p * (1 - p)).sum() * n / (n - 1))
    heterozygous = float((dosages == 1).sum() / panel.n_samples)
    return 1 - heterozygous / expected


def _kin(real: _Inferred, own: _Inferred) -> dict[str, Measurement]:
    names = ("related_difference", "kinship_wasserstein", "inbreeding_difference")
    if real.kinship is None or own.kinship is None:
        note = "people are not diploid, or there is only one"
        return dict.fromkeys(names, Measurement(None, own.n_haplotypes, note=note))
    both = (real.kinship, own.kinship)
    related = [1000 * float((kinship >= DEGREES["second"]).mean()) for kinship in both]
    # Beside a person with next to no heterozygous site it has no lower bound.
    pairs = [np.maximum(kinship[np.isfinite(kinship)], -0.5) for kinship in both]
    n = int(own.kinship.size)
    note = f"{related[1]:.3g} a thousand pairs; real: {related[0]:.3g}"
    distance = difference = None
    if pairs[0].size and pairs[1].size:
        distance = float(wasserstein_distance(*pairs))
    if real.inbreeding is not None and own.inbreeding is not None:
        difference = own.inbreeding - real.inbreeding
    why = "nobody is heterozygous anywhere, on one side or both"
    return {
        "related_difference": measured(related[1] - related[0], n, why, note),
        "kinship_wasserstein": measured(distance, n, why),
        "inbreeding_difference": measured(difference, own.n_haplotypes // 2, why),
    }
