"""The example workflow compares with a committed baseline, on GitHub and here by the same words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from outside import distribute, toy

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EXAMPLE = ROOT / ".github" / "workflows" / "haplobench.yml"
SCRIPT = ROOT / "scripts" / "ci_example.py"
SUITE = """\
name: smoke
seeds: [1]
datasets:
  - {name: embedded, params: {region: "20:1000000-1040000"}, filters: {min_maf: 0.1}}
generators:
  - mine
metrics: [allele-frequency]
floor: {draws: 1}
"""


def steps(path: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(path.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_sound(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert {"name", True, "permissions", "jobs"} <= set(workflow)  # YAML reads `on` as true
    for job in workflow["jobs"].values():
        assert job["runs-on"].startswith("ubuntu-")
        assert job["timeout-minutes"] <= 90
    for step in steps(path):
        assert ("run" in step) != ("uses" in step)
        assert "@" in step.get("uses", "@")
        if "run" in step:
            # What an expression holds must never become part of a script.
            assert "${{" not in step["run"]
            checked = subprocess.run(["bash", "-n", "-c", step["run"]], capture_output=True)
            assert checked.returncode == 0, checked.stderr


def test_targets_that_workflows_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for path in WORKFLOWS:
        for step in steps(path):
            words = step.get("run", "").split()
            if words[:1] == ["make"]:
                assert f"\n{words[1]}:" in makefile
    assert "scripts/ci_example.py" in makefile.partition("\nci-example:")[2].partition("\n\n")[0]


def test_here_the_steps_are_the_workflows_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import ci_example  # type: ignore[import-not-found]

    here = [step["run"] for step in ci_example.run_steps(EXAMPLE)]
    there = [step["run"] for step in steps(EXAMPLE) if "run" in step]
    assert [step["name"] for step in ci_example.run_steps(EXAMPLE)] == [
        "Run the suite",
        "Compare with the base",
        "Fail on a regression",
    ]
    assert [text for text in there if text in here] == here
    assert (
        ci_example._value("a ${{ steps.x.outputs.code }} ${{ github.token }}", {("x", "code"): "1"})
        == "a 1 "
    )


@pytest.mark.slow
def test_a_regression_fails_and_no_change_passes(tmp_path: Path) -> None:
    people = {
        f"GIT_{who}_{what}": "t@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    environment = {
        **os.environ,
        **people,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path / "plugin"),
    }

    def do(*command: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            list(map(str, command)),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def example() -> subprocess.CompletedProcess[str]:
        return do(sys.executable, SCRIPT, "SUITE=suite.yaml", "SEEDS=[1,2,3,4,5]")

    (tmp_path / "plugin").mkdir()
    distribute(tmp_path / "plugin", "my-toy", toy("mine"))
    do("git", "init", "-q")
    (tmp_path / "suite.yaml").write_text(SUITE)
    do("git", "add", ".")
    do("git", "commit", "-qm", "suite")
    first = example()
    assert first.returncode == 0, first.stdout + first.stderr
    assert "::warning::nothing could be compared" in first.stdout
    saved = do("bench", "baseline", "save", "smoke")
    assert saved.returncode == 0, saved.stderr
    do("git", "add", "results/baselines")
    do("git", "commit", "-qm", "baseline")
    again = example()
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing regressed" in again.stdout
    module = tmp_path / "plugin" / "my_toy.py"
    module.write_text(
        module.read_text().replace("Fitted(train.frequencies)", "Fitted(train.frequencies * 0.6)")
    )
    worse = example()
    assert worse.returncode == 1, worse.stdout + worse.stderr
    assert "::error::regressed" in worse.stdout
    assert "mine" in (tmp_path / "comparison" / "comparison.md").read_text()
