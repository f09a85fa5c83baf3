"""SVG of a chart, made small and safe to place many of in one page.

Charts are rendered in processes of their own, while the next charts are made: vl-convert holds
Python's lock while it renders, so threads would gain nothing. A process (this module, run) reads a
chart a line (JSON: Vega-Lite, the generators' labels) and writes its SVG, or what went wrong.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import itertools
import json
import math
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from typing import IO, TYPE_CHECKING, Any
from xml.etree import ElementTree

from haplobench.report.style import FONT, INK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


TEXT, SERIES, KEYS, POINTS = "data-t", "data-s", "data-k", "data-v"
"""Attributes: what a mark says; index of its generator; names and values of a line's points."""
TABLE = "data-csv"
"""Attribute of a whole chart of pictures: its numbers as CSV, packed."""

_LONGEST = 80
_CLOUD = 40  # points from which on they are drawn as one mark
_LOOKS = ("d", "fill", "opacity", "fill-opacity")
_DOT = re.compile(r"M([\d.]+),0A\1,\1,0,1,1,-\1,0A\1,\1,0,1,1,\1,0$")
_PLACE = re.compile(r"translate\((-?[\d.]+(?:e-?\d+)?),\s*(-?[\d.]+(?:e-?\d+)?)\)")
_PATHS = {"line", "area"}
_TOLD = "told-of-points"  # their names in a chart
_STRAIGHT = re.compile(r"[MLZ\d.,eE\s+-]*")
_NUMBER = re.compile(r"-?\d*\.?\d+(?:e[-+]?\d+)?")

Pairs = tuple[tuple[str, str], ...]


def pack(text: str) -> str:
    """A text compressed (gzip, base64), as the page's script unpacks it."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def tell_points(group: dict[str, Any], count: Iterator[int] | None = None) -> None:
    """Have a Vega chart draw what the points of its lines say, for `annotate`, as dots of no size.

    A line is described by its first point alone; its own description moves to its points'.
    """
    count = count or itertools.count()
    marks = []
    for mark in group.get("marks", ()):
        tell_points(mark, count)
        marks.append(mark)
        look = mark.get("encode", {}).get("update", {})
        if mark["type"] not in _PATHS or "description" not in look:
            continue
        dot = {key: look[key] for key in ("description", "x", "y") if key in look}
        del look["description"]
        if defined := look.get("defined"):
            absent = {"test": f"!({defined['signal']})", "value": None}
            dot = {key: [absent, *_rules(value)] for key, value in dot.items()}
        marks.append(
            {key: mark[key] for key in ("from", "sort", "clip") if key in mark}
            | {"type": "symbol", "name": f"{_TOLD}-{next(count)}"}
            | {"encode": {"update": dot | {"size": {"value": 0}}}}
        )
    if marks:
        group["marks"] = marks


def _rules(value: Any) -> list[Any]:
    """What a property of a mark is, case by case."""
    return value if isinstance(value, list) else [value]


def annotate(svg: str, labels: Sequence[str], table: str = "") -> str:
    """Write into an SVG what its marks say; clouds of points become one mark each.

    Parameters
    ----------
    svg : str
        As Vega writes it, of a chart that `tell_points` has seen.
    labels : sequence of str
        Generators: a mark that names one gets its index as `data-s`, as does a text that is one.
    table : str
        Numbers of a chart of pictures, as CSV.
    """
    root = ElementTree.fromstring(svg)
    if table:
        root.set(TABLE, pack(table))
    places = {label: i for i, label in enumerate(labels)}
    for parent in root.iter():
        if parent.text in places and parent.tag.endswith("text"):
            parent.set(SERIES, str(places[parent.text]))
        before: ElementTree.Element | None = None
        for group in list(parent):
            classes = group.get("class", "").split()
            if "role-mark" in classes:
                kind = classes[0].removeprefix("mark-")
                if before is not None and classes[-1].startswith(_TOLD):
                    _describe_path(before, group, places)
                    parent.remove(group)
                elif kind not in _PATHS:
                    for mark in group:
                        _describe(mark, places)
                    if kind == "symbol" and len(group) >= _CLOUD:
                        _gather(group)
            before = group
        _lift_axes(parent)
    return ElementTree.tostring(root, encoding="unicode")


def _gather(group: ElementTree.Element) -> None:
    """Dots that look alike, and are of one generator, as one path: a fifth of the bytes.

    A closed line of no length with a round cap is a dot.
    """
    alike: dict[tuple[str, ...], list[ElementTree.Element]] = defaultdict(list)
    for mark in group:
        if not _DOT.match(mark.get("d", "")) or not _PLACE.fullmatch(mark.get("transform", "")):
            return
        alike[tuple(mark.get(key, "") for key in (*_LOOKS, SERIES))].append(mark)
    group[:] = []
    for (shape, fill, *shown, series), marks in alike.items():
        path = ElementTree.SubElement(group, f"{{{_SVG}}}path")
        places = [(round(x, 1), round(y, 1)) for x, y in map(_place, marks)]
        path.set("d", "".join(f"M{x:g},{y:g}z" for x, y in places))
        path.set("stroke", fill)
        path.set("stroke-width", f"{2 * float(_DOT.match(shape)[1]):.3g}")  # type: ignore[index]
        path.set("stroke-linecap", "round")
        path.set("fill", "none")
        opacity = math.prod(float(text) for text in shown if text)
        path.set("opacity", f"{opacity:.3g}")
        if series:
            path.set(SERIES, series)
        said = [_told(mark) for mark in marks]
        same = [pair for pair in said[0] if all(pair in other for other in said)]
        path.set(TEXT, "\n".join(f"{name}: {value}" for name, value in same))
        keys = [name for name, _ in said[0] if name not in dict(same)]
        if keys:
            path.set(KEYS, "|".join(keys))
            values = ["|".join(dict(own).get(key, "") for key in keys) for own in said]
            path.set(POINTS, ";".join(values))


def _told(mark: ElementTree.Element) -> Pairs:
    lines = [line.partition(": ") for line in mark.get(TEXT, "").splitlines()]
    return tuple((name, value) for name, _, value in lines)


def _lift_axes(group: ElementTree.Element) -> None:
    """Put axes under the last panel of their column, where small multiples leave a row unfilled."""
    cells: list[tuple[float, float]] = []
    for part in group:
        if part.get("class", "").endswith("role-scope cell"):
            cells += [_place(item) for item in part]
    rows, columns = (sorted({place[axis] for place in cells}) for axis in (1, 0))
    missing = len(rows) * len(columns) - len(cells)
    if len(rows) < 2 or not missing:
        return
    for part in group:
        if "column_footer" in part.get("class", ""):
            for item in list(part)[-missing:]:
                x, y = _place(item)
                item.set("transform", f"translate({x:g},{y - rows[-1] + rows[-2]:g})")


def _place(item: ElementTree.Element) -> tuple[float, float]:
    found = _PLACE.fullmatch(item.get("transform", ""))
    return (float(found[1]), float(found[2])) if found else (0.0, 0.0)


def pairs(description: str) -> Pairs:
    """Names and values of a description, without pictures, empty values and endless digits."""
    found = []
    for part in description.split("; "):
        name, separator, value = part.partition(": ")
        if separator and value and len(value) <= _LONGEST and not value.startswith("data:"):
            found.append((name, _short_number(value)))
    return tuple(dict.fromkeys(found))


def _short_number(value: str) -> str:
    try:
        number = float(value.replace("−", "-"))
    except ValueError:
        return value
    text = f"{number:.4g}"
    return value if len(value) <= len(text) or abs(number) >= 1e4 else text


def _describe(mark: ElementTree.Element, places: Mapping[str, int]) -> None:
    """What a mark says, and whose it is."""
    said = pairs(mark.get("aria-label", ""))
    if said:
        _tell(mark, said, places)


def _tell(mark: ElementTree.Element, said: Pairs, places: Mapping[str, int]) -> None:
    series = next((places[value] for _, value in said if value in places), None)
    if series is not None:
        mark.set(SERIES, str(series))
    mark.set(TEXT, "\n".join(f"{name}: {value}" for name, value in said))


def _describe_path(
    line: ElementTree.Element, told: ElementTree.Element, places: Mapping[str, int]
) -> None:
    """What all points of a line (or area) say, and names and values that differ along it.

    The latter are left out where the path is curved or broken: nothing says which are points.
    """
    points = [pairs(text) for item in told if (text := item.get("aria-label"))]
    if not points:
        return
    same = tuple(pair for pair in points[0] if all(pair in point for point in points))
    keys = [name for name, _ in points[0] if name not in dict(same)]
    values = ";".join("|".join(dict(point).get(key, "") for key in keys) for point in points)
    expected = len(points) * (2 if line.get("class", "").startswith("mark-area") else 1)
    for mark in line:
        path = mark.get("d", "")
        straight = _STRAIGHT.fullmatch(path) and path.count("M") <= 1
        _tell(mark, same, places)
        if keys and straight and len(_NUMBER.findall(path)) // 2 == expected:
            mark.set(KEYS, "|".join(keys))
            mark.set(POINTS, values)


_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", _XLINK)
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


def to_pdf(svg: str, points: float) -> tuple[bytes, float]:
    """A cleaned SVG as a PDF of a width with its fonts inside, and its smallest text in points.

    A pixel is .75 points; what is wider than the page is made smaller, and what is narrower stands
    in its middle.
    """
    import vl_convert

    width, height = size(svg)
    scale = min(0.75, points / width)
    sizes = [float(text) for text in re.findall(r'font-size="([\d.]+)', svg)]
    page = points / scale
    box = f'viewBox="{(width - page) / 2:.2f} 0 {page:.2f} {height:g}"'
    end = svg.index(">")
    head = re.sub(r' (?:width|height|viewBox)="[^"]*"', "", svg[:end])
    whole = f'{head} width="{points:.2f}" height="{height * scale:.2f}" {box}{svg[end:]}'
    return vl_convert.svg_to_pdf(whole), scale * min(sizes, default=12.0)


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


_MOST = 3


def render_spec(spec: dict[str, Any], labels: Sequence[str]) -> str:
    """SVG of a chart as Vega-Lite, its marks annotated (see `svg.annotate`)."""
    import vl_convert

    vega = vl_convert.vegalite_to_vega(spec)
    tell_points(vega)
    # What the chart names by address is refused, so that a page loads nothing.
    svg = vl_convert.vega_to_svg(vega, allowed_base_urls=[])
    table = (spec.get("usermeta") or {}).get("csv", "")
    return annotate(svg, labels, table)


class Renderer:
    """Processes that render; see `renderer`."""

    def __init__(self, count: int) -> None:
        self.threads = ThreadPoolExecutor(count)
        self.idle: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
        self.processes: list[subprocess.Popen[str]] = []

    def _process(self) -> subprocess.Popen[str]:
        """An idle one, or another: there are no more than threads."""
        with contextlib.suppress(Empty):
            return self.idle.get_nowait()
        return self._start()

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "haplobench.report.svg"]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self.processes.append(process)
        return process

    def submit(self, spec: dict[str, Any], labels: Sequence[str]) -> Future[str]:
        """A chart's SVG to come; the future raises what rendering it raises, as ValueError."""
        return self.threads.submit(self._ask, json.dumps([spec, list(labels)]))

    def _ask(self, line: str) -> str:
        process = self._process()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(line + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        finally:
            self.idle.put(process)
        if not answer:
            raise ValueError("the process that renders it died")
        svg, error = json.loads(answer)
        if error:
            raise ValueError(error)
        return str(svg)


@contextlib.contextmanager
def renderer(*, early: bool = False) -> Iterator[Renderer]:
    """A process for each core but the caller's, three at most; `early`: begun before any chart."""
    count = max(1, min(_MOST, (os.cpu_count() or 1) - 1))
    made = Renderer(count)
    for _ in range(count if early else 0):
        made.idle.put(made._start())
    try:
        yield made
    finally:
        made.threads.shutdown()
        for process in made.processes:
            process.communicate()


def serve(asked: IO[str], answers: IO[str]) -> None:
    """Render charts until there are no more."""
    import vl_convert

    vl_convert.vegalite_to_vega({"mark": "point"})  # it takes its time to start: not the first's
    for line in asked:
        spec, labels = json.loads(line)
        try:
            answer = [render_spec(spec, labels), ""]
        except Exception as error:  # whatever the conversion of a plugin's chart raises
            answer = ["", f"{type(error).__name__}: {error}"]
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    with open(0, encoding="utf-8") as asked, open(1, "w", encoding="utf-8") as answers:
        serve(asked, answers)
