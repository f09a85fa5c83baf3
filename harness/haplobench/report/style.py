"""FigureStyle: one look for all figures, and one colour per generator everywhere."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import altair

FLOOR_COLOUR = "#808891"
INK = "#6e7782"
"""Text colour of figures; the report puts the page's own text colour in its place."""
RULE = "#8b949e"

# Okabe and Ito's colours, the light ones darkened so that every colour stands out from white and
# from a dark page; then further hues. Colours that a colour-blind reader could take for one
# another always differ in dash and in shape.
PALETTE: tuple[str, ...] = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#dd9500",
    "#4ba9e0",
    "#cc79a7",
    "#c2334d",
    "#7b52c7",
    "#8b5a2b",
    "#44aa99",
    "#999933",
    "#b04fb8",
    "#6c8ebf",
    "#e07b91",
    "#a8763e",
    "#5c7a1f",
    "#3f6183",
    "#9e51ec",
    "#6a2ce8",
    "#ae137b",
    "#684c9e",
    "#22775b",
    "#7c9ec0",
    "#d36969",
)
DASHES: tuple[tuple[int, ...], ...] = ((1, 0), (6, 2), (2, 2), (8, 2, 2, 2), (4, 1))
SHAPES: tuple[str, ...] = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
)
TICKS = (
    "datum.value == 0 ? '0' : abs(datum.value) >= 1e6 ? format(datum.value / 1e6, ',.6~r') + ' M' "
    ": format(datum.value, ',.6~r')"
)
"""Vega's expression of an axis's labels: `0.25`, `10,000`, `3 M`; no powers of ten, no milli."""
FONT = "Arial, Helvetica, 'Liberation Sans', sans-serif"


@dataclass(frozen=True)
class FigureStyle:
    """Colours, dashes, shapes and sizes that all figures of a report share.

    Attributes
    ----------
    order : tuple of str
        Labels of all generators of the run, in the order of tables and legends.
    floor : tuple of str
        Labels of real people sampled as if synthetic: always grey, solid, circles.
    width, height : int
        Pixels of one plotting area; small multiples choose their own.
    legend : str
        Where legends stand: `right` of a plot, or `bottom`, as a narrow column of print has it.
    columns : int or None
        The most small multiples in a row.
    """

    order: tuple[str, ...]
    floor: tuple[str, ...] = ("floor",)
    width: int = 320
    height: int = 220
    legend: Literal["right", "bottom"] = "right"
    columns: int | None = None

    def colour(self, label: str) -> str:
        """Hex colour of a generator (`#rrggbb`), the same in every figure; the floor is grey."""
        return FLOOR_COLOUR if label in self.floor else PALETTE[self._index(label) % len(PALETTE)]

    def dash(self, label: str) -> tuple[int, ...]:
        """Dash pattern of a generator's lines, in pixels on and off; the floor is solid."""
        return DASHES[0] if label in self.floor else DASHES[self._index(label) % len(DASHES)]

    def shape(self, label: str) -> str:
        """Vega name of a generator's point shape; the floor is a circle."""
        return SHAPES[0] if label in self.floor else SHAPES[self._index(label) % len(SHAPES)]

    def sorted(self, labels: Sequence[str]) -> list[str]:
        """Distinct labels, the floor first, then in the order of the run."""
        place = {label: i for i, label in enumerate(self.order)}
        return sorted(
            dict.fromkeys(labels),
            key=lambda label: (label not in self.floor, place.get(label, len(place)), label),
        )

    def scale(self, labels: Sequence[str]) -> altair.Scale:
        """Colour scale of these labels: `alt.Color("generator:N", scale=style.scale(labels))`."""
        return self._scale(labels, self.colour)

    def dash_scale(self, labels: Sequence[str]) -> altair.Scale:
        """Dash scale of these labels, for `alt.StrokeDash`: readable without colour."""
        return self._scale(labels, lambda label: list(self.dash(label)))

    def shape_scale(self, labels: Sequence[str]) -> altair.Scale:
        """Shape scale of these labels, for `alt.Shape`: readable without colour."""
        return self._scale(labels, self.shape)

    def _scale(self, labels: Sequence[str], look: Any) -> altair.Scale:
        import altair

        domain = self.sorted(labels)
        return altair.Scale(domain=domain, range=[look(label) for label in domain])

    def _index(self, label: str) -> int:
        coloured = [name for name in self.order if name not in self.floor]
        if label in coloured:
            return coloured.index(label)
        return zlib.crc32(label.encode())


class _Rows:
    """Rows that altair takes whole: of a list it visits every value, and copies it with a chart."""

    _schema: Mapping[str, Any] = {"type": "array"}

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.rows = tuple(rows)

    def to_dict(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        """As plain values, of numpy's numbers, too."""
        return [
            {key: value.item() if hasattr(value, "item") else value for key, value in row.items()}
            for row in self.rows
        ]


def inline(rows: Iterable[Mapping[str, Any]]) -> altair.Data:
    """A chart's data of rows: numbers and texts by field."""
    import altair

    return altair.Data(values=_Rows(rows))  # type: ignore[no-untyped-call]


def theme(style: FigureStyle) -> Mapping[str, Any]:
    """Vega-Lite `config` of every figure: transparent, sober, legible on white and on dark."""
    text = {"labelColor": INK, "titleColor": INK, "labelFontSize": 10.5, "titleFontSize": 11}
    return {
        "background": "transparent",
        "font": FONT,
        # Where none of these fonts is, labels are a tenth wider than they were taken for.
        "padding": {"left": 12, "top": 4, "right": 8, "bottom": 4},
        "view": {
            "stroke": None,
            "continuousWidth": style.width,
            "continuousHeight": style.height,
            "discreteWidth": style.width,
            "discreteHeight": style.height,
        },
        "title": {
            "color": INK,
            "subtitleColor": INK,
            "fontSize": 12,
            "fontWeight": 600,
            "anchor": "start",
        },
        "axis": {
            **text,
            "titleFontWeight": "normal",
            "domainColor": RULE,
            "tickColor": RULE,
            "tickSize": 4,
            "gridColor": RULE,
            "gridOpacity": 0.22,
            "labelOverlap": "parity",
            "titlePadding": 6,
        },
        "axisX": {"grid": False},
        "legend": {
            **text,
            "titleFontWeight": 600,
            "labelLimit": 220,
            "symbolStrokeWidth": 2,
            "symbolSize": 70,
            "orient": style.legend,
            **({"columns": 3, "direction": "horizontal"} if style.legend == "bottom" else {}),
        },
        "header": {**text, "labelFontWeight": 600},
        "text": {"color": INK},
        "rule": {"color": RULE},
        "line": {"strokeWidth": 1.8},
        "point": {"size": 36, "filled": True},
        "range": {"category": list(PALETTE)},
    }
