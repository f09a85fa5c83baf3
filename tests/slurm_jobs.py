"""A suite whose cells are jobs of Slurm, and what is to become of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toy_plugins import RANKS

from haplobench.results.records import Record
from haplobench.results.run_folder import RunFolder
from haplobench.runner.run import run_suite
from haplobench.suite.load import load_suite

HEAD = """
name: jobs
datasets: [toy]
metrics: [difference]
sample: {haplotypes: 30}
floor: {draws: 1}
limits: {time: 2m, memory: 4GB}
"""


def run(toys: Any, generators: str, out: Path, **more: Any) -> list[Record]:
    toys.write("toy_ranks", RANKS)
    registry = toys.registry("toy_ranks")
    suite = load_suite(toys.suite_file(HEAD + generators), [], registry, only=more.pop("only", []))
    return RunFolder(run_suite(suite, registry, out, **more).run_folder).records()


def rows(records: list[Record]) -> dict[tuple[str, int], Record]:
    return {
        (record.generator, record.world_size): record
        for record in records
        if record.role == "generator"
    }


GENERATORS = """
generators:
  - {name: shared, label: fine, world_size: [1, 2]}
  - {name: shared, label: killed, world_size: 2, params: {misbehave: kill}}
"""


def check(records: list[Record]) -> None:
    found = rows(records)
    assert found["fine", 1].status == found["fine", 2].status == "ok"
    assert found["fine", 1].value == found["fine", 2].value
    assert found["killed", 2].status == "failed"
    assert found["killed", 2].error.startswith("rank 1 of 2: killed by SIGKILL")
