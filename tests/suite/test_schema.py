"""A resolved suite is its schema: what is dumped of it reproduces its run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from suite_plugin import DATE, GOOD, LIST, load

from haplobench.registry import Registry, load_registry
from haplobench.runner.plan import plan_cells
from haplobench.suite.load import load_suite
from haplobench.suite.schema import Suite
from haplobench.suite.source import find_suite, shipped_suites, write_yaml


def test_what_was_resolved_loads_again_as_the_same_suite(
    tmp_path: Path, registry: Registry
) -> None:
    suite = load(tmp_path, registry, GOOD, "metrics=[ld-decay]")
    again = load(tmp_path, registry, suite.to_yaml())
    assert again == suite
    assert again.digest == suite.digest


def cells(suite: Suite) -> list[tuple[str, str]]:
    return [(cell.name, cell.cell_id) for cell in plan_cells(suite)]


@pytest.mark.parametrize("name", shipped_suites())
def test_a_resolved_shipped_suite_reproduces_its_run(name: str, tmp_path: Path) -> None:
    installed = load_registry()
    profiles = yaml.safe_load(find_suite(name)[0].read_text()).get("profiles", {})
    for overrides in ((), *([f"profile={profile}"] for profile in profiles)):
        suite = load_suite(name, overrides, installed)
        path = tmp_path / "suite.yaml"
        path.write_text(suite.to_yaml())
        again = load_suite(path, (), installed)
        assert again == suite
        assert again.digest == suite.digest
        assert cells(again) == cells(suite)


ITEMS = {
    "datasets": st.fixed_dictionaries(
        {"name": st.just("file"), "params": st.just({"path": "${PANELS:-here}/a", "odd": DATE})},
        optional={
            "filters": st.fixed_dictionaries(
                {}, optional={"min_maf": st.sampled_from([0, 0.2]), "withdrawn": st.just(LIST)}
            ),
            "split": st.sampled_from(
                [{"folds": 2}, {"folds": 2, "fold": 1}, {"holdout": LIST}, {"relatives": "warn"}]
            ),
        },
    ),
    "generators": st.fixed_dictionaries(
        {"name": st.sampled_from(["parallel", "bounded", "reads-art", "copycat"])},
        optional={
            "params": st.sampled_from([{}, {"bound": math.inf}]),
            "seeds": st.lists(st.integers(0, 9), min_size=1, unique=True),
            "limits": st.sampled_from([{"time": "5m"}, {"restart": 0}]),
            "backend": st.just("torch"),
        },
    ),
    "metrics": st.fixed_dictionaries(
        {"name": st.sampled_from(["ld-decay", "k-mers", "needy"])},
        optional={"optional": st.booleans()},
    ),
}
SUITES = st.fixed_dictionaries(
    {section: st.lists(items, min_size=1, max_size=3) for section, items in ITEMS.items()},
    optional={
        "seeds": st.just([3, 1]),
        "limits": st.just({"memory": "1GiB", "restart": 2}),
        "shadows": st.just(2),
        "compare": st.just({"gate": [], "rules": [{"metric": "ld-decay", "min_effect": math.inf}]}),
        "verdict": st.just({"version": 1, "level": 0.01, "faithful": 0.9}),
        "executor": st.just({"name": "slurm", "time": "1h", "extra": {"mail": 1}}),
    },
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(written=SUITES, data=st.data())
def test_any_resolved_suite_reproduces_its_run(
    tmp_path: Path,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    written: dict[str, Any],
    data: st.DataObject,
) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "list.txt").write_text("Anna\n")
    monkeypatch.setenv("LISTS", str(tmp_path / "here"))
    for section in ("datasets", "generators"):
        for i, item in enumerate(written[section]):
            item["label"] = f"l{i}"
    for item in written["generators"]:
        if item["name"] == "parallel":
            item["world_size"] = data.draw(st.sampled_from([1, [1, 2]]))
            item["torch_profile"] = data.draw(st.booleans())
            item["scaling"] = {"mode": data.draw(st.sampled_from(["weak", "strong"]))}
        if item["name"] != "bounded":
            item.pop("params", None)
        item["optional"] = item["name"] == "reads-art" or data.draw(st.booleans())
    if data.draw(st.booleans()):
        written["metrics"] = data.draw(st.sampled_from(["all", []]))
    else:
        written["metrics"] = list({item["name"]: item for item in written["metrics"]}.values())
        for item in written["metrics"]:
            item["optional"] = item["name"] == "needy" or item.get("optional", False)
    suite = load(tmp_path, registry, write_yaml({"name": "any", **written}))
    monkeypatch.setenv("LISTS", str(tmp_path / "there"))
    monkeypatch.setenv("PANELS", "/elsewhere")
    again = load(tmp_path, registry, suite.to_yaml())
    assert again.model_dump() == suite.model_dump()
    assert again.digest == suite.digest
    assert cells(again) == cells(suite)
    assert [entry.optional for entry in again.generators] == [
        entry.optional for entry in suite.generators
    ]
    for item, entry in zip(
        written["generators"], again.generators[-len(written["generators"]) :], strict=True
    ):
        assert entry.optional == item["optional"]
