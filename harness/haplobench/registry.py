"""Registry: finds plugins through entry points, survives broken ones, looks specs up by name.

Every hook is called through pluggy, one plugin at a time: what one raises costs only itself.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol, TypeVar

import pluggy

from haplobench.errors import PluginError
from haplobench.files import near_names
from haplobench.plugin import PROJECT, DatasetSpec, GeneratorSpec, Hooks, MetricSpec, Need

T = TypeVar("T")
_SPEC_TYPES = {"generators": GeneratorSpec, "metrics": MetricSpec, "datasets": DatasetSpec}


class _Spec(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def needs(self) -> tuple[Need, ...]: ...


@dataclass(frozen=True)
class Source:
    """Where a spec came from: entry point, its module, distribution and version."""

    entry_point: str
    module: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return (
            f"{self.distribution} {self.version} (entry point {self.entry_point} = {self.module})"
        )


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin that could not be loaded, and why."""

    source: Source
    error: str


@dataclass
class Registry:
    """All specs by kind and name, and the plugins that could not be loaded."""

    manager: pluggy.PluginManager
    generators: dict[str, GeneratorSpec] = field(default_factory=dict)
    metrics: dict[str, MetricSpec] = field(default_factory=dict)
    datasets: dict[str, DatasetSpec] = field(default_factory=dict)
    sources: dict[tuple[str, str], Source] = field(default_factory=dict)
    duplicates: dict[tuple[str, str], list[Source]] = field(default_factory=dict)
    broken: list[BrokenPlugin] = field(default_factory=list)

    def generator(self, name: str) -> GeneratorSpec:
        """The generator of that name; PluginError with near names if there is none."""
        return self._find("generators", self.generators, name)

    def metric(self, name: str) -> MetricSpec:
        """The metric of that name; PluginError with near names if there is none."""
        return self._find("metrics", self.metrics, name)

    def dataset(self, name: str) -> DatasetSpec:
        """The dataset of that name; PluginError with near names if there is none."""
        return self._find("datasets", self.datasets, name)

    def source(self, kind: str, name: str) -> Source:
        """Where the spec of that kind (`generators`, …) and name came from."""
        return self.sources[kind, name]

    def observers(self, hook: str) -> Iterator[tuple[str, Callable[..., Any]]]:
        """Each plugin that implements a hook, by name, with what calls the hook of it alone."""
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            yield implementation.plugin_name, _caller(self.manager, hook, implementation.plugin)

    def _find(self, kind: str, specs: Mapping[str, T], name: str) -> T:
        if (kind, name) in self.duplicates:
            listed = " and ".join(str(source) for source in self.duplicates[kind, name])
            raise PluginError(
                f"{kind[:-1]} {name!r} is declared by {listed}", hint="uninstall one of them"
            )
        if name in specs:
            return specs[name]
        hint = near_names(name, specs, lead="") or f"see `bench list {kind}`"
        broken = "".join(
            f"; the plugin {plugin.source} failed to load: {plugin.error}" for plugin in self.broken
        )
        raise PluginError(f"no {kind[:-1]} is named {name!r}{broken}", hint=hint)


def load_registry(plugins: Iterable[str | ModuleType] | None = None) -> Registry:
    """Build a registry from the installed entry points, or from an explicit list of modules.

    Tests pass `plugins` (module names or modules), so that what else is installed can't
    change them. A plugin that fails to import or to describe itself, or none of whose functions
    is marked as a hook, is reported in `Registry.broken`; the others go on.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    registry = Registry(manager)
    for source, module in _candidates(plugins):
        name = f"{source.distribution}:{source.entry_point}"
        try:
            if isinstance(module, str):
                module = importlib.import_module(module)
            _register(manager, module, name)
            described = [
                (kind, spec) for kind in _SPEC_TYPES for spec in _describe(manager, module, kind)
            ]
        except Exception as error:  # a plugin is someone else's code: whatever it raises is its own
            text = (
                str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
            )
            registry.broken.append(BrokenPlugin(source, " ".join(text.split("\n"))))
            if manager.has_plugin(name) and manager.get_plugin(name) is module:
                manager.unregister(name=name)
            continue
        for kind, spec in described:
            _add(registry, kind, spec, source)
    return registry


def resolve(target: str) -> Any:
    """Import what a string target `package.module:name` names; PluginError if it isn't there."""
    module_name, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise PluginError(f"target {target!r} can't be imported: {error}") from error


def missing_needs(needs: Iterable[Need]) -> list[str]:
    """What is missing of `needs` on this machine, and how to get it."""
    return [text for need in needs if (text := need.missing())]


def _candidates(
    plugins: Iterable[str | ModuleType] | None,
) -> Iterable[tuple[Source, str | ModuleType]]:
    if plugins is not None:
        for plugin in plugins:
            name = plugin if isinstance(plugin, str) else plugin.__name__
            yield Source(name, name, "explicit", ""), plugin
        return
    for entry in sorted(importlib.metadata.entry_points(group=PROJECT), key=lambda e: e.name):
        distribution = entry.dist
        yield (
            Source(
                entry.name,
                entry.value,
                distribution.name if distribution else "unknown",
                distribution.version if distribution else "",
            ),
            entry.value,
        )


def _register(manager: pluggy.PluginManager, module: ModuleType, name: str) -> None:
    """Register a plugin; PluginError for a module that isn't one, or has an unknown hook."""
    manager.register(module, name=name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        known = ", ".join(sorted(vars(manager.hook)))
        raise PluginError(f"{error}; known hooks: {known}") from error
    if not manager.get_hookcallers(module):
        unmarked = [hook for hook in vars(manager.hook) if hasattr(module, hook)]
        raise PluginError(
            f"{', '.join(unmarked)} isn't marked @hookimpl"
            if unmarked
            else "isn't a plugin: expected a function haplobench_generators, haplobench_metrics or "
            "haplobench_datasets, marked @hookimpl"
        )


def _caller(manager: pluggy.PluginManager, hook: str, plugin: object) -> Callable[..., Any]:
    """A hook of one plugin alone."""
    return manager.subset_hook_caller(
        hook, [other for other in manager.get_plugins() if other is not plugin]
    )


def _describe(manager: pluggy.PluginManager, module: ModuleType, kind: str) -> list[Any]:
    hook = f"haplobench_{kind}"
    if hook not in {caller.name for caller in manager.get_hookcallers(module) or ()}:
        return []
    results = _caller(manager, hook, module)()
    if not results:
        raise PluginError(f"{hook}() gave nothing, expected a list of specs")
    specs = [spec for result in results for spec in result]
    for spec in specs:
        if not isinstance(spec, _SPEC_TYPES[kind]):
            raise PluginError(
                f"{hook}() gave {type(spec).__name__}, expected {_SPEC_TYPES[kind].__name__}"
            )
    return specs


def _add(registry: Registry, kind: str, spec: _Spec, source: Source) -> None:
    key = (kind, spec.name)
    specs: dict[str, Any] = getattr(registry, kind)
    if key in registry.duplicates:
        registry.duplicates[key].append(source)
    elif spec.name in specs:
        # Neither wins: which one ran would depend on the order of installation.
        registry.duplicates[key] = [registry.sources[key], source]
        del specs[spec.name]
    else:
        specs[spec.name] = spec
        registry.sources[key] = source
