"""The pages of docs/results/: made from a run, their numbers are its records' and nobody's path."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import yaml
from report_fixture import build_run

from haplobench.errors import BenchError
from haplobench.references import references
from haplobench.registry import load_registry
from haplobench.report.formatting import format_value

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "docs" / "results"
FOLDERS = re.compile(r"(?<![\w.:/…])/(?:home|root|work|tmp|var|mnt|opt|Users|data)\b")


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "scripts" / "gallery.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gallery = _load()
STATED = yaml.safe_load((COMMITTED / "claims.yaml").read_text(encoding="utf-8"))


def _suites() -> list[str]:
    """The suites that the Makefile names."""
    found = re.search(r"^GALLERY := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found
    return found[1].split()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run started by an absolute path, one of whose errors names a file."""
    folder = build_run(tmp_path_factory.mktemp("gallery") / "demo")
    path = folder / "run.json"
    info = json.loads(path.read_text())
    info["command"] = "/home/somebody/venv/bin/bench run /work/suites/demo.yaml"
    path.write_text(json.dumps(info))
    records = folder / "records.jsonl"
    failed = "no such file: /home/somebody/panel_1.vcf.gz"
    records.write_text(records.read_text().replace("shapes (3, 4) and (5,)", failed))
    return folder


@pytest.fixture(scope="module")
def pages(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a gallery of that run alone."""
    to = tmp_path_factory.mktemp("pages")
    assert gallery.main([str(run), "--to", str(to), "--suites", "demo other"]) == 0
    return to


def _numbers(pages: Path) -> pd.DataFrame:
    frame = pd.read_csv(pages / "demo" / "numbers.csv", keep_default_na=False)
    return frame.set_index(["dataset", "generator", "metric", "submetric"])


def test_the_table_is_the_records(run: Path, pages: Path) -> None:
    records = pd.read_json(run / "records.jsonl", lines=True)
    records = records[records["value"].notna() & (records["labels"].map(len) == 0)]
    key = ["dataset", "generator", "metric", "submetric"]
    floor = records[records["role"] == "floor"].groupby(key)["value"]
    seeds = records[records["role"] != "floor"].groupby([*key, "seed"])["value"].mean()
    expected = pd.concat([floor.median(), seeds.groupby(key).mean()])
    numbers = _numbers(pages)
    assert len(numbers) > 150
    for place, row in numbers.iterrows():
        assert row["value"] == pytest.approx(expected[place], rel=1e-5)
        if row["role"] == "floor":
            assert float(row["low"]) == pytest.approx(floor.quantile(0.05)[place], rel=1e-5)
            assert float(row["high"]) == pytest.approx(floor.quantile(0.95)[place], rel=1e-5)


def test_the_page_has_the_numbers_of_the_table(pages: Path) -> None:
    numbers = _numbers(pages)
    page = (pages / "demo.md").read_text(encoding="utf-8")
    chr1 = page[page.index("\n## chr1\n") :]
    table = chr1[chr1.index("### Fidelity") :].splitlines()[2:]
    at = next(i for i, title in enumerate(table[0].split("|")) if "AF RMSE" in title)
    shown = {row.split("|")[1].strip(): row.split("|")[at].split() for row in table[2:9]}
    assert len(shown) > 4
    for label, cell in shown.items():
        name = label.replace("*", "").replace("(control)", "").strip()
        text = cell[0].replace("*", "")
        if text != "n/a":
            value = float(numbers.loc[("chr1", name, "frequency", "rmse"), "value"])
            assert float(text) == pytest.approx(
                value, abs=0.51 * 10 ** -len(text.partition(".")[2])
            )


def test_a_page_says_how_its_run_was_made(pages: Path) -> None:
    page = (pages / "demo.md").read_text(encoding="utf-8")
    for line in (
        "    …/bench run …/demo.yaml",
        f"- Code: sha {'f' * 40}, dirty no",
        "- Started: 2026-11-21T10:00:00Z",
        "- From start to end: 21m40s",
        "- Hardware: cpu Xeon, cores 2, ",
        "- Version: haplobench 0.1.0, python 3.11.7, numpy 2.4.1",
        "- Cells: 50 cells, 10 failed",
        "no such file: …/panel\\_1.vcf.gz",
    ):
        assert line in page
    assert page.index("## Provenance") < page.index("## Verdict") < page.index("## chr1")
    assert "## Metrics" not in page
    index = (pages / "index.md").read_text(encoding="utf-8")
    for line in (
        "[Made-up generators compared](demo.md)",
        "    …/bench run …/demo.yaml",
        "- Started 2026-11-21 10:00, took 21m40s, 50 cells, 10 failed.",
        "- Version 0.1.0, commit fffffffff.",
        "- Hardware: Xeon, 2 cores, H100.",
        "- `other`: `bench run suites/other.yaml`, then `make gallery RUNS=other`",
    ):
        assert line in index


def test_no_page_holds_a_folder_of_a_machine(pages: Path) -> None:
    for path in (p for folder in (pages, COMMITTED) for p in folder.rglob("*") if p.is_file()):
        if path.suffix != ".png":
            assert not FOLDERS.search(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://example.org/a/b.html and 1/2", "see https://example.org/a/b.html and 1/2"),
        ("`/home/me/a b`", "`…/a b`"),
        ("results/1kg/x", "results/1kg/x"),
        ("<sup>a</sup> / <br>", "<sup>a</sup> / <br>"),
        ("path=/scratch/my\\_data/x.vcf", "path=…/x.vcf"),
    ],
)
def test_folders_are_left_out(text: str, expected: str) -> None:
    assert gallery.impersonal(text) == expected


def test_figures_are_few_and_small(pages: Path) -> None:
    page = (pages / "demo.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[.*\]\((.*)\)", page)
    assert 1 <= len(shown) <= gallery.MOST_FIGURES
    files = {p.relative_to(pages).as_posix() for p in (pages / "demo").iterdir()}
    assert files == {*shown, "demo/numbers.csv", "demo/run.json"}
    figures = [p for p in COMMITTED.rglob("*") if p.suffix in (".svg", ".png")]
    assert all(p.stat().st_size <= gallery.LARGEST for p in figures)
    size = sum(p.stat().st_size for p in COMMITTED.rglob("*") if p.is_file())
    assert size < 300_000 * len(list(COMMITTED.glob("*/run.json")))


def test_index_and_claims_are_those_of_the_committed_tables(tmp_path: Path) -> None:
    to = tmp_path / "results"
    shutil.copytree(COMMITTED, to)
    for path in gallery.write_overviews(to, _suites()):
        assert path.read_text() == (COMMITTED / path.name).read_text(), path.name


def test_the_readme_has_the_committed_numbers() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert gallery.render_readme(readme) == readme
    block = gallery.README_BLOCKS.search(readme)
    assert block
    shown = re.findall(r"!\[.*\]\((.*)\)", block[0])
    assert len(shown) == len(gallery.README_FIGURES)
    assert all((ROOT / path).is_file() for path in shown)
    numbers = pd.read_csv(COMMITTED / "1kg" / "numbers.csv", keep_default_na=False)
    first = numbers[numbers["dataset"] == numbers["dataset"].iloc[0]].set_index(
        ["generator", "metric", "submetric"]
    )
    heads, _, *rows = (line.split("|")[1:-1] for line in block[0].splitlines() if line[:1] == "|")
    at = next(i for i, head in enumerate(heads) if "LD decay RMSE" in head)
    vae = next(row for row in rows if row[0].strip() == "`vae`")
    expected = float(first.loc[("vae", "ld-decay", "rmse"), "value"])
    assert float(vae[at]) == pytest.approx(expected, rel=5e-3)


def test_a_second_run_of_a_suite_replaces_its_page(run: Path, pages: Path, tmp_path: Path) -> None:
    to = tmp_path / "pages"
    shutil.copytree(pages, to)
    (to / "demo" / "old.svg").write_text("")
    gallery.write_page(run, to)
    assert not (to / "demo" / "old.svg").exists()
    assert (to / "demo.md").read_text() == (pages / "demo.md").read_text()


def test_a_run_that_goes_on_has_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = build_run(tmp_path / "demo")
    info = json.loads((folder / "run.json").read_text()) | {"finished": None}
    (folder / "run.json").write_text(json.dumps(info))
    assert gallery.main([str(folder), "--to", str(tmp_path / "pages"), "--suites", ""]) == 2
    assert "isn't finished" in capsys.readouterr().err
    assert not (tmp_path / "pages").exists()


def test_claims_stand_beside_what_was_measured(pages: Path) -> None:
    numbers = gallery.read_numbers(pages / "demo" / "numbers.csv", "demo")
    claim = {"what": "AF r", "claimed": "0.99", "data": "a panel", "number": "frequency/r"}
    peer: dict[str, Any] = {"cite": "li2003", "differences": "None.", "claims": [claim]}
    page = gallery.render_claims(
        {"lead": "Lead.", "peers": {"chain": peer, "absent": peer}}, numbers
    )
    table = _numbers(pages)
    for dataset in ("chr1", "chr20-eur"):
        own, floor = (
            format_value(float(table.loc[(dataset, name, "frequency", "r"), "value"]), 4)
            for name in ("chain", "floor")
        )
        row = f"| AF r | 0.99 | a panel | {own} | {floor} | [demo](demo.md), {dataset} |"
        assert row in page
    assert "| AF r | 0.99 | a panel | – | – | not on a page yet |" in page
    with pytest.raises(BenchError, match="no source 'nobody1999'"):
        gallery.render_claims({"lead": "", "peers": {"chain": peer | {"cite": "nobody1999"}}}, [])


@pytest.mark.parametrize("name", STATED["peers"])
def test_claims_are_of_numbers_generators_and_sources_that_exist(name: str) -> None:
    registry, peer = load_registry(), STATED["peers"][name]
    assert name in registry.generators
    assert peer["cite"] in references()
    assert peer["differences"].rstrip().endswith(".")
    for claim in peer.get("claims", ()):
        metric, _, number = claim["number"].partition("/")
        headline = [item.name for item in registry.metric(metric).submetrics if item.headline]
        assert number in headline, f"{claim['number']} isn't a number of the main tables"


def test_the_suites_that_are_to_have_a_page_are_shipped() -> None:
    for name in _suites():
        assert (ROOT / "suites" / f"{name}.yaml").is_file()
