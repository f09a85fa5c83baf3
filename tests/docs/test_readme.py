"""What the README shows does what it says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from haplobench.registry import load_registry
from haplobench.suite.load import load_suite
from haplobench.testing import check_generator

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def block(language: str, word: str) -> str:
    """The code block of a language that holds a word."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    found = [text for text in blocks if word in text]
    assert len(found) == 1
    return str(found[0])


def test_the_example_generator_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_generator.py").write_text(block("python", "class Mine"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_generator", raising=False)
    registry = load_registry(["my_generator"])
    assert not registry.broken
    assert check_generator(registry.generator("mine"))


def test_the_example_suite_validates(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(block("yaml", "name: mine"))
    suite = load_suite(path, [], load_registry())
    assert [entry.label for entry in suite.datasets] == ["my-region"]


def test_every_command_shown_exists() -> None:
    from typer.main import get_command

    from haplobench.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    shown = set(re.findall(r"^bench (\w+)", block("sh", "bench list"), re.MULTILINE))
    assert shown
    assert shown <= set(commands)
