"""The metric `augmentation`: synthetic people added to a small real panel of one population."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, PanelError, Reference, RunContext
from haplobench.data.panel import columns_of
from haplobench.memory import remember
from haplobench_utility.cohorts import no_real_panels
from haplobench_utility.masking import SiteSums, masked
from haplobench_utility.specs.imputation import AUGMENTATION, AugmentationParams


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
        series={"curve": _curve(n_added, alone, gains)},
    )  # fmt: skip


def _half_width(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half of Student's 95 % interval of the mean of each column of (n, columns)."""
    from scipy.stats import t

    n = values.shape[0]
    return np.asarray(t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n))


def _curve(
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
