"""The YAML of suites: aliases, overrides, encodings and numbers, with the place of each fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from suite_plugin import GOOD, load, problems

from haplobench.registry import Registry
from haplobench.suite.load import load_suite
from haplobench.suite.source import parse_value, write_yaml


def test_what_an_alias_names_is_changed_where_it_is_named(
    tmp_path: Path, registry: Registry
) -> None:
    text = """\
        name: a
        datasets: [embedded]
        generators:
          - {name: vae-paper, label: one, params: &shared {window: 32, widths: [3]}}
          - {name: vae-paper, label: two, params: *shared}
        """
    suite = load(tmp_path, registry, text, "generators[0].params.window=16")
    params = {entry.label: entry.params["window"] for entry in suite.generators[2:]}
    assert params == {"one": 16, "two": 32}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: [unclosed", "s.yaml:1: not YAML: expected ',' or ']'"),
        ("- a\n- b\n", "s.yaml:1: expected keys and values, found list"),
        ("just text", "expected keys and values, found str"),
        ("", "s.yaml: datasets: missing, but required"),
        (
            "name: a\nname: b\ndatasets: [embedded]\n",
            "s.yaml:2: name: given twice, first on line 1",
        ),
        ("name: 'a/b'\ndatasets: [embedded]\n", "s.yaml:1: name: string should match pattern"),
        ("name: a\ndatasets: []\n", "s.yaml:2: datasets: list should have at least 1 item"),
        ("name: a\ndatasets: embedded\n", "s.yaml:2: datasets: expected a valid list"),
        ("name: a\ndatasets: [embedded]\nseeds: 3\n", "s.yaml:3: seeds: expected a valid list"),
        ("name: a\ndatasets: [embedded]\nseeds: [true]\n", "seeds[0]: expected a valid integer"),
        ("name: a\ndatasets: [embedded]\ngenerators: [3]\n", "s.yaml:3: generators[0]: expected"),
        ("name: a\ndatasets: [embedded]\nprofile: x\n", "s.yaml:3: profile: no profile is named"),
    ],
)
def test_malformed_files(tmp_path: Path, registry: Registry, text: str, says: str) -> None:
    assert says in "\n".join(problems(tmp_path, registry, text))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("seeds", "--set seeds: expected key=value"),
        ("=3", "expected key=value"),
        ("seeds=[1", "--set seeds=[1: the value is not YAML"),
        ("generators[9].label=x", "generators[9]: there are 2 items"),
        ("datasets.0.label=x", "datasets.0: a list's items go by number, the first is datasets[0]"),
        ("sample[0]=x", "sample[0]: a mapping's items go by name, not by number"),
        ("name.first=x", "--set name.first=x: name: is 'good', so it can't have keys"),
        ("sample.drws=1", "--set sample.drws: sample.drws: unknown key; did you mean draws?"),
        ("sample.draws=many", "--set sample.draws: sample.draws: expected a valid integer"),
    ],
)
def test_overrides_that_do_not_fit(
    tmp_path: Path, registry: Registry, override: str, says: str
) -> None:
    assert says in "\n".join(problems(tmp_path, registry, GOOD, override))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_suite_as_windows_editors_save_it(
    tmp_path: Path, registry: Registry, encoding: str
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("name: notepad\ndatasets: [embedded]\n", encoding=encoding, newline="\r\n")
    assert load_suite(path, (), registry).name == "notepad"


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-2", 0.01), ("1E2", 100.0), ("-.5e1", -5.0), ("+2.e+0", 2.0), ("1.5e-2", 0.015)],
)
def test_numbers_with_exponents_are_numbers(text: str, number: float) -> None:
    """As in YAML 1.2 (10.3.2); PyYAML reads YAML 1.1, whose floats need a point and a sign."""
    assert parse_value(text, "") == parse_value(f"[{text}]", "")[0] == number
    for literal in ("e2", "1e", "0x1e2", "1e2e", "20:1e6", f"'{text}'", f"{text}a"):
        assert not isinstance(parse_value(literal, ""), float)
    assert parse_value(write_yaml([text, number]), "") == [text, number]


def test_a_share_with_an_exponent(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("name: s\ndatasets:\n  - {name: embedded, filters: {min_maf: 5e-2}}\n")
    assert load_suite(path, (), registry).datasets[0].filters.min_maf == 0.05
    changed = load_suite(path, ("datasets[0].filters.min_maf=2e-2",), registry)
    assert changed.datasets[0].filters.min_maf == 0.02
