"""Files: environment variables mean one thing wherever paths are written."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from haplobench import FormatError, SuiteError
from haplobench.cli import app
from haplobench.files import digest_of, expand_path, expand_variables, near_names
from haplobench.registry import load_registry
from haplobench.suite.load import load_suite

CASE = Path(__file__).parent / "data" / "cases" / "split_star.vcf"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANELS", "/panels")
    monkeypatch.setenv("EMPTY", "")
    for name in ("HAPLOBENCH_DATA", "NOWHERE"):
        monkeypatch.delenv(name, raising=False)


EXPANDED = {
    "${PANELS}/a": "/panels/a",
    "$PANELS/a": "/panels/a",
    "${PANELS:-b}/a": "/panels/a",
    "${NOWHERE:-b}/a": "b/a",
    "${EMPTY:-b}/a": "b/a",
    "${NOWHERE:-}a": "a",
    "${HAPLOBENCH_DATA}/a": "../shared/data/a",
    "${HAPLOBENCH_DATA:-b}/a": "b/a",
    "$$PANELS$/5$5": "$PANELS$/5$5",
}
REFUSED = {
    "${NOWHERE}/a": "the environment variable NOWHERE is not set",
    "$NOWHERE/a": "the environment variable NOWHERE is not set",
    "${EMPTY}": "the environment variable EMPTY is not set",
    "${PANELS": "expected ${NAME} or ${NAME:-default}, found ${",
    "${PANELS-b}": "expected ${NAME} or ${NAME:-default}, found ${PANELS-b}",
    "${}": "expected ${NAME} or ${NAME:-default}, found ${}",
}


@pytest.mark.parametrize("text", EXPANDED)
def test_variables_are_expanded(text: str) -> None:
    assert expand_variables(text) == EXPANDED[text]
    assert expand_path(text) == Path(EXPANDED[text])
    assert expand_path("~/${NOWHERE:-b}") == Path.home() / "b"


@pytest.mark.parametrize("text", REFUSED)
def test_what_has_no_value_is_refused(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        expand_variables(text)
    assert str(caught.value).startswith(f"{text}: {REFUSED[text]}")


def in_suite(folder: Path, text: str) -> str:
    """The path that a suite's `file` dataset is given."""
    suite = folder / "suite.yaml"
    suite.write_text(f"name: s\ndatasets:\n  - {{name: file, params: {{path: '{text}'}}}}\n")
    (entry,) = load_suite(suite, (), load_registry(["haplobench.datasets"])).datasets
    return str(entry.values["path"])


@pytest.mark.parametrize("text", [*EXPANDED, *REFUSED])
def test_suites_and_bench_data_mean_the_same(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "one" / "two"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("PANELS", str(tmp_path / "panels"))
    command = ["data", "info", "file", "--set", f"path={text}.vcf"]
    told = CliRunner().invoke(app, command)
    if text in REFUSED:
        with pytest.raises(SuiteError) as caught:
            in_suite(tmp_path, f"{text}.vcf")
        problem = f"{text}.vcf: {REFUSED[text]}"
        assert f"datasets[0].params.path: {problem}" in str(caught.value)
        assert isinstance(told.exception, FormatError)
        assert problem in str(told.exception)
        return
    path = Path(in_suite(tmp_path, f"{text}.vcf"))
    assert f"{path}: no such file" in str(told.exception)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CASE.read_text())
    read = CliRunner().invoke(app, command)
    assert read.exit_code == 0, read.output


def test_near_names() -> None:
    assert near_names("markow", ["markov", "copycat"]) == "; did you mean markov?"
    assert near_names("markow", ["markov"], lead="") == "did you mean markov?"
    assert near_names("x", ["markov"]) == ""


def test_a_digest_is_of_what_was_written() -> None:
    assert digest_of({"a": 1, "b": (1, 2)}) == digest_of({"b": [1, 2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})
    day = datetime.date(2020, 2, 29)
    assert digest_of({"a": day}) != digest_of({"a": day.replace(day=28)})
