"""What the baselines share: groups of people, random draws, what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PanelError, PluginError

BLOCK = 256  # haplotypes whose randomness is drawn together
Within = Literal["population", "superpopulation", "all"]


@dataclass(frozen=True, eq=False)
class Groups:
    """Training people sorted into groups, and the group that each population belongs to.

    `labels` (n_labels,) str: populations of the training panel, sorted; one empty label where it
    has none.
    `label_groups` (n_labels,) int64: group of each label.
    `members` (n_samples,) int64: training people, group by group.
    `offsets` (n_groups + 1,) int64: group g is `members[offsets[g]:offsets[g + 1]]`.
    """

    labels: NDArray[np.str_]
    label_groups: NDArray[np.int64]
    members: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, train: Panel, within: Within) -> Self:
        """Group the people of `train` by population, by superpopulation, or all together.

        The population stands in where there is no superpopulation.
        """
        labels, label = np.unique(train.population, return_inverse=True)
        keys = {
            "population": train.population,
            "superpopulation": np.where(
                train.superpopulation == "", train.population, train.superpopulation
            ),
            "all": np.zeros(train.n_samples, np.int64),
        }[within]
        _, group = np.unique(keys, return_inverse=True)
        label_groups = np.zeros(labels.size, np.int64)
        label_groups[label] = group
        mixed = np.flatnonzero(label_groups[label] != group)
        if mixed.size:
            person = int(mixed[0])
            raise PluginError(
                f"population {str(train.population[person])!r} lies in several superpopulations "
                f"(person {str(train.samples[person])!r}), expected one",
                hint="mend the labels, or set within: population",
            )
        return cls(
            labels=labels,
            label_groups=label_groups,
            members=np.argsort(group, kind="stable"),
            offsets=np.concatenate([[0], np.cumsum(np.bincount(group))]),
        )

    @property
    def sizes(self) -> NDArray[np.int64]:
        """People per group: (n_groups,) int64."""
        return np.diff(self.offsets)

    def find(self, populations: NDArray[np.str_]) -> NDArray[np.int64]:
        """Group of each label asked for: (n,) str to (n,) int64.

        Raises PluginError that names the first label nobody in the training panel has.
        """
        at = np.minimum(np.searchsorted(self.labels, populations), self.labels.size - 1)
        unknown = np.flatnonzero(self.labels[at] != populations)
        if unknown.size:
            known = ", ".join(map(str, self.labels)) if self.labels.any() else "none: no labels"
            raise PluginError(
                f"population {str(populations[unknown[0]])!r} is asked for, but nobody in the "
                f"training panel has it (there are: {known})"
            )
        return np.asarray(self.label_groups[at])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays, to be saved."""
        return dict(vars(self))

    @classmethod
    def load(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """From the arrays saved."""
        return cls(**{name: arrays[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class Bernoulli:
    """Independent draws of 0 and 1 with a probability for each column.

    A 16-bit number decides all but one draw in 65,536, where it ties with the probability's
    first 16 bits; a second number then decides. So the draws have the probabilities exactly,
    at a quarter of the random bits.

    `high` (n_columns,) uint16: first 16 bits of the probabilities.
    `rest` (n_columns,) float64: what follows them, in [0, 1].
    """

    high: NDArray[np.uint16]
    rest: NDArray[np.float64]

    @classmethod
    def of(cls, probabilities: NDArray[np.float64]) -> Bernoulli:
        """Draws with `probabilities`: (n_columns,) float64 in [0, 1]."""
        scaled = probabilities * 65536.0
        high = np.minimum(np.floor(scaled), 65535)
        return cls(high.astype(np.uint16), scaled - high)

    def draw(self, n_rows: int, rng: np.random.Generator) -> NDArray[np.int8]:
        """(n_rows, n_columns) int8 of 0 and 1."""
        bits = rng.integers(0, 65536, (n_rows, self.high.size), dtype=np.uint16)
        ones = bits < self.high
        row, column = np.nonzero(bits == self.high)
        ones[row, column] = rng.random(row.size) < self.rest[column]
        return ones.view(np.int8)


def block_size(ploidy: int) -> int:
    """Haplotypes of an absolute block: about `BLOCK`, whole people only."""
    return max(1, BLOCK // ploidy) * ploidy


def cut(rows: NDArray[np.int8], batch_size: int) -> Iterator[NDArray[np.int8]]:
    """Yield `rows` in pieces of at most `batch_size`."""
    for start in range(0, rows.shape[0], batch_size):
        yield rows[start : start + batch_size]


def refuse_missing(train: Panel, name: str) -> None:
    """PanelError if the training panel has missing alleles."""
    if train.has_missing:
        raise PanelError(
            f"generator {name}: the training panel has missing alleles, expected 0 and 1 only",
            hint="set the dataset's filter max_missing to 0",
        )
