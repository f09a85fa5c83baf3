"""Cells of several ranks: the same result as one, and one clear row when a rank dies."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import psutil
import pytest
from toy_plugins import RANKS

from haplobench import SuiteError
from haplobench.results.records import Record
from haplobench.results.run_folder import RunFolder
from haplobench.runner.plan import plan_cells
from haplobench.runner.run import run_suite
from haplobench.runner.store import StageStore
from haplobench.suite.load import load_suite

pytestmark = pytest.mark.slow  # ranks of several runs
pytest.importorskip("torch", reason="ranks talk over torch.distributed")

HEAD = """
name: ranks
datasets: [toy]
metrics: [cost, difference]
sample: {haplotypes: 30, draws: 2}
floor: {draws: 1}
limits: {time: 2m, memory: 4GB}
"""


def run(toys: Any, generators: str, out: Path, **more: Any) -> tuple[Path, list[Record]]:
    toys.write("toy_ranks", RANKS)
    registry = toys.registry("toy_ranks")
    suite = load_suite(toys.suite_file(HEAD + generators), [], registry)
    folder = run_suite(suite, registry, out, **more).run_folder
    return folder, RunFolder(folder).records()


def stages(out: Path, stage: str) -> dict[int, dict[str, Any]]:
    """Facts of a stage by world size."""
    found = [json.loads(p.read_text()) for p in out.glob(f"ranks/stages/{stage}/*/stage.json")]
    if stage == "fit":
        return {len(facts["ranks"]): facts for facts in found if "ranks" in facts}
    return {len(facts["draws"][0]["ranks"]): facts for facts in found}


def test_world_size_changes_nothing_but_the_cost(toys: Any, tmp_path: Path) -> None:
    _, records = run(
        toys, "generators: [{name: shared, label: fine, world_size: [1, 3]}]", tmp_path, jobs=3
    )
    assert {r.status for r in records if r.role == "generator"} == {"ok"}
    both = {size: stages(tmp_path, "sample")[size]["draws"] for size in (1, 3)}
    for one, three in zip(both[1], both[3], strict=True):
        assert one["digest"] == three["digest"]
        assert [rank["rank"] for rank in three["ranks"]] == [0, 1, 2]
        assert three["wall"] == max(rank["wall"] for rank in three["ranks"])
    by_size = {
        size: {
            (r.replicate, r.submetric): r.value
            for r in records
            if r.generator == "fine" and r.world_size == size and r.metric == "difference"
        }
        for size in (1, 3)
    }
    assert by_size[1] == by_size[3]
    assert len(by_size[1]) == 2
    fit = stages(tmp_path, "fit")[3]
    assert fit["cpu"] == pytest.approx(sum(rank["cpu"] for rank in fit["ranks"]))
    assert fit["peak_rss"] == sum(rank["peak_rss"] for rank in fit["ranks"])
    for rank in fit["ranks"]:
        # Four sums of 60 counts of 8 bytes.
        assert rank["communication"]["operations"]["all_reduce"]["calls"] == 4
        assert rank["communication"]["operations"]["all_reduce"]["bytes"] == 4 * 60 * 8
    logs = {path.name for path in tmp_path.glob("ranks/*/logs/*ranks3*")}
    assert "toy.fine.seed1.ranks3.fit.rank2.log" in logs


@pytest.fixture(scope="module")
def broken(
    module_toys: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Record], set[int]]:
    """Cells whose rank 1 dies in some way: the only row of each."""
    out = tmp_path_factory.mktemp("broken")
    generators = """
generators:
  - {name: shared, label: killed, world_size: 2, params: {misbehave: kill}}
  - {name: shared, label: raised, world_size: 2, params: {misbehave: raise}}
  - {name: shared, label: left, world_size: 2, params: {misbehave: leave}}
  - {name: shared, label: large, world_size: 2, params: {memory: 300000000}, limits: {memory: 500MB}}
  - name: shared
    label: restarted
    world_size: 2
    params: {misbehave: kill once}
    limits: {restart: 1}
"""  # noqa: E501
    _, records = run(module_toys, generators, out, jobs=4)
    by_label = {r.generator: r for r in records if r.phase == "fit" or r.generator == "restarted"}
    left = {
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(str(out) in text for text in process.info["cmdline"] or ())
    }
    return out, by_label, left


@pytest.mark.parametrize(
    ("label", "status", "kind", "text"),
    [
        ("killed", "failed", "ProcessError", "rank 1 of 2: killed by SIGKILL"),
        ("raised", "failed", "ZeroDivisionError", "rank 1 of 2: boom in one rank"),
        ("left", "failed", "ProcessError", "rank 1 of 2: exit code 3"),
        ("large", "memory", "MemoryError", "past its limit of 476.8 MiB"),
    ],
)
def test_a_rank_that_dies_is_one_row_that_names_it(
    broken: tuple[Path, dict[str, Record], set[int]],
    label: str,
    status: str,
    kind: str,
    text: str,
) -> None:
    row = broken[1][label]
    assert (row.status, row.error_type, row.phase) == (status, kind, "fit")
    assert text in row.error.splitlines()[0]
    assert row.world_size == 2


@pytest.mark.slow
def test_a_hang_says_where_each_rank_stood(toys: Any, tmp_path: Path) -> None:
    # Long enough for both ranks to be there on a busy machine.
    text = """
generators:
  - {name: shared, label: hung, world_size: 2, params: {misbehave: hang}, limits: {time: 60s}}
"""
    _, records = run(toys, text, tmp_path)
    (row,) = [r for r in records if r.generator == "hung"]
    assert (row.status, row.error_type, row.phase) == ("timeout", "TimeoutError", "fit")
    lines = row.error.splitlines()
    assert lines[0] == "ran past its limit of 1m00s"
    stood = {line[:6]: line for line in lines if line.startswith("rank ")}
    assert "in linger" in stood["rank 1"]
    assert "all_reduce" in stood["rank 0"]
    assert "linger" not in stood["rank 0"]


def test_no_process_is_left(broken: tuple[Path, dict[str, Record], set[int]]) -> None:
    assert broken[2] == set()


def test_a_restart_goes_on_from_the_checkpoint(
    broken: tuple[Path, dict[str, Record], set[int]],
) -> None:
    out, rows, _ = broken
    assert rows["restarted"].status == "ok"
    begun = next(out.glob("ranks/*/artifacts/toy.restarted.seed1.ranks2/fit/begun.txt"))
    assert begun.read_text() == "3"
    # What failed for good keeps its progress for the next run; what is done has none.
    assert len(list(out.glob("ranks/stages/checkpoints/fit-*.begun"))) == 3


def test_a_later_run_goes_on_from_the_checkpoint(toys: Any, tmp_path: Path) -> None:
    text = "generators: [{name: shared, label: once, params: {misbehave: kill once, rank: 0}}]"
    _, first = run(toys, text, tmp_path)
    died = [r for r in first if r.generator == "once"]
    assert [(r.status, r.error.splitlines()[0]) for r in died] == [("failed", "killed by SIGKILL")]
    folder, second = run(toys, text, tmp_path)
    assert {r.status for r in second if r.generator == "once"} == {"ok"}
    assert (folder / "artifacts/toy.once.seed1/fit/begun.txt").read_text() == "3"
    assert list(tmp_path.glob("ranks/stages/checkpoints/*")) == []


def test_a_fresh_run_takes_no_checkpoint(tmp_path: Path) -> None:
    (StageStore(tmp_path).checkpoint("fit", "k") / "progress").touch()
    assert (StageStore(tmp_path).checkpoint("fit", "k") / "progress").is_file()
    fresh = StageStore(tmp_path, generation=1, least=1)
    assert list(fresh.checkpoint("fit", "k").iterdir()) == []
    (fresh.checkpoint("fit", "k") / "progress").touch()
    assert (fresh.checkpoint("fit", "k") / "progress").is_file()


@pytest.mark.skipif(
    importlib.util.find_spec("horovod") is None, reason="Horovod is not installed (make horovod)"
)
def test_horovod_carries_a_cell_as_well(toys: Any, tmp_path: Path) -> None:
    text = """
generators:
  - {name: shared, label: torch, world_size: 2}
  - {name: shared, label: horovod, world_size: 2, backend: horovod}
  - {name: shared, label: raised, world_size: 2, backend: horovod, params: {misbehave: raise}}
"""
    _, records = run(toys, text, tmp_path, jobs=4)
    found = {
        r.generator: r for r in records if r.role == "generator" and r.metric in ("", "difference")
    }
    assert found["torch"].value == found["horovod"].value is not None
    assert found["torch"].cell_id != found["horovod"].cell_id
    assert found["raised"].error.startswith("rank 1 of 2: boom in one rank")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{name: frequency, world_size: 2}", "frequency runs on one rank only"),
        ("{name: shared, world_size: [1, 0]}", "expected a number of ranks, or a list"),
        (
            "{name: shared, world_size: 2, backend: mpi}",
            "backend: expected 'torch' or 'horovod', found 'mpi'",
        ),
    ],
)
def test_a_suite_that_can_not_be_run_is_refused(toys: Any, entry: str, problem: str) -> None:
    toys.write("toy_ranks", RANKS)
    registry = toys.registry("toy_ranks")
    file = toys.suite_file(f"{HEAD}generators: [{entry}]")
    with pytest.raises(SuiteError) as error:
        load_suite(file, [], registry)
    assert any(problem in text for text in error.value.problems), error.value.problems


def test_a_suite_of_several_world_sizes_reads_back(toys: Any) -> None:
    toys.write("toy_ranks", RANKS)
    registry = toys.registry("toy_ranks")
    entry = "{name: shared, world_size: [1, 2, 4], limits: {restart: 3}}"
    suite = load_suite(toys.suite_file(f"{HEAD}generators: [{entry}]"), [], registry)
    again = load_suite(toys.suite_file(suite.to_yaml()), [], registry)
    assert again == suite
    names = [cell.name for cell in plan_cells(again) if cell.label == "shared"]
    assert names == ["toy/shared/seed1", "toy/shared/seed1/ranks2", "toy/shared/seed1/ranks4"]
    assert next(e for e in again.generators if e.label == "shared").limits.restart == 3
    assert "world size 1, 2, 4 (torch)" in suite.describe()
