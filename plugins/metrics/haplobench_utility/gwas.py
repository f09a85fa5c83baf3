"""Association studies of simulated traits: on the synthetic cohort as on as many real people."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.memory import remember
from haplobench_utility.association import (
    Association,
    Floats,
    Traits,
    all_of,
    approximate_bayes_factors,
    covariate_basis,
    credible_sets,
    dosage_blocks,
    even_sample,
    linear,
    logistic,
    obstacle,
    principal_components,
    relative,
    simulate_traits,
    thinned,
)
from haplobench_utility.cohorts import as_many, measured, no_real_panels, noted
from haplobench_utility.specs_studies import GWAS, GwasParams

_LD_PEOPLE = 2_000
_TAG_R2 = 0.8
_STRATUM_SHARE = 0.2
_LOGISTIC_SITES = 1_000
_FIGURE_POINTS = 120
_UNTESTED = "no site of the cohort varies beyond its components"


@dataclass(frozen=True, eq=False)
class Design:
    """What is simulated, and what real people say of it; the same for every cohort of a dataset.

    Attributes
    ----------
    traits, single : Traits
        Of several causal sites, and of one each.
    expected : (n_sites, n_traits) float64
        Held-out people's effects per standard deviation of dosage with no environmental noise;
        NaN where a site isn't tested in them, and at the trait's own causal sites.
    tags : (n_sites, n_traits) bool
        Whether a site has r² ≥ .8 with one of the trait's causal sites among training people.
    proxies : (2, n_proxies) int64
        Site and trait of the best tag that isn't causal, of each causal site that has one.
    """

    traits: Traits
    single: Traits
    expected: Floats
    tags: NDArray[np.bool_]
    proxies: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Study:
    """One panel's study: polygenic traits, and those of one causal site.

    `basis`: of the covariates. `liabilities`: (n_people, n_traits) float64, polygenic traits.
    """

    basis: Floats
    liabilities: Floats
    polygenic: Association
    single: Association

    @property
    def tests_nothing(self) -> bool:
        """Whether every site is fixed, or explained by the components."""
        return bool(np.isnan(self.single.spread).all())


@dataclass(frozen=True)
class Findings:
    """What one panel's study finds of a design; see the numbers' definitions."""

    effect_correlation: float
    calibration: float
    power: float
    replication: float
    credible_coverage: float
    credible_size: float
    credible_typical: float


def gwas(reference: Reference, cohort: Panel, params: GwasParams, ctx: RunContext) -> MetricResult:
    """Power, errors, effects and credible sets of association studies on a cohort."""
    n = cohort.n_samples
    if why := obstacle(reference, cohort, params.n_causal, params.n_pcs + 8):
        return GWAS.not_applicable(why, n)
    reference, cohort, fewer = thinned(reference, cohort, params.max_sites)
    train, holdout = reference.train, reference.holdout
    key = ("gwas", train.digest, holdout.digest, params)
    design = remember(key, lambda: _design(reference, params))
    study = _study(design, cohort, params, ctx.rng("gwas", cohort.digest))

    def real() -> Findings:
        each = []
        for i in range(params.n_panels):
            panel = as_many(train, holdout, n, f"gwas {i}")
            # As the traits: the same for every cohort of a dataset, whatever its seed.
            other = _study(design, panel, params, np.random.default_rng([params.trait_seed, i]))
            each.append(astuple(_findings(design, other, params)))
        return Findings(*np.mean(each, axis=0).tolist())

    found, unreal = _findings(design, study, params), no_real_panels(reference)
    others = None if unreal else remember((*key, n), real)
    note = noted(params.note, fewer, all_of(train, n))
    measurements = _compared(found, others, n, note, unreal or note)
    if study.tests_nothing:
        untested = Measurement(None, n, note=_UNTESTED)
        errors = [one.name for one in GWAS.submetrics if one.name not in measurements]
        return MetricResult(measurements | dict.fromkeys(errors, untested))
    rng = ctx.rng("gwas null", cohort.digest)
    null = linear(cohort, rng.standard_normal((n, params.n_null)), study.basis)
    measurements |= _errors(null) | _stratified(cohort, study.basis, params, rng)
    measurements |= _cases(design, study, cohort, params, rng)
    return MetricResult(measurements, _series(design, study))


def _design(reference: Reference, params: GwasParams) -> Design:
    train, holdout = reference.train, reference.holdout
    traits = simulate_traits(train, params, params.n_traits, params.n_causal)
    single = simulate_traits(train, params, params.n_single, 1)
    basis = covariate_basis(principal_components(holdout, params.n_pcs))
    expected = linear(holdout, traits.genetic_values(holdout), basis).effect
    expected[traits.causal.T, np.arange(params.n_traits)] = np.nan
    return Design(traits, single, expected, *_tags(train, traits))


def _tags(people: Panel, traits: Traits) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """`Design.tags` and `Design.proxies`; of more than 2,000 people as many, evenly."""
    if people.n_samples > _LD_PEOPLE:
        people = people.select_samples(even_sample(people.n_samples, _LD_PEOPLE))
    sites, place = np.unique(traits.causal, return_inverse=True)
    place = place.reshape(traits.causal.shape)
    causal = np.concatenate([_standardised(x) for _, x in dosage_blocks(people, sites)], axis=1)
    n_traits = traits.causal.shape[0]
    own = np.zeros((people.n_sites, n_traits), np.bool_)
    own[traits.causal.T, np.arange(n_traits)] = True
    tags = np.empty_like(own)
    best, at = np.zeros(place.shape), np.zeros(place.shape, np.int64)
    for part, x in dosage_blocks(people):
        r2 = ((_standardised(x).T @ causal) ** 2)[:, place]
        tags[part] = (r2 >= _TAG_R2).any(axis=2)
        r2[own[part]] = 0.0
        highest = r2.argmax(axis=0)
        value = np.take_along_axis(r2, highest[None], axis=0)[0]
        at = np.where(value > best, highest + part.start, at)
        best = np.maximum(value, best)
    trait, which = np.nonzero(best >= _TAG_R2)
    return tags, np.stack([at[trait, which], trait])


def _standardised(x: Floats) -> Floats:
    """Columns with mean 0 and length 1; 0 where they are constant."""
    x = x - x.mean(axis=0)
    length = np.linalg.norm(x, axis=0)
    return np.asarray(x / np.where(length > 0, length, 1.0), np.float64)


def _study(design: Design, panel: Panel, params: GwasParams, rng: np.random.Generator) -> Study:
    """All traits in one pass; `rng` draws the environments."""
    single = design.single.with_h2(_single_h2(params, panel.n_samples))
    liabilities, others = design.traits.values(panel, rng), single.values(panel, rng)
    basis = covariate_basis(principal_components(panel, params.n_pcs))
    scan = linear(panel, np.column_stack([liabilities, others]), basis)
    n = params.n_traits
    return Study(basis, liabilities, scan.part(slice(n)), scan.part(slice(n, None)))


def _single_h2(params: GwasParams, n: int) -> float:
    return min(0.5, params.single_chi2 / (params.single_chi2 + n))


def _findings(design: Design, study: Study, params: GwasParams) -> Findings:
    scan, proxies, n_traits = study.polygenic, tuple(design.proxies), params.n_traits
    # A site that is fixed in a cohort has no effect to be found in it.
    effects, sizes = np.nan_to_num(scan.effect), np.nan_to_num(np.abs(scan.statistic))
    threshold = stdtrit(scan.df, 1 - params.false_positive_rate / 2)
    expected, found = np.nan_to_num(design.expected[proxies]), effects[proxies]
    squares = float(expected @ expected)
    sizes[design.traits.causal.T, np.arange(n_traits)] = 0.0
    leads = sizes.argmax(axis=0)
    coverage = middle = typical = np.nan
    if not study.tests_nothing:
        prior = _single_h2(params, study.liabilities.shape[0]) / study.single.spread[:, None] ** 2
        factors = approximate_bayes_factors(study.single, prior)
        causal = design.single.causal[:, 0]
        n_sites, covered = credible_sets(factors, causal, params.credible_level)
        coverage, middle, typical = (
            covered.mean(),
            np.median(n_sites),
            np.exp(np.log(n_sites).mean()),
        )
    return Findings(
        effect_correlation=float(_correlations(effects, design.expected).mean()),
        calibration=float(expected @ found) / squares if squares > 0 else np.nan,
        power=float((sizes[proxies] > threshold).mean()) if found.size else np.nan,
        replication=float((design.tags & (sizes > 0))[leads, np.arange(n_traits)].mean()),
        credible_coverage=float(coverage),
        credible_size=float(middle),
        credible_typical=float(typical),
    )


def _tested(scan: Association) -> Floats:
    """Sizes of statistics at the sites that are tested: (n_tested, n_traits) float64."""
    return np.abs(scan.statistic[~np.isnan(scan.spread)])


def _correlations(effects: Floats, expected: Floats) -> Floats:
    """Pearson's of each trait over the sites that have an expected effect: (n_traits,) float64.

    0 where either doesn't vary.
    """
    known = ~np.isnan(expected)
    n = np.maximum(known.sum(axis=0), 1)
    first, second = np.where(known, effects, 0.0), np.where(known, expected, 0.0)
    first = np.where(known, first - first.sum(axis=0) / n, 0.0)
    second = np.where(known, second - second.sum(axis=0) / n, 0.0)
    length = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
    return np.asarray((first * second).sum(axis=0) / np.where(length > 0, length, 1.0), np.float64)


def _compared(
    found: Findings, real: Findings | None, n: int, note: str, beside: str
) -> dict[str, Measurement]:
    """All numbers but those of errors; `beside` is the note of those over real panels'."""

    def ratio(name: str) -> Measurement:
        return relative(getattr(found, name), getattr(real, name) if real else None, n, beside)

    tagless = "no causal site has another with r² ≥ 0.8 in the training people"
    return {
        "effect_correlation": measured(found.effect_correlation, n, "", note),
        "effect_correlation_ratio": ratio("effect_correlation"),
        "calibration": measured(found.calibration, n, tagless, note),
        "power": measured(found.power, n, tagless, note),
        "power_ratio": ratio("power"),
        "replication": measured(found.replication, n, "", note),
        "credible_coverage": measured(found.credible_coverage, n, _UNTESTED, note),
        "credible_size": measured(found.credible_size, n, _UNTESTED, note),
        "credible_size_ratio": ratio("credible_typical"),
    }


def _errors(null: Association) -> dict[str, Measurement]:
    """Share of null traits' tests below a level, with intervals, and their inflation."""
    sizes = _tested(null)
    measurements = {"inflation": Measurement(_inflation(null), sizes.size)}
    independent = 0.0
    for name, level in (("type_one_error_05", 0.05), ("type_one_error_001", 0.001)):
        shares = (sizes > stdtrit(null.df, 1 - level / 2)).mean(axis=0)
        if not independent:
            # Sites in LD err together: so many independent tests vary between traits as these do.
            among = shares.var(ddof=1) / shares.size
            independent = level * (1 - level) / among if among > 0 else float(shares.size)
            independent = float(min(max(independent, shares.size), sizes.size))
        # Student's quantile, since so many traits tell how they differ.
        quantile = float(stdtrit(shares.size - 1, 0.975))
        low, high = _wilson(float(shares.mean()), independent, quantile)
        measurements[name] = Measurement(
            float(shares.mean()),
            sizes.size,
            standard_error=float(shares.std(ddof=1) / shares.size**0.5),
            low=low,
            high=high,
            note=f"interval of {independent:,.0f} independent tests",
        )
    return measurements


def _stratified(
    cohort: Panel, basis: Floats, params: GwasParams, rng: np.random.Generator
) -> dict[str, Measurement]:
    """Inflation of null traits with another mean in each superpopulation."""
    n = cohort.n_samples
    names, stratum = np.unique(cohort.superpopulation, return_inverse=True)
    if names.size < 2 or "" in names:
        why = "the cohort's people aren't of two superpopulations or more, or not labelled"
        return {"stratified_inflation": Measurement(None, n, note=why)}
    shift = rng.standard_normal((names.size, params.n_null))[stratum]
    noise = rng.standard_normal((n, params.n_null))
    traits = _STRATUM_SHARE**0.5 * shift + (1 - _STRATUM_SHARE) ** 0.5 * noise
    return {"stratified_inflation": Measurement(_inflation(linear(cohort, traits, basis)), n)}


def _wilson(share: float, n: float, quantile: float) -> tuple[float, float]:
    """Interval of a share of n trials (Wilson 1927, JASA 22, 209-212)."""
    z2 = quantile**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (share * (1 - share) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def _inflation(scan: Association) -> float:
    """Median of squared statistics over their distribution's (Devlin & Roeder 1999)."""
    middle = stdtrit(scan.df, 0.75) if scan.df else ndtri(0.75)
    return float(np.median(_tested(scan)) ** 2 / middle**2)


def _cases(
    design: Design, study: Study, cohort: Panel, params: GwasParams, rng: np.random.Generator
) -> dict[str, Measurement]:
    """Logistic regression: effects of liability traits, and the errors of null ones."""
    n, k = cohort.n_samples, params.n_case_control
    columns = even_sample(cohort.n_sites, _LOGISTIC_SITES)
    liabilities = np.column_stack([study.liabilities[:, :k], rng.standard_normal((n, k))])
    cases = liabilities > -ndtri(params.prevalence)
    scan = logistic(cohort.select_sites(columns), cases, study.basis)
    enough = np.isfinite(scan.beta).mean(axis=0) > 0.5
    why = "most sites can't be tested: too few cases or controls"
    first, second = enough[:k], enough[k:]
    correlations = _correlations(
        np.nan_to_num(scan.statistic[:, :k]), design.expected[columns, :k]
    )[first]
    sizes = np.abs(scan.statistic[:, k:][:, second])
    sizes = sizes[np.isfinite(sizes)]
    level = float(-ndtri(0.025))
    note = f"{k} traits, {columns.size:,} sites"
    return {
        "case_control_correlation": measured(
            float(correlations.mean()) if first.any() else None, n, why, note
        ),
        "case_control_type_one_error": measured(
            float((sizes > level).mean()) if second.any() else None, n, why, note
        ),
    }


def _series(design: Design, study: Study) -> dict[str, dict[str, Any]]:
    """Effects at some of the causal sites' tags."""
    shown = tuple(design.proxies[:, even_sample(design.proxies.shape[1], _FIGURE_POINTS)])
    return {
        "effects": {
            "real": np.nan_to_num(design.expected[shown]).astype(np.float32),
            "synthetic": np.nan_to_num(study.polygenic.effect[shown]).astype(np.float32),
        }
    }
