"""`bench new` writes distributions that work at once, and refuses what can't."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from haplobench import BenchError
from haplobench.registry import Registry, load_registry
from haplobench.scaffold import KINDS, create
from haplobench.suite.load import load_suite

BENCH = Path(sys.executable).parent / "bench"
# Short and long, so that lines and imports are formatted either way.
NAMES = {"generator": "my-generator", "metric": "q7", "dataset": "abcd-" * 4 + "abcd"}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.fixture(scope="module", params=KINDS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new")
    kind = request.param
    done = bench("new", kind, NAMES[kind], "--to", folder, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert f"bench check {NAMES[kind]}" in done.stdout
    return Path(folder / NAMES[kind])


def bench(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run(BENCH, *arguments, cwd=cwd)


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, arguments)),
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def module_of(folder: Path) -> str:
    return folder.name.replace("-", "_")


def test_it_keeps_the_contract_before_it_is_installed(written: Path) -> None:
    done = bench("check", f"{module_of(written)}/__init__.py:{written.name}", cwd=written)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "keeps its contract" in done.stdout


def test_its_own_tests_pass(written: Path) -> None:
    done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=written)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_it_is_formatted_sorted_and_typed(written: Path) -> None:
    rules = "A,B,C4,D1,E,F,I,N,PERF,PT,RET,RUF,SIM,UP,W"
    ruff = Path(sys.executable).parent / "ruff"
    if not ruff.exists():
        pytest.skip("ruff isn't installed")
    for command in (
        ["check", "--no-cache", "--select", rules, "--ignore", "D103,D107", "."],
        ["format", "--no-cache", "--check", "."],
    ):
        done = run(ruff, *command, cwd=written)
        assert done.returncode == 0, done.stdout
    for path in written.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                given = [a for a in node.args.args if a.arg != "self"]
                assert node.returns is not None or node.name == "__init__", (path, node.name)
                assert all(argument.annotation for argument in given), (path, node.name)


def test_nothing_is_left_to_fill_in(written: Path) -> None:
    for path in written.rglob("*"):
        if path.is_file():
            assert not re.search(r"\$\w|\$\{", path.read_text()), path


def test_the_distribution_declares_its_plugin(written: Path) -> None:
    project = tomllib.loads((written / "pyproject.toml").read_text())["project"]
    assert project["name"] == written.name
    assert project["entry-points"]["haplobench"] == {written.name: module_of(written)}
    text = (written / "README.md").read_text()
    for command in re.findall(r"^bench .*?(?=  )", text, re.MULTILINE):
        assert command.split()[1] in {"check", "run", "show", "data"}


def test_its_suite_validates(
    written: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(written))
    # Another test of this process may have imported a plugin of this name.
    monkeypatch.delitem(sys.modules, module_of(written), raising=False)
    both = load_registry(
        [*dict.fromkeys(s.module for s in registry.sources.values()), module_of(written)]
    )
    suite = load_suite(written / "suite.yaml", [], both)
    named = yaml.safe_dump(suite.model_dump(mode="json"))
    assert written.name in named


def test_a_minimal_generator_is_thirty_lines(tmp_path: Path, registry: Registry) -> None:
    folder = create("generator", "tiny", tmp_path, registry)
    code = 0
    for path in (folder / "tiny").glob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
                node
            ):
                node.body = node.body[1:] or [ast.Pass()]
        code += sum(1 for line in ast.unparse(tree).splitlines() if line.strip())
    assert code <= 30


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My Gen", "did you mean my-gen?"),
        ("my_gen", "did you mean my-gen?"),
        ("9lives", "did you mean lives?"),
        ("../evil", "did you mean evil?"),
        ("a" * 25, "at most 24"),
        ("markov", "a generator of that name is installed: haplobench"),
        ("json", "Python's own"),
        ("class", "Python's own"),
        ("numpy", "is installed"),
        ("haplobench-vae", "is installed"),
        ("floor", "the harness's own word"),
    ],
)
def test_names_that_can_not_be(name: str, words: str, tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(BenchError, match=re.escape(words)):
        create("generator", name, tmp_path, registry)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    done = bench("new", "metric", "mine", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: mine: exists; nothing is overwritten (choose another --to)\n"
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "notes.txt"]
