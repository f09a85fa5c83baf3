"""What several metrics of utility share: notes, real panels, and people with labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, Panel, RecombinationMap, Reference
from haplobench.data.split import stratified_sample

Level = Literal["population", "superpopulation"]


def measured(
    value: float | None, n: int, why_not: str, note: str = "", **labels: str
) -> Measurement:
    """A measurement; or one that is not applicable, for the reason `why_not`."""
    if value is None or not np.isfinite(value):
        return Measurement(None, n, labels=labels, note=why_not)
    return Measurement(float(value), n, labels=labels, note=note)


def noted(*parts: str) -> str:
    """Parts of a note that aren't empty, as one."""
    return "; ".join(part for part in parts if part)


def no_real_panels(reference: Reference) -> str:
    """Why no real panel can be drawn to hold a cohort against; empty where one can.

    A cohort that is scored without its training panel has the same people for both: panels of
    them would be tested on themselves.
    """
    if reference.train.digest != reference.holdout.digest:
        return ""
    return "no training people beside the held-out ones, to draw real panels of"


def morgans(panel: Panel, recombination_map: RecombinationMap | None) -> NDArray[np.float64]:
    """Genetic positions of a panel's sites in Morgans; 1 cM/Mb where there is no map."""
    if recombination_map is None:
        start = int(panel.positions[0]) if panel.n_sites else 1
        recombination_map = RecombinationMap.uniform(start, start + max(1, panel.span))
    return recombination_map.at(panel.positions) / 100


def as_many(train: Panel, holdout: Panel, n: int, key: str) -> Panel:
    """`n` training people, of the populations that are held out: what a floor's draw is.

    `key` seeds the draw.
    """
    everyone = np.arange(train.n_samples, dtype=np.int64)
    chosen = stratified_sample(train, everyone, n, key, holdout, whole_families=False)
    return train.select_samples(chosen)


def common_labels(level: Level, least: int, *panels: Panel) -> NDArray[np.str_]:
    """Labels that at least so many people of each panel have, sorted: (n,) str."""
    shared: set[str] | None = None
    for panel in panels:
        names, sizes = np.unique(getattr(panel, level), return_counts=True)
        mine = set(names[(sizes >= least) & (names != "")].tolist())
        shared = mine if shared is None else shared & mine
    return np.array(sorted(shared or ()), np.str_)


def by_label(
    level: Level, values: Mapping[str, tuple[float, int]], why_not: str, n: int
) -> Measurement | list[Measurement]:
    """A measurement for each label's value and number; not applicable where there is none."""
    if not values:
        return Measurement(None, n, note=why_not)
    return [
        measured(value, size, why_not, **{level: name}) for name, (value, size) in values.items()
    ]


def window_starts(panel: Panel, length: int, step: int) -> NDArray[np.int64]:
    """First positions of windows, each whole inside a panel's region: (n_windows,) int64, bp."""
    if not panel.n_sites:
        return np.empty(0, np.int64)
    first, last = int(panel.positions[0]), int(panel.positions[-1])
    return np.arange(first, last - length + 2, step, dtype=np.int64)
