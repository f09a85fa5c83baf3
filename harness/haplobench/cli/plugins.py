"""Plugins from the command line: list, write, describe as a schema, and check them."""

from __future__ import annotations

import os
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from haplobench.cli.output import echo, make_console
from haplobench.errors import BenchError, SuiteError

if TYPE_CHECKING:
    from rich.console import Console

    from haplobench.registry import Registry
    from haplobench.testing import Failure


OURS = "haplobench"


class Kind(StrEnum):
    """What a plugin declares, one of its kind."""

    generator = "generator"
    metric = "metric"
    dataset = "dataset"


# What can be listed: the same in the plural, and suites.
Section = StrEnum("Section", ["generators", "metrics", "datasets", "suites"])


def list_plugins(
    kind: Annotated[
        Section | None, typer.Argument(help="List these only (default: everything).")
    ] = None,
) -> None:
    """List generators, metrics, datasets and suites with their status."""

    from haplobench.registry import load_registry

    console = make_console(highlight=False, markup=True)
    registry = load_registry()
    kinds = [kind] if kind else list(Section)
    for each in kinds:
        if each is Section.suites:
            _print_suites(console, registry)
        else:
            _print_specs(console, registry, each)
    _print_trouble(console, registry)


def _print_specs(console: Console, registry: Registry, kind: Section) -> None:
    from rich.markup import escape

    from haplobench.registry import missing_needs

    table = _table(kind.value, "name", "status", "summary")
    specs: dict[str, Any] = getattr(registry, kind.value)
    for name, spec in specs.items():
        missing = missing_needs(spec.needs)
        status = "[green]ready[/]"
        if missing:
            status = "[yellow]missing: " + escape("; ".join(missing)) + "[/]"
        source = registry.source(kind.value, name)
        origin = "" if source.distribution == OURS else f" [dim]({escape(str(source))})[/]"
        table.add_row(name, status, escape(_first_sentence(spec.summary)) + origin)
    console.print(table)


def _print_suites(console: Console, registry: Registry) -> None:
    from rich.markup import escape

    from haplobench.suite.source import shipped_suites

    table = _table("suites", "name", "status", "title")
    for name in shipped_suites():
        status, title = _suite_status(name, registry)
        table.add_row(name, status, escape(title))
    console.print(table)


def _suite_status(name: str, registry: Registry) -> tuple[str, str]:
    """Status and title."""
    from rich.markup import escape

    from haplobench.suite.load import load_suite

    try:
        suite = load_suite(name, [], registry)
    except SuiteError as error:
        return "[yellow]" + escape("; ".join(error.problems)) + "[/]", ""
    absent = [entry.label for entry in suite.generators if entry.missing]
    without = f" without {escape(', '.join(absent))}" if absent else ""
    return f"[green]ready[/]{without}", suite.title


def _print_trouble(console: Console, registry: Registry) -> None:
    for plugin in registry.broken:
        console.print(f"broken plugin: {plugin.source}: {plugin.error}", style="red", markup=False)
    for (kind, name), sources in registry.duplicates.items():
        listed = " and ".join(map(str, sources))
        console.print(
            f"{kind[:-1]} {name!r} is declared by {listed}: uninstall one of them",
            style="red",
            markup=False,
        )


def _table(title: str, *columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(
            column,
            no_wrap=column == "name",
            overflow="fold",
            max_width=34 if column == "status" else None,
        )
    return table


def _first_sentence(text: str) -> str:
    head, dot, _ = text.partition(". ")
    return head + (dot.strip() or "")


def new(
    kind: Annotated[Kind, typer.Argument(help="Write a plugin of this kind.")],
    name: Annotated[str, typer.Argument(help="Call it so in suites and tables: my-generator.")],
    to: Annotated[
        Path, typer.Option("--to", help="Make the new folder NAME in this folder.")
    ] = Path(),
) -> None:
    """Write a plugin of your own: package, test, suite and README, complete and working.

    It is a distribution of its own. Nothing that exists is overwritten.
    """
    from haplobench.registry import load_registry
    from haplobench.scaffold import create

    folder = create(kind.value, name, to, load_registry())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        echo(f"written: {path}")
    shown = os.path.relpath(folder)
    echo(
        "\nNext (README.md says more):\n"
        f"  cd {shown}\n"
        "  pip install -e '.[test]'\n"
        f"  bench check {name}\n"
        "  python -m pytest\n"
        "  bench run suite.yaml"
    )


def schema(
    to: Annotated[
        Path | None, typer.Option("--to", help="Write this file (default: print).")
    ] = None,
    plugins: Annotated[
        str,
        typer.Option(
            "--plugins", help="Include only plugins in these modules, separated by commas."
        ),
    ] = "",
) -> None:
    """Print the JSON Schema of suites, parameters of all installed plugins included.

    Editors complete and check a suite whose first line is, for a schema written
    beside it, `# yaml-language-server: $schema=suite.schema.json`.
    """
    import json

    from haplobench.registry import load_registry
    from haplobench.suite.json_schema import suite_json_schema

    registry = load_registry(plugins.split(",") if plugins else None)
    text = json.dumps(suite_json_schema(registry), indent=1, ensure_ascii=False) + "\n"
    if to is None:
        echo(text, nl=False)
    else:
        to.write_text(text, encoding="utf-8")
        echo(f"written: {to}")


EXIT_BREACH = 1


def check(
    name: Annotated[
        str,
        typer.Argument(
            help="Check the generator, metric or dataset of this name; or FILE.py, or "
            "FILE.py:NAME, of a plugin that isn't installed."
        ),
    ],
    params: Annotated[
        str,
        typer.Option(
            "--params",
            help="Check with these parameters, as YAML: '{epochs: 2}'. Choose quick ones.",
        ),
    ] = "",
    plugin: Annotated[
        str,
        typer.Option("--plugin", help="Look in this module only, whether it is installed or not."),
    ] = "",
    kind: Annotated[
        Kind | None,
        typer.Option("--kind", help="Say which is meant where several kinds have the name."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed the checks with this number.")
    ] = 0,
) -> None:
    """Check that a plugin keeps its contract, on a small made-up panel; say why each part matters.

    Exit code 0: it does; 1: it doesn't; 2: it can't be checked.
    """

    registry, wanted = _registry(name, plugin)
    subjects = _subjects(registry, wanted, kind)
    if params and len(subjects) > 1:
        listed = ", ".join(f"{each} {found}" for each, found in subjects)
        raise BenchError(f"--params: for one of {listed}; name it, and --kind if need be")
    values = _values(params)
    for each, found in subjects:
        _refuse_params(each, getattr(registry, each)(found), values)
    console = make_console(highlight=False, markup=True)
    failed = [
        found
        for each, found in subjects
        if not _checked(console, each, found, registry, values, seed)
    ]
    if failed:
        raise typer.Exit(EXIT_BREACH)


def _registry(name: str, plugin: str) -> tuple[Registry, str]:
    """The registry to look in, and the name to look up (empty: everything there is)."""
    from haplobench.registry import load_registry

    file, _, inner = name.partition(".py:")
    if name.endswith(".py") or inner:
        path = Path(file if inner else name.removesuffix(".py")).with_suffix(".py")
        if not path.is_file():
            raise BenchError(f"{path}: no such file")
        module, folder = _module_of(path.resolve())
        sys.path.insert(0, str(folder))
        return _only(module), inner
    if plugin:
        sys.path.insert(0, str(Path.cwd()))
        return _only(plugin), name
    return load_registry(), name


def _module_of(path: Path) -> tuple[str, Path]:
    """A file's module name and the folder that its import starts from."""
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts), folder


def _only(module: str) -> Registry:
    from haplobench.registry import load_registry

    registry = load_registry([module])
    for broken in registry.broken:
        raise BenchError(f"{module}: can't be loaded: {broken.error}")
    if not (registry.generators or registry.metrics or registry.datasets):
        raise BenchError(f"{module}: declares no generator, metric or dataset")
    return registry


def _subjects(registry: Registry, name: str, kind: Kind | None) -> list[tuple[str, str]]:
    """Kind and name of what is to be checked."""
    kinds = [kind] if kind else list(Kind)
    if not name:
        return [(each.value, found) for each in kinds for found in getattr(registry, f"{each}s")]
    found = [
        (each.value, name)
        for each in kinds
        if name in getattr(registry, f"{each}s") or (f"{each}s", name) in registry.duplicates
    ]
    if found:
        return found
    if kind:
        getattr(registry, kind)(name)  # says what there is instead
    from haplobench.files import near_names

    known = [*registry.generators, *registry.metrics, *registry.datasets]
    broken = "".join(
        f"; plugin {each.source} failed to load: {each.error}" for each in registry.broken
    )
    near = near_names(name, known) or "; see `bench list`"
    raise BenchError(f"no generator, metric or dataset is named {name!r}{near}{broken}")


def _values(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    from haplobench.suite.source import parse_value

    values = parse_value(text, f"--params {text}")
    if not isinstance(values, dict):
        raise BenchError(f"--params {text}: expected a mapping, for example '{{epochs: 2}}'")
    return values


def _refuse_params(kind: str, spec: Any, values: dict[str, Any] | None) -> None:
    """Parameters that are lacking or wrong are the caller's mistake, not a breach of contract."""
    from haplobench.registry import missing_needs
    from haplobench.suite.source import key_text, structural_problems

    required = [name for name, field in spec.params.model_fields.items() if field.is_required()]
    if values is None:
        if required:
            raise BenchError(
                f"{kind} {spec.name} needs {', '.join(required)}",
                hint=f"give --params '{{{required[0]}: …}}'",
            )
        return
    problems = structural_problems(values, spec.params)
    if problems:
        listed = (f"{key_text(key)}: {text}" if key else text for key, text in problems)
        raise BenchError("--params: " + "; ".join(listed))
    missing = missing_needs(spec.params.model_validate(values).needed())
    if missing:
        raise BenchError(f"{kind} {spec.name}: can't be checked without {'; '.join(missing)}")


def _checked(
    console: Console,
    kind: str,
    name: str,
    registry: Registry,
    params: dict[str, Any] | None,
    seed: int,
) -> bool:
    """Check one plugin and print what was found; whether it keeps its contract."""
    from rich.padding import Padding

    from haplobench import testing
    from haplobench.testing.checks import note_passed

    checker: Any = getattr(testing, f"check_{kind}")
    failures: tuple[Failure, ...] = ()
    start = time.perf_counter()
    with console.status(f"checking {kind} {name} …"):
        try:
            passed = checker(name, params=params, seed=seed, registry=registry)
        except testing.ConformanceError as error:
            passed, failures = error.passed, error.failures
    took = time.perf_counter() - start
    source = registry.source(f"{kind}s", name)
    origin = source.module if source.distribution == "explicit" else str(source)
    console.print(f"[bold]{kind} {name}[/] [dim]{origin}[/]")
    if passed:
        console.print(Padding(f"[green]✓[/] {', '.join(passed)}", (0, 0, 0, 2)))
    for failure in failures:
        _print_failure(console, failure)
    total = len(passed) + len(failures)
    if failures:
        console.print(f"[red]{len(failures)} of {total} checks failed[/] in {took:.1f} s")
    else:
        note_passed(kind, getattr(registry, kind)(name))
        console.print(f"[green]keeps its contract[/]: {total} checks in {took:.1f} s")
    return not failures


def _print_failure(console: Console, failure: Failure) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console.print(Text.assemble("  ", ("✗ ", "red"), (failure.check, "bold red")))
    rows = Table.grid(padding=(0, 1))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    for head, text in (
        ("expected", failure.expected),
        ("found", failure.found),
        ("why", failure.why),
    ):
        rows.add_row(head, Text(text))
    console.print(Padding(rows, (0, 0, 0, 4)))
