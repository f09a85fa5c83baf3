"""Traits of people: simulated on their sites, and regressed on one site after another.

Regression is linear or logistic, with covariates, whose part is done once. Linear regression of a
trait y on a site's dosage x and covariates has the slope and the residuals that y and x without
their covariates' parts have (Frisch & Waugh 1933, Econometrica 1, 387-401; Lovell 1963), so all
sites and traits are one matrix product. Logistic regression takes Newton's steps for a block of
sites at a time.

A simulated trait is additive: each causal site adds its effect for every alternate allele a person
has, and the environment adds normal noise. Effects and noise are scaled among real people, so that
the genetic part has the share h² of the variance of 1 there. A synthetic cohort has the same
effects per allele and as much noise: where it has too little variation, it has less heritability,
too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh
from scipy.special import expit, ndtr, stdtr

from haplobench import Measurement, Panel, Reference
from haplobench.data.panel import columns_of, summed_strands
from haplobench.kernels import compiled
from haplobench_utility.specs_studies import TraitParams

Floats = NDArray[np.float64]

VIF = 50.0
"""Sites aren't tested whose dosage the covariates explain so far that its slope's variance is more
than so many times what it would be without them (as in PLINK)."""
_BLOCK_BYTES = 1 << 23
_CACHE_BYTES, _CHUNK = 1 << 20, 512
_MANY_PEOPLE = 1_000
_MANY_FREEDOMS = 500
_PC_SITES = 2_000
_SMALL_SIDE = 100
_STEPS, _CLOSE, _SEPARATE = 25, 1e-7, 15.0


@dataclass(frozen=True, eq=False)
class Association:
    """Slopes of traits on sites' alternate alleles.

    Attributes
    ----------
    beta, se : (n_sites, n_traits) float64
        Trait's units (or log odds) per alternate allele; NaN where a site isn't tested: it is
        fixed, explained by the covariates (`VIF`), or the fit of a logistic one doesn't converge.
    spread : (n_sites,) float64
        Standard deviation of dosages less the covariates' part; NaN where a site isn't tested.
    df : int or None
        Degrees of freedom of Student's distribution; None for the normal one (logistic).
    """

    beta: Floats
    se: Floats
    spread: Floats
    df: int | None

    @cached_property
    def statistic(self) -> Floats:
        """Slope over its standard error: (n_sites, n_traits) float64."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.beta / self.se

    @property
    def p(self) -> Floats:
        """Two-sided p-values: (n_sites, n_traits) float64."""
        if self.df is None:
            return np.asarray(2 * ndtr(-np.abs(self.statistic)), np.float64)
        return student_p(self.statistic, self.df)

    @property
    def effect(self) -> Floats:
        """Slopes per standard deviation of dosage: (n_sites, n_traits) float64."""
        return self.beta * self.spread[:, None]

    def part(self, traits: slice) -> Association:
        """The same of some traits."""
        return Association(self.beta[:, traits], self.se[:, traits], self.spread, self.df)


def student_p(statistic: Floats, df: int) -> Floats:
    """Two-sided p-values of Student's distribution, of `statistic`'s shape.

    From 500 degrees of freedom on by Hill's normal deviate (1970, Communications of the ACM 13,
    617-619), in half the time; it is right to 1 in a million up to a statistic of 30.
    """
    if df < _MANY_FREEDOMS:
        return np.asarray(2 * stdtr(df, -np.abs(statistic)), np.float64)
    a = df - 0.5
    b = 48 * a * a
    with np.errstate(over="ignore", invalid="ignore"):
        square = a * np.log1p(statistic**2 / df)
        tail = ((4 * square + 33) * square + 240) * square + 855
        factor = 1 + ((square + 3) - tail / (10 * (b + 0.8 * square**2 + 100))) / b
    return np.asarray(2 * ndtr(-np.sqrt(square) * factor), np.float64)


def dosage_blocks(panel: Panel, sites: NDArray[np.int64] | None = None) -> Iterator[Any]:
    """Yield (slice of sites, dosages (n_people, size) float64), 8 MiB at a time.

    `sites`: columns to take; all if None. Missing alleles aren't looked for.
    """
    n, n_sites = panel.n_samples, panel.n_sites if sites is None else sites.size
    step = max(1, _BLOCK_BYTES // (8 * max(1, n)))
    for start in range(0, n_sites, step):
        part = slice(start, min(start + step, n_sites))
        if sites is None:
            alleles = panel.haplotypes[:, part]
        else:
            # Site by site in memory: products over people are summed in the order of that.
            alleles = np.asfortranarray(columns_of(panel.haplotypes, sites[part]))
        yield part, summed_strands(alleles, panel.ploidy).astype(np.float64)


def principal_components(panel: Panel, n: int) -> Floats:
    """Leading principal components of a complete panel's own people: (n_people, n) float64.

    Orthonormal columns, the largest entry of each positive. Dosages are standardised by their
    frequency (Patterson et al. 2006, PLoS Genetics 2:e190); of more than 2,000 sites that vary, as
    many are taken, evenly. Fewer columns where people or sites are fewer.
    """
    p = panel.frequencies
    sites = np.flatnonzero((p > 0) & (p < 1))
    if sites.size > _PC_SITES:
        sites = sites[np.linspace(0, sites.size - 1, _PC_SITES).astype(np.int64)]
    n_people, n_sites = panel.n_samples, sites.size
    n = min(n, n_people - 1, n_sites)
    if n < 1:
        return np.zeros((n_people, 0))
    p = p[sites]
    x = np.empty((n_people, n_sites))
    for part, block in dosage_blocks(panel, sites):
        x[:, part] = (block - panel.ploidy * p[part]) / np.sqrt(p[part] * (1 - p[part]))
    if n_people <= n_sites:
        vectors = leading_eigenvectors(x @ x.T, n)
    else:
        vectors = x @ leading_eigenvectors(x.T @ x, n)
        vectors /= np.linalg.norm(vectors, axis=0)
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(n)]
    return np.asarray(vectors * np.sign(largest), np.float64)


def leading_eigenvectors(gram: Floats, n: int) -> Floats:
    """The n eigenvectors of largest eigenvalue of a Gram matrix, the largest first: (side, n)."""
    side = gram.shape[0]
    if side < _SMALL_SIDE or 2 * n >= side:
        _, vectors = eigh(gram, subset_by_index=(side - n, side - 1))
    else:
        _, vectors = eigsh(gram, k=n, v0=np.ones(side))
    return np.asarray(vectors[:, ::-1], np.float64)


def covariate_basis(covariates: Floats) -> Floats:
    """Orthonormal basis of a constant and covariates: (n_people, rank) float64.

    The first column is the constant. `covariates`: (n_people, n_covariates) float64; those that are
    the others' combinations are left out.
    """
    n = covariates.shape[0]
    centred = covariates - covariates.mean(axis=0)
    size = np.linalg.norm(centred, axis=0)
    left, values, _ = np.linalg.svd(centred / np.where(size > 0, size, 1.0), full_matrices=False)
    return np.column_stack([np.full(n, n**-0.5), left[:, values > 1e-9]])


def linear(panel: Panel, traits: Floats, basis: Floats) -> Association:
    """Least squares of each trait on each site of a complete panel, with covariates.

    Where people are many, products are sums in single precision over 512 people at a time, added up
    in double precision: statistics are then right to some 1 in a million.

    Parameters
    ----------
    panel : Panel
    traits : (n_people, n_traits) float64
    basis : (n_people, n_covariates + 1) float64
        Of `covariate_basis`; there must be two people more than it has columns.
    """
    rank, n = basis.shape[1], panel.n_samples
    residuals = traits - basis @ (basis.T @ traits)
    right = np.column_stack([basis, residuals])
    single = n >= _MANY_PEOPLE
    squares, products = _products(panel, right, np.float32 if single else np.float64)
    if single:
        # What the covariates explain for the greater part is a difference of like numbers.
        around = squares - products[:, 0] ** 2
        again = np.flatnonzero(_within(squares, products[:, :rank]) < 0.2 * around)
        if again.size:
            products[again] = _products(panel.select_sites(again), right, np.float64)[1]
    within = _within(squares, products[:, :rank])[:, None]
    beta = products[:, rank:] / within
    left = np.maximum((residuals**2).sum(axis=0) - beta**2 * within, 0.0)
    df = n - rank - 1
    return Association(beta, np.sqrt(left / df / within), np.sqrt(within[:, 0] / n), df)


def _products(
    panel: Panel, right: Floats, kind: type[np.float32] | type[np.float64]
) -> tuple[Floats, Floats]:
    """Sums over people of squared dosages, and of dosages times `right` (n_people, n_right).

    (n_sites,) and (n_sites, n_right) float64. The first column of `right` is constant; `kind` is
    what the products are taken in.
    """
    n, n_sites = panel.n_samples, panel.n_sites
    alleles = panel.haplotypes.reshape(n, panel.ploidy, n_sites)
    # Whole numbers are exact, also in single precision; multiples of four are multiplied faster.
    turned: NDArray[Any] = np.zeros((-(-right.shape[1] // 4) * 4, n), kind)
    turned[: right.shape[1]] = right.T
    turned[0] = 1.0
    excess = np.zeros(n_sites, np.int64)
    products = np.zeros((turned.shape[0], n_sites))
    # A block of dosages stays in the processor's cache from its making to its use.
    people = min(n, _CHUNK)
    width = max(1, min(n_sites, _CACHE_BYTES // (np.dtype(kind).itemsize * people)))
    for start in range(0, n_sites, width):
        part = slice(start, min(start + width, n_sites))
        dosages: NDArray[Any] = np.empty((people, part.stop - start), kind)
        for first in range(0, n, people):
            rows = slice(first, min(first + people, n))
            block = dosages[: rows.stop - first]
            _fill_dosages(alleles[rows, :, part], block, excess[part])
            products[:, part] += turned[:, rows] @ block
    squares = products[0] + excess
    products[0] *= right[0, 0]
    return squares, products[: right.shape[1]].T


def _fill_dosages_(alleles: Any, dosages: Any, excess: Any) -> None:
    """Dosages of alleles (n_people, ploidy, n_sites) int8; x² - x is added to `excess`."""
    n, ploidy, n_sites = alleles.shape
    # Numbers of a byte are added 64 at a time.
    both = np.zeros(n_sites, np.uint8)
    for i in range(n):
        if ploidy == 2:
            for j in range(n_sites):
                dosages[i, j] = np.float32(np.int8(alleles[i, 0, j] + alleles[i, 1, j]))
            for j in range(n_sites):
                both[j] += np.uint8(alleles[i, 0, j] & alleles[i, 1, j])
            if i % 255 == 254 or i == n - 1:
                for j in range(n_sites):
                    excess[j] += 2 * both[j]
                    both[j] = 0
        else:
            for j in range(n_sites):
                dosage = 0
                for k in range(ploidy):
                    dosage += alleles[i, k, j]
                dosages[i, j] = dosage
                excess[j] += dosage * (dosage - 1)


_fill_dosages = compiled(_fill_dosages_)


def _within(squares: Floats, onto: Floats) -> Floats:
    """Sums of squares of dosages without the covariates' part, NaN where a site isn't tested.

    `squares`: (n_sites,), of the dosages; `onto`: (n_sites, rank), dosages by the covariates'
    basis, of which the first is the constant.
    """
    parts = onto**2
    around = squares - parts[:, 0]
    within = around - parts[:, 1:].sum(axis=1)
    tested = (around > 1e-9 * squares) & (VIF * within > around)
    return np.where(tested, within, np.nan)


def logistic(panel: Panel, cases: NDArray[np.bool_], basis: Floats) -> Association:
    """Maximum likelihood of each case/control trait on each site, with covariates; Wald's tests.

    Newton's steps from the fit without the site. No correction for separation (Firth's): where
    cases and controls are separated, or the fit doesn't converge, a site isn't tested.

    Parameters
    ----------
    panel : Panel
        Complete.
    cases : (n_people, n_traits) bool
    basis : (n_people, n_covariates + 1) float64
        Of `covariate_basis`.
    """
    shape = (panel.n_sites, cases.shape[1])
    beta, se = np.full(shape, np.nan), np.full(shape, np.nan)
    spread = np.full(panel.n_sites, np.nan)
    starts = [_null_fit(trait, basis) for trait in cases.T]
    squares = np.einsum("ij,ik->ijk", basis, basis).reshape(basis.shape[0], -1)
    for part, x in dosage_blocks(panel):
        squares_of = np.einsum("ij,ij->j", x, x)
        spread[part] = np.sqrt(_within(squares_of, x.T @ basis) / panel.n_samples)
        tested = ~np.isnan(spread[part])
        for trait, start in enumerate(starts):
            if start is not None:
                case = cases[:, trait]
                at = np.flatnonzero(tested & ~_separated(x, case))
                fit = _newton(np.ascontiguousarray(x.T[at]), case, basis, squares, start)
                beta[part.start + at, trait], se[part.start + at, trait] = fit
    return Association(beta, se, spread, None)


def _null_fit(case: NDArray[np.bool_], basis: Floats) -> Floats | None:
    """Coefficients (rank,) of the covariates alone; None where they don't converge."""
    gamma = np.zeros(basis.shape[1])
    if case.all() or not case.any():
        return None
    for _ in range(_STEPS):
        mean = expit(basis @ gamma)
        weight = mean * (1 - mean)
        if weight.max() < 1e-9:
            return None
        step = np.linalg.lstsq((basis.T * weight) @ basis, basis.T @ (case - mean), rcond=None)[0]
        gamma += step
        if np.abs(step).max() < _CLOSE * max(1.0, np.abs(gamma).max()):
            return gamma
    return None


def _separated(x: Floats, case: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where no case has fewer, or none has more, of an allele than any control: (n_sites,) bool.

    The likelihood has no greatest value there, whatever the covariates.
    """
    cases, controls = x[case], x[~case]
    above = cases.min(axis=0) >= controls.max(axis=0)
    return np.asarray(above | (cases.max(axis=0) <= controls.min(axis=0)), np.bool_)


def _newton(
    x: Floats, case: NDArray[np.bool_], basis: Floats, squares: Floats, start: Floats
) -> tuple[Floats, Floats]:
    """Log odds per allele and standard errors, (n_sites,) each, NaN where there's none.

    `x`: (n_sites, n_people); `squares`: (n_people, rank²), products of the basis' columns.
    """
    n_sites, rank = x.shape[0], basis.shape[1]
    beta, se = np.full(n_sites, np.nan), np.full(n_sites, np.nan)
    active = np.arange(n_sites)
    slope, gamma = np.zeros(n_sites), np.tile(start, (n_sites, 1))
    for _ in range(_STEPS):
        if not active.size:
            break
        mean = expit(gamma @ basis.T + slope[:, None] * x)
        weight = mean * (1 - mean)
        weighted = weight * x
        rest = case - mean
        across = weighted @ basis
        information = (weight @ squares).reshape(-1, rank, rank)
        information += 1e-12 * np.eye(rank)
        sides = np.stack([rest @ basis, across], axis=2)
        solved = np.linalg.solve(information, sides)
        schur = np.einsum("ij,ij->i", weighted, x) - (across * solved[:, :, 1]).sum(axis=1)
        schur = np.maximum(schur, np.finfo(float).tiny)
        move = (rest * x).sum(axis=1) - (across * solved[:, :, 0]).sum(axis=1)
        move /= schur
        turn = solved[:, :, 0] - solved[:, :, 1] * move[:, None]
        slope = slope + move
        gamma = gamma + turn
        scale = np.maximum(1.0, np.abs(slope))
        done = (np.abs(move) < _CLOSE * scale) & (np.abs(turn).max(axis=1) < 1e-6)
        beta[active[done]], se[active[done]] = slope[done], 1 / np.sqrt(schur[done])
        # Where cases and controls are separated, slopes grow without end.
        on = ~done & (np.abs(slope) < _SEPARATE)
        active, slope, gamma, x = active[on], slope[on], gamma[on], x[on]
    return beta, se


def approximate_bayes_factors(association: Association, prior: Floats) -> Floats:
    """Logarithms of Wakefield's approximate Bayes factors, effect against none.

    (n_sites, n_traits) float64; minus infinity where a site isn't tested. `prior`: (n_sites, 1) or
    (n_sites, n_traits), variance of a slope if there is an effect (Wakefield 2009, Genetic
    Epidemiology 33, 79-86).
    """
    error = association.se**2
    shrinkage = prior / (prior + error)
    log = 0.5 * (np.log1p(-shrinkage) + association.statistic**2 * shrinkage)
    return np.where(np.isnan(log), -np.inf, log)


def credible_sets(
    log_factors: Floats, causal: NDArray[np.int64], level: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Sites in each trait's credible set, and whether it holds the causal one: (n_traits,) each.

    One causal site, all equally probable beforehand (Maller et al. 2012, Nature Genetics 44,
    1294-1301): the fewest sites whose posterior probabilities sum to `level` or more, and those
    that are as probable as the last of them.
    """
    factors = np.ascontiguousarray(log_factors.T)
    posterior = np.exp(factors - factors.max(axis=1, keepdims=True))
    ordered = np.sort(posterior, axis=1)[:, ::-1]
    cumulative = np.cumsum(ordered, axis=1)
    last = (cumulative < level * cumulative[:, -1:]).sum(axis=1)
    # Sites in perfect LD differ by rounding alone.
    least = np.take_along_axis(ordered, last[:, None], axis=1) * (1 - 1e-9)
    inside = posterior >= least
    return inside.sum(axis=1).astype(np.int64), inside[np.arange(causal.size), causal]


# --- simulated traits -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Traits:
    """Additive traits at sites of a panel.

    Attributes
    ----------
    causal : (n_traits, n_causal) int64
        Columns of the causal sites, each trait's distinct.
    effects : (n_traits, n_causal) float64
        Trait's units per alternate allele.
    centre : (n_traits,) float64
        Mean genetic value among the real people that the traits were simulated on.
    h2 : float
        Their share of genetic variance; the trait's variance is 1 among them.
    """

    causal: NDArray[np.int64]
    effects: Floats
    centre: Floats
    h2: float

    def genetic_values(self, panel: Panel) -> Floats:
        """Genetic values less the real people's mean: (n_people, n_traits) float64.

        `panel` has the same sites, all alleles known.
        """
        sites, place = np.unique(self.causal, return_inverse=True)
        place = place.reshape(self.causal.shape)
        weights = np.zeros((sites.size, self.causal.shape[0]))
        weights[place.T, np.arange(self.causal.shape[0])] = self.effects.T
        values = np.zeros((panel.n_samples, self.causal.shape[0]))
        for part, x in dosage_blocks(panel, sites):
            values += x @ weights[part]
        return np.asarray(values - self.centre, np.float64)

    def values(self, panel: Panel, rng: np.random.Generator) -> Floats:
        """Genetic values and environmental noise: (n_people, n_traits) float64."""
        genetic = self.genetic_values(panel)
        noise = rng.standard_normal(genetic.shape)
        return np.asarray(genetic + np.sqrt(1 - self.h2) * noise, np.float64)

    def with_h2(self, h2: float) -> Traits:
        """The same traits with weaker or stronger effects."""
        scale = (h2 / self.h2) ** 0.5
        return Traits(self.causal, self.effects * scale, self.centre * scale, h2)


def simulate_traits(people: Panel, params: TraitParams, n_traits: int, n_causal: int) -> Traits:
    """Traits with effects of `n_causal` sites that vary among real `people`.

    Effects are normal with variance proportional to [2 p (1 - p)]^alpha, p the allele's frequency
    (alpha = -1: every site explains as much, on average; 0: every allele does as much), then scaled
    so that each trait's genetic variance among `people` is h².

    Neither a run's seed nor who the people are decides which sites: all cohorts of a dataset are
    compared on the same traits.
    """
    rng = np.random.default_rng([params.trait_seed, n_causal, int(people.positions.sum())])
    p = people.frequencies
    lot = rng.random((n_traits, people.n_sites))
    lot[:, (p == 0) | (p == 1)] = 2.0
    causal = lot.argpartition(n_causal - 1, axis=1)[:, :n_causal]
    spread = (2 * p[causal] * (1 - p[causal])) ** (params.alpha / 2)
    effects = rng.standard_normal(causal.shape) * spread
    raw = Traits(causal, effects, np.zeros(n_traits), params.h2).genetic_values(people)
    scale = params.h2**0.5 / raw.std(axis=0)
    return Traits(causal, effects * scale[:, None], raw.mean(axis=0) * scale, params.h2)


def obstacle(reference: Reference, cohort: Panel, n_causal: int, least_people: int) -> str:
    """Why traits can't be simulated on these panels, or told apart in so few people; or empty."""
    panels = {"training": reference.train, "held-out": reference.holdout, "synthetic": cohort}
    for name, panel in panels.items():
        if panel.has_missing:
            return f"missing alleles in the {name} panel"
    for name, panel in panels.items():
        if panel.n_samples < least_people:
            return (
                f"too few people in the {name} panel: {panel.n_samples}, expected {least_people} "
                "or more"
            )
    varying = int(((reference.train.frequencies > 0) & (reference.train.frequencies < 1)).sum())
    if varying < n_causal:
        return f"{varying} sites vary among the training people, traits have {n_causal} causal ones"
    return ""


def even_sample(n: int, most: int) -> NDArray[np.int64]:
    """All of `n` indices, or `most` of them evenly: (min(n, most),) int64, increasing."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(np.int64)


def all_of(train: Panel, n: int) -> str:
    """A note where real panels can't be as large as a cohort of `n` people; or empty."""
    if n <= train.n_samples:
        return ""
    return f"real panels have all {train.n_samples} training people and no more"


def relative(value: float, real: float | None, n: int, note: str) -> Measurement:
    """A number over the mean of as large real panels'; not applicable where nothing is there.

    `real` is None where no real panel can be drawn, and `note` then says why.
    """
    if real is None:
        return Measurement(None, n, note=note)
    if not np.isfinite(value) or not real > 0:
        return Measurement(None, n, note="as many real people, or the cohort, show nothing")
    return Measurement(float(value / real), n, note=note)


def thinned(reference: Reference, cohort: Panel, most: int) -> tuple[Reference, Panel, str]:
    """Panels at `most` sites, evenly, and a note that says so; as they are if they have fewer."""
    n = cohort.n_sites
    if n <= most:
        return reference, cohort, ""
    columns = even_sample(n, most)
    train, holdout = (p.select_sites(columns) for p in (reference.train, reference.holdout))
    return Reference(train, holdout), cohort.select_sites(columns), f"{most:,} of {n:,} sites"
