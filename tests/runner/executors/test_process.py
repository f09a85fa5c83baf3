"""The process of a stage: its limits, and the end of all that it started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from haplobench import Panel
from haplobench.runner import fingerprints
from haplobench.runner.executors.process import (
    _MARK,
    _kill_marked,
    run_limited,
    stage_environment,
)


def job_file(folder: Path, toys: Any, **more: Any) -> tuple[Path, dict[str, Any]]:
    for name in ("output", "scratch", "artifacts"):
        (folder / name).mkdir(parents=True)
    job = {
        "stage": "prepare",
        "plugins": ["toy_datasets"],
        "name": "toy",
        "params": {},
        "output": str(folder / "output"),
        "scratch": str(folder / "scratch"),
        "artifacts": str(folder / "artifacts"),
        "status": str(folder / "status.json"),
        "error": str(folder / "error.json"),
        "time_limit": 30,
        "paths": [str(toys.folder)],
        "settings": {
            "filters": {"min_maf": 0.05, "max_missing": 0},
            "split": {"holdout": 0.25, "validation": 0, "seed": 1},
        },
        **more,
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return path, job


def limited(path: Path, tmp_path: Path, **more: Any) -> Any:
    options = {
        "log": tmp_path / "log",
        "memory_limit": 1 << 31,
        "time_limit": 30.0,
        "environment": stage_environment(3),
        "stop": threading.Event(),
        **more,
    }
    return run_limited(path, **options)


def test_a_stage_writes_its_output_and_has_its_threads(toys: Any, tmp_path: Path) -> None:
    toys.write(
        "peek",
        """
        import json, os
        from pathlib import Path
        import toy_datasets
        from haplobench import hookimpl

        class Peek(toy_datasets.Toy):
            def load(self, params, ctx):
                keys = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "PYTHONHASHSEED")
                found = {key: os.environ[key] for key in keys}
                found["oom"] = Path("/proc/self/oom_score_adj").read_text().strip()
                found["session"] = os.getsid(0)
                (ctx.artifacts / "peek.json").write_text(json.dumps(found))
                return super().load(params, ctx)

        @hookimpl
        def haplobench_datasets():
            from haplobench import DatasetSpec
            return [DatasetSpec(name="peek", version="1", target="peek:Peek", summary="P.",
                                params=toy_datasets.ToyParams)]
        """,
    )
    path, _ = job_file(tmp_path / "job", toys, plugins=["peek"], name="peek")
    outcome = limited(path, tmp_path)
    assert outcome.ending == "ok", (tmp_path / "log").read_text()
    assert outcome.peak > 1 << 20
    found = json.loads((tmp_path / "job/artifacts/peek.json").read_text())
    assert (found["OMP_NUM_THREADS"], found["NUMBA_NUM_THREADS"]) == ("3", "3")
    assert found["PYTHONHASHSEED"] == "0"
    assert found["oom"] == "1000"
    assert found["session"] != os.getsid(0)
    panel = Panel.load(tmp_path / "job/output/train")
    assert panel.n_samples == 18


def test_descendants_that_left_the_session_are_killed_too(toys: Any, tmp_path: Path) -> None:
    toys.write(
        "runaway",
        """
        import subprocess, time
        from haplobench import DatasetSpec, hookimpl

        class Runaway:
            def load(self, params, ctx):
                child = subprocess.Popen(["sleep", "991"], start_new_session=True)
                (ctx.artifacts / "pid").write_text(str(child.pid))
                time.sleep(60)

        @hookimpl
        def haplobench_datasets():
            return [DatasetSpec(name="r", version="1", target="runaway:Runaway", summary="R.")]
        """,
    )
    path, _ = job_file(tmp_path / "job", toys, plugins=["runaway"], name="r")
    outcome = limited(path, tmp_path, time_limit=2.0)
    assert outcome.ending == "timeout"
    pid = int((tmp_path / "job/artifacts/pid").read_text())
    deadline = time.monotonic() + 3
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_who_is_just_starting_a_program_is_killed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen(["sleep", "60"], env={**os.environ, _MARK: "a job"})
    told, looks = psutil.Process.environ, []

    def hidden_at_first(process: psutil.Process) -> dict[str, str]:
        # The kernel shows no environment while a program takes another's place.
        if process.pid == child.pid and not looks:
            looks.append(1)
            return {}
        return told(process)

    monkeypatch.setattr(psutil.Process, "environ", hidden_at_first)
    _kill_marked("a job")
    assert child.wait(5) < 0


def test_a_stage_is_stopped_on_request(toys: Any, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    path, _ = job_file(tmp_path / "job", toys)
    assert limited(path, tmp_path, stop=stop).ending == "stopped"


def test_a_stage_of_a_harness_that_is_gone_does_not_start(toys: Any, tmp_path: Path) -> None:
    path, _ = job_file(tmp_path / "job", toys)
    entry = Path(fingerprints.__file__).with_name("worker") / "entry.py"
    done = subprocess.run(
        [sys.executable, "-P", str(entry), str(path), "1"], timeout=20, check=False
    )
    assert done.returncode == 1
    assert not (tmp_path / "job/output/train").exists()


def test_files_mapped_into_memory_do_not_count_as_used(toys: Any, tmp_path: Path) -> None:
    toys.write(
        "mapper",
        """
        import numpy as np
        import toy_datasets
        from haplobench import DatasetSpec, hookimpl

        class Mapper(toy_datasets.Toy):
            def load(self, params, ctx):
                path = ctx.scratch / "large.npy"
                size = 400_000_000
                mapped = np.lib.format.open_memmap(path, "w+", np.uint8, (size,))
                for start in range(0, size, 1 << 24):
                    mapped[start : start + (1 << 24)] = 1
                import time; time.sleep(0.3)
                assert int(mapped[::4096].sum()) > 0
                return super().load(params, ctx)

        @hookimpl
        def haplobench_datasets():
            return [DatasetSpec(name="m", version="1", target="mapper:Mapper", summary="M.",
                                params=toy_datasets.ToyParams)]
        """,
    )
    path, _ = job_file(tmp_path / "job", toys, plugins=["mapper"], name="m")
    outcome = limited(path, tmp_path, memory_limit=300 << 20)
    assert outcome.ending == "ok", (tmp_path / "log").read_text()
