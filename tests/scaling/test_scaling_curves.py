"""Scaling curves: known laws are found again, projections can be checked, figures are drawn."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from haplobench import BenchError
from haplobench.cli import app
from haplobench.results.notes import CellCost, read_costs
from haplobench.results.run_folder import RunFolder
from haplobench.scaling.curves import Curve, fit_model, require_curves, scaling_curves
from haplobench.scaling.text import print_curves, render_csv, rows_of, warnings

# Of one rank: serial seconds, seconds per haplotype; of all-reduce: per call and byte.
SERIAL, RATE, ALPHA, BETA = 2.0, 0.01, 1e-4, 1e-9
CALLS, SENT, STEPS = 1000, 4e8, 500


def waited(ranks: int) -> float:
    ring = 2 * (ranks - 1) / ranks
    return ALPHA * CALLS * math.log2(ranks) + BETA * SENT * ring


def cost(ranks: int, seed: int = 1, mode: str = "strong", label: str = "vae") -> CellCost:
    n = 4000 * (ranks if mode == "weak" else 1)
    seconds = SERIAL + RATE * n / ranks + waited(ranks)
    parts = {"data": 1.0, "forward": 2.0, "backward": 3.0, "optimiser": 0.5}
    return CellCost(
        dataset="people",
        generator=label,
        name="vae",
        params={"batch_size": 64 * ranks},
        seed=seed,
        world_size=ranks,
        backend="torch" if ranks > 1 else "",
        mode=mode,
        n_train=n,
        fit=work(seconds, ranks, {**parts, "all_reduce": waited(ranks), "steps": STEPS}),
        draws=({**work(n * 1e-3 / ranks, ranks, {}), "n_haplotypes": n, "n_sites": 9, "span": 9},),
    )


def work(seconds: float, ranks: int, steps: dict[str, float]) -> dict[str, Any]:
    talk = {"calls": CALLS, "bytes": SENT, "seconds": 0.1}
    return {
        "wall": seconds,
        "cpu": seconds * ranks,
        "peak_rss": 10 * ranks,
        "base_rss": 5 * ranks,
        "peak_gpu_memory": None,
        "ranks": [
            {
                "rank": rank,
                "wall": seconds,
                "cpu": seconds * (1 + (rank == 0) * 0.1),
                "peak_rss": 10 + rank,
                "peak_gpu_memory": None,
                "communication": {
                    "bytes": SENT,
                    "seconds": 0.0 if not steps else 0.1,
                    "operations": {"all_reduce": talk} if ranks > 1 and steps else {},
                    "steps": steps,
                },
            }
            for rank in range(ranks)
        ],
    }


def write(folder: Path, costs: list[CellCost]) -> Path:
    (folder / "costs").mkdir(parents=True, exist_ok=True)
    for i, one in enumerate(costs):
        (folder / "costs" / f"{i}.json").write_text(one.to_json())
    (folder / "run.json").write_text(json.dumps({"suite": "s", "datasets": {"people": {}}}))
    (folder / "records.jsonl").write_text("")
    return folder


def curve(folder: Path, stage: str = "training", label: str = "vae") -> Curve:
    (found,) = [
        one for one in scaling_curves(folder) if (one.stage, one.generator) == (stage, label)
    ]
    return found


def test_the_law_that_made_the_times_is_found(tmp_path: Path) -> None:
    model = fit_model(curve(write(tmp_path, [cost(p) for p in (1, 2, 4, 8)])).points)
    assert model.serial == pytest.approx(SERIAL)
    assert model.rate == pytest.approx(RATE)
    assert model.alpha == pytest.approx(ALPHA)
    assert model.beta == pytest.approx(BETA)


@pytest.mark.parametrize("mode", ["strong", "weak"])
def test_projections_follow_the_law_and_their_error_is_told(tmp_path: Path, mode: str) -> None:
    found = curve(write(tmp_path, [cost(p, mode=mode) for p in (1, 2, 4, 8)]))
    assert [point.ranks for point in found.projected] == [16, 32, 64]
    for point in found.projected:
        assert point.seconds == pytest.approx(cost(point.ranks, mode=mode).fit["wall"])
    assert found.error == pytest.approx(0.0, abs=1e-6)


def slower(made: CellCost, times: float) -> CellCost:
    """A cell whose training took so many times as long, and so much processor time."""
    ranks = [{**rank, "cpu": times * rank["cpu"]} for rank in made.fit["ranks"]]
    fit = {**made.fit, "wall": times * made.fit["wall"], "ranks": ranks}
    return CellCost(**{**vars(made), "fit": fit})


def test_a_projection_that_is_off_says_by_how_much(tmp_path: Path) -> None:
    found = curve(write(tmp_path, [cost(1), cost(2), slower(cost(4), 2)]))
    # One measured all-reduce can't tell latency from bandwidth: hence the tolerance.
    assert found.error == pytest.approx(-0.5, abs=0.02)
    # It doesn't hold, so nothing rests on it.
    assert (found.holds, found.projected) == (False, ())
    assert any("doesn't hold" in text for text in warnings(found))


def test_ranks_without_a_whole_core_are_warned_of_and_not_fitted_to(tmp_path: Path) -> None:
    made = cost(4)
    for rank in made.fit["ranks"]:
        rank["cpu"] = 0.9 * (made.fit["wall"] - waited(4))
    write(tmp_path, [*(cost(p) for p in (1, 2)), made])
    found = curve(tmp_path)
    assert [point.ranks for point in found.sound] == [1, 2]
    assert found.points[-1].core == pytest.approx(0.9)
    assert [point.ranks for point in found.projected] == [4, 8, 16]
    (said,) = warnings(found)
    assert "less than 95% of a core at 4 (at 4: 90%)" in said
    assert "2 had that" in found.no_error
    console = Console(width=140, record=True, file=io.StringIO())
    print_curves([found], console)
    assert "warning: ranks had less than 95% of a core" in console.export_text()
    # Waiting for others is no lack of a core, and a GPU's ranks need none.
    for rank in made.fit["ranks"]:
        rank["cpu"] = made.fit["wall"] - waited(4)
    assert curve(write(tmp_path / "waits", [cost(1), made])).points[-1].core == 1
    for rank in made.fit["ranks"]:
        rank |= {"cpu": 0.1, "gpu_utilisation": 0.9}
    assert curve(write(tmp_path / "gpu", [cost(1), made])).points[-1].core == 1


def test_figures_have_bars_over_draws_and_name_what_ran(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="figures are drawn by vl-convert")
    from haplobench.results.table import load_run
    from haplobench.scaling.figures import draw_scaling

    costs = []
    for ranks in (1, 2, 4):
        costs += [slower(cost(ranks, seed), times) for seed, times in ((1, 1.0), (2, 1.5))]
    figures = {f.name: f for f in draw_scaling(load_run(write(tmp_path, costs)))}
    assert figures["speed-up"].title == "Speed-up by ranks: vae"
    # A bar per measured size in training; sampling took the same each time.
    assert figures["speed-up"].svg.count('class="mark-rule role-mark') == 1
    assert "bars from the least to the greatest" in figures["speed-up"].caption
    assert not re.search(r">\d+m<|e[+-]\d", " ".join(re.findall(r">[^<]+<", figures["rates"].svg)))


def test_speedup_and_efficiency_of_both_kinds_of_scaling(tmp_path: Path) -> None:
    write(tmp_path, [cost(p) for p in (1, 2)] + [cost(p, mode="weak", label="w") for p in (1, 2)])
    strong, weak = curve(tmp_path), curve(tmp_path, label="w")
    one, two = (cost(p).fit["wall"] for p in (1, 2))
    assert strong.speedup(strong.points[1]) == pytest.approx(one / two)
    assert strong.efficiency(strong.points[1]) == pytest.approx(one / two / 2)
    one, two = (cost(p, mode="weak").fit["wall"] for p in (1, 2))
    assert weak.speedup(weak.points[1]) == pytest.approx(2 * one / two)
    assert weak.efficiency(weak.points[1]) == pytest.approx(one / two)
    generation = curve(tmp_path, "generation")
    assert generation.efficiency(generation.points[1]) == pytest.approx(1.0)


def on(folder: Path, cores: int, executor: str = "local") -> Path:
    """As if run on a machine of so many cores."""
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**info, "hardware": {"cores": cores}}))
    (folder / "suite.yaml").write_text(f"executor: {{name: {executor}}}\n")
    return folder


def test_more_ranks_than_cores_are_shown_but_not_fitted_to(tmp_path: Path) -> None:
    slow = cost(8)
    write(tmp_path, [*(cost(p) for p in (1, 2, 4)), slower(slow, 10)])
    assert curve(tmp_path).error == pytest.approx(-0.9, abs=0.02)
    found = curve(on(tmp_path, 4))
    assert [found.oversubscribed(point) for point in found.points] == [False] * 3 + [True]
    assert found.error == pytest.approx(0.0, abs=0.01)
    assert found.no_error == ""
    # What was measured so is projected as well.
    assert [point.ranks for point in found.projected] == [8, 16, 32]
    assert found.projected[0].seconds == pytest.approx(slow.fit["wall"], rel=0.01)
    rows = {(row["ranks"], row["kind"]): row for row in rows_of(found)}
    assert rows[8, "measured"]["oversubscribed"]
    assert not rows[4, "measured"]["oversubscribed"]
    assert not rows[8, "projected"]["oversubscribed"]


def test_an_error_that_can_not_be_told_says_why(tmp_path: Path) -> None:
    write(tmp_path, [cost(p) for p in (1, 2, 4)])
    found = curve(on(tmp_path, 2))
    assert found.error is None
    assert "room for 2 ranks" in found.no_error
    # A cluster hands the cores out: the login node's don't count.
    assert curve(on(tmp_path, 2, "slurm")).error is not None
    # Two threads a rank take two cores.
    info = json.loads((on(tmp_path, 4) / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**info, "threads": 2}))
    assert "room for 2 ranks" in curve(tmp_path).no_error
    write(tmp_path / "two", [cost(p) for p in (1, 2)])
    assert curve(on(tmp_path / "two", 4)).no_error == "takes 3 world sizes, measured were 2"


def test_oversubscribed_ranks_tell_of_the_computing(tmp_path: Path) -> None:
    """Wall time is lost there, processor seconds follow the law."""
    costs = []
    for ranks in (1, 2, 4):
        made = cost(ranks)
        busy = (SERIAL + RATE * 4000 / ranks) * (1.25 if ranks == 4 else 1)
        for rank in made.fit["ranks"]:
            rank["cpu"] = busy
        wall = busy + waited(ranks) if ranks < 4 else 400.0
        costs.append(CellCost(**{**vars(made), "fit": {**made.fit, "wall": wall}}))
    write(tmp_path, costs)
    found = curve(on(tmp_path, 2))
    assert found.error is None
    assert found.computing_error == pytest.approx(1 / 1.25 - 1)
    console = Console(width=300, record=True, file=io.StringIO())
    print_curves([found], console)
    assert "processor seconds at 4 ranks: -20.0%" in console.export_text()
    assert rows_of(found)[0]["computing_error"] == found.computing_error


def test_where_no_rank_had_its_own_core_nothing_is_projected(tmp_path: Path) -> None:
    write(tmp_path, [cost(p) for p in (4, 8)])
    found = curve(on(tmp_path, 2))
    assert (found.model, found.projected, found.error) == (None, (), None)
    console = Console(width=140, record=True, file=io.StringIO())
    print_curves([found], console)
    assert "8*" in console.export_text()


def test_throughput_counts_epochs_and_sites(tmp_path: Path) -> None:
    one = cost(1)
    steps = {**one.fit["ranks"][0]["communication"]["steps"], "epochs": 5}
    costs = []
    for ranks in (1, 2):
        made = cost(ranks)
        for rank in made.fit["ranks"]:
            rank["communication"]["steps"] |= {"epochs": steps["epochs"]}
        costs.append(made)
    write(tmp_path, costs)
    training, generation = curve(tmp_path), curve(tmp_path, "generation")
    assert training.throughput(training.points[0]) == pytest.approx(5 * 4000 / one.fit["wall"])
    draw = one.draws[0]
    assert generation.throughput(generation.points[0]) == pytest.approx(4000 * 9 / draw["wall"])
    rows = rows_of(training)
    assert rows[0]["seconds_per_epoch"] == pytest.approx(6.5 / 5)
    assert rows[1]["bytes_per_epoch"] == pytest.approx(SENT / 5)
    assert rows[2]["haplotypes_per_second"] > rows[1]["haplotypes_per_second"]


def test_seeds_make_one_point(tmp_path: Path) -> None:
    write(tmp_path, [cost(p, seed) for p in (1, 2) for seed in (1, 2, 3)])
    assert [point.n for point in curve(tmp_path).points] == [3, 3]
    assert curve(tmp_path).error is None


def test_rows_hold_what_was_measured(tmp_path: Path) -> None:
    write(tmp_path, [cost(p) for p in (1, 2)])
    rows = rows_of(curve(tmp_path))
    assert [row["kind"] for row in rows] == ["measured"] * 2 + ["projected"] * 3
    assert rows[1]["bytes_per_step"] == SENT / STEPS
    assert rows[1]["share_all_reduce"] == pytest.approx(waited(2) / (6.5 + waited(2)))
    assert rows[1]["imbalance"] == pytest.approx(1.1 / 1.05 - 1)
    assert rows[1]["peak_rss"] == 11
    table = list(csv.DictReader(io.StringIO(render_csv(scaling_curves(tmp_path)))))
    assert len(table) == 10
    assert float(table[1]["seconds"]) == pytest.approx(cost(2).fit["wall"], rel=1e-5)


def test_figures_are_drawn_and_projections_labelled(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="figures are drawn by vl-convert")
    write(
        tmp_path, [cost(p) for p in (1, 2, 4)] + [cost(p, mode="weak", label="w") for p in (1, 2)]
    )
    from haplobench.results.table import load_run
    from haplobench.scaling.figures import draw_scaling

    figures = {figure.name: figure for figure in draw_scaling(load_run(tmp_path))}
    assert set(figures) == {"speed-up", "efficiency", "rates", "step-shares", "all-reduce"}
    assert "projected" in figures["speed-up"].svg
    assert "stroke-dasharray" in figures["speed-up"].svg
    assert "error" in figures["speed-up"].caption


def test_memory_is_drawn_against_batch_size(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="figures are drawn by vl-convert")
    one = cost(1)
    write(
        tmp_path,
        [
            CellCost(**{**vars(one), "generator": f"b{size}", "params": {"batch_size": size}})
            for size in (32, 64)
        ],
    )
    from haplobench.results.table import load_run
    from haplobench.scaling.figures import draw_scaling

    assert [figure.name for figure in draw_scaling(load_run(tmp_path))] == ["memory"]


def test_the_program_prints_and_writes(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="figures are drawn by vl-convert")
    write(tmp_path / "run", [cost(p) for p in (1, 2)])
    to = tmp_path / "to"
    asked = ["scale", str(tmp_path / "run"), "--ranks", "32", "--to", str(to)]
    done = CliRunner().invoke(app, asked, env={"COLUMNS": "140"})
    assert done.exit_code == 0, done.output
    assert "strong scaling" in done.output
    assert re.search(r"32 .*projected", done.output)
    assert (to / "scaling.csv").is_file()
    assert len(list(to.rglob("*.svg"))) == 5


def test_what_has_no_curves_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [cost(1)])
    with pytest.raises(BenchError, match="two world sizes"):
        require_curves(tmp_path, ())
    (tmp_path / "costs" / "0.json").write_text("{")
    with pytest.raises(BenchError, match="not a cell's cost"):
        read_costs(RunFolder(tmp_path))


def test_the_terminal_shows_measured_and_projected(tmp_path: Path) -> None:
    write(tmp_path, [cost(p) for p in (1, 2, 4)])
    console = Console(width=140, record=True, file=io.StringIO())
    print_curves(scaling_curves(tmp_path), console)
    text = console.export_text()
    assert text.count("projected") == 2 * 3
    assert "█" in text
    assert "░" in text


def test_a_gpu_has_a_column_where_there_is_one(tmp_path: Path) -> None:
    costs = [cost(p) for p in (1, 2)]
    write(tmp_path / "cpu", costs)
    for one in costs:
        for rank in one.fit["ranks"]:
            rank["gpu_utilisation"] = 0.5 + 0.25 * rank["rank"]
    write(tmp_path / "gpu", costs)
    found = curve(tmp_path / "gpu")
    assert [point.gpu_utilisation for point in found.points] == [0.5, 0.625]
    for folder, shown in (("cpu", False), ("gpu", True)):
        console = Console(width=80, record=True, file=io.StringIO())
        print_curves([curve(tmp_path / folder)], console)
        text = console.export_text()
        assert ("GPU" in text) == shown
        assert ("62%" in text) == shown
        assert "imbalance" not in text
        assert "…" not in text


def test_profiles_are_printed_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="figures are drawn by vl-convert")
    from haplobench.results.table import load_run
    from haplobench.scaling.figures import draw_scaling
    from haplobench.scaling.losses import print_profiles, profiles_of

    one = cost(1)
    operators = [
        {"name": f"aten::{i}", "calls": 9, "seconds": 0.1 / (i + 1), "device_seconds": 0.0}
        for i in range(20)
    ]
    fit = {**one.fit, "profile": {"operators": operators, "parts": operators[:1], "wall": 0.4}}
    write(tmp_path, [CellCost(**{**vars(one), "fit": fit})])
    profiles = profiles_of(read_costs(RunFolder(tmp_path)))
    assert [(one.stage, one.kind) for one in profiles] == [
        ("training", "operators"),
        ("training", "parts"),
    ]
    console = Console(width=140, record=True, file=io.StringIO())
    print_profiles(profiles, console)
    text = console.export_text()
    assert re.search(r"aten::0 +9 +100 ms +25.0%", text)
    assert "GPU" not in text
    figure, use = draw_scaling(load_run(tmp_path))
    assert (figure.name, use.name) == ("profile", "utilisation")
    assert "25%" in use.svg or "20%" in use.svg
    assert "aten::11" in figure.svg
    assert "aten::12" not in figure.svg


def test_costs_that_tell_nothing_of_gpus_are_read(tmp_path: Path) -> None:
    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: without(v) for k, v in value.items() if k != "peak_gpu_memory"}
        return [without(item) for item in value] if isinstance(value, list | tuple) else value

    costs = [cost(p) for p in (1, 2)]
    bare = [CellCost(**{**without(vars(one)), "draws": tuple(without(one.draws))}) for one in costs]
    found = curve(write(tmp_path, bare))
    assert [point.peak_gpu_memory for point in found.points] == [None, None]
    assert [point.seconds for point in found.points] == [one.fit["wall"] for one in costs]
