"""`bench evaluate`: files as they come, several cohorts, and the split that comes before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_checks import Bench, assert_one_clear_error

from haplobench import Panel
from haplobench.api import Reading
from haplobench.data.formats import read_panel, write_panel
from haplobench.data.formats.sources import read_any
from haplobench.testing import example_panel

HEAD = (
    "##fileformat=VCFv4.2\n##contig=<ID=20>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT"
)


def vcf(path: Path, *lines: str) -> Path:
    body = [f"20\t{line.split()[0]}\t.\t" + "\t".join(line.split()[1:]) for line in lines]
    path.write_text("\n".join([f"{HEAD}\ta\tb", *body]) + "\n")
    return path


def test_unphased_genotypes_are_placed_and_can_be_left_out(tmp_path: Path) -> None:
    path = vcf(
        tmp_path / "x.vcf",
        "100 A C . PASS . GT 0|1 1|1",
        "200 A C . PASS . GT 0|1 0/1",
        "300 A C . PASS . GT 0/0 1|1",
        "400 A C . PASS . GT 1/0 0/1",
    )
    told: list[str] = []
    panel, _ = read_any(path, tell=told.append)
    assert (panel.n_sites, panel.phased) == (4, False)
    (said,) = told
    assert "20:200, sample b: the heterozygous genotype is unphased, as are 2 more, at 2" in said
    assert "--skip-unphased leaves out such sites" in said
    panel, skipped = read_any(path, {"skip_unphased": True}, tell=told.append)
    assert (panel.positions.tolist(), panel.phased) == ([100, 300], True)
    assert skipped == {"unphased": 2}
    assert told == [said]


def test_alleles_without_bases_name_the_option_of_this_command(
    bench: Bench, tmp_path: Path
) -> None:
    path = vcf(tmp_path / "x.vcf", "100 0 1 . PASS . GT 0|1 1|1")
    done = bench("evaluate", "--real", "x.vcf", "--split", "0.5")
    assert_one_clear_error(done, "with --no-snps-only they are read as they are")
    panel, _ = read_any(path, {"snps_only": False})
    assert panel.n_sites == 1


@pytest.fixture
def everybody(tmp_path: Path) -> Panel:
    """Sixty people in all.vcf.gz."""
    panel = example_panel(60, n_sites=80)
    write_panel(panel, tmp_path / "all.vcf.gz")
    return panel


def test_of_files_only_the_region_is_read(everybody: Panel, tmp_path: Path) -> None:
    first, last = everybody.positions[[10, 19]]
    region = f"{everybody.contig}:{first}-{last}"
    reading = Reading(region, True, False, tmp_path / "scratch", print)
    panel, _ = reading.read("real", tmp_path / "all.vcf.gz", None)
    assert panel.positions.tolist() == everybody.positions[10:20].tolist()


def cohort(panel: Panel, path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = (rng.random((40, panel.n_sites)) < panel.frequencies).astype(np.int8)
    write_panel(panel.with_haplotypes(rows), path)


@pytest.mark.slow
def test_the_split_is_handed_out_before_and_scored_after(
    bench: Bench, everybody: Panel, tmp_path: Path
) -> None:
    done = bench("evaluate", "--real", "all.vcf.gz", "--split", "0.2", "--to", "mine")
    assert done.returncode == 0, done.stderr
    assert "split: 48 people to train on, 12 held out" in done.stdout
    again = "bench evaluate --real all.vcf.gz --split mine/held_out.txt --seed 1 --synthetic COHORT"
    assert again in done.stdout
    train, _ = read_panel(tmp_path / "mine" / "train.vcf.gz")
    held = (tmp_path / "mine" / "held_out.txt").read_text().split()
    assert sorted([*held, *train.samples]) == sorted(everybody.samples)
    cohort(everybody, tmp_path / "a.vcf.gz", 1)
    cohort(everybody, tmp_path / "b.v2.vcf.gz", 2)
    (tmp_path / "labels.tsv").write_text(
        "sample\tpop\n" + "".join(f"synthetic{i}\tFIN\n" for i in range(1, 21))
    )
    measure = ("--metric", "allele-frequency", "--labels", "labels.tsv")
    files = ("--synthetic", "a.vcf.gz", "--synthetic", "b.v2.vcf.gz")
    for split in ("0.2", "mine/held_out.txt"):
        out = split.partition("/")[0]
        options = ("--split", split, *files, *measure, "--out", out)
        done = bench("evaluate", "--real", "all.vcf.gz", *options)
        assert done.returncode == 0, done.stderr
        (run,) = (tmp_path / out).rglob("run.json")
        told = json.loads(run.read_text())
        assert set(told["generators"]) == {"independent", "copycat", "a", "b"}
        facts = told["datasets"]["all.vcf.gz"]
        assert (facts["n_train_haplotypes"], facts["n_holdout_haplotypes"]) == (96, 24)
        draws = [Panel.load(draw) for draw in (tmp_path / out).rglob("draw0")]
        assert sum((draw.population == "FIN").all() for draw in draws) == 2
        (rows,) = {line for line in done.stdout.splitlines() if line.startswith("split: ")}
        assert rows == "split: 48 people to train on, 12 held out"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "--synthetic: no cohort is given"),
        ("--split 1.5", "--split: 1.5; expected a share between 0 and 1, or a file"),
        ("--split 0.2 --train all.vcf.gz", "--train and --split: expected one of them"),
        ("--synthetic a.vcf.gz --label x --label y", "--label: 2 for 1 --synthetic"),
        (
            "--synthetic a.vcf.gz --labels x --labels y",
            "--labels: 2 for 1 --synthetic; expected one for all, or one for each",
        ),
        (
            "--synthetic a.vcf.gz --train all.vcf.gz",
            "60 people are in the real and in the training",
        ),
        ("--synthetic all.vcf.gz", "the synthetic panel is the real panel: 60 of its 60 people"),
        ("--synthetic elsewhere.vcf.gz", "they are of contig 21, the real ones of 20"),
        ("--synthetic a.vcf.gz --max-missing nan", "max_missing: "),
        ("--synthetic a.vcf.gz --min-maf nan", "min_maf: "),
        ("--synthetic a.vcf.gz --seed 10000000000000000000", "seed: "),
    ],
)
def test_options_and_files_that_contradict_each_other_are_one_line(
    bench: Bench, everybody: Panel, tmp_path: Path, options: str, words: str
) -> None:
    cohort(everybody, tmp_path / "a.vcf.gz", 1)
    cohort(replace(everybody, contig="21"), tmp_path / "elsewhere.vcf.gz", 1)
    assert_one_clear_error(bench("evaluate", "--real", "all.vcf.gz", *options.split()), words)
