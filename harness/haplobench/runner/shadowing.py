"""Fits on some of the people: shadows, and cells whose work grows with the ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from haplobench.panel import Panel
from haplobench.runner.prepared import Prepared
from haplobench.split import stratified_sample

_TRAINED = ("train", "holdout")


def shadow_members(
    train: Panel, holdout: Panel, shadow: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Who of the training and of the held-out people a shadow generator is trained on.

    Shadows 2i and 2i + 1 share everybody out in random halves, stratified by population and by
    `train` and `holdout`: each person is in exactly half of an even number of shadows. Depends
    on the people's names and `shadow` alone.

    Returns
    -------
    (n_train,) bool, (n_holdout,) bool
    """
    members = []
    for part, panel in zip(_TRAINED, (train, holdout), strict=True):
        everyone = np.arange(panel.n_samples, dtype=np.int64)
        # Which part rounds up alternates, so that both halves are equal within one person.
        n = (panel.n_samples + (part == "train")) // 2
        drawn = stratified_sample(panel, everyone, n, f"shadow {part} {shadow // 2}")
        members.append(np.isin(everyone, drawn) ^ bool(shadow % 2))
    return members[0], members[1]


def shadow_prepared(prepared: Prepared, shadow: int) -> Prepared:
    """The dataset as a shadow generator sees it: its half as train, the other half as holdout.

    Sites stay those of the dataset; people for early stopping are drawn anew, as large a
    share as before.
    """
    own = shadow_members(prepared.train, prepared.holdout, shadow)
    train = _people(prepared, own[0], own[1])
    n = round(train.n_samples * prepared.validation.size / prepared.train.n_samples)
    everyone = np.arange(train.n_samples, dtype=np.int64)
    return replace(
        prepared,
        train=train,
        holdout=_people(prepared, ~own[0], ~own[1]),
        validation=stratified_sample(train, everyone, n, f"shadow validation {shadow}"),
    )


def part_prepared(prepared: Prepared, people: float) -> Prepared:
    """The dataset with a share of its training people, and of those for early stopping.

    Stratified by population, at least two people; held-out people and sites stay.
    """
    everyone = np.arange(prepared.train.n_samples, dtype=np.int64)
    n = min(everyone.size, max(2, round(people * everyone.size)))
    train = prepared.train.select_samples(
        stratified_sample(prepared.train, everyone, n, f"part {people}")
    )
    # Families come whole, so that there may be fewer than n.
    chosen = np.arange(train.n_samples, dtype=np.int64)
    m = round(chosen.size * prepared.validation.size / everyone.size)
    validation = stratified_sample(train, chosen, m, f"part validation {people}")
    return replace(prepared, train=train, validation=validation)


def _people(prepared: Prepared, train: NDArray[np.bool_], holdout: NDArray[np.bool_]) -> Panel:
    parts = (
        prepared.train.select_samples(np.flatnonzero(train)),
        prepared.holdout.select_samples(np.flatnonzero(holdout)),
    )
    return parts[0].with_haplotypes(
        np.concatenate([part.haplotypes for part in parts]),
        samples=np.concatenate([part.samples for part in parts]),
        population=np.concatenate([part.population for part in parts]),
        superpopulation=np.concatenate([part.superpopulation for part in parts]),
        family=np.concatenate([part.family for part in parts]),
    )
