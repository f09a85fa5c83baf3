"""MkDocs hook: the reference pages, from what the program says of itself; the notebook; results."""

from __future__ import annotations

import html
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

import reference_pages
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the page of each run in `results/` under Results."""
    (listed,) = (entry["Results"] for entry in config.nav if "Results" in entry)
    runs = (Path(config.docs_dir) / "results").glob("*/run.json")
    listed += [{run.parent.name: f"results/{run.parent.name}.md"} for run in sorted(runs)]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for path, text in reference_pages.pages().items():
        files.append(File.generated(config, path, content=text))
    notebook = Path(config.docs_dir) / "notebook.ipynb"
    content = notebook_page(json.loads(notebook.read_text(encoding="utf-8")))
    files.append(File.generated(config, "notebook.md", content=content))
    return files


def notebook_page(notebook: dict[str, Any]) -> str:
    """An executed notebook as Markdown: its texts, its code, and what that gave."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [_output(output) for output in cell.get("outputs", ())]
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "text/html" in data:
        text = re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.DOTALL)
        # On one line: in Markdown a blank one would end the HTML.
        return f'<div class="output" style="overflow-x: auto">{" ".join(text.split())}</div>'
    text = "".join(data.get("text/plain", output.get("text", "")))
    return f'<div class="output"><pre>{html.escape(text)}</pre></div>'
