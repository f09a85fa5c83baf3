"""CITATION.cff says what the package says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

from haplobench import __version__
from haplobench.report.paper import _haplobench

ROOT = Path(__file__).resolve().parents[2]


def test_the_citation_file_agrees_with_the_package() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    # What the format's version 1.2.0 requires.
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["version"] == __version__
    assert cited["license"] == project["license"]
    assert cited["keywords"] == project["keywords"]
    entry = _haplobench(__version__)
    assert entry.fields["title"].replace("{", "").replace("}", "") == cited["title"]
    assert entry.fields["author"].strip("{}") == cited["authors"][0]["name"]
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## .*{re.escape(__version__)}", changes, re.MULTILINE)
