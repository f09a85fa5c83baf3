"""At which sites panels that are handed in are compared: those they share, or a cohort's own.

Sites are shared that are of the same contig, position and alleles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from haplobench.data.contigs import same_contig
from haplobench.data.panel import MISSING, Panel
from haplobench.errors import BenchError

_COMPLEMENT = str.maketrans("ACGT", "TGCA")


@dataclass(frozen=True, eq=False)
class MatchedSites:
    """Sites that two panels share.

    Attributes
    ----------
    first, second : (n,) int64
        Indices of the shared sites in either panel, increasing.
    swapped : (n,) bool
        Where the second panel calls the first one's reference allele alternate.
    other_alleles : int
        Sites at the same position whose alleles differ, which are not shared.
    other_strand : int
        Of these, sites whose alleles are the complements of the first panel's: one of the
        panels names the other strand's bases.
    ambiguous : int
        Of the shared sites, those of A and T or C and G, whose strand can't be told.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    swapped: NDArray[np.bool_]
    other_alleles: int
    other_strand: int = 0
    ambiguous: int = 0

    @property
    def n(self) -> int:
        """How many sites are shared."""
        return int(self.first.size)

    def second_at(self, panel: Panel) -> Panel:
        """The second panel at the shared sites, its alleles coded as the first one's."""
        chosen = panel.select_sites(self.second)
        if not self.swapped.any():
            return chosen
        haplotypes = chosen.haplotypes.copy()
        columns = haplotypes[:, self.swapped]
        haplotypes[:, self.swapped] = np.where(columns == MISSING, MISSING, 1 - columns)
        return replace(
            chosen,
            haplotypes=haplotypes,
            ref=np.where(self.swapped, chosen.alt, chosen.ref),
            alt=np.where(self.swapped, chosen.ref, chosen.alt),
        )


def match_sites(first: Panel, second: Panel) -> MatchedSites:
    """Sites of the same contig (`chr20` is `20`), position and alleles.

    Where either panel doesn't name its alleles (`N`), position alone decides; alleles the
    other way round are recognised and turned.
    """
    if not same_contig(first.contig, second.contig):
        none = np.empty(0, np.int64)
        return MatchedSites(none, none, np.empty(0, bool), 0)
    _, i, j = np.intersect1d(
        first.positions, second.positions, assume_unique=True, return_indices=True
    )
    ref, alt = first.ref[i], first.alt[i]
    other_ref, other_alt = second.ref[j], second.alt[j]
    unnamed = (ref == "N") | (other_ref == "N")
    same = unnamed | ((ref == other_ref) & (alt == other_alt))
    swapped = ~same & (ref == other_alt) & (alt == other_ref)
    kept = same | swapped
    turned = [
        np.array([text.translate(_COMPLEMENT) for text in texts.tolist()], np.str_)
        for texts in (other_ref, other_alt)
    ]
    flipped = ~kept & (
        ((ref == turned[0]) & (alt == turned[1])) | ((ref == turned[1]) & (alt == turned[0]))
    )
    return MatchedSites(
        i[kept].astype(np.int64),
        j[kept].astype(np.int64),
        swapped[kept],
        int((~kept).sum()),
        int(flipped.sum()),
        int(((turned[0] == other_alt) & kept & ~unnamed).sum()),
    )


def common_shift(first: NDArray[np.int64], second: NDArray[np.int64]) -> tuple[int, int]:
    """The one number of bp by which most of some positions lie off others, and how many do.

    Of at most 300 of `second`, evenly spread: (bp, positions); builds of a genome differ by
    one number over megabases.
    """
    some = second[np.linspace(0, second.size - 1, min(300, second.size)).round().astype(np.int64)]
    shifts, counts = np.unique(some[:, None] - first[None], return_counts=True)
    most = int(counts.argmax())
    return int(shifts[most]), int(counts[most])


AbsentSites = Literal["fixed", "leave-out"]

_MOSTLY = 0.5
# Of the real sites, so many must be comparable: below the first it is refused, below the
# second said loudly.
_FEWEST, _MOST = 0.1, 0.9
# Of the real region's length, or sites: what two regions may differ by and still be called the
# same; of sites: of how many the alleles may be the other strand's without a word.
_EDGE = 0.05
# By how much a frequency lies nearer to the other allele's before alleles seem exchanged.
_EXCHANGED = 0.5
MISSING_ALLELES = "missing alleles"
_NOT_SHARED = "not in both real panels"
_NAMED = list("ACGTN")


@dataclass(frozen=True, eq=False)
class GivenCohort:
    """A synthetic cohort that somebody hands in.

    Attributes
    ----------
    label : str
        What tables call it.
    panel : Panel
    unread : int
        Records of its file that were left out on reading: where they are as many as the real
        sites that it lacks, these may be among them, and are not compared.
    """

    label: str
    panel: Panel
    unread: int = 0


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
    own : bool
        Whether cohorts may have sites of their own, as a simulator's have: what needs common
        sites is then left out. Those whose alleles are no bases may anyway.
    """

    min_maf: float = 0.01
    max_missing: float = 0.0
    absent: AbsentSites = "fixed"
    own: bool = False


@dataclass
class Notes:
    """What is said on the way; of several cohorts each by its label."""

    several: bool
    skipped: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def skip(self, cohort: GivenCohort, counts: Mapping[str, int]) -> None:
        """Count sites by reasons with `{}` in the place of the cohort's name."""
        name = f"the panel {cohort.label}" if self.several else "the synthetic panel"
        self.skipped |= {reason.format(name): n for reason, n in counts.items()}

    def say(self, label: str, text: str, *, warning: bool = False) -> None:
        """Note a line, of which cohort where there are several."""
        lines = self.warnings if warning else self.remarks
        lines.append(f"{label}: {text}" if self.several else text)


def place_cohort(
    real: Panel, learned: Panel, cohort: GivenCohort, settings: SiteSettings, notes: Notes
) -> tuple[Panel, NDArray[np.int64] | None, NDArray[np.bool_]]:
    """A cohort at real sites, by index which they are, and the real sites to compare: (n,) bool.

    Of a cohort that has sites of its own the index is None, and the real sites are those of the
    region that it shares. `learned` are the training (else the real) people.

    Raises BenchError for a cohort of other sites that may not have its own, or of another region.
    """
    matched = match_sites(real, cohort.panel)
    inside = _inside(real, cohort.panel)
    if 0 < matched.n >= _MOSTLY * int(inside.sum()):
        chosen, panel = _at_real_sites(real, learned, cohort, matched, inside, settings, notes)
        _warn_of_exchanged_alleles(real.frequencies[chosen], cohort.label, panel, notes)
        return panel, chosen, np.isin(np.arange(real.n_sites), chosen)
    _check_own(real, cohort, matched, settings)
    panel = _at_own_sites(cohort, settings, notes)
    notes.say(
        cohort.label,
        f"{matched.n:,} of the {real.n_sites:,} real sites are among the synthetic panel's "
        f"{cohort.panel.n_sites:,}: what compares site by site is left out",
    )
    panel, within = _over(real, cohort, panel, notes)
    return panel, None, within


def _warn_of_exchanged_alleles(
    frequencies: NDArray[np.float64], label: str, panel: Panel, notes: Notes
) -> None:
    """Say where a cohort's frequencies, (n,), are rather those of the real other alleles."""
    off = np.abs(panel.frequencies - frequencies)
    exchanged = off - np.abs(1 - panel.frequencies - frequencies) > _EXCHANGED
    if (n := int(exchanged.sum())) > _EDGE * panel.n_sites:
        notes.say(
            label,
            f"at {n:,} of {panel.n_sites:,} sites its frequencies are rather those of the other "
            "allele: reference and alternate seem exchanged in its genotypes",
            warning=True,
        )


def _at_real_sites(
    real: Panel,
    learned: Panel,
    given: GivenCohort,
    matched: MatchedSites,
    inside: NDArray[np.bool_],
    settings: SiteSettings,
    notes: Notes,
) -> tuple[NDArray[np.int64], Panel]:
    """The real sites that a cohort is known at, by index, and the cohort there."""
    synthetic = given.panel
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
    if n_absent and settings.absent == "fixed" and n_absent > given.unread:
        remark += (
            f"; {n_absent:,} more lie within its region and count as fixed, as tools mean it that "
            "leave out sites at which nobody differs; for a tool that never had them: "
            "--absent-sites leave-out"
        )
        there |= absent
        cohort = _filled(cohort, learned.select_sites(there))
    elif n_absent and settings.absent == "fixed":
        remark += (
            f"; {n_absent:,} more lie within its region and are not compared: {given.unread:,} "
            "of its records were left out on reading"
        )
    notes.say(given.label, remark)
    if (~inside).sum() > _EDGE * real.n_sites:
        notes.say(
            given.label,
            f"the synthetic panel covers {synthetic.positions[0]:,}-{synthetic.positions[-1]:,} "
            f"of the real region {real.positions[0]:,}-{real.positions[-1]:,}: "
            f"{int((~inside).sum()):,} real sites outside are not compared",
        )
    if matched.other_strand > _EDGE * (matched.n + matched.other_alleles):
        notes.say(given.label, _strand_text(matched), warning=True)
    if real.build and synthetic.build and real.build != synthetic.build:
        text = f"its file says {synthetic.build}, the real one's {real.build}, yet positions agree"
        notes.say(given.label, text, warning=True)
    notes.skip(
        given,
        {
            "not in {}": int((~there & ~unlike).sum()),
            "only in {}": synthetic.n_sites - matched.n - matched.other_alleles,
            "other alleles in {}": matched.other_alleles - matched.other_strand,
            "other strand's alleles in {}": matched.other_strand,
        },
    )
    known = ~too_missing(cohort, settings)
    notes.skip(given, {f"{MISSING_ALLELES} in {{}}": int((~known).sum())})
    return np.flatnonzero(there)[known], cohort.select_sites(known)


def _check_own(
    real: Panel, cohort: GivenCohort, matched: MatchedSites, settings: SiteSettings
) -> None:
    """Refuse a cohort with few of the real sites, and say why they may be so few.

    A simulator's is asked for; or known by alleles that are no bases.
    """
    panel = cohort.panel
    if settings.own or not (np.isin(panel.ref, _NAMED) | np.isin(panel.alt, _NAMED)).any():
        return
    raise BenchError(
        f"{cohort.label}: only {matched.n:,} of the {real.n_sites:,} real sites are among its "
        f"{panel.n_sites:,}: {_difference(real, panel, matched)}",
        hint="give panels of the same region, build and strand; --own-sites scores a simulator's "
        "cohort, by what needs no common sites",
    )


def _difference(real: Panel, other: Panel, matched: MatchedSites) -> str:
    """Why two panels have few sites in common, as far as contigs, builds and alleles tell."""
    if not same_contig(real.contig, other.contig):
        return f"they are of contig {other.contig}, the real ones of {real.contig}"
    if real.build and other.build and real.build != other.build:
        return f"its file says {other.build}, the real one's {real.build}"
    if matched.other_strand > _MOSTLY * matched.other_alleles and matched.other_strand > matched.n:
        return _strand_text(matched)
    shift, n = common_shift(real.positions, other.positions)
    if shift and n > _MOSTLY * min(300, other.n_sites):
        return f"its positions are real ones moved by {shift:,} bp, as between builds of the genome"
    if not _inside(real, other).any():
        return (
            f"they lie at {other.contig}:{other.positions[0]:,}-{other.positions[-1]:,}, the real "
            f"ones at {real.positions[0]:,}-{real.positions[-1]:,}"
        )
    return "another build of the genome, or other sites"


def _strand_text(matched: MatchedSites) -> str:
    common = matched.n + matched.other_alleles
    return (
        f"at {matched.other_strand:,} of {common:,} common positions its alleles are the other "
        f"strand's (of A/T and C/G sites, {matched.ambiguous:,}, the strand can't be told)"
    )


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


def _at_own_sites(given: GivenCohort, settings: SiteSettings, notes: Notes) -> Panel:
    """A cohort at those of its own sites that are to be compared."""
    synthetic = given.panel
    missing = too_missing(synthetic, settings)
    chosen = ~missing & synthetic.common_sites(settings.min_maf)
    notes.skip(given, {f"{MISSING_ALLELES} in {{}}": int(missing.sum())})
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


def too_missing(panel: Panel, settings: SiteSettings) -> NDArray[np.bool_]:
    """Where a panel lacks more alleles than are allowed: (n_sites,) bool."""
    called = panel.allele_counts[1]
    too_missing: NDArray[np.bool_] = (
        panel.n_haplotypes - called > settings.max_missing * panel.n_haplotypes
    )
    return too_missing


def check_left(left: int, n: int, notes: Notes) -> None:
    """Refuse to score few of the real sites, and say loudly if it isn't most."""
    if left > _MOST * n:
        return
    reasons = {
        reason: count
        for reason, count in notes.skipped.items()
        if count and not reason.startswith("only in") and reason != _NOT_SHARED
    }
    why = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
    text = f"only {left:,} of the {n:,} real sites can be compared" + (f": {why}" if why else "")
    if left >= max(2, _FEWEST * n):
        notes.warnings.append(text)
        return
    missing = sum(count for reason, count in reasons.items() if reason.startswith(MISSING_ALLELES))
    raise BenchError(
        text,
        hint="--max-missing allows missing alleles"
        if missing > n / 2
        else "give panels of the same region, or the part that they share as --region",
    )


def _inside(real: Panel, other: Panel) -> NDArray[np.bool_]:
    """Sites of the one panel between the other's first and last."""
    first, last = other.positions[0], other.positions[-1]
    inside: NDArray[np.bool_] = (real.positions >= first) & (real.positions <= last)
    return inside


def _over(
    real: Panel, given: GivenCohort, cohort: Panel, notes: Notes
) -> tuple[Panel, NDArray[np.bool_]]:
    """A cohort of other sites laid over the real region, and which real sites it covers.

    A simulator's coordinates often start at 0: a cohort outside the real region is moved to
    its start. Unmoved, or compared with a longer region, it would seem to lack diversity.
    """
    first, last = int(real.positions[0]), int(real.positions[-1])
    begin, end = int(cohort.positions[0]), int(cohort.positions[-1])
    if not _inside(cohort, real).any():
        notes.say(
            given.label,
            f"its sites ({cohort.contig}:{begin}-{end}) lie outside the real region "
            f"({real.contig}:{first}-{last}) and were moved to its start",
        )
        cohort = cohort.changed(positions=cohort.positions + (first - begin))
        begin, end = first, first + end - begin
    length = last - first + 1
    start, stop = max(first, begin), min(last, end)
    if stop - start + 1 < _FEWEST * length:
        raise BenchError(
            f"the synthetic panel covers {max(0, stop - start + 1):,} of the real region's "
            f"{length:,} bp",
            hint="give the part that they share as --region",
        )
    within = np.ones(real.n_sites, bool)
    if start - first + last - stop > _EDGE * length:
        within = (real.positions >= start) & (real.positions <= stop)
        notes.skip(given, {"outside the region of {}": int((~within).sum())})
        notes.say(
            given.label,
            f"the synthetic panel covers {start}-{stop} of the real region {first}-{last}: "
            "compared there",
        )
    return cohort, within


def within_region(cohort: Panel, real: Panel, label: str, notes: Notes) -> Panel:
    """A cohort of other sites without those beyond the real region, if they are many."""
    within = _inside(cohort, real)
    first, last = cohort.positions[0], cohort.positions[-1]
    beyond = max(0, real.positions[0] - first) + max(0, last - real.positions[-1])
    if beyond <= _EDGE * real.span:
        return cohort
    notes.say(
        label,
        f"{int((~within).sum()):,} of the synthetic panel's sites lie outside the real region and "
        "are not compared",
    )
    return cohort.select_sites(within)


def with_positions(
    real: Panel, cohorts: Sequence[GivenCohort], train: Panel | None
) -> tuple[Panel, Sequence[GivenCohort], Panel | None]:
    """The panels, those without positions (`.hapt` without a legend) matched by column.

    Raises BenchError where there are other numbers of columns.
    """
    given = {"real": real} | ({} if train is None else {"training": train})
    given |= {f"synthetic {i}": cohort.panel for i, cohort in enumerate(cohorts)}
    places = next((panel for panel in given.values() if not _is_numbered(panel)), real)
    origin = next(name for name, panel in given.items() if panel is places)
    kinds = {name: name.partition(" ")[0] for name in given}
    for name, panel in given.items():
        if panel is places or not _is_numbered(panel):
            continue
        if panel.n_sites != places.n_sites:
            raise BenchError(
                f"the {kinds[name]} panel has no positions and {panel.n_sites:,} columns, the "
                f"{kinds[origin]} panel {places.n_sites:,} sites; columns are matched in order "
                "where there are as many",
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
    placed = [replace(cohort, panel=given[f"synthetic {i}"]) for i, cohort in enumerate(cohorts)]
    return given["real"], placed, given.get("training")


def _is_numbered(panel: Panel) -> bool:
    """Whether positions are the numbers of columns and no more, as of `.hapt` without a legend."""
    return bool(
        (panel.ref == "N").all()
        and panel.positions[0] == 1
        and panel.positions[-1] == panel.n_sites
    )


def same_sites(real: Panel, train: Panel, notes: Notes) -> tuple[Panel, Panel]:
    """Real and training panel at the sites that both have; what that hides is warned of."""
    matched: MatchedSites = match_sites(real, train)
    if matched.n < _MOSTLY * min(real.n_sites, train.n_sites) or matched.n == 0:
        raise BenchError(
            f"only {matched.n} of the training panel's {train.n_sites} sites are among the real "
            f"one's {real.n_sites}; expected panels of the same sites: "
            f"{_difference(real, train, matched)}"
        )
    notes.skipped[_NOT_SHARED] = real.n_sites + train.n_sites - 2 * matched.n
    only_trained = train.n_sites - matched.n
    if only_trained > _EDGE * train.n_sites:
        notes.warnings.append(
            f"{only_trained:,} of the training panel's {train.n_sites:,} sites are not in the real "
            "one and are not compared: what only training people carry there is not looked for. "
            "Give both at all sites, those at which nobody of the one differs, too"
        )
    train = matched.second_at(train)
    real = real.select_sites(matched.first)
    train = train.changed(ref=real.ref, alt=real.alt, contig=real.contig, build=real.build)
    return real, train
