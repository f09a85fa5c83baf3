"""Who is held out over 20 seeds, and how wide the floor is, on panels that are hard to split.

`python benchmarks/split_table.py` prints a table: 300 people of the embedded panel with 60
children or 50 people under a second name added, undeclared; 40 of them in populations of one;
100 in populations of two. Torn families and copies are counted by whom they were made of, not by
what the harness found. The floor's width is that of the AF RMSE over ten draws, the least of all
seeds; `holdout` is the floor of privacy metrics. It exits with 1 if a bar is missed.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from haplobench import Panel, Reference
from haplobench.data.relatives import find_relatives
from haplobench.data.split import keep_together, split_panel
from haplobench.datasets import EmbeddedParams
from haplobench.datasets.embedded import Embedded
from haplobench.runner.floor import floor_cohort
from haplobench.testing import example_context, example_panel

SEEDS = range(1, 21)
DRAWS = 10


@dataclass(frozen=True)
class Case:
    """A panel, and pairs of its people who must not be on both sides."""

    name: str
    panel: Panel
    kin: np.ndarray[tuple[int, int], np.dtype[np.int64]]


def strangers() -> Panel:
    """The embedded panel: 300 Europeans."""
    with tempfile.TemporaryDirectory() as folder:
        ctx = example_context(Path(folder), example_panel(4, n_sites=4))
        return Embedded().load(EmbeddedParams(), ctx).panel


def with_people(panel: Panel, haplotypes: np.ndarray, like: np.ndarray) -> Panel:
    """The panel with more people, labelled like some of it."""
    return panel.with_haplotypes(
        np.concatenate([panel.haplotypes, haplotypes]),
        samples=[*panel.samples, *(f"new{i}" for i in range(like.size))],
        population=np.concatenate([panel.population, panel.population[like]]),
        superpopulation=np.concatenate([panel.superpopulation, panel.superpopulation[like]]),
    )


def trios(panel: Panel, n: int = 60) -> Case:
    """Children of n couples, a gamete in thirty recombined."""
    rng = np.random.default_rng(1)
    couples = rng.permutation(panel.n_samples)[: 2 * n].reshape(n, 2)
    gametes = panel.haplotypes[2 * couples.ravel() + rng.integers(0, 2, 2 * n)].copy()
    for gamete, parent in zip(gametes, couples.ravel(), strict=True):
        if rng.random() < 1 / 30:
            cut = int(rng.integers(panel.n_sites))
            gamete[cut:] = panel.haplotypes[2 * parent + rng.integers(0, 2), cut:]
    children = panel.n_samples + np.arange(n)
    kin = np.concatenate([np.stack([couples[:, side], children], axis=1) for side in range(2)])
    return Case(f"{n} trios", with_people(panel, gametes, couples[:, 0]), kin)


def duplicates(panel: Panel, n: int = 50) -> Case:
    """n people again: under another name, with phase swapped and one allele in 1,000 mistyped."""
    rng = np.random.default_rng(2)
    people = rng.permutation(panel.n_samples)[:n]
    again = panel.haplotypes.reshape(-1, 2, panel.n_sites)[people][:, ::-1].copy()
    again[rng.random(again.shape) < 0.001] ^= 1
    kin = np.stack([people, panel.n_samples + np.arange(n)], axis=1)
    grown = with_people(panel, again.reshape(2 * n, -1), people)
    return Case(f"{n} people under two names", grown, kin)


def small_populations(panel: Panel, n: int, size: int) -> Case:
    """n populations of `size` people in five superpopulations of unequal numbers."""
    chosen = np.random.default_rng(3).permutation(panel.n_samples)[: n * size]
    above = np.array(["AFR", "AMR", "EAS", "EUR", "SAS"])[np.arange(n) * 13 % n * 5 // n]
    labelled = replace(
        panel.select_samples(np.sort(chosen)),
        population=np.repeat([f"POP{i:02}" for i in range(n)], size),
        superpopulation=np.repeat(above, size),
    )
    return Case(f"{n} populations of {size}", labelled, np.empty((0, 2), np.int64))


def width(draw: Callable[[int], tuple[Reference, Panel]]) -> float:
    """Range of the AF RMSE over draws of the floor."""
    values = []
    for i in range(DRAWS):
        reference, cohort = draw(i)
        difference = cohort.frequencies - reference.holdout.frequencies
        values.append(float(np.sqrt((difference**2).mean())))
    return max(values) - min(values)


def row(case: Case) -> tuple[list[str], bool]:
    """Cells of the table, and whether the bars are met."""
    together = keep_together(case.panel, find_relatives(case.panel).pairs)
    torn = {"before": 0, "after": 0}
    held = np.zeros(case.panel.n_samples, np.int64)
    sizes, empty, shares, widths = [], [], [], []
    for seed in SEEDS:
        for name, panel in (("before", case.panel), ("after", together)):
            split = split_panel(panel, 0.2, 0.1, seed)
            torn[name] += int((np.isin(case.kin, split.holdout).sum(axis=1) == 1).sum())
        held[split.holdout] += 1
        sizes.append(split.holdout.size)
        out, train = (together.select_samples(part) for part in (split.holdout, split.train))
        empty.append(len(set(together.population.tolist()) - set(out.population.tolist())))
        everybody = Counter(together.superpopulation.tolist())
        counts = Counter(out.superpopulation.tolist())
        shares += [counts[name] / n for name, n in everybody.items()]
        widths.append(
            [
                width(lambda i, kind=kind: floor_cohort(train, out, kind, i, seed))  # noqa: B023
                for kind in ("train", "holdout")
            ]
        )
    least = np.min(widths, axis=0)
    cells = [
        case.name,
        str(case.panel.n_samples),
        f"{min(sizes)}-{max(sizes)}",
        f"{held.min()}-{held.max()}",
        f"{min(shares):.2f}-{max(shares):.2f}",
        f"{min(empty)}-{max(empty)} of {len(set(together.population.tolist()))}",
        f"{torn['before']} / {torn['after']}",
        f"{least[0]:.4f} / {least[1]:.4f}",
    ]
    return cells, torn["after"] <= 0.02 * torn["before"] and bool((least > 0).all())


def main() -> int:
    """Print the table."""
    panel = strangers()
    cases = [
        Case("as embedded", panel, np.empty((0, 2), np.int64)),
        trios(panel),
        duplicates(panel),
        small_populations(panel, 40, 1),
        small_populations(panel, 50, 2),
    ]
    heads = [
        "panel",
        "people",
        "held out",
        "times each, of 20",
        "share of a superpopulation",
        "populations with nobody held out",
        "pairs torn, undeclared / kept together",
        "floor's width, train / holdout",
    ]
    rows = [row(case) for case in cases]
    for cells in (heads, ["---"] * len(heads), *(cells for cells, _ in rows)):
        print("| " + " | ".join(cells) + " |")
    return 0 if all(met for _, met in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
