"""Shared fixtures: where the real data is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from toy_plugins import module_toys, shared_out, suite_text, toys

__all__ = ["module_toys", "shared_out", "suite_text", "toys"]

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real 1000 Genomes files; skips, and says so, where it is absent."""
    folder = Path(os.environ.get("HAPLOBENCH_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "1kg_p3.panel.tsv").is_file():
        pytest.skip(f"real data absent: {folder} (set HAPLOBENCH_DATA)")
    return folder
