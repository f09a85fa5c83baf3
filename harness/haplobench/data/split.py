"""Split a panel's people into training and held-out: families whole, stratified by population."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from haplobench.data.labels import Label
from haplobench.data.panel import Panel
from haplobench.errors import BenchError

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
    return panel.changed(family=_labels(names, [group.get(name, "") for name in names]))


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


Indices = NDArray[np.int64]
# A share below 1 (of all people; of the training people), a count of people, or who they are.
Part = float | Indices
_FEW = 3


@dataclass(frozen=True, eq=False)
class Split:
    """Who is where: increasing indices of a panel's people.

    Attributes
    ----------
    train, holdout : (n,) int64
        Together everybody, nobody in both.
    validation : (n,) int64
        The part of `train` set apart for early stopping.
    """

    train: Indices
    holdout: Indices
    validation: Indices

    @property
    def validation_in_train(self) -> Indices:
        """The validation people as indices into the training panel: (n,) int64."""
        return np.searchsorted(self.train, self.validation).astype(np.int64)


def split_panel(
    panel: Panel,
    holdout: Part,
    validation: Part = 0.0,
    seed: int = 1,
    *,
    folds: int = 0,
    fold: int = 0,
) -> Split:
    """Draw held-out people, and from the others validation people.

    Each population gives its share, rounded by largest remainders so that the total is exact
    and every population is within one person of its share. Populations with a share below one
    person give theirs together with the others of their superpopulation, the seed deciding
    which. A family (people of one `Panel.family`) is on one side: shares are then met within
    one family. Who is drawn depends on the seed, the population and the people's names, not on
    their order in the file.

    Parameters
    ----------
    panel : Panel
    holdout, validation : float or (n,) int64
        A share below 1 (of all people; of the training people), a count of people, or indices.
    seed : int
    folds, fold : int
        With `folds`, everybody is dealt into so many parts, and the held-out people are those
        of part `fold` (from 1); `holdout` isn't looked at.

    Raises
    ------
    BenchError
        If fewer than two people would be held out, or fewer than two trained on, or people of
        one family alone; if validation people are held out.
    """
    people = np.arange(panel.n_samples, dtype=np.int64)
    if folds:
        held = _fold(panel, folds, fold, seed)
        asked = f"split.folds: fold {fold} of {folds}"
    elif isinstance(holdout, float | int):
        n_holdout = _count(holdout, panel.n_samples)
        asked = f"split.holdout: {holdout:g} of {panel.n_samples} people"
        held = stratified_sample(panel, people, n_holdout, f"holdout {seed}")
    else:
        held = np.unique(holdout)
        asked = f"split.holdout: a list of {held.size} people"
    _enough(panel, asked, held)
    train = np.setdiff1d(people, held)
    if isinstance(validation, float | int):
        n_validation = _count(validation, train.size)
        apart = stratified_sample(panel, train, n_validation, f"validation {seed}")
        asked = f"split.validation: {validation:g} of {train.size} training people"
    else:
        apart = np.unique(validation)
        n_validation = apart.size
        asked = f"split.validation: a list of {n_validation} people"
        both = np.intersect1d(apart, held)
        if both.size:
            raise BenchError(
                f"split.validation: {both.size} of its people are held out, "
                f"{panel.samples[both[0]]} among them; expected training people"
            )
    if train.size - n_validation < 2:
        raise BenchError(
            f"{asked} leaves {train.size - n_validation} to learn from; at least 2 are needed"
        )
    return Split(train, held, apart)


def stratified_sample(
    panel: Panel,
    people: Indices,
    n: int,
    key: str,
    like: Panel | None = None,
    *,
    whole_families: bool = True,
) -> Indices:
    """Draw `n` of `people`, in proportion to their populations: (n,) int64, increasing.

    Families come whole or not at all, so that there may be fewer than `n`, unless
    `whole_families` is False. `key` seeds the draw. `like` gives other people whose
    populations' proportions to follow instead, as far as there are people to choose among:
    where a population has fewer than twice as many as are wanted, its superpopulation is drawn
    from.
    """
    if not whole_families:
        panel = panel.changed(family=np.full(panel.n_samples, ""))
    n = min(n, people.size)
    first = _first_of_family(panel)[people]
    strata, weights = _strata(panel, first, n, like)
    names, sizes = np.unique(strata, return_counts=True)
    shares = np.array([weights.get(str(name), 0.0) for name in names])
    if not shares.any():
        shares = sizes.astype(np.float64)
    chosen, left = [], []
    for name, count in zip(names, _apportion(n, shares, sizes, _rng(key, "ties")), strict=True):
        mine = strata == name
        rng = _rng(key, str(name))
        drawn = _drawn(panel, people[mine], first[mine], rng, in_turn=like is None)
        taken = take_families(panel, drawn, count)
        chosen.append(taken)
        left.append(drawn[~np.isin(drawn, taken)])
    # What whole families left open goes to others that fit.
    short = n - sum(taken.size for taken in chosen)
    if short:
        rest = np.concatenate(left)
        chosen.append(take_families(panel, _rng(key, "rest").permutation(rest), short))
    return np.sort(np.concatenate(chosen)).astype(np.int64) if chosen else people[:0]


def take_families(panel: Panel, people: Indices, n: int) -> Indices:
    """The first of `people`, in their order, that make up `n`, families whole: (n,) int64.

    A family takes the place of its first member; one that would make them more than `n` is
    passed over, so that there may be fewer. Of a family, only who is among `people` counts.
    """
    first = _first_of_family(panel)
    if np.array_equal(first, np.arange(first.size)):
        return people[:n]
    _, start, unit = np.unique(first[people], return_index=True, return_inverse=True)
    sizes = np.bincount(unit)
    taken = np.zeros(sizes.size, bool)
    left = n
    for family in np.argsort(start):
        if sizes[family] <= left:
            taken[family] = True
            left -= int(sizes[family])
    return people[taken[unit]]


def _first_of_family(panel: Panel) -> Indices:
    """Index of the first by name of everybody's family: (n_samples,) int64; alone, their own."""
    first = np.arange(panel.n_samples, dtype=np.int64)
    members = np.flatnonzero(panel.family != "")
    if members.size:
        members = members[np.argsort(panel.samples[members], kind="stable")]
        _, start, unit = np.unique(panel.family[members], return_index=True, return_inverse=True)
        first[members] = members[start][unit]
    return first


def _strata(
    panel: Panel, first: Indices, n: int, like: Panel | None
) -> tuple[NDArray[np.str_], dict[str, float]]:
    """Stratum of each person, of whom `first` is the first of the family, and strata's weights.

    Populations, where they are large enough; the others of a superpopulation together, where
    they are; and else the others of all.
    """
    populations, superpopulations = panel.population[first], panel.superpopulation[first]
    strata = np.full(first.size, "", dtype="U256")
    model = (populations, superpopulations)
    if like is not None:
        model = (like.population, like.superpopulation)
    open_people, open_model = np.ones(first.size, bool), np.ones(model[0].size, bool)
    weights: dict[str, float] = {}
    for level in range(3):
        everyone = [np.full(labels.size, "others") for labels in (populations, model[0])]
        labels = (populations, superpopulations, everyone[0])[level]
        wanted = (model[0], model[1], everyone[1])[level]
        for name in np.unique(labels[open_people]):
            members = open_people & (labels == name)
            models = open_model & (wanted == name)
            share = n * int(models.sum()) / max(1, wanted.size)
            enough = share >= 1 - 1e-9 if like is None else 0 < 2 * share <= members.sum()
            if not enough and level < 2:
                continue
            inside = np.unique(populations[members])
            # One population by itself keeps its name, whatever level it is drawn at.
            stratum = str(inside[0]) if inside.size == 1 else f"{level} {name}"
            strata[members] = stratum
            weights[stratum] = weights.get(stratum, 0.0) + float(models.sum())
            open_people &= ~members
            open_model &= ~models
    return strata, weights


def _drawn(
    panel: Panel, people: Indices, first: Indices, rng: np.random.Generator, *, in_turn: bool
) -> Indices:
    """People of a stratum in the order in which they are drawn, families side by side.

    Of several populations, each is drawn from once before one is a second time if `in_turn`,
    the larger the likelier first (Efraimidis & Spirakis 2006); else they are drawn from evenly
    by their sizes.
    """
    heads = np.unique(first)
    heads = heads[np.argsort(panel.samples[heads], kind="stable")]
    labels = panel.population[heads]
    names = np.unique(labels)
    if names.size == 1:
        order = rng.permutation(heads)
    else:
        turns = []
        for name in names:
            members = rng.permutation(heads[labels == name])
            start, turn = rng.random(), np.arange(members.size)
            if in_turn:
                turns.append((members, turn + 1 - start ** (1 / members.size)))
            else:
                turns.append((members, (turn + start) / members.size))
        at = np.argsort(np.concatenate([turn for _, turn in turns]), kind="stable")
        order = np.concatenate([members for members, _ in turns])[at]
    place = np.empty(panel.n_samples, np.int64)
    place[order] = np.arange(order.size)
    by_name = np.argsort(panel.samples[people], kind="stable")
    people, first = people[by_name], first[by_name]
    return people[np.argsort(place[first], kind="stable")]


def _fold(panel: Panel, folds: int, fold: int, seed: int) -> Indices:
    """Part `fold` of the people dealt into `folds`: each family to where its population, then its
    superpopulation, then everybody is fewest."""
    if not 2 <= folds <= panel.n_samples // 2:
        raise BenchError(
            f"split.folds: {folds} folds of {panel.n_samples} people; expected at least 2 folds "
            "of at least 2 people"
        )
    key = f"folds {folds} {seed}"
    first = _first_of_family(panel)
    populations, superpopulations = panel.population[first], panel.superpopulation[first]
    rank = _rng(key, "rank").permutation(folds)
    fold_of = np.empty(panel.n_samples, np.int64)
    totals = np.zeros(folds, np.int64)
    for above in np.unique(superpopulations):
        of_superpopulation = np.zeros(folds, np.int64)
        inside = superpopulations == above
        for name in np.unique(populations[inside]):
            mine = inside & (populations == name)
            of_population = np.zeros(folds, np.int64)
            heads = np.unique(first[mine])
            heads = heads[np.argsort(panel.samples[heads], kind="stable")]
            heads = _rng(key, f"{above} {name}").permutation(heads)
            sizes = np.bincount(first, minlength=panel.n_samples)[heads]
            for head in heads[np.argsort(-sizes, kind="stable")]:
                at = int(np.lexsort((rank, totals, of_superpopulation, of_population))[0])
                family = first == head
                fold_of[family] = at
                for counts in (of_population, of_superpopulation, totals):
                    counts[at] += int(family.sum())
    return np.flatnonzero(fold_of == fold - 1).astype(np.int64)


def _enough(panel: Panel, asked: str, held: Indices) -> None:
    """At least two people of two families on either side."""
    first = _first_of_family(panel)
    sides = (held, np.setdiff1d(np.arange(panel.n_samples), held))
    if min(side.size for side in sides) < 2:
        raise BenchError(
            f"{asked} holds out {held.size} and trains on {sides[1].size}; at least 2 each are "
            f"needed{_largest_family(first)}"
        )
    for side, what in zip(sides, ("holds out", "trains on"), strict=True):
        if np.unique(first[side]).size < 2:
            raise BenchError(
                f"{asked} {what} one family alone; at least 2 are needed{_largest_family(first)}"
            )


def _largest_family(first: Indices) -> str:
    sizes = np.bincount(first)
    if sizes.max() < 2:
        return ""
    return (
        f" (families are kept whole: there are {int((sizes > 1).sum())}, the largest of "
        f"{int(sizes.max())} people)"
    )


def _rng(key: str, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{key}\0{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _count(amount: float, total: int) -> int:
    return round(amount * total) if amount < 1 else int(amount)


def _apportion(
    n: int, weights: NDArray[np.float64], sizes: NDArray[np.int64], rng: np.random.Generator
) -> list[int]:
    """Share `n` out in proportion to `weights` by largest remainders, at most `sizes` to each.

    Of equal remainders, `rng` says which are rounded up where it is one person to a few, and
    the order where it is one to many.
    """
    n = min(n, int(sizes.sum()))
    ties = rng.permutation(sizes.size)
    many = np.arange(sizes.size) - sizes.size
    counts = np.zeros(sizes.size, np.int64)
    while (left := n - int(counts.sum())) > 0:
        room = sizes - counts
        # Populations that are used up give their share to the others.
        open_weights = np.where(room > 0, weights, 0.0)
        if not open_weights.any():
            open_weights = room.astype(np.float64)
        exact = left * open_weights / open_weights.sum()
        counts += np.minimum(np.floor(exact).astype(np.int64), room)
        left = n - int(counts.sum())
        remainders = np.where(sizes > counts, exact - np.floor(exact), -1.0)
        order = np.where(exact < _FEW, ties, many)
        for i in np.lexsort((order, -remainders.round(9)))[:left]:
            if sizes[i] > counts[i] and remainders[i] > 0:
                counts[i] += 1
    return [int(count) for count in counts]
