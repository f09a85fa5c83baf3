"""The notebook runs, and gives the tables that the documentation shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"


def tables(cells: list[dict[str, Any]]) -> list[str]:
    """What cells gave as text, without what names a run's folder."""
    texts = [
        re.sub(r"results/\S+", "results/…", "".join(output["data"]["text/plain"]))
        for cell in cells
        for output in cell.get("outputs", ())
        if "data" in output
    ]
    return [" ".join(text.split()) for text in texts]


@pytest.mark.slow
def test_the_notebook_runs_and_gives_what_it_shows(tmp_path: Path) -> None:
    pytest.importorskip("ipykernel", reason="needs the extra `test`")
    nbformat = pytest.importorskip("nbformat")
    client_class = pytest.importorskip("nbclient").NotebookClient

    shown = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell["outputs"] = []
    client = client_class(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert tables(notebook.cells) == tables(shown)
    assert not [o for cell in shown for o in cell.get("outputs", ()) if o["output_type"] == "error"]
    assert (tmp_path / "results" / "evaluate").is_dir()
