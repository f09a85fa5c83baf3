"""Command lines in a suite: what is refused, where, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from haplobench.errors import SuiteError
from haplobench.registry import load_registry
from haplobench.suite.load import load_suite
from haplobench_command import COMMON, SAMPLE, CommandParams, fill, names_in

REGISTRY = load_registry(["haplobench.datasets", "haplobench_baselines", "haplobench_command"])
GOOD = ["awk", "{n_haplotypes}", "{train}"]


def problems(folder: Path, *items: dict[str, Any]) -> list[str]:
    path = folder / "suite.yaml"
    path.write_text(
        yaml.safe_dump({"name": "c", "datasets": ["embedded"], "generators": list(items)})
    )
    with pytest.raises(SuiteError) as caught:
        load_suite(path, [], REGISTRY)
    return [problem.replace(str(path), "suite.yaml") for problem in caught.value.problems]


def item(name: str = "command", **params: Any) -> dict[str, Any]:
    return {"name": name, "params": params}


@pytest.mark.parametrize(
    ("params", "key", "words"),
    [
        ({"sample": [*GOOD, "{sead}"]}, "sample[3]", "unknown placeholder {sead}"),
        ({"sample": [*GOOD, "{sead}"]}, "sample[3]", "did you mean seed?"),
        ({"sample": {"shell": "x {n_samples} {oops}"}}, "sample.shell", "{oops}"),
        ({"sample": GOOD, "fit": ["x", "{output}"]}, "fit[1]", "while sampling only"),
        ({"sample": GOOD, "fit": ["x", "{train}"]}, "", "fit doesn't name {model}"),
        ({"sample": GOOD, "fit": ["x", "{model}"]}, "", "sample doesn't name {model}"),
        ({"sample": [*GOOD, "{model}"]}, "", "there is no fit"),
        ({"sample": ["awk"]}, "", "names none of {n_haplotypes}"),
        ({"sample": [*GOOD, "{populations}"]}, "", "use the generator `command-populations`"),
        ({"sample": "awk {train}"}, "sample", "expected a valid list"),
        ({"sample": []}, "sample", "at least 1 item"),
        ({"sample": GOOD, "block": 7}, "block", "multiple of 2"),
        ({"sample": GOOD, "output_format": "ms"}, "output_format", "'vcf.gz', 'vcf'"),
        ({"sample": GOOD, "outptu_format": "vcf"}, "outptu_format", "did you mean"),
        ({}, "sample", "missing, but required"),
    ],
)
def test_mistakes_are_named_with_file_line_and_key(
    params: dict[str, Any], key: str, words: str, tmp_path: Path
) -> None:
    (problem,) = problems(tmp_path, item(**params))
    place = f"generators[0].params{'.' + key if key else ''}: "
    assert problem.startswith("suite.yaml:")
    assert place in problem
    assert words in problem


def test_populations_must_be_named_where_they_are_promised(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, item("command-populations", sample=GOOD))
    assert "use the generator `command`" in problem


def test_absent_programs_and_scripts_are_needs(tmp_path: Path) -> None:
    absent = ["no-such-program-here", "{n_samples}"]
    (problem,) = problems(tmp_path, item(sample=absent))
    assert "generators[0]: command needs program no-such-program-here" in problem
    optional = item(sample=absent) | {"optional": True}
    path = tmp_path / "suite.yaml"
    path.write_text(
        yaml.safe_dump({"name": "c", "datasets": ["embedded"], "generators": [optional]})
    )
    entry = load_suite(path, [], REGISTRY).generators[-1]
    assert "no-such-program-here" in entry.missing[0]
    script = tmp_path / "not-executable"
    script.write_text("#!/bin/sh\n")
    assert CommandParams(sample=[str(script), "{n_samples}"]).needed()[0].missing()
    script.chmod(0o755)
    assert not CommandParams(sample=[str(script), "{n_samples}"]).needed()[0].missing()


def test_the_fingerprint_follows_scripts_wherever_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "make.awk"
    for line in (
        ["awk", "-f", "make.awk", "{n_samples}"],
        {"shell": "awk -f make.awk {n_samples}"},
    ):
        script.write_text("one")
        params = CommandParams.model_validate({"sample": line})
        before = params.fingerprint()
        assert params.fingerprint() == before
        script.write_text("two")
        assert params.fingerprint() != before


def test_braces() -> None:
    assert names_in("{print $1; next} ${HOME} {{train}} {train} {n_samples}") == [
        "train",
        "n_samples",
    ]
    values = {"train": "a b.vcf", "n_samples": 3}
    assert fill("${HOME} {{train}} {train} {n_samples}", values) == "${HOME} {train} a b.vcf 3"
    assert fill("x {train}", values, quoted=True) == "x 'a b.vcf'"


@given(st.text(alphabet="ab{}$ ", max_size=20), st.dictionaries(st.sampled_from("ab"), st.text()))
def test_only_placeholders_are_replaced(text: str, values: dict[str, str]) -> None:
    if set(names_in(text)) <= set(values):
        filled = fill(text, values)
        if "{" not in text:
            assert filled == text


def test_every_placeholder_is_described() -> None:
    assert all(COMMON[name] for name in COMMON)
    assert {"train", "model", "output", "n_haplotypes", "n_samples", "seed", "populations", "map",
            "threads", "min_maf", "scratch"} <= SAMPLE  # fmt: skip
