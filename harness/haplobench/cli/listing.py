"""`bench list`: what is installed, whether it is ready, and how to get what is missing."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from haplobench.cli.output import make_console

if TYPE_CHECKING:
    from rich.console import Console

    from haplobench.registry import Registry

OURS = "haplobench"


class Kind(StrEnum):
    """What can be listed."""

    generators = "generators"
    metrics = "metrics"
    datasets = "datasets"
    suites = "suites"


def list_plugins(
    kind: Annotated[Kind | None, typer.Argument(help="What to list (default: everything).")] = None,
) -> None:
    """List generators, metrics, datasets and suites with their status."""

    from haplobench.registry import load_registry

    console = make_console(highlight=False, markup=True)
    registry = load_registry()
    kinds = [kind] if kind else list(Kind)
    for each in kinds:
        if each is Kind.suites:
            _print_suites(console, registry)
        else:
            _print_specs(console, registry, each)
    _print_trouble(console, registry)


def _print_specs(console: Console, registry: Registry, kind: Kind) -> None:
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

    from haplobench.suite import shipped_suites

    table = _table("suites", "name", "status", "title")
    for name in shipped_suites():
        status, title = _suite_status(name, registry)
        table.add_row(name, status, escape(title))
    console.print(table)


def _suite_status(name: str, registry: Registry) -> tuple[str, str]:
    """Status and title."""
    from rich.markup import escape

    from haplobench.errors import SuiteError
    from haplobench.suite import load_suite

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
