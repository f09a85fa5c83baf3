"""Tables of a user's own: read as written or refused by line and column, and counted by hand."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import wasserstein_distance
from structured_people import context, only

from haplobench import FormatError, Measurement, MetricResult, Panel, Reference, SuiteError
from haplobench.registry import load_registry
from haplobench.results.table import load_run
from haplobench.runner.run import run_suite
from haplobench.suite.load import load_suite
from haplobench.testing.panels import haploid
from haplobench_utility.score_tables import read_table
from haplobench_utility.specs_structure import USER_TABLE, UserTableParams
from haplobench_utility.user_tables import call_haplotypes, locate, scores, user_table

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "tables"
TABLE = """# a comment
locus\tname\tsite\tallele\tweight
gene\tone\t7:100\tT\t0
gene\ttwo\t7:100\tT\t0.5
gene\ttwo\tchr7:200\tC\t0.5
gene\tthree\t7:300\tG\t1
\tsum\t7:100\tT\t2
\tsum\t300\tG\t-1
"""


def panel(rows: list[str]) -> Panel:
    """Haplotypes of people at 7:100 A/T, 200 C/G and 300 A/G; `.` is missing."""
    alleles = [[{"0": 0, "1": 1, ".": -1}[a] for a in row] for row in rows]
    return Panel(
        np.array(alleles, np.int8),
        np.array([100, 200, 300]),
        "7",
        np.array([f"p{i}" for i in range(len(rows) // 2)]),
        ref=np.array(list("ACA")),
        alt=np.array(list("TGG")),
        superpopulation=np.array([["X", "Y"][i % 2] for i in range(len(rows) // 2)]),
    )


def measure(table: str, real: Panel, cohort: Panel, folder: Path) -> MetricResult:
    path = folder / "table.tsv"
    path.write_text(table)
    ctx = context(folder, real)
    return user_table(Reference(real, real), cohort, UserTableParams(table=str(path)), ctx)


def listed(result: MetricResult, name: str) -> dict[tuple[str, ...], Measurement]:
    found = result.measurements[name]
    assert not isinstance(found, Measurement), found
    return {tuple(one.labels.values()): one for one in found}


REAL = panel(["100", "110", "001", "111", "000", "100", "011", "100", "100", "000"])


def test_haplotypes_are_called_by_their_most_alleles(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(TABLE)
    genes = [one for one in read_table(tmp_path / "t.tsv") if one.locus]
    assert [one.name for one in genes] == ["one", "two", "three"]
    # 100 has T and C at 200: two, of more alleles than one; 111 has T and G: one, the first.
    called = call_haplotypes(REAL, genes)
    names = np.array(["one", "two", "three", "other"])[called]
    assert names.tolist() == [
        "two", "one", "three", "one", "other", "two", "three", "two", "two", "other",
    ]  # fmt: skip
    gaps = panel(["1.0", "100"])
    assert call_haplotypes(gaps, genes).tolist() == [-1, 1]


def test_scores_are_weighted_sums(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(TABLE)
    score = read_table(tmp_path / "t.tsv")[-1]
    assert scores(REAL, score).tolist() == [4, 0, 2, 1, 2]
    turned = replace(score, alleles=tuple(replace(a, allele="A") for a in score.alleles))
    # The other allele of both sites: 2 (2 - T) - (2 - G).
    assert scores(REAL, turned).tolist() == [-2, 2, 0, 1, 0]
    assert np.isnan(scores(panel(["10.", "100"]), score)).all()


def test_what_is_compared_is_counted_by_hand(tmp_path: Path) -> None:
    cohort = panel(["100", "110", "001", "001", "000", "000", "011", "100", "100", "000"])
    result = measure(TABLE, REAL, cohort, tmp_path)
    own, real = np.array([4, -2, 0, 1, 2]), np.array([4, 0, 2, 1, 2])
    sd = real.std()
    found = {name: listed(result, name)[("sum",)].value for name in USER_SCORES}
    assert found == pytest.approx(
        {
            "score_mean_difference": (own.mean() - real.mean()) / sd,
            "score_sd_ratio": own.std() / sd,
            "score_wasserstein": wasserstein_distance(own, real) / sd,
        }
    )
    # one, two, three, other: 2 4 2 2 of 10 real, 1 3 3 3 of 10 synthetic haplotypes.
    difference = np.array([-1, -1, 1, 1]) / 10
    assert listed(result, "haplotype_distance")[("gene",)].value == pytest.approx(0.2)
    assert listed(result, "haplotype_rmse")[("gene",)].value == pytest.approx(
        np.sqrt((difference**2).mean())
    )
    carriers = {key[1]: one.value for key, one in listed(result, "carrier_difference").items()}
    assert carriers == pytest.approx({"one": -0.2, "two": -0.2, "three": 0})
    # Sums of weights: real .5, 1, .5, 1.5, .5; synthetic .5, 2, 0, 1.5, .5.
    assert listed(result, "phenotype_distance")[("gene",)].value == pytest.approx(0.4)
    # Without weights: sets of haplotypes.
    bare = TABLE.replace("\t0.5\n", "\t\n").replace("T\t0\n", "T\t\n").replace("G\t1\n", "G\t\n")
    sets = listed(measure(bare, REAL, cohort, tmp_path), "phenotype_distance")
    assert sets[("gene",)].value == pytest.approx(0.4)
    assert only(result, "phenotype_distance_superpopulation").note.startswith("fewer than two")


USER_SCORES = ("score_mean_difference", "score_sd_ratio", "score_wasserstein")


def test_by_superpopulation(tmp_path: Path) -> None:
    rows = ["100", "000"] * 20
    result = measure(TABLE, panel(rows), panel(["000", "000"] * 20), tmp_path)
    carriers = listed(result, "carrier_difference_superpopulation")
    assert carriers["gene", "X", "two"].value == -1
    assert carriers["gene", "Y", "two"].n == 10
    assert listed(result, "phenotype_distance_superpopulation")["gene", "Y"].value == 1
    same = "nobody has all alleles called, or held-out people's scores are all the same"
    assert listed(result, "score_wasserstein_superpopulation")["sum", "X"].note == same
    assert listed(result, "score_sd_ratio")[("sum",)].value is None


def test_missing_sites_are_named(tmp_path: Path) -> None:
    table = (
        "locus,name,site,allele\ngene,here,7:100,T\ngene,gone,7:150,A\ngene,strange,7:200,T\n"
        "gene,elsewhere,8:100,T\nfar,away,9:1,A\n"
    )
    result = measure(table, REAL, REAL, tmp_path)
    carriers = listed(result, "carrier_difference")
    assert carriers["gene", "here"].value == 0
    assert carriers["gene", "gone"].note == "not in the panel: site 7:150"
    assert carriers["gene", "strange"].note == "not in the panel: allele T of 7:200 (C/G)"
    assert carriers["gene", "elsewhere"].note == "not in the panel: site 8:100"
    distance = listed(result, "haplotype_distance")
    assert distance[("gene",)].value == 0
    assert "gone: not in the panel: site 7:150" in distance[("gene",)].note
    assert distance[("far",)].value is None
    assert only(result, "score_sd_ratio").note == "the table has no scores"
    alleles = [a for one in read_table(tmp_path / "table.tsv") for a in one.alleles]
    assert locate(REAL, alleles[:1])[2] == ""
    scored = measure("name,site,allele,weight\ns,150,A,1\n", REAL, REAL, tmp_path)
    assert listed(scored, "score_wasserstein")[("s",)].note == "not in the panel: site 150"
    assert only(scored, "haplotype_rmse").note == "the table has no haplotypes"


def test_unphased_and_haploid_people_and_missing_alleles(tmp_path: Path) -> None:
    unphased = measure(TABLE, REAL, replace(REAL, phased=False), tmp_path)
    assert listed(unphased, "haplotype_rmse")[("gene",)].note == "not phased"
    assert listed(unphased, "carrier_difference")["gene", "one"].note == "not phased"
    assert listed(unphased, "score_sd_ratio")[("sum",)].value == 1
    halves = measure(TABLE, haploid(REAL), haploid(REAL), tmp_path)
    assert listed(halves, "phenotype_distance")[("gene",)].value == 0
    gaps = panel([".00", "110", "001", "111", "000", "100", "011", "100", "100", "000"])
    result = measure(TABLE, REAL, gaps, tmp_path)
    assert listed(result, "score_sd_ratio")[("sum",)].note == (
        "1 people left out, alleles are missing"
    )
    assert listed(result, "haplotype_rmse")[("gene",)].n == 4
    nobody = measure(TABLE, REAL, panel(["...", "..."] * 5), tmp_path)
    assert "nobody has all alleles" in listed(nobody, "phenotype_distance")[("gene",)].note


def test_without_a_table_nothing_is_measured(tmp_path: Path) -> None:
    ctx = context(tmp_path, REAL)
    result = user_table(Reference(REAL, REAL), REAL, UserTableParams(), ctx)
    assert all(only(result, s.name).note.startswith("no table") for s in USER_TABLE.submetrics)


def test_a_scoring_file_of_the_pgs_catalog_is_one_score(tmp_path: Path) -> None:
    path = tmp_path / "PGS000001.txt"
    path.write_text(
        "###PGS CATALOG SCORING FILE\n#pgs_id=PGS000001\n"
        "rsID\tchr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\n"
        "rs1\t7\t100\tT\tA\t0.25\nrs2\t7\t300\tA\tG\t-1e-3\n"
    )
    (score,) = read_table(path)
    assert score.name == "PGS000001"
    assert [(a.site, a.allele, a.weight) for a in score.alleles] == [
        ("7:100", "T", 0.25),
        ("7:300", "A", -1e-3),
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no rows"),
        ("name\tsite\n", ":1: no column allele and no column weight"),
        ("locus\tsite\tallele\n", ":1: no column name"),
        ("name,site,allele,weight\ns,rs12,A,1\n", ":2: column site (the 2. one): found 'rs12'"),
        ("name,site,allele,weight\ns,0,A,1\n", ":2: column site (the 2. one): found '0'"),
        ("name,site,allele,weight\ns,5,,1\n", ":2: column allele (the 3. one): found ''"),
        ("name,site,allele,weight\n\ns,5,A,x\n", ":3: column weight (the 4. one): found 'x'"),
        ("name,site,allele,weight\ns,5,A,inf\n", "a finite number"),
        ("name,site,allele,weight\n,5,A,1\n", ":2: column name (the 1. one): found ''"),
        ("name;site;allele;weight\ns;5;A;1\ns;5;C;1\n", ":3: column site: s has 5 already"),
        ("locus,name,site,allele\ng,other,5,A\n", "'other' is what haplotypes are called"),
        ("locus,name,site,allele\n,a,5,A\n", ":2: column locus is empty"),
        ("locus,name,site,allele\ng,a,5,A\ng,b,5,A\n", ":3: haplotype b has the alleles of a"),
        (
            "locus,name,site,allele,weight\ng,a,5,A,1\ng,a,6,A,2\n",
            ":3: column weight: 2.0 for haplotype a, expected 1.0 as in line 2",
        ),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_by_line_and_column(text: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(FormatError) as raised:
        read_table(path)
    assert str(path) in str(raised.value)
    assert what in str(raised.value)
    with pytest.raises(ValidationError, match="bad.csv"):
        UserTableParams(table=str(path))


def suite_text(table: Path) -> str:
    return f"""name: own
seeds: [1]
datasets:
  - name: embedded
    label: small
    params: {{region: "20:1000000-1200000"}}
    filters: {{min_maf: 0.05}}
    split: {{holdout: 0.2, seed: 1}}
generators: []
metrics:
  - {{name: user-table, params: {{table: "{table}"}}}}
floor: {{draws: 2}}
"""


def test_a_suite_knows_a_changed_table(tmp_path: Path) -> None:
    table, suite = tmp_path / "table.tsv", tmp_path / "suite.yaml"
    suite.write_text(suite_text(table))
    registry = load_registry()
    prints = set()
    for site in (1_040_936, 1_042_200):
        table.write_text(f"locus\tname\tsite\tallele\ng\ta\t{site}\tT\n")
        (entry,) = load_suite(str(suite), [], registry).metrics
        prints.add(entry.fingerprint)
    assert len(prints) == 2
    table.write_text("locus\tname\tsite\n")
    with pytest.raises(SuiteError, match=r"(?s)metrics\[0\].*table.tsv:1: no column allele"):
        load_suite(str(suite), [], registry)


@pytest.mark.slow
def test_a_changed_table_is_measured_anew(tmp_path: Path) -> None:
    table, suite = tmp_path / "table.tsv", tmp_path / "suite.yaml"
    suite.write_text(suite_text(table))
    registry = load_registry()

    def carriers() -> dict[str, Any]:
        outcome = run_suite(load_suite(str(suite), [], registry), registry, tmp_path / "out")
        return {
            f"{row.generator} {row.replicate}": row.value
            for row in load_run(outcome.run_folder).records
            if row.submetric == "carrier_difference" and row.role != "floor"
        }

    table.write_text("locus\tname\tsite\tallele\ng\ta\t1040936\tT\n")
    first = carriers()
    assert first == carriers()
    table.write_text("locus\tname\tsite\tallele\ng\ta\t1042200\tT\n")
    assert first != carriers()


@pytest.mark.slow
def test_the_shipped_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    registry = load_registry()
    sets = ["generators=[]", "sample.draws=1", "floor.draws=2"]
    suite = load_suite(os.fspath(EXAMPLE / "suite.yaml"), sets, registry)
    outcome = run_suite(suite, registry, tmp_path)
    rows = [row for row in load_run(outcome.run_folder).records if row.metric == "user-table"]
    assert {row.labels.get("haplotype") for row in rows} >= {"alder-1", "birch-3"}
    measured = [row for row in rows if row.generator == "copycat"]
    # Everybody of the embedded panel is of one superpopulation.
    whole = [row for row in measured if not row.submetric.endswith("_superpopulation")]
    assert whole
    assert all(row.value is not None for row in whole)
    locus = {
        row.labels["locus"]: row.value for row in whole if row.submetric == "haplotype_distance"
    }
    assert set(locus) == {"alder", "birch"}
    assert max(locus.values()) < 0.2
    alone = [
        row.value
        for row in rows
        if row.generator == "independent" and row.submetric == "haplotype_distance"
    ]
    assert max(alone) > max(locus.values())
