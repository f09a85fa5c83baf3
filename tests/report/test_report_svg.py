"""Processes that render charts: the same SVG as in this one, and failures that cost one chart."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import altair as alt
import pytest
import vl_convert

from haplobench.report.figures import render_chart
from haplobench.report.style import FigureStyle, theme
from haplobench.report.svg import Renderer, annotate, clean, pairs, render_spec, renderer, size

pytest.importorskip("vl_convert")


LABELS = ("chain", "network")


def spec(mark: str, values: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "mark": mark,
        "data": {"values": values},
        "encoding": {
            "x": {"field": "x", "type": "quantitative"},
            "y": {"field": "y", "type": "quantitative"},
            "color": {"field": "g", "type": "nominal"},
        },
    }


POINTS = [{"x": x, "y": x * x, "g": LABELS[x % 2]} for x in range(8)]


def test_a_process_renders_as_this_one_does() -> None:
    specs = [spec(mark, POINTS) for mark in ("line", "point", "area")] * 2
    with renderer(early=True) as processes:
        work = [processes.submit(one, LABELS) for one in specs]
        assert [one.result() for one in work] == [render_spec(one, LABELS) for one in specs]
        assert 1 <= len(processes.processes) <= 3
    assert all(process.poll() == 0 for process in processes.processes)


def test_a_chart_that_fails_costs_itself_alone() -> None:
    with renderer() as processes:
        bad = processes.submit({"mark": "no such mark"}, LABELS)
        good = processes.submit(spec("line", POINTS), LABELS)
        with pytest.raises(ValueError, match="conversion failed"):
            bad.result()
        assert "<svg" in good.result()


def test_a_process_that_dies_is_told() -> None:
    made = Renderer(1)
    made.idle.put(made._start())
    made.processes[0].kill()
    made.processes[0].wait()
    with pytest.raises((ValueError, BrokenPipeError)):
        made.submit(spec("line", POINTS), LABELS).result()
    made.threads.shutdown()


MARK_LABELS = ("vae", "markov", "not drawn")
STYLE = FigureStyle(order=MARK_LABELS)
ROWS = [
    {"x": x, "y": y, "g": g, "high": y + 0.1}
    for g, ys in (("vae", (0.1234567, 0.2, 0.3)), ("markov", (0.3, 0.25, 0.1)))
    for x, y in zip((1, 10, 100), ys, strict=True)
]


def marks(chart: alt.Chart | alt.LayerChart | alt.FacetChart) -> list[ElementTree.Element]:
    svg = clean(render_chart(chart, STYLE), interactive=True)
    return [element for element in ElementTree.fromstring(svg).iter() if "data-t" in element.attrib]


def base() -> alt.Chart:
    return alt.Chart(alt.Data(values=ROWS)).encode(  # type: ignore[no-untyped-call]
        x=alt.X("x:Q", scale=alt.Scale(type="log"), title="Distance"),
        y=alt.Y("y:Q", title="Mean r²"),
        color=alt.Color("g:N", title="Generator"),
    )


def test_lines_carry_every_point_of_their_generator() -> None:
    found = {mark.get("data-s"): mark for mark in marks(base().mark_line())}
    assert set(found) == {"0", "1"}
    assert found["0"].get("data-t") == "Generator: vae"
    assert found["0"].get("data-k") == "Distance|Mean r²"
    assert found["0"].get("data-v") == "1|0.1235;10|0.2;100|0.3"
    assert found["1"].get("data-v") == "1|0.3;10|0.25;100|0.1"
    numbers = re.findall(r"-?[\d.]+", found["0"].get("d", ""))
    assert len(numbers) == 6


def test_points_bars_and_areas() -> None:
    points = marks(base().mark_point())
    assert len(points) == 6
    assert points[0].get("data-t") == "Distance: 1\nMean r²: 0.1235\nGenerator: vae"
    assert [p.get("data-s") for p in points] == ["0"] * 3 + ["1"] * 3
    areas = marks(base().mark_area(opacity=0.3).encode(y2="high:Q"))
    assert [area.get("data-v", "").count(";") for area in areas] == [2, 2]
    assert areas[0].get("data-k") == "Distance|Mean r²|high"


def test_facets_lines_with_gaps_and_curves() -> None:
    panels = base().mark_line().properties(width=50, height=50).facet("g:N")
    assert [m.get("data-v", "")[:8] for m in marks(panels)] in (
        ["1|0.1235", "1|0.3;10"],
        ["1|0.3;10", "1|0.1235"],
    )
    # A curve's path has control points: nothing says which are data.
    curved = marks(base().mark_line(interpolate="monotone"))
    assert [mark.get("data-v") for mark in curved] == [None, None]
    assert curved[0].get("data-s") == "0"


def test_headers_and_legends_of_generators_are_marked() -> None:
    svg = render_chart(base().mark_point().properties(width=50).facet("g:N"), STYLE)
    texts = [e for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("text")]
    marked = {e.text: e.get("data-s") for e in texts if e.get("data-s") is not None}
    assert marked == {"vae": "0", "markov": "1"}


def test_descriptions_without_pictures_and_digits() -> None:
    text = "picture: data:image/png;base64,AAAA; r2: 0.123456789; name: a: b; empty: ; n: 12,345"
    assert pairs(text) == (("r2", "0.1235"), ("name", "a: b"), ("n", "12,345"))
    assert pairs("x: −0.333333333; y: 123456.789") == (("x", "-0.3333"), ("y", "123456.789"))


def test_files_of_their_own_carry_none_of_it() -> None:
    svg = render_chart(base().mark_line(), STYLE)
    assert "data-v" in svg
    assert "data-" not in clean(svg)


def test_points_that_do_not_fit_their_line_say_less_not_wrong() -> None:
    points = ("x: 1; g: vae", "x: 2; g: vae", "x: 3; g: vae")
    told = "".join(f'<path aria-label="{text}" d="M0,0"/>' for text in points)
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg"><g class="mark-line role-mark">'
        '<path d="M0,0L1,1"/></g>'
        f'<g class="mark-symbol role-mark told-of-points-0">{told}</g></svg>'
    )
    (path,) = (
        e for e in ElementTree.fromstring(annotate(svg, MARK_LABELS)).iter() if "d" in e.attrib
    )
    assert path.get("data-v") is None
    assert (path.get("data-s"), path.get("data-t")) == ("0", "g: vae")


def test_points_of_a_line_are_those_that_vega_draws_in_its_order() -> None:
    rows = [{"x": x, "y": y, "g": "vae"} for x, y in ((3, 9), (1, 1), (6, None), (2, 4), (5, 25))]
    plot = alt.Chart(alt.Data(values=rows)).encode(x="x:Q", y="y:Q", detail="g:N")  # type: ignore[no-untyped-call]
    for chart in (plot.mark_line(), plot.mark_area(), plot.mark_line().facet("g:N")):
        spec = chart.to_dict() | {"config": theme(STYLE)}
        (line,) = marks(chart)
        scene = vl_convert.vegalite_to_scenegraph(spec)["scenegraph"]
        (drawn,) = (one for one in groups(scene) if one.get("marktype") in ("line", "area"))
        points = [dict(pairs(item["description"])) for item in drawn["items"] if item["defined"]]
        assert line.get("data-v") == ";".join(f"{point['x']}|{point['y']}" for point in points)
        # What the points say takes no room.
        assert size(render_chart(chart, STYLE)) == size(vl_convert.vegalite_to_svg(spec))


def groups(scene: Any) -> list[Any]:
    """All of a scene graph's marks."""
    return [scene, *(one for item in scene.get("items", ()) for one in groups(item))]


@pytest.mark.parametrize("n", [24, 60])
def test_colours_of_many_generators_stay_apart(n: int) -> None:
    style = FigureStyle(order=tuple(f"g{i}" for i in range(n)))
    looks = {(style.colour(g), style.dash(g), style.shape(g)) for g in style.order}
    assert len(looks) == n
    assert len({style.colour(g) for g in style.order[:24]}) == 24
