"""The JSON Schema takes what the loader takes, and refuses malformed suites."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from haplobench.errors import SuiteError
from haplobench.plugin import PROJECT
from haplobench.registry import load_registry
from haplobench.suite.json_schema import suite_json_schema
from haplobench.suite.load import load_suite

jsonschema = pytest.importorskip("jsonschema")

ROOT = Path(__file__).resolve().parents[2]
OURS = [
    entry.value
    for entry in sorted(importlib.metadata.entry_points(group=PROJECT), key=lambda e: e.name)
    if entry.dist is not None and entry.dist.name == "haplobench"
]
REGISTRY = load_registry(OURS)
SCHEMA = suite_json_schema(REGISTRY)
VALID: dict[str, Any] = {
    "name": "mine",
    "seeds": [1, 2],
    "datasets": [{"name": "embedded", "params": {"region": "20:1000000-1200000"}}],
    "generators": ["markov", {"name": "vae-paper", "params": {"epochs": 3}}],
    "metrics": ["allele-frequency", {"name": "ld-decay"}],
    "limits": {"time": "10m", "memory": "4GiB"},
    "profiles": {"quick": {"seeds": [1], "floor": {"draws": 3}}},
}


def refused(suite: object) -> bool:
    return not jsonschema.Draft7Validator(SCHEMA).is_valid(suite)


def loads(suite: object, folder: Path) -> bool:
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(suite))
    try:
        load_suite(path, [], REGISTRY)
    except SuiteError:
        return False
    return True


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", sorted((ROOT / "suites").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_suite_is_taken(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text()), SCHEMA)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"metrics": "all"},
        {"generators": None},
        {"generators": [{"name": "markov", "label": "m", "limits": {"time": 5}, "seeds": [4]}]},
        {"sample": {"haplotypes": "holdout", "draws": 2}},
        {"sample": {"haplotypes": 100}},
        {"datasets": ["embedded"]},
        {"datasets": [{"name": "embedded", "split": {"holdout": 60, "validation": 0.1}}]},
        {"generators": [{"name": "command", "params": {"sample": ["awk", "{n_samples}"]}}]},
        {"generators": [{"name": "command", "params": {"sample": {"shell": "x {n_samples}"}}}]},
    ],
)
def test_both_take_it(changes: dict[str, Any], tmp_path: Path) -> None:
    assert loads(VALID | changes, tmp_path)
    jsonschema.validate(VALID | changes, SCHEMA)


@pytest.mark.parametrize(
    "changes",
    [
        {"seedz": [1]},
        {"seeds": []},
        {"seeds": ["one"]},
        {"seeds": [-1]},
        {"name": "a b"},
        {"name": None},
        {"datasets": []},
        {"datasets": ["no-such-dataset"]},
        {"datasets": [{"params": {}}]},
        {"datasets": [{"name": "embedded", "params": {"regoin": "20"}}]},
        {"datasets": [{"name": "embedded", "filters": {"min_maf": 0.6}}]},
        {"generators": ["markof"]},
        {"generators": [{"name": "vae-paper", "params": {"epochs": "many"}}]},
        {"generators": [{"name": "vae-paper", "params": {"epoch": 3}}]},
        {"generators": [{"name": "markov", "world_size": 0}]},
        {"generators": [{"name": "markov", "optional": "perhaps"}]},
        {"generators": [{"name": "command"}]},
        {"generators": [{"name": "command", "params": {"sample": []}}]},
        {"generators": [{"name": "command", "params": {"sample": ["a"], "block": 3}}]},
        {"generators": "markov"},
        {"metrics": ["no-such-metric"]},
        {"metrics": [{"name": "ld-decay", "params": {"nothing": 1}}]},
        {"sample": {"haplotypes": 0}},
        {"sample": {"draws": 0}},
        {"limits": {"time": []}},
        {"threads": 0},
        {"profiles": {"quick": {"seedz": [1]}}},
        {"profiles": {"quick": 3}},
    ],
    ids=str,
)
def test_both_refuse_it(changes: dict[str, Any], tmp_path: Path) -> None:
    assert not loads(VALID | changes, tmp_path)
    assert refused(VALID | changes)


def test_a_name_is_told_with_its_summary() -> None:
    names = SCHEMA["definitions"]["GeneratorItem"]["properties"]["name"]["anyOf"]
    told = {entry["const"]: entry["description"] for entry in names}
    assert told == {name: spec.summary for name, spec in REGISTRY.generators.items()}


def test_the_committed_schema_is_current() -> None:
    committed = json.loads((ROOT / "docs" / "suite.schema.json").read_text(encoding="utf-8"))
    assert committed == SCHEMA, "run `make schema`"
