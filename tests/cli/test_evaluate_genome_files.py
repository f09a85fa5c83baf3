"""`bench evaluate --contigs`: files of each contig, one file of all, and the split of both."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_checks import Bench, assert_one_clear_error

from haplobench import BenchError, Panel, evaluate
from haplobench.api import Reading
from haplobench.data.formats import read_panel, write_panel
from haplobench.testing import example_panel

CONTIGS = ("1", "2", "3")


def whole_file(folder: Path, name: str) -> None:
    """All contigs' VCFs of a name as one, as `bcftools concat` writes it."""
    packed = [(folder / f"{name}_chr{contig}.vcf.gz").read_bytes() for contig in CONTIGS]
    texts = [gzip.decompress(one).decode().splitlines(keepends=True) for one in packed]
    heads = [line for text in texts for line in text if line.startswith("##")]
    columns = next(line for line in texts[0] if line.startswith("#CHROM"))
    records = [line for text in texts for line in text if not line.startswith("#")]
    (folder / f"{name}.vcf").write_text("".join([*dict.fromkeys(heads), columns, *records]))
    labels = folder / f"{name}_chr1.vcf.gz.panel.tsv"
    if labels.is_file():
        (folder / f"{name}.vcf.panel.tsv").write_bytes(labels.read_bytes())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Sixty people and a cohort of forty on three contigs, the third's people in another order."""
    for seed, contig in enumerate(CONTIGS):
        panel = replace(example_panel(60, n_sites=80 + seed), contig=contig)
        rng = np.random.default_rng(seed)
        rows = (rng.random((80, panel.n_sites)) < panel.frequencies).astype(np.int8)
        cohort = panel.with_haplotypes(rows)
        write_panel(panel, tmp_path / f"all_chr{contig}.vcf.gz")
        write_panel(cohort, tmp_path / f"mine_chr{contig}.vcf.gz")
    for name in ("all", "mine"):
        whole_file(tmp_path, name)
        path = tmp_path / f"{name}_chr3.vcf.gz"
        panel, _ = read_panel(path)
        write_panel(panel.select_samples(rng.permutation(panel.n_samples)), path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_split_is_alike_on_all_contigs_and_scored_after(bench: Bench, files: Path) -> None:
    contigs = ("--contigs", "1..3")
    done = bench("evaluate", "--real", "all_chr{contig}.vcf.gz", *contigs, "--split", "0.2")
    assert done.returncode == 0, done.stderr
    assert (
        "bench evaluate --real 'all_chr{contig}.vcf.gz' --contigs 1..3 --split split/held_out.txt "
        "--seed 1 --synthetic COHORT" in done.stdout
    )
    held = (files / "split" / "held_out.txt").read_text().split()
    trained = [read_panel(files / "split" / f"train_{name}.vcf.gz")[0] for name in CONTIGS]
    assert [panel.contig for panel in trained] == list(CONTIGS)
    assert len({tuple(panel.samples) for panel in trained}) == 1
    everybody, _ = read_panel(files / "all_chr3.vcf.gz")
    assert sorted([*held, *trained[0].samples]) == sorted(everybody.samples)
    place = list(everybody.samples).index(trained[2].samples[5])
    assert np.array_equal(trained[2].haplotypes[10:12], everybody.haplotypes[2 * place :][:2])
    options = (*contigs, "--split", "split/held_out.txt", "--metric", "allele-frequency")
    files_of_all = ("--real", "all.vcf", "--synthetic", "mine.vcf")
    done = bench("evaluate", *files_of_all, *options, timeout=1200)
    assert done.returncode == 0, done.stderr
    (run,) = (path for path in files.rglob("run.json") if path.parent.name != "contigs")
    facts = json.loads(run.read_text())["datasets"]["all.vcf"]
    assert (facts["n_train_haplotypes"], facts["n_holdout_haplotypes"]) == (96, 24)
    assert facts["contigs"] == list(CONTIGS)
    assert set(facts["provenance"]) >= {"real SHA-256", "synthetic SHA-256"}


def test_files_of_each_contig_one_of_all_and_panels_are_the_same(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Panels of three forms, as they are handed to the driver of genomes."""
    monkeypatch.chdir(files)
    seen: list[Any] = []

    def score(contigs: Any, read: Any, *_: Any, **__: Any) -> None:
        seen.append([read(contig) for contig in contigs])
        raise InterruptedError

    monkeypatch.setattr("haplobench.api.evaluate_contigs", score)
    in_memory = [
        {contig: read_panel(files / f"{name}_chr{contig}.vcf.gz")[0] for contig in CONTIGS}
        for name in ("all", "mine")
    ]
    for real, mine in (
        ("all_chr{contig}.vcf.gz", "mine_chr{contig}.vcf.gz"),
        ("all.vcf", "mine.vcf"),
        (in_memory[0], {"synthetic": in_memory[1]}),
    ):
        with pytest.raises(InterruptedError):
            evaluate(real, mine, contigs=[1, 2, 3], split=0.2)
    assert [one[0].dataset for one in seen] == ["all.vcf.gz", "all.vcf", "real"]
    assert seen[0][2].origin["real"] == "all_chr3.vcf.gz"
    for first, *others in zip(*seen, strict=True):
        for one in others:
            for panel, other in (
                (one.real, first.real),
                (one.train, first.train),
                (one.cohorts[0].panel, first.cohorts[0].panel),
            ):
                assert panel.samples.tolist() == other.samples.tolist()
                assert np.array_equal(panel.haplotypes, other.haplotypes)


def test_what_is_asked_of_the_command_line_is_one_line(bench: Bench, files: Path) -> None:
    mine = ("--synthetic", "mine.vcf")
    assert_one_clear_error(
        bench("evaluate", "--real", "all.vcf", *mine),
        "all.vcf: holds several contigs (1, 2, …) (--region reads one of them, --contigs several, "
        "one by one: from this file, or from one of each with {contig} in its name)",
    )
    assert_one_clear_error(
        bench("evaluate", "--real", "all_chr{contig}.vcf.gz", *mine),
        "--real: all_chr{contig}.vcf.gz: {contig} stands for each of --contigs, and none are given",
    )


@pytest.mark.parametrize(
    ("real", "mine", "more", "words"),
    [
        (
            "all.vcf",
            "mine_chr{contig}.vcf.gz",
            {"contigs": "1..5"},
            "--synthetic: mine_chr4.vcf.gz: no such file (and 1 more)",
        ),
        ("all.vcf", "mine.vcf", {"contigs": "1,2,chr1"}, "'chr1' is given twice, as '1'"),
        ("all.vcf", "mine.vcf", {"contigs": [1]}, "found '1' alone (--region 1 reads one"),
        (
            "all.vcf",
            "mine.vcf",
            {"contigs": "1..2", "region": "1"},
            "--contigs and --region: expected one of them",
        ),
        (
            "all_chr1.vcf.gz",
            "mine.vcf",
            {"contigs": "1,2"},
            "all_chr1.vcf.gz: no contig '2'; it holds 1",
        ),
        ({"1": example_panel(20)}, "mine.vcf", {"contigs": "1,2"}, "real: nothing of contig 2"),
        (example_panel(20), "mine.vcf", {"contigs": "1,2"}, "real: one panel for all contigs"),
    ],
)
def test_what_contradicts_itself_or_is_not_there_is_one_line(
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    real: Any,
    mine: str,
    more: dict[str, Any],
    words: str,
) -> None:
    monkeypatch.chdir(files)
    with pytest.raises(BenchError) as refusal:
        evaluate(real, mine, **more)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_knows_no_contigs_is_not_read_twice(tmp_path: Path) -> None:
    path = tmp_path / "real.hapt"
    write_panel(example_panel(8), path)
    (tmp_path / "real.legend").unlink()
    reading = Reading("", snps_only=False, skip_unphased=False, scratch=tmp_path, tell=print)
    panel, _ = reading.of("1").read("real", path, None)
    assert panel.contig == "1"
    with pytest.raises(BenchError, match=r"no contigs that can be told apart: 1 and 2 are the"):
        reading.of("2").read("real", path, None)


def renamed(panel: Panel, old: str, new: str) -> Panel:
    names = np.where(panel.samples == old, new, panel.samples)
    return replace(panel, samples=names)


def test_other_people_on_a_contig_are_named(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    panel, _ = read_panel(files / "mine_chr2.vcf.gz")
    write_panel(renamed(panel, "synthetic3", "stranger"), files / "mine_chr2.vcf.gz")
    with pytest.raises(BenchError) as refusal:
        evaluate("all_chr{contig}.vcf.gz", "mine_chr{contig}.vcf.gz", contigs="1..3")
    assert str(refusal.value).startswith(
        "synthetic: contig 2: its people aren't those of contig 1, the first: 1 person isn't "
        "there (synthetic3); 1 person is new (stranger)"
    )
