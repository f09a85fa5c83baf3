"""Reference pages as Markdown: suites from their schema, plugins from their specs, commands."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

import griffe
import typer.main
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from haplobench import DatasetSpec, GeneratorSpec, MetricSpec, SubmetricSpec
from haplobench.cli import app
from haplobench.references import cite
from haplobench.registry import load_registry
from haplobench.results.records import Family
from haplobench.suite.schema import SuiteFile

DIRECTIONS = {"lower": "lower", "higher": "higher", "info": "for information"}


def pages() -> dict[str, str]:
    """Every generated page by its path below `docs/`."""
    registry = load_registry()
    return {
        "reference/suite.md": suite_page(),
        "reference/generators.md": generators_page(registry.generators.values()),
        "reference/metrics.md": metrics_page(registry.metrics.values()),
        "reference/datasets.md": datasets_page(registry.datasets.values()),
        "reference/commands.md": commands_page(),
    }


# --- suites ---------------------------------------------------------------------------------


def suite_page() -> str:
    """The keys of a suite file, model by model."""
    parts = [
        "# Suites",
        "A suite is a YAML file: which generators, on which datasets, measured by which metrics, "
        "how often. `bench validate FILE` checks everything it names and prints all errors "
        "together, each with its place. An unknown key is an error.",
        "For completion and checking while you type, begin the file with the line that "
        "`bench schema --help` shows.",
    ]
    models = _models(SuiteFile)
    for model in models:
        parts.append(f"## {_heading(model)}")
        parts.append(_prose(model))
        parts.append(_fields_table(model, {}))
    return _page(parts)


def _models(root: type[BaseModel]) -> list[type[BaseModel]]:
    """A model and those in its fields, each once, in order of appearance."""
    found: list[type[BaseModel]] = []

    def visit(annotation: Any) -> None:
        if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
            if annotation not in found:
                found.append(annotation)
                for field in annotation.model_fields.values():
                    visit(field.annotation)
            return
        for argument in typing.get_args(annotation):
            visit(argument)

    visit(root)
    return found


def _heading(model: type[BaseModel]) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", model.__name__).split()
    if words[-1] in ("Item", "Settings", "File") and len(words) > 1:
        words = words[:-1]
    return " ".join([words[0], *(word.lower() for word in words[1:])])


def _prose(model: type[BaseModel]) -> str:
    """A docstring without its numpy sections."""
    text = inspect.cleandoc(model.__doc__ or "")
    return re.split(r"\n\n?(?:Attributes|Parameters)\n-+\n", text)[0]


# --- plugins --------------------------------------------------------------------------------


def generators_page(specs: Iterable[GeneratorSpec]) -> str:
    """Every generator with its parameters."""
    parts = ["# Generators", "`bench list` says which of them are ready on a machine."]
    for spec in sorted(specs, key=lambda spec: spec.name):
        parts.append(f"## {spec.name}")
        parts.append(spec.summary)
        if spec.control:
            parts.append(f"A control, added to every suite unasked: {spec.control}")
        facts = [
            "samples at the panel's sites" if spec.site_matched else "has sites of its own",
            *(["conditioned on population"] if spec.conditional else []),
            *(["runs on several ranks"] if spec.distributed else []),
        ]
        parts.append(_facts(facts, spec))
        parts.append(_params(spec.params))
        parts.append(_citations(spec.citations))
    return _page(parts)


def datasets_page(specs: Iterable[DatasetSpec]) -> str:
    """Every dataset with its parameters."""
    parts = ["# Datasets", "`bench data info FILE` says what is in a file of your own."]
    for spec in sorted(specs, key=lambda spec: spec.name):
        parts.append(f"## {spec.name}")
        parts.append(spec.summary)
        parts.append(_facts([], spec))
        parts.append(_params(spec.params))
        parts.append(_citations(spec.citations))
    return _page(parts)


def metrics_page(specs: Iterable[MetricSpec]) -> str:
    """Every metric: what it tells, each number's definition, parameters, sources."""
    parts = [
        "# Metrics",
        "Each metric gives one or more numbers. *Better* says which way is better; *least "
        "difference* is the change under which `bench compare` never calls a regression. "
        "Numbers in **bold** stand in the main table.",
    ]
    ordered = sorted(specs, key=lambda spec: spec.name)
    for family in typing.get_args(Family):
        members = [spec for spec in ordered if spec.family == family]
        if members:
            parts.append(f"## {family.capitalize()}")
        for spec in members:
            parts += _metric(spec)
    return _page(parts)


def _metric(spec: MetricSpec) -> list[str]:
    facts = [
        "site by site: refused for cohorts with sites of their own"
        if spec.site_matched
        else "site-free",
        *(["needs phase"] if spec.phased else []),
        {
            "train": "floor: a sample of the training people",
            "holdout": "floor: one half of the held-out people against the other",
        }[spec.floor],
    ]
    return [
        f"### {spec.name}",
        spec.summary,
        _facts([] if spec.input == "telemetry" else facts, spec),
        _table(
            ("number", "unit", "better", "least difference", "definition"),
            (_submetric(item) for item in spec.submetrics),
        ),
        _params(spec.params),
        _citations(spec.citations),
    ]


def _submetric(item: SubmetricSpec) -> tuple[str, ...]:
    name = f"{item.title}<br>`{item.name}`"
    better = DIRECTIONS.get(item.direction) or f"closer to {item.ideal:g}"
    return (
        f"**{item.title}**<br>`{item.name}`" if item.headline else name,
        item.unit,
        better,
        f"{item.min_effect:g}" if item.min_effect else "",
        item.definition,
    )


def _facts(facts: list[str], spec: GeneratorSpec | MetricSpec | DatasetSpec) -> str:
    needs = ", ".join(f"`{need.name}`" for need in spec.needs if hasattr(need, "name"))
    return (
        "; ".join([f"Version {spec.version}", *facts, *([f"needs {needs}"] if needs else [])]) + "."
    )


def _citations(citations: Iterable[str]) -> str:
    return "\n".join(f"- {_escape(cite(citation).text)}" for citation in citations)


# --- commands -------------------------------------------------------------------------------


def commands_page() -> str:
    """Every command with its arguments and options."""
    parts = [
        "# Commands",
        "Exit codes: 0 fine, 1 something failed or regressed, 2 usage or bad input, "
        "3 nothing to compare.",
    ]
    group = typer.main.get_command(app)
    parts += _command("bench", group)
    return _page(parts)


def _command(path: str, command: Any) -> list[str]:
    parts = []
    if path != "bench":
        depth = "##" if path.count(" ") == 1 else "###"
        parts.append(f"{depth} {path}")
        parts.append(_help(command.help or ""))
        rows = [_parameter(item) for item in command.params if not getattr(item, "hidden", False)]
        rows = [row for row in rows if row[0] != "`--help`"]
        parts.append(_table(("argument or option", "default", "meaning"), rows))
    for name, child in sorted(getattr(command, "commands", {}).items()):
        if not child.hidden:
            parts += _command(f"{path} {name}", child)
    return parts


def _help(text: str) -> str:
    return inspect.cleandoc(text).replace("\b", "").replace("\f", "")


def _parameter(item: Any) -> tuple[str, str, str]:
    name = ", ".join(f"`{text}`" for text in item.opts)
    if item.param_type_name == "argument":
        name = f"`{item.human_readable_name}`"
    default = item.default
    shown = "" if default is None or default is False or callable(default) else f"`{default}`"
    if default in ((), [], True) or "Ellipsis" in shown or "PydanticUndefined" in shown:
        shown = ""
    if "UNSET" in shown.upper():
        shown = ""
    return name, shown, getattr(item, "help", "") or ""


# --- pieces ---------------------------------------------------------------------------------


def _attributes(model: type[BaseModel]) -> dict[str, str]:
    """What a params class says of its fields: its docstring's Attributes, its parents' too."""
    meanings: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        doc = cls.__dict__.get("__doc__")
        if not doc or not issubclass(cls, BaseModel):
            continue
        for section in griffe.Docstring(inspect.cleandoc(doc)).parse("numpy"):
            if section.kind is griffe.DocstringSectionKind.attributes:
                for item in section.value:
                    for name in item.name.split(","):
                        meanings[name.strip()] = item.description
    return meanings


def _params(model: type[BaseModel]) -> str:
    """A plugin's parameters: a table, what their docstring says beside it, and those within."""
    parts = []
    for level, found in enumerate(_models(model)):
        if not found.model_fields:
            continue
        if level:
            parts.append(f"#### {_heading(found)}")
        meanings = _attributes(found)
        if level or not meanings:
            parts.append(_prose(found))
        parts.append(_fields_table(found, meanings))
    return "\n\n".join(part for part in parts if part)


def _fields_table(model: type[BaseModel], meanings: Mapping[str, str]) -> str:
    rows = []
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if field.is_required() or default is PydanticUndefined:
            shown = "required"
        elif isinstance(default, BaseModel):
            shown = "see below"
        elif isinstance(default, list | dict | tuple) and not default:
            shown = "empty"
        else:
            shown = f"`{_plain(default)}`"
        row = (f"`{field.alias or name}`", _type(field.annotation), shown)
        rows.append((*row, meanings.get(name, "")) if meanings else row)
    heads = ("key", "type", "default", "meaning") if meanings else ("key", "type", "default")
    return _table(heads, rows)


def _plain(value: object) -> object:
    """A default as YAML would have it."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return (
        {None: "null", True: "true", False: "false"}.get(value, value)
        if (value is None or isinstance(value, bool))
        else value
    )


def _type(annotation: Any) -> str:
    """A type in YAML's words."""
    if annotation is None or annotation is type(None):
        return "null"
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(argument) for argument in arguments)
    if origin in (list, tuple, set):
        inner = [_type(argument) for argument in arguments if argument is not Ellipsis]
        return f"list of {inner[0]}" if inner else "list"
    if origin in (dict, Mapping):
        return f"mapping of {_type(arguments[1])}"
    names = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "anything"}
    if annotation in names:
        return names[annotation]
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        heading = _heading(annotation)
        return f"[{heading.lower()}](#{heading.lower().replace(' ', '-')})"
    return getattr(annotation, "__name__", str(annotation)).lower()


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    body = [" | ".join(_cell(text) for text in row) for row in rows]
    if not body:
        return ""
    return "\n".join(
        [
            "| " + " | ".join(heads) + " |",
            "|" + "---|" * len(heads),
            *(f"| {row} |" for row in body),
        ]
    )


def _cell(text: str) -> str:
    return " ".join(_escape(text).split()).replace("|", "\\|")


def _escape(text: str) -> str:
    """Square brackets and angles that aren't links or line breaks stay as they are."""
    return re.sub(r"<(?!br>)", "&lt;", str(text))


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
