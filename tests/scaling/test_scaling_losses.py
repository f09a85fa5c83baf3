"""The same training by other ranks and back ends: grouped, compared, printed and drawn."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from haplobench.results.notes import CellCost
from haplobench.results.run_folder import RunFolder
from haplobench.scaling.curves import memory_points
from haplobench.scaling.losses import Trained, differences, same_trainings
from haplobench.scaling.text import print_losses, print_memory, render_losses

PARAMS = {"batch_size": 64, "epochs": 3}


def cost(
    label: str = "vae",
    ranks: int = 1,
    backend: str = "torch",
    params: dict[str, Any] = PARAMS,
    n_train: int = 400,
    *,
    epochs: int = 3,
    peak: int = 100,
    profile: bool = False,
) -> CellCost:
    parts = {"data": 1.0, "forward": 2.0, "backward": 3.0, "optimiser": 1.0, "steps": 10}
    steps = {**parts, "all_reduce": 1.0 * (ranks > 1), "epochs": epochs}
    rank = {
        "cpu": 9.0,
        "peak_rss": peak,
        "peak_gpu_memory": None,
        "communication": {"bytes": 0, "seconds": 0.0, "operations": {}, "steps": steps},
    }
    fit: dict[str, Any] = {
        "wall": 10.0 / ranks,
        "cpu": 9.0,
        "peak_rss": peak * ranks,
        "base_rss": 1,
        "peak_gpu_memory": None,
        "ranks": [{**rank, "rank": i} for i in range(ranks)],
    }
    return CellCost(
        dataset="people",
        generator=label,
        name="vae",
        params=params,
        seed=1,
        world_size=ranks,
        backend=backend if ranks > 1 else "",
        mode="strong",
        n_train=n_train,
        fit=fit | ({"profile": {}} if profile else {}),
        draws=(),
    )


def left(folder: Path, cost: CellCost, *losses: float) -> CellCost:
    """The cell's generator left these losses."""
    to = folder / "artifacts" / cost.cell / "fit"
    to.mkdir(parents=True)
    told = {"validation_loss": losses, "best_epoch": 2, "weights": [1.0]}
    (to / "training.json").write_text(json.dumps(told))
    return cost


def compared(folder: Path, costs: list[CellCost]) -> list[list[Trained]]:
    return same_trainings(RunFolder(folder), costs)


def test_back_ends_and_ranks_stand_side_by_side(tmp_path: Path) -> None:
    costs = [
        left(tmp_path, cost("hvd", 1), 100.0, 80.0, 70.0),
        left(tmp_path, cost("hvd", 2, "horovod"), 100.0, 80.0, 70.014),
        left(tmp_path, cost("vae", 1), 100.0, 80.0, 70.0),
        left(tmp_path, cost("vae", 2), 100.0, 80.02, 70.0),
    ]
    (group,) = compared(tmp_path, costs)
    # One rank has no back end: the two labels ask for one and the same.
    assert [(one.generator, one.text) for one in group] == [
        ("vae", "1 rank"),
        ("vae", "2 ranks, torch"),
        ("hvd", "2 ranks, horovod"),
    ]
    assert [one.from_first for one in group] == [
        None,
        pytest.approx(0.02 / 80),
        pytest.approx(0.014 / 70),
    ]
    assert [one.from_torch for one in group] == [None, None, pytest.approx(0.02 / 80.02)]
    assert [one.last for one in group] == [70.0, 70.0, 70.014]
    assert group[2].step == pytest.approx(0.8)
    assert group[2].all_reduce == pytest.approx(1 / 8)
    rows = list(csv.DictReader(io.StringIO(render_losses([group]))))
    assert [row["backend"] for row in rows] == ["", "torch", "horovod"]
    assert float(rows[2]["difference_from_torch"]) == pytest.approx(0.02 / 80.02, rel=1e-4)
    assert rows[0]["difference_from_first"] == ""
    console = Console(width=140, record=True, file=io.StringIO())
    print_losses([group], console)
    text = console.export_text()
    assert "within 0.001" in text
    assert "2.5e-04" in text


def test_what_asks_for_something_else_is_not_compared(tmp_path: Path) -> None:
    others = [
        cost("a", 1),
        cost("b", 2, params={**PARAMS, "batch_size": 65}),
        cost("c", 2, n_train=200),
        cost("d", 2, profile=True),
    ]
    assert compared(tmp_path, [left(tmp_path, one, 1.0) for one in others]) == []


def test_losses_that_drift_apart_are_told(tmp_path: Path) -> None:
    costs = [left(tmp_path, cost("vae", 1), 10.0), left(tmp_path, cost("vae", 2), 10.1)]
    console = Console(width=140, record=True, file=io.StringIO())
    print_losses(compared(tmp_path, costs), console)
    assert "BEYOND 0.001" in console.export_text()


def test_lists_of_a_generator_that_counts_no_epochs_are_no_curves(tmp_path: Path) -> None:
    costs = [left(tmp_path, cost("vae", ranks, epochs=0), 10.0) for ranks in (1, 2)]
    assert compared(tmp_path, costs) == []


@given(
    losses=st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=9),
    factor=st.floats(1 - 1e-3, 1 + 1e-3),
)
def test_differences_are_relative_and_by_epoch(losses: list[float], factor: float) -> None:
    one = {"x": tuple(loss * factor for loss in losses), "y": (1.0,)}
    other = {"x": tuple(losses), "z": (2.0,)}
    found = differences(one, other)
    assert found == pytest.approx([abs(factor - 1)] * len(losses), abs=1e-12)
    assert differences(other, other) == [0.0] * len(losses)


def test_another_number_of_epochs_is_infinitely_far() -> None:
    assert differences({"x": (1.0, 2.0)}, {"x": (1.0,)}) == [0.0, math.inf]
    assert differences({"x": (1.0,)}, {"y": (1.0,)}) == []


def test_losses_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="figures are drawn by vl-convert")
    from haplobench.results.table import load_run
    from haplobench.scaling.figures import draw_scaling

    costs = [
        left(tmp_path, cost("vae", 1), 100.0, 80.0, 70.0),
        left(tmp_path, cost("vae", 2), 100.0, 80.0, 70.0),
        left(tmp_path, cost("hvd", 2, "horovod"), 100.0, 80.0, 70.001),
    ]
    (tmp_path / "costs").mkdir()
    for one in costs:
        draws = ({**one.fit, "wall": 1.0, "n_haplotypes": 2, "n_sites": 3, "span": 9},)
        whole = CellCost(**{**vars(one), "draws": draws})
        (tmp_path / "costs" / f"{one.cell}.json").write_text(whole.to_json())
    (tmp_path / "run.json").write_text(json.dumps({"suite": "s", "datasets": {"people": {}}}))
    (tmp_path / "records.jsonl").write_text("")
    figures = {figure.name: figure for figure in draw_scaling(load_run(tmp_path))}
    assert "2 ranks, horovod" in figures["losses"].svg
    assert "tolerance" in figures["losses"].svg
    assert "projected" in figures["speed-up"].svg


def test_memory_is_of_trainings_that_differ_in_their_batch_alone() -> None:
    costs = [
        cost("a", params={**PARAMS, "batch_size": 32}, peak=100),
        cost("b", params={**PARAMS, "batch_size": 64}, peak=150),
        cost("c", params={**PARAMS, "batch_size": 64}, peak=900, profile=True),
        cost("d", params={"batch_size": 128, "epochs": 9}, peak=900),
        cost("e", params={**PARAMS, "batch_size": 128}, n_train=9, peak=900),
    ]
    assert [(point.batch, point.peak) for point in memory_points(costs)] == [(32, 100), (64, 150)]
    console = Console(width=140, record=True, file=io.StringIO())
    print_memory(memory_points(costs), console)
    assert "150 B" in console.export_text()
