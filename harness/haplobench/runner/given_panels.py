"""Panels that are to be compared: cut to common sites, filtered, and nobody in two of them.

Who is in two of them is told by genotypes, too, and so is what must be said of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench.data.genome import RecombinationMap, ReferenceSequence
from haplobench.data.identity import exact_copies, nearness, people_twice, same_people
from haplobench.data.joined import join_panels, join_prepared
from haplobench.data.panel import Panel
from haplobench.data.prepared import Prepared
from haplobench.data.relatives import find_relatives
from haplobench.data.split import keep_together, split_panel
from haplobench.errors import BenchError
from haplobench.files import digest_of
from haplobench.plugin import RunContext
from haplobench.runner.given_sites import (
    MISSING_ALLELES,
    GivenCohort,
    Notes,
    SiteSettings,
    check_left,
    place_cohort,
    same_sites,
    too_missing,
    with_positions,
    within_region,
)
from haplobench.runner.worker.prepare import make_prepared

_MOSTLY, _ALIKE = 0.5, 0.9
MANY_COPIES = 0.1
"""Share of a cohort: with so many copies of the people that it's held against, nothing is shown."""
EXCHANGED = 1e-3
"""Chance below which a cohort is said to be nearer to the real than to the training people."""
NEARER = "nearer to --real than to --train"
_NAMED = 5
_WHY = "perhaps --real and --train are exchanged, or the generator has seen --real"


@dataclass(frozen=True)
class Likeness:
    """What is said of a cohort beside the real people.

    Attributes
    ----------
    remark : str
        How many of its people and haplotypes are real ones, and the first of those by name.
    warnings : tuple of str
        What is amiss, without names: statements that name nobody hold it.
    doubt : str
        Why neither its likeness to the real people nor its distance from them shows anything;
        empty where it does.
    exposed : str
        Why no attack that finds nothing clears it: real people are in it, no matter of chance.
    """

    remark: str
    warnings: tuple[str, ...] = ()
    doubt: str = ""
    exposed: str = ""


def hold_out(panel: Panel, holdout: float | NDArray[np.int64], seed: int) -> tuple[Panel, Panel]:
    """People to train on, and those held out: a share of them, or who they are by index.

    Stratified by population, relatives on one side; who is drawn depends on names, populations,
    genotypes and the seed. Raises BenchError.
    """
    if isinstance(holdout, float):
        panel = keep_together(panel, find_relatives(panel).pairs)
    split = split_panel(panel, holdout, 0.0, seed)
    return panel.select_samples(split.train), panel.select_samples(split.holdout)


def refuse_trained_on(real: Panel, train: Panel) -> str:
    """Nobody may be among the real and among the training people, under whatever name.

    Gives a warning if some look like relatives. Raises BenchError.
    """
    same = same_people(real, train)
    if same.pairs.size:
        n = same.pairs.shape[0]
        mine, theirs = real.samples[same.pairs[0, 0]], train.samples[same.pairs[0, 1]]
        raise BenchError(
            f"{n:,} people are in the real and in the training panel, {_pair(mine, theirs)} among "
            f"them ({n:,} of the {real.n_samples:,} real people, by their genotypes); expected "
            "held-out people",
            hint="leave them out of one; if the generator was trained on everybody: "
            "--trained-on-everybody without --train",
        )
    if not same.kin:
        return ""
    return (
        f"{same.kin:,} pairs of a real and a training person look like relatives: copies of such "
        "training people resemble the real ones"
    )


def _warn_of_twice(name: str, panel: Panel) -> str:
    """A warning of people who are in a panel under two names, or nothing."""
    pairs = people_twice(panel)
    if not pairs.size:
        return ""
    n, (one, other) = pairs.shape[0], panel.samples[pairs[0]]
    return (
        f"{n:,} pairs of {name} people have the same genotypes, {one} and {other} among them: who "
        "is in it twice stands on both sides of the floor, which is then nearer than strangers "
        "are; keep each person once"
    )


def refuse_same_file(name: str, cohort: Panel, other: Panel) -> None:
    """Raise BenchError for a cohort most of whom have a person's name and genotypes."""
    _, mine, theirs = np.intersect1d(cohort.samples, other.samples, return_indices=True)
    equal = cohort.select_samples(mine).dosages() == other.select_samples(theirs).dosages()
    n = int((equal.mean(axis=1) >= _ALIKE).sum()) if equal.size else 0
    if n > _MOSTLY * cohort.n_samples:
        raise BenchError(
            f"the synthetic panel is the {name} panel: {n:,} of its {cohort.n_samples:,} people "
            f"have a {name} person's name and genotypes",
            hint="give the file that the generator wrote",
        )


def likeness(cohort: Panel, real: Panel, train: Panel | None, seed: int) -> Likeness:
    """Hold a cohort's people against the real ones, at sites that all panels have."""
    copies = exact_copies(cohort, real, train)
    people, n_people = np.unique(copies.people[:, 0]).size, cohort.n_samples
    remark = f"{people:,} of its {n_people:,} people have a real person's genotypes at every site"
    by_haplotype = cohort.phased and real.phased
    if by_haplotype:
        remark += (
            f", {copies.haplotypes:,} of its {cohort.n_haplotypes:,} haplotypes are real people's"
        )
    pairs, by_chance = copies.people, copies.people_by_chance
    if by_chance and (alike := same_people(cohort, real).pairs).size:
        # Copies with other phase, or with errors.
        pairs, people, by_chance = alike, alike.shape[0], False
        remark += f"; but for errors {people:,} people do"
    nearer = "" if train is None else nearer_to_real(cohort, real, train, seed)
    warnings = []
    if people:
        pairs = pairs[np.unique(pairs[:, 0], return_index=True)[1]]
        named = ", ".join(
            _pair(cohort.samples[mine], real.samples[theirs]) for mine, theirs in pairs[:_NAMED]
        )
        more = f" and {people - _NAMED:,} more" if people > _NAMED else ""
        remark += f"; these people of --real are in it: {named}{more}"
        text = f"{people:,} of the cohort's {n_people:,} people are people of --real"
        if by_chance:
            text += "; in so short a region strangers may be as alike"
        elif train is not None and not nearer:
            text += f"; {_WHY}"
        warnings.append(text)
    if by_haplotype and not copies.haplotypes_by_chance:
        warnings.append(
            f"{copies.haplotypes:,} of the cohort's {cohort.n_haplotypes:,} haplotypes are "
            "haplotypes of --real, many more than of strangers"
        )
    doubt = ""
    shares = (
        0.0 if by_chance else people / n_people,
        0.0 if copies.haplotypes_by_chance else copies.haplotypes / cohort.n_haplotypes,
    )
    if max(shares) >= MANY_COPIES:
        doubt = "made of copies of --real people"
    if nearer:
        warnings.append(nearer)
        doubt = doubt or NEARER
    exposed = f"people of --real are in it: {people:,}" if people and not by_chance else ""
    return Likeness(remark, tuple(warnings), doubt, exposed)


def nearer_to_real(cohort: Panel, real: Panel, train: Panel, seed: int) -> str:
    """A warning of a cohort that is nearer to the real than to the training people, or nothing."""
    near = nearness(cohort, real, train, seed)
    if near.p >= EXCHANGED:
        return ""
    return (
        "the cohort is nearer to --real than to --train: the nearest people to stretches of its "
        f"haplotypes are in --real in {near.near:.1%} of cases, by chance in {near.expected:.1%}; "
        + _WHY
    )


def _pair(mine: str, theirs: str) -> str:
    return str(mine) if mine == theirs else f"{mine} ({theirs} there)"


_FEWEST_PEOPLE = {"real": 4, "training": 4, "synthetic": 2}


@dataclass(frozen=True, eq=False)
class PlacedCohort:
    """A cohort at the real panel's sites, or at its own.

    `doubt` says why neither its likeness to the real people nor its distance from them shows
    anything, `exposed` why no attack that finds nothing clears it; empty where they do.
    """

    label: str
    panel: Panel
    site_matched: bool
    doubt: str = ""
    exposed: str = ""


@dataclass(frozen=True)
class Panels:
    """Panels that fit together: the real ones prepared, the cohorts at their sites or their own.

    `remarks` and `warnings` are lines for the user: on what they have in common, and on what
    is amiss; `kin` is the warning of relatives, whom all contigs together show best.
    """

    prepared: Prepared
    cohorts: tuple[PlacedCohort, ...]
    has_train: bool
    remarks: tuple[str, ...]
    warnings: tuple[str, ...]
    kin: str = ""

    def key_of(self, cohort: PlacedCohort) -> str:
        """Digest of the real panels and a cohort."""
        content = self.prepared.facts.content
        return digest_of([content, cohort.panel.digest, cohort.site_matched, self.has_train])

    @property
    def key(self) -> str:
        """Digest of all of it."""
        return digest_of([self.key_of(cohort) for cohort in self.cohorts])

    def mapped(self, prepared: Path, cohorts: Sequence[Path]) -> Panels:
        """The same as saved in these folders: mapped, and not in this process's memory."""
        stored = replace(Prepared.load(prepared), facts=self.prepared.facts)
        placed = (
            replace(cohort, panel=Panel.load(folder))
            for cohort, folder in zip(self.cohorts, cohorts, strict=True)
        )
        return replace(self, prepared=stored, cohorts=tuple(placed))

    def moved(self, folder: Path) -> Panels:
        """The same, saved in a new folder and mapped."""
        folder.mkdir()
        self.prepared.save(folder)
        draws = [folder / f"cohort{at}" for at in range(len(self.cohorts))]
        for cohort, draw in zip(self.cohorts, draws, strict=True):
            cohort.panel.save(draw)
        return self.mapped(folder, draws)


def fit_together(
    real: Panel,
    cohorts: Sequence[GivenCohort],
    train: Panel | None,
    settings: SiteSettings,
    ctx: RunContext,
    recombination_map: RecombinationMap | None = None,
    sequence: ReferenceSequence | None = None,
) -> Panels:
    """Cut real, training and synthetic panels to common sites, and filter; see `evaluate`.

    Raises BenchError if they don't fit together, or if too little is left to compare.
    """
    notes = Notes(len(cohorts) > 1)
    for name, panel in (("real", real), ("training", train)):
        if panel is not None:
            _check_people(name, panel, real.ploidy)
    for cohort in cohorts:
        _check_people("synthetic", cohort.panel, real.ploidy)
    real, cohorts, train = with_positions(real, cohorts, train)
    learned, kin = real, ""
    if train is not None:
        real, learned = same_sites(real, train, notes)
        if kin := refuse_trained_on(real, learned):
            notes.warnings.append(kin)
    people = {"real": real} | ({} if train is None else {"training": learned})
    notes.warnings += filter(None, map(_warn_of_twice, people, people.values()))
    missing = too_missing(real, settings) | too_missing(learned, settings)
    compared = np.ones(real.n_sites, bool)
    placed: list[tuple[GivenCohort, Panel, NDArray[np.int64] | None]] = []
    for cohort in cohorts:
        panel, chosen, covered = place_cohort(real, learned, cohort, settings, notes)
        compared &= covered
        placed.append((cohort, panel, chosen))
    notes.skipped[MISSING_ALLELES] = int((missing & compared).sum())
    compared &= ~missing
    check_left(int(compared.sum()), real.n_sites, notes)
    prepared = make_prepared(
        train=learned.select_sites(compared),
        holdout=real.select_sites(compared),
        validation=np.empty(0, np.int64),
        recombination_map=recombination_map,
        sequence=sequence,
        min_maf=settings.min_maf,
        max_missing=settings.max_missing,
        skipped={reason: n for reason, n in notes.skipped.items() if n},
        provenance={},
        ctx=ctx,
        keep_rare=True,
    )
    fitted = tuple(
        _fitted(cohort, panel, chosen, compared, prepared, train is not None, notes, ctx.seed)
        for cohort, panel, chosen in placed
    )
    remarks, warnings = tuple(notes.remarks), tuple(notes.warnings)
    return Panels(prepared, fitted, train is not None, remarks, warnings, kin)


def join_together(parts: Mapping[str, Panels], scratch: Path, seed: int) -> dict[str, Panels]:
    """Panels of contigs, by contig, and under the empty name as one genome's (`join_panels`).

    Held against each other once more on all contigs together: who is among the real and among the
    training people, and whom a cohort is nearer to. A cohort that is in doubt on one contig is so
    on all, since its people are. Warnings that several contigs share are the genome's, once; of
    relatives, it has that of all contigs alone.

    Raises PanelError for contigs that don't belong together, BenchError as `fit_together`.
    """
    several = list(parts.values())
    prepared = join_prepared([one.prepared for one in several], scratch)
    where: dict[str, list[str]] = {}
    for contig, one in parts.items():
        for text in (text for text in one.warnings if text != one.kin):
            where.setdefault(text, []).append(contig)
    warnings = [
        text
        if len(names) == len(parts)
        else f"contig{'s' * (len(names) > 1)} {', '.join(names)}: {text}"
        for text, names in where.items()
    ]
    has_train = several[0].has_train
    if has_train and (kin := refuse_trained_on(prepared.holdout, prepared.train)):
        warnings.append(kin)
    joined: list[PlacedCohort] = []
    for at, first in enumerate(several[0].cohorts):
        cohorts = {contig: one.cohorts[at] for contig, one in parts.items()}
        folder = scratch / f"cohort{at}"
        folder.mkdir()
        # A cohort with sites of its own may call its contigs anything.
        panels = [
            one.panel.changed(contig=name)
            for one, name in zip(cohorts.values(), prepared.facts.contigs or (), strict=True)
        ]
        panel = join_panels(panels, folder)
        matched = all(one.site_matched for one in cohorts.values())
        doubts = (f"on contig {name}, {one.doubt}" for name, one in cohorts.items() if one.doubt)
        doubt = next(doubts, "")
        if has_train and matched:
            near = nearer_to_real(panel, prepared.holdout, prepared.train, seed)
            if near:
                label = f"{first.label}: " if len(several[0].cohorts) > 1 else ""
                warnings.append(f"{label}on all contigs together, {near}")
                doubt = doubt or NEARER
        exposures = (
            f"on contig {name}, {one.exposed}" for name, one in cohorts.items() if one.exposed
        )
        joined.append(PlacedCohort(first.label, panel, matched, doubt, next(exposures, "")))
    whole = Panels(prepared, tuple(joined), has_train, (), tuple(warnings))
    return {"": whole} | {
        contig: replace(
            one,
            cohorts=tuple(
                replace(cohort, doubt=all_of_it.doubt)
                for cohort, all_of_it in zip(one.cohorts, joined, strict=True)
            ),
        )
        for contig, one in parts.items()
    }


def _fitted(
    cohort: GivenCohort,
    panel: Panel,
    chosen: NDArray[np.int64] | None,
    compared: NDArray[np.bool_],
    prepared: Prepared,
    has_train: bool,
    notes: Notes,
    seed: int,
) -> PlacedCohort:
    """A cohort at the compared sites of its own or, `chosen`, of the real panel; who is in it."""
    train, real = prepared.train, prepared.holdout
    if chosen is None:
        return PlacedCohort(cohort.label, within_region(panel, real, cohort.label, notes), False)
    panel = panel.select_sites(compared[chosen]).changed(
        ref=train.ref,
        alt=train.alt,
        contig=train.contig,
        build=train.build,
    )
    refuse_same_file("real", panel, real)
    if has_train:
        refuse_same_file("training", panel, train)
    found = likeness(panel, real, train if has_train else None, seed)
    notes.say(cohort.label, found.remark)
    for warning in found.warnings:
        notes.say(cohort.label, warning, warning=True)
    return PlacedCohort(cohort.label, panel, True, found.doubt, found.exposed)


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
