"""Limits, guardians and fingerprints of code, below the level of a run."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import haplobench
from haplobench import Panel
from haplobench.data.sites import match_sites
from haplobench.runner import fingerprints
from haplobench.runner.executors.process import run_limited, stage_environment
from haplobench.runner.floor import floor_cohort
from haplobench.runner.progress import Estimate
from haplobench.runner.store import StageStore
from haplobench.runner.worker.cost import Beat, Heartbeat, Meter
from haplobench.runner.worker.job import Stage

# --- the process of a stage -----------------------------------------------------------------------


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


def test_a_stage_is_stopped_on_request(toys: Any, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    path, _ = job_file(tmp_path / "job", toys)
    assert limited(path, tmp_path, stop=stop).ending == "stopped"


def test_a_stage_of_a_harness_that_is_gone_does_not_start(toys: Any, tmp_path: Path) -> None:
    path, _ = job_file(tmp_path / "job", toys)
    launch = Path(fingerprints.__file__).with_name("worker") / "launch.py"
    done = subprocess.run(
        [sys.executable, "-P", str(launch), str(path), "1"], timeout=20, check=False
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


# --- telemetry ------------------------------------------------------------------------------------


def test_the_meter_counts_time_and_memory_of_the_work_alone() -> None:
    before = np.ones(40_000_000)  # 320 MB, freed before the work: not the work's own peak
    base = before.nbytes
    del before
    with Meter() as meter:
        block = np.ones(10_000_000)
        total = 0.0
        for _ in range(20):
            total += float(np.sqrt(block).sum())
    work = meter.work()
    assert work.wall > 0
    assert work.cpu > 0
    grown = work.peak_rss - work.base_rss
    assert block.nbytes <= grown < 3 * block.nbytes < base
    assert work.peak_gpu_memory is None


def test_cpu_time_of_child_processes_counts() -> None:
    with Meter() as meter:
        burn = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
        subprocess.run([sys.executable, "-c", burn], check=True)
    assert meter.work().cpu >= 0.3


def test_beats(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    assert Beat.read(path) == Beat()
    heart = Heartbeat(path)
    heart.begin("ld-decay.0", 0.25)
    beat = Beat.read(path)
    assert (beat.item, beat.fraction) == ("ld-decay.0", 0.25)
    heart.progress(0.9, "soon done")  # too soon after the last to be written
    assert Beat.read(path) == beat
    time.sleep(0.25)
    heart.progress(0.9, "soon done")
    assert Beat.read(path) == Beat("ld-decay.0", beat.since, 0.9, "soon done")
    path.write_text("{")
    assert Beat.read(path) == Beat()


def test_what_remains_is_estimated_from_what_is_known() -> None:
    unknown = Estimate({"a": None, "b": None})
    assert unknown.remaining() is None
    known = Estimate({"a": 10.0, "b": None, "c": 20.0})
    assert known.remaining() == pytest.approx(45.0)
    known.end("c")
    assert known.remaining() == pytest.approx(20.0)


# --- code -----------------------------------------------------------------------------------------


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin with a package, one that imports it, and one that is a single file."""
    folder = tmp_path / "toypackage"
    (folder / "kernels").mkdir(parents=True)
    (folder / "__init__.py").write_text('"""A package."""\nfrom toypackage import ld\n')
    (folder / "ld.py").write_text("import numpy as np\nfrom . import kernels\n")
    (folder / "kernels" / "__init__.py").write_text("count = 1\n")
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "__init__.py").write_text(
        textwrap.dedent(
            """
            def fit():
                try:
                    from toypackage.ld import np
                finally:
                    from haplobench.data.formats import read_panel
            """
        )
    )
    (tmp_path / "lonely.py").write_text("y = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


TARGETS = ("toypackage.ld:np", "toypackage:ld", "user:fit", "lonely:y")


def digests() -> list[str]:
    fingerprints.forget()
    return [fingerprints.plugin_code(target).digest for target in TARGETS]


def test_a_plugin_is_its_package_and_those_it_imports(packages: Path) -> None:
    before = digests()
    assert before[0] == before[1]
    assert len(set(before)) == 3

    def changed(path: str, text: str) -> list[bool]:
        file = packages / path
        old = file.read_text() if file.exists() else None
        file.write_text(text)
        differs = [new != was for new, was in zip(digests(), before, strict=True)]
        file.unlink() if old is None else file.write_text(old)
        return differs

    assert changed("toypackage/kernels/__init__.py", "count = 2\n") == [True, True, True, False]
    assert changed("toypackage/ld.py", "import numpy as np\n") == [True, True, True, False]
    assert changed("user/__init__.py", "import toypackage\n") == [False, False, True, False]
    assert changed("lonely.py", "y = 2\n") == [False, False, False, True]
    assert changed("lonely.py", '"""Doc."""\n# a comment\ny = 1\n') == [False] * 4
    assert changed("toypackage/table.csv", "1,2\n") == [True, True, True, False]
    assert changed("README.md", "beside a plugin of one file\n") == [False] * 4
    assert changed("toypackage/kernels/cached.nbi", "numba's") == [False] * 4
    assert digests() == before


def test_versions_of_what_is_imported_count(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests()
    code = fingerprints.plugin_code("toypackage.ld:r2")
    assert code.versions["numpy"] == np.__version__
    assert "numpy" in code.modules
    assert "torch" not in code.modules
    assert "numpy" not in fingerprints.plugin_code("lonely:y").modules
    monkeypatch.setattr(fingerprints, "_versions", lambda modules: {"numpy": "0"})
    after = digests()
    assert all(new != was for new, was in zip(after, before, strict=True))


@pytest.mark.parametrize("stage", fingerprints.STAGES)
def test_a_stage_rests_on_all_that_its_modules_import_of_the_harness(stage: Stage) -> None:
    """Wherever in a function they import it; but for other stages' own modules."""
    root = Path(haplobench.__file__).parent

    def files_of(stage: Stage) -> set[Path]:
        return {path for pattern in fingerprints.STAGES[stage] for path in root.glob(pattern)}

    files, others = files_of(stage), set[Path]().union(*map(files_of, fingerprints.STAGES))
    assert root / "runner" / "worker" / "main.py" in files
    assert not any(path.is_relative_to(root / "report") for path in others)
    for path in files:
        names = {
            name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
            if name.startswith("haplobench.")
        }
        for name in names:
            base = root.joinpath(*name.split(".")[1:])
            module = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
            known = others if path.name == "main.py" else files
            assert module in known or not module.is_file(), f"{path}: {name}"


# --- cohorts, sites, store ------------------------------------------------------------------------


def people(n: int, seed: int = 0, **more: Any) -> Panel:
    rng = np.random.default_rng(seed)
    return Panel(
        rng.integers(0, 2, (2 * n, 9)).astype(np.int8),
        10 * np.arange(1, 10),
        "20",
        np.array([f"p{seed}_{i}" for i in range(n)]),
        ref=np.full(9, "A"),
        alt=np.full(9, "G"),
        population=np.array(["FIN", "GBR", "GBR"] * n)[:n],
        **more,
    )


def rows(panel: Panel) -> set[bytes]:
    return {person.tobytes() for person in panel.haplotypes.reshape(panel.n_samples, -1)}


@pytest.mark.parametrize("kind", ["train", "holdout"])
def test_floors_are_real_people_apart_from_those_they_are_measured_against(kind: str) -> None:
    train, holdout = people(30, 1), people(9, 2)
    reference, cohort = floor_cohort(train, holdout, kind, 0, 0)
    source = train if kind == "train" else holdout
    assert rows(cohort) <= rows(source)
    assert not rows(cohort) & rows(reference.holdout)
    assert set(cohort.samples) & set(source.samples) == set()  # nobody is named
    assert cohort.n_samples == (9 if kind == "train" else 4)
    assert reference.train is train
    _, again = floor_cohort(train, holdout, kind, 0, 0)
    _, other = floor_cohort(train, holdout, kind, 1, 0)
    assert again.digest == cohort.digest
    assert other.digest != cohort.digest


@given(st.integers(0, 2**16))
@settings(max_examples=50, deadline=None)
def test_sites_match_by_position_and_alleles_either_way_round(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = people(3)
    kept = np.flatnonzero(rng.random(9) < 0.7)
    second = first.select_sites(kept)
    flip = rng.random(kept.size) < 0.3
    haplotypes = np.where(flip, 1 - second.haplotypes, second.haplotypes).astype(np.int8)
    turned = Panel(
        haplotypes,
        second.positions,
        "chr20",
        second.samples,
        ref=np.where(flip, second.alt, second.ref),
        alt=np.where(flip, second.ref, second.alt),
    )
    matched = match_sites(first, turned)
    np.testing.assert_array_equal(matched.first, kept)
    np.testing.assert_array_equal(matched.swapped, flip)
    back = matched.second_at(turned)
    np.testing.assert_array_equal(back.haplotypes, second.haplotypes)
    np.testing.assert_array_equal(back.ref, second.ref)


def test_other_alleles_and_other_contigs_do_not_match() -> None:
    first = people(2)
    other = Panel(
        first.haplotypes,
        first.positions,
        "20",
        first.samples,
        ref=np.array(["A"] * 8 + ["N"]),
        alt=np.array(["G"] * 6 + ["T"] * 2 + ["N"]),
    )
    matched = match_sites(first, other)
    assert matched.first.tolist() == [0, 1, 2, 3, 4, 5, 8]
    assert matched.other_alleles == 2
    elsewhere = Panel(first.haplotypes, first.positions, "21", first.samples)
    assert match_sites(first, elsewhere).n == 0


def test_the_store_has_whole_stages_or_none(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    with store.workspace("fit", "key") as work:
        output = work / "output"
        output.mkdir()
        (output / "stage.json").write_text('{"generation": 1, "n": 1}')
        assert store.finished("fit", "key") is None
        store.publish(output, "fit", "key")
    assert not list((tmp_path / "work").iterdir())
    assert store.finished("fit", "key") == {"generation": 1, "n": 1}
    assert StageStore(tmp_path, generation=2, least=2).finished("fit", "key") is None
    # Done again: the new one takes its place.
    with store.workspace("fit", "key") as work:
        (work / "output").mkdir()
        (work / "output" / "stage.json").write_text('{"generation": 2, "n": 2}')
        store.publish(work / "output", "fit", "key")
    assert (store.finished("fit", "key") or {})["n"] == 2
    assert StageStore(tmp_path, generation=2, least=2).finished("fit", "key") is not None
    assert sorted(path.name for path in (tmp_path / "fit").iterdir()) == ["key"]


def test_work_of_processes_that_are_gone_is_swept(tmp_path: Path) -> None:
    import socket

    host = socket.gethostname()
    gone = tmp_path / "work" / f"{host}.999999999.fit-key-x"
    ours = tmp_path / "work" / f"{host}.{os.getpid()}.fit-key-x"
    foreign = tmp_path / "work" / "elsewhere.12.fit-key-x"
    for folder in (gone, ours, foreign):
        folder.mkdir(parents=True)
    StageStore(tmp_path).sweep()
    assert not gone.exists()
    assert ours.exists()
    assert foreign.exists()
