"""A cohort, or a small real panel and it, as the reference panel of people with hidden sites.

The metrics `imputation` and `augmentation`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, PanelError, Reference, RunContext
from haplobench.data.panel import columns_of
from haplobench.memory import remember
from haplobench_utility import imputers
from haplobench_utility.cohorts import as_many, morgans, no_real_panels
from haplobench_utility.imputers import CopyingModel
from haplobench_utility.specs_studies import (
    AUGMENTATION,
    IMPUTATION,
    AugmentationParams,
    ImputationParams,
    TypedParams,
)

# A number and the value of its label: ("r2", ""), ("r2_by_maf", "0.01-0.05").
Key = tuple[str, str]
Scores = Mapping[Key, tuple[float | None, int]]
"""Numbers, each with how many sites (genotypes, of discordance) it rests on."""
_LABELS = {
    "r2_by_maf": "maf",
    "r2_ratio_by_maf": "maf",
    "aggregate_r2": "maf",
    "r2_by_superpopulation": "superpopulation",
    "r2_ratio_by_superpopulation": "superpopulation",
}
_RATIOS = {
    "r2": "r2_ratio",
    "r2_by_maf": "r2_ratio_by_maf",
    "r2_by_superpopulation": "r2_ratio_by_superpopulation",
}
_CURVE_EDGES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5)


def imputation(
    reference: Reference, cohort: Panel, params: ImputationParams, ctx: RunContext
) -> MetricResult:
    """Imputation of held-out people from the cohort, and from real panels of its size."""
    try:
        task = masked(reference, cohort, params, ctx)
    except PanelError as error:
        return IMPUTATION.not_applicable(str(error))
    mine, curve = _measure(task, task.cohort, params, ctx)
    real, real_curve = _real_panels(task, params, ctx) if not task.unreal else ([], None)
    n = f"{task.cohort.n_haplotypes:,} synthetic haplotypes; {task.note}"
    measurements: dict[str, list[Measurement]] = {s.name: [] for s in IMPUTATION.submetrics}
    for (name, label), (value, count) in mine.items():
        labels = {_LABELS[name]: label} if label else {}
        why = "no imputed site of these differs among held-out people"
        note = n if value is not None else why
        measurements[name].append(Measurement(value, count, labels=labels, note=note))
        if name in _RATIOS:
            others = [scores[name, label][0] for scores in real]
            ratio = _ratio(value, count, others, task, n)
            measurements[_RATIOS[name]].append(
                Measurement(
                    ratio.value, ratio.n, labels=labels, note=ratio.note, low=ratio.low,
                    high=ratio.high,
                )
            )  # fmt: skip
    for name in ("r2_by_superpopulation", "r2_ratio_by_superpopulation"):
        if not measurements[name]:
            note = "held-out people have no superpopulations"
            measurements[name] = [Measurement(None, note=note)]
    filled = curve["sites"] > 0
    if real_curve is None or not filled.any():
        return MetricResult(measurements)
    table = {name: values[filled] for name, values in (curve | {"real_r2": real_curve}).items()}
    return MetricResult(measurements, series={"by_maf": table})


def _ratio(
    value: float | None, count: int, real: Sequence[float | None], task: Masked, note: str
) -> Measurement:
    """A number over the mean of real panels', with the interval of one more real panel."""
    if value is None:
        return Measurement(None, note="no imputed site of these differs among held-out people")
    if not real:
        return Measurement(None, note=task.unreal)
    panels = np.array([one for one in real if one is not None])
    mean = float(panels.mean())
    if mean <= 0:
        return Measurement(None, note="real panels impute nothing of these sites")
    note = f"{note}; mean of {panels.size} real panels {mean:.4g}"
    if task.cohort.n_samples < task.train.n_samples:
        from scipy.stats import t

        spread = float(panels.std(ddof=1)) * (1 + 1 / panels.size) ** 0.5
        half = float(t.ppf(0.975, panels.size - 1)) * spread
        return Measurement(
            value / mean, count, note=note, low=(value - half) / mean, high=(value + half) / mean
        )
    return Measurement(
        value / mean, count, note=f"{note}, that of all training people: without interval"
    )


def _real_panels(
    task: Masked, params: ImputationParams, ctx: RunContext
) -> tuple[list[Scores], NDArray[np.float64]]:
    """What real panels of the cohort's size give, and their mean curve by MAF: once a process."""
    n = task.cohort.n_samples
    draws = params.real_panels if n < task.train.n_samples else 1

    def compute() -> tuple[list[Scores], NDArray[np.float64]]:
        measured = []
        for draw in range(draws):
            ctx.progress(draw / draws, f"real panel {draw + 1} of {draws}")
            panel = as_many(task.train, task.holdout, n, f"imputation real panel {draw}")
            measured.append(_measure(task, panel, params, ctx))
        curves = np.stack([curve["synthetic_r2"] for _, curve in measured])
        return [scores for scores, _ in measured], curves.mean(axis=0)

    return remember(("imputation", task.key, n), compute)


def _measure(
    task: Masked, panel: Panel, params: ImputationParams, ctx: RunContext
) -> tuple[Scores, dict[str, NDArray[np.float64]]]:
    """All numbers of one reference panel, and its curve by MAF."""
    probabilities = task.impute(panel.haplotypes, params, ctx)
    truth = columns_of(task.holdout.haplotypes, task.untyped)
    counted = task.maf > params.maf_bins[0]
    above = task.holdout.haplotype_superpopulations
    groups = {
        str(label): SiteSums.of(
            probabilities[above == label], truth[above == label], task.holdout.ploidy
        ).at(counted)
        for label in np.unique(above)
    }
    first, *others = groups.values()
    sums = sum(others, start=first)
    maf = task.maf[counted]
    scores: dict[Key, tuple[float | None, int]] = {("r2", ""): _mean_r2(sums)}
    for low, high in pairwise(params.maf_bins):
        inside = sums.at((maf > low) & (maf <= high))
        label = f"{low:g}-{high:g}"
        scores["r2_by_maf", label] = _mean_r2(inside)
        scores["aggregate_r2", label] = inside.aggregate_r2, int(inside.varies.sum())
    if any(groups):
        scores |= {
            ("r2_by_superpopulation", label or "unlabelled"): _mean_r2(group)
            for label, group in groups.items()
        }
    differ = sums.at(sums.varies)
    n_sites = differ.x.size
    genotypes = float(sums.counted.sum())
    wrong = float(sums.wrong.sum()) / genotypes if genotypes else None
    scores["discordance", ""] = wrong, int(genotypes)
    bias = float((differ.estimated_r2 - differ.r2).mean()) if n_sites else None
    scores["info_bias", ""] = bias, n_sites
    scores["calibration_slope", ""] = sums.slope, n_sites
    return scores, _curve(sums, maf)


def _mean_r2(sums: SiteSums) -> tuple[float | None, int]:
    """Mean r² of the sites that vary, and how many they are."""
    varies = sums.varies
    n = int(varies.sum())
    return (float(sums.at(varies).r2.mean()) if n else None), n


def _curve(sums: SiteSums, maf: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Mean r² by MAF in narrow bins: `maf` (their sites' mean), `synthetic_r2` and `sites`."""
    differ, at = sums.at(sums.varies), maf[sums.varies]
    which = np.clip(np.searchsorted(_CURVE_EDGES, at) - 1, 0, len(_CURVE_EDGES) - 2)
    n, total, place = (
        np.bincount(which, weights, len(_CURVE_EDGES) - 1).astype(np.float64)
        for weights in (np.ones(at.size), differ.r2, at)
    )
    return {
        "maf": place / np.maximum(n, 1),
        "synthetic_r2": total / np.maximum(n, 1),
        "sites": n,
    }


def augmentation(
    reference: Reference, cohort: Panel, params: AugmentationParams, ctx: RunContext
) -> MetricResult:
    """Gain of r² by adding the cohort's people of a population to a few real ones of it."""
    if unreal := no_real_panels(reference):
        return AUGMENTATION.not_applicable(unreal)
    try:
        people = _People.of(reference, cohort, params)
        task = masked(
            Reference(reference.train, people.holdout), people.cohort, params, ctx
        )  # fmt: skip
    except PanelError as error:
        return AUGMENTATION.not_applicable(str(error))
    counted = task.maf >= params.min_maf
    truth = columns_of(task.holdout.haplotypes, task.untyped[counted])
    if not SiteSums.of(truth.astype(np.float32), truth, task.holdout.ploidy).varies.any():
        return AUGMENTATION.not_applicable("no imputed site differs among held-out people")
    n_added = [round(times * people.small) for times in params.times]
    n_added = [n for n in n_added if 0 < n < task.cohort.n_samples] + [task.cohort.n_samples]

    def r2(haplotypes: NDArray[np.int8]) -> float:
        probabilities = task.impute(haplotypes, params, ctx)[:, counted]
        sums = SiteSums.of(probabilities, truth, task.holdout.ploidy)
        return float(sums.r2[sums.varies].mean())

    def of_sample(sample: int) -> tuple[NDArray[np.int8], float]:
        """A small real panel, the same for every cohort and seed, and what it gives alone."""
        rows = np.sort(np.random.default_rng(sample).permutation(people.rows)[: people.small])
        alleles = task.train.select_samples(rows).haplotypes
        key = ("augmentation", task.key, people.label, sample)
        return alleles, remember(key, lambda: r2(alleles))

    alone, added = np.zeros(params.samples), np.zeros((params.samples, len(n_added)))
    for sample in range(params.samples):
        ctx.progress(sample / params.samples, f"small panel {sample + 1} of {params.samples}")
        alleles, alone[sample] = of_sample(sample)
        order = ctx.rng("augmentation", sample).permutation(task.cohort.n_samples)
        for i, n in enumerate(n_added):
            more = task.cohort.select_samples(order[:n]).haplotypes
            added[sample, i] = r2(np.concatenate([alleles, more]))
    note = f"{people.note}; {task.note}"
    gains = added - alone[:, None]
    mean, half = gains.mean(axis=0), _half_width(gains)
    return MetricResult(
        {
            "gain": Measurement(
                float(mean[-1]), params.samples, note=note,
                low=float(mean[-1] - half[-1]), high=float(mean[-1] + half[-1]),
            ),
            "r2_alone": Measurement(float(alone.mean()), params.samples, note=note),
            "r2_with": Measurement(float(added[:, -1].mean()), params.samples, note=note),
        },
        series={"curve": _gain_curve(n_added, alone, gains)},
    )  # fmt: skip


def _half_width(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half of Student's 95 % interval of the mean of each column of (n, columns)."""
    from scipy.stats import t

    n = values.shape[0]
    return np.asarray(t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n))


def _gain_curve(
    n_added: list[int], alone: NDArray[np.float64], gains: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    """r² by people added, none of them first; `low` and `high` are the gain's interval."""
    mean, half = gains.mean(axis=0), _half_width(gains)
    level = float(alone.mean())
    return {
        "added": np.array([0, *n_added], np.int64),
        "r2": np.array([level, *(level + mean)]),
        "low": np.array([level, *(level + mean - half)]),
        "high": np.array([level, *(level + mean + half)]),
    }


@dataclass(frozen=True, eq=False)
class _People:
    """Who takes part: held-out, synthetic and training people of one population.

    Attributes
    ----------
    label : str
        The population's; empty where people have no labels.
    holdout, cohort : Panel
        Those of the population.
    rows : (n,) int64
        Training people of it.
    small : int
        People of a small panel.
    note : str
    """

    label: str
    holdout: Panel
    cohort: Panel
    rows: NDArray[np.int64]
    small: int
    note: str

    @classmethod
    def of(cls, reference: Reference, cohort: Panel, params: AugmentationParams) -> _People:
        """Raises PanelError where the population has too few people, or nobody is labelled so."""
        train, holdout = reference.train, reference.holdout
        label = params.population or _most_common(holdout.superpopulation)
        if label:
            held, trained, made = (
                np.flatnonzero((panel.population == label) | (panel.superpopulation == label))
                for panel in (holdout, train, cohort)
            )
            whose = f"of {label}"
        else:
            held, trained, made = (np.arange(panel.n_samples) for panel in (holdout, train, cohort))
            whose = "without labels"
        if not (cohort.population != "").any() and not (cohort.superpopulation != "").any():
            made = np.arange(cohort.n_samples)
            whose += " (the cohort has no labels: all of it is added)" if label else ""
        small = min(params.people, trained.size // 2)
        if held.size < 2 or small < 1 or not made.size:
            raise PanelError(
                f"{trained.size} training, {held.size} held-out and {made.size} synthetic people "
                f"{whose}; expected at least 2, 2 and 1"
            )
        return cls(
            label,
            holdout.select_samples(held),
            cohort.select_samples(made),
            trained.astype(np.int64),
            small,
            f"{small} real and {made.size:,} synthetic people {whose}",
        )


def _most_common(labels: NDArray[np.str_]) -> str:
    """The label that most people have, the first by name of several; empty without labels."""
    names, counts = np.unique(labels[labels != ""], return_counts=True)
    return str(names[counts.argmax()]) if names.size else ""


_LEAST_SITES = 20
# Below this variance of dosages everybody is imputed alike, but for rounding.
_ALIKE = 1e-8


@dataclass(frozen=True, eq=False)
class Masked:
    """Panels of the sites compared, and which of these are typed.

    Attributes
    ----------
    train, holdout, cohort : Panel
        At the same sites, without missing alleles.
    typed, untyped : (n,) int64
        Indices of sites, increasing.
    maf : (n_untyped,) float64
        Minor allele frequency in real people, training and held-out.
    morgans : (n_sites,) float64
    unreal : str
        Why no real panel can be drawn; empty where one can.
    note : str
        What was left out, and by which map.
    key : hashable
        What decides what real panels give here, beside the panel.
    """

    train: Panel
    holdout: Panel
    cohort: Panel
    typed: NDArray[np.int64]
    untyped: NDArray[np.int64]
    maf: NDArray[np.float64]
    morgans: NDArray[np.float64]
    unreal: str
    note: str
    key: Hashable

    def impute(
        self, haplotypes: NDArray[np.int8], params: TypedParams, ctx: RunContext
    ) -> NDArray[np.float32]:
        """Probability of the alternate allele in held-out haplotypes, from reference haplotypes.

        `haplotypes` (n, n_sites) int8; (n_haplotypes, n_untyped) float32.
        """
        seen = columns_of(self.holdout.haplotypes, self.typed)
        if params.engine == "own":
            model = CopyingModel.of(
                haplotypes, self.typed, self.morgans, ne=params.ne, error=params.error
            )
            return model.impute(seen, ctx.threads)
        return imputers.impute(
            params.engine,
            haplotypes,
            seen,
            self.typed,
            self.holdout.positions,
            self.morgans,
            params.ne,
            params.error,
            ctx.scratch,
        )


def masked(reference: Reference, cohort: Panel, params: TypedParams, ctx: RunContext) -> Masked:
    """Lay out one imputation: sites, people, and what is typed.

    Raises PanelError if too few sites are left, none is typed or none is imputed.
    """
    panels = (reference.train, reference.holdout, cohort)
    complete = np.logical_and.reduce(
        [panel.allele_counts[1] == panel.n_haplotypes for panel in panels]
    )
    chosen = np.flatnonzero(complete)
    notes = []
    if chosen.size < complete.size:
        notes.append(f"{complete.size - chosen.size:,} sites with missing alleles left out")
    if chosen.size > params.max_sites:
        first = (chosen.size - params.max_sites) // 2
        notes.append(f"the middle {params.max_sites:,} of {chosen.size:,} sites")
        chosen = chosen[first : first + params.max_sites]
    if chosen.size < _LEAST_SITES:
        raise PanelError(
            f"{chosen.size} sites without missing alleles, at least {_LEAST_SITES} are needed"
        )
    if chosen.size < complete.size:
        panels = tuple(panel.select_sites(chosen) for panel in panels)  # type: ignore[assignment]
    train, holdout, cohort = panels
    holdout, said = _some_people(holdout, params.max_people, "held-out people")
    unreal = no_real_panels(reference)
    most = max(1, params.max_haplotypes // train.ploidy)
    if not unreal:
        most = min(train.n_samples, most)
    cohort, cut = _some_people(cohort, most, "people of the cohort")
    notes += [text for text in (said, cut) if text]
    counts = train.allele_counts + reference.holdout.allele_counts[:, chosen]
    frequency = counts[0] / counts[1]
    maf = np.minimum(frequency, 1 - frequency)
    typed = typed_sites(train.positions, maf, params)
    untyped = np.setdiff1d(np.arange(maf.size), typed)
    if typed.size < 2 or not untyped.size:
        raise PanelError(
            f"{typed.size} of {maf.size:,} sites would be typed; two or more that differ among "
            "real people are needed, and others to impute"
        )
    if ctx.recombination_map is None:
        notes.append("no recombination map: 1 cM/Mb")
    at = morgans(train, ctx.recombination_map)
    sha = hashlib.sha256(chosen.tobytes() + at.tobytes()).hexdigest()
    key = (reference.train.digest, reference.holdout.digest, sha, params.model_dump_json())
    who = "" if params.engine == "own" else f"by {params.engine}"
    size = f"{typed.size:,} of {maf.size:,} sites typed; {holdout.n_samples:,} held-out people"
    note = "; ".join(text for text in (size, who, *notes) if text)
    return Masked(train, holdout, cohort, typed, untyped, maf[untyped], at, unreal, note, key)


def _some_people(panel: Panel, most: int, whose: str) -> tuple[Panel, str]:
    """At most so many people, the same ones each time; and a note, empty where all stay."""
    if panel.n_samples <= most:
        return panel, ""
    rows = np.random.default_rng(0).choice(panel.n_samples, most, replace=False)
    return panel.select_samples(np.sort(rows)), f"{most:,} of {panel.n_samples:,} {whose}"


def typed_sites(
    positions: NDArray[np.int64], maf: NDArray[np.float64], params: TypedParams
) -> NDArray[np.int64]:
    """Indices of typed sites, increasing: see `TypedParams.typed`. Fewer where few are common."""
    n = max(2, round(params.share * maf.size))
    if params.typed == "random":
        able = np.flatnonzero(maf > 0)
        rng = np.random.default_rng(params.typed_seed)
        return np.sort(rng.choice(able, min(n, able.size), replace=False))
    common = np.flatnonzero(maf >= params.typed_maf)
    if common.size <= n:
        return common
    edges = np.linspace(positions[0], positions[-1] + 1, n + 1)
    cell = np.searchsorted(edges, positions[common], side="right") - 1
    away = np.abs(positions[common] - (edges[cell] + edges[cell + 1]) / 2)
    # By cell, then by distance from its middle: the first of each cell.
    order = np.lexsort((away, cell))
    _, first = np.unique(cell[order], return_index=True)
    typed = common[np.sort(order[first])]
    rest = np.setdiff1d(common, typed)
    more = rest[np.linspace(0, rest.size - 1, n - typed.size).round().astype(np.int64)]
    return np.union1d(typed, more)


@dataclass(frozen=True, eq=False)
class SiteSums:
    """Sums over people at each imputed site: x imputed, y true alternate alleles of a person.

    `people` and `haplotypes` are numbers of them, the others (n_untyped,) float64; `squares` is
    the sum over haplotypes of their squared dosages. `wrong` and `counted` are imputed genotypes,
    rounded: those that have an alternate allele, truly or as imputed, and the wrong ones of them.
    """

    people: int
    haplotypes: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    xx: NDArray[np.float64]
    yy: NDArray[np.float64]
    xy: NDArray[np.float64]
    squares: NDArray[np.float64]
    wrong: NDArray[np.float64]
    counted: NDArray[np.float64]

    @classmethod
    def of(
        cls, probabilities: NDArray[np.float32], truth: NDArray[np.int8], ploidy: int
    ) -> SiteSums:
        """Of imputed and true alleles of haplotypes, (n_haplotypes, n_untyped) both."""
        n, n_sites = truth.shape
        shape = (n // ploidy, ploidy, n_sites)
        x, y = (np.zeros((shape[0], n_sites)) for _ in range(2))
        for strand in range(ploidy):
            x += probabilities[strand::ploidy]
            y += truth[strand::ploidy]
        called = np.rint(x)

        def over_people(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
            return np.asarray(np.einsum("ij,ij->j", left, right, dtype=np.float64))

        return cls(
            people=shape[0],
            haplotypes=n,
            x=x.sum(axis=0),
            y=y.sum(axis=0),
            xx=over_people(x, x),
            yy=over_people(y, y),
            xy=over_people(x, y),
            squares=over_people(probabilities, probabilities),
            wrong=(called != y).sum(axis=0, dtype=np.float64),
            counted=((called > 0) | (y > 0)).sum(axis=0, dtype=np.float64),
        )

    def __add__(self, other: SiteSums) -> SiteSums:
        return SiteSums(
            *(mine + others for mine, others in zip(vars(self).values(), vars(other).values(),
                                                    strict=True))
        )  # fmt: skip

    def at(self, sites: NDArray[np.bool_]) -> SiteSums:
        """At some of the sites."""
        arrays: dict[str, Any] = {
            name: values[sites] for name, values in vars(self).items() if np.ndim(values)
        }
        return replace(self, **arrays)

    @property
    def varies(self) -> NDArray[np.bool_]:
        """Sites at which people truly differ: (n_untyped,) bool."""
        return self.people * self.yy - self.y**2 > 0

    @property
    def r2(self) -> NDArray[np.float64]:
        """Squared correlation of x and y; 0 where all x or all y are alike."""
        n = self.people
        x, y, xy = n * self.xx - self.x**2, n * self.yy - self.y**2, n * self.xy - self.x * self.y
        r2 = np.zeros(x.size)
        np.divide(xy**2, x * y, out=r2, where=(x > _ALIKE * n * n) & (y > 0))
        return r2

    @property
    def estimated_r2(self) -> NDArray[np.float64]:
        """What Minimac calls Rsq: variance of haplotype dosages over p (1 - p); 0 where p is 0, 1.

        Das et al. 2016, supplementary note; Li et al. 2010, Genetic Epidemiology 34:816-834.
        """
        p = self.x / self.haplotypes
        r2, spread = np.zeros(p.size), p * (1 - p)
        np.divide(self.squares / self.haplotypes - p**2, spread, out=r2, where=spread > _ALIKE)
        return r2

    @property
    def aggregate_r2(self) -> float | None:
        """Squared correlation over all sites and people together; None where either is constant."""
        n = self.people * self.x.size
        x, y, xx, yy, xy = (float(v.sum()) for v in (self.x, self.y, self.xx, self.yy, self.xy))
        spread = (n * xx - x * x) * (n * yy - y * y)
        return (n * xy - x * y) ** 2 / spread if spread > 0 else None

    @property
    def slope(self) -> float | None:
        """Slope of y on x, both about their site's mean, over all sites; None if x is constant."""
        x = float((self.xx - self.x**2 / self.people).sum())
        xy = float((self.xy - self.x * self.y / self.people).sum())
        return xy / x if x > _ALIKE * self.people else None
