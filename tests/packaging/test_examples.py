"""Examples for workflow managers and experiment trackers, run by the programs they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from haplobench.data.formats import write_panel
from haplobench.plugin.hooks import StageEvent
from haplobench.testing import example_panel

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


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
        pytest.skip(f"{program} isn't installed")
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


@pytest.fixture
def trackers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES / "trackers"))
    for name in ("HAPLOBENCH_TENSORBOARD", "HAPLOBENCH_MLFLOW"):
        monkeypatch.delenv(name, raising=False)


def finish() -> None:
    from haplobench_trackers import haplobench_stage_finished

    haplobench_stage_finished(StageEvent("chr20/vae/seed1", "fit", "ok", 12.5, own=11.25))
    haplobench_stage_finished(StageEvent("chr20/vae/seed2", "fit", "cached", 0.0))


def test_without_being_asked_trackers_write_nothing(trackers: None, tmp_path: Path) -> None:
    finish()
    assert "haplobench_trackers.sinks" not in sys.modules


def test_tensorboard_has_the_stages(
    trackers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv("HAPLOBENCH_TENSORBOARD", str(tmp_path))
    finish()
    events = reading.EventAccumulator(str(tmp_path))
    events.Reload()
    values = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
    assert values == {"chr20/vae/seed1/fit": 12.5, "chr20/vae/seed1/fit-own": 11.25}


def test_mlflow_has_the_stages(
    trackers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAPLOBENCH_MLFLOW", "tried")
    finish()
    mlflow.end_run()
    (run,) = mlflow.search_runs(experiment_names=["tried"], output_format="list")
    assert run.data.metrics == {"chr20/vae/seed1/fit": 12.5, "chr20/vae/seed1/fit-own": 11.25}
