"""Charts to SVG in processes of their own, while the next charts are made.

vl-convert holds Python's lock while it renders, so threads would gain nothing. A process reads a
chart a line (JSON: Vega-Lite, the generators' labels) and writes its SVG, or what went wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import IO, Any

from haplobench.report.svg import annotate, tell_points

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
        command = [sys.executable, "-m", "haplobench.report.renderer"]
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
