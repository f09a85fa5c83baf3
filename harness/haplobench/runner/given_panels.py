"""Panels that are to be compared: cut to common sites, filtered, and nobody in two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from haplobench.data.genome import RecombinationMap, ReferenceSequence
from haplobench.data.identity import SamePeople, same_people
from haplobench.data.panel import Panel
from haplobench.data.prepared import Prepared
from haplobench.data.sites import MatchedSites, match_sites
from haplobench.errors import BenchError
from haplobench.files import digest_of
from haplobench.plugin import RunContext
from haplobench.runner.worker.prepare import make_prepared

AbsentSites = Literal["fixed", "leave-out"]

_MOSTLY = 0.5
# Of the real sites, so many must be comparable: below the first it is refused, below the
# second said loudly.
_FEWEST, _MOST = 0.1, 0.9
# Of the real region's length, or sites: what two regions may differ by and still be called the
# same.
_EDGE = 0.05
_FEWEST_PEOPLE = {"real": 4, "training": 4, "synthetic": 2}
_MISSING = "missing alleles"
_NOT_SHARED = "not in both real panels"


@dataclass(frozen=True)
class Panels:
    """Panels that fit together: the real ones prepared, the cohort at their sites or its own.

    `remarks` are lines on what they have in common, for the user.
    """

    prepared: Prepared
    cohort: Panel
    site_matched: bool
    has_train: bool
    remarks: tuple[str, ...]

    @property
    def key(self) -> str:
        """Digest of all of it."""
        return digest_of(
            [self.prepared.facts.content, self.cohort.digest, self.site_matched, self.has_train]
        )


@dataclass(frozen=True)
class SiteSettings:
    """Which sites are compared.

    Attributes
    ----------
    min_maf : float
        Least minor allele frequency among the training (else the real) people.
    max_missing : float
        Greatest share of missing alleles in any of the panels.
    absent : str
        What a real site is that lies within the synthetic panel's region and isn't in it:
        `fixed`, as tools mean it that leave out sites at which nobody differs; or `leave-out`,
        not compared, for tools that never had it. What an absent site is fixed for: the
        reference allele, if the panel has sites fixed for the alternate one and so lacks only
        those where nobody carries that; else what most of the training (else the real) people
        carry.
    unread : int
        Records of the synthetic file that were left out on reading: where they are as many as
        the absent sites, these may be among them, and are not compared.
    """

    min_maf: float = 0.01
    max_missing: float = 0.0
    absent: AbsentSites = "fixed"
    unread: int = 0


def fit_together(
    real: Panel,
    synthetic: Panel,
    train: Panel | None,
    settings: SiteSettings,
    ctx: RunContext,
    recombination_map: RecombinationMap | None = None,
    sequence: ReferenceSequence | None = None,
) -> Panels:
    """Cut real, training and synthetic panel to common sites, and filter; see `evaluate`.

    Raises BenchError if they don't fit together, or if too little is left to compare.
    """
    for name, panel in (("real", real), ("training", train), ("synthetic", synthetic)):
        if panel is not None:
            _check_people(name, panel, real.ploidy)
    real, synthetic, train = _with_positions(real, synthetic, train)
    skipped: dict[str, int] = {}
    remarks: list[str] = []
    learned = real
    if train is not None:
        real, learned = _same_sites(real, train, skipped)
        _refuse_trained_on(real, learned, remarks)
    real_sites = real.n_sites
    matched = match_sites(real, synthetic)
    inside = _inside(real, synthetic)
    site_matched = 0 < matched.n >= _MOSTLY * int(inside.sum())
    if site_matched:
        real, learned, cohort = _at_real_sites(
            real, learned, synthetic, matched, inside, settings, skipped, remarks
        )
        _refuse_real_people(cohort, real, None if train is None else learned)
    else:
        cohort = _at_own_sites(synthetic, settings, skipped)
        remarks.append(
            f"{matched.n:,} of the {real_sites:,} real sites are among the synthetic panel's "
            f"{synthetic.n_sites:,}: what compares site by site is left out"
        )
        real, learned, cohort = _over(real, learned, cohort, skipped, remarks)
    missing = _too_missing(real, settings) | _too_missing(learned, settings)
    skipped[_MISSING] = int(missing.sum())
    if missing.any():
        real, learned = real.select_sites(~missing), learned.select_sites(~missing)
        cohort = cohort.select_sites(~missing) if site_matched else cohort
    _check_left(real.n_sites, real_sites, skipped, remarks)
    prepared = make_prepared(
        train=learned,
        holdout=real,
        validation=np.empty(0, np.int64),
        recombination_map=recombination_map,
        sequence=sequence,
        min_maf=settings.min_maf,
        max_missing=settings.max_missing,
        skipped={reason: n for reason, n in skipped.items() if n},
        provenance={},
        ctx=ctx,
        keep_rare=True,
    )
    if site_matched:
        cohort = replace(
            cohort,
            ref=prepared.train.ref,
            alt=prepared.train.alt,
            contig=prepared.train.contig,
            build=prepared.train.build,
        )
    return Panels(prepared, cohort, site_matched, train is not None, tuple(remarks))


def _check_people(name: str, panel: Panel, ploidy: int) -> None:
    if panel.ploidy != ploidy:
        raise BenchError(f"the {name} panel's ploidy is {panel.ploidy}, the real one's {ploidy}")
    fewest = _FEWEST_PEOPLE[name]
    if panel.n_samples < fewest or panel.n_haplotypes < 4:
        why = "to make a floor" if name != "synthetic" else "for numbers that say anything"
        raise BenchError(
            f"{panel.n_samples} {name} people with {panel.n_haplotypes} haplotypes; at least "
            f"{max(fewest, 4 // ploidy)} are needed {why}"
        )


# --- sites --------------------------------------------------------------------------------------


def _at_real_sites(
    real: Panel,
    learned: Panel,
    synthetic: Panel,
    matched: MatchedSites,
    inside: NDArray[np.bool_],
    settings: SiteSettings,
    skipped: dict[str, int],
    remarks: list[str],
) -> tuple[Panel, Panel, Panel]:
    """Real, training and synthetic panel at the real sites that the synthetic one is known at."""
    there = np.zeros(real.n_sites, bool)
    there[matched.first] = True
    unlike = np.isin(real.positions, synthetic.positions) & ~there
    absent = inside & ~there & ~unlike
    cohort = matched.second_at(synthetic)
    remark = (
        f"{matched.n:,} of the {real.n_sites:,} real sites are among the synthetic panel's "
        f"{synthetic.n_sites:,}"
    )
    n_absent = int(absent.sum())
    if n_absent and settings.absent == "fixed" and n_absent > settings.unread:
        remark += (
            f"; {n_absent:,} more lie within its region and count as fixed, as tools mean it that "
            "leave out sites at which nobody differs; for a tool that never had them: "
            "--absent-sites leave-out"
        )
        there |= absent
        cohort = _filled(cohort, learned.select_sites(there))
    elif n_absent and settings.absent == "fixed":
        remark += (
            f"; {n_absent:,} more lie within its region and are not compared: {settings.unread:,} "
            "of its records were left out on reading"
        )
    remarks.append(remark)
    if (~inside).sum() > _EDGE * real.n_sites:
        remarks.append(
            f"the synthetic panel covers {synthetic.positions[0]:,}-{synthetic.positions[-1]:,} "
            f"of the real region {real.positions[0]:,}-{real.positions[-1]:,}: "
            f"{int((~inside).sum()):,} real sites outside are not compared"
        )
    skipped |= {
        "not in the synthetic panel": int((~there & ~unlike).sum()),
        "only in the synthetic panel": synthetic.n_sites - matched.n - matched.other_alleles,
        "other alleles in the synthetic panel": matched.other_alleles - matched.other_strand,
        "other strand's alleles in the synthetic panel": matched.other_strand,
    }
    known = ~_too_missing(cohort, settings)
    skipped[f"{_MISSING} in the synthetic panel"] = int((~known).sum())
    chosen = np.flatnonzero(there)[known]
    return real.select_sites(chosen), learned.select_sites(chosen), cohort.select_sites(known)


def _filled(cohort: Panel, learned: Panel) -> Panel:
    """A cohort at all sites of a panel that has its own: fixed where it has none."""
    alternate, called = cohort.allele_counts
    if (alternate == called).any():
        fixed = np.zeros(learned.n_sites, np.int8)
    else:
        fixed = (learned.frequencies > 0.5).astype(np.int8)
    haplotypes = np.repeat(fixed[None], cohort.n_haplotypes, axis=0)
    haplotypes[:, np.searchsorted(learned.positions, cohort.positions)] = cohort.haplotypes
    return replace(
        cohort,
        haplotypes=haplotypes,
        positions=learned.positions,
        ref=learned.ref,
        alt=learned.alt,
    )


def _at_own_sites(synthetic: Panel, settings: SiteSettings, skipped: dict[str, int]) -> Panel:
    """A cohort at those of its own sites that are to be compared."""
    missing = _too_missing(synthetic, settings)
    chosen = ~missing & synthetic.common_sites(settings.min_maf)
    skipped[f"{_MISSING} in the synthetic panel"] = int(missing.sum())
    if missing.sum() > (1 - _FEWEST) * synthetic.n_sites:
        raise BenchError(
            f"only {int((~missing).sum()):,} of the synthetic panel's {synthetic.n_sites:,} sites "
            f"have no more than {settings.max_missing:g} of their alleles missing",
            hint="--max-missing allows more",
        )
    if not chosen.any():
        raise BenchError(
            "the synthetic panel has no site without missing alleles and a MAF of "
            f"{settings.min_maf:g}"
        )
    return synthetic.select_sites(chosen)


def _too_missing(panel: Panel, settings: SiteSettings) -> NDArray[np.bool_]:
    called = panel.allele_counts[1]
    too_missing: NDArray[np.bool_] = (
        panel.n_haplotypes - called > settings.max_missing * panel.n_haplotypes
    )
    return too_missing


def _check_left(left: int, n: int, skipped: Mapping[str, int], remarks: list[str]) -> None:
    """Refuse to score few of the real sites, and say loudly if it isn't most."""
    if left > _MOST * n:
        return
    reasons = {
        reason: count
        for reason, count in skipped.items()
        if count and not reason.startswith("only in") and reason != _NOT_SHARED
    }
    why = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
    text = f"only {left:,} of the {n:,} real sites can be compared" + (f": {why}" if why else "")
    if left >= max(2, _FEWEST * n):
        remarks.append(f"warning: {text}")
        return
    missing = sum(count for reason, count in reasons.items() if reason.startswith(_MISSING))
    raise BenchError(
        text,
        hint="--max-missing allows missing alleles"
        if missing > n / 2
        else "give panels of the same region, or the part that they share as --region",
    )


def _inside(real: Panel, synthetic: Panel) -> NDArray[np.bool_]:
    """Real sites between the synthetic panel's first and last."""
    first, last = synthetic.positions[0], synthetic.positions[-1]
    inside: NDArray[np.bool_] = (real.positions >= first) & (real.positions <= last)
    return inside


def _over(
    real: Panel, learned: Panel, cohort: Panel, skipped: dict[str, int], remarks: list[str]
) -> tuple[Panel, Panel, Panel]:
    """Panels of other sites, cut to the region that they share.

    A simulator's coordinates often start at 0: a cohort outside the real region is moved to
    its start. Unmoved, or compared with a longer region, it would seem to lack diversity.
    """
    first, last = int(real.positions[0]), int(real.positions[-1])
    begin, end = int(cohort.positions[0]), int(cohort.positions[-1])
    if not ((cohort.positions >= first) & (cohort.positions <= last)).any():
        remarks.append(
            f"its sites ({cohort.contig}:{begin}-{end}) lie outside the real region "
            f"({real.contig}:{first}-{last}) and were moved to its start"
        )
        cohort = replace(cohort, positions=cohort.positions + (first - begin))
        begin, end = first, first + end - begin
    length = last - first + 1
    start, stop = max(first, begin), min(last, end)
    if stop - start + 1 < _FEWEST * length:
        raise BenchError(
            f"the synthetic panel covers {max(0, stop - start + 1):,} of the real region's "
            f"{length:,} bp",
            hint="give the part that they share as --region",
        )
    if start - first + last - stop > _EDGE * length:
        within = (real.positions >= start) & (real.positions <= stop)
        skipped["outside the synthetic panel's region"] = int((~within).sum())
        remarks.append(
            f"the synthetic panel covers {start}-{stop} of the real region {first}-{last}: "
            "compared there"
        )
        real, learned = real.select_sites(within), learned.select_sites(within)
    if start - begin + end - stop > _EDGE * length:
        within = (cohort.positions >= start) & (cohort.positions <= stop)
        remarks.append(
            f"{int((~within).sum()):,} of the synthetic panel's sites lie outside the real "
            "region and are not compared"
        )
        cohort = cohort.select_sites(within)
    return real, learned, cohort


def _with_positions(
    real: Panel, synthetic: Panel, train: Panel | None
) -> tuple[Panel, Panel, Panel | None]:
    """The panels, those without positions (`.hapt` without a legend) matched by column.

    Raises BenchError where there are other numbers of columns.
    """
    panels = {"real": real, "training": train, "synthetic": synthetic}
    given = {name: panel for name, panel in panels.items() if panel is not None}
    places = next((panel for panel in given.values() if not _is_numbered(panel)), real)
    origin = next(name for name, panel in given.items() if panel is places)
    for name, panel in given.items():
        if panel is places or not _is_numbered(panel):
            continue
        if panel.n_sites != places.n_sites:
            raise BenchError(
                f"the {name} panel has no positions and {panel.n_sites:,} columns, the {origin} "
                f"panel {places.n_sites:,} sites; columns are matched in order where there are "
                "as many",
                hint="put a .legend of the .hapt file's name beside it",
            )
        given[name] = replace(
            panel,
            positions=places.positions,
            ref=places.ref,
            alt=places.alt,
            contig=places.contig,
            build=places.build,
        )
    return given["real"], given["synthetic"], given.get("training")


def _is_numbered(panel: Panel) -> bool:
    """Whether positions are the numbers of columns and no more, as of `.hapt` without a legend."""
    return bool(
        (panel.ref == "N").all()
        and panel.positions[0] == 1
        and panel.positions[-1] == panel.n_sites
    )


def _same_sites(real: Panel, train: Panel, skipped: dict[str, int]) -> tuple[Panel, Panel]:
    """Real and training panel at the sites that both have."""
    matched: MatchedSites = match_sites(real, train)
    if matched.n < _MOSTLY * min(real.n_sites, train.n_sites) or matched.n == 0:
        raise BenchError(
            f"only {matched.n} of the training panel's {train.n_sites} sites are among the real "
            f"one's {real.n_sites}; expected panels of the same sites"
        )
    skipped[_NOT_SHARED] = real.n_sites + train.n_sites - 2 * matched.n
    train = matched.second_at(train)
    real = real.select_sites(matched.first)
    train = replace(train, ref=real.ref, alt=real.alt, contig=real.contig, build=real.build)
    return real, train


# --- people -------------------------------------------------------------------------------------


def _refuse_trained_on(real: Panel, train: Panel, remarks: list[str]) -> None:
    """Nobody may be among the real and among the training people, under whatever name."""
    same = same_people(real, train)
    if same.pairs.size:
        n = same.pairs.shape[0]
        raise BenchError(
            f"{n:,} people are in the real and in the training panel, "
            f"{_example(same, real, train)} among them ({n:,} of the {real.n_samples:,} real "
            "people, by their genotypes); expected held-out people",
            hint="leave them out of one",
        )
    if same.kin:
        remarks.append(
            f"warning: {same.kin:,} pairs of a real and a training person look like relatives: "
            "copies of such training people resemble the real ones"
        )


def _refuse_real_people(cohort: Panel, real: Panel, train: Panel | None) -> None:
    """The cohort may be copies of training people, but neither their file nor real people."""
    same = same_people(cohort, real)
    n = same.pairs.shape[0]
    if n >= _FEWEST * min(cohort.n_samples, real.n_samples) and n:
        raise BenchError(
            f"{n:,} of the {cohort.n_samples:,} synthetic people are real people of the panel that "
            f"they are to be compared with, by their genotypes: {_example(same, cohort, real)}",
            hint="score against people whom the generator hasn't seen",
        )
    if train is None:
        return
    _, mine, theirs = np.intersect1d(cohort.samples, train.samples, return_indices=True)
    equal = cohort.select_samples(mine).dosages() == train.select_samples(theirs).dosages()
    n = int((equal.mean(axis=1) >= _MOST).sum()) if equal.size else 0
    if n > _MOSTLY * cohort.n_samples:
        raise BenchError(
            f"the synthetic panel is the training panel: {n:,} of its {cohort.n_samples:,} people "
            "have a training person's name and genotypes",
            hint="give the file that the generator wrote",
        )


def _example(same: SamePeople, one: Panel, other: Panel) -> str:
    """One of the pairs, by name."""
    mine, theirs = one.samples[same.pairs[0, 0]], other.samples[same.pairs[0, 1]]
    return str(mine) if mine == theirs else f"{mine} ({theirs} there)"
