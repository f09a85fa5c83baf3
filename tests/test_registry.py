"""Registry: finds, survives and explains."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from haplobench import Binary, GeneratorSpec, Module, PluginError, StageEvent, hookimpl
from haplobench.registry import load_registry, missing_needs, resolve


def plugin(name: str, *specs: object) -> types.ModuleType:
    module = types.ModuleType(name)
    module.haplobench_generators = hookimpl(lambda: list(specs))  # type: ignore[attr-defined]
    return module


def spec(name: str) -> GeneratorSpec:
    return GeneratorSpec(name=name, version="1", target="nowhere:Nothing", summary="A test.")


def test_specs_are_found_by_name_and_near_names_suggested() -> None:
    registry = load_registry([plugin("one", spec("markov"), spec("copycat"))])
    assert registry.generator("markov").name == "markov"
    with pytest.raises(PluginError, match="did you mean markov"):
        registry.generator("markow")
    with pytest.raises(PluginError, match="no metric is named 'x'.*bench list metrics"):
        registry.metric("x")


def test_a_broken_plugin_is_reported_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    def explode() -> list[GeneratorSpec]:
        raise RuntimeError("boom")

    bad = types.ModuleType("bad")
    bad.haplobench_generators = hookimpl(explode)  # type: ignore[attr-defined]
    registry = load_registry(["no_such_module_at_all", bad, plugin("good", spec("fine"))])
    assert list(registry.generators) == ["fine"]
    errors = [broken.error for broken in registry.broken]
    assert "ModuleNotFoundError" in errors[0]
    assert "boom" in errors[1]
    with pytest.raises(PluginError, match="boom"):
        registry.generator("lost")


def test_one_name_twice_is_an_error_that_lists_both() -> None:
    registry = load_registry([plugin("one", spec("same")), plugin("two", spec("same"))])
    with pytest.raises(PluginError, match="one.*and.*two"):
        registry.generator("same")


def test_a_third_duplicate_does_not_slip_in() -> None:
    registry = load_registry([plugin(n, spec("same")) for n in ("one", "two", "three")])
    assert "same" not in registry.generators
    with pytest.raises(PluginError, match="three"):
        registry.generator("same")


def test_a_hook_that_gives_something_else_is_broken() -> None:
    registry = load_registry([plugin("odd", "not a spec")])
    assert "expected GeneratorSpec" in registry.broken[0].error


def test_what_no_marker_names_is_no_plugin() -> None:
    unmarked = types.ModuleType("unmarked")
    unmarked.haplobench_generators = lambda: [spec("sly")]  # type: ignore[attr-defined]
    registry = load_registry(["json", unmarked, plugin("good", spec("fine"))])
    assert list(registry.generators) == ["fine"]
    errors = {broken.source.entry_point: broken.error for broken in registry.broken}
    assert errors["json"].startswith("isn't a plugin: expected a function haplobench_generators")
    assert errors["unmarked"] == "haplobench_generators isn't marked @hookimpl"


@pytest.mark.parametrize(
    ("hook", "function", "says"),
    [
        ("haplobench_genrators", lambda: [], "unknown hook 'haplobench_genrators'.*known hooks"),
        (
            "haplobench_generators",
            lambda registry: [],
            "registry.*can not be found in the hookspec",
        ),
        ("haplobench_generators", lambda: None, r"haplobench_generators\(\) gave nothing"),
        ("haplobench_generators", lambda: 3, "TypeError: 'int' object is not iterable"),
    ],
)
def test_pluggy_checks_every_hook_at_the_cost_of_its_own_plugin(
    hook: str, function: Callable[..., Any], says: str
) -> None:
    odd = plugin("odd", spec("lost"))
    setattr(odd, hook, hookimpl(function))
    observed: list[StageEvent] = []
    odd.haplobench_stage_finished = hookimpl(  # type: ignore[attr-defined]
        lambda event: observed.append(event)
    )
    registry = load_registry([plugin("one", spec("a")), odd, plugin("two", spec("b"))])
    assert list(registry.generators) == ["a", "b"]
    (broken,) = registry.broken
    assert re.search(says, broken.error)
    assert "\n" not in broken.error
    assert not registry.manager.is_registered(odd)
    for _, finished in registry.observers("haplobench_stage_finished"):
        finished(event=StageEvent("c", "fit", "ok", 1.0))
    assert observed == []


class Described:
    """A plugin that is an object: specs are yielded, the observer takes no argument."""

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self.seen = 0

    @hookimpl
    def haplobench_generators(self) -> Iterator[GeneratorSpec]:
        yield spec(f"yielded by {self.__name__}")

    @hookimpl
    def haplobench_stage_finished(self) -> None:
        self.seen += 1


class Wrapped(Described):
    """The same with a wrapper around its hook."""

    @hookimpl(wrapper=True, specname="haplobench_generators")
    def around(self) -> Generator[None, list[Any], list[Any]]:
        results = yield
        return [[spec("wrapped")], *results]


def test_hooks_go_through_pluggy() -> None:
    one, two = Described("one"), Wrapped("two")
    registry = load_registry([one, two])  # type: ignore[list-item]
    assert not registry.broken
    assert list(registry.generators) == ["yielded by one", "wrapped", "yielded by two"]
    for _, finished in registry.observers("haplobench_stage_finished"):
        finished(event=StageEvent("c", "fit", "ok", 1.0))
    assert (one.seen, two.seen) == (1, 1)


def test_targets_resolve_or_say_why() -> None:
    assert resolve("haplobench.data.panel:Panel").__name__ == "Panel"
    for target in ("haplobench.data.panel:Nothing", "no_such_module:X"):
        with pytest.raises(PluginError, match="can't be imported"):
            resolve(target)


def test_needs_say_what_is_missing_and_how_to_get_it() -> None:
    needs = (
        Module("sys", "x"),
        Module("surely_absent", "haplobench[y]"),
        Binary("no-such-z", "apt"),
    )
    assert missing_needs(needs) == [
        "Python module surely_absent (pip install 'haplobench[y]')",
        "program no-such-z (apt)",
    ]


def test_our_plugins_load_without_heavy_imports() -> None:
    import subprocess

    code = (
        "import sys; from haplobench.registry import load_registry; r = load_registry();"
        "assert not r.broken and not r.duplicates, (r.broken, r.duplicates);"
        "heavy = {'torch','msprime','numba','scipy','pandas','altair','sklearn','zarr','cyvcf2'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
