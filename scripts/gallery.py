"""Write docs/results/: a page, a table and a few figures for each run, an index, papers' claims.

    make gallery RUNS="results/1kg/RUN privacy"

A run replaces the page of its suite; the pages of other suites stay. Index and claims are made
anew from the tables of all pages, so that every number on them is one of a run's.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from haplobench.errors import BenchError
from haplobench.files import write_whole
from haplobench.references import references
from haplobench.report import facts
from haplobench.report.exchange import tidy_rows
from haplobench.report.figures import Figure, draw_all
from haplobench.report.formatting import format_value
from haplobench.report.leaderboard import Leaderboard, by_rank, leaderboards
from haplobench.report.markdown import render_markdown, text
from haplobench.report.model import Summary
from haplobench.report.privacy_claims import draw_claims
from haplobench.report.renderer import renderer
from haplobench.report.summary import select, summarise
from haplobench.report.svg import clean, to_png
from haplobench.results.records import FLOOR
from haplobench.results.run_folder import resolve_run
from haplobench.results.table import load_run
from haplobench.scaling.figures import draw_scaling

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "results"
FIGURES = ("claims", "scaling", "leaderboard/distance", "ld-decay/decay", "copied-tracts",
           "imputation/imputation-by-maf")  # fmt: skip
"""What a page shows, as METRIC or METRIC/NAME: the first that the run has."""
MOST_FIGURES, MOST_OF_A_KIND, LARGEST = 5, 2, 60_000
"""Figures of a page, those of one metric, and the bytes of one."""
COLUMNS = ("dataset", "generator", "role", "metric", "submetric", "labels", "value", "spread",
           "low", "high", "place")  # fmt: skip
"""Columns of a page's table. Of the floor: median, and 5 and 95 % quantiles of its draws."""
SHOWN = ("Command", "Code: sha", "Started", "From start to end", "Hardware: cpu",
         "Hardware: cores", "Hardware: gpus", "Cells")  # fmt: skip
"""Facts of a run that the index repeats, as its page names them."""
_PATH = re.compile(r"(?<![\w.:/~<…-])/(?:[\w.@+\\-]+/)+")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages of the runs named, then index and claims."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", help="run folders, or suites' names for newest runs")
    parser.add_argument("--suites", type=str.split, required=True, help="who is to have a page")
    parser.add_argument("--out", type=Path, default=Path("results"), help="where runs are")
    parser.add_argument("--to", type=Path, default=PAGES, help="the folder of the pages")
    args = parser.parse_args(arguments)
    try:
        for run in args.runs:
            print(write_page(resolve_run(run, args.out), args.to))
        for path in write_overviews(args.to, args.suites):
            print(path)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def write_page(run: Path, to: Path) -> Path:
    """Write a run's page, `SUITE.md`, and its figures, `numbers.csv` and `run.json` in `SUITE/`.

    Raises BenchError if the folder holds no run, or one that isn't finished.
    """
    summary = summarise(load_run(run))
    info = summary.run.info
    if not info.get("finished"):
        raise BenchError(f"{run}: the run isn't finished", hint="`bench run` again goes on with it")
    boards = leaderboards(summary)
    suite = str(info["suite"])
    folder = to / suite
    shutil.rmtree(folder, ignore_errors=True)
    figures = _figures(summary, boards)
    links = {}
    for figure in figures:
        name, content = _picture(figure)
        write_whole(folder / name, content)
        links[figure.file] = f"{suite}/{name}"
    page = to / f"{suite}.md"
    write_whole(page, impersonal(render_markdown(summary, figures, (), boards, links)))
    write_whole(folder / "numbers.csv", render_numbers(by_rank(summary, boards)))
    told = {"Title": str(info.get("title") or suite), "Command": str(info.get("command") or "")}
    told |= dict(facts.run_facts(summary))
    write_whole(folder / "run.json", impersonal(json.dumps(told, ensure_ascii=False, indent=1)))
    return page


def impersonal(page: str) -> str:
    """A page without the folders of the machine that it was made on: `…/` in their place."""
    return _PATH.sub("…/", page)


def _figures(summary: Summary, boards: Sequence[Leaderboard]) -> list[Figure]:
    """The few figures of a page, of the first datasets, in the order of `FIGURES`."""
    with renderer() as processes:
        drawn, _ = draw_all(summary.run, boards, processes)
    drawn = [*draw_claims(summary), *draw_scaling(summary.run), *drawn]
    chosen: list[Figure] = []
    for wanted in FIGURES:
        kind = [f for f in drawn if wanted in (f.metric, f"{f.metric}/{f.name}")]
        chosen += kind[:MOST_OF_A_KIND]
    return chosen[:MOST_FIGURES]


def _picture(figure: Figure) -> tuple[str, str | bytes]:
    """A figure's file name and content: SVG, or PNG where that is too large."""
    name = figure.file.replace("/", "-")
    svg = clean(figure.svg, label=figure.title)
    if len(svg.encode()) <= LARGEST:
        return f"{name}.svg", svg
    for scale in (2.0, 1.5, 1.0):
        png = to_png(clean(figure.svg), scale)
        if len(png) <= LARGEST:
            return f"{name}.png", png
    raise BenchError(f"{figure.file}: {len(png):,} bytes as PNG, at most {LARGEST:,} are committed")


def render_numbers(summary: Summary) -> str:
    """The numbers of the main tables as CSV, see `COLUMNS`, to six significant digits."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in tidy_rows(select(summary)):
        if row["role"] == FLOOR and row["floor_median"] is not None:
            row |= {"value": row["floor_median"], "spread": None}
            row |= {"low": row["floor_p5"], "high": row["floor_p95"]}
        if row["value"] is not None:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return stream.getvalue()


def write_overviews(to: Path, suites: Sequence[str]) -> list[Path]:
    """Write `index.md` and `claims.md` from the tables of the pages in a folder.

    The index has pages in the order of `suites` and names those without one.
    """
    made = {path.parent.name: json.loads(path.read_text()) for path in to.glob("*/run.json")}
    runs = {name: made[name] for name in dict.fromkeys((*suites, *sorted(made))) if name in made}
    index, claims = to / "index.md", to / "claims.md"
    write_whole(index, render_index(runs, [name for name in suites if name not in made]))
    stated = yaml.safe_load((PAGES / "claims.yaml").read_text(encoding="utf-8"))
    numbers = [row for name in runs for row in read_numbers(to / name / "numbers.csv", name)]
    write_whole(claims, render_claims(stated, numbers))
    return [index, claims]


def render_index(runs: Mapping[str, Mapping[str, str]], absent: Sequence[str]) -> str:
    """What pages there are, how their runs were made, and which suites have none."""
    lines = [
        "# Results",
        "",
        "What the shipped suites said when they were last run for these pages: verdicts, "
        "leaderboards, the main tables beside the floor, and a few figures; the numbers of the "
        "tables are in a CSV file. [Papers' claims](claims.md) stand beside the same numbers.",
        "",
        "`make gallery RUNS=results/SUITE/RUN` writes the page of a finished run anew, and index "
        "and claims with it; `make gallery` runs all suites first (`PROFILE=quick`; with "
        "`PROFILE=` as they stand).",
        "",
    ]
    if runs:
        heads = ["Suite", "What", *(name.rpartition(": ")[2].capitalize() for name in SHOWN)]
        lines += [_row([*heads, "Table"]), _row(["---"] * (len(heads) + 1))]
    for name, told in runs.items():
        cells = [f"[{text(name)}]({name}.md)", text(told.get("Title", ""))]
        for fact in SHOWN:
            value = told.get(fact, "")
            cells.append(f"`{value}`" if fact == "Command" else text(_short(fact, value)))
        lines.append(_row([*cells, f"[CSV]({name}/numbers.csv)"]))
    if absent:
        lines += [""] * bool(runs) + ["These suites have no page yet:", ""]
        lines += [
            f"- `{name}`: `bench run suites/{name}.yaml`, then `make gallery RUNS={name}`"
            for name in absent
        ]
    return "\n".join(lines) + "\n"


def _short(fact: str, value: str) -> str:
    if fact == "Code: sha":
        return value[:9]
    return value[:16].replace("T", " ") if fact == "Started" else value


def read_numbers(path: Path, suite: str) -> list[dict[str, str]]:
    """The rows of a page's table, with the suite's name."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [row | {"suite": suite} for row in csv.DictReader(stream)]


def render_claims(stated: Mapping[str, Any], numbers: Sequence[Mapping[str, str]]) -> str:
    """What each peer's paper claims beside what the pages' runs measured, as `claims.yaml` asks.

    Raises BenchError where a claim cites what `references.bib` doesn't have, or asks for a number
    that its suite's page has of other generators but not of its own.
    """
    lines = ["# Papers' claims", "", stated["lead"].strip(), ""]
    heads = ["Number", "Claimed", "On", "Measured here", "Floor", "Where"]
    for name, peer in stated["peers"].items():
        lines += [f"## {text(name)}", ""]
        source = references().get(peer["cite"])
        if source is None:
            raise BenchError(f"claims.yaml: {name}: no source {peer['cite']!r} in references.bib")
        lines += [text(source.text), ""]
        if peer.get("claims"):
            lines += [_row(heads), _row(["---"] * len(heads))]
        for claim in peer.get("claims", ()):
            lines += _claim(peer.get("generator", name), claim, numbers)
        lines += ["", peer["differences"].strip(), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _claim(
    generator: str, claim: Mapping[str, Any], numbers: Sequence[Mapping[str, str]]
) -> Iterable[str]:
    """A row for each dataset on which the claim's number was measured; one without, if none."""
    metric, _, submetric = claim["number"].partition("/")
    said = [text(str(claim[key])) for key in ("what", "claimed", "data")]
    here = [
        row
        for row in numbers
        if (row["metric"], row["submetric"], row["labels"]) == (metric, submetric, "")
    ]
    own = [row for row in here if row["generator"] == generator]
    for row in own:
        place = (row["suite"], row["dataset"])
        floor = [r for r in here if r["role"] == FLOOR and (r["suite"], r["dataset"]) == place]
        shown = [format_value(float(r["value"])) for r in (row, *floor)]
        where = f"[{text(row['suite'])}]({row['suite']}.md), {text(row['dataset'])}"
        yield _row([*said, shown[0], shown[1] if floor else "–", where])
    if not own:
        yield _row([*said, "–", "–", "not on a page yet"])


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
