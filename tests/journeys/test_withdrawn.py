"""People who withdrew are neither trained on nor held out, whatever the generator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haplobench import BenchError, SuiteError
from haplobench.data.consent import PeopleList, Withdrawn, withdrawal_text
from haplobench.data.formats import write_panel
from haplobench.data.prepared import Prepared
from haplobench.registry import load_registry
from haplobench.runner.plan import Keys
from haplobench.runner.worker.job import Job
from haplobench.runner.worker.prepare import prepare
from haplobench.suite.load import Suite, load_suite
from haplobench.testing import example_context, example_panel

REGISTRY = load_registry()
SUITE = """
name: withdrawn
datasets:
  - {name: embedded, params: {region: "20:1000000-1030000"}}
generators: [markov]
"""


def prepared(
    folder: Path,
    settings: dict[str, Any] | None = None,
    name: str = "embedded",
    params: dict[str, Any] | None = None,
) -> Prepared:
    output = folder / "output"
    output.mkdir(parents=True)
    job = Job(
        stage="prepare",
        plugins=("haplobench.datasets",),
        output=str(output),
        scratch=str(folder),
        artifacts=str(folder),
        status=str(folder / "status"),
        error=str(folder / "error"),
        time_limit=60,
        name=name,
        params=params or {"region": "20:1000000-1030000"},
        settings={
            "filters": {"min_maf": 0.05, "max_missing": 0},
            "split": {"holdout": 0.2, "validation": 0.1, "seed": 1},
            **(settings or {}),
        },
    )
    prepare(job, REGISTRY, example_context(folder, example_panel(4, n_sites=4)))
    return Prepared.load(output)


def test_somebody_who_left_and_is_there_under_another_name_is_told(tmp_path: Path) -> None:
    people = example_panel(40, n_sites=400)
    double = np.array(people.haplotypes)
    double[[60, 61]] = double[[7, 6]]  # person31 is person4, with the phase swapped
    panel = people.with_haplotypes(
        double,
        samples=people.samples,
        population=people.population,
        superpopulation=people.superpopulation,
    )
    write_panel(panel, tmp_path / "panel.vcf.gz")
    for left, doubles in (("person4", 1), ("person5", 0)):
        listed = PeopleList.of([left]).as_job()
        made = prepared(
            tmp_path / left,
            {"withdrawn": listed, "allow_unknown": False},
            name="file",
            params={"path": str(tmp_path / "panel.vcf.gz")},
        )
        assert (made.facts.withdrawn or {})["doubles"] == doubles
    told = withdrawal_text({"listed": 1, "left_out": 1, "doubles": 1})
    assert told.endswith("; 1 who stay have the genotypes of one of them (duplicates or twins)")


def suite(tmp_path: Path, *overrides: str) -> Suite:
    path = tmp_path / "s.yaml"
    path.write_text(SUITE)
    return load_suite(path, overrides, REGISTRY)


def test_they_are_on_neither_side(tmp_path: Path) -> None:
    everybody = prepared(tmp_path / "all")
    gone = [str(everybody.train.samples[0]), str(everybody.holdout.samples[3])]
    listed = PeopleList.of([*gone, "somebody else"]).as_job()
    left = prepared(tmp_path / "left", {"withdrawn": listed, "allow_unknown": True})
    there = np.concatenate([left.train.samples, left.holdout.samples])
    before = np.concatenate([everybody.train.samples, everybody.holdout.samples])
    assert sorted(set(before) - set(there)) == sorted(gone)
    assert left.facts.withdrawn == {"listed": 3, "left_out": 2, "unknown": 1, "repeated": 0} | {
        "doubles": 0
    }
    assert everybody.facts.withdrawn is None
    with pytest.raises(BenchError, match=r"filters.withdrawn: 1 of 3 .* 300 people: name 3 'some"):
        prepared(tmp_path / "typo", {"withdrawn": listed, "allow_unknown": False})
    listed = PeopleList.of([str(name) for name in before]).as_job()
    with pytest.raises(BenchError, match="everybody in the panel withdrew"):
        prepared(tmp_path / "nobody", {"withdrawn": listed, "allow_unknown": False})


def test_a_list_and_a_file_are_the_same_suite_and_none_is_the_suite_as_ever(
    tmp_path: Path,
) -> None:
    plain = suite(tmp_path)
    listed = suite(tmp_path, "datasets[0].filters.withdrawn=[A1,B2]")
    names = tmp_path / "names.txt"
    names.write_text("B2\n\nA1\n")
    from_file = suite(tmp_path, f"datasets[0].filters.withdrawn={names}")
    assert listed.datasets[0].filters.withdrawn == Withdrawn(names=["A1", "B2"])
    assert from_file.datasets[0].filters.withdrawn == Withdrawn(file=str(names))
    assert from_file.digest == listed.digest != plain.digest
    assert "withdrawn:" not in plain.to_yaml()
    assert "withdrawn:" in listed.to_yaml()
    assert "A1" not in listed.to_yaml() + from_file.to_yaml()
    kept = tmp_path / "kept.yaml"
    kept.write_text(from_file.to_yaml())
    assert load_suite(kept, (), REGISTRY).datasets[0].withdrawn == from_file.datasets[0].withdrawn
    kept.write_text(listed.to_yaml())
    with pytest.raises(SuiteError, match="keep the names of the 2 people who withdrew; give"):
        load_suite(kept, (), REGISTRY)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"filters\.withdrawn: nowhere\.txt: no such file"):
        suite(tmp_path, "datasets[0].filters.withdrawn=nowhere.txt")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("null", "filters.withdrawn: expected a file, or a list of names; leave the key out"),
        ("''", "filters.withdrawn: expected a file, or a list of names"),
        ("{allow_unknown: true}", "filters.withdrawn: expected a file, or a list of names"),
        ("{file: a, names: [b]}", "filters.withdrawn: expected a file, or a list of names"),
        ("{file: a, allow_unkown: true}", "did you mean allow_unknown"),
        ("[1001]", r"filters.withdrawn: 1001 isn't text but YAML's int; quote the name"),
    ],
)
def test_what_is_no_list(value: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=said):
        suite(tmp_path, f"datasets[0].filters.withdrawn={value}")


def test_a_list_of_other_people_never_takes_the_stage_of_the_first(tmp_path: Path) -> None:
    """Neither with the same size and time, nor where it was allowed to name nobody."""
    names = tmp_path / "names.txt"
    names.write_text("HG00096\n")
    before = names.stat()
    spec, keys = REGISTRY.dataset("embedded"), Keys("")

    def key(*overrides: str) -> str:
        entry = suite(tmp_path, f"datasets[0].filters.withdrawn.file={names}", *overrides).datasets[
            0
        ]
        return keys.prepare(spec, entry, "")

    first = key()
    assert key("datasets[0].filters.withdrawn.allow_unknown=true") != first == key()
    names.write_text("HG00097\n")
    os.utime(names, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (names.stat().st_size, names.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert key() != first
    names.write_text("HG00096\n")
    assert key() == first


RUN = """
name: withdrawn
seeds: [1]
datasets:
  - name: embedded
    label: by-file
    params: {region: "20:1000000-1030000"}
    filters: {min_maf: 0.05, withdrawn: left.csv}
  - name: embedded
    label: by-name
    params: {region: "20:1000000-1030000"}
    filters: {min_maf: 0.05, withdrawn: {names: [HG00096, HG00097, X], allow_unknown: true}}
generators: []
metrics: [allele-frequency]
floor: {draws: 2}
"""


@pytest.mark.slow
def test_a_run_says_how_many_and_keeps_no_name(tmp_path: Path) -> None:
    """Into no file of the results; but a list that can't be right ends it before it begins."""
    gone = ["HG00096", "HG00097"]
    listed = tmp_path / "left.csv"
    listed.write_text("HG00096\nHG0097\n")
    path = tmp_path / "s.yaml"
    path.write_text(RUN)
    results = tmp_path / "results"

    def run() -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "bench"), "run", str(path)]
        command += ["--out", str(results), "--set", "datasets[1].filters.withdrawn.names=[HG00097]"]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    done = run()
    assert done.returncode == 2
    assert "left.csv: 1 of 2 match nobody of the 300 people: line 2 'HG0097'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(results.rglob("run.json"))
    listed.write_text("\ufeffsample,reason\r\nHG00096,\r\nHG00097,\r\n", encoding="utf-8")
    done = run()
    assert done.returncode == 0, done.stderr
    for label, text in (("by-file", "2 of 2"), ("by-name", "1 of 1")):
        assert f"{label}: {text} withdrawn people left out" in done.stdout
    (folder,) = (file.parent for file in results.rglob("run.json"))
    datasets = json.loads((folder / "run.json").read_text())["datasets"]
    assert datasets["by-file"]["withdrawn"]["left_out"] == 2
    for page in ("report.html", "report.md"):
        assert "2 of 2 withdrawn people left out" in (folder / "report" / page).read_text("utf-8")
    kept = [file for file in results.rglob("*") if file.is_file()]
    assert len(kept) > 20
    for name in gone:
        for data in (name.encode(), name.encode("utf-32-le")):
            holding = [file for file in kept if data in file.read_bytes()]
            # HG00096 is left out of the one dataset alone.
            stages = {file.parts[len(results.parts) + 1] for file in holding}
            assert stages <= ({"stages"} if name == "HG00096" else set()), holding
