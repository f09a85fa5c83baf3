"""Writing a comparison in the forms asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from haplobench.comparison import exchange
from haplobench.comparison.markdown import render_markdown
from haplobench.errors import BenchError
from haplobench.files import write_whole

if TYPE_CHECKING:
    from haplobench.comparison.model import Comparison

FILES = {
    "md": "comparison.md",
    "junit": "comparison.xml",
    "github-smaller": "github-smaller.json",
    "github-bigger": "github-bigger.json",
    "bencher": "bencher.json",
    "json": "comparison.json",
    "html": "comparison.html",
}
"""Formats, and the file of each in a folder."""


def render(comparison: Comparison, form: str, *, everything: bool = False) -> str:
    """The text of a comparison in one of `FILES`' formats; BenchError if it is none of them."""
    if form == "md":
        return render_markdown(comparison, everything=everything)
    if form == "junit":
        return exchange.render_junit(comparison)
    if form == "github-smaller":
        return exchange.render_github(comparison, "smaller")
    if form == "github-bigger":
        return exchange.render_github(comparison, "bigger")
    if form == "bencher":
        return exchange.render_bencher(comparison)
    if form == "json":
        return exchange.render_json(comparison)
    if form == "html":
        from haplobench.report import render_comparison

        return render_comparison(comparison)
    raise BenchError(f"no format {form!r}", hint=f"one of {', '.join(FILES)}")


def write_comparison(
    comparison: Comparison, to: Path, forms: tuple[str, ...], *, everything: bool = False
) -> list[Path]:
    """Write each format into a file, whole or not at all.

    `to` is a file where it has a suffix and one format is asked for, else a folder.
    """
    single = len(forms) == 1 and bool(to.suffix) and not to.is_dir()
    written = []
    for form in forms:
        path = to if single else to / FILES[form]
        text = render(comparison, form, everything=everything)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
        written.append(path)
    return written
