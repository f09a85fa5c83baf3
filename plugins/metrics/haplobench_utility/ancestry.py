"""Ancestry inferred from a synthetic cohort: of held-out people, and of admixed ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.memory import remember
from haplobench_utility.admixture import (
    AdmixedPeople,
    admix,
    admixture_proportions,
    paint,
)
from haplobench_utility.association import leading_eigenvectors
from haplobench_utility.cohorts import (
    Level,
    as_many,
    by_label,
    common_labels,
    measured,
    morgans,
    no_real_panels,
    noted,
)
from haplobench_utility.specs_structure import ANCESTRY, AncestryParams

Labels = NDArray[np.str_]
_LEVELS: tuple[Level, Level] = ("superpopulation", "population")
# What a classifier is trained on at most: evenly chosen sites, and people drawn anew.
_SITES, _PEOPLE = 10_000, 2000
_ROUNDING = 1e-4
_CHANGES = 3.0  # of ancestry on a haplotype, where no generations are given
_KNOWN = "of which enough people are trained on and enough held out"
_ADMIXED = ("proportions_rmse", "local_accuracy", "local_recall")


def ancestry(
    reference: Reference, cohort: Panel, params: AncestryParams, ctx: RunContext
) -> MetricResult:
    """Classification of people by labels, admixture proportions and local ancestry."""
    train, holdout, n = reference.train, reference.holdout, cohort.n_samples
    labels = {level: common_labels(level, params.min_people, train, holdout) for level in _LEVELS}
    if not train.n_sites or all(names.size < 2 for names in labels.values()):
        note = (
            f"needs two labels of {params.min_people} people or more each, among the training and "
            "among the held-out people, and a site"
        )
        return ANCESTRY.not_applicable(note, n)
    measurements: dict[str, Measurement | list[Measurement]] = {}
    series = {}
    called, reverse = _trained_on_cohort(reference, cohort, labels, params, ctx)
    for level in _LEVELS:
        measurements |= _accuracy(level, labels[level], called)
    measurements["reverse_difference"] = reverse
    groups = labels["superpopulation"]
    if groups.size < 2:
        why = f"fewer than two superpopulations, {_KNOWN}"
        measurements |= dict.fromkeys(_ADMIXED, Measurement(None, n, note=why))
    else:
        measurements |= _admixed(reference, cohort, groups, params, ctx)
        series["confusion"] = _confusion(groups, called)
    return MetricResult(measurements, series)


# --- classification ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Classifier:
    """Linear discriminants of a panel's principal components, one for each level of labels.

    Attributes
    ----------
    sites : (n_used,) int64
        Columns of the panel.
    mean : (n_used,) float32
        Mean frequency, which stands for a missing genotype.
    axes : (n_used, n_components) float32 or None
        Orthonormal; None where nobody differs.
    discriminants : dict
        By level, where two labels or more have people: a fitted discriminant.
    """

    sites: NDArray[np.int64]
    mean: NDArray[np.float32]
    axes: NDArray[np.float32] | None
    discriminants: dict[Level, Any]

    def call(self, panel: Panel, level: Level) -> Labels | None:
        """The label of each of a panel's people, (n_samples,) str; None if it can't tell."""
        model = self.discriminants.get(level)
        if model is None or self.axes is None:
            return None
        features = _genotypes(panel, self.sites, self.mean)
        called: Labels = model.predict((features - self.mean) @ self.axes)
        return called


def train_classifier(
    panel: Panel, labels: dict[Level, Labels], components: int, rng: np.random.Generator
) -> Classifier:
    """Learn labels from a panel's genotypes; `labels` are those that count, by level.

    Principal components of allele shares (dosage over ploidy), not standardised: standardised
    rare alleles make components of their own and classify worse. Of more than 2,000 people some
    are drawn by `rng`.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    if panel.n_samples > _PEOPLE:
        chosen = rng.choice(panel.n_samples, _PEOPLE, replace=False)
        panel = panel.select_samples(np.sort(chosen))
    sites = _evenly(panel.n_sites, _SITES)
    raw = _genotypes(panel, sites)
    with np.errstate(invalid="ignore"):
        mean = np.nan_to_num(np.nansum(raw, axis=0) / np.isfinite(raw).sum(axis=0))
    mean = mean.astype(np.float32)
    features = np.where(np.isfinite(raw), raw, mean) - mean
    discriminants: dict[Level, Any] = {}
    if panel.n_samples < 3 or not (features != features[0]).any():
        return Classifier(sites, mean, None, discriminants)
    most = max(1, min(components, panel.n_samples // 4, sites.size))
    gram = (features @ features.T).astype(np.float64)
    axes = features.T @ leading_eigenvectors(gram, most).astype(np.float32)
    sizes = np.linalg.norm(axes, axis=0)
    # Of what is left once people are alike there is only rounding.
    axes = (axes / sizes)[:, sizes > _ROUNDING * sizes.max()]
    scores = features @ axes
    for level, names in labels.items():
        own = getattr(panel, level)
        mine = np.isin(own, names)
        present = np.unique(own[mine])
        if present.size < 2 or mine.sum() <= present.size:
            continue
        model = LinearDiscriminantAnalysis(priors=np.full(present.size, 1 / present.size))
        discriminants[level] = model.fit(scores[mine], own[mine])
    return Classifier(sites, mean, axes, discriminants)


def balanced_accuracy(truth: Labels, called: Labels, labels: Labels) -> float:
    """Mean over `labels` of the share of their people who are called right."""
    return float(np.mean([(called[truth == name] == name).mean() for name in labels]))


def _genotypes(
    panel: Panel, sites: NDArray[np.int64], mean: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Alternate alleles over ploidy, `mean` (or NaN) where missing: (n_samples, n) float32."""
    dosages = panel.select_sites(sites).dosages() if sites.size < panel.n_sites else panel.dosages()
    shares = dosages.astype(np.float32) / np.float32(panel.ploidy)
    return np.where(dosages < 0, np.float32(np.nan) if mean is None else mean, shares)


def _evenly(n: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


@dataclass(frozen=True, eq=False)
class _Called:
    """What held-out people are called: by the cohort's classifier, and by real ones.

    `synthetic` holds None where the cohort trains none, because of `why`; `real` is empty where
    no real panel can be drawn, because of `unreal`.
    """

    holdout: Panel
    synthetic: dict[Level, Labels | None]
    real: list[dict[Level, Labels | None]]
    why: str
    unreal: str
    note: str


def _trained_on_cohort(
    reference: Reference,
    cohort: Panel,
    labels: dict[Level, Labels],
    params: AncestryParams,
    ctx: RunContext,
) -> tuple[_Called, Measurement]:
    train, holdout = reference.train, reference.holdout
    n = min(cohort.n_samples, train.n_samples)
    rng = ctx.rng("ancestry", "cohort")
    people = cohort
    if n < cohort.n_samples:
        people = cohort.select_samples(np.sort(rng.choice(cohort.n_samples, n, replace=False)))

    def calls(panel: Panel, *key: str | int) -> dict[Level, Labels | None]:
        model = train_classifier(panel, labels, params.components, ctx.rng("ancestry", *key))
        return {level: model.call(holdout, level) for level in labels}

    def real_calls() -> list[dict[Level, Labels | None]]:
        draws = range(params.real_draws)
        return [
            calls(as_many(train, holdout, n, f"ancestry {ctx.seed} {draw}"), "real", draw)
            for draw in draws
        ]

    key = (train.digest, holdout.digest, params, ctx.seed)
    unreal = no_real_panels(reference)
    real = [] if unreal else remember(("ancestry real", n, *key), real_calls)
    known = np.isin(cohort.superpopulation, labels["superpopulation"]).any()
    known |= np.isin(cohort.population, labels["population"]).any()
    why = "the cohort's people differ too little or are too few to train a classifier"
    if not known:
        why = "the cohort has no labels"
    note = f"{n} of {cohort.n_samples} people" if n < cohort.n_samples else ""
    called = _Called(holdout, calls(people, "synthetic"), real, why, unreal, note)
    if unreal:
        return called, Measurement(None, cohort.n_samples, note=unreal)

    level: Level = "superpopulation" if labels["superpopulation"].size > 1 else "population"

    def strangers() -> tuple[Classifier, float | None]:
        # Of held-out people: neither the training people nor copies of them are in it.
        own = ctx.rng("ancestry", "strangers")
        model = train_classifier(holdout, labels, params.components, own)
        return model, _balanced(model.call(train, level), train, level)

    model, real_share = remember(("ancestry strangers", *key), strangers)
    share = _balanced(model.call(cohort, level), cohort, level)
    difference = None if share is None or real_share is None else share - real_share
    lacking = why if not known else "held-out people are too few to train a classifier"
    return called, measured(difference, cohort.n_samples, lacking)


def _balanced(called: Labels | None, panel: Panel, level: Level) -> float | None:
    """Balanced accuracy over the labels that the panel's people have."""
    truth = getattr(panel, level)
    names = np.unique(truth[truth != ""])
    if called is None or not names.size:
        return None
    return balanced_accuracy(truth, called, names)


def _accuracy(
    level: Level, names: Labels, called: _Called
) -> dict[str, Measurement | list[Measurement]]:
    truth = getattr(called.holdout, level)
    n = int(np.isin(truth, names).sum())
    prefix = "" if level == "superpopulation" else "population_"
    wanted = [f"{prefix}accuracy_ratio"]
    if level == "superpopulation":
        wanted += ["accuracy", "accuracy_real", "recall"]
    draws = [labels for draw in called.real if (labels := draw[level]) is not None]
    if names.size < 2 or not (draws or called.unreal):
        why = "as many real people are too few to train a classifier"
        if names.size < 2:
            why = f"fewer than two {level}s, {_KNOWN}"
        return {name: Measurement(None, n, note=why) for name in wanted}
    real = [balanced_accuracy(truth, labels, names) for labels in draws]
    mean_real = float(np.mean(real)) if real else None
    own = called.synthetic[level]
    note = called.note
    if own is None:
        # Guessing: whoever has only this cohort does no better.
        accuracy = 1 / names.size
        note = noted(note, f"{called.why}: guessing stands for a classifier")
    else:
        accuracy = balanced_accuracy(truth, own, names)
    found: dict[str, Measurement | list[Measurement]] = {
        f"{prefix}accuracy_ratio": measured(accuracy / mean_real, n, "", note)
        if mean_real
        else Measurement(
            None,
            n,
            note=called.unreal or "nobody is called right by classifiers of real people",
        )
    }
    if level == "population":
        if own is None:
            found = {wanted[0]: Measurement(None, n, note=called.why)}
        return found
    recalls = {}
    if own is not None:
        recalls = {
            str(name): (float((own[truth == name] == name).mean()), int((truth == name).sum()))
            for name in names
        }
    return found | {
        "accuracy": measured(accuracy, n, "", note),
        "accuracy_real": measured(mean_real, n, called.unreal, f"mean of {len(real)} draws"),
        "recall": by_label(level, recalls, called.why, n),
    }


def _confusion(names: Labels, called: _Called) -> dict[str, NDArray[Any]]:
    """Shares of each label's people by what they are called: a row for each pair of labels."""
    truth, own = called.holdout.superpopulation, called.synthetic["superpopulation"]
    pairs = [(a, b) for a in names for b in names]
    shares = [np.nan if own is None else float((own[truth == a] == b).mean()) for a, b in pairs]
    return {
        "truth": np.array([a for a, _ in pairs]),
        "called": np.array([b for _, b in pairs]),
        "share": np.array(shares),
    }


# --- admixed people ---------------------------------------------------------------------------


def _admixed(
    reference: Reference,
    cohort: Panel,
    names: Labels,
    params: AncestryParams,
    ctx: RunContext,
) -> dict[str, Measurement | list[Measurement]]:
    holdout, n = reference.holdout, cohort.n_samples
    n_groups = names.size
    absent = [str(name) for name in names if not (cohort.superpopulation == name).any()]
    why = ""
    if absent:
        why = f"the cohort has nobody of {', '.join(absent)}"
        if len(absent) == n_groups:
            why = "the cohort has no labels"
    elif not holdout.phased:
        why = "not phased"
    if why:
        return dict.fromkeys(_ADMIXED, Measurement(None, n, note=why))
    at = morgans(holdout, ctx.recombination_map)
    length = float(at[-1] - at[0])
    generations = params.generations or _CHANGES / max(length, 1e-9)
    key = ("admixed", holdout.digest, params, ctx.seed, ctx.recombination_map is None)

    def people() -> AdmixedPeople:
        groups = _index(holdout.superpopulation, names)
        rng = ctx.rng("ancestry", "admixed")
        return admix(holdout, groups, at, generations, params.admixed_people, rng)

    admixed = remember(key, people)
    note = f"{params.admixed_people} people, {generations:.3g} generations"
    if ctx.recombination_map is None:
        note = noted(note, "no recombination map, 1 cM/Mb taken")
    group_of = _index(cohort.superpopulation, names)
    found: dict[str, Measurement | list[Measurement]] = {
        "proportions_rmse": _proportions(admixed, cohort, group_of, n_groups, note)
    }
    if not cohort.phased:
        return found | dict.fromkeys(_ADMIXED[1:], Measurement(None, n, note="not phased"))
    return found | _local(admixed, cohort, group_of, names, at, generations, params, ctx, note)


def _index(labels: Labels, names: Labels) -> NDArray[np.int64]:
    """Index of each label among `names` (sorted), -1 where it isn't among them."""
    at = np.minimum(np.searchsorted(names, labels), names.size - 1)
    return np.where(names[at] == labels, at, -1).astype(np.int64)


def _proportions(
    admixed: AdmixedPeople, cohort: Panel, groups: NDArray[np.int64], n_groups: int, note: str
) -> Measurement:
    frequencies = np.empty((n_groups, cohort.n_sites))
    for group in range(n_groups):
        alternate, called = cohort.select_samples(groups == group).allele_counts
        # Half an allele more of each kind: no genotype is impossible.
        frequencies[group] = (alternate + 0.5) / (called + 1)
    inferred = admixture_proportions(admixed.dosages(), admixed.ploidy, frequencies)
    error = inferred - admixed.proportions(n_groups)
    return Measurement(float(np.sqrt((error**2).mean())), len(error), note=note)


def _local(
    admixed: AdmixedPeople,
    cohort: Panel,
    groups: NDArray[np.int64],
    names: Labels,
    at: NDArray[np.float64],
    generations: float,
    params: AncestryParams,
    ctx: RunContext,
    note: str,
) -> dict[str, Measurement | list[Measurement]]:
    rng = ctx.rng("ancestry", "references")
    rows = np.repeat(groups, cohort.ploidy)
    chosen = []
    for group in range(names.size):
        mine = np.flatnonzero(rows == group)
        if mine.size > params.references:
            mine = np.sort(rng.choice(mine, params.references, replace=False))
        chosen.append(mine)
    kept = np.concatenate(chosen)
    sites = _evenly(cohort.n_sites, params.painted_sites)
    painted = paint(
        admixed.haplotypes[:, sites],
        cohort.alleles(kept)[:, sites],
        rows[kept],
        at[sites],
        generations,
    )
    origin = admixed.origin[:, sites]
    right = painted.argmax(axis=2) == origin
    recalls = {
        str(name): (float(right[origin == group].mean()), int((origin == group).sum()))
        for group, name in enumerate(names)
        if (origin == group).any()
    }
    mean = float(np.mean([value for value, _ in recalls.values()]))
    note = noted(note, f"{kept.size} reference haplotypes, {sites.size} sites")
    return {
        "local_accuracy": Measurement(mean, int(origin.size), note=note),
        "local_recall": by_label("superpopulation", recalls, "", int(origin.size)),
    }
