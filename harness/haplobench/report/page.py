"""What all pages share: templates, style, one script, and a policy that lets nothing else run."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from haplobench.errors import BenchError

_URL = re.compile(r"(?:https?://|doi:(?=10\.))[^\s<>\"']*[^\s<>\"'.,;:)]")
_SCRIPTS = ("page.js", "figures.js")


def render(template: str, context: Mapping[str, Any]) -> str:
    """A page of a template, with style, script and the script's hash.

    Raises
    ------
    BenchError
        If jinja2 is not installed.
    """
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise BenchError(
            f"the HTML report needs {error.name}", hint="pip install 'haplobench[report]'"
        ) from None
    from haplobench import __version__
    from haplobench.report.view import aim

    folder = resources.files("haplobench.report") / "templates"

    def read(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(read),
    )
    environment.filters["links"] = links
    environment.filters["aim"] = aim
    script = "\n".join(read(name) for name in _SCRIPTS)
    page: str = environment.get_template(template).render(
        {
            **context,
            "css": Markup(read("report.css")),
            "js": Markup(script),
            "script_hash": _hash(script),
            "version": __version__,
        }
    )
    return page


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def links(text: str) -> Any:
    """Text with its web addresses and DOIs as links; everything else escaped."""
    from markupsafe import Markup, escape

    parts, end = [], 0
    for found in _URL.finditer(text):
        url = escape(re.sub("^doi:", "https://doi.org/", found[0]))
        link = Markup(f'<a href="{url}" rel="noopener noreferrer">{escape(found[0])}</a>')
        parts += [escape(text[end : found.start()]), link]
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


def pack(svg: str) -> str:
    """An SVG compressed (gzip, base64), as the page's script unpacks it."""
    return base64.b64encode(gzip.compress(svg.encode(), mtime=0)).decode()
