"""The prepare stage: load a dataset, split its people, choose sites on the training part.

And the join stage: what contigs' stages have left, put together to a genome's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from haplobench.data.consent import PeopleList
from haplobench.data.genome import RecombinationMap, ReferenceSequence, surrogate_sequence
from haplobench.data.joined import join_panels, join_prepared, order_of_people
from haplobench.data.panel import Panel
from haplobench.data.prepared import PRIVACY_FILE, Prepared, PrepareFacts, TrainingData, digests
from haplobench.data.relatives import SAME_GENOTYPES, Relatives, find_relatives
from haplobench.data.split import Split, family_sizes, keep_together, split_panel, stratified_sample
from haplobench.errors import BenchError, PanelError, PluginError
from haplobench.plugin import LoadedDataset, PrivacyStatement, RunContext
from haplobench.plugin.privacy import compose_claims
from haplobench.registry import Registry, resolve
from haplobench.runner.worker.job import Job, JoinFacts
from haplobench.units import counted

_TRAINED = ("train", "holdout")
P = TypeVar("P", Prepared, TrainingData)


def shadow_members(
    train: Panel, holdout: Panel, shadow: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Who of the training and of the held-out people a shadow generator is trained on.

    Shadows 2i and 2i + 1 share everybody out in random halves, stratified by population and by
    `train` and `holdout`: each person is in exactly half of an even number of shadows. Depends
    on the people's names and `shadow` alone.

    Returns
    -------
    (n_train,) bool, (n_holdout,) bool
    """
    members = []
    for part, panel in zip(_TRAINED, (train, holdout), strict=True):
        everyone = np.arange(panel.n_samples, dtype=np.int64)
        # Which part rounds up alternates, so that both halves are equal within one person.
        n = (panel.n_samples + (part == "train")) // 2
        drawn = stratified_sample(panel, everyone, n, f"shadow {part} {shadow // 2}")
        members.append(np.isin(everyone, drawn) ^ bool(shadow % 2))
    return members[0], members[1]


def shadow_prepared(prepared: Prepared, shadow: int) -> Prepared:
    """The dataset as a shadow generator sees it: its half as train, the other half as holdout.

    Sites stay those of the dataset; people for early stopping are drawn anew, as large a
    share as before.
    """
    members = shadow_members(prepared.train, prepared.holdout, shadow)
    train = _subset(prepared, *members)
    n = round(train.n_samples * prepared.validation.size / prepared.train.n_samples)
    everyone = np.arange(train.n_samples, dtype=np.int64)
    return replace(
        prepared,
        train=train,
        holdout=_subset(prepared, ~members[0], ~members[1]),
        validation=stratified_sample(train, everyone, n, f"shadow validation {shadow}"),
    )


def part_prepared(prepared: P, share: float) -> P:
    """The dataset with a share of its training people, and of those for early stopping.

    Stratified by population, at least two people; held-out people and sites stay.
    """
    everyone = np.arange(prepared.train.n_samples, dtype=np.int64)
    n = min(everyone.size, max(2, round(share * everyone.size)))
    train = prepared.train.select_samples(
        stratified_sample(prepared.train, everyone, n, f"part {share}")
    )
    # Families come whole, so that there may be fewer than n.
    chosen = np.arange(train.n_samples, dtype=np.int64)
    m = round(chosen.size * prepared.validation.size / everyone.size)
    validation = stratified_sample(train, chosen, m, f"part validation {share}")
    return replace(prepared, train=train, validation=validation)


def _subset(prepared: Prepared, train: NDArray[np.bool_], holdout: NDArray[np.bool_]) -> Panel:
    parts = (
        prepared.train.select_samples(np.flatnonzero(train)),
        prepared.holdout.select_samples(np.flatnonzero(holdout)),
    )
    return parts[0].with_haplotypes(
        np.concatenate([part.haplotypes for part in parts]),
        samples=np.concatenate([part.samples for part in parts]),
        population=np.concatenate([part.population for part in parts]),
        superpopulation=np.concatenate([part.superpopulation for part in parts]),
        family=np.concatenate([part.family for part in parts]),
    )


# Bases beyond the first and last site, so that k-mers around them are whole.
_MARGIN = 1000


def prepare(job: Job, registry: Registry, ctx: RunContext) -> None:
    """Write a `Prepared` into the job's output.

    Settings: `filters` and `split` of the suite; `withdrawn`, see `PeopleList.as_job`, and
    `allow_unknown` where there is such a list; `listed`, such lists by the split's keys. `first`,
    of a genome's further contigs: the prepared dataset of the first, whose people they are split
    as.

    Raises BenchError for files, filters or splits that the user must mend.
    """
    spec = registry.dataset(job.name)
    loaded = resolve(spec.target)().load(spec.params.model_validate(job.params), ctx)
    if not isinstance(loaded, LoadedDataset):
        raise PluginError(
            f"dataset {job.name}: load() gave {type(loaded).__name__}, expected LoadedDataset"
        )
    panel, withdrawn = loaded.panel, None
    if (listed := job.settings.get("withdrawn")) is not None:
        (panel,), withdrawn = PeopleList.from_job(listed).leave_out(
            panel, allow_unknown=job.settings["allow_unknown"], key="filters.withdrawn"
        )
        withdrawn["doubles"] = _doubles(loaded.panel, panel)
    settings = job.settings["split"] | {
        key: _people(panel, loaded.panel, PeopleList.from_job(people), f"split.{key}")
        for key, people in job.settings.get("listed", {}).items()
    }
    facts: dict[str, Any] | None = None
    if first := job.settings.get("first"):
        panel, split = _as_first(panel, Prepared.load(Path(first)))
    else:
        panel, kin, facts = _families(panel, settings.get("relatives", "together"), ctx)
        split = split_panel(
            panel,
            settings.get("holdout", 0.0),
            settings["validation"],
            settings["seed"],
            folds=settings.get("folds", 0),
            fold=settings.get("fold", 0),
        )
        facts["across"] = _across(panel, split, kin, settings.get("relatives", "together"))
    prepared = make_prepared(
        train=panel.select_samples(split.train),
        holdout=panel.select_samples(split.holdout),
        validation=split.validation_in_train,
        recombination_map=loaded.recombination_map,
        sequence=loaded.sequence,
        min_maf=job.settings["filters"]["min_maf"],
        max_missing=job.settings["filters"]["max_missing"],
        skipped=dict(loaded.skipped),
        provenance=dict(loaded.provenance),
        ctx=ctx,
    )
    told = replace(prepared.facts, withdrawn=withdrawn, relatives=facts)
    replace(prepared, facts=told).save(Path(job.output))


def _as_first(panel: Panel, first: Prepared) -> tuple[Panel, Split]:
    """A contig's panel in the order of the first contig's people, with their families; their split.

    Raises PanelError, with names, where its people or their labels are others.
    """
    parts = (first.train, first.holdout)
    panel = panel.select_samples(order_of_people(panel, *parts))
    panel = panel.changed(family=np.concatenate([part.family for part in parts]))
    people, n_train = np.arange(panel.n_samples, dtype=np.int64), first.train.n_samples
    return panel, Split(people[:n_train], people[n_train:], first.validation)


def _doubles(panel: Panel, stays: Panel) -> int:
    """How many who stay have the genotypes of somebody who left: under another name, or twins."""
    gone = panel.select_samples(~np.isin(panel.samples, stays.samples))
    if not gone.n_samples:
        return 0
    same = (e for e in find_relatives(gone, stays).evidence if e.kind == SAME_GENOTYPES and e.told)
    return len({int(stayer) for evidence in same for _, stayer in evidence.pairs})


def _families(
    panel: Panel, setting: str, ctx: RunContext
) -> tuple[Panel, NDArray[np.int64], dict[str, Any]]:
    """The panel with the families that are to be kept together, pairs of relatives that are in no
    such family by index, (n, 2) int64, and facts for `relatives_text`."""
    if setting == "ignore":
        panel, relatives = panel.changed(family=np.full(panel.n_samples, "")), Relatives()
    else:
        ctx.progress(0.9, "looking for relatives")
        relatives = find_relatives(panel)
    declared = family_sizes(panel).size
    if setting == "together":
        panel = keep_together(panel, relatives.pairs)
    family = panel.family[relatives.pairs]
    apart = relatives.pairs[(family[:, 0] != family[:, 1]) | (family[:, 0] == "")]
    if setting == "refuse" and apart.size:
        one, other = panel.samples[apart[0]]
        raise BenchError(
            f"split.relatives: {counted(len(apart), 'pair')} of duplicates or relatives in no "
            f"declared family, {one} and {other} among them",
            hint="leave them out or declare their families (pedigree_file), or set relatives to "
            "together or warn",
        )
    sizes = family_sizes(panel)
    facts = {"setting": setting, "declared": int(declared)} | relatives.facts()
    facts |= {"families": int(sizes.size), "people": int(sizes.sum())}
    return panel, apart, facts


def _people(panel: Panel, everybody: Panel, people: PeopleList, key: str) -> NDArray[np.int64]:
    """Indices of listed people; who is among `everybody` and has withdrawn is passed over."""
    names, _ = people.find(everybody, key=key)
    return np.flatnonzero(np.isin(panel.samples, list(names))).astype(np.int64)


def _across(panel: Panel, split: Split, kin: NDArray[np.int64], setting: str) -> int:
    """Families, and pairs of relatives in no such, with people both held out and trained on, or
    among those set apart and the others trained on. None are, but where lists say so.

    Raises BenchError for families that lists tear apart, but with the setting `warn`.
    """
    side = np.zeros(panel.n_samples, np.int64)
    side[split.holdout], side[split.validation] = 1, 2
    torn = [
        members
        for family in np.unique(panel.family[panel.family != ""])
        if np.unique(side[members := np.flatnonzero(panel.family == family)]).size > 1
    ]
    if torn and setting != "warn":
        one = torn[0][0]
        other = next(person for person in torn[0] if side[person] != side[one])
        raise BenchError(
            f"split.holdout, split.validation: {counted(len(torn), 'family', 'families')} with "
            f"people on two sides of these lists, {panel.samples[one]} and {panel.samples[other]} "
            "among them",
            hint="list whole families, or set relatives to warn",
        )
    return len(torn) + int((side[kin[:, 0]] != side[kin[:, 1]]).sum())


def make_prepared(
    *,
    train: Panel,
    holdout: Panel,
    validation: NDArray[np.int64],
    recombination_map: RecombinationMap | None,
    sequence: ReferenceSequence | None,
    min_maf: float,
    max_missing: float,
    skipped: dict[str, int],
    provenance: dict[str, str],
    ctx: RunContext,
    keep_rare: bool = False,
) -> Prepared:
    """Filter sites, lay a reference sequence under them, and state the facts.

    Sites stay whose minor allele frequency among the training people is at least `min_maf`
    and whose share of missing alleles is at most `max_missing` on either side; with
    `keep_rare` rarer ones stay, too, but aren't `common`.
    """
    n_sites = train.n_sites
    too_missing = np.zeros(n_sites, bool)
    for panel in (train, holdout):
        called = panel.allele_counts[1]
        too_missing |= panel.n_haplotypes - called > max_missing * panel.n_haplotypes
    common = ~too_missing & train.common_sites(min_maf)
    too_rare = ~(too_missing | common)
    keep = ~too_missing if keep_rare else common
    counts = Counter(skipped)
    counts["missing alleles"] += int(too_missing.sum())
    counts[f"MAF below {min_maf:g}"] += 0 if keep_rare else int(too_rare.sum())
    if not common.any():
        raise BenchError(
            f"filters: none of {n_sites} sites is left: {int(too_missing.sum())} have too many "
            f"missing alleles, {int(too_rare.sum())} a MAF below {min_maf:g}"
        )
    if not keep.all():
        train, holdout = train.select_sites(keep), holdout.select_sites(keep)
        common = common[keep]
    start, end = int(train.positions[0]), int(train.positions[-1])
    if sequence is None:
        sequence = surrogate_sequence(
            max(1, start - _MARGIN), end + _MARGIN, ctx.rng("surrogate sequence")
        )
    named = np.isin(train.ref, ["A", "C", "G", "T"])
    sequence = sequence.place(
        replace(
            train.select_samples(np.empty(0, np.int64)),
            haplotypes=np.empty((0, int(named.sum())), np.int8),
            positions=train.positions[named],
            ref=train.ref[named],
            alt=train.alt[named],
        )
    )
    digest, content = digests(train, holdout, validation, common, recombination_map, sequence)
    facts = PrepareFacts(
        digest=digest,
        content=content,
        contig=train.contig,
        build=train.build,
        start=start,
        end=end,
        ploidy=train.ploidy,
        phased=train.phased and holdout.phased,
        n_sites=train.n_sites,
        n_common_sites=int(common.sum()),
        n_train_haplotypes=train.n_haplotypes,
        n_holdout_haplotypes=holdout.n_haplotypes,
        n_validation_haplotypes=int(validation.size) * train.ploidy,
        populations=_counts(train.population, holdout.population),
        one_sided=_one_sided(train.population, holdout.population),
        superpopulations=_counts(train.superpopulation, holdout.superpopulation),
        min_maf=min_maf,
        skipped={reason: n for reason, n in counts.items() if n},
        provenance=provenance,
        recombination_map=recombination_map is not None,
        surrogate_sequence=sequence.surrogate,
    )
    return Prepared(train, holdout, validation, common, recombination_map, sequence, facts)


def _one_sided(train: NDArray[np.str_], holdout: NDArray[np.str_]) -> dict[str, int]:
    """How many populations have nobody held out, and how many nobody to train on."""
    sides = [set(labels[labels != ""].tolist()) for labels in (train, holdout)]
    return {"not_held_out": len(sides[0] - sides[1]), "not_trained_on": len(sides[1] - sides[0])}


def _counts(*labels: NDArray[np.str_]) -> dict[str, int]:
    names, counts = np.unique(np.concatenate(labels), return_counts=True)
    return {str(name): int(n) for name, n in zip(names, counts, strict=True) if name}


# --- the join stage ---------------------------------------------------------------------------


def join(job: Job) -> JoinFacts | None:
    """Write a genome's `Prepared`, or its cohorts, into the job's output.

    Settings: `contigs`, folders of the contigs' prepare stages, and `relatives` as the split says;
    or `contigs`, folders of their sample stages, `panels`, names of the cohorts in each, and
    `names` of the contigs.

    Raises BenchError for contigs that don't belong together.
    """
    folders = [Path(folder) for folder in job.settings["contigs"]]
    output, scratch = Path(job.output), Path(job.scratch)
    try:
        if "relatives" in job.settings:
            join_datasets(folders, job.settings["relatives"], output, scratch)
            return None
        return join_cohorts(
            dict(zip(job.settings["names"], folders, strict=True)),
            job.settings["panels"],
            output,
            scratch,
        )
    except PanelError as error:
        raise BenchError(f"contigs: {error}") from None


def join_datasets(folders: Sequence[Path], relatives: str, output: Path, scratch: Path) -> None:
    """Write the contigs' prepared datasets as one, without map and sequence.

    Pairs of relatives are looked for once more, across the split and on all contigs: the split
    rests on those that the first contig shows.
    """
    parts = [Prepared.load(folder) for folder in folders]
    whole = join_prepared(parts, scratch)
    kin = dict(parts[0].facts.relatives or {})
    if relatives != "ignore":
        seen = find_relatives(whole.train, whole.holdout)
        across = len(seen.pairs)
        if relatives == "refuse" and across:
            one, other = seen.pairs[0]
            raise BenchError(
                f"split.relatives: {counted(across, 'pair')} of duplicates or relatives on two "
                f"sides of the split, {whole.train.samples[one]} and "
                f"{whole.holdout.samples[other]} among them",
                hint="leave them out or declare their families (pedigree_file), or set relatives "
                "to together or warn",
            )
        kin |= seen.facts() | {"across": across}
    replace(whole, facts=replace(whole.facts, relatives=kin or None)).save(output)


def join_cohorts(
    folders: Mapping[str, Path], panels: Sequence[str], output: Path, scratch: Path
) -> JoinFacts:
    """Write cohorts of these names, person i of each contig's as one person; digests by name.

    `folders` by contig, which a generator with sites of its own may have called anything. Where
    the generator claims privacy on every contig, its claim is of all fits together.
    """
    made = {}
    for name in panels:
        cohorts = [
            Panel.load(folder / name).changed(contig=contig) for contig, folder in folders.items()
        ]
        (scratch / name).mkdir()
        cohort = join_panels(cohorts, scratch / name)
        cohort.save(output / name)
        made[name] = cohort.digest
    files = [folder / PRIVACY_FILE for folder in folders.values()]
    if all(file.is_file() for file in files):
        claims = [PrivacyStatement.from_json(file.read_text(encoding="utf-8")) for file in files]
        claim = whole_claim(claims)
        (output / PRIVACY_FILE).write_text(claim.to_json(), encoding="utf-8")
    return JoinFacts(made)


def whole_claim(claims: Sequence[PrivacyStatement]) -> PrivacyStatement:
    """The claim of one fit a contig, all of the same people, as one."""
    total = compose_claims(claims)
    known = all(claim.charges for claim in claims)
    return replace(
        claims[0],
        epsilon=total.epsilon,
        delta=total.delta,
        accountant=f"{total.method}, over {len(claims)} contigs",
        per_client={},
        charges=tuple(charge for claim in claims for charge in claim.charges) if known else (),
    )
