"""Who of panels that are handed in is in two of them, and what must be said of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench.data.identity import exact_copies, nearness, same_people
from haplobench.data.panel import Panel
from haplobench.data.relatives import find_relatives
from haplobench.data.split import keep_together, split_panel
from haplobench.errors import BenchError

_MOSTLY, _ALIKE = 0.5, 0.9
MANY_COPIES = 0.1
"""Share of a cohort: with so many copies of the people that it's held against, nothing is shown."""
EXCHANGED = 1e-3
"""Chance below which a cohort is said to be nearer to the real than to the training people."""
NEARER = "nearer to --real than to --train"
_NAMED = 5
_WHY = "perhaps --real and --train are exchanged, or the generator has seen --real"


@dataclass(frozen=True)
class Likeness:
    """What is said of a cohort beside the real people.

    Attributes
    ----------
    remark : str
        How many of its people and haplotypes are real ones, and the first of those by name.
    warnings : tuple of str
        What is amiss, without names: statements that name nobody hold it.
    doubt : str
        Why neither its likeness to the real people nor its distance from them shows anything;
        empty where it does.
    exposed : str
        Why no attack that finds nothing clears it: real people are in it, no matter of chance.
    """

    remark: str
    warnings: tuple[str, ...] = ()
    doubt: str = ""
    exposed: str = ""


def hold_out(panel: Panel, holdout: float | NDArray[np.int64], seed: int) -> tuple[Panel, Panel]:
    """People to train on, and those held out: a share of them, or who they are by index.

    Stratified by population, relatives on one side; who is drawn depends on names, populations,
    genotypes and the seed. Raises BenchError.
    """
    if isinstance(holdout, float):
        panel = keep_together(panel, find_relatives(panel).pairs)
    split = split_panel(panel, holdout, 0.0, seed)
    return panel.select_samples(split.train), panel.select_samples(split.holdout)


def refuse_trained_on(real: Panel, train: Panel) -> str:
    """Nobody may be among the real and among the training people, under whatever name.

    Gives a warning if some look like relatives. Raises BenchError.
    """
    same = same_people(real, train)
    if same.pairs.size:
        n = same.pairs.shape[0]
        mine, theirs = real.samples[same.pairs[0, 0]], train.samples[same.pairs[0, 1]]
        raise BenchError(
            f"{n:,} people are in the real and in the training panel, {_pair(mine, theirs)} among "
            f"them ({n:,} of the {real.n_samples:,} real people, by their genotypes); expected "
            "held-out people",
            hint="leave them out of one; if the generator was trained on everybody: "
            "--trained-on-everybody without --train",
        )
    if not same.kin:
        return ""
    return (
        f"{same.kin:,} pairs of a real and a training person look like relatives: copies of such "
        "training people resemble the real ones"
    )


def refuse_same_file(name: str, cohort: Panel, other: Panel) -> None:
    """Raise BenchError for a cohort most of whom have a person's name and genotypes."""
    _, mine, theirs = np.intersect1d(cohort.samples, other.samples, return_indices=True)
    equal = cohort.select_samples(mine).dosages() == other.select_samples(theirs).dosages()
    n = int((equal.mean(axis=1) >= _ALIKE).sum()) if equal.size else 0
    if n > _MOSTLY * cohort.n_samples:
        raise BenchError(
            f"the synthetic panel is the {name} panel: {n:,} of its {cohort.n_samples:,} people "
            f"have a {name} person's name and genotypes",
            hint="give the file that the generator wrote",
        )


def likeness(cohort: Panel, real: Panel, train: Panel | None, seed: int) -> Likeness:
    """Hold a cohort's people against the real ones, at sites that all panels have."""
    copies = exact_copies(cohort, real, train)
    people, n_people = np.unique(copies.people[:, 0]).size, cohort.n_samples
    remark = f"{people:,} of its {n_people:,} people have a real person's genotypes at every site"
    by_haplotype = cohort.phased and real.phased
    if by_haplotype:
        remark += (
            f", {copies.haplotypes:,} of its {cohort.n_haplotypes:,} haplotypes are real people's"
        )
    pairs, by_chance = copies.people, copies.people_by_chance
    if by_chance and (alike := same_people(cohort, real).pairs).size:
        # Copies with other phase, or with errors.
        pairs, people, by_chance = alike, alike.shape[0], False
        remark += f"; but for errors {people:,} people do"
    nearer = "" if train is None else nearer_to_real(cohort, real, train, seed)
    warnings = []
    if people:
        pairs = pairs[np.unique(pairs[:, 0], return_index=True)[1]]
        named = ", ".join(
            _pair(cohort.samples[mine], real.samples[theirs]) for mine, theirs in pairs[:_NAMED]
        )
        more = f" and {people - _NAMED:,} more" if people > _NAMED else ""
        remark += f"; these people of --real are in it: {named}{more}"
        text = f"{people:,} of the cohort's {n_people:,} people are people of --real"
        if by_chance:
            text += "; in so short a region strangers may be as alike"
        elif train is not None and not nearer:
            text += f"; {_WHY}"
        warnings.append(text)
    if by_haplotype and not copies.haplotypes_by_chance:
        warnings.append(
            f"{copies.haplotypes:,} of the cohort's {cohort.n_haplotypes:,} haplotypes are "
            "haplotypes of --real, many more than of strangers"
        )
    doubt = ""
    shares = (
        0.0 if by_chance else people / n_people,
        0.0 if copies.haplotypes_by_chance else copies.haplotypes / cohort.n_haplotypes,
    )
    if max(shares) >= MANY_COPIES:
        doubt = "made of copies of --real people"
    if nearer:
        warnings.append(nearer)
        doubt = doubt or NEARER
    exposed = f"people of --real are in it: {people:,}" if people and not by_chance else ""
    return Likeness(remark, tuple(warnings), doubt, exposed)


def nearer_to_real(cohort: Panel, real: Panel, train: Panel, seed: int) -> str:
    """A warning of a cohort that is nearer to the real than to the training people, or nothing."""
    near = nearness(cohort, real, train, seed)
    if near.p >= EXCHANGED:
        return ""
    return (
        "the cohort is nearer to --real than to --train: the nearest people to stretches of its "
        f"haplotypes are in --real in {near.near:.1%} of cases, by chance in {near.expected:.1%}; "
        + _WHY
    )


def _pair(mine: str, theirs: str) -> str:
    return str(mine) if mine == theirs else f"{mine} ({theirs} there)"
