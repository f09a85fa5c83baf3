"""The join stage: what contigs' stages have left, put together to a genome's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from haplobench.data.joined import join_panels, join_prepared
from haplobench.data.panel import Panel
from haplobench.data.prepared import PRIVACY_FILE, Prepared
from haplobench.data.relatives import find_relatives
from haplobench.errors import BenchError, PanelError
from haplobench.plugin import PrivacyStatement
from haplobench.plugin.privacy import compose_claims
from haplobench.runner.worker.facts import JoinFacts
from haplobench.runner.worker.job import Job
from haplobench.units import counted


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
