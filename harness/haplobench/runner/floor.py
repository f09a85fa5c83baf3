"""The floor: real people in the place of a cohort, as many as the cohort has."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.data.bits import Bits
from haplobench.data.panel import Panel, synthetic_names
from haplobench.data.split import stratified_sample
from haplobench.plugin import Reference


def most_people(n: int) -> int:
    """How many of `n` people a floor may draw at a time and still vary as strangers would.

    Draws without replacement of more than half of the people are mostly the same people: they
    lie too near to each other for a cohort of others to be held against.
    """
    return n // 2


def unmarked(people: int, n_train: int) -> str:
    """Why cohorts of so many people can't be held against a floor of training people; or empty."""
    if people <= most_people(n_train):
        return ""
    return (
        f"no mark: the cohorts have {people:,} people, and a floor of that many would need at "
        f"least {2 * people:,} training people to be drawn from; there are {n_train:,}"
    )


def floor_cohort(
    train: Panel, holdout: Panel, kind: str, draw: int, seed: int, people: int | None = None
) -> tuple[Reference, Panel]:
    """Real people as if synthetic, and what they are measured against.

    `train`: training people, as many as are held out or as `people` says (three quarters of
    them where they are few, so that draws differ) and of the held-out ones' populations, against
    the held-out ones. `holdout`: half of the held-out people, or `people` of them if that is
    fewer, against the others. Drawn anew for each `draw`, stratified by population.
    """
    if kind == "train":
        everyone = np.arange(train.n_samples, dtype=np.int64)
        n = max(1, min(people or holdout.n_samples, train.n_samples * 3 // 4))
        key = f"floor train {seed} {draw}"
        chosen = stratified_sample(train, everyone, n, key, holdout, whole_families=False)
        return Reference(train, holdout), _unnamed(train.select_samples(chosen))
    everyone = np.arange(holdout.n_samples, dtype=np.int64)
    half = most_people(holdout.n_samples)
    key = f"floor holdout {seed} {draw}"
    chosen = stratified_sample(holdout, everyone, min(people or half, half), key)
    others = np.setdiff1d(everyone, chosen)
    reference = Reference(train, holdout.select_samples(others))
    return reference, _unnamed(holdout.select_samples(chosen))


def dealt_cohort(
    train: Panel | None, real: Panel, people: int, draw: int, seed: int
) -> tuple[Reference, Panel]:
    """Real people dealt anew: `people` of them as if synthetic, and what they are held against.

    With `train`, all are pooled: as many as `real` has stand for the held-out people, the rest
    for the training people. So every draw is a pair of strangers' samples of the cohort's and
    the held-out people's sizes, which is what a cohort of real people and the held-out ones are
    (a permutation test's null). Without `train`, those not drawn stand for both.
    """
    panels = (real,) if train is None else (real, train)
    total = sum(panel.n_samples for panel in panels)
    digest = hashlib.sha256(f"floor dealt {seed} {draw}".encode()).digest()
    order = np.random.default_rng(int.from_bytes(digest[:8], "little")).permutation(total)
    cohort, others = order[:people], order[people:]
    if train is None:
        reference = _people(panels, others)
        return Reference(reference, reference), _unnamed(_people(panels, cohort))
    holdout, rest = others[: real.n_samples], others[real.n_samples :]
    return Reference(_people(panels, rest), _people(panels, holdout)), _people(panels, cohort)


def subsample(cohort: Panel, people: int, draw: int, seed: int) -> Panel:
    """Some of a cohort's people, drawn without replacement; everybody where `people` is all."""
    if people >= cohort.n_samples:
        return cohort
    digest = hashlib.sha256(f"subsample {seed} {draw}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    return cohort.select_samples(np.sort(rng.permutation(cohort.n_samples)[:people]))


def _people(panels: tuple[Panel, ...], chosen: NDArray[np.int64]) -> Panel:
    """Unnamed people of panels of the same sites, by their place in all of them together."""
    parts = []
    first = 0
    for panel in panels:
        here = chosen[(chosen >= first) & (chosen < first + panel.n_samples)] - first
        parts.append(panel.select_samples(np.sort(here)))
        first += panel.n_samples
    if len(parts) == 1:
        return parts[0]
    bits = [part.bits for part in parts]
    held: Any = (
        np.concatenate([part.haplotypes for part in parts])
        if None in bits
        else Bits(np.concatenate([one.words for one in bits if one]), panels[0].n_sites)
    )
    together = panels[0].with_haplotypes(
        held,
        samples=synthetic_names(chosen.size),
        population=np.concatenate([part.population for part in parts]),
        superpopulation=np.concatenate([part.superpopulation for part in parts]),
    )
    return together.drawn(tuple(origin for part in parts for origin in part.origin))


def _unnamed(panel: Panel) -> Panel:
    """The people without their names, as a generator's would come."""
    nobody = np.empty(0, "U1")
    return panel.changed(samples=synthetic_names(panel.n_samples), family=nobody)
