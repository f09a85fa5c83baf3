"""What has passed `bench check` is known, and what hasn't is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from haplobench.registry import load_registry
from haplobench.runner import fingerprints
from haplobench.testing.checks import note_passed, unchecked

PLUGIN = """
from haplobench import GeneratorSpec, hookimpl

@hookimpl
def haplobench_generators():
    return [GeneratorSpec("passing", "1", "passing_plugin:Nobody", "Nothing.")]
"""


def test_a_plugin_of_others_is_warned_of_until_it_passes_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAPLOBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "passing_plugin.py"
    module.write_text(PLUGIN)
    registry = load_registry(["passing_plugin"])
    used = [("generator", "passing")]
    (line,) = unchecked(registry, used)
    assert "generator passing hasn't passed `bench check passing` yet" in line
    note_passed("generator", registry.generator("passing"))
    assert unchecked(registry, used) == []
    module.write_text(PLUGIN + "changed = True\n")
    fingerprints.forget()
    (line,) = unchecked(registry, used)
    assert "since it, or haplobench, was changed" in line


def test_the_harness_own_are_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAPLOBENCH_CACHE", str(tmp_path / "cache"))
    registry = load_registry()
    used = [("generator", "markov"), ("metric", "ld-decay"), ("dataset", "embedded")]
    assert unchecked(registry, used) == []
    (tmp_path / "cache").write_text("no folder")
    note_passed("generator", registry.generator("markov"))  # nothing can be written, nor is
