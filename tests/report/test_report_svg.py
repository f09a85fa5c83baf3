"""Processes that render charts: the same SVG as in this one, and failures that cost one chart."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("vl_convert")

from haplobench.report.svg import Renderer, render_spec, renderer

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
