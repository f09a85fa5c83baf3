"""`bench data`, `generate` and `explore`: files of a dataset or a fitted generator."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from haplobench.cli.output import RUNS, RunArgument, RunsOption, echo, make_console
from haplobench.errors import BenchError, UnphasedError

if TYPE_CHECKING:
    from rich.console import Console

    from haplobench.data.panel import Panel
    from haplobench.plugin import LoadedDataset

app = typer.Typer(help="Fetch datasets, and say what is in a file.", no_args_is_help=True)

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set a parameter of the dataset, as key=value (repeatable)."),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="Seed datasets that are simulated with this number.")
]
WithdrawnOption = Annotated[
    str, typer.Option("--withdrawn", help="Leave out the people on this list, who withdrew.")
]
AllowUnknownOption = Annotated[
    bool, typer.Option("--allow-unknown", help="Allow names on the list that aren't in the panel.")
]


@app.command("get")
def get(
    name: Annotated[
        str, typer.Argument(help="Load the dataset of this name; `bench list datasets` shows them.")
    ],
    to: Annotated[
        Path,
        typer.Option("--to", help="Write this file: .vcf.gz, .bcf, .vcz, .pgen, .bed or .hapt."),
    ],
    settings: SetOption = None,
    seed: SeedOption = 1,
    withdrawn: WithdrawnOption = "",
    allow_unknown: AllowUnknownOption = False,
) -> None:
    """Load a dataset (downloading what is missing) and write it to a file."""
    from haplobench.data.formats import write_panel

    with _loaded(name, {}, settings or [], seed) as loaded:
        loaded = _consenting(loaded, withdrawn, allow_unknown)
        panel, left_out = loaded.panel, loaded.provenance.get("consent")
        write_panel(panel, to)
        echo(
            f"{to}: {panel.n_haplotypes} haplotypes at {panel.n_sites} sites"
            + (f"; {left_out}" if left_out else "")
        )


@app.command("info")
def info(
    name: Annotated[
        str, typer.Argument(help="Look into this file of any format, or the dataset of this name.")
    ],
    settings: SetOption = None,
    seed: SeedOption = 1,
    withdrawn: WithdrawnOption = "",
    allow_unknown: AllowUnknownOption = False,
) -> None:
    """Say what is in a file or dataset: sites, people, populations, and what was left out."""

    values: dict[str, object] = {}
    if Path(name).exists():
        values, name = {"path": name}, "file"
    elif Path(name).suffix or Path(name).name != name:
        raise BenchError(f"{name}: no such file")
    settings = settings or []
    console = make_console(highlight=False)
    try:
        with _loaded(name, values, settings, seed) as loaded:
            _print_facts(_consenting(loaded, withdrawn, allow_unknown), console)
    except UnphasedError as error:
        if any("skip_unphased" in setting for setting in settings):
            raise
        # What is in it can be said all the same.
        with _loaded(name, values, [*settings, "allow_unphased=true"], seed) as loaded:
            _print_facts(
                _consenting(loaded, withdrawn, allow_unknown),
                console,
                phase=str(error.args[0]).removeprefix(f"{values.get('path')}: "),
            )


def _consenting(loaded: LoadedDataset, withdrawn: str, allow_unknown: bool) -> LoadedDataset:
    """The dataset without the people of a list; its provenance says how many they are."""
    if not withdrawn:
        return loaded
    from haplobench.data.consent import PeopleList, withdrawal_text

    (panel,), counts = PeopleList.read(withdrawn).leave_out(
        loaded.panel, allow_unknown=allow_unknown, key="--withdrawn"
    )
    provenance = {"consent": withdrawal_text(counts), **loaded.provenance}
    return replace(loaded, panel=panel, provenance=provenance)


@contextmanager
def _loaded(
    name: str, values: dict[str, object], settings: list[str], seed: int
) -> Iterator[LoadedDataset]:
    """A dataset by name; its panel may be mapped from a folder that goes when the block ends.

    `values` are parameters as they are, `settings` such as `key=value` whose values are YAML.
    """
    from haplobench.files import expand_variables
    from haplobench.plugin import RunContext
    from haplobench.registry import load_registry, missing_needs, resolve
    from haplobench.suite.source import key_text, map_texts, parse_value, structural_problems

    spec = load_registry().dataset(name)
    if missing := missing_needs(spec.needs):
        raise BenchError(f"dataset {name} needs {'; '.join(missing)}")
    values = dict(values)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise BenchError(f"--set {setting}: expected key=value")
        given = parse_value(value, f"--set {setting}")
        values[key] = map_texts(given, lambda _, text: expand_variables(text))
    problems = structural_problems(values, spec.params)
    if problems:
        listed = "; ".join(f"{key_text(place)}: {text}" for place, text in problems)
        raise BenchError(f"dataset {name}: {listed}")
    params = spec.params.model_validate(values)
    with tempfile.TemporaryDirectory(prefix="haplobench-") as scratch:
        ctx = RunContext(seed=seed, artifacts=Path(scratch), scratch=Path(scratch))
        yield resolve(spec.target)().load(params, ctx)


def _print_facts(loaded: LoadedDataset, console: Console, *, phase: str = "") -> None:
    from rich.table import Table

    panel = loaded.panel
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    facts = _panel_facts(panel) | ({"phase": phase} if phase else {}) | _side_facts(loaded)
    for fact, value in facts.items():
        table.add_row(fact, value)
    console.print(table, markup=False)


def _panel_facts(panel: Panel) -> dict[str, str]:
    import numpy as np

    maf = panel.maf
    labels, counts = np.unique(panel.population, return_counts=True)
    populations = ", ".join(f"{a} {n}" for a, n in zip(labels.tolist(), counts, strict=True) if a)
    region = (
        f"{panel.contig}:{panel.positions[0]}-{panel.positions[-1]}" if panel.n_sites else "none"
    )
    return {
        "region": f"{region} ({panel.span:,} bp{', ' + panel.build if panel.build else ''})",
        "sites": f"{panel.n_sites:,} ({int((maf > 0.01).sum()):,} with MAF > 1 %, "
        f"{int((maf > 0.05).sum()):,} with MAF > 5 %, {int((maf == 0).sum()):,} fixed)",
        "people": f"{panel.n_samples:,} ({panel.n_haplotypes:,} haplotypes, "
        f"{'phased' if panel.phased else 'not phased'})",
        "populations": populations or "not labelled",
        "missing alleles": "yes" if panel.has_missing else "none",
        "digest": panel.digest,
    }


def _side_facts(loaded: LoadedDataset) -> dict[str, str]:
    facts = {
        "left out": ", ".join(f"{reason} {n:,}" for reason, n in loaded.skipped.items() if n)
        or "nothing"
    }
    recombination_map = loaded.recombination_map
    if recombination_map is not None and loaded.panel.n_sites:
        start, end = recombination_map.at(loaded.panel.positions[[0, -1]])
        facts["recombination map"] = f"{end - start:.3f} cM over the region"
        if recombination_map.remark:
            facts["recombination map"] += f" (the map {recombination_map.remark})"
    if loaded.sequence is not None:
        facts["reference"] = f"{loaded.sequence.bases.size:,} bases"
    return facts | {key: str(value) for key, value in loaded.provenance.items()}


# --- from a fitted generator ------------------------------------------------------------------

GeneratorOption = Annotated[
    str, typer.Option("--generator", "-g", help="Take the generator of this label.")
]
DatasetOption = Annotated[
    str, typer.Option("--dataset", "-d", help="Take the dataset of this label.")
]
FitOption = Annotated[
    int | None,
    typer.Option("--seed", min=0, help="Take the fit of this seed (default: the lowest)."),
]


def generate(
    run: RunArgument,
    haplotypes: Annotated[
        int, typer.Option("--haplotypes", "-n", min=1, help="Sample so many haplotypes.")
    ],
    to: Annotated[
        Path, typer.Option("--to", help="Write this file: .vcz, .bcf, .vcf.gz or .pgen.")
    ],
    generator: GeneratorOption = "",
    dataset: DatasetOption = "",
    seed: FitOption = None,
    population: Annotated[
        list[str] | None,
        typer.Option(
            "--population",
            help="Sample only this (super)population (repeatable; conditional generators).",
        ),
    ] = None,
    sampling_seed: Annotated[
        int, typer.Option("--sampling-seed", help="Seed the draws with this number.")
    ] = 1,
    start: Annotated[
        int, typer.Option("--start", min=0, help="Go on from this haplotype of the same draws.")
    ] = 0,
    batch: Annotated[
        int, typer.Option("--batch", min=1, help="Hold so many haplotypes in memory at once.")
    ] = 1024,
    device: Annotated[
        str, typer.Option("--device", help="Compute on this device: cpu or cuda:N.")
    ] = "cpu",
    part: Annotated[
        str,
        typer.Option(
            "--part",
            help="Write this part of how many, such as 3/8; the last to end makes the file.",
        ),
    ] = "1/1",
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Share the work among so many processes.")
    ] = 1,
    programs: Annotated[
        bool,
        typer.Option(
            "--run-programs",
            help="Run the command lines that a model of `command` holds; do so only for runs "
            "that you trust.",
        ),
    ] = False,
    out: RunsOption = RUNS,
) -> None:
    """Sample a fitted generator of a run into a file, in memory that doesn't grow with it.

    After a kill, the same command goes on where it stopped.
    """
    import time

    from haplobench.data.formats.streaming import Part
    from haplobench.fitted.generate import Order, write_cohort
    from haplobench.registry import load_registry
    from haplobench.results.notes import find_model
    from haplobench.results.run_folder import resolve_run

    folder = resolve_run(run, out)
    noted = find_model(folder, generator=generator, dataset=dataset, seed=seed)
    order = Order(
        haplotypes=haplotypes,
        start=start,
        seed=sampling_seed,
        populations=tuple(population or ()),
        batch_size=batch,
        device=device,
    )
    began = time.perf_counter()
    with make_console(stderr=True).status(f"{noted.text}: loading") as status:
        made = write_cohort(
            folder,
            noted,
            load_registry(),
            order,
            to,
            status.update,
            part=Part.parse(part),
            jobs=jobs,
            programs=programs,
        )
    took = time.perf_counter() - began
    if made.waits:
        echo(
            f"{to}: part {part} is there after {took:.1f} s; other parts have yet to write "
            f"{made.waits:.0%}, and whichever comes last makes the file"
        )
        return
    echo(
        f"{to}: {made.n_haplotypes:,} haplotypes at {made.n_sites:,} sites of {noted.text} "
        f"in {took:.1f} s ({made.n_haplotypes * made.n_sites / took / 1e6:.1f} M alleles/s)"
    )


def explore(
    run: RunArgument,
    to: Annotated[
        Path, typer.Option("--to", help="Write haplotypes, latents and plot into this folder.")
    ],
    first: Annotated[str, typer.Option("--from", help="Begin the path at this person.")],
    second: Annotated[
        str, typer.Option("--until", help="End the path at this person, or else give --latent.")
    ] = "",
    latent: Annotated[
        int | None, typer.Option("--latent", min=0, help="Change this latent, from end to end.")
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", min=2, help="Take so many points on the path.")
    ] = 9,
    generator: GeneratorOption = "",
    dataset: DatasetOption = "",
    seed: FitOption = None,
    format_: Annotated[
        str,
        typer.Option("--format", help="Write haplotypes in this format: vcf.gz, bcf, vcz, pgen …."),
    ] = "vcf.gz",
    device: Annotated[
        str, typer.Option("--device", help="Compute on this device: cpu or cuda:N.")
    ] = "cpu",
    out: RunsOption = RUNS,
) -> None:
    """Look into a fitted generator's latent space: a path between two people, or one latent's."""
    from haplobench.fitted.explore import Question, write_explored
    from haplobench.fitted.explore import explore as ask
    from haplobench.registry import load_registry
    from haplobench.results.notes import find_model
    from haplobench.results.run_folder import resolve_run

    if bool(second) == (latent is not None):
        raise BenchError("expected either --until PERSON or --latent NUMBER")
    folder = resolve_run(run, out)
    noted = find_model(folder, generator=generator, dataset=dataset, seed=seed)
    people = (first, second) if second else (first,)
    question = Question(people, steps, latent, device)
    found = ask(folder, noted, load_registry(), question)
    for path in write_explored(found, to, f".{format_.lstrip('.')}"):
        echo(str(path))
