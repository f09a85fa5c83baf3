"""Write docs/results/: a page, a table and figures for each run, an index; the README's tables.

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
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import yaml

from haplobench.errors import BenchError
from haplobench.files import write_whole
from haplobench.references import references
from haplobench.registry import load_registry
from haplobench.report import facts
from haplobench.report.exchange import tidy_rows
from haplobench.report.figures import Figure, begin_figures
from haplobench.report.formatting import ARROWS, format_value
from haplobench.report.leaderboard import Leaderboard, by_rank, leaderboards
from haplobench.report.markdown import render_markdown, text
from haplobench.report.model import Summary
from haplobench.report.privacy_claims import draw_claims
from haplobench.report.summary import select, summarise
from haplobench.report.svg import clean, renderer, to_png
from haplobench.results.records import FLOOR
from haplobench.results.run_folder import resolve_run
from haplobench.results.table import load_run
from haplobench.scaling.figures import draw_scaling
from haplobench.units import counted

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "results"
MAIN = "1kg"
"""The suite that the README has tables of."""
FIGURES = ("leaderboard/distance", "scaling", "claims", "ld-decay/decay", "copied-tracts",
           "imputation/imputation-by-maf")  # fmt: skip
"""Kinds of figures of a page, as METRIC or METRIC/NAME: the first of each, then the second."""
MOST_FIGURES, LARGEST = 6, 80_000
"""Figures of a page, and the bytes of one."""
COLUMNS = ("dataset", "generator", "role", "metric", "submetric", "labels", "value", "spread",
           "low", "high", "place")  # fmt: skip
"""Columns of a page's table. Of the floor: median, and 5 and 95 % quantiles of its draws."""
README_TABLES = (
    ("allele-frequency/rmse", "ld-decay/rmse", "ld-matrix/in_window", "ld-matrix/cross_border",
     "haplotype-words/jsd_10", "adversarial-accuracy/aa_truth", "adversarial-accuracy/aa_syn",
     "nearest-neighbours/copied_haplotypes", "copied-tracts/tract_ratio",
     "membership-inference/auc", "rare-alleles/auc_pairs", "time/fit_wall"),
    ("imputation/r2_ratio", "augmentation/gain", "gwas/effect_correlation_ratio",
     "polygenic-scores/r2_ratio", "selection-scan/h12_rank", "demography/ld_size_ratio"),
)  # fmt: skip
"""Numbers of the main job's first dataset that the README shows, a table each."""
README_FIGURES = {
    "ld-decay": "LD decay: mean r² by distance, held-out people dashed",
    "copied-tracts": "Longest stretch shared with a training haplotype, held-out people grey: "
    "a line to the right of it copies",
}
FLAGSHIP = ("vae", "flagship")
"""The generator, and the suite, of the README's table over several datasets."""
FLAGSHIP_NUMBERS = (
    "ld-decay/rmse", "ld-matrix/cross_border", "allele-frequency/rmse",
    "adversarial-accuracy/aa_truth", "adversarial-accuracy/aa_syn", "haplotype-words/jsd_10",
    "haplotype-words/distinct_ratio_20", "pca/wasserstein", "membership-inference/auc",
    "nearest-neighbours/copied_haplotypes", "copied-tracts/tract_ratio",
)  # fmt: skip
README_BLOCKS = re.compile(r"(<!-- make gallery: (\w+) -->\n).*?(?=<!-- end -->)", re.DOTALL)
"""What of the README is written here, by the suite that it tells of."""
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
        if args.to == PAGES:
            readme = (ROOT / "README.md").read_text(encoding="utf-8")
            write_whole(ROOT / "README.md", render_readme(readme))
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
    """The few figures of a page, see `FIGURES`."""
    with renderer() as processes:
        drawn, _ = begin_figures(summary.run, boards, processes)()
    drawn = [*draw_claims(summary), *draw_scaling(summary.run), *drawn]
    kinds = [[f for f in drawn if kind in (f.metric, f"{f.metric}/{f.name}")] for kind in FIGURES]
    in_turn = (figure for turn in zip_longest(*kinds) for figure in turn if figure)
    return list(islice(in_turn, MOST_FIGURES))


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
    for name, told in runs.items():
        gpus = [value for key, value in told.items() if key.startswith("Hardware: gpus")]
        hardware = ", ".join([told["Hardware: cpu"], f"{told['Hardware: cores']} cores", *gpus])
        changed = " with changes" if told["Code: dirty"] == "yes" else ""
        lines += [
            f"## {text(name)}",
            "",
            f"[{text(told['Title'])}]({name}.md)",
            "",
            f"    {told['Command']}",
            "",
            f"- Started {told['Started'][:16].replace('T', ' ')}, took "
            f"{told['From start to end']}, {told['Cells']}.",
            f"- Version {told['Version: haplobench']}, commit {told['Code: sha'][:9]}{changed}.",
            f"- Hardware: {text(hardware)}.",
            f"- [The tables' numbers as CSV]({name}/numbers.csv).",
            "",
        ]
    if absent:
        lines += ["## No page yet", ""]
        lines += [
            f"- `{name}`: `bench run suites/{name}.yaml`, then `make gallery RUNS={name}`"
            for name in absent
        ]
    return "\n".join(lines).rstrip() + "\n"


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
        shown = [format_value(float(r["value"]), 4) for r in (row, *floor)]
        where = f"[{text(row['suite'])}]({row['suite']}.md), {text(row['dataset'])}"
        yield _row([*said, shown[0], shown[1] if floor else "–", where])
    if not own:
        yield _row([*said, "–", "–", "not on a page yet"])


def render_readme(readme: str) -> str:
    """The README with its tables made anew, of the suites that have a page."""
    made = {MAIN: _main_tables, FLAGSHIP[1]: _flagship_table}

    def block(found: re.Match[str]) -> str:
        there = (PAGES / found[2] / "run.json").exists()
        return found[1] + made[found[2]]() if there else found[0]

    return README_BLOCKS.sub(block, readme)


def _numbers_of(suite: str) -> tuple[str, list[dict[str, str]], dict[tuple[str, ...], str]]:
    """Of a page: how its run was made, in words; its table; and that by dataset, who and number."""
    told = json.loads((PAGES / suite / "run.json").read_text(encoding="utf-8"))
    seeds = counted(told["Seeds"].count(",") + 1, "seed")
    how = (
        f"`{told['Command']}` on {told['Started'][:10]}, commit {told['Code: sha'][:9]}; mean of "
        f"{seeds} × {counted(int(told['Draws per seed']), 'draw')}, floor: median of "
        f"{told['Draws of the floor']} draws. Every number with its spread: "
        f"[Results](docs/results/{suite}.md)."
    )
    rows = [r for r in read_numbers(PAGES / suite / "numbers.csv", suite) if not r["labels"]]
    values = {
        (row["dataset"], row["generator"], f"{row['metric']}/{row['submetric']}"): format_value(
            float(row["value"])
        )
        for row in rows
    }
    return how, rows, values


def _head(name: str) -> str:
    """A number's title, unit and ideal, by its name as METRIC/SUBMETRIC."""
    metric, _, number = name.partition("/")
    item = next(i for i in load_registry().metrics[metric].submetrics if i.name == number)
    unit = f" ({item.unit})" if item.unit else ""
    ideal = f"{item.ideal:g}" if item.direction == "closer" else ""
    return text(f"{item.title}{unit} {ARROWS[item.direction]}{ideal}".strip())


def _flagship_table() -> str:
    """The flagship's numbers on all datasets of its suite, the floor's in brackets."""
    how, rows, values = _numbers_of(FLAGSHIP[1])
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    lines = [how, "", _row(["", *datasets]), _row(["---", *["---:"] * len(datasets)])]
    for name in FLAGSHIP_NUMBERS:
        pairs = [
            [values.get((dataset, label, name), "–") for label in (FLAGSHIP[0], FLOOR)]
            for dataset in datasets
        ]
        lines.append(_row([_head(name), *(f"{own} ({floor})" for own, floor in pairs)]))
    return "\n".join([*lines, ""])


def _main_tables() -> str:
    """The tables and figures of the main job's first dataset."""
    how, rows, values = _numbers_of(MAIN)
    dataset = rows[0]["dataset"]
    roles = {row["generator"]: row["role"] for row in rows if row["dataset"] == dataset}
    lines = [f"{how} Of its panels, this is `{dataset}`.", ""]
    for names in README_TABLES:
        heads = [_head(name) for name in names]
        lines += [_row(["", *heads]), _row(["---", *["---:"] * len(heads)])]
        for label, role in roles.items():
            shown = {FLOOR: "**floor** (real people)"}.get(role, f"`{label}`")
            shown += " (control)" if role == "control" else ""
            absent = "–" if role == FLOOR else "n/a"
            own = (values.get((dataset, label, name), absent) for name in names)
            lines.append(_row([shown, *own]))
        lines.append("")
    for metric, caption in README_FIGURES.items():
        for path in sorted((PAGES / MAIN).glob(f"{dataset}-{metric}-*")):
            lines += [f"{caption}.", "", f"![{caption}]({path.relative_to(ROOT).as_posix()})", ""]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
