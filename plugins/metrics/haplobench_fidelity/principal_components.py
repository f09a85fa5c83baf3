"""Principal components of the training people, and where synthetic people fall on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from scipy.stats import spearmanr, wasserstein_distance

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.data.distances import distance_blocks, distances_kept
from haplobench.data.panel import columns_of
from haplobench.kernels import compiled
from haplobench.memory import remember
from haplobench_fidelity.cohorts import require_complete, site_blocks
from haplobench_fidelity.specs_haplotypes import PCA, PcaParams

# Scores of people, and their labels.
_Labelled = tuple[NDArray[np.float64], NDArray[np.str_]]
_FIGURE_PEOPLE = 160
_MANY_PRODUCTS = 1 << 33
_COUPLED_COMPONENTS = 6
# Products of pairs of people that are kept for all draws, and how many times a single draw's.
_MOST_PAIRS, _WORTH = 1 << 25, 4
# From so many rows on, Lanczos' method is faster.
_LARGE = 400
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Axes:
    """Principal axes of a panel's people.

    Attributes
    ----------
    sites : (n_used,) int64
        Columns of the panel that vary among the people the axes were made from.
    mean, scale : (n_used,) float64
        Standardisation of dosages: minus `ploidy` p, over sqrt(q (1 - q)), or over 1: p is the
        frequency among the people, q that among everybody they were drawn of (`Panel.origin`),
        commonly themselves (Patterson 2006).
    loadings : (n_used, n_components) float64
        Orthonormal; the entry of largest size in each column is positive.
    variance : (n_components,) float64
        Share of the variance of the standardised dosages that each axis explains.
    """

    sites: NDArray[np.int64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    loadings: NDArray[np.float64]
    variance: NDArray[np.float64]

    def project(self, panel: Panel) -> NDArray[np.float64]:
        """Scores of a panel's people at the same sites: (n_samples, n_components) float64.

        Summed as the Gram matrix of as many people at these sites is, see `principal_axes`.
        """
        scores = np.zeros((panel.n_samples, self.loadings.shape[1]))
        kind = _precision(panel.n_samples, self.sites.size)
        for part, block in _standardised((panel,), self.sites, self.mean, self.scale, kind):
            scores += block @ self.loadings[part].astype(kind, copy=False)
        return scores


def principal_axes(panel: Panel, n_components: int, *, scaled: bool = True) -> Axes:
    """Axes of a complete panel, sites not thinned by LD; of centred dosages unless `scaled`.

    Exact: eigenvectors of the Gram matrix of people or of sites, whichever is smaller. There
    are fewer than `n_components` axes where people or varying sites are fewer. The Gram matrix of
    many people at many sites is summed in single precision within blocks of sites, and in double
    over them: scores are then right to 1 part in 10,000 of a component's standard deviation.
    It is a part of that of everybody the people were drawn of, which is taken once for all draws.
    """
    sites = np.flatnonzero((panel.frequencies > 0) & (panel.frequencies < 1))
    mean, scale = panel.ploidy * panel.frequencies[sites], np.ones(sites.size)
    if scaled:
        q = _joint_frequencies(panel)[sites]
        scale = np.sqrt(q * (1 - q))
    n_people, n_sites = panel.n_samples, sites.size
    n_components = min(n_components, n_people - 1, n_sites)
    if n_components < 1:
        return Axes(sites, mean, scale, np.zeros((n_sites, 0)), np.zeros(0))
    if n_sites <= n_people:
        matrix = next(_standardised((panel,), sites, mean, scale, whole=True))[1]
        gram = matrix.T @ matrix
        values, loadings = largest_eigenpairs(gram, n_components)
    else:
        kind = _precision(n_people, n_sites)
        everybody = _Everybody.of(panel) if scaled else None
        if everybody is None:
            gram = _products((panel,), sites, mean, scale, kind)
        else:
            gram, _ = everybody.centred(everybody.rows(panel))
        values, vectors = largest_eigenpairs(gram, n_components)
        vectors = vectors / np.sqrt(np.maximum(values, np.finfo(float).tiny))
        loadings = np.empty((n_sites, n_components))
        for part, block in _standardised((panel,), sites, mean, scale, kind):
            loadings[part] = block.T @ vectors.astype(kind, copy=False)
    largest = loadings[np.abs(loadings).argmax(axis=0), np.arange(n_components)]
    shares = np.maximum(values, 0) / np.trace(gram)
    return Axes(sites, mean, scale, np.ascontiguousarray(loadings * np.sign(largest)), shares)


def _products(
    panels: Sequence[Panel],
    sites: NDArray[np.int64],
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
    kind: type[np.floating[Any]],
) -> NDArray[np.float64]:
    """Inner products of the standardised dosages of people of some panels: (n, n) float64."""
    n = sum(panel.n_samples for panel in panels)
    products = np.zeros((n, n))
    for block in _standardised(panels, sites, mean, scale, kind):
        products += block[1] @ block[1].T
    return products


def _joint_frequencies(panel: Panel) -> NDArray[np.float64]:
    """Of alternate alleles among all haplotypes of the panels that a panel was drawn of."""
    counts = np.sum([of.allele_counts[0] for of, _ in panel.origin], axis=0)
    return np.asarray(counts / sum(of.n_haplotypes for of, _ in panel.origin))


@dataclass(frozen=True, eq=False)
class _Everybody:
    """All people of the panels that some were drawn of.

    Attributes
    ----------
    first : dict
        By digest, where a panel's people begin.
    products : (n, n) float32 or float64
        Inner products of their standardised dosages.
    """

    first: dict[str, int]
    products: NDArray[np.floating[Any]]

    @classmethod
    def of(cls, panel: Panel) -> _Everybody | None:
        """Those whom a panel was drawn of, kept; None where that doesn't pay."""
        pool = [of for of, _ in panel.origin]
        sizes = [of.n_samples for of in pool]
        n, total, n_sites = panel.n_samples, sum(sizes), int((panel.maf > 0).sum())
        if n_sites <= n or not n**2 < total**2 <= min(_MOST_PAIRS, _WORTH * n**2):
            return None
        kind = _precision(n, n_sites)

        def made() -> NDArray[np.floating[Any]]:
            q = _joint_frequencies(panel)
            sites = np.flatnonzero((q > 0) & (q < 1))
            mean, scale = panel.ploidy * q[sites], np.sqrt(q * (1 - q))[sites]
            return _products(pool, sites, mean, scale, kind).astype(kind, copy=False)

        digests = [of.digest for of in pool]
        first = np.cumsum([0, *sizes])[:-1].tolist()
        products = remember(("pca products", kind, *digests), made)
        return cls(dict(zip(digests, first, strict=True)), products)

    def hold(self, panel: Panel) -> bool:
        """Whether all of a panel's people are among everybody."""
        return all(of.digest in self.first for of, _ in panel.origin)

    def rows(self, panel: Panel) -> NDArray[np.int64]:
        """Where a panel's people are among everybody: (n_samples,) int64."""
        parts = [self.first[of.digest] + r[:: panel.ploidy] // of.ploidy for of, r in panel.origin]
        return np.concatenate(parts)

    def centred(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Products of some people (n, n), centred by their own, and the means before (n,)."""
        gram = self.products[np.ix_(rows, rows)].astype(np.float64)
        means = gram.mean(axis=0)
        gram -= means[:, None] + means - means.mean()
        return gram, means


def _drawn_scores(
    people: Panel, n_components: int, *panels: Panel
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]] | None:
    """Scores of panels on the axes of `people`, and the axes' shares of the variance.

    As `principal_axes` and `Axes.project` give them but for signs, by the products of everybody
    that all were drawn of, without their alleles; None where those aren't known.
    """
    everybody = _Everybody.of(people)
    if everybody is None or not all(map(everybody.hold, panels)):
        return None
    own = everybody.rows(people)
    gram, means = everybody.centred(own)
    values, vectors = largest_eigenpairs(gram, min(n_components, people.n_samples - 1))
    weights = vectors / np.sqrt(np.maximum(values, np.finfo(float).tiny))
    scores = (everybody.products[:, own] - means) @ weights
    return [scores[everybody.rows(panel)] for panel in panels], np.maximum(values, 0) / np.trace(
        gram
    )


def _precision(n_people: int, n_sites: int) -> type[np.floating[Any]]:
    return np.float32 if n_people**2 * n_sites > _MANY_PRODUCTS else np.float64


def largest_eigenpairs(
    matrix: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The `n` largest eigenvalues (n,) of a symmetric matrix, falling, and their vectors (side, n).

    Of a large matrix by Lanczos' method, restarted until nothing but rounding is left
    (Lehoucq, Sorensen and Yang 1998), else of the whole.
    """
    side = matrix.shape[0]
    if side >= _LARGE:
        start = np.random.default_rng(0).standard_normal(side)
        try:
            values, vectors = eigsh(matrix, n, v0=start, ncv=min(side, 4 * n + 40))
            return values[::-1], np.ascontiguousarray(vectors[:, ::-1])
        except ArpackNoConvergence:
            pass
    values, vectors = eigh(matrix, subset_by_index=(side - n, side - 1))
    return values[::-1], np.ascontiguousarray(vectors[:, ::-1])


def pca(reference: Reference, cohort: Panel, params: PcaParams, ctx: RunContext) -> MetricResult:
    """Distances between synthetic and held-out people on the training people's components.

    Raises PanelError on missing alleles.
    """
    train, holdout = reference.train, reference.holdout
    require_complete("pca", train=train, holdout=holdout, synthetic=cohort)
    sampled = train.n_samples > params.max_people
    pool = tuple(of.digest for of, _ in train.origin)
    key = (train.digest, pool, params, ctx.seed if sampled else None)

    def made() -> tuple[Axes, NDArray[np.float64]]:
        people = train
        if sampled:
            rows = ctx.rng("pca").choice(train.n_samples, params.max_people, replace=False)
            people = train.select_samples(np.sort(rows))
        axes = principal_axes(people, params.n_components)
        return axes, axes.project(train)

    axes, n = None, cohort.n_samples
    drawn = None
    if not (sampled or ctx.paths):
        drawn = _drawn_scores(train, params.n_components, train, holdout, cohort)
    if drawn is not None:
        (train_scores, real, scores), variance = drawn
    else:
        axes, train_scores = remember(("pca train", *key), made)
        variance = axes.variance
        if not variance.size:
            return PCA.not_applicable("no site varies among the training people", n)
        real = train_scores
        if holdout.digest != train.digest:
            real = remember(("pca holdout", holdout.digest, *key), partial(axes.project, holdout))
        scores = axes.project(cohort)
    spread = real.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    distances = _distances(real, scores, spread)
    note = f"axes of {params.max_people} of {train.n_samples} training people" if sampled else ""
    measurements: dict[str, Any] = {
        "wasserstein": Measurement(float(distances.mean()), n, note=note),
        "wasserstein_pc": [
            Measurement(float(d), n, labels={"pc": str(i)}) for i, d in enumerate(distances, 1)
        ],
        "wasserstein_superpopulation": _by_superpopulation(holdout, real, cohort, scores, spread),
        "coupled_wasserstein": _coupled(holdout, cohort, params.max_haplotypes, ctx),
    }
    for level in ("population", "superpopulation"):
        measurements |= _matches(
            level,
            (train_scores, getattr(train, level)),
            (real, getattr(holdout, level)),
            (scores, getattr(cohort, level)),
        )
    measurements |= _paths(train, axes, ctx.paths)
    series = {
        "real": _points(holdout, real),
        "synthetic": _points(cohort, scores),
        "components": {
            "pc": np.arange(1, distances.size + 1),
            "wasserstein": distances,
            "variance": variance,
        },
    }
    return MetricResult(measurements, series)


def _standardised(
    panels: Sequence[Panel],
    sites: NDArray[np.int64],
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
    kind: type[np.floating[Any]] = np.float64,
    *,
    whole: bool = False,
) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield (part of `sites`, standardised dosages (n_samples, size) of a `kind`) of all panels."""
    # Eight bytes per dosage.
    n_haplotypes = sum(panel.n_haplotypes for panel in panels)
    parts = [slice(0, sites.size)] if whole else site_blocks(4 * n_haplotypes, sites.size)
    ends = np.cumsum([panel.n_samples for panel in panels])
    for part in parts:
        columns = sites[part]
        between = slice(int(columns[0]), int(columns[-1]) + 1)
        block = np.empty((ends[-1], columns.size), kind)
        inverse = 1 / scale[part]
        for panel, end in zip(panels, ends, strict=True):
            # A copy, so that the kernel isn't compiled again for read-only memory maps.
            alleles = np.array(panel.alleles(columns=between), order="C")
            if columns.size < alleles.shape[1]:
                alleles = columns_of(alleles, columns - columns[0])
            own = block[end - panel.n_samples : end]
            _standardise(alleles, panel.ploidy, mean[part] * inverse, inverse, own)
        yield part, block


@compiled
def _standardise(
    alleles: NDArray[np.int8],
    ploidy: int,
    shift: NDArray[np.float64],
    inverse: NDArray[np.float64],
    out: NDArray[Any],
) -> None:
    n_people, n_columns = out.shape
    dosages = np.empty(n_columns, np.int8)
    for person in range(n_people):
        # Rows as they lie in memory, one after the other, are vectors of the processor.
        dosages[:] = alleles[ploidy * person]
        for strand in range(1, ploidy):
            row = alleles[ploidy * person + strand]
            for i in range(n_columns):
                dosages[i] += row[i]
        for i in range(n_columns):
            out[person, i] = dosages[i] * inverse[i] - shift[i]


def _distances(
    real: NDArray[np.float64], synthetic: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    pairs = zip((real / spread).T, (synthetic / spread).T, strict=True)
    return np.array([wasserstein_distance(first, second) for first, second in pairs])


def _coupled(holdout: Panel, cohort: Panel, most: int, ctx: RunContext) -> Measurement:
    """Summed distances on the components of the haplotypes of both panels together."""
    n = cohort.n_haplotypes
    if not (holdout.phased and cohort.phased):
        return Measurement(None, n, note="not phased")
    sides: list[tuple[Panel, NDArray[np.int64]]] = []
    for name, panel in (("holdout", holdout), ("synthetic", cohort)):
        rows = np.arange(panel.n_haplotypes)
        if panel.n_haplotypes > most < panel.n_sites:
            rows = ctx.rng("coupled pca", name).choice(panel.n_haplotypes, most, replace=False)
        sides.append((panel, np.sort(rows)))
    total = sum(rows.size for _, rows in sides)
    if total < holdout.n_sites and all(
        distances_kept(a, b, rows, others) for a, rows in sides for b, others in sides
    ):
        scores = _scores_by_distances(sides)
    else:
        alleles = np.concatenate([panel.alleles(rows) for panel, rows in sides])
        both = holdout.as_haploid().with_haplotypes(alleles)
        scores = principal_axes(both, _COUPLED_COMPONENTS, scaled=False).project(both)
    if not scores.shape[1]:
        return Measurement(None, n, note="no site varies")
    real, synthetic = np.split(scores, [sides[0][1].size])
    distance = float(_distances(real, synthetic, np.ones(real.shape[1])).sum())
    counts = " and ".join(str(rows.size) for _, rows in sides)
    note = f"{counts} haplotypes, {scores.shape[1]} components"
    return Measurement(distance, sides[1][1].size, note=note)


def _scores_by_distances(
    sides: Sequence[tuple[Panel, NDArray[np.int64]]],
) -> NDArray[np.float64]:
    """Scores of some haplotypes of two panels on the components of them all: (n, n_components).

    The products of centred alleles follow from how many sites differ (Torgerson 1952): minus half
    the distances, centred by row and column. Exact, as distances are whole numbers.
    """
    first = sides[0][1].size
    total = first + sides[1][1].size
    products = np.empty((total, total))
    for at, to in ((0, 0), (0, 1), (1, 1)):
        (a, rows), (b, others) = sides[at], sides[to]
        columns = slice(first * to, first * to + others.size)
        for low, block in distance_blocks(a, b, rows, others):
            row = first * at + low
            products[row : row + block.shape[0], columns] = block
    products[first:, :first] = products[:first, first:].T
    means = products.mean(axis=0)
    products -= means[:, None] + means - means.mean()
    products *= -0.5
    values, vectors = largest_eigenpairs(products, min(_COUPLED_COMPONENTS, total - 1))
    varies = values > _ROUNDING * max(1.0, float(np.trace(products)))
    scores: NDArray[np.float64] = vectors[:, varies] * np.sqrt(values[varies])
    return scores


def _by_superpopulation(
    holdout: Panel,
    real: NDArray[np.float64],
    cohort: Panel,
    scores: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> list[Measurement] | Measurement:
    shared = sorted(set(holdout.superpopulation) & set(cohort.superpopulation) - {""})
    if not shared:
        return Measurement(None, cohort.n_samples, note="the cohort has no labels")
    found = []
    for name in shared:
        rows, others = cohort.superpopulation == name, holdout.superpopulation == name
        value = float(_distances(real[others], scores[rows], spread).mean())
        found.append(Measurement(value, int(rows.sum()), labels={"superpopulation": str(name)}))
    return found


def _matches(
    level: str, train: _Labelled, holdout: _Labelled, synthetic: _Labelled
) -> dict[str, Measurement]:
    """Shares of people nearest to their own label's centroid, three submetrics."""
    names = [f"{level}_match", f"{level}_match_holdout", f"{level}_match_difference"]
    groups = np.unique(train[1][train[1] != ""])
    n = len(synthetic[1])
    if groups.size < 2:
        lack = Measurement(None, n, note=f"fewer than two {level}s in the training people")
        return dict.fromkeys(names, lack)
    centroids = np.array([train[0][train[1] == group].mean(axis=0) for group in groups])

    def share(side: _Labelled) -> Measurement:
        scores, labels = side
        known = np.isin(labels, groups)
        if not known.any():
            return Measurement(None, len(labels), note="the cohort has no labels")
        # |a - c|^2 less |a|^2, which is the same for every centroid.
        distance = (centroids**2).sum(axis=1) - 2 * scores[known] @ centroids.T
        nearest = groups[distance.argmin(axis=1)]
        return Measurement(float((nearest == labels[known]).mean()), int(known.sum()))

    own, real = share(synthetic), share(holdout)
    if own.value is None or real.value is None:
        difference = Measurement(None, n, note=own.note or real.note)
    else:
        difference = Measurement(own.value - real.value, own.n)
    return dict(zip(names, (own, real, difference), strict=True))


def _paths(train: Panel, axes: Axes | None, paths: Sequence[Panel]) -> dict[str, Measurement]:
    """Whether steps between two people follow each other along the components, two submetrics."""
    names = ("path_monotone", "path_longest_step")
    note = "the generator doesn't interpolate between people"
    if np.unique(train.superpopulation).size < 2 and np.unique(train.population).size < 2:
        note = "one population"
    ranks, longest = [], []
    steps = [] if axes is None else [(path, axes.project(path)) for path in paths]
    for path, scores in steps:
        people = path.haplotypes.reshape(path.n_samples, -1)
        along = (scores - scores[0]) @ (scores[-1] - scores[0])
        if along[-1] > 0 and (people[0] != people[-1]).any():
            ranks.append(float(spearmanr(np.arange(along.size), along).statistic))
            longest.append(float(np.abs(np.diff(along)).max() / along[-1]))
    if paths and not ranks:
        note = "no path leads anywhere"
    if not ranks:
        return dict.fromkeys(names, Measurement(None, note=note))
    values = (float(np.mean(ranks)), float(np.mean(longest)))
    return {name: Measurement(v, len(ranks)) for name, v in zip(names, values, strict=True)}


def _points(panel: Panel, scores: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Scores of at most 160 people, evenly spaced, on the first four components."""
    rows = np.unique(np.linspace(0, panel.n_samples - 1, _FIGURE_PEOPLE).astype(np.int64))
    table: dict[str, NDArray[Any]] = {
        f"pc{i + 1}": scores[rows, i].astype(np.float32) for i in range(min(4, scores.shape[1]))
    }
    return table | {
        "population": panel.population[rows],
        "superpopulation": panel.superpopulation[rows],
    }
