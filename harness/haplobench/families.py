"""Families: people whom tables declare to be relatives, or whom a panel shows to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from haplobench.datasets.labels import Label
from haplobench.panel import Panel

# A larger "family", none of whose people has a parent, is a cohort or a population.
MOST_WITHOUT_PARENTS = 20

Name = TypeVar("Name", str, int)


def declared_families(
    names: Sequence[str], table: Mapping[str, Label], named: Mapping[str, str]
) -> NDArray[np.str_]:
    """Family of each of `names`, after the first of it by name: (n,) str, empty if alone.

    People belong together who share a family's name, who are parent and child, or who have a
    parent in common, be the parent in the panel or not; and so do relatives' relatives. PLINK's
    FID often names a cohort or a population instead: one of more than 20 people, nobody of whom
    has a parent, is not taken for a family.

    Parameters
    ----------
    names : sequence of str
        Of people in the panel.
    table : mapping
        What is said of people, in names of its own.
    named : mapping
        The table's name for some of `names`.
    """
    members: dict[str, list[str]] = {}
    for name, label in table.items():
        if label.family:
            members.setdefault(label.family, []).append(name)
    links: list[tuple[str, str]] = []
    for family in members.values():
        childless = not any(table[name].father or table[name].mother for name in family)
        if not childless or len(family) <= MOST_WITHOUT_PARENTS:
            links += [(family[0], other) for other in family[1:]]
    for name, label in table.items():
        links += [(name, parent) for parent in (label.father, label.mother) if parent]
    group = connected(links)
    return _labels(names, [group.get(named[name], "") if name in named else "" for name in names])


def keep_together(panel: Panel, pairs: NDArray[np.int64]) -> Panel:
    """The panel with pairs of its people, (n, 2) by index, added to its families."""
    names = panel.samples.tolist()
    declared: dict[str, list[str]] = {}
    for name, family in zip(names, panel.family.tolist(), strict=True):
        if family:
            declared.setdefault(family, []).append(name)
    links = [(family[0], other) for family in declared.values() for other in family[1:]]
    links += [(names[i], names[j]) for i, j in pairs.tolist()]
    group = connected(links)
    return replace(panel, family=_labels(names, [group.get(name, "") for name in names]))


def family_sizes(panel: Panel) -> NDArray[np.int64]:
    """People of each family of two or more in the panel: (n_families,) int64."""
    _, sizes = np.unique(panel.family[panel.family != ""], return_counts=True)
    return np.asarray(sizes[sizes > 1], np.int64)


def connected(links: Iterable[tuple[Name, Name]]) -> dict[Name, Name]:
    """For each of those linked, the least of all to whom links lead."""
    above: dict[Name, Name] = {}

    def top(name: Name) -> Name:
        above.setdefault(name, name)
        while above[name] != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    for one, other in links:
        first, second = sorted((top(one), top(other)))
        above[second] = first
    return {name: top(name) for name in list(above)}


def _labels(names: Sequence[str], groups: Sequence[str]) -> NDArray[np.str_]:
    """Each group of two or more of `names` called after the first of them."""
    inside: dict[str, list[str]] = {}
    for name, group in zip(names, groups, strict=True):
        if group:
            inside.setdefault(group, []).append(name)
    first = {group: min(people) for group, people in inside.items() if len(people) > 1}
    return np.array([first.get(group, "") for group in groups], np.str_)
