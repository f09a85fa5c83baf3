"""`bench schema`: the JSON Schema of suites."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from haplobench.cli.output import echo


def schema(
    to: Annotated[
        Path | None, typer.Option("--to", help="File to write (default: print it).")
    ] = None,
    plugins: Annotated[
        str, typer.Option("--plugins", help="Of these modules only, comma-separated.")
    ] = "",
) -> None:
    """Print the JSON Schema of suites, parameters of all installed plugins included.

    Editors complete and check a suite whose first line is, for a schema written beside it,
    `# yaml-language-server: $schema=suite.schema.json`.
    """
    import json

    from haplobench.registry import load_registry
    from haplobench.suite_json_schema import suite_json_schema

    registry = load_registry(plugins.split(",") if plugins else None)
    text = json.dumps(suite_json_schema(registry), indent=1, ensure_ascii=False) + "\n"
    if to is None:
        echo(text, nl=False)
    else:
        to.write_text(text, encoding="utf-8")
        echo(f"written: {to}")
