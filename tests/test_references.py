"""The table of references: whole, well-formed, cited, and found again from prose."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from haplobench.references import cite, references
from haplobench.registry import load_registry

REGISTRY = load_registry()
SPECS = [
    spec
    for kind in (REGISTRY.datasets, REGISTRY.generators, REGISTRY.metrics)
    for spec in kind.values()
    if spec.target.startswith("haplobench")
]
REQUIRED = {
    "article": {"author", "title", "journal", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "book": {"author", "title", "publisher", "year"},
    "techreport": {"author", "title", "institution", "year"},
    "misc": {"author", "title", "howpublished"},
}
WITHOUT_DOI = {"article29wp2014", "dwgsim", "haldane1919", "taylor2007"}


def test_every_citation_of_our_specs_is_an_entry_and_every_entry_is_cited() -> None:
    cited = {citation for spec in SPECS for citation in spec.citations}
    # The generators of `[peers]`, …: their specs are there whatever is installed.
    assert len(cited) > 70
    assert cited == set(references())


def test_the_file_holds_nothing_but_whole_entries_in_order() -> None:
    text = resources.files("haplobench").joinpath("references.bib").read_text("utf-8")
    keys = re.findall(r"^@\w+\{(.*),$", text, re.MULTILINE)
    assert keys == sorted(set(keys)) == list(references())
    # A line that the parser passed over would be a fact lost.
    kept = sum(len(entry.fields) + 2 for entry in references().values())
    written = [line for line in text.splitlines() if line and not line.startswith("%")]
    assert len(written) == kept


@pytest.mark.parametrize("key", references())
def test_an_entry_is_well_formed(key: str) -> None:
    entry = references()[key]
    assert re.fullmatch(r"[a-z0-9]+", key)
    assert set(entry.fields) >= REQUIRED[entry.kind]
    assert all(value.strip() == value != "" for value in entry.fields.values())
    assert all(value.count("{") == value.count("}") for value in entry.fields.values())
    assert re.fullmatch(r"(1[89]|20)\d\d", entry.fields.get("year", "2000"))
    if year := re.search(r"\d{4}$", key):
        assert entry.fields["year"] == year[0]
    assert bool(entry.doi) != (key in WITHOUT_DOI)
    assert re.fullmatch(r"(10\.\d{4,9}/[^\s{}%\\]+)?", entry.doi)
    assert not re.search(r"[{}]|\.\.|  ", entry.text)


def test_prose_of_old_runs_finds_its_entry() -> None:
    assert cite("li2003").text == (
        "Li N. & Stephens M. Modeling linkage disequilibrium and identifying recombination "
        "hotspots using single-nucleotide polymorphism data. Genetics 165, 2213-2233 (2003), "
        "doi:10.1093/genetics/165.4.2213"
    )
    assert cite(cite("yelmen2021").text) is references()["yelmen2021"]
    assert cite("Garud et al. 2015, doi:10.1371/journal.pgen.1005004 (H12)").key == "garud2015"
    assert cite("Sved 1971, doi:10.1016/0040-5809(71)90011-6 (size)").key == "sved1971"
    assert cite("Vaswani et al. 2017, NeurIPS, arXiv:1706.03762").key == "vaswani2017"
    assert cite("Marth et al. 2004, Genetics 166:351-372").key == "marth2004"
    assert cite("The 1000 Genomes Project Consortium, Nature 526, 68-74 (2015)").key[:4] == "1000"
    stadler = "Stadler, T. et al. Synthetic data: anonymisation groundhog day. USENIX (2022)"
    assert cite(stadler).key == "stadler2022"
    # The same author and year, another page.
    assert cite("Marth et al. 2004, Genetics 166:300").key == "marth2004note"


def test_prose_of_others_is_a_source_of_its_own() -> None:
    found = cite("Wright 1922, Am. Nat. 56:330-338, doi:10.1000/Demo(1)x.")
    assert (found.key, found.kind) == ("wright1922", "misc")
    assert (
        found.text
        == found.fields["note"]
        == "Wright 1922, Am. Nat. 56:330-338, doi:10.1000/Demo(1)x."
    )
    assert found.doi == "10.1000/Demo(1)x"
    assert cite("Li, other work of 2003").key == "li2003note"
    assert cite("2003").key == "source2003"
