"""The populations of a training panel, for conditional generators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench.data.panel import Panel
from haplobench.errors import PluginError


@dataclass(frozen=True)
class Populations:
    """The populations of a training panel, for conditional generators.

    Attributes
    ----------
    names : tuple[str, ...]
        Sorted; one empty name where people have no label.
    superpopulations : tuple[str, ...]
        Of each population; its own name where it has none.
    people : tuple[int, ...]
        Training people of each.
    """

    names: tuple[str, ...]
    superpopulations: tuple[str, ...]
    people: tuple[int, ...]

    @classmethod
    def of(cls, panel: Panel) -> Populations:
        """The populations of `panel`."""
        names, first, counts = np.unique(panel.population, return_index=True, return_counts=True)
        above = (str(panel.superpopulation[i]) for i in first)
        return cls(
            tuple(map(str, names)),
            tuple(label or str(name) for label, name in zip(above, names, strict=True)),
            tuple(map(int, counts)),
        )

    @property
    def superpopulation_of(self) -> tuple[int, ...]:
        """Index of each population's superpopulation, in their sorted order."""
        order = sorted(set(self.superpopulations))
        return tuple(order.index(name) for name in self.superpopulations)

    def index(self, labels: NDArray[np.str_]) -> NDArray[np.int64]:
        """Index of each label of the training panel: (n,) str to (n,) int64."""
        return np.searchsorted(np.array(self.names), labels).astype(np.int64)

    def draw(
        self, labels: NDArray[np.str_] | None, level: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Populations (n,) int64 for labels asked for, populations or superpopulations.

        Of several that fit, one is drawn by its share of the people at uniform `level` (n,).

        Raises PluginError that names the first label that nobody in the training panel has.
        """
        if labels is None:
            return self._by_share(np.ones(len(self.names), bool), level)
        drawn = np.empty(labels.size, np.int64)
        names, above = np.array(self.names), np.array(self.superpopulations)
        for label in np.unique(labels):
            fits = names == label
            if not fits.any():
                fits = above == label
            if not fits.any():
                known = ", ".join(self.names) if any(self.names) else "none: no labels"
                raise PluginError(
                    f"population {str(label)!r} is asked for, but nobody in the training panel "
                    f"has it (there are: {known})"
                )
            rows = labels == label
            drawn[rows] = self._by_share(fits, level[rows])
        return drawn

    def _by_share(self, fits: NDArray[np.bool_], level: NDArray[np.float64]) -> NDArray[np.int64]:
        cumulative = np.cumsum(np.array(self.people) * fits)
        at = np.searchsorted(cumulative, level * cumulative[-1], side="right")
        return np.asarray(np.minimum(at, np.flatnonzero(fits)[-1]), np.int64)
