"""Tables of a user's own: scores, and haplotypes defined by their alleles, compared by carriers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.data.contigs import same_contig
from haplobench.files import expand_path
from haplobench_utility.cohorts import common_labels, measured, noted
from haplobench_utility.score_tables import Allele, Definition, read_table
from haplobench_utility.specs_structure import USER_TABLE, UserTableParams

_MIN_PEOPLE = 5
_UNCALLED = -1


def user_table(
    reference: Reference, cohort: Panel, params: UserTableParams, ctx: RunContext
) -> MetricResult:
    """Scores and haplotypes of a table among the cohort's people and the held-out ones.

    Raises FormatError for a table that can't be read.
    """
    if not params.table:
        return USER_TABLE.not_applicable(
            "no table was given (a suite names one: user-table with params: {table: …})",
            cohort.n_samples,
        )
    definitions = read_table(expand_path(params.table))
    found: dict[str, list[Measurement]] = {s.name: [] for s in USER_TABLE.submetrics}
    for score in (one for one in definitions if not one.locus):
        _compare_scores(score, reference.holdout, cohort, found)
    loci: dict[str, list[Definition]] = defaultdict(list)
    for one in definitions:
        if one.locus:
            loci[one.locus].append(one)
    for locus, haplotypes in loci.items():
        _compare_locus(locus, haplotypes, reference.holdout, cohort, found)
    kinds = {"score": "scores", "haplotype": "haplotypes"}
    kinds |= {"carrier": kinds["haplotype"], "phenotype": kinds["haplotype"]}
    measurements: dict[str, Measurement | list[Measurement]] = {}
    for name, listed in found.items():
        kind = kinds[name.partition("_")[0]]
        why = f"the table has no {kind}"
        if any(bool(one.locus) == (kind == "haplotypes") for one in definitions):
            why = f"fewer than two superpopulations of {_MIN_PEOPLE} people on both sides"
        measurements[name] = listed or Measurement(None, cohort.n_samples, note=why)
    return MetricResult(measurements)


def locate(panel: Panel, alleles: Iterable[Allele]) -> tuple[NDArray[np.int64], list[int], str]:
    """Columns of a panel, which of 0 and 1 the alleles are there, and what is missing.

    What is missing names the sites and alleles; it is empty where all are there.
    """
    columns, codes, missing = [], [], []
    for one in alleles:
        at = int(np.searchsorted(panel.positions, one.position))
        there = at < panel.n_sites and panel.positions[at] == one.position
        if not there or (one.contig and not same_contig(one.contig, panel.contig)):
            missing.append(f"site {one.site}")
        elif one.allele not in (panel.ref[at].upper(), panel.alt[at].upper()):
            missing.append(f"allele {one.allele} of {one.site} ({panel.ref[at]}/{panel.alt[at]})")
        else:
            columns.append(at)
            codes.append(int(one.allele == panel.alt[at].upper()))
    shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else "")
    why = f"not in the panel: {shown}" if missing else ""
    return np.array(columns, np.int64), codes, why


def scores(panel: Panel, score: Definition) -> NDArray[np.float64]:
    """Sum of weights times copies, by person: (n_samples,) float64.

    NaN where an allele is missing. All sites must be there (see `locate`).
    """
    columns, codes, _ = locate(panel, score.alleles)
    weights = np.array([one.weight for one in score.alleles], np.float64)
    alleles = np.asarray(panel.haplotypes[:, columns], np.float64)
    alleles[alleles < 0] = np.nan
    copies = alleles.reshape(panel.n_samples, panel.ploidy, -1).sum(axis=1)
    turned = np.array(codes) == 0
    copies[:, turned] = panel.ploidy - copies[:, turned]
    return np.asarray(copies @ weights, np.float64)


def call_haplotypes(panel: Panel, definitions: Sequence[Definition]) -> NDArray[np.int64]:
    """The definition that each haplotype of a panel has: (n_haplotypes,) int64.

    Of several it has the one of most alleles, of those the first. `len(definitions)` where it
    has none, -1 where an allele of any is missing. All sites must be there (see `locate`).
    """
    called = np.full(panel.n_haplotypes, len(definitions), np.int64)
    known = np.ones(panel.n_haplotypes, bool)
    order = sorted(range(len(definitions)), key=lambda i: (len(definitions[i].alleles), -i))
    for i in order:
        columns, codes, _ = locate(panel, definitions[i].alleles)
        alleles = np.asarray(panel.haplotypes[:, columns])
        known &= (alleles >= 0).all(axis=1)
        called[(alleles == np.array(codes, np.int8)).all(axis=1)] = i
    called[~known] = _UNCALLED
    return called


def _compare_scores(
    score: Definition, holdout: Panel, cohort: Panel, found: dict[str, list[Measurement]]
) -> None:
    labels = {"score": score.name}
    names = ("score_mean_difference", "score_sd_ratio", "score_wasserstein")
    missing = locate(holdout, score.alleles)[2]
    if missing:
        for name in names:
            found[name].append(Measurement(None, 0, labels=labels, note=missing))
        return
    real, own = scores(holdout, score), scores(cohort, score)
    people = [np.isfinite(side) for side in (real, own)]
    left_out = sum(int((~known).sum()) for known in people)
    note = f"{left_out} people left out, alleles are missing" if left_out else ""
    a, b = real[people[0]], own[people[1]]
    spread = float(a.std()) if a.size else 0.0
    lack = "nobody has all alleles called, or held-out people's scores are all the same"
    values: tuple[float | None, ...] = (None, None, None)
    if spread > 0 and b.size:
        shift = (float(b.mean()) - float(a.mean())) / spread
        values = (shift, float(b.std()) / spread, float(wasserstein_distance(a, b)) / spread)
    for name, number in zip(names, values, strict=True):
        found[name].append(measured(number, int(b.size), lack, note, **labels))
    for group in _superpopulations(holdout, cohort):
        x = real[people[0] & (holdout.superpopulation == group)]
        y = own[people[1] & (cohort.superpopulation == group)]
        distance = None
        if spread > 0 and x.size and y.size:
            distance = float(wasserstein_distance(x, y)) / spread
        found["score_wasserstein_superpopulation"].append(
            measured(distance, int(y.size), lack, **labels, superpopulation=str(group))
        )


@dataclass(frozen=True, eq=False)
class _Called:
    """Haplotypes of one panel at one locus.

    Attributes
    ----------
    called : (n_samples, ploidy) int64
        Definitions by person, without people who have an uncalled one.
    superpopulation : (n_samples,) str
    left_out : int
        People.
    """

    called: NDArray[np.int64]
    superpopulation: NDArray[np.str_]
    left_out: int

    @classmethod
    def of(cls, panel: Panel, definitions: Sequence[Definition]) -> _Called:
        called = call_haplotypes(panel, definitions).reshape(panel.n_samples, panel.ploidy)
        whole = (called != _UNCALLED).all(axis=1)
        return cls(called[whole], panel.superpopulation[whole], int((~whole).sum()))

    def within(self, group: str) -> _Called:
        """Those of one superpopulation."""
        mine = self.superpopulation == group
        return _Called(self.called[mine], self.superpopulation[mine], 0)

    def carriers(self, definition: int) -> float:
        """Share of people with one copy or more."""
        return float((self.called == definition).any(axis=1).mean())

    def frequencies(self, n: int) -> NDArray[np.float64]:
        """Of each definition, and of others last: (n + 1,) float64."""
        return np.bincount(self.called.ravel(), minlength=n + 1) / max(1, self.called.size)

    def phenotypes(self, definitions: Sequence[Definition]) -> Counter[tuple[float, ...]]:
        """How many people have each sum of weights, or without weights each set of haplotypes."""
        weights = [one.weight for one in definitions]
        if None in weights:
            return Counter(tuple(row) for row in np.sort(self.called, axis=1).tolist())
        values = np.array([*weights, 0.0], np.float64)
        return Counter((round(float(s), 9),) for s in values[self.called].sum(axis=1))


def _compare_locus(
    locus: str,
    definitions: Sequence[Definition],
    holdout: Panel,
    cohort: Panel,
    found: dict[str, list[Measurement]],
) -> None:
    missing = [f"{one.name}: {why}" for one in definitions
               if (why := locate(holdout, one.alleles)[2])]  # fmt: skip
    usable = [one for one in definitions if not locate(holdout, one.alleles)[2]]
    why = "" if holdout.phased and cohort.phased else "not phased"
    if not usable:
        why = "; ".join(missing)
    names = ("haplotype_rmse", "haplotype_distance", "phenotype_distance")
    if why:
        for name in names:
            found[name].append(Measurement(None, 0, labels={"locus": locus}, note=why))
    for one in definitions:
        labels = {"locus": locus, "haplotype": one.name}
        reason = locate(holdout, one.alleles)[2] or why
        if reason:
            found["carrier_difference"].append(Measurement(None, 0, labels=labels, note=reason))
    if why:
        return
    real, own = _Called.of(holdout, usable), _Called.of(cohort, usable)
    left_out = real.left_out + own.left_out
    note = noted(
        f"left out: {'; '.join(missing)}" if missing else "",
        f"{left_out} people left out, alleles are missing" if left_out else "",
    )
    n = len(own.called)
    groups = _superpopulations(holdout, cohort)
    for group, suffix in [("", ""), *((str(group), "_superpopulation") for group in groups)]:
        a, b = (real.within(group), own.within(group)) if group else (real, own)
        labels = {"locus": locus} | ({"superpopulation": group} if group else {})
        if not len(a.called) or not len(b.called):
            lack = Measurement(None, 0, labels=labels, note="nobody has all alleles called")
            for name in (f"phenotype_distance{suffix}", *(() if group else names[:2])):
                found[name].append(lack)
            continue
        for i, one in enumerate(usable):
            found[f"carrier_difference{suffix}"].append(
                Measurement(
                    b.carriers(i) - a.carriers(i),
                    len(b.called),
                    labels={**labels, "haplotype": one.name},
                    note=""
                    if group
                    else f"{b.carriers(i):.1%} carry it; real: {a.carriers(i):.1%}",
                )
            )
        found[f"phenotype_distance{suffix}"].append(
            Measurement(
                _total_variation(a.phenotypes(usable), b.phenotypes(usable)),
                len(b.called),
                labels=labels,
                note=note,
            )
        )
        if not group:
            difference = b.frequencies(len(usable)) - a.frequencies(len(usable))
            rmse = float(np.sqrt((difference**2).mean()))
            distance = float(np.abs(difference).sum() / 2)
            for name, number in zip(names, (rmse, distance), strict=False):
                found[name].append(Measurement(number, n, labels=labels, note=note))


def _superpopulations(holdout: Panel, cohort: Panel) -> NDArray[np.str_]:
    """Those with people enough on both sides; none where there is only one."""
    groups = common_labels("superpopulation", _MIN_PEOPLE, holdout, cohort)
    return groups if groups.size > 1 else groups[:0]


def _total_variation(one: Counter[tuple[float, ...]], other: Counter[tuple[float, ...]]) -> float:
    totals = one.total(), other.total()
    keys = one.keys() | other.keys()
    return sum(abs(one[key] / totals[0] - other[key] / totals[1]) for key in keys) / 2
