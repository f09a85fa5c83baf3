"""Inputs that once were read wrongly, as they lie beside the real data: what is right of each.

Those that are small lie in the tests of what reads them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_checks import Bench, assert_one_clear_error

from haplobench.results.records import Record
from haplobench.results.table import load_run


@pytest.fixture(scope="module")
def cases(data_dir: Path) -> Path:
    """The folder of failed inputs; skips, and says so, where it is absent."""
    folder = data_dir.parent / "cases"
    if not (folder / "rel_trios.vcf.gz").is_file():
        pytest.skip(f"failed inputs absent: {folder}")
    return folder


def records(tmp_path: Path, metric: str, generator: str = "synthetic") -> list[Record]:
    """Those of the newest run."""
    run = max((tmp_path / "results").glob("*/2*"))
    return [
        record
        for record in load_run(run).records
        if (record.metric, record.generator) == (metric, generator)
    ]


@pytest.mark.parametrize("listed", ["bom.csv", "comma.csv", "fid_iid.txt", "header.csv"])
def test_people_who_withdrew_are_left_out(bench: Bench, cases: Path, listed: str) -> None:
    command = ("data", "info", str(cases / "base.vcf.gz"))
    info = bench(*command, "--withdrawn", str(cases / f"withdrawn_{listed}"))
    assert info.returncode == 0, info.stderr
    assert "58 (116 haplotypes" in info.stdout
    assert "2 of 2 withdrawn people left out" in info.stdout


def test_who_withdrew_and_matches_nobody_is_named(bench: Bench, cases: Path) -> None:
    command = ("data", "info", str(cases / "base.vcf.gz"))
    refused = bench(*command, "--withdrawn", str(cases / "withdrawn_typo.txt"))
    assert_one_clear_error(refused, "line 1 'p000'", "line 2 'P01'")


def test_labels_behind_a_byte_order_mark(bench: Bench, cases: Path) -> None:
    labels = f"panel_file={cases / 'pan_bom.tsv'}"
    info = bench("data", "info", str(cases / "base.vcf.gz"), "--set", labels)
    assert "CHB 20, GBR 20, YRI 20" in info.stdout, info.stderr


@pytest.mark.parametrize("real", ["fidiid", "swapphase"])
def test_training_people_under_other_names_are_not_real(
    bench: Bench, cases: Path, real: str
) -> None:
    files = (f"ev_real_{real}", "ev_syn_copycat", "ev_train")
    given = [str(cases / f"{name}.vcf.gz") for name in files]
    refused = bench(
        *("evaluate", "--real", given[0], "--synthetic", given[1], "--train", given[2]),
        *("--metric", "membership-inference"),
    )
    assert_one_clear_error(refused, "60 of the 60 real people, by their genotypes")


def test_real_people_without_phase_give_no_words(bench: Bench, cases: Path, tmp_path: Path) -> None:
    given = [str(cases / f"{name}.vcf.gz") for name in ("ev_real_unph", "ev_syn", "ev_train")]
    done = bench(
        *("evaluate", "--real", given[0], "--synthetic", given[1], "--train", given[2]),
        *("--metric", "haplotype-words"),
    )
    assert done.returncode == 0, done.stderr
    (record,) = {(one.status, one.note, one.value) for one in records(tmp_path, "haplotype-words")}
    assert record == ("not-applicable", "not phased", None)


def test_columns_without_a_legend_are_the_legends_sites(
    bench: Bench, cases: Path, tmp_path: Path
) -> None:
    given = [str(cases / f"hp_{name}.hapt") for name in ("real", "syn")]
    done = bench("evaluate", "--real", given[0], "--synthetic", given[1], "--metric", "ld-decay")
    assert done.returncode == 0, done.stderr
    (rmse,) = [one.value for one in records(tmp_path, "ld-decay") if one.submetric == "rmse"]
    assert rmse == pytest.approx(0.00697, abs=1e-5)


@pytest.mark.slow
def test_families_stay_on_one_side_and_a_copier_stands_out(
    bench: Bench, cases: Path, tmp_path: Path
) -> None:
    datasets = [
        {
            "name": "file",
            "label": name,
            "params": {"path": str(cases / f"rel_{name}.vcf.gz")},
            "split": {"holdout": 0.3, "seed": 1},
        }
        for name in ("none", "trios")
    ]
    suite = {
        "name": "families",
        "datasets": datasets,
        "generators": ["li-stephens"],
        "metrics": ["copied-tracts"],
    }
    (tmp_path / "families.yaml").write_text(json.dumps(suite))
    done = bench("run", "families.yaml")
    assert done.returncode == 0, done.stderr
    assert "59 families of 176 people kept on one side of the split" in " ".join(
        done.stdout.split()
    )
    ratios = {
        record.dataset: record.value
        for record in records(tmp_path, "copied-tracts", "li-stephens")
        if record.submetric == "tract_ratio"
    }
    # 1.95 without relatives when they were first seen, and 1.26 with some on either side.
    assert ratios["none"] > 1.4
    assert ratios["trios"] > 1.4
