"""A distribution from outside is found, run and reported; broken ones cost nobody else."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml
from outside import bench, distribute, records, toy

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "third_party_plugin"
SUITE = {
    "name": "outside",
    "datasets": [{"name": "embedded", "params": {"region": "20:1000000-1060000"}}],
    "metrics": ["allele-frequency"],
    "floor": {"draws": 1},
}


def suite(folder: Path, *generators: object) -> Path:
    path = folder / "outside.yaml"
    path.write_text(yaml.safe_dump(SUITE | {"generators": list(generators)}))
    return path


def newest(folder: Path, name: str) -> Path:
    return max(path.parent for path in (folder / "results" / name).glob("*/records.jsonl"))


def assert_in_report(cwd: Path) -> None:
    """The example's cells were run and measured, and every form of the report tells them."""
    run = newest(cwd, "words")
    rows = [record for record in records(run) if record["generator"] == "word-chain"]
    measured = {row["metric"] for row in rows if row["status"] == "ok"}
    assert {row["status"] for row in rows} <= {"ok", "not-applicable"}
    assert {"inbreeding", "allele-frequency", "ld-decay"} <= measured
    for ending in ("md", "html"):
        text = next(run.glob(f"report/*.{ending}")).read_text()
        assert "word-chain" in text
        assert "Inbreeding F difference" in text


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example as pip installs it, in a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    isolated = [] if importlib.util.find_spec("hatchling") else None
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
            *(["--no-build-isolation"] if isolated is not None else []),
            *("--disable-pip-version-check", "--target", str(folder), str(EXAMPLE)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and isolated is None:
        pytest.skip(f"hatchling can't be had: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    assert (folder / "haplobench_words" / "word_chain.py").is_file()
    return folder


@pytest.mark.slow
def test_the_example_is_found_run_and_reported(installed: Path, tmp_path: Path) -> None:
    listed = bench("list", cwd=tmp_path, path=[installed]).stdout
    assert "haplobench-words 0.1.0 (entry point words = haplobench_words)" in listed
    done = bench(
        "run", EXAMPLE / "suite.yaml", "--only", "word-chain", cwd=tmp_path, path=[installed]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "word-chain" in done.stdout
    assert_in_report(tmp_path)


def test_without_it_the_suite_says_what_is_missing(tmp_path: Path) -> None:
    done = bench("validate", EXAMPLE / "suite.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "no generator is named 'word-chain'" in done.stderr
    assert "no metric is named 'inbreeding'" in done.stderr


@pytest.mark.slow
def test_the_example_in_an_environment_of_its_own(tmp_path: Path) -> None:
    """haplobench and the example are installed by pip; their dependencies are taken from here."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = venv / "bin" / "python"
    checkout = tmp_path / "haplobench"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if tracked.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, tracked.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--no-deps", str(checkout), str(EXAMPLE)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("hatchling can't be had")
    assert done.returncode == 0, done.stderr
    purelib = Path(sysconfig.get_path("purelib"))
    site = next((venv / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(f"{purelib}\n")
    found = subprocess.run(
        [str(python), "-P", "-c", "import haplobench; print(haplobench.__file__)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=True,
    )
    assert Path(found.stdout.strip()).is_relative_to(venv)
    program = venv / "bin" / "bench"
    for name in ("word-chain", "inbreeding"):
        done = bench("check", name, cwd=tmp_path, program=program)
        assert done.returncode == 0, done.stdout + done.stderr
    done = bench("run", EXAMPLE / "suite.yaml", cwd=tmp_path, program=program)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_in_report(tmp_path)


@pytest.mark.slow
def test_a_broken_plugin_is_told_and_costs_nobody_else(tmp_path: Path) -> None:
    distribute(tmp_path, "broken-toy", "import no_such_module_at_all\n")
    distribute(tmp_path, "sound-toy", toy("sound"))
    listed = bench("list", cwd=tmp_path, path=[tmp_path])
    assert listed.returncode == 0
    for text in (listed.stdout, bench("check", "nothing", cwd=tmp_path, path=[tmp_path]).stderr):
        assert "broken-toy 1.2 (entry point broken-toy = broken_toy)" in text
        assert "No module named 'no_such_module_at_all'" in text
    done = bench("run", suite(tmp_path, "sound"), "--no-report", cwd=tmp_path, path=[tmp_path])
    assert done.returncode == 0, done.stderr
    assert "warning: plugin broken-toy 1.2" in done.stderr
    rows = [row for row in records(newest(tmp_path, "outside")) if row["generator"] == "sound"]
    assert any(row["status"] == "ok" for row in rows)
    assert not any(row["error"] for row in rows if row["status"] != "not-applicable")
    done = bench("run", suite(tmp_path, "broken"), cwd=tmp_path, path=[tmp_path])
    assert done.returncode == 2
    assert "no generator is named 'broken'" in done.stderr
    assert "broken-toy 1.2" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_plugins_of_one_name_are_an_error_that_lists_both(tmp_path: Path) -> None:
    distribute(tmp_path, "first-toy", toy("twice"))
    distribute(tmp_path, "second-toy", toy("twice"))
    both = (
        "generator 'twice' is declared by first-toy 1.2 (entry point first-toy = first_toy) and "
        "second-toy 1.2 (entry point second-toy = second_toy)"
    )
    assert both in " ".join(bench("list", cwd=tmp_path, path=[tmp_path]).stdout.split())
    for arguments in (("validate", suite(tmp_path, "twice")), ("check", "twice")):
        done = bench(*arguments, cwd=tmp_path, path=[tmp_path])
        assert done.returncode == 2
        assert both in done.stderr
        assert "uninstall one of them" in done.stderr
    assert bench("validate", "smoke", cwd=tmp_path, path=[tmp_path]).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("needs", "missing"),
    [
        ("Binary('no-such-program', 'apt-get install it'),", "program no-such-program (apt-get"),
        ("GPU(),", "a CUDA GPU (none is visible on this machine)"),
    ],
    ids=["binary", "gpu"],
)
def test_what_a_plugin_needs_is_told_before_anything_runs(
    needs: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    distribute(tmp_path, "needy-toy", toy("needy", needs))
    listed = " ".join(bench("list", "generators", cwd=tmp_path, path=[tmp_path]).stdout.split())
    assert "missing:" in listed
    done = bench("run", suite(tmp_path, "needy"), cwd=tmp_path, path=[tmp_path])
    assert done.returncode == 2
    assert f"generators[0]: needy needs {missing}" in done.stderr
    assert not (tmp_path / "results").exists()
    done = bench("check", "needy", cwd=tmp_path, path=[tmp_path])
    assert done.returncode == 2
    assert "can't be checked without" in done.stderr
    optional = suite(tmp_path, {"name": "needy", "optional": True})
    done = bench("run", optional, "--only", "needy", "--no-report", cwd=tmp_path, path=[tmp_path])
    assert done.returncode == 0, done.stderr
    rows = [row for row in records(newest(tmp_path, "outside")) if row["generator"] == "needy"]
    assert rows
    assert all(row["value"] is None and missing in str(row["note"]) for row in rows)
