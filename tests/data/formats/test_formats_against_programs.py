"""Readers and writers against bcftools, PLINK 1.9, PLINK 2 and bio2zarr, on real haplotypes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from haplobench import FormatError, Panel
from haplobench.data.formats import ReadOptions, labels_beside, read_panel, vcz, write_panel

CHR1 = "1kg_p3_chr1_11.70-11.84Mb.vcf.gz"
CHR4 = "1kg_p3_chr4_93.1-94.7Mb_EUR297_AFR268.vcf.gz"
CHR20 = "1kg_p3_chr20_1-4Mb_EUR300.vcf.gz"
Program = Callable[..., str]


@pytest.fixture
def program() -> Program:
    """Run a program in a folder; skips where it isn't installed."""

    def run(*words: object, cwd: Path | None = None) -> str:
        if shutil.which(str(words[0])) is None:
            pytest.skip(f"{words[0]} isn't installed (make oracles)")
        done = subprocess.run(
            [str(word) for word in words], capture_output=True, text=True, check=True, cwd=cwd
        )
        return done.stdout

    return run


@pytest.fixture(scope="module")
def small(data_dir: Path) -> Panel:
    """Two populations at some hundred sites, indels between them, labels included."""
    options = ReadOptions(
        region="4:93400000-93425000",
        panel_file=data_dir / "1kg_p3.panel.tsv",
        populations=("TSI", "YRI"),
        build="GRCh37",
    )
    panel, _ = read_panel(data_dir / CHR4, options)
    assert panel.haplotypes.shape == (2 * (107 + 108), panel.n_sites)
    assert panel.n_sites > 400
    return panel


def written(panel: Panel, path: Path) -> Path:
    write_panel(panel, path)
    return path


# --- VCF ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "common"), [(CHR1, 741), (CHR4, 5581), (CHR20, 9349)])
def test_vcf_counts_as_bcftools(name: str, common: int, data_dir: Path, program: Program) -> None:
    panel, skipped = read_panel(data_dir / name)
    query = ("bcftools", "query", "-f", "%POS %REF %ALT\n")
    snps = program(*query, "-i", 'TYPE="snp" && N_ALT=1', data_dir / name).split("\n")[:-1]
    sites = zip(panel.positions, panel.ref, panel.alt, strict=True)
    assert [f"{position} {ref} {alt}" for position, ref, alt in sites] == snps
    total = len(program(*query, data_dir / name).split("\n")) - 1
    assert panel.n_sites + sum(skipped.values()) == total
    several = program(*query, "-i", "N_ALT>1", data_dir / name).count("\n")
    assert skipped.get("multi-allelic", 0) == several
    alternate, called = panel.allele_counts
    assert int((np.minimum(alternate, called - alternate) * 100 >= called).sum()) == common


def test_vcf_frequencies_are_those_of_bcftools(data_dir: Path, program: Program) -> None:
    panel, _ = read_panel(data_dir / CHR1)
    text = program("bcftools", "query", "-f", "%AC\n", "-i", 'TYPE="snp"', data_dir / CHR1)
    np.testing.assert_array_equal(panel.allele_counts[0], np.array(text.split(), int))


def test_vcf_haplotypes_are_those_of_bcftools(
    small: Panel, data_dir: Path, program: Program
) -> None:
    text = program(
        *("bcftools", "query", "-f", "[%GT|]\n", "-r", "4:93400000-93425000"),
        *("-i", 'TYPE="snp" && N_ALT=1', "-s", ",".join(small.samples), data_dir / CHR4),
    )
    rows = [line.strip("|").split("|") for line in text.split("\n")[:-1]]
    np.testing.assert_array_equal(small.haplotypes.T, np.array(rows, np.int8))


def test_region_by_index_and_in_passing(data_dir: Path, tmp_path: Path) -> None:
    options = ReadOptions(region="chr20:2000000-2100000")
    indexed, _ = read_panel(data_dir / CHR20, options)
    shutil.copy(data_dir / CHR20, tmp_path / "bare.vcf.gz")
    bare, _ = read_panel(tmp_path / "bare.vcf.gz", options)
    assert indexed.digest == bare.digest
    assert indexed.positions[0] >= 2_000_000
    assert indexed.positions[-1] <= 2_100_000


@pytest.mark.parametrize("name", ["a.vcf.gz", "a.bcf"])
def test_written_vcf_is_what_bcftools_reads(
    name: str, small: Panel, tmp_path: Path, program: Program
) -> None:
    path = written(small, tmp_path / name)
    assert program("bcftools", "index", "-s", path).split() == ["4", ".", str(small.n_sites)]
    region = f"4:{small.positions[10]}-{small.positions[19]}"
    text = program("bcftools", "query", "-r", region, "-f", "%POS %AC %AN[|%GT]\n", path)
    lines = text.split("\n")[:-1]
    assert len(lines) == 10
    for site, line in enumerate(lines, 10):
        facts, *genotypes = line.split("|", 1)
        alternate, called = small.allele_counts[:, site]
        assert facts == f"{small.positions[site]} {alternate} {called}"
        assert genotypes[0].split("|") == small.haplotypes[:, site].astype(str).tolist()


# --- VCF Zarr -------------------------------------------------------------------------------


def test_vcz_is_what_bio2zarr_makes_of_the_vcf(small: Panel, tmp_path: Path) -> None:
    bio2zarr = pytest.importorskip("bio2zarr.vcf")
    zarr = pytest.importorskip("zarr")
    vcf = written(small, tmp_path / "a.vcf.gz")
    labels_beside(vcf).unlink()  # which others don't know
    bio2zarr.convert([str(vcf)], tmp_path / "theirs.vcz", worker_processes=0)
    theirs, skipped = read_panel(tmp_path / "theirs.vcz", ReadOptions(build="GRCh37"))
    direct, _ = read_panel(vcf, ReadOptions(build="GRCh37"))
    assert theirs.digest == direct.digest
    assert skipped == {}
    ours = zarr.open_group(str(written(small, tmp_path / "ours.vcz")), mode="r")
    converted = zarr.open_group(str(tmp_path / "theirs.vcz"), mode="r")
    for name in (
        *("call_genotype", "call_genotype_mask", "call_genotype_phased", "contig_id"),
        *("region_index", "sample_id", "variant_allele", "variant_contig", "variant_filter"),
        *("variant_id_mask", "variant_length", "variant_position"),
    ):
        np.testing.assert_array_equal(ours[name][:], converted[name][:], err_msg=name)
        dimensions = [group[name].attrs["_ARRAY_DIMENSIONS"] for group in (ours, converted)]
        assert dimensions[0] == dimensions[1], name
        assert ours[name].metadata.zarr_format == 2


def test_vcz_of_real_records_counts_as_the_vcf(
    data_dir: Path, tmp_path: Path, program: Program
) -> None:
    bio2zarr = pytest.importorskip("bio2zarr.vcf")
    # With structural variants, indels and multi-allelic sites, in several chunks.
    people = ",".join(program("bcftools", "query", "-l", data_dir / CHR4).split()[:20])
    program(
        *("bcftools", "view", "-r", "4:93400000-93500000", "-s", people, "-Oz"),
        *("-o", tmp_path / "a.vcf.gz", data_dir / CHR4),
    )
    program("bcftools", "index", "-t", tmp_path / "a.vcf.gz")
    bio2zarr.convert(
        [str(tmp_path / "a.vcf.gz")],
        tmp_path / "a.vcz",
        variants_chunk_size=300,
        samples_chunk_size=7,
        worker_processes=0,
    )
    for region in ("", "4:93420000-93440000", "chr4:93420000-"):
        found, skipped = read_panel(tmp_path / "a.vcz", ReadOptions(region=region))
        expected, counted = read_panel(tmp_path / "a.vcf.gz", ReadOptions(region=region))
        assert found.digest == expected.digest
        assert skipped == counted
        assert set(skipped) >= {"indel"}
    someone = ReadOptions(samples=tuple(expected.samples[[3, 11]]))
    found, _ = read_panel(tmp_path / "a.vcz", someone)
    assert found.digest == read_panel(tmp_path / "a.vcf.gz", someone)[0].digest


def test_vcz_region_touches_only_its_chunks(
    small: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vcz, "_CHUNK_SITES", 50)
    path = written(small, tmp_path / "a.vcz")
    first, last = small.positions[120], small.positions[180]
    region = ReadOptions(region=f"4:{first}-{last}", build="GRCh37")
    for array in path.glob("variant_*"):
        _spoil(array, {2, 3})
    _spoil(path / "call_genotype", {2, 3})
    _spoil(path / "call_genotype_phased", {2, 3})
    found, _ = read_panel(path, region)
    np.testing.assert_array_equal(found.haplotypes, small.haplotypes[:, 120:181])
    with pytest.raises(FormatError, match=r"a\.vcz: array \w+, rows .* can't be read"):
        read_panel(path)


def _spoil(array: Path, keep: set[int]) -> None:
    """Overwrite all chunks of variants but some."""
    for chunk in array.iterdir():
        if chunk.name[0] != "." and int(chunk.name.split(".")[0]) not in keep:
            chunk.write_bytes(b"spoilt")


# --- PLINK ----------------------------------------------------------------------------------


def test_plink2_reads_our_pgen(small: Panel, tmp_path: Path, program: Program) -> None:
    written(small, tmp_path / "ours.pgen")
    program("plink2", "--pfile", "ours", "--export", "vcf", "--out", "theirs", cwd=tmp_path)
    found, skipped = read_panel(tmp_path / "theirs.vcf", ReadOptions(build="GRCh37"))
    np.testing.assert_array_equal(found.haplotypes, small.haplotypes)
    assert found.same_sites(small)
    assert skipped == {}
    # Labels are those of its own columns.
    kept = program(
        *("plink2", "--pfile", "ours", "--keep-if", "SuperPop==AFR", "--write-samples"),
        *("--out", "afr"),
        cwd=tmp_path,
    )
    assert "108 samples" in kept


def test_we_read_the_pgen_of_plink2(small: Panel, tmp_path: Path, program: Program) -> None:
    vcf = written(small, tmp_path / "a.vcf.gz")
    labels_beside(vcf).unlink()  # which others don't know
    program("plink2", "--vcf", vcf, "--make-pgen", "--out", "theirs", cwd=tmp_path)
    options = ReadOptions(build="GRCh37")
    expected, _ = read_panel(vcf, options)
    assert read_panel(tmp_path / "theirs.pgen", options)[0].digest == expected.digest
    program("plink2", "--vcf", vcf, "--make-pgen", "vzs", "--out", "packed", cwd=tmp_path)
    assert read_panel(tmp_path / "packed.pgen", options)[0].digest == expected.digest
    some = options.model_copy(
        update={"samples": tuple(small.samples[[5, 40, 200]]), "region": "4:93405000-93410000"}
    )
    assert read_panel(tmp_path / "theirs.pgen", some)[0].digest == read_panel(vcf, some)[0].digest


def test_we_read_the_pgen_of_mixed_records(
    data_dir: Path, tmp_path: Path, program: Program
) -> None:
    program(
        *("bcftools", "view", "-r", "4:93400000-93450000", "-Oz", "-o", tmp_path / "a.vcf.gz"),
        data_dir / CHR4,
    )
    program(
        *("plink2", "--vcf", "a.vcf.gz", "--make-pgen", "--out", "theirs", "--max-alleles", 9),
        cwd=tmp_path,
    )
    expected, counted = read_panel(tmp_path / "a.vcf.gz")
    found, skipped = read_panel(tmp_path / "theirs.pgen")
    assert set(counted) >= {"indel", "multi-allelic"}
    assert skipped == counted
    assert found.digest == expected.digest


@pytest.mark.parametrize("plink", ["plink2", "plink1.9"])
def test_we_read_the_bed_of_plink(
    plink: str, small: Panel, tmp_path: Path, program: Program
) -> None:
    vcf = written(small, tmp_path / "a.vcf.gz")
    program(
        *(plink, "--vcf", vcf, "--make-bed", "--out", "theirs"),
        *(("--keep-allele-order", "--double-id") if plink == "plink1.9" else ()),
        cwd=tmp_path,
    )
    found, skipped = read_panel(tmp_path / "theirs.bed")
    assert not found.phased
    assert skipped == {}
    np.testing.assert_array_equal(found.dosages(), small.dosages())
    assert found.same_sites(small)
    some = ReadOptions(samples=tuple(small.samples[[5, 40, 200]]))
    np.testing.assert_array_equal(
        read_panel(tmp_path / "theirs.bed", some)[0].dosages(), small.dosages()[[5, 40, 200]]
    )


@pytest.mark.parametrize("plink", ["plink2", "plink1.9"])
def test_plink_reads_our_bed(plink: str, small: Panel, tmp_path: Path, program: Program) -> None:
    rng = np.random.default_rng(5)
    haplotypes = small.haplotypes.copy()
    gone = np.repeat(rng.random((small.n_samples, small.n_sites)) < 0.05, 2, axis=0)
    haplotypes[gone] = -1
    panel = small.with_haplotypes(haplotypes, samples=small.samples)
    written(panel, tmp_path / "ours.bed")
    if plink == "plink2":
        program("plink2", "--bfile", "ours", "--freq", "counts", "--out", "t", cwd=tmp_path)
        table = np.loadtxt(tmp_path / "t.acount", dtype=str, skiprows=1)
        alternate, called = table[:, 4].astype(int), table[:, 5].astype(int)
    else:
        program(
            *("plink1.9", "--bfile", "ours", "--freq", "counts", "--keep-allele-order"),
            *("--out", "t"),
            cwd=tmp_path,
        )
        table = np.loadtxt(tmp_path / "t.frq.counts", dtype=str, skiprows=1)
        alternate = table[:, 4].astype(int)
        called = alternate + table[:, 5].astype(int)
    np.testing.assert_array_equal(alternate, panel.allele_counts[0])
    np.testing.assert_array_equal(called, panel.allele_counts[1])
