"""Suites: find a YAML file, validate all of it, and name every problem with file, line and key."""

from __future__ import annotations

import copy
import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from haplobench.data.consent import PeopleList
from haplobench.errors import FormatError, PluginError, SuiteError
from haplobench.files import expand_path, expand_variables, near_names, printable
from haplobench.plugin import GeneratorSpec, Need, Params
from haplobench.registry import Registry, missing_needs
from haplobench.results.records import FLOOR
from haplobench.suite.schema import (
    DatasetEntry,
    Filters,
    GeneratorEntry,
    Limits,
    MetricEntry,
    SplitSettings,
    Suite,
    SuiteFile,
)
from haplobench.suite.source import (
    Key,
    MarkedTree,
    apply_override,
    explain,
    find_suite,
    key_text,
    leaves,
    map_texts,
    read_marked,
    structural_problems,
    texts,
)
from haplobench.suite.values import Seeds

_CONTIG = re.compile(r"(?<!\$)\{contig\}")
Section = TypeVar("Section", bound=BaseModel)


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
    expand_shorthands(tree.root)
    problems += check_profiles(tree)
    profile, profiles = tree.root.get("profile"), tree.root.get("profiles")
    known = profiles if isinstance(profiles, dict) else {}
    if isinstance(profile, str) and isinstance(known.get(profile), dict):
        try:
            tree.merge(("profiles", profile))
        except LookupError as error:
            problems.append(tree.problem(("profiles", profile), str(error.args[0])))
    elif profile is not None:
        near = near_names(str(profile), map(str, known))
        problems.append(tree.problem(("profile",), f"no profile is named {profile!r}{near}"))
    for override in overrides:
        if override.partition("=")[0].strip() != "profile":
            problems += _override(tree, override)
    expand_shorthands(tree.root)
    checked = SuiteChecker(tree, registry, set(only))
    suite = checked.suite()
    problems += checked.problems
    if problems or suite is None:
        raise SuiteError(sorted(dict.fromkeys(problems), key=_line))
    return suite


def _line(problem: str) -> int:
    """The line that a problem names, to list problems in the order of the file."""
    match = re.match(r"[^\s]*?:(\d+): ", problem)
    return int(match[1]) if match else 0


def _override(tree: MarkedTree, override: str) -> list[str]:
    try:
        apply_override(tree, override)
    except SuiteError as error:
        return error.problems
    return []


def load_section(suite: str, name: str, model: type[Section]) -> Section:
    """A section of a suite file, or of the shipped suite of that name, as its model.

    Raises SuiteError, naming file and key, if it doesn't validate.
    """
    path, shown = find_suite(suite)
    tree = read_marked(path, shown)
    section = tree.root.get(name) or {}
    problems = [*tree.problems]
    if not isinstance(section, dict):
        problems.append(tree.problem((name,), f"expected keys, see {model.__name__}"))
    else:
        found = structural_problems(section, model)
        problems += [tree.problem((name, *key), message) for key, message in found]
    if problems:
        raise SuiteError(problems)
    return model.model_validate(section)


# --- checks -------------------------------------------------------------------------------


def expand_shorthands(root: dict[str, Any]) -> None:
    """Write shorthands out: `- markov` as `- {name: markov}`, `metrics: all` as a list."""
    if isinstance(root.get("metrics"), str):
        root["metrics"] = [root["metrics"]]
    for section in ("datasets", "generators", "metrics"):
        items = root.get(section)
        if isinstance(items, list):
            root[section] = [{"name": item} if isinstance(item, str) else item for item in items]
        elif items is None and section in root and section != "datasets":
            root[section] = []


def check_profiles(tree: MarkedTree) -> list[str]:
    """Problems of profiles that aren't chosen, so that they don't lie in wait."""
    profiles = tree.root.get("profiles")
    problems: list[str] = []
    if not isinstance(profiles, dict):
        return problems
    for name, changes in profiles.items():
        if not isinstance(changes, dict) or not isinstance(name, str):
            continue
        merged = MarkedTree(copy.deepcopy(tree.root), tree.name, dict(tree.places))
        try:
            merged.merge(("profiles", name))
        except LookupError as error:
            problems.append(tree.problem(("profiles", name), str(error.args[0])))
            continue
        merged.root.pop("profile", None)
        expand_shorthands(merged.root)
        touched = {key[0] for key, _ in leaves(changes) if key}
        for key, message in structural_problems(merged.root, SuiteFile):
            if key and key[0] in touched:
                problems.append(merged.problem(key, f"{message} (profile {name})"))
    return problems


def fold_label(label: str, fold: int) -> str:
    """Label of a fold of a dataset."""
    return f"{label}-fold{fold}"


def _of_contig(params: dict[str, Any], contig: str) -> dict[str, Any]:
    """Parameters with a contig's name for every `{contig}` in their texts."""
    chosen: dict[str, Any] = map_texts(params, lambda _, text: _CONTIG.sub(contig, text))
    return chosen


def _revived(model: type[Params], values: Mapping[str, Any]) -> Params | None:
    """Parameters as validated before; None if they were refused."""
    try:
        return model.model_validate(values)
    except ValidationError:
        return None


def control_entry(spec: GeneratorSpec, seeds: Seeds, limits: Limits) -> GeneratorEntry:
    """A control as it is added to a suite; SuiteError where its parameters have no defaults."""
    try:
        params = spec.params.model_validate({})
    except ValidationError as error:
        wrong = "; ".join(f"{key_text(k)}: {text}" for k, text in explain(error, spec.params))
        raise SuiteError([f"the control {spec.name} can't be added: {wrong}"]) from None
    return GeneratorEntry(
        label=spec.name,
        name=spec.name,
        role="control",
        params=params.model_dump(mode="json", round_trip=True),
        seeds=seeds,
        limits=limits,
        missing=tuple(missing_needs(spec.needs)),
        optional=True,
    )


class SuiteChecker:
    """Checks a tree as far as it can be understood, and collects what is wrong."""

    def __init__(self, tree: MarkedTree, registry: Registry, only: set[str]) -> None:
        self.tree = tree
        self.registry = registry
        self.only = only
        self.problems: list[str] = []

    def problem(self, key: Key, message: str) -> None:
        """Note a problem of a key."""
        self.problems.append(self.tree.problem(key, message))

    def suite(self) -> Suite | None:
        """The suite, or None (then there are problems)."""
        for key, text in texts(self.tree.root):
            if printable(text) != text:
                self.problem(key, f"{printable(text)!r} has a control character in it")
        if self.problems:
            return None
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
        folds = self._fold_labels(dataset_labels)
        known_datasets = {*dataset_labels.values(), *chain(*folds.values())}
        self._check_only({*generator_labels.values(), *controls}, known_datasets)
        only_datasets = self.only & known_datasets
        only_generators = self.only & {*generator_labels.values(), *controls}
        datasets = [
            entry
            for i, item in self._items("datasets")
            for entry in self._folds(self._dataset(i, item, file))
            if not only_datasets or only_datasets & {dataset_labels.get(i), entry.label}
        ]
        labels = {entry.label for entry in datasets}
        for entry in datasets:
            for part in entry.parts:
                if part.label in labels:
                    self.problem(
                        ("datasets",),
                        f"the label {part.label!r} of a contig of {entry.label} is another "
                        "dataset's; rename that",
                    )
        by_name = {dataset_labels[i]: set(of) for i, of in folds.items()}
        by_name |= {label: {label} for label in known_datasets - by_name.keys()}
        generators = [
            self._fitted_to(i, self._generator(i, item, file), by_name, labels)
            for i, item in self._items("generators")
            if not only_generators
            or generator_labels.get(i) in only_generators
            or self._is_control(item)
        ]
        metrics = self._metrics()
        if file is None:
            return None
        self._check_material(file)
        added = [self._control(name, file) for name in controls]
        if self.problems:
            return None
        changes: dict[str, Any] = {
            "datasets": tuple(datasets),
            "generators": tuple(entry for entry in (*added, *generators) if entry),
            "metrics": tuple(metrics),
            "profile": None,
            "profiles": {},
        }
        return Suite(**dict(file) | changes)

    def _fitted_to(
        self,
        i: int,
        entry: GeneratorEntry | None,
        by_name: Mapping[str, set[str]],
        labels: set[str],
    ) -> GeneratorEntry | None:
        """A generator with the labels of the datasets that are its own; None if none is chosen."""
        if entry is None or not entry.datasets:
            return entry
        for at, name in enumerate(entry.datasets):
            if name not in by_name:
                near = near_names(name, sorted(by_name))
                self.problem(
                    ("generators", i, "datasets", at),
                    f"the suite has no dataset labelled {name!r}{near}",
                )
        asked = set().union(*(by_name.get(name, set()) for name in entry.datasets))
        chosen = sorted(asked & labels)
        return entry.model_copy(update={"datasets": chosen}) if chosen else None

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

    def _fold_labels(self, labels: Mapping[int, str]) -> dict[int, list[str]]:
        """Labels of a dataset's folds by its place; one that is taken is a problem."""
        folds: dict[int, list[str]] = {}
        for i, item in self._items("datasets"):
            split = item.get("split")
            n = split.get("folds") if isinstance(split, dict) and not split.get("fold") else None
            if isinstance(n, int) and i in labels:
                folds[i] = [fold_label(labels[i], fold) for fold in range(1, min(n, 1000) + 1)]
                for label in sorted({*folds[i]}.intersection(labels.values())):
                    self.problem(
                        ("datasets", i, "split", "folds"),
                        f"the label {label!r} of a fold is another dataset's; rename that",
                    )
        return folds

    @staticmethod
    def _folds(entry: DatasetEntry | None) -> list[DatasetEntry]:
        """A dataset for each of the folds asked for; itself without folds."""
        if entry is None:
            return []
        if not entry.split.folds or entry.split.fold:
            return [entry]
        return [
            entry.model_copy(
                update={
                    "label": fold_label(entry.label, fold),
                    "split": entry.split.model_copy(update={"fold": fold}),
                }
            )
            for fold in range(1, entry.split.folds + 1)
        ]

    def _check_material(self, file: SuiteFile) -> None:
        """Whether the rules of the verdict speak of numbers that are evidence."""
        known = [
            f"{spec.name}.{number.name}"
            for spec in self.registry.metrics.values()
            for number in spec.submetrics
            if number.evidence
        ]
        for name in file.verdict.material:
            if name not in known:
                near = near_names(name, known)
                self.problem(
                    ("verdict", "material", name),
                    f"no number {name!r} of a metric is evidence of a leak{near}",
                )

    def _check_only(self, generators: set[str], datasets: set[str]) -> None:
        for name in sorted(self.only - generators - datasets):
            near = near_names(name, sorted(generators | datasets))
            self.problems.append(
                f"--only {name}: the suite has no generator or dataset of that label{near}"
            )

    def _is_control(self, item: dict[str, Any]) -> bool:
        spec = self.registry.generators.get(str(item.get("name")))
        return spec is not None and bool(spec.control)

    def _params(self, key: Key, model: type[Params], values: object) -> dict[str, Any]:
        """Validated, complete parameters as plain values; problems are noted under `key`."""
        try:
            params = model.model_validate(values)
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
        contigs = file.datasets[i].contigs if file is not None else ()
        by_contig: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        values: dict[str, Any] = {}
        for contig in contigs or ("",):
            chosen = _of_contig(asked, contig) if contig else asked
            expanded = map_texts(chosen, self._expanded, (*key, "params"))
            if len(self.problems) > before:
                return None
            complete = self._params((*key, "params"), spec.params, expanded)
            if contig and chosen == asked:
                self.problem(
                    (*key, "contigs"),
                    "no parameter has {contig} in it, so that all contigs would be the same data",
                )
                return None
            if contig:
                by_contig[contig] = chosen, complete
            else:
                values = complete
        self._needs(key, name, spec.needs, optional=False)
        if file is None:
            return None
        read = file.datasets[i]
        resolved: dict[str, Any] = {
            "label": read.label or name,
            "values": values,
            "by_contig": by_contig,
            "withdrawn": self._withdrawn((*key, "filters", "withdrawn"), read.filters),
            "listed": self._listed((*key, "split"), read.split),
        }
        return DatasetEntry(**dict(read) | resolved)

    def _listed(self, key: Key, split: SplitSettings) -> dict[str, PeopleList]:
        """The lists of people that a split names; a problem where one can't be read."""
        lists = {}
        for name, people in split.listed.items():
            if isinstance(people, list):
                lists[name] = PeopleList.of(people)
                continue
            try:
                lists[name] = PeopleList.read(expand_path(people))
            except FormatError as error:
                self.problem((*key, name), str(error))
        return lists

    def _withdrawn(self, key: Key, filters: Filters) -> PeopleList | None:
        """The list that filters name; a problem where it can't be read."""
        asked = filters.withdrawn
        if asked is None or asked.names:
            return PeopleList.of(asked.names) if asked else None
        try:
            return PeopleList.read(expand_path(asked.file))
        except FormatError as error:
            self.problem(key, str(error))
            return None

    def _expanded(self, key: Key, text: str) -> str:
        """A text with the environment's variables; a problem where one isn't set."""
        try:
            return expand_variables(text)
        except FormatError as error:
            self.problem(key, str(error))
            return text

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
        chosen = _revived(spec.params, params)
        needs = spec.needs + (chosen.needed() if chosen else ())
        missing = self._needs(key, name, needs, item.get("optional") is True)
        missing += self._check_ranks(key, name, spec.distributed, item)
        if file is None:
            return None
        read = file.generators[i]
        for size in read.world_size if read.scaling.per_rank else ():
            times = {name: value * size for name, value in read.scaling.per_rank.items()}
            self._params((*key, "scaling", "per_rank"), spec.params, {**given, **times})
        resolved: dict[str, Any] = {
            "label": read.label or name,
            "role": "control" if spec.control else "generator",
            "params": params,
            "seeds": read.seeds or file.seeds,
            "limits": file.limits.model_copy(update=read.limits.model_dump(exclude_none=True)),
            "missing": missing,
            "fingerprint": chosen.fingerprint() if chosen else "",
        }
        return GeneratorEntry(**dict(read) | resolved)

    def _check_ranks(
        self, key: Key, name: str, distributed: bool, item: dict[str, Any]
    ) -> tuple[str, ...]:
        """More than one rank needs a generator made for it, and what carries their talk.

        Of an optional generator, what is missing to carry it.
        """
        asked = item.get("world_size", 1)
        sizes = asked if isinstance(asked, list) else [asked]
        if not any(isinstance(size, int) and size > 1 for size in sizes):
            return ()
        if not distributed:
            self.problem(
                (*key, "world_size"),
                f"{name} runs on one rank only: it is not made to share its work out",
            )
        elif item.get("backend") == "horovod":
            if importlib.util.find_spec("horovod") is None:
                if item.get("optional") is True:
                    return ("Horovod (make horovod)",)
                self.problem((*key, "backend"), "Horovod is not installed (make horovod)")
        elif importlib.util.find_spec("torch") is None:
            self.problem((*key, "world_size"), "more than one rank needs torch (pip install torch)")
        return ()

    def _control(self, name: str, file: SuiteFile) -> GeneratorEntry | None:
        try:
            return control_entry(self.registry.generators[name], file.seeds, file.limits)
        except SuiteError as error:
            self.problem((), str(error))
            return None

    def _metrics(self) -> list[MetricEntry]:
        entries: dict[str, MetricEntry] = {}
        given = self._items("metrics")
        if "metrics" not in self.tree.root:
            given = [(0, {"name": "all"})]
        if any(item.get("name") == "all" for _, item in given):
            for each, spec in self.registry.metrics.items():
                params = self._params(("metrics",), spec.params, {})
                missing = tuple(missing_needs(spec.needs))
                entries[each] = MetricEntry(
                    name=each, params=params, missing=missing, optional=True
                )
        named: set[str] = set()
        for i, item in given:
            key: Key = ("metrics", i)
            name = item.get("name")
            if not isinstance(name, str) or name == "all":
                continue
            try:
                spec = self.registry.metric(name)
            except PluginError as error:
                self.problem((*key, "name"), str(error))
                continue
            if name in named:
                self.problem(key, f"{name} is named twice")
            named.add(name)
            params = self._params((*key, "params"), spec.params, item.get("params") or {})
            chosen = _revived(spec.params, params)
            optional = item.get("optional") is True
            missing = self._needs(key, name, spec.needs, optional)
            entries[name] = MetricEntry(
                name=name,
                params=params,
                missing=missing,
                optional=optional,
                fingerprint=chosen.fingerprint() if chosen else "",
            )
        return list(entries.values())
