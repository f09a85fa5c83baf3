"""What a notebook or a program calls: panels read, cohorts scored, runs opened."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from haplobench.data.consent import PeopleList, withdrawal_text
from haplobench.data.formats.sources import PanelSource, read_any, settings_of
from haplobench.data.joined import order_of_people
from haplobench.data.panel import Panel
from haplobench.datasets import EmbeddedParams
from haplobench.datasets.embedded import Embedded
from haplobench.datasets.file import read_surroundings
from haplobench.errors import BenchError, PanelError
from haplobench.plugin import RunContext, StageEvent
from haplobench.registry import load_registry
from haplobench.report.notebook import Result
from haplobench.results.run_folder import resolve_run
from haplobench.results.table import load_run as read_run
from haplobench.runner.evaluate import Evaluation, evaluate_contigs
from haplobench.runner.evaluate import evaluate as score
from haplobench.runner.given_panels import hold_out
from haplobench.runner.given_sites import AbsentSites, GivenCohort, SiteSettings
from haplobench.runner.progress import ProgressReporter, stage_line
from haplobench.suite.values import contig_names

CONTIG = "{contig}"
"""In a path: the name of each contig."""
_CONTIG_PART = re.compile(r"[._-]?(chr)?\{contig\}[._-]?")


def read_panel(source: PanelSource, **settings: Any) -> Panel:
    """A panel of whatever holds haplotypes.

    Parameters
    ----------
    source : path, array, pair of arrays, xarray.Dataset, tskit.TreeSequence or Panel
        A file: VCF, BCF, VCF Zarr, PLINK 1 or 2, `.hapt`. `embedded`: a panel in the package,
        see `haplobench.datasets.EmbeddedParams` for its settings. Haplotypes as an array,
        with `positions`: (n_haplotypes, n_sites) of 0, 1 and -1 (missing), or, as scikit-allel
        has them, (n_sites, n_samples, ploidy); `(haplotypes, positions)` is the same. A dataset
        with sgkit's variables, which are VCF Zarr's. A tree sequence, whose sample individuals are
        the people; where it counts positions from 0, `offset=1` makes them 1-based bp.
    **settings
        Of an array, fields of `Panel`: `positions` (bp), `contig`, `samples`, `ref`, `alt`,
        `population`, `superpopulation`, `ploidy`, `phased`, `build`. Of all others, fields of
        `ReadOptions`: `region`, `contig`, `panel_file` (labels), `samples`, `populations`,
        `snps_only`, `max_missing`, `skip_unphased`, `haploid`, `build` …

    Returns
    -------
    Panel
        Sites with missing alleles are kept unless `max_missing` says otherwise. What has no phase
        is read as unphased, with a warning. `left_out` says what is missing from the source.

    Raises
    ------
    FormatError, PanelError
        If it can't be read: one line that names source, place and cause.
    """
    if isinstance(source, str) and source == "embedded":
        with tempfile.TemporaryDirectory(prefix="haplobench-") as scratch:
            ctx = RunContext(seed=1, artifacts=Path(scratch), scratch=Path(scratch))
            loaded = Embedded().load(settings_of(EmbeddedParams, settings), ctx)
        return loaded.panel.changed(left_out=loaded.skipped)
    arrays = isinstance(source, (tuple, np.ndarray, Panel))
    more = {} if arrays else {"max_missing": 1.0}
    panel, skipped = read_any(source, more | settings, tell=_warn)
    return panel.changed(left_out=skipped)


def evaluate(
    real: PanelSource,
    synthetic: PanelSource | Mapping[str, PanelSource] | Sequence[PanelSource],
    *,
    train: PanelSource | None = None,
    metrics: str | Sequence[str] = "all",
    split: float | str = "",
    trained_on_everybody: bool = False,
    panel_file: Path | str | None = None,
    labels: Path | str | Sequence[Path | str] | None = None,
    region: str = "",
    contigs: str | Sequence[str | int] = "",
    recombination_map: Path | str = "",
    fasta: Path | str = "",
    min_maf: float = 0.01,
    max_missing: float = 0.0,
    absent_sites: AbsentSites = "fixed",
    own_sites: bool = False,
    skip_unphased: bool = False,
    snps_only: bool = True,
    withdrawn: str = "",
    allow_unknown: bool = False,
    dataset: str = "",
    floor_draws: int = 10,
    seed: int = 1,
    out: Path | str = "results",
    jobs: int = 1,
    fresh: bool = False,
    reporter: ProgressReporter | None = None,
) -> Result:
    """Score synthetic cohorts against real people: what `bench evaluate` does, number by number.

    Parameters
    ----------
    real : PanelSource
        People whom the generator hasn't seen, see `read_panel`.
    synthetic : PanelSource, mapping or list
        A cohort; several by label; or several paths, which are called by their files.
    train : PanelSource or None
        The people that the generator was trained on: privacy metrics and controls need them.
    metrics : str or sequence of str
        Names; `all` stands for every installed one.
    split : float or str
        Hold out this share of `real`, or those listed in a file; the others are `train`.
    trained_on_everybody : bool
        The generator was trained on all of `real`: nothing can be said of privacy.
    panel_file, labels : path
        Population labels of real people, and of the cohorts (one for all, or one for each).
    region : str
        Of files: use this region only.
    contigs : str or sequence
        Names of contigs, or ranges of them (`1..22,X`), to score as one genome. `{contig}` in a
        path stands for each; a path without it is of a file that holds all. Panels in memory
        come by contig: `{"1": panel, "2": other}`.
    recombination_map, fasta : path
        Of the region.
    min_maf, max_missing, absent_sites, own_sites
        See `runner.given_sites.SiteSettings`.
    skip_unphased, snps_only
        See `ReadOptions`.
    withdrawn : str
        A list of people to leave out before anything else; `allow_unknown` names on it.
    dataset : str
        What tables call the real people; by default after their file.
    floor_draws, seed, jobs, fresh, reporter
        See `runner.evaluate.evaluate`. Without a reporter, what is amiss is a Python warning.
    out : path
        The run lies in `out/evaluate/<run>/`; one that was there already isn't measured again.

    Raises
    ------
    BenchError
        If panels can't be read or don't fit together.
    """
    reporter = reporter or _Warnings()
    if absent_sites not in get_args(AbsentSites):
        expected = " or ".join(get_args(AbsentSites))
        raise BenchError(f"--absent-sites: {absent_sites!r}; expected {expected}")
    check_training(train, split, trained_on_everybody)
    cohorts = _by_label(synthetic)
    surroundings = {"map": str(recombination_map), "fasta": str(fasta)}
    sources = {"real": real, "train": train, "synthetic": tuple(cohorts.values())}
    names = check_contigs(contigs, sources | surroundings, region)
    tables = [labels] if isinstance(labels, (str, Path)) else list(labels or [])
    if len(tables) > 1 and len(tables) != len(cohorts):
        raise BenchError(f"labels: {len(tables)} for {len(cohorts)} cohorts; expected one for each")
    with tempfile.TemporaryDirectory(prefix="haplobench-") as folder:
        scratch = Path(folder)
        whole = Reading(region, snps_only, skip_unphased, scratch / "read", reporter.message)
        given = Given(
            real,
            train,
            cohorts,
            panel_file,
            tables,
            surroundings,
            (split, seed),
            withdrawn,
            allow_unknown,
            reporter.message,
        )
        scored = partial(
            Evaluation,
            trained_on_all=trained_on_everybody,
            metrics=(metrics,) if isinstance(metrics, str) else tuple(metrics),
            dataset=dataset or _name_of(real),
            sites=SiteSettings(min_maf, max_missing, absent_sites, own_sites),
            floor_draws=floor_draws,
            seed=seed,
        )
        first: list[Evaluation] = []

        def read(contig: str) -> Evaluation:
            evaluation = given.read(whole.of(contig), scored, *first)
            if not first:
                first.append(evaluation.without_sites())
            return evaluation

        registry = load_registry()
        how: dict[str, Any] = {"jobs": jobs, "fresh": fresh, "reporter": reporter}
        if names:
            outcome = evaluate_contigs(names, read, registry, Path(out), scratch, **how)
        else:
            outcome = score(given.read(whole, scored), registry, out, **how)
    return Result(read_run(outcome.run_folder))


def load_run(run: Path | str, out: Path | str = "results") -> Result:
    """Open a run: its folder, its id (or the beginning), or a suite's name for its newest run.

    Raises BenchError if there is none under `out`, with near names.
    """
    return Result(read_run(resolve_run(run, out)))


@dataclass(frozen=True, eq=False)
class RealPeople:
    """Whom cohorts are scored against.

    Attributes
    ----------
    real, train : Panel
        Held-out people, and those that generators were trained on where they are known.
    everybody : Panel
        `real` before anybody's withdrawal.
    withdrawn : mapping or None
        How many people were left out, see `PeopleList.leave_out`.
    """

    real: Panel
    train: Panel | None
    everybody: Panel
    withdrawn: Mapping[str, int] | None = None

    def split(self, split: float | str, seed: int, tell: Callable[[str], None]) -> RealPeople:
        """Some of `real` held out and the others as `train`, by a share or by a list of names.

        Whoever has withdrawn may be on the list.
        """
        try:
            share = float(split)
        except ValueError:
            names, _ = PeopleList.read(str(split)).find(self.everybody, key="--split")
            held = np.flatnonzero(np.isin(self.real.samples, list(names))).astype(np.int64)
            train, holdout = hold_out(self.real, held, seed)
        else:
            if not 0 < share < 1:
                raise BenchError(f"--split: {split}; expected a share between 0 and 1, or a file")
            train, holdout = hold_out(self.real, share, seed)
        tell(f"split: {train.n_samples:,} people to train on, {holdout.n_samples:,} held out")
        return replace(self, real=holdout, train=train)

    def like(self, real: Panel, train: Panel | None) -> RealPeople:
        """The people of a further contig, in the order and on the sides of the first's.

        Raises BenchError, with names, where they are others.
        """
        if train is None:
            return replace(self, real=_as_on_first("real", self.real, real)[0])
        if self.train is None:
            held, trained = _as_on_first("real", self.real, real, train)
        else:
            (held,) = _as_on_first("real", self.real, real)
            (trained,) = _as_on_first("train", self.train, train)
        return replace(self, real=held, train=trained)


@dataclass
class Reading:
    """How panels are read for an evaluation.

    Attributes
    ----------
    region, snps_only, skip_unphased
        Of what is no panel yet, see `ReadOptions`.
    scratch : Path
        Takes what doesn't fit in memory.
    tell : callable
        Takes a line on each panel.
    contig : str
        Of several, the one to read; of what holds them all, the part that is read.
    files : dict
        Paths by what was read from them, so far.
    seen : dict
        Contigs by the digests of what was read of a source that holds them all.
    """

    region: str
    snps_only: bool
    skip_unphased: bool
    scratch: Path
    tell: Callable[[str], None]
    contig: str = ""
    files: dict[str, str] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)

    def of(self, contig: str) -> Reading:
        """How this contig's panels are read."""

        def tell(text: str) -> None:
            lead = "warning: " if text.startswith("warning: ") else ""
            self.tell(f"{lead}contig {contig}: {text.removeprefix(lead)}")

        return replace(self, contig=contig, tell=tell, files={})

    def read(
        self, name: str, source: PanelSource, table: Path | str | None
    ) -> tuple[Panel, dict[str, int]]:
        """A panel with its labels, and what was left out of it, which is told."""
        settings: dict[str, Any] = {}
        held, source = source, self._part(name, source)
        region = self.contig if self.contig and held is source else self.region
        if not isinstance(source, (Panel, tuple, np.ndarray)):
            settings = {
                "region": region,
                "snps_only": self.snps_only,
                # Left out by max_missing once it's known what the panels have in common.
                "max_missing": 1.0,
                "skip_unphased": self.skip_unphased,
                "panel_file": table,
            }
        elif table or (self.region and not name.startswith("synthetic")):
            raise BenchError(
                f"{name}: labels and region are of what is read; a panel in memory has its own",
                hint="select from it, or give a file",
            )
        panel, skipped = read_any(source, settings, scratch=self.scratch / name, tell=self.tell)
        if self.contig and held is source:
            digest = f"{name} {panel.changed(contig='', build='').digest}"
            if (other := self.seen.setdefault(digest, self.contig)) != self.contig:
                raise BenchError(
                    f"{name}: {source}: holds no contigs that can be told apart: {other} and "
                    f"{self.contig} are the same",
                    hint="give one file a contig, with {contig} in its path",
                )
        if self.contig and not panel.contig:
            panel = panel.changed(contig=self.contig)
        if isinstance(source, (str, Path)):
            self.files[name] = str(source)
        left_out = ", ".join(f"{n:,} {reason}" for reason, n in skipped.items())
        self.tell(
            f"{name}: {panel.n_haplotypes:,} haplotypes at {panel.n_sites:,} sites"
            + (f"; left out: {left_out}" if left_out else "")
        )
        return panel, skipped

    def _part(self, name: str, source: PanelSource) -> PanelSource:
        """What is to be read of the contig; the source itself where it holds several."""
        if not self.contig:
            return source
        if _is_mapping(source):
            return next(one for contig, one in source.items() if str(contig) == self.contig)
        if isinstance(source, (Panel, tuple, np.ndarray)):
            raise BenchError(
                f"{name}: one panel for all contigs",
                hint="give one a contig: {'1': panel, '2': other}",
            )
        if isinstance(source, (str, Path)) and CONTIG in str(source):
            return str(source).replace(CONTIG, self.contig)
        return source

    def people(
        self,
        real: PanelSource,
        train: PanelSource | None,
        panel_file: Path | str | None,
        *,
        withdrawn: str = "",
        allow_unknown: bool = False,
    ) -> RealPeople:
        """Real and training people without those who withdrew."""
        sources = {"real": real} | ({} if train is None else {"train": train})
        read = [self.read(name, source, panel_file)[0] for name, source in sources.items()]
        everybody, counts = read[0], None
        if withdrawn:
            kept, counts = PeopleList.read(withdrawn).leave_out(
                *read, allow_unknown=allow_unknown, key="--withdrawn"
            )
            read = list(kept)
            self.tell(withdrawal_text(counts))
        return RealPeople(read[0], read[1] if train is not None else None, everybody, counts)


@dataclass(frozen=True)
class Given:
    """What `evaluate` is given to read its panels from, of one contig or of each.

    Attributes
    ----------
    real, train, cohorts
        Real people, and synthetic cohorts by label.
    panel_file, tables
        Population labels of real people, and of cohorts: none, one for all, or one for each.
    surroundings : mapping
        Paths of the recombination map and the FASTA file, as `read_surroundings` takes them.
    split : tuple
        Whom of `real` to hold out (a share, a list of names, or nobody), and the seed.
    withdrawn, allow_unknown
        See `Reading.people`.
    tell : callable
        Takes a line on the split.
    """

    real: PanelSource
    train: PanelSource | None
    cohorts: Mapping[str, PanelSource]
    panel_file: Path | str | None
    tables: Sequence[Path | str]
    surroundings: Mapping[str, str]
    split: tuple[float | str, int]
    withdrawn: str
    allow_unknown: bool
    tell: Callable[[str], None]

    def read(
        self,
        reading: Reading,
        scored: Callable[..., Evaluation],
        first: Evaluation | None = None,
    ) -> Evaluation:
        """What is scored, of one contig; of a further one the `first`'s people in their order.

        `scored` has the settings. Raises BenchError if panels can't be read, or people are others.
        """
        people = reading.people(
            self.real,
            self.train,
            self.panel_file,
            withdrawn=self.withdrawn,
            allow_unknown=self.allow_unknown,
        )
        if first is not None:
            people = people.like(first.real, first.train)
        elif self.split[0]:
            people = people.split(*self.split, self.tell)
        cohorts = []
        for at, (label, source) in enumerate(self.cohorts.items()):
            name = "synthetic" if len(self.cohorts) == 1 else f"synthetic {at + 1}"
            table = self.tables[at % len(self.tables)] if self.tables else None
            panel, skipped = reading.read(name, source, table)
            if not panel.contig and panel.n_sites:
                panel = panel.changed(contig=people.real.contig)
            if first is not None:
                (panel,) = _as_on_first(label, panel, first.cohorts[at].panel)
            cohorts.append(GivenCohort(label, panel, sum(skipped.values())))
        places = (text.replace(CONTIG, reading.contig) for text in self.surroundings.values())
        genetic, sequence = read_surroundings(people.real, *places)
        return scored(
            people.real,
            tuple(cohorts),
            people.train,
            recombination_map=genetic,
            sequence=sequence,
            origin=reading.files | ({"split": str(self.split[0])} if self.split[0] else {}),
            withdrawn=people.withdrawn,
        )


def check_contigs(
    contigs: str | Sequence[str | int], sources: Mapping[str, Any], region: str = ""
) -> tuple[str, ...]:
    """The contigs that are asked for, in order; none where one is.

    `sources` by the option that gives them. Raises BenchError for names that are none or come
    twice, for `{contig}` in a path without contigs, and for what of a contig isn't there.
    """
    listed = [part.strip() for part in contigs.split(",")] if isinstance(contigs, str) else contigs
    try:
        names = contig_names(list(listed)) if contigs else ()
    except ValueError as error:
        alone = [str(name) for name in listed if len(listed) == 1 and ".." not in str(name)]
        hint = f"--region {alone[0]} reads one contig" if alone else ""
        raise BenchError(f"--contigs: {error}", hint=hint) from None
    if names and region:
        raise BenchError("--contigs and --region: expected one of them")
    for name, given in sources.items():
        for path in given if name == "synthetic" else (given,):
            if _is_mapping(path) and (nothing := set(names) - set(map(str, path))):
                raise BenchError(
                    f"{name}: nothing of contig {min(nothing)}; found {', '.join(map(str, path))}"
                )
            if not isinstance(path, (str, Path)) or CONTIG not in str(path):
                continue
            if not names:
                raise BenchError(
                    f"--{name}: {path}: {{contig}} stands for each of --contigs, and none are given"
                )
            files = [Path(str(path).replace(CONTIG, contig)).expanduser() for contig in names]
            if missing := [file for file in files if not file.exists()]:
                more = f" (and {len(missing) - 1} more)" if missing[1:] else ""
                raise BenchError(f"--{name}: {missing[0]}: no such file{more}")
    return names


def _as_on_first(name: str, panel: Panel, *parts: Panel) -> list[Panel]:
    """A contig's panel as parts with the people of the first contig's `parts`, as they are there.

    Raises BenchError, with names, where people or labels are others.
    """
    try:
        order = order_of_people(panel, *parts)
    except PanelError as error:
        raise BenchError(f"{name}: {error.args[0]}", hint=error.hint) from None
    if np.array_equal(order, np.arange(panel.n_samples)) and len(parts) == 1:
        return [panel.changed(family=parts[0].family)]
    bounds = np.cumsum([part.n_samples for part in parts])[:-1]
    return [
        panel.select_samples(chosen).changed(family=part.family)
        for part, chosen in zip(parts, np.split(order, bounds), strict=True)
    ]


def check_training(train: object, split: object, trained_on_everybody: bool) -> None:
    """BenchError where two things are said of whom the generator was trained on."""
    given = {
        "--train": train is not None,
        "--split": bool(split),
        "--trained-on-everybody": trained_on_everybody,
    }
    if len(both := [option for option, value in given.items() if value]) > 1:
        raise BenchError(f"{' and '.join(both)}: expected one of them")


def cohort_labels(cohorts: Sequence[PanelSource]) -> list[str]:
    """What tables call cohorts: after their files, with their folders where these are alike."""
    if len(cohorts) == 1:
        return ["synthetic"]
    if not all(isinstance(cohort, (str, Path)) for cohort in cohorts):
        raise BenchError(
            "synthetic: several cohorts that aren't files have no names",
            hint="give them by label: {'mine': panel, 'theirs': other}",
        )
    paths = [Path(cohort) for cohort in cohorts]
    plain = [_CONTIG_PART.sub(".", path.name).partition(".")[0] for path in paths]
    of_contigs = [CONTIG in path.name for path in paths]
    names = [
        name or (path.parent.name if folder else path.name)
        for name, path, folder in zip(plain, paths, of_contigs, strict=True)
    ]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _by_label(synthetic: Any) -> dict[str, PanelSource]:
    if _is_mapping(synthetic):
        return dict(synthetic)
    cohorts = list(synthetic) if isinstance(synthetic, list) else [synthetic]
    labels = cohort_labels(cohorts)
    return dict(zip(labels, cohorts, strict=True))


def _is_mapping(source: Any) -> bool:
    # A dataset of xarray's is a mapping, too.
    return isinstance(source, Mapping) and not hasattr(source, "data_vars")


def _name_of(real: PanelSource) -> str:
    """What tables call the real people: by their file."""
    if not isinstance(real, (str, Path)):
        return "real"
    path = Path(real)
    if CONTIG not in path.name:
        return path.name
    name = _CONTIG_PART.sub(".", path.name)
    return path.parent.name or "real" if name.startswith(".") else name


def _warn(text: str) -> None:
    warnings.warn(text.removeprefix("warning: "), stacklevel=3)


class _Warnings(ProgressReporter):
    """Says what is amiss as Python does, and nothing else."""

    def message(self, text: str) -> None:
        """Warn, of warnings."""
        if text.startswith("warning: ") or ": read as not phased" in text:
            _warn(text)

    def stage_finished(self, event: StageEvent) -> None:
        """Warn, of what failed."""
        if event.status not in ("ok", "cached", "not-applicable"):
            _warn(stage_line(event))
