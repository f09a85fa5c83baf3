"""The `file` dataset: paths, labels, map, reference sequence, fingerprint."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import numpy as np
import pysam
import pytest
from pydantic import ValidationError

from haplobench import FormatError, Panel, RecombinationMap, RunContext
from haplobench.data.formats import write_panel
from haplobench.datasets import FileParams
from haplobench.datasets.file import File
from haplobench.testing import check_dataset

LENGTH = 2_000


@pytest.fixture
def ctx(tmp_path: Path) -> RunContext:
    return RunContext(seed=0, artifacts=tmp_path, scratch=tmp_path / "scratch")


@pytest.fixture
def bases() -> str:
    return "".join(np.random.default_rng(1).choice(list("ACGT"), LENGTH))


@pytest.fixture
def panel(bases: str) -> Panel:
    rng = np.random.default_rng(2)
    positions = np.arange(101, 1_900, 37)
    ref = np.array([bases[position - 1] for position in positions])
    return Panel(
        haplotypes=rng.integers(0, 2, (12, positions.size)).astype(np.int8),
        positions=positions,
        contig="20",
        samples=np.array([f"P{i}" for i in range(6)]),
        ref=ref,
        alt=np.where(ref == "A", "C", "A"),
    )


@pytest.fixture
def vcf(panel: Panel, tmp_path: Path) -> Path:
    write_panel(panel, tmp_path / "a.vcf.gz")
    return tmp_path / "a.vcf.gz"


def load(ctx: RunContext, **params: object) -> object:
    return File().load(FileParams.model_validate(params), ctx)


def test_real_region_with_everything(data_dir: Path, ctx: RunContext) -> None:
    params = FileParams(
        path=str(data_dir / "1kg_p3_chr4_93.1-94.7Mb_EUR297_AFR268.vcf.gz"),
        region="4:93400000-93450000",
        panel_file=str(data_dir / "1kg_p3.panel.tsv"),
        superpopulations=("AFR",),
        map=str(data_dir / "chr4.b37.gmap.gz"),
        build="GRCh37",
        citation="somebody",
    )
    loaded = File().load(params, ctx)
    assert set(loaded.panel.population) == {"ASW", "LWK", "YRI"}
    assert loaded.panel.n_samples == 268
    assert set(loaded.skipped) == {"indel", "multi-allelic", "structural variant"}
    assert loaded.provenance["citation"] == "somebody"
    assert len(loaded.provenance["sha256"]) == 64
    whole = RecombinationMap.read(data_dir / "chr4.b37.gmap.gz", "4")
    assert loaded.recombination_map is not None
    np.testing.assert_allclose(
        loaded.recombination_map.at(loaded.panel.positions), whole.at(loaded.panel.positions)
    )


def test_paths_are_expanded(vcf: Path, monkeypatch: pytest.MonkeyPatch, ctx: RunContext) -> None:
    monkeypatch.setenv("HOME", str(vcf.parent))
    monkeypatch.chdir(vcf.parent)
    for text in ("~/a.vcf.gz", "a.vcf.gz"):
        assert load(ctx, path=text).panel.n_samples == 6  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", ["path", "panel_file", "map", "fasta"])
def test_absent_files(key: str, vcf: Path, ctx: RunContext) -> None:
    params = {"path": str(vcf)} | {key: str(vcf.parent / "absent.vcf")}
    with pytest.raises(FormatError, match=r"absent\.vcf: no such"):
        load(ctx, **params)


def test_params_are_checked() -> None:
    for wrong in ({}, {"path": "a", "region": "1:9-2"}, {"path": "a", "colour": "red"}):
        with pytest.raises(ValidationError):
            FileParams.model_validate(wrong)


@pytest.mark.parametrize("kind", ["plain", "gzip", "indexed", "bgzip and indexed", "lower case"])
def test_reference_sequence(
    kind: str, bases: str, panel: Panel, vcf: Path, ctx: RunContext, tmp_path: Path
) -> None:
    text = bases.lower() if kind == "lower case" else bases
    lines = "\n".join(text[i : i + 60] for i in range(0, LENGTH, 60))
    fasta = f">19 other\nACGTACGT\n>chr20 the one\n{lines}\n>21\nAAAA\n"
    path = tmp_path / ("r.fa.gz" if "zip" in kind else "r.fa")
    if kind == "gzip":
        path.write_bytes(gzip.compress(fasta.encode()))
    elif kind == "bgzip and indexed":
        with pysam.BGZFile(str(path), "wb") as out:
            out.write(fasta.encode())
    else:
        path.write_text(fasta)
    if "indexed" in kind:
        pysam.faidx(str(path))
    loaded = File().load(FileParams(path=str(vcf), fasta=str(path)), ctx)
    sequence = loaded.sequence
    assert sequence is not None
    first, last = int(panel.positions[0]), int(panel.positions[-1])
    assert sequence.bases.tobytes().decode() == bases[first - 1 : last]
    assert (sequence.start, sequence.surrogate) == (first, False)
    assert not list(tmp_path.glob("r.fa.fai")) or "indexed" in kind  # nothing written beside it


@pytest.mark.parametrize(
    ("fasta", "expected"),
    [
        (">19\nACGT\n", r"no contig '20'; it holds 19"),
        (">20\nACGT\n", "contig 20 ends before 20:18"),
        ("ACGT\n", r"r.fa:1: expected a FASTA header"),
        (">20\n" + "A" * LENGTH + "\n", r"reference alleles of the panel are other bases there"),
        (
            ">20\n" + "ACGT-" * 400 + "\n",
            r"20:105 holds '-', expected a base \(355 such characters",
        ),
        (">20\n" + "AC GT" * 400 + "\n", "20:103 holds ' ', expected a base"),
    ],
)
def test_wrong_reference_sequence(
    fasta: str, expected: str, vcf: Path, ctx: RunContext, tmp_path: Path
) -> None:
    (tmp_path / "r.fa").write_text(fasta)
    with pytest.raises(FormatError, match=expected):
        load(ctx, path=str(vcf), fasta=str(tmp_path / "r.fa"))


def test_reference_sequence_of_the_other_strand(
    bases: str, vcf: Path, ctx: RunContext, tmp_path: Path
) -> None:
    turned = bases.translate(str.maketrans("ACGT", "TGCA"))
    (tmp_path / "r.fa").write_text(f">NC_000020.10 a\n{turned}\n")
    with pytest.raises(FormatError, match="names the other strand's bases: flip them"):
        load(ctx, path=str(vcf), fasta=str(tmp_path / "r.fa"))


def test_sequence_index_of_an_older_file(
    bases: str, vcf: Path, ctx: RunContext, tmp_path: Path
) -> None:
    path = tmp_path / "r.fa"
    path.write_text(f">19\nACGT\n>20\n{bases}\n")
    pysam.faidx(str(path))
    load(ctx, path=str(vcf), fasta=str(path))
    path.write_text(f">19\nACGTACGT\n>20\n{bases}\n")
    with pytest.raises(FormatError, match="contig 20 isn't where r.fa.fai says.*samtools faidx"):
        load(ctx, path=str(vcf), fasta=str(path))


@pytest.mark.parametrize(
    ("first", "step", "remark"), [(50, 40, ""), (600, 40, "covers 38% of the region")]
)
def test_map_beside_the_region(
    first: int, step: int, remark: str, panel: Panel, vcf: Path, ctx: RunContext, tmp_path: Path
) -> None:
    path = tmp_path / "map.txt"
    rows = [f"{at}\tchr20\t{at / 1e6}\n" for at in range(first, first + step * 50, step)]
    path.write_text("pos\tchr\tcM\n" + "".join(rows[: 50 if not remark else 18]))
    provenance = load(ctx, path=str(vcf), map=str(path)).provenance  # type: ignore[attr-defined]
    assert provenance["map"].startswith(str(path))
    assert remark in provenance["map"]
    assert bool(remark) == ("covers" in provenance["map"])


def test_map_far_from_the_region(vcf: Path, ctx: RunContext, tmp_path: Path) -> None:
    path = tmp_path / "map.txt"
    path.write_text("pos\tchr\tcM\n50000000\t20\t1\n51000000\t20\t2\n")
    with pytest.raises(FormatError, match="map.txt: the recombination map covers 50000000 to"):
        load(ctx, path=str(vcf), map=str(path))


@pytest.mark.parametrize("name", ["b.vcz", "b.pgen", "b.bed", "b.hapt"])
def test_fingerprint_follows_every_file(name: str, panel: Panel, tmp_path: Path) -> None:
    path = tmp_path / name
    write_panel(panel, path)
    labels = tmp_path / "labels.tsv"
    labels.write_text("sample\tpop\n" + "".join(f"P{i}\tX\n" for i in range(6)))
    params = FileParams(path=str(path), panel_file=str(labels))
    first = File().fingerprint(params)
    assert first == File().fingerprint(params)
    touched = [labels, *(each for each in tmp_path.glob("b.*") if each.is_file())]
    touched += [path / "call_genotype" / "0.0.0"] if path.is_dir() else []
    assert len(touched) >= 2
    for each in touched:
        os.utime(each, ns=(1, 1))
        later = File().fingerprint(params)
        assert later != first, each
        first = later
    assert File().fingerprint(params.model_copy(update={"region": "20:1-500"})) != first
    with pytest.raises(FormatError, match="no such file"):
        File().fingerprint(FileParams(path=str(tmp_path / "absent.vcf")))


def test_fingerprint_follows_content_of_the_same_size_and_time(vcf: Path) -> None:
    params = FileParams(path=str(vcf))
    first, stamp, data = File().fingerprint(params), vcf.stat(), bytearray(vcf.read_bytes())
    data[len(data) // 2] ^= 1
    time.sleep(0.02)  # file systems count in some milliseconds
    vcf.write_bytes(data)
    os.utime(vcf, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert (vcf.stat().st_size, vcf.stat().st_mtime_ns) == (stamp.st_size, stamp.st_mtime_ns)
    assert File().fingerprint(params) != first


def test_strict_names_the_first_record_left_out(vcf: Path, tmp_path: Path, ctx: RunContext) -> None:
    text = gzip.decompress(vcf.read_bytes()).decode().split("\n")
    body = [i for i, line in enumerate(text) if line.startswith("20\t")]
    for i, alt in ((body[5], "<DEL>"), (body[3], "G,T"), (body[8], "G,T")):
        fields = text[i].split("\t")
        text[i] = "\t".join([*fields[:4], alt, *fields[5:]])
    path = tmp_path / "b.vcf"
    path.write_text("\n".join(text).replace("AC=", "XX="))
    loaded = File().load(FileParams(path=str(path)), ctx)
    assert loaded.skipped == {"multi-allelic": 2, "structural variant": 1}
    third = 101 + 3 * 37
    with pytest.raises(FormatError, match=rf"20:{third}: multi-allelic \(2 such records\)"):
        load(ctx, path=str(path), strict=True)


def test_keeps_the_contract_of_datasets(vcf: Path) -> None:
    assert check_dataset("file", params={"path": str(vcf)})
