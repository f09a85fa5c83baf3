"""The page as text: whole, offline, escaped and within its size."""

from __future__ import annotations

import base64
import gzip
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from report_fixture import HOSTILE, Drawn, build_run

from haplobench.report.facts import run_facts
from haplobench.report.figures import draw_figures, figure_style
from haplobench.report.html import LIMIT, render_html, shareable
from haplobench.report.leaderboard import leaderboards
from haplobench.report.model import Summary
from haplobench.report.summary import summarise
from haplobench.results.table import load_run

VOID = {"meta", "link", "br", "img", "hr", "input", "wbr"}


class Page(HTMLParser):
    """Parses a page strictly: every tag closed in order; keeps tags, ids and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def charts(parsed: Page) -> list[dict[str, str]]:
    return [a for a in parsed.all("svg") if a.get("role") == "img"]


@pytest.fixture(scope="module")
def page(demo: Summary, drawn: Drawn) -> str:
    return render_html(demo, *drawn)


@pytest.fixture(scope="module")
def parsed(page: str) -> Page:
    return Page(page)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = load_run(build_run(tmp_path_factory.mktemp("runs") / "hostile", hostile=True))
    return render_html(summarise(run), *draw_figures(run))


def test_loads_nothing_from_elsewhere(parsed: Page) -> None:
    for tag, attributes in parsed.tags:
        for key in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
            if key not in attributes or (tag == "a" and key == "href"):
                continue
            assert attributes[key].startswith(("#", "data:")), (tag, attributes)
        assert "url(http" not in attributes.get("style", "")
    links = [a["href"] for a in parsed.all("a")]
    assert all(link.startswith(("#", "https://")) for link in links)


def test_holds_all_parts(parsed: Page) -> None:
    for part in ("Summary", "Headline numbers", "Figures", "All numbers", "Metrics",
                 "Generators", "Leaderboard", "Failures", "Provenance", "Citations"):  # fmt: skip
        assert part in parsed.text
    assert "bench run suites/demo.yaml --seeds 1,2,3" in parsed.text
    assert "f" * 40 in parsed.text
    assert "multi-allelic: 211; indel: 1,020" in parsed.text
    assert "Expat" in parsed.text
    assert "20:1,000,226–3,999,849 (3.00 Mb, GRCh37)" in parsed.text
    assert "Definition of af rmse: mean over sites of |p - q|." in parsed.text


def test_links_point_to_parts_of_the_page(parsed: Page) -> None:
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for a in parsed.all("a") if a["href"].startswith("#")}
    assert targets <= set(ids)
    references = set(re.findall(r"url\(#([^)]+)\)", " ".join(str(a) for _, a in parsed.tags)))
    assert references <= set(ids)


def test_is_accessible(parsed: Page) -> None:
    assert parsed.all("html")[0]["lang"] == "en"
    assert len(parsed.all("main")) == 1
    assert parsed.all("a")[0]["class"] == "skip"
    heads = parsed.all("th")
    assert len(heads) > 100
    assert all(head.get("scope") in ("col", "row", "colgroup") for head in heads)
    for svg in parsed.all("svg"):
        if svg.get("class") == "range":
            assert svg["aria-hidden"] == "true"
            continue
        assert svg["role"] == "img"
        assert svg["aria-label"]
    marks = [a for a in parsed.all("span") if a.get("role") == "img"]
    assert marks
    assert all(a["aria-label"] for a in marks)
    scrolled = [a for a in parsed.all("div") if a.get("class") == "scroll"]
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in scrolled)
    assert len(parsed.all("caption")) >= 10


def test_figures_are_inline_and_failures_of_figures_are_named(parsed: Page) -> None:
    assert len(charts(parsed)) == 4
    assert "Not drawn: figure bad of ld-decay: RuntimeError: division by zero people" in parsed.text


def test_addresses_and_dois_are_links(parsed: Page) -> None:
    links = {a["href"] for a in parsed.all("a")}
    assert {"https://example.org/panel", "https://doi.org/10.1000/demo(1)x"} <= links


def test_na_and_failed_cells_say_why(parsed: Page) -> None:
    assert "sites differ" in parsed.text
    assert "fit: ValueError: shapes (3, 4) and (5,) can't be multiplied" in parsed.text
    assert "timed out" in parsed.text
    kinds = {a.get("class", "").split(" ")[0] for a in parsed.all("td")}
    assert {"not-applicable", "within", "outside", "far", "floor"} <= kinds


def test_generators_come_by_rank_and_who_did_not_run_has_one_line(
    demo: Summary, parsed: Page
) -> None:
    heads = [a for a in parsed.all("th") if a.get("scope") == "col" and "data-s" in a]
    style = figure_style(demo.run)
    places = [style.order[int(a["data-s"])] for a in heads]
    board = leaderboards(demo)[0]
    ranked = [row.label for row in board.ranked]
    assert places[: len(ranked)] == ranked
    assert "broken" not in places
    text = " ".join(parsed.text.split())
    assert text.count("Not run: ") == 2 * len(demo.datasets)  # by verdict and scorecard
    assert "broken: failed: ValueError: shapes (3, 4)" in text


PATHS = {
    "no /home/me/data/panel.vcf.gz: missing": "no …/panel.vcf.gz: missing",
    "--out=/scratch/x/y --to '~/a/b/c'": "--out=…/y --to '…/c'",
    "file:///srv/z/w.bcf, /tmp/a/b/": "…/w.bcf, …/b/",
    "https://example.org/a/b and 10.1/x/y, AA truth/synthetic, 1 / n": "",
}


def test_where_files_lie_is_not_told(demo: Summary) -> None:
    for text, told in PATHS.items():
        assert shareable(text) == (told or text)
    name, info = next(iter(demo.run.datasets.items()))
    where = {
        "provenance": {"path": "/data/secret/me/panel.vcf.gz"},
        "warnings": ["/a/secret/b: no"],
    }
    info = {**demo.run.info, "command": "bench run /home/secret/me/suite.yaml"}
    datasets = {**demo.run.datasets, name: {**demo.run.datasets[name], **where}}
    page = render_html(replace(demo, run=replace(demo.run, info=info, datasets=datasets)))
    assert "secret" not in page
    assert "…/suite.yaml" in page


@pytest.mark.parametrize("finished", ["../../../etc/passwd", "2026-11-21T10:21:40", 7, None])
def test_an_end_that_is_no_time_is_only_quoted(demo: Summary, finished: object) -> None:
    info = {**demo.run.info, "finished": finished}
    facts = dict(run_facts(replace(demo, run=replace(demo.run, info=info))))
    assert "From start to end" not in facts
    assert facts.get("Finished") == (str(finished) if finished else None)


def test_hostile_strings_are_text(hostile: str) -> None:
    parsed = Page(hostile)
    assert len(parsed.all("script")) == 1
    assert "<script>alert" not in hostile
    assert HOSTILE in parsed.text
    assert any(HOSTILE in a.get("aria-label", "") for a in parsed.all("div"))


def packed_tables(parsed: Page) -> list[str]:
    return [
        gzip.decompress(base64.b64decode(region["data-packed"])).decode()
        for region in parsed.all("div")
        if region.get("class") == "scroll" and "data-packed" in region
    ]


def test_too_large_a_page_is_made_smaller_step_by_step(
    demo: Summary, drawn: Drawn, page: str
) -> None:
    assert len(page.encode()) < LIMIT
    whole = len(page.encode())
    smaller = render_html(demo, *drawn, limit=whole - 20_000)
    parsed = Page(smaller)
    assert len(smaller.encode()) <= whole - 20_000
    packed = [a["data-packed"] for a in parsed.all("div") if "data-packed" in a]
    assert packed
    assert len(packed) + len(charts(parsed)) == 4
    for text in packed:
        assert b"<svg" in gzip.decompress(base64.b64decode(text))
    assert "Packed to keep this page small: see figures/" in parsed.text
    assert "AF r (EUR)" in parsed.text
    # Tables in closed parts come next, whole; then labelled numbers, and figures.
    limits = range(whole - 20_000, 100_000, -10_000)
    pages = (Page(render_html(demo, *drawn, limit=limit)) for limit in limits)
    tables = next(texts for parsed in pages if (texts := packed_tables(parsed)))
    assert all(text.startswith("<table>") for text in tables)
    assert any("AF r (EUR)" in text for text in tables)
    least = Page(render_html(demo, *drawn, limit=100_000))
    assert "Too large for this page: see figures/" in least.text
    assert "All other numbers are too many for this page: see summary.csv" in least.text


def test_colours_of_text_have_contrast(page: str) -> None:
    from test_report_figures import contrast

    themes = re.findall(r"--page: (#\w+);.*?--muted: (#\w+);.*?--link: (#\w+);", page, re.DOTALL)
    assert len(themes) >= 2
    css = page[page.index("<style>") : page.index("</style>")]
    blocks = [b for b in re.findall(r":root[^{]*\{(.*?)\}", css, re.DOTALL) if "--far-tint" in b]
    assert len(blocks) == 4  # light, dark by the system, dark by choice, paper
    assert blocks[1].split() == blocks[2].replace("color-scheme: dark;", "").split()
    for block in blocks:
        colours = {"page": "#ffffff", "ink": "#000000", "muted": "#444444"}
        colours |= dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for name in ("ink", "muted", "link", "good", "near", "far", "bad"):
            assert contrast(colours[name], colours["page"]) >= 4.5, name
        for kind in ("good", "near", "far"):
            assert contrast(colours["ink"], colours[f"{kind}-tint"]) >= 7
            assert contrast(colours["muted"], colours[f"{kind}-tint"]) >= 4.5
            assert contrast(colours[kind], colours[f"{kind}-tint"]) >= 4.5


def test_labels_that_make_the_same_id_stay_apart(demo: Summary) -> None:
    first = next(iter(demo.datasets.values()))
    names = ("chr 1", "chr-1", "chr/1")
    run = replace(demo.run, datasets={name: {} for name in names})
    datasets = {name: replace(first, label=name) for name in names}
    parsed = Page(render_html(Summary(run, datasets)))
    ids = [a["id"] for a in parsed.all("section")]
    assert len(ids) == len(set(ids))
