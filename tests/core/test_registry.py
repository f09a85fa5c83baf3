"""Registry: finds, survives and explains."""

from __future__ import annotations

import sys
import types

import pytest

from haplobench import Binary, GeneratorSpec, Module, PluginError, hookimpl
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
