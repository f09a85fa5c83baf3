"""Examples for workflow managers and experiment trackers, run by the programs they are for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

import haplobench
from haplobench.data.formats import write_panel
from haplobench.testing import example_panel

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MAKES = {"snakemake": "make snakemake", "groovy": "make oracles"}


@pytest.fixture
def cohorts(tmp_path: Path) -> Path:
    panel = example_panel(40, n_sites=60)
    write_panel(panel.select_samples(np.arange(12)), tmp_path / "held_out.vcf.gz")
    write_panel(panel.select_samples(np.arange(12, 40)), tmp_path / "train.vcf.gz")
    (tmp_path / "cohorts").mkdir()
    for seed, name in enumerate(("a", "b")):
        rows = np.random.default_rng(seed).random((24, 60)) < panel.frequencies
        write_panel(
            panel.with_haplotypes(rows.astype(np.int8)), tmp_path / "cohorts" / f"{name}.vcf.gz"
        )
    (tmp_path / "bin").mkdir()
    bench = tmp_path / "bin" / "bench"
    bench.write_text(f"#!{sys.executable}\nfrom haplobench.cli import main\nmain()\n")
    bench.chmod(0o755)
    return tmp_path


def started(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(program) is None:
        pytest.skip(f"no {program}: {MAKES.get(program, 'see its own page')}")
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        [program, *arguments], cwd=folder, env={**os.environ, "PATH": path},
        capture_output=True, text=True,
    )  # fmt: skip


def check_table(path: Path) -> None:
    head, *rows = path.read_text().splitlines()
    assert head.startswith("dataset,generator,")
    assert {"a", "b", "copycat"} <= {row.split(",")[1] for row in rows}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_snakemake_scores_every_cohort(cohorts: Path) -> None:
    done = started(
        cohorts, "snakemake", "--cores", "1", "-s", str(EXAMPLES / "workflows" / "Snakefile"),
        "--config", "real=held_out.vcf.gz", "train=train.vcf.gz", "metrics=allele-frequency",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check_table(cohorts / "scores.csv")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nextflow_scores_every_cohort(cohorts: Path) -> None:
    done = started(
        cohorts, "nextflow", "run", str(EXAMPLES / "workflows" / "main.nf"),
        "--real", "held_out.vcf.gz", "--train", "train.vcf.gz", "--metrics", "allele-frequency",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    check_table(cohorts / "scores.csv")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_the_nextflow_process_run(cohorts: Path) -> None:
    given = {"tool": "a", "cohort": "cohorts/a.vcf.gz", "real": "held_out.vcf.gz"}
    given |= {"train": "train.vcf.gz", "metrics": "allele-frequency"}
    words = [f"{name}={value}" for name, value in given.items()]
    reader = str(Path(__file__).with_name("process.groovy"))
    told = started(cohorts, "groovy", reader, str(EXAMPLES / "workflows" / "main.nf"), *words)
    assert told.returncode == 0, told.stderr
    process = json.loads(told.stdout)
    done = started(cohorts, "bash", "-euo", "pipefail", "-c", process["script"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert process["outputs"] == ["a.csv"]
    head, *rows = (cohorts / "a.csv").read_text().splitlines()
    assert head.startswith("dataset,generator,")
    assert {"a", "copycat"} <= {row.split(",")[1] for row in rows}


def tracked(folder: Path, program: str, **environment: str) -> str:
    """What a program says in the trackers' own environment (`make trackers`)."""
    python = Path(sys.prefix, "trackers", "bin", "python")
    if not python.exists():
        pytest.skip("no TensorBoard and MLflow: make trackers")
    kept = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    paths = [EXAMPLES / "trackers", Path(haplobench.__file__).parents[1]]
    done = subprocess.run(
        [python, "-c", program], cwd=folder, capture_output=True, text=True,
        env={**kept, "PYTHONPATH": ":".join(map(str, paths)), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


FINISH = """
from haplobench import StageEvent
from haplobench_trackers import haplobench_stage_finished
haplobench_stage_finished(StageEvent("chr20/vae/seed1", "fit", "ok", 12.5, own=11.25))
haplobench_stage_finished(StageEvent("chr20/vae/seed2", "fit", "cached", 0.0))
"""
STAGES = {"chr20/vae/seed1/fit": 12.5, "chr20/vae/seed1/fit-own": 11.25}


def test_without_being_asked_trackers_write_nothing(tmp_path: Path) -> None:
    said = tracked(
        tmp_path, FINISH + "import sys; print('haplobench_trackers.sinks' in sys.modules)"
    )
    assert said == "False\n"
    assert not list(tmp_path.iterdir())


def test_tensorboard_has_the_stages(tmp_path: Path) -> None:
    tracked(tmp_path, FINISH, HAPLOBENCH_TENSORBOARD="events")
    reading = """
import json
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator("events").Reload()
print(json.dumps({tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}))
"""
    assert json.loads(tracked(tmp_path, reading)) == STAGES


@pytest.mark.slow  # MLflow makes its tables
def test_mlflow_has_the_stages(tmp_path: Path) -> None:
    tracked(tmp_path, FINISH, HAPLOBENCH_MLFLOW="tried")
    reading = """
import json, mlflow
runs = mlflow.search_runs(experiment_names=["tried"], output_format="list")
print(json.dumps([run.data.metrics for run in runs]))
"""
    assert json.loads(tracked(tmp_path, reading)) == [STAGES]


def test_the_trackers_environment_has_what_their_example_asks_for() -> None:
    example = tomllib.loads((EXAMPLES / "trackers" / "pyproject.toml").read_text())
    ours = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text())
    asked = example["project"]["optional-dependencies"].values()
    assert sorted(ours["dependency-groups"]["trackers"]) == sorted(chain(*asked))
