"""What a chart's marks say and whose they are, written into its SVG for the page's own script.

Vega describes every mark to screen readers (`Distance (kb): 1; Mean r²: 0.4; generator: vae`), but
of a line only its first point; the others are taken from the scene graph.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

TEXT, SERIES, KEYS, POINTS = "data-t", "data-s", "data-k", "data-v"
"""Attributes: what a mark says; index of its generator; names and values of a line's points."""

_LONGEST = 80
_PATHS = {"line", "area"}
_STRAIGHT = re.compile(r"[MLZ\d.,eE\s+-]*")
_NUMBER = re.compile(r"-?\d*\.?\d+(?:e[-+]?\d+)?")

Pairs = tuple[tuple[str, str], ...]


def annotate(svg: str, scene: Mapping[str, Any], labels: Sequence[str]) -> str:
    """Write into an SVG what its marks say.

    Parameters
    ----------
    svg : str
        As Vega writes it.
    scene : mapping
        The scene graph of the same chart, for the points of its lines.
    labels : sequence of str
        Generators: a mark that names one gets its index as `data-s`, as does a text that is one.
    """
    root = ElementTree.fromstring(svg)
    places = {label: i for i, label in enumerate(labels)}
    lines: dict[tuple[str, str], deque[list[Pairs]]] = defaultdict(deque)
    for kind, items in _scene_marks(scene):
        if kind in _PATHS and items:
            lines[kind, items[0]].append([pairs(text) for text in items])
    for group in root.iter():
        classes = group.get("class", "").split()
        if "role-mark" in classes:
            kind = classes[0].removeprefix("mark-")
            for mark in group:
                _describe(mark, kind, lines, places)
        elif group.text in places and group.tag.endswith("text"):
            group.set(SERIES, str(places[group.text]))
    return ElementTree.tostring(root, encoding="unicode")


def pairs(description: str) -> Pairs:
    """Names and values of a description, without pictures, empty values and endless digits."""
    found = []
    for part in description.split("; "):
        name, separator, value = part.partition(": ")
        if separator and value and len(value) <= _LONGEST and not value.startswith("data:"):
            found.append((name, _shorter(value)))
    return tuple(dict.fromkeys(found))


def _shorter(value: str) -> str:
    try:
        number = float(value.replace("−", "-"))
    except ValueError:
        return value
    text = f"{number:.4g}"
    return value if len(value) <= len(text) or abs(number) >= 1e4 else text


def _describe(
    mark: ElementTree.Element,
    kind: str,
    lines: Mapping[tuple[str, str], deque[list[Pairs]]],
    places: Mapping[str, int],
) -> None:
    description = mark.get("aria-label")
    if not description:
        return
    said = pairs(description)
    waiting = lines.get((kind, description))
    points = waiting.popleft() if waiting else []
    same: Pairs = said
    if kind in _PATHS:
        same = tuple(pair for pair in said if all(pair in point for point in points))
    series = next((places[value] for _, value in same if value in places), None)
    if series is not None:
        mark.set(SERIES, str(series))
    if kind in _PATHS:
        _add_points(mark, kind, points, same)
    elif not said:
        return
    mark.set(TEXT, "\n".join(f"{name}: {value}" for name, value in same))


def _add_points(mark: ElementTree.Element, kind: str, points: Sequence[Pairs], same: Pairs) -> None:
    """Names and values that differ along a line; nothing where the path is curved or broken."""
    keys = [name for name, _ in points[0] if name not in dict(same)] if points else []
    path = mark.get("d", "")
    drawn = len(_NUMBER.findall(path)) // 2
    expected = len(points) * (2 if kind == "area" else 1)
    if not keys or drawn != expected or not _STRAIGHT.fullmatch(path) or path.count("M") > 1:
        return
    mark.set(KEYS, "|".join(keys))
    mark.set(POINTS, ";".join("|".join(dict(p).get(k, "") for k in keys) for p in points))


def _scene_marks(scene: Any) -> Iterator[tuple[str, list[str]]]:
    """(kind, descriptions of its items) of all marks of a scene graph, outermost first."""
    if not isinstance(scene, Mapping):
        return
    items = scene.get("items") or []
    if "marktype" in scene and scene["marktype"] != "group":
        texts = [str(item.get("description", "")) for item in items if item.get("defined", True)]
        yield str(scene["marktype"]), texts
    for item in items:
        yield from _scene_marks(item)
