"""Suites: find a YAML file, validate all of it, and name every problem with file, line and key."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

import haplobench
from haplobench.errors import PluginError, SuiteError
from haplobench.marked_yaml import (
    Key,
    MarkedTree,
    apply_override,
    key_text,
    leaves,
    read_marked,
)
from haplobench.plugin import Need, Params
from haplobench.registry import Registry, missing_needs
from haplobench.suite_schema import (
    FLOOR,
    DatasetEntry,
    FloorSettings,
    GeneratorEntry,
    Limits,
    MetricEntry,
    SampleSettings,
    Suite,
    SuiteFile,
)

__all__ = [
    "DatasetEntry",
    "FloorSettings",
    "GeneratorEntry",
    "Limits",
    "MetricEntry",
    "SampleSettings",
    "Suite",
    "find_suite",
    "load_suite",
    "shipped_suites",
]

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def load_suite(
    path_or_name: str | Path,
    overrides: Sequence[str],
    registry: Registry,
    *,
    only: Sequence[str] = (),
) -> Suite:
    """Load and validate a suite.

    Parameters
    ----------
    path_or_name : str or Path
        A YAML file, or the name of a shipped suite.
    overrides : sequence of str
        `key=value`, laid over the file after its profile: `seeds=[1]`,
        `generators[2].params.window=128`, `profile=quick`.
    registry : Registry
    only : sequence of str
        Labels: of generators to run besides the controls (empty: all), or of datasets.

    Raises
    ------
    SuiteError
        `problems` holds every problem found, each with file, line and key.
    """
    path, name = find_suite(path_or_name)
    tree = read_marked(path, name)
    problems = list(tree.problems)
    for override in overrides:
        if override.partition("=")[0].strip() == "profile":
            problems += _override(tree, override)
    _write_out(tree.root)
    problems += _check_profiles(tree)
    profile = tree.root.get("profile")
    if isinstance(profile, str) and isinstance(tree.root.get("profiles"), dict):
        if isinstance(tree.root["profiles"].get(profile), dict):
            tree.merge(("profiles", profile))
        else:
            near = near_names(profile, tree.root["profiles"])
            problems.append(tree.problem(("profile",), f"no profile is named {profile!r}{near}"))
    elif profile is not None:
        problems.append(tree.problem(("profile",), f"no profile is named {profile!r}"))
    for override in overrides:
        if override.partition("=")[0].strip() != "profile":
            problems += _override(tree, override)
    _write_out(tree.root)
    checked = _Checker(tree, registry, set(only))
    suite = checked.suite(path)
    problems += checked.problems
    if problems or suite is None:
        raise SuiteError(list(dict.fromkeys(problems)))
    return suite


def find_suite(path_or_name: str | Path) -> tuple[Path, str]:
    """The file of a suite, and its name for errors; SuiteError, with near names, if none is."""
    text = str(path_or_name)
    path = Path(text)
    if path.is_file():
        return path, text
    shipped = _shipped_files()
    if text in shipped:
        file = shipped[text]
        return file, f"suites/{file.name}"
    near = near_names(path.stem if path.suffix else text, shipped)
    if path.is_dir():
        raise SuiteError([f"{text}: a folder; expected a suite's YAML file{near}"])
    if path.suffix in (".yaml", ".yml") or os.sep in text:
        raise SuiteError([f"{text}: no such file{near}"])
    listed = "" if near else f"; shipped: {', '.join(shipped) or 'none'}"
    raise SuiteError([f"{text}: neither a file nor a shipped suite{near}{listed}"])


def shipped_suites() -> dict[str, str]:
    """Name and title of the suites that come with haplobench."""
    titles = {}
    for name, path in _shipped_files().items():
        try:
            root = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError:
            root = None
        titles[name] = str(root.get("title", "")) if isinstance(root, dict) else ""
    return titles


def _shipped_files() -> dict[str, Path]:
    package = Path(haplobench.__file__).parent
    # In a wheel the suites lie in the package; in a checkout at its root.
    for folder in (package / "suites", package.parent.parent / "suites"):
        found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
        if found:
            return found
    return {}


def near_names(name: str, names: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing where no name is near."""
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f"; did you mean {', '.join(near)}?" if near else ""


def _override(tree: MarkedTree, override: str) -> list[str]:
    try:
        apply_override(tree, override)
    except SuiteError as error:
        return error.problems
    return []


def _write_out(root: dict[str, Any]) -> None:
    """Write shorthands out: `- markov` as `- {name: markov}`, `metrics: all` as a list."""
    if isinstance(root.get("metrics"), str):
        root["metrics"] = [root["metrics"]]
    for section in ("datasets", "generators", "metrics"):
        items = root.get(section)
        if isinstance(items, list):
            root[section] = [{"name": item} if isinstance(item, str) else item for item in items]
        elif items is None and section in root and section != "datasets":
            root[section] = []


def _check_profiles(tree: MarkedTree) -> list[str]:
    """Problems of profiles that aren't chosen, so that they don't lie in wait."""
    profiles = tree.root.get("profiles")
    problems: list[str] = []
    if not isinstance(profiles, dict):
        return problems
    for name, changes in profiles.items():
        if not isinstance(changes, dict) or not isinstance(name, str):
            continue
        merged = MarkedTree(_copy(tree.root), tree.name, dict(tree.places))
        merged.merge(("profiles", name))
        merged.root.pop("profile", None)
        _write_out(merged.root)
        touched = {key[0] for key, _ in leaves(changes) if key}
        for key, message in _structural_problems(merged.root, SuiteFile):
            if key and key[0] in touched:
                problems.append(merged.problem(key, f"{message} (profile {name})"))
    return problems


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


# --- turning pydantic's errors into lines ------------------------------------------------------


def _structural_problems(value: object, model: type[BaseModel]) -> list[tuple[Key, str]]:
    try:
        model.model_validate(value)
    except ValidationError as error:
        return explain(error, model)
    return []


def explain(error: ValidationError, model: type[BaseModel]) -> list[tuple[Key, str]]:
    """Key and message of each error, in words: what was found, what was expected, near names."""
    found: dict[Key, str] = {}
    for item in error.errors(include_url=False):
        key = tuple(part for part in item["loc"] if not _is_branch(part))
        if item["type"] == "extra_forbidden":
            known = _fields_at(model, key[:-1])
            near = near_names(str(key[-1]), known)
            message = f"unknown key{near}" if near else f"unknown key; known: {', '.join(known)}"
        elif item["type"] == "missing":
            message = "missing, but required"
        elif item["type"] == "value_error":
            message = item["msg"].removeprefix("Value error, ")
        else:
            text = item["msg"].replace("Input should be", "expected")
            message = f"{text[0].lower()}{text[1:]}, found {_short(item['input'])}"
        # Of the branches of a union, the first says enough.
        found.setdefault(key, message)
    return list(found.items())


def _is_branch(part: str | int) -> bool:
    """Whether a part of pydantic's location names a type of a union rather than a key."""
    return isinstance(part, str) and bool(
        re.fullmatch(
            r"(int|float|str|bool|none|literal|list|dict|tuple|function-.*)(\[.*\])?", part
        )
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _fields_at(model: type[BaseModel], key: Key) -> list[str]:
    for part in key:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = _models_in(field.annotation) if field else []
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


# --- checking against what is installed --------------------------------------------------------


class _Checker:
    """Checks a tree as far as it can be understood, and collects what is wrong."""

    def __init__(self, tree: MarkedTree, registry: Registry, only: set[str]) -> None:
        self.tree = tree
        self.registry = registry
        self.only = only
        self.problems: list[str] = []

    def problem(self, key: Key, message: str) -> None:
        self.problems.append(self.tree.problem(key, message))

    def suite(self, path: Path) -> Suite | None:
        """The suite, or None (then there are problems)."""
        file: SuiteFile | None = None
        try:
            file = SuiteFile.model_validate(self.tree.root)
        except ValidationError as error:
            for key, message in explain(error, SuiteFile):
                self.problem(key, message)
        generator_labels = self._labels("generators", reserved={FLOOR})
        dataset_labels = self._labels("datasets")
        controls = [
            name
            for name, spec in self.registry.generators.items()
            if spec.control and name not in generator_labels.values()
        ]
        self._check_only({*generator_labels.values(), *controls}, set(dataset_labels.values()))
        only_datasets = self.only & set(dataset_labels.values())
        only_generators = self.only & {*generator_labels.values(), *controls}
        datasets = [
            self._dataset(i, item, file)
            for i, item in self._items("datasets")
            if not only_datasets or dataset_labels.get(i) in only_datasets
        ]
        generators = [
            self._generator(i, item, file)
            for i, item in self._items("generators")
            if not only_generators
            or generator_labels.get(i) in only_generators
            or self._is_control(item)
        ]
        metrics = self._metrics()
        if file is None:
            return None
        added = [self._control(name, file) for name in controls]
        if self.problems:
            return None
        return Suite(
            name=file.name,
            title=file.title,
            seeds=tuple(file.seeds),
            datasets=tuple(entry for entry in datasets if entry),
            generators=tuple(entry for entry in (*added, *generators) if entry),
            metrics=tuple(metrics),
            sample=file.sample,
            floor=file.floor,
            limits=file.limits,
            path=path,
        )

    def _items(self, section: str) -> list[tuple[int, dict[str, Any]]]:
        items = self.tree.root.get(section)
        if not isinstance(items, list):
            return []
        return [(i, item) for i, item in enumerate(items) if isinstance(item, dict)]

    def _labels(self, section: str, reserved: Iterable[str] = ()) -> dict[int, str]:
        """Label of each item by its place; a label given twice is a problem."""
        labels: dict[int, str] = {}
        for i, item in self._items(section):
            label = item.get("label") or item.get("name")
            if not isinstance(label, str):
                continue
            if label in reserved:
                self.problem((section, i), f"the label {label!r} is the harness's own")
            if label in labels.values():
                first = next(at for at, other in labels.items() if other == label)
                self.problem(
                    (section, i),
                    f"the label {label!r} is taken by {section}[{first}]; give a label of its own",
                )
            labels[i] = label
        return labels

    def _check_only(self, generators: set[str], datasets: set[str]) -> None:
        for name in sorted(self.only - generators - datasets):
            near = near_names(name, sorted(generators | datasets))
            self.problems.append(
                f"--only {name}: the suite has no generator or dataset of that label{near}"
            )

    def _is_control(self, item: dict[str, Any]) -> bool:
        spec = self.registry.generators.get(str(item.get("name")))
        return spec is not None and bool(spec.control)

    def _params(
        self, key: Key, model: type[Params], values: object, expanded: object = None
    ) -> dict[str, Any]:
        """Validated, complete parameters as plain values; problems are noted under `key`."""
        try:
            params = model.model_validate(values if expanded is None else expanded)
        except ValidationError as error:
            for inner, message in explain(error, model):
                self.problem(key + inner, message)
            return {}
        return params.model_dump(mode="json", round_trip=True)

    def _needs(self, key: Key, name: str, needs: Iterable[Need], optional: bool) -> tuple[str, ...]:
        missing = tuple(missing_needs(needs))
        if missing and not optional:
            self.problem(
                key,
                f"{name} needs {'; '.join(missing)} (or say `optional: true`, and the results "
                "state that it is missing)",
            )
        return missing

    def _dataset(self, i: int, item: dict[str, Any], file: SuiteFile | None) -> DatasetEntry | None:
        key: Key = ("datasets", i)
        name = item.get("name")
        if not isinstance(name, str):
            return None
        try:
            spec = self.registry.dataset(name)
        except PluginError as error:
            self.problem((*key, "name"), str(error))
            return None
        asked = item.get("params") or {}
        if not isinstance(asked, dict):
            return None
        before = len(self.problems)
        expanded = self._expand((*key, "params"), asked)
        if len(self.problems) > before:
            return None
        params = self._params((*key, "params"), spec.params, asked, expanded)
        self._needs(key, name, spec.needs, optional=False)
        if file is None:
            return None
        read = file.datasets[i]
        return DatasetEntry(
            label=read.label or name,
            name=name,
            params=params,
            asked=read.params,
            filters=read.filters,
            split=read.split,
        )

    def _expand(self, key: Key, value: Any) -> Any:
        """Expand `${NAME}` and `${NAME:-default}` in the texts of a value."""
        if isinstance(value, dict):
            return {name: self._expand((*key, name), item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._expand((*key, i), item) for i, item in enumerate(value)]
        if not isinstance(value, str):
            return value

        def expand(match: re.Match[str]) -> str:
            found = os.environ.get(match[1]) or match[2]
            if found is None:
                self.problem(key, f"the environment variable {match[1]} is not set")
            return found or ""

        return _VARIABLE.sub(expand, value)

    def _generator(
        self, i: int, item: dict[str, Any], file: SuiteFile | None
    ) -> GeneratorEntry | None:
        key: Key = ("generators", i)
        name = item.get("name")
        if not isinstance(name, str):
            return None
        try:
            spec = self.registry.generator(name)
        except PluginError as error:
            self.problem((*key, "name"), str(error))
            return None
        given = item.get("params") or {}
        params = self._params((*key, "params"), spec.params, given)
        missing = self._needs(key, name, spec.needs, item.get("optional") is True)
        world_size = item.get("world_size", 1)
        if isinstance(world_size, int) and world_size > 1:
            self.problem(
                (*key, "world_size"),
                f"{name} runs on one rank only"
                if not spec.distributed
                else "more than one rank can't be launched yet",
            )
        if file is None:
            return None
        read = file.generators[i]
        return GeneratorEntry(
            label=read.label or name,
            name=name,
            role="control" if spec.control else "generator",
            params=params,
            seeds=tuple(read.seeds or file.seeds),
            world_size=read.world_size,
            limits=Limits(
                time=read.limits.time or file.limits.time,
                memory=read.limits.memory or file.limits.memory,
            ),
            missing=missing,
        )

    def _control(self, name: str, file: SuiteFile) -> GeneratorEntry | None:
        spec = self.registry.generators[name]
        try:
            params = spec.params.model_validate({})
        except ValidationError as error:
            wrong = "; ".join(f"{key_text(k)}: {text}" for k, text in explain(error, spec.params))
            self.problem((), f"the control {name} can't be added: {wrong}")
            return None
        return GeneratorEntry(
            label=name,
            name=name,
            role="control",
            params=params.model_dump(mode="json", round_trip=True),
            seeds=tuple(file.seeds),
            limits=file.limits,
            missing=tuple(missing_needs(spec.needs)),
        )

    def _metrics(self) -> list[MetricEntry]:
        entries: dict[str, MetricEntry] = {}
        given = self._items("metrics")
        if "metrics" not in self.tree.root:
            given = [(0, {"name": "all"})]
        if any(item.get("name") == "all" for _, item in given):
            for name, spec in self.registry.metrics.items():
                params = self._params(("metrics",), spec.params, {})
                entries[name] = MetricEntry(name, params, tuple(missing_needs(spec.needs)))
        named: set[str] = set()
        for i, item in given:
            key: Key = ("metrics", i)
            named_as = item.get("name")
            if not isinstance(named_as, str) or named_as == "all":
                continue
            name = named_as
            try:
                spec = self.registry.metric(name)
            except PluginError as error:
                self.problem((*key, "name"), str(error))
                continue
            if name in named:
                self.problem(key, f"{name} is named twice")
            named.add(name)
            values: Mapping[str, Any] = item.get("params") or {}
            params = self._params((*key, "params"), spec.params, values)
            missing = self._needs(key, name, spec.needs, item.get("optional") is True)
            entries[name] = MetricEntry(name, params, missing)
        return list(entries.values())
