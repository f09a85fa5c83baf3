"""What run.json and costs hold is checked by key; numbers fit a float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from haplobench import FormatError
from haplobench.results.description import check_cost, check_description, metrics_of

WORK = {"cpu": 1.0, "peak_rss": 10, "communication": {}}
STAGE = {"wall": 1.0, "cpu": 1.0, "peak_rss": 10, "ranks": [WORK]}
COST: dict[str, Any] = {
    **{"dataset": "d", "generator": "g", "name": "g", "params": {"large": 10**30}},
    **{"seed": 1, "world_size": 1, "backend": "", "mode": "strong", "n_train": 8},
    "fit": STAGE,
    "draws": [{**STAGE, "n_haplotypes": 4, "n_sites": 9, "span": 9}],
}


@pytest.mark.parametrize("number", [10**400, -(2**63), float("inf"), float("nan")])
def test_numbers_that_no_float_holds_are_refused_by_their_key(number: float) -> None:
    path = Path("a.json")
    assert check_cost(COST, path) == COST
    with pytest.raises(FormatError, match=r"a.json: n_train: expected"):
        check_cost({**COST, "n_train": number}, path)
    draw = {**COST["draws"][0], "span": number}
    with pytest.raises(FormatError, match=r"a.json: draws(\.0|\[0\])\.span: expected"):
        check_cost({**COST, "draws": [draw]}, path)
    with pytest.raises(FormatError, match=r"a.json: (datasets.*n_sites|datasets\S*): expected"):
        check_description({"datasets": {"chr1": {"n_sites": number}}}, path)


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("claims", {"dataset": "d", "generator": "g", "unit": 5}),
        ("claims", {"dataset": "d", "generator": "g", "delta": "small"}),
        ("privacy_totals", {"datasets": [], "fits": 1}),
        ("privacy_totals", {"datasets": ["d"], "fits": "many"}),
        ("privacy_totals", {"datasets": ["d"], "without_bound": [3]}),
    ],
)
def test_claims_of_other_types_are_refused_by_their_key(key: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match=rf"a.json: {key}\[0\]"):
        check_description({key: [wrong]}, Path("a.json"))


def test_what_a_run_leaves_out_has_its_default() -> None:
    """In `vars`, too, by which pages show it."""
    told = {"family": None, "submetrics": [{"name": "x", "unit": None}], "figures": [{"name": "f"}]}
    metric = metrics_of({"metrics": {"m": told}})["m"]
    assert (metric.family, vars(metric)["summary"], metric.citations) == ("other", "", ())
    number, figure = vars(metric.submetrics[0]), vars(metric.figures[0])
    assert (number["title"], number["unit"], number["direction"]) == ("x", "", "info")
    assert figure == dict.fromkeys(("name", "title", "caption", "target"), "f")
