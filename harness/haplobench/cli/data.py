"""`bench data`: fetch a dataset to a file, or say what is in one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from haplobench.cli.output import echo, make_console
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
