"""Suites and results that somebody else made: read as data, quickly, and shown without effect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from haplobench import BenchError
from haplobench.cli import main
from haplobench.errors import SuiteError
from haplobench.files import printable
from haplobench.registry import load_registry
from haplobench.report.write import write_report
from haplobench.results.run_folder import RunFolder
from haplobench.runner.plan import plan_cells
from haplobench.runner.run import run_suite
from haplobench.suite.load import load_suite
from haplobench.suite.source import shipped_suites

SUITE = """
name: toy
datasets: [{name: toy, filters: {min_maf: 0.05}, split: {holdout: 0.25, validation: 0.1}}]
generators: [frequency]
metrics: [difference]
floor: {draws: 1}
"""
TITLE = "\x1b]0;owned\x07 \x1b[31mred\x1b[0m"
MARKUP = "[/bold] [link=https://example.org]x[/link]"


def bench(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    program = "from haplobench.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=60,
    )


@pytest.fixture(scope="module")
def run(module_toys: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    registry = module_toys.registry()
    suite = load_suite(module_toys.suite_file(SUITE), (), registry)
    return run_suite(suite, registry, tmp_path_factory.mktemp("results")).run_folder


@pytest.fixture
def foreign(run: Path, tmp_path: Path) -> Path:
    """The run, its texts those of somebody who means no good."""
    folder = tmp_path / "results" / "toy" / run.name
    folder.mkdir(parents=True)
    info = json.loads((run / "run.json").read_text())
    info["title"] = TITLE
    info["metrics"]["difference"]["summary"] = TITLE
    (folder / "run.json").write_text(json.dumps(info))
    lines = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    for line in lines:
        line["note"] = line["error"] = TITLE
        if line["generator"] == "frequency":
            line["generator"] = MARKUP + TITLE
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "suite.yaml").write_bytes((run / "suite.yaml").read_bytes())
    return folder


@pytest.mark.parametrize(
    "command", [["show"], ["report"], ["compare", "."], ["history"], ["baseline", "save"]]
)
def test_escapes_and_markup_have_no_effect(foreign: Path, run: Path, command: list[str]) -> None:
    name, *more = command
    if name == "baseline":
        more, name = ["--baselines", str(foreign / "baselines")], "baseline save"
    if name == "compare":
        more = [str(run)]
    if name == "history":
        more = ["--all"]
    done = bench(*name.split(), foreign, *more)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    for text in (done.stdout, done.stderr):
        assert printable(text) == text
    written = [*foreign.glob("report/*.md"), *foreign.glob("report/*.csv")]
    written += foreign.glob("baselines/*")
    assert not [path for path in written if "\x1b" in path.read_text()]
    assert bool(written) == (name in ("report", "baseline save"))


def test_a_figure_is_drawn_by_installed_code_only(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil.py").write_text("import os\nos.environ['EVIL'] = 'imported'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("EVIL", raising=False)
    folder = tmp_path / "run"
    folder.mkdir()
    for path in (run / "records.jsonl", run / "suite.yaml"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "series").symlink_to(run / "series")
    info = json.loads((run / "run.json").read_text())
    figure = {"name": "f", "title": "F", "caption": "F.", "target": "evil:draw"}
    info["metrics"]["difference"]["figures"] = [figure]
    (folder / "run.json").write_text(json.dumps(info))
    paths = write_report(folder, tmp_path / "report", ("svg",))
    assert "its metric isn't installed" in str(paths.problems)
    assert "EVIL" not in os.environ
    assert "evil" not in sys.modules


def test_command_lines_of_a_run_are_run_only_if_it_is_trusted(
    module_toys: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    registry = load_registry()
    text = SUITE.replace("name: toy, ", "name: embedded, params: {region: '20:1000000-1050000'}, ")
    program = "for _ in range({n_haplotypes}): print('0' * {n_sites})"
    params = json.dumps(
        {"sample": [sys.executable, "-c", program], "output_format": "matrix", "block": 2}
    )
    text = text.replace("[frequency]", f"[{{name: command, params: {params}}}]")
    text = text.replace("[difference]", "[]")
    suite = load_suite(module_toys.suite_file(text), (), registry)
    folder = run_suite(suite, registry, tmp_path / "results").run_folder
    (fitted,) = tmp_path.glob("results/toy/stages/fit/*/model/command.json")
    evil = tmp_path / "ran"
    fitted.chmod(0o644)
    content = json.loads(fitted.read_text())
    write = f"open({str(evil)!r}, 'w')"
    content["params"]["sample"] = [sys.executable, "-c", write, "{n_haplotypes}"]
    fitted.write_text(json.dumps(content))
    arguments = ["generate", folder, "-n", 4, "--to", tmp_path / "out.vcf", "-g", "command"]
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    assert end.value.code == 2
    assert "--run-programs" in capfd.readouterr().err
    assert not evil.exists()
    with pytest.raises(SystemExit):
        main([str(argument) for argument in [*arguments, "--run-programs"]])
    assert evil.exists()


# --- suites ---------------------------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "values once its aliases are written out"),
        ("a: &a [*a]\n", "holds itself, by an alias"),
        ("a: " + "[" * 300 + "]" * 300, "nests deeper than 50 levels"),
        ("a: " + "{a: " * 4000, "nests too deep"),
        (SUITE + 'title: "\\e[31mred"\n', r"title: '\\x1b[31mred' has a control character in it"),
        (SUITE + "title: a\x1bb\n", "not YAML"),
        (SUITE + "limits: {time: .inf}\n", "limits.time: expected a duration"),
        (SUITE + "limits: {memory: .nan}\n", "limits.memory: expected a size"),
        (SUITE.replace("0.25", ".inf"), "datasets[0].split.holdout: expected a share"),
        (SUITE.replace("0.25", ".nan"), "datasets[0].split.holdout: expected a share"),
        (SUITE.replace("0.05", ".nan"), "datasets[0].filters.min_maf"),
        (SUITE.replace("0.25", "9" * 400), "datasets[0].split.holdout"),
        (SUITE.replace("[frequency]", f"[{{name: frequency, label: {'x' * 200}}}]"), "80"),
        (SUITE + "#" * (3 << 20), "larger than"),
    ],
)
def test_a_suite_that_cannot_be_meant_is_refused_at_once(
    module_toys: Any, text: str, words: str
) -> None:
    path = module_toys.suite_file("")
    path.write_text(text)
    begun = time.monotonic()
    with pytest.raises(SuiteError) as caught:
        load_suite(path, (), module_toys.registry())
    assert words in str(caught.value)
    assert len(str(caught.value)) < 2000
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("endless", ["device", "fifo"])
def test_what_never_ends_is_no_suite(tmp_path: Path, endless: str) -> None:
    path = Path("/dev/zero") if endless == "device" else tmp_path / "pipe.yaml"
    if endless == "fifo":
        os.mkfifo(path)
    for command in (["validate", path], ["compare", path, path], ["show", path]):
        done = bench(*command)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("value", ["[" * 5000, "2001-99-99", BOMB, "!!int x", "9" * 5000 + ".0e"])
def test_an_override_that_is_no_value_is_one_line(value: str) -> None:
    with pytest.raises(SuiteError) as caught:
        load_suite("smoke", [f"sample.draws={value}"], load_registry())
    assert all(len(problem) < 40_000 for problem in caught.value.problems)


@pytest.mark.parametrize("name", shipped_suites())
def test_a_runs_own_suite_asks_the_same_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAPLOBENCH_DATA", str(tmp_path))
    registry = load_registry()
    suite = load_suite(name, (), registry)
    path = tmp_path / "suite.yaml"
    path.write_text(suite.to_yaml())
    again = load_suite(path, (), registry)
    assert again.digest == suite.digest
    assert [cell.cell_id for cell in plan_cells(again)] == [
        cell.cell_id for cell in plan_cells(suite)
    ]


def test_optional_stays_optional_where_nothing_is_missing(module_toys: Any, tmp_path: Path) -> None:
    registry = module_toys.registry()
    text = SUITE.replace("[frequency]", "[{name: frequency, optional: true}]")
    suite = load_suite(module_toys.suite_file(text), (), registry)
    path = tmp_path / "suite.yaml"
    path.write_text(suite.to_yaml())
    again = load_suite(path, (), registry)
    assert {entry.label: entry.optional for entry in again.generators}["frequency"]


# --- values and terminals -------------------------------------------------------------------


def test_infinite_parameters_are_texts_in_results(toys: Any, tmp_path: Path) -> None:
    source = (toys.folder / "toy_generators.py").read_text()
    source = source.replace(
        "class FrequencyParams(Params):",
        "class Robust(Params):\n    norm_factor: float = 1.0\n\n\n"
        "class FrequencyParams(Params):\n    bounds: tuple[float, float] = (0.0, float('inf'))\n"
        "    robust: Robust = Robust()",
    )
    toys.write("toy_generators", source)
    registry = toys.registry()
    params = "{name: frequency, params: {robust: {norm_factor: .inf}}}"
    suite = load_suite(toys.suite_file(SUITE.replace("frequency", params)), (), registry)
    for fresh in (False, True):
        outcome = run_suite(suite, registry, tmp_path, fresh=fresh)
        assert outcome.exit_code == 0
        described = RunFolder(outcome.run_folder).info()["generators"]["frequency"]["params"]
        assert described["robust"] == {"norm_factor": "inf"}
        assert described["bounds"] == [0.0, "inf"]
        (cost,) = outcome.run_folder.glob("costs/*frequency*.json")
        assert json.loads(cost.read_text())["params"]["robust"] == {"norm_factor": "inf"}


@pytest.mark.parametrize("label", ["floor", "", "a\x1bb", "two\nlines", "x" * 300])
def test_an_evaluation_refuses_labels_that_mislead(label: str, tmp_path: Path) -> None:
    import numpy as np

    from haplobench import Panel
    from haplobench.runner.evaluate import Evaluation, evaluate
    from haplobench.runner.given_sites import GivenCohort

    rows = np.random.default_rng(1).integers(0, 2, (20, 30), dtype=np.int8)
    people = np.array([f"p{i}" for i in range(10)])
    panel = Panel(rows, 10 * np.arange(1, 31), "20", people)
    with pytest.raises(BenchError, match="label"):
        evaluate(Evaluation(panel, (GivenCohort(label, panel),)), load_registry([]), tmp_path)


def test_a_terminal_without_unicode_changes_no_exit_code(run: Path) -> None:
    done = bench("compare", run, run, PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "No regression" in done.stdout
    done = bench("show", run, PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
