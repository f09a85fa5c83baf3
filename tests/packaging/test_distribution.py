"""What leaves for an index, and what builds elsewhere, agrees with pyproject.toml."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.slow
def test_the_distribution_builds_and_an_index_would_take_it(tmp_path: Path) -> None:
    pytest.importorskip("build", reason="needs the extra `test`")
    pytest.importorskip("twine", reason="needs the extra `test`")
    # hatchling leaves out what git ignores only where there is git.
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    made = sorted(tmp_path.iterdir())
    assert [path.suffix for path in made] == [".whl", ".gz"]
    check = [sys.executable, "-m", "twine", "check", "--strict", *map(str, made)]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    names = zipfile.ZipFile(made[0]).namelist()
    for needed in ("haplobench/suites/1kg.yaml", "haplobench_vae/__init__.py", "haplobench/api.py"):
        assert needed in names
    assert not [name for name in names if name.startswith(("tests/", "examples/", "docs/"))]


def test_the_conda_recipe_asks_for_what_the_core_needs() -> None:
    text = (ROOT / "packaging" / "conda" / "recipe.yaml").read_text()
    recipe = yaml.safe_load(text)
    asked = {
        (name, ",".join(sorted(bounds.split(","))))
        for line in recipe["requirements"]["run"]
        for name, _, bounds in [line.partition(" ")]
    }
    needed = {
        (one.name, ",".join(sorted(str(one.specifier).split(","))))
        for one in map(Requirement, PROJECT["dependencies"])
    }
    assert asked == needed | {("python", PROJECT["requires-python"])}
    assert f"bench = {PROJECT['scripts']['bench']}" in recipe["build"]["python"]["entry_points"]
    version = re.search(
        r'__version__ = "(.*)"', (ROOT / "harness/haplobench/__init__.py").read_text()
    )
    assert version is not None
    assert recipe["context"]["version"] == version[1]


def test_containers_take_files_that_are_there_and_the_same_pins() -> None:
    docker = (ROOT / "packaging" / "Dockerfile").read_text()
    apptainer = (ROOT / "packaging" / "haplobench.def").read_text()
    for text in (docker, apptainer):
        assert "-c constraints.txt '.[all]'" in text
        assert "python:3.12-slim-bookworm" in text
    copied = re.findall(r"^    (\S+) /opt/haplobench/(\S+)$", apptainer, re.MULTILINE)
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    needed = {path.partition("/")[0] for path in wheel["targets"]["wheel"]["only-include"]}
    needed |= {PROJECT["readme"], *PROJECT["license-files"], "suites", "constraints.txt"}
    assert needed <= {source for source, _ in copied}
    for source, target in copied:
        assert (ROOT / source).exists()
        assert source == target
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not needed & set(ignored)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_image_runs() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode:
        pytest.skip("no docker daemon")
    build = [docker, "build", "-q", "-f", "packaging/Dockerfile", "-t", "haplobench-test", "."]
    subprocess.run(build, cwd=ROOT, check=True)
    run = [docker, "run", "--rm", "haplobench-test", "list", "generators"]
    assert "vae" in subprocess.run(run, capture_output=True, text=True, check=True).stdout


def test_the_dockerfile_is_as_hadolint_wants_it() -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("no hadolint: make hadolint")
    done = subprocess.run([hadolint, ROOT / "packaging" / "Dockerfile"], capture_output=True)
    assert done.returncode == 0, done.stdout.decode()
