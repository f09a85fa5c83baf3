"""SVG of a chart, made small and safe to place many of in one page."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from haplobench.report.style import FONT, INK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_HREFS = ("href", f"{{{_XLINK}}}href")
_DROPPED_TAGS = {"script", "foreignObject", "metadata", "style"}
_DROPPED = {"role", "class", "pointer-events", "version", "font-family", "cursor"}
_DEFAULTS = {("opacity", "1"), ("stroke-width", "1"), ("stroke-miterlimit", "10")}
_BLACK = {"#000", "#000000", "black", INK}
_EMPTY_PATHS = {"", "M0,0h0v0h0Z"}
_DECIMALS = re.compile(r"-?\d+\.\d{3,}(?:e-?\d+)?")
_REFERENCE = re.compile(r"url\((['\"]?)#([^)'\"]+)\1\)")


def clean(
    svg: str, *, prefix: str = "", ink: str = INK, label: str = "", interactive: bool = False
) -> str:
    """A chart's SVG, without what a page doesn't need.

    Parameters
    ----------
    svg : str
        As Vega writes it.
    prefix : str
        Put before every id, so that figures of one page don't clip each other.
    ink : str
        Colour of text: `currentColor` inside a page, a grey that suits both light and dark
        in a file of its own.
    label : str
        Accessible name; with it, the figure is one image to a screen reader.
    interactive : bool
        Keep what the page's script reads (see `marks`).
    """
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(svg)
    if not interactive:
        for element in root.iter():
            for key in [key for key in element.attrib if key.startswith("data-")]:
                del element.attrib[key]
    _prune(root)
    for element in root.iter():
        _tidy(element, prefix, ink)
    root.set("font-family", FONT)
    root.set("role", "img")
    if label:
        root.set("aria-label", label)
    return ElementTree.tostring(root, encoding="unicode")


def size(svg: str) -> tuple[float, float]:
    """Width and height of an SVG in pixels; (0, 0) where it doesn't say."""
    head = svg[: svg.find(">")]
    found = re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"', head)
    return (float(found[1]), float(found[2])) if found else (0.0, 0.0)


def to_png(svg: str, scale: float = 2.0) -> bytes:
    """Rasterise an SVG on a transparent ground, with at most 256 colours (charts are flat)."""
    import io

    import numpy as np
    from PIL import Image

    # The renderer clips translucent colours, so alpha is found from the same picture on white
    # and on black.
    white, black = (_render(svg, ground, scale) for ground in ("#ffffff", "#000000"))
    alpha = np.clip(255.0 - (white - black).mean(axis=2), 0, 255)
    colour = black * (255.0 / np.maximum(alpha, 1.0))[..., None]
    pixels = np.dstack([np.clip(colour, 0, 255), alpha]).round().astype(np.uint8)
    image = Image.fromarray(pixels, "RGBA").quantize(256, method=Image.Quantize.FASTOCTREE)
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _render(svg: str, ground: str, scale: float) -> NDArray[np.float64]:
    """Pixels (height, width, 3) of an SVG on an opaque ground, 0-255."""
    import io

    import numpy as np
    import vl_convert
    from PIL import Image

    head = svg.index(">") + 1
    filled = f'{svg[:head]}<rect width="100%" height="100%" fill="{ground}"/>{svg[head:]}'
    image = Image.open(io.BytesIO(vl_convert.svg_to_png(filled, scale=scale)))
    return np.asarray(image.convert("RGB"), np.float64)


def _prune(parent: ElementTree.Element) -> None:
    """Drop invisible elements, and groups that only wrap others."""
    kept: list[ElementTree.Element] = []
    for child in parent:
        tag = child.tag.rpartition("}")[2]
        invisible = child.get("display") == "none" or (
            tag == "path" and child.get("d", "").strip() in _EMPTY_PATHS
        )
        if tag in _DROPPED_TAGS or invisible:
            continue
        _prune(child)
        if tag == "g" and not len(child):
            continue
        if tag == "g" and not any(_kept(key, value) for key, value in child.attrib.items()):
            kept.extend(child)
        else:
            kept.append(child)
    parent[:] = kept


def _kept(key: str, value: str) -> bool:
    return not (key in _DROPPED or key.startswith(("aria-", "on")) or (key, value) in _DEFAULTS)


def _tidy(element: ElementTree.Element, prefix: str, ink: str) -> None:
    for key, value in list(element.attrib.items()):
        if not _kept(key, value):
            del element.attrib[key]
            continue
        if key in _HREFS:
            if value.startswith("#"):
                element.set(key, f"#{prefix}{value[1:]}")
            elif not value.startswith("data:image/"):
                del element.attrib[key]  # nothing in a report may load from elsewhere
            continue
        if key == "id":
            element.set(key, prefix + value)
        elif key in ("fill", "stroke") and value.lower() in _BLACK:
            element.set(key, ink)
        elif "url(" in value and not key.startswith("data-"):
            element.set(key, _REFERENCE.sub(rf"url(#{prefix}\2)", value))
        elif "." in value and key not in ("viewBox", "font-family") and key[:5] != "data-":
            digits = 5 if "matrix" in value or "scale" in value else 2
            element.set(key, _DECIMALS.sub(partial(_shorter, digits=digits), value))


def _shorter(number: re.Match[str], digits: int) -> str:
    text = f"{float(number[0]):.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
