"""Groups of training people by the population labels they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PluginError

Within = Literal["population", "superpopulation", "all"]


@dataclass(frozen=True, eq=False)
class Groups:
    """Training people sorted into groups, and the group that each population belongs to.

    Attributes
    ----------
    labels : (n_labels,) str
        Populations of the training panel, sorted; one empty label where it has none.
    label_groups : (n_labels,) int64
        Group of each label.
    members : (n_samples,) int64
        Training people, group by group.
    offsets : (n_groups + 1,) int64
        Group g is `members[offsets[g]:offsets[g + 1]]`.
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
        return {
            "labels": self.labels,
            "label_groups": self.label_groups,
            "members": self.members,
            "offsets": self.offsets,
        }

    @classmethod
    def load(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """From the arrays saved."""
        return cls(**{name: arrays[name] for name in cls.__dataclass_fields__})
