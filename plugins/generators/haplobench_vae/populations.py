"""Labels that the prior is conditioned on: populations, and their superpopulations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PluginError


@dataclass(frozen=True)
class Populations:
    """The populations of a training panel.

    Attributes
    ----------
    names : tuple[str, ...]
        Sorted; one empty name where people have no label.
    superpopulations : tuple[str, ...]
        Of each population; its own name where it has none.
    shares : tuple[float, ...]
        Of the training people.
    """

    names: tuple[str, ...]
    superpopulations: tuple[str, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, panel: Panel) -> Populations:
        """The populations of `panel`."""
        names, first, counts = np.unique(panel.population, return_index=True, return_counts=True)
        above = [
            str(panel.superpopulation[i]) or str(name) for name, i in zip(names, first, strict=True)
        ]
        shares = (counts / panel.n_samples).tolist()
        return cls(tuple(map(str, names)), tuple(above), tuple(shares))

    @property
    def superpopulation_of(self) -> tuple[int, ...]:
        """Index of each population's superpopulation."""
        order = sorted(set(self.superpopulations))
        return tuple(order.index(name) for name in self.superpopulations)

    def index(self, labels: NDArray[np.str_]) -> NDArray[np.int64]:
        """Index of each population label of the training panel: (n,) str to (n,) int64."""
        return np.searchsorted(np.array(self.names), labels).astype(np.int64)

    def draw(
        self, labels: NDArray[np.str_] | None, level: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Populations (n,) int64 for the labels asked for.

        A label is a population, or a superpopulation, of which a population is drawn by its
        share at uniform `level` (n,); None asks for any. Raises PluginError that names the
        first label nobody in the training panel has.
        """
        if labels is None:
            return self._by_share(np.ones(len(self.names), bool), level)
        drawn = np.empty(labels.size, np.int64)
        for label in np.unique(labels):
            rows = labels == label
            if label in self.names:
                drawn[rows] = self.names.index(str(label))
            elif label in self.superpopulations:
                members = np.array([name == label for name in self.superpopulations])
                drawn[rows] = self._by_share(members, level[rows])
            else:
                known = ", ".join(self.names) if any(self.names) else "none: no labels"
                raise PluginError(
                    f"population {str(label)!r} is asked for, but nobody in the training panel "
                    f"has it (there are: {known})"
                )
        return drawn

    def _by_share(
        self, members: NDArray[np.bool_], level: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        cumulative = np.cumsum(np.array(self.shares) * members)
        at = np.searchsorted(cumulative, level * cumulative[-1], side="right")
        return np.asarray(np.minimum(at, np.flatnonzero(members)[-1]), np.int64)
