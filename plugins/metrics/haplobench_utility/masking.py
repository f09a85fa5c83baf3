"""Sites of held-out people that are hidden and imputed, and how near to the truth that comes."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PanelError, Reference, RunContext
from haplobench.data.panel import columns_of
from haplobench_utility import imputation_programs
from haplobench_utility.cohorts import morgans, no_real_panels
from haplobench_utility.copying_model import CopyingModel
from haplobench_utility.specs.studies import TypedParams

_LEAST_SITES = 20
# Below this variance of dosages everybody is imputed alike, but for rounding.
_ALIKE = 1e-8


@dataclass(frozen=True, eq=False)
class Masked:
    """Panels of the sites compared, and which of these are typed.

    Attributes
    ----------
    train, holdout, cohort : Panel
        At the same sites, without missing alleles.
    typed, untyped : (n,) int64
        Indices of sites, increasing.
    maf : (n_untyped,) float64
        Minor allele frequency in real people, training and held-out.
    morgans : (n_sites,) float64
    unreal : str
        Why no real panel can be drawn; empty where one can.
    note : str
        What was left out, and by which map.
    key : hashable
        What decides what real panels give here, beside the panel.
    """

    train: Panel
    holdout: Panel
    cohort: Panel
    typed: NDArray[np.int64]
    untyped: NDArray[np.int64]
    maf: NDArray[np.float64]
    morgans: NDArray[np.float64]
    unreal: str
    note: str
    key: Hashable

    def impute(
        self, haplotypes: NDArray[np.int8], params: TypedParams, ctx: RunContext
    ) -> NDArray[np.float32]:
        """Probability of the alternate allele in held-out haplotypes, from reference haplotypes.

        `haplotypes` (n, n_sites) int8; (n_haplotypes, n_untyped) float32.
        """
        seen = columns_of(self.holdout.haplotypes, self.typed)
        if params.engine == "own":
            model = CopyingModel.of(
                haplotypes, self.typed, self.morgans, ne=params.ne, error=params.error
            )
            return model.impute(seen, ctx.threads)
        return imputation_programs.impute(
            params.engine,
            haplotypes,
            seen,
            self.typed,
            self.holdout.positions,
            self.morgans,
            params.ne,
            params.error,
            ctx.scratch,
        )


def masked(reference: Reference, cohort: Panel, params: TypedParams, ctx: RunContext) -> Masked:
    """Lay out one imputation: sites, people, and what is typed.

    Raises PanelError if too few sites are left, none is typed or none is imputed.
    """
    panels = (reference.train, reference.holdout, cohort)
    complete = np.logical_and.reduce(
        [panel.allele_counts[1] == panel.n_haplotypes for panel in panels]
    )
    chosen = np.flatnonzero(complete)
    notes = []
    if chosen.size < complete.size:
        notes.append(f"{complete.size - chosen.size:,} sites with missing alleles left out")
    if chosen.size > params.max_sites:
        first = (chosen.size - params.max_sites) // 2
        notes.append(f"the middle {params.max_sites:,} of {chosen.size:,} sites")
        chosen = chosen[first : first + params.max_sites]
    if chosen.size < _LEAST_SITES:
        raise PanelError(
            f"{chosen.size} sites without missing alleles, at least {_LEAST_SITES} are needed"
        )
    if chosen.size < complete.size:
        panels = tuple(panel.select_sites(chosen) for panel in panels)  # type: ignore[assignment]
    train, holdout, cohort = panels
    holdout, said = _some_people(holdout, params.max_people, "held-out people")
    unreal = no_real_panels(reference)
    most = max(1, params.max_haplotypes // train.ploidy)
    if not unreal:
        most = min(train.n_samples, most)
    cohort, cut = _some_people(cohort, most, "people of the cohort")
    notes += [text for text in (said, cut) if text]
    counts = train.allele_counts + reference.holdout.allele_counts[:, chosen]
    frequency = counts[0] / counts[1]
    maf = np.minimum(frequency, 1 - frequency)
    typed = typed_sites(train.positions, maf, params)
    untyped = np.setdiff1d(np.arange(maf.size), typed)
    if typed.size < 2 or not untyped.size:
        raise PanelError(
            f"{typed.size} of {maf.size:,} sites would be typed; two or more that differ among "
            "real people are needed, and others to impute"
        )
    if ctx.recombination_map is None:
        notes.append("no recombination map: 1 cM/Mb")
    at = morgans(train, ctx.recombination_map)
    sha = hashlib.sha256(chosen.tobytes() + at.tobytes()).hexdigest()
    key = (reference.train.digest, reference.holdout.digest, sha, params.model_dump_json())
    who = "" if params.engine == "own" else f"by {params.engine}"
    size = f"{typed.size:,} of {maf.size:,} sites typed; {holdout.n_samples:,} held-out people"
    note = "; ".join(text for text in (size, who, *notes) if text)
    return Masked(train, holdout, cohort, typed, untyped, maf[untyped], at, unreal, note, key)


def _some_people(panel: Panel, most: int, whose: str) -> tuple[Panel, str]:
    """At most so many people, the same ones each time; and a note, empty where all stay."""
    if panel.n_samples <= most:
        return panel, ""
    rows = np.random.default_rng(0).choice(panel.n_samples, most, replace=False)
    return panel.select_samples(np.sort(rows)), f"{most:,} of {panel.n_samples:,} {whose}"


def typed_sites(
    positions: NDArray[np.int64], maf: NDArray[np.float64], params: TypedParams
) -> NDArray[np.int64]:
    """Indices of typed sites, increasing: see `TypedParams.typed`. Fewer where few are common."""
    n = max(2, round(params.share * maf.size))
    if params.typed == "random":
        able = np.flatnonzero(maf > 0)
        rng = np.random.default_rng(params.typed_seed)
        return np.sort(rng.choice(able, min(n, able.size), replace=False))
    common = np.flatnonzero(maf >= params.typed_maf)
    if common.size <= n:
        return common
    edges = np.linspace(positions[0], positions[-1] + 1, n + 1)
    cell = np.searchsorted(edges, positions[common], side="right") - 1
    away = np.abs(positions[common] - (edges[cell] + edges[cell + 1]) / 2)
    # By cell, then by distance from its middle: the first of each cell.
    order = np.lexsort((away, cell))
    _, first = np.unique(cell[order], return_index=True)
    typed = common[np.sort(order[first])]
    rest = np.setdiff1d(common, typed)
    more = rest[np.linspace(0, rest.size - 1, n - typed.size).round().astype(np.int64)]
    return np.union1d(typed, more)


@dataclass(frozen=True, eq=False)
class SiteSums:
    """Sums over people at each imputed site: x imputed, y true alternate alleles of a person.

    `people` and `haplotypes` are numbers of them, the others (n_untyped,) float64; `squares` is
    the sum over haplotypes of their squared dosages. `wrong` and `counted` are imputed genotypes,
    rounded: those that have an alternate allele, truly or as imputed, and the wrong ones of them.
    """

    people: int
    haplotypes: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    xx: NDArray[np.float64]
    yy: NDArray[np.float64]
    xy: NDArray[np.float64]
    squares: NDArray[np.float64]
    wrong: NDArray[np.float64]
    counted: NDArray[np.float64]

    @classmethod
    def of(
        cls, probabilities: NDArray[np.float32], truth: NDArray[np.int8], ploidy: int
    ) -> SiteSums:
        """Of imputed and true alleles of haplotypes, (n_haplotypes, n_untyped) both."""
        n, n_sites = truth.shape
        shape = (n // ploidy, ploidy, n_sites)
        x, y = (np.zeros((shape[0], n_sites)) for _ in range(2))
        for strand in range(ploidy):
            x += probabilities[strand::ploidy]
            y += truth[strand::ploidy]
        called = np.rint(x)

        def over_people(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
            return np.asarray(np.einsum("ij,ij->j", left, right, dtype=np.float64))

        return cls(
            people=shape[0],
            haplotypes=n,
            x=x.sum(axis=0),
            y=y.sum(axis=0),
            xx=over_people(x, x),
            yy=over_people(y, y),
            xy=over_people(x, y),
            squares=over_people(probabilities, probabilities),
            wrong=(called != y).sum(axis=0, dtype=np.float64),
            counted=((called > 0) | (y > 0)).sum(axis=0, dtype=np.float64),
        )

    def __add__(self, other: SiteSums) -> SiteSums:
        return SiteSums(
            *(mine + others for mine, others in zip(vars(self).values(), vars(other).values(),
                                                    strict=True))
        )  # fmt: skip

    def at(self, sites: NDArray[np.bool_]) -> SiteSums:
        """At some of the sites."""
        arrays: dict[str, Any] = {
            name: values[sites] for name, values in vars(self).items() if np.ndim(values)
        }
        return replace(self, **arrays)

    @property
    def varies(self) -> NDArray[np.bool_]:
        """Sites at which people truly differ: (n_untyped,) bool."""
        return self.people * self.yy - self.y**2 > 0

    @property
    def r2(self) -> NDArray[np.float64]:
        """Squared correlation of x and y; 0 where all x or all y are alike."""
        n = self.people
        x, y, xy = n * self.xx - self.x**2, n * self.yy - self.y**2, n * self.xy - self.x * self.y
        r2 = np.zeros(x.size)
        np.divide(xy**2, x * y, out=r2, where=(x > _ALIKE * n * n) & (y > 0))
        return r2

    @property
    def estimated_r2(self) -> NDArray[np.float64]:
        """What Minimac calls Rsq: variance of haplotype dosages over p (1 - p); 0 where p is 0, 1.

        Das et al. 2016, supplementary note; Li et al. 2010, Genetic Epidemiology 34:816-834.
        """
        p = self.x / self.haplotypes
        r2, spread = np.zeros(p.size), p * (1 - p)
        np.divide(self.squares / self.haplotypes - p**2, spread, out=r2, where=spread > _ALIKE)
        return r2

    @property
    def aggregate_r2(self) -> float | None:
        """Squared correlation over all sites and people together; None where either is constant."""
        n = self.people * self.x.size
        x, y, xx, yy, xy = (float(v.sum()) for v in (self.x, self.y, self.xx, self.yy, self.xy))
        spread = (n * xx - x * x) * (n * yy - y * y)
        return (n * xy - x * y) ** 2 / spread if spread > 0 else None

    @property
    def slope(self) -> float | None:
        """Slope of y on x, both about their site's mean, over all sites; None if x is constant."""
        x = float((self.xx - self.x**2 / self.people).sum())
        xy = float((self.xy - self.x * self.y / self.people).sum())
        return xy / x if x > _ALIKE * self.people else None
