"""The dataset $name keeps haplobench's contract and holds what it should."""

from pathlib import Path

from haplobench import RunContext
from haplobench.registry import load_registry
from haplobench.testing import check_dataset

from $module.dataset import $title
from $module.params import ${title}Params


def test_it_keeps_the_contract() -> None:
    registry = load_registry(["$module"])
    check_dataset("$name", registry=registry)


def test_the_panel_is_as_asked(tmp_path: Path) -> None:
    params = ${title}Params(people=10, sites=30)
    panel = $title().load(params, RunContext(1, tmp_path, tmp_path)).panel
    assert (panel.n_samples, panel.n_sites) == (10, 30)
