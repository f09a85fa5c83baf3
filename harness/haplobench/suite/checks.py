"""Checks of a suite against its schema and against what is installed: all problems at once."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from haplobench.data.consent import PeopleList
from haplobench.errors import FormatError, PluginError
from haplobench.files import printable
from haplobench.plugin import Need, Params
from haplobench.registry import Registry, missing_needs
from haplobench.suite.model import DatasetEntry, GeneratorEntry, MetricEntry, Suite
from haplobench.suite.schema import FLOOR, Filters, Limits, SplitSettings, SuiteFile
from haplobench.suite.source import (
    Key,
    MarkedTree,
    explain,
    key_text,
    leaves,
    near_names,
    structural_problems,
)

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def write_out(root: dict[str, Any]) -> None:
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
        merged = MarkedTree(_copy(tree.root), tree.name, dict(tree.places))
        try:
            merged.merge(("profiles", name))
        except LookupError as error:
            problems.append(tree.problem(("profiles", name), str(error.args[0])))
            continue
        merged.root.pop("profile", None)
        write_out(merged.root)
        touched = {key[0] for key, _ in leaves(changes) if key}
        for key, message in structural_problems(merged.root, SuiteFile):
            if key and key[0] in touched:
                problems.append(merged.problem(key, f"{message} (profile {name})"))
    return problems


def fold_label(label: str, fold: int) -> str:
    """Label of a fold of a dataset."""
    return f"{label}-fold{fold}"


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _texts(value: Any, key: Key = ()) -> Iterator[tuple[Key, str]]:
    """Every text in a value, names of keys included, with its key."""
    if isinstance(value, dict):
        for part, inner in value.items():
            yield key, str(part)
            yield from _texts(inner, (*key, str(part)))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _texts(inner, (*key, i))
    elif isinstance(value, str):
        yield key, value


def _revived(model: type[Params], values: Mapping[str, Any]) -> Params | None:
    """Parameters as validated before; None if they were refused."""
    try:
        return model.model_validate(values)
    except ValidationError:
        return None


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

    def suite(self, path: Path) -> Suite | None:
        """The suite, or None (then there are problems)."""
        for key, text in _texts(self.tree.root):
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
            datasets=tuple(datasets),
            generators=tuple(entry for entry in (*added, *generators) if entry),
            metrics=tuple(metrics),
            sample=file.sample,
            floor=file.floor,
            limits=file.limits,
            threads=file.threads,
            shadows=file.shadows,
            executor=file.executor,
            path=path,
            compare=file.compare,
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
            replace(
                entry,
                label=fold_label(entry.label, fold),
                split=entry.split.model_copy(update={"fold": fold}),
            )
            for fold in range(1, entry.split.folds + 1)
        ]

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
        filters, withdrawn = read.filters, None
        if filters.withdrawn is not None:
            filters, withdrawn = self._withdrawn((*key, "filters", "withdrawn"), filters)
        return DatasetEntry(
            label=read.label or name,
            name=name,
            params=params,
            asked=read.params,
            filters=filters,
            split=read.split,
            withdrawn=withdrawn,
            listed=self._listed((*key, "split"), read.split),
        )

    def _listed(self, key: Key, split: SplitSettings) -> dict[str, PeopleList]:
        """The lists of people that a split names; a problem where one can't be read."""
        lists = {}
        for name, people in split.listed.items():
            if isinstance(people, list):
                lists[name] = PeopleList.of(people)
                continue
            try:
                path = Path(self._expand((*key, name), people)).expanduser()
                lists[name] = PeopleList.read(path)
            except FormatError as error:
                self.problem((*key, name), str(error))
        return lists

    def _withdrawn(self, key: Key, filters: Filters) -> tuple[Filters, PeopleList | None]:
        """The list that filters name, with its path expanded; a problem where it can't be read."""
        asked = filters.withdrawn
        if asked is None or asked.names:
            return filters, PeopleList.of(asked.names) if asked else None
        path = str(Path(self._expand(key, asked.file)).expanduser())
        filters = filters.model_copy(update={"withdrawn": asked.model_copy(update={"file": path})})
        try:
            return filters, PeopleList.read(path)
        except FormatError as error:
            self.problem(key, str(error))
            return filters, None

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
        restart = read.limits.restart
        return GeneratorEntry(
            label=read.label or name,
            name=name,
            role="control" if spec.control else "generator",
            params=params,
            seeds=tuple(read.seeds or file.seeds),
            world_sizes=tuple(read.world_size),
            backend=read.backend,
            scaling=read.scaling,
            torch_profile=read.torch_profile,
            limits=Limits(
                time=read.limits.time or file.limits.time,
                memory=read.limits.memory or file.limits.memory,
                restart=file.limits.restart if restart is None else restart,
            ),
            missing=missing,
            optional=read.optional,
            fingerprint=chosen.fingerprint() if chosen else "",
        )

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
            optional=True,
        )

    def _metrics(self) -> list[MetricEntry]:
        entries: dict[str, MetricEntry] = {}
        given = self._items("metrics")
        if "metrics" not in self.tree.root:
            given = [(0, {"name": "all"})]
        if any(item.get("name") == "all" for _, item in given):
            for name, spec in self.registry.metrics.items():
                params = self._params(("metrics",), spec.params, {})
                missing = tuple(missing_needs(spec.needs))
                entries[name] = MetricEntry(name, params, missing, optional=True)
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
            optional = item.get("optional") is True
            missing = self._needs(key, name, spec.needs, optional)
            entries[name] = MetricEntry(name, params, missing, optional=optional)
        return list(entries.values())
