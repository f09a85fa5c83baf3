"""VCF Zarr as others read it: xarray (so sgkit), vcztools, PLINK 2; and chunks that are lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from malformed_files import one_line, swap

from haplobench import FormatError, Panel
from haplobench.data.formats import ReadOptions, read_panel, vcz, write_panel
from haplobench.data.formats.streaming import Columns

zarr = pytest.importorskip("zarr")
numcodecs = pytest.importorskip("numcodecs")


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> Panel:
    """25 people at 30 sites in three chunks; nobody carries anything in the second."""
    monkeypatch.setattr(vcz, "_CHUNK_SITES", 10)
    rng = np.random.default_rng(5)
    haplotypes = rng.integers(0, 2, (50, 30)).astype(np.int8)
    haplotypes[:, 10:20] = 0
    haplotypes[2:4, [2, 25]] = -1
    return Panel(
        haplotypes=haplotypes,
        positions=np.arange(101, 401, 10),
        contig="20",
        samples=np.array([f"P{i:02}" for i in range(25)]),
        ref=np.full(30, "A"),
        alt=np.full(30, "C"),
    )


@pytest.fixture
def written(panel: Panel, tmp_path: Path) -> Path:
    write_panel(panel, tmp_path / "a.vcz")
    return tmp_path / "a.vcz"


def vcztools(path: Path) -> str:
    pytest.importorskip("vcztools", reason="needs the extra `test`, on Python 3.11")
    command = [sys.executable, "-m", "vcztools", "view", path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def absent_chunks(store: Path) -> list[str]:
    """Names of the arrays with a chunk that isn't there."""
    group = zarr.open_group(str(store), mode="r")
    return [name for name, array in group.arrays() if array.nchunks_initialized < array.nchunks]


def test_xarray_reads_what_was_written(panel: Panel, written: Path) -> None:
    xarray = pytest.importorskip("xarray", reason="needs the extra `test`")
    read = xarray.open_zarr(written, consolidated=False, chunks=None)
    # sgkit's conventions: int8 with -1 missing, a mask beside it, contigs by number.
    calls = panel.haplotypes.T.reshape(30, 25, 2)
    assert read.call_genotype.dtype == np.int8
    np.testing.assert_array_equal(read.call_genotype, calls)
    assert read.call_genotype.dims == ("variants", "samples", "ploidy")
    for mask in ("call_genotype_mask", "call_genotype_phased", "variant_filter"):
        assert read[mask].dtype == np.bool_
    np.testing.assert_array_equal(read.call_genotype_mask, calls < 0)
    assert read.call_genotype_phased.values.all()
    assert read.variant_contig.values.tolist() == [0] * 30
    assert read.variant_position.dtype == np.int32
    np.testing.assert_array_equal(read.variant_position, panel.positions)
    assert read.variant_allele.values.tolist() == [["A", "C"]] * 30
    assert read.sample_id.values.tolist() == panel.samples.tolist()
    # The VCF specification's missing float, section 6.3.3: not any NaN.
    assert set(read.variant_quality.values.view(np.uint32).tolist()) == {0x7F800001}


def test_layout_is_that_of_bio2zarr(panel: Panel, written: Path, tmp_path: Path) -> None:
    bio2zarr = pytest.importorskip("bio2zarr.vcf")
    write_panel(panel, tmp_path / "a.vcf.gz")
    bio2zarr.convert([str(tmp_path / "a.vcf.gz")], tmp_path / "b.vcz", worker_processes=0)
    ours, theirs = (
        json.loads((tmp_path / name / ".zattrs").read_text()) for name in ("a.vcz", "b.vcz")
    )
    assert ours["vcf_zarr_version"] == theirs["vcf_zarr_version"]
    for name in (path.name for path in written.iterdir() if path.is_dir()):
        described = [
            json.loads((store / name / ".zarray").read_text())
            for store in (written, tmp_path / "b.vcz")
        ]
        if described[0]["dtype"] != "|O":  # of names, bio2zarr's are empty text
            assert described[0]["fill_value"] == described[1]["fill_value"], name
        kinds = {item["dtype"].strip("<|")[0] for item in described}
        assert len(kinds) == 1, name


def test_vcztools_writes_what_plink_and_bcftools_read(
    panel: Panel, written: Path, tmp_path: Path
) -> None:
    for program in ("plink2", "bcftools"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} isn't installed (make oracles)")
    text = vcztools(written)
    (tmp_path / "a.vcf").write_text(text)
    query = ["bcftools", "query", "-f", "%POS %QUAL[ %GT]\n", tmp_path / "a.vcf"]
    lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    calls = panel.haplotypes.T.astype(str)
    calls[calls == "-1"] = "."
    for line, position, alleles in zip(lines, panel.positions, calls, strict=True):
        assert line.split() == [str(position), ".", *map("|".join, alleles.reshape(25, 2))]
    command = ["plink2", "--vcf", "a.vcf", "--make-pgen", "--out", "b", "--silent"]
    subprocess.run(command, cwd=tmp_path, check=True)
    allowed = ReadOptions(max_missing=0.5)
    assert read_panel(tmp_path / "b.pgen", allowed)[0].haplotypes.tolist() == (
        read_panel(tmp_path / "a.vcf", allowed)[0].haplotypes.tolist()
    )


def test_every_chunk_is_written(panel: Panel, written: Path, tmp_path: Path) -> None:
    into = Columns(tmp_path / "b.vcz", panel, panel)
    into.begin({})
    into.add(0, np.maximum(panel.haplotypes, 0))
    into.finish()
    assert absent_chunks(written) == absent_chunks(tmp_path / "b.vcz") == []


@pytest.mark.parametrize("ending", [".vcz", ".zarr"])
@pytest.mark.parametrize(
    "chunk",
    [
        *("call_genotype/0.0.0", "call_genotype/1.0.0", "call_genotype/2.0.0", "contig_id/0"),
        *("region_index/0.0", "sample_id/0", "variant_allele/1.0", "variant_position/1"),
    ],
)
def test_a_lost_chunk_is_named(chunk: str, ending: str, written: Path) -> None:
    store = written.rename(written.with_suffix(ending))
    assert read_panel(store, ReadOptions(max_missing=0.5))[0].n_sites == 30
    (store / chunk).unlink()
    name, key = chunk.split("/")
    with pytest.raises(FormatError, match=f"array {name}, rows .*the chunk {key} is not there"):
        read_panel(store, ReadOptions(max_missing=0.5))


def test_a_region_needs_its_own_chunks_only(panel: Panel, written: Path) -> None:
    (written / "call_genotype" / "2.0.0").unlink()
    region = ReadOptions(region="20:201-300", max_missing=0.5)
    found, _ = read_panel(written, region)
    np.testing.assert_array_equal(found.haplotypes, panel.haplotypes[:, 10:20])


def test_people_need_their_own_chunks_only(panel: Panel, tmp_path: Path) -> None:
    store = tmp_path / "a.vcz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vcz, "_CHUNK_SAMPLES", 10)
        write_panel(panel, store)
    (store / "call_genotype" / "1.1.0").unlink()
    allowed = {"max_missing": 0.5}
    first, _ = read_panel(store, ReadOptions(samples=("P03", "P24"), **allowed))
    np.testing.assert_array_equal(first.haplotypes, panel.haplotypes[[6, 7, 48, 49]])
    with pytest.raises(FormatError, match=r"the chunk 1\.1\.0 is not there"):
        read_panel(store, ReadOptions(samples=("P03", "P15"), **allowed))


def converted(panels: Iterable[Panel], folder: Path, **options: int) -> Path:
    """One VCF Zarr of several contigs, by bio2zarr."""
    bio2zarr = pytest.importorskip("bio2zarr.vcf")
    if shutil.which("bcftools") is None:
        pytest.skip("bcftools isn't installed (make oracles)")
    names = []
    for panel in panels:
        names.append(folder / f"{panel.contig}.vcf.gz")
        write_panel(panel, names[-1])
    command = ["bcftools", "concat", "-Oz", "-o", folder / "both.vcf.gz", *names]
    subprocess.run(command, check=True, capture_output=True)
    subprocess.run(["bcftools", "index", folder / "both.vcf.gz"], check=True)
    bio2zarr.convert(
        [str(folder / "both.vcf.gz")], folder / "both.vcz", worker_processes=0, **options
    )
    return folder / "both.vcz"


def test_bio2zarrs_chunks_of_zeros(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves them out: fine for the first contig's number, refused for genotypes."""
    second = Panel(
        haplotypes=panel.haplotypes, positions=panel.positions, contig="21",
        samples=panel.samples, ref=panel.ref, alt=panel.alt,
    )  # fmt: skip
    store = converted([panel, second], tmp_path, variants_chunk_size=10)
    assert {"variant_contig", "call_genotype"} <= set(absent_chunks(store))
    allowed = {"max_missing": 0.5}
    found, _ = read_panel(store, ReadOptions(region="20:1-200", **allowed))
    np.testing.assert_array_equal(found.haplotypes, panel.haplotypes[:, :10])
    with pytest.raises(FormatError, match=r"array call_genotype.*chunk 1\.0\.0 is not there"):
        read_panel(store, ReadOptions(contig="20", **allowed))
    # As the hint says.
    monkeypatch.setenv("ZARR_ARRAY__WRITE_EMPTY_CHUNKS", "True")
    shutil.rmtree(store)
    convert = (
        "import sys; from bio2zarr import vcf; "
        "vcf.convert(sys.argv[1:2], sys.argv[2], worker_processes=0, variants_chunk_size=10)"
    )
    command = [sys.executable, "-c", convert, tmp_path / "both.vcf.gz", store]
    subprocess.run(command, check=True, capture_output=True)
    for contig in ("20", "21"):
        found, _ = read_panel(store, ReadOptions(contig=contig, **allowed))
        np.testing.assert_array_equal(found.haplotypes, panel.haplotypes)
    # Records of the second contig that lost their number would be the first's.
    (store / "variant_contig" / "3").unlink()
    with pytest.raises(FormatError, match=r"region_index counts 10 records of contig 21"):
        read_panel(store, ReadOptions(contig="21", **allowed))
    shutil.rmtree(store / "region_index")
    with pytest.raises(FormatError, match=r"array variant_contig.*chunk 3 is not there"):
        read_panel(store, ReadOptions(contig="20", **allowed))


def test_an_index_of_other_records_is_refused(written: Path) -> None:
    group = zarr.open_group(str(written), mode="r+")
    index = group["region_index"][:]
    index[1, 5] = 7
    group["region_index"][:] = index
    with pytest.raises(FormatError, match="region_index counts 7 records of contig 20 in chunk 1"):
        read_panel(written, ReadOptions(max_missing=0.5))


@pytest.mark.parametrize("number", [3, -1])
def test_a_contig_without_a_name(number: int, written: Path) -> None:
    group = zarr.open_group(str(written), mode="r+")
    group["variant_contig"][:] = np.full(30, number, np.int8)
    shutil.rmtree(written / "region_index")
    with pytest.raises(FormatError, match=f"contig number {number}, but contig_id has 1 name"):
        read_panel(written)


@pytest.mark.parametrize("shards", [None, (20, 25, 2)])
def test_zarr_format_3(shards: tuple[int, ...] | None, panel: Panel, tmp_path: Path) -> None:
    """Chunks lie elsewhere, and several may lie in one file."""
    write_panel(panel, tmp_path / "a.vcz")
    old = zarr.open_group(str(tmp_path / "a.vcz"), mode="r")
    new = zarr.create_group(str(tmp_path / "b.vcz"), zarr_format=3, attributes=dict(old.attrs))
    for name, array in old.arrays():
        texts = array.dtype.kind not in "iubf"
        made = new.create_array(
            name, shape=array.shape, chunks=array.chunks, dtype=str if texts else array.dtype,
            shards=shards if name == "call_genotype" else None,
            config={"write_empty_chunks": True},
        )  # fmt: skip
        made[...] = array[...]
    allowed = ReadOptions(max_missing=0.5)
    found, _ = read_panel(tmp_path / "b.vcz", allowed)
    assert found.digest == read_panel(tmp_path / "a.vcz", allowed)[0].digest
    (tmp_path / "b.vcz" / "call_genotype" / "c" / "1" / "0" / "0").unlink()
    with pytest.raises(FormatError, match="array call_genotype.*the chunk c/1/0/0 is not there"):
        read_panel(tmp_path / "b.vcz", allowed)


@pytest.mark.parametrize("chunk", ["contig_id/0", "sample_id/0", "variant_allele/1.0"])
@pytest.mark.parametrize("more", [1, 1 << 24, (1 << 32) - 100])
def test_a_chunk_of_texts_that_counts_more_than_it_holds(
    chunk: str, more: int, written: Path
) -> None:
    """numcodecs would ask for 8 bytes of memory for each text, 34 GB in the last case."""
    array = zarr.open_group(str(written), mode="r")[chunk.split("/")[0]]
    assert isinstance(array, zarr.Array)
    path = written / chunk
    content = path.read_bytes()
    for codec in array.compressors:
        content = bytes(codec.decode(content))  # type: ignore[union-attr, arg-type]
    count = int.from_bytes(content[:4], "little") + more + len(content) // 4
    content = count.to_bytes(4, "little") + content[4:]
    for codec in array.compressors:
        content = bytes(codec.encode(content))  # type: ignore[union-attr, arg-type]
    path.write_bytes(content)
    with pytest.raises(FormatError, match=rf"{chunk}: counts {count:,} texts, and there is room"):
        read_panel(written, ReadOptions(max_missing=0.5))


@pytest.mark.parametrize("chunk", ["contig_id/0", "sample_id/0", "call_genotype/0.0.0"])
def test_a_chunk_cut_short_is_refused(chunk: str, written: Path) -> None:
    path = written / chunk
    whole = path.read_bytes()
    values = numcodecs.Blosc().decode(whole)
    for content in (whole, bytes(numcodecs.Blosc(clevel=0).encode(values))):
        path.write_bytes(content)
        read_panel(written, ReadOptions(max_missing=0.5))
        for length in (1, 13, 16, 20, len(content) - 1):
            path.write_bytes(content[:length])
            with pytest.raises(FormatError, match=f"{chunk}: {length} bytes?, and Blosc's header"):
                read_panel(written, ReadOptions(max_missing=0.5))


def test_a_folder_in_the_place_of_a_chunk(written: Path) -> None:
    (written / "call_genotype" / "1.0.0").unlink()
    (written / "call_genotype" / "1.0.0").mkdir()
    with pytest.raises(FormatError, match="array call_genotype.*the chunk 1.0.0 is not there"):
        read_panel(written, ReadOptions(max_missing=0.5))


def test_metadata_that_never_end_are_no_zarr(small_panel: Panel, tmp_path: Path) -> None:
    write_panel(small_panel, tmp_path / "a.vcz")
    named = (".zgroup", ".zattrs", ".zmetadata", ".zarray", "zarr.json")
    described = [path for path in sorted((tmp_path / "a.vcz").rglob("*")) if path.name in named]
    assert len(described) > 2
    for each in described:
        each.rename(tmp_path / "away")
        os.mkfifo(each)
        with pytest.raises(FormatError, match=f"{each.name}: found a pipe or a device, expected"):
            read_panel(tmp_path / "a.vcz", ReadOptions())
        each.unlink()
        (tmp_path / "away").replace(each)


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda z: (z / ".zgroup").unlink(), "a.vcz: not a Zarr group"),
        (
            lambda z: (z / "variant_position").rename(z / "elsewhere"),
            "a.vcz: not a VCF Zarr: lacks the arrays variant_position",
        ),
        (
            lambda z: (z / "call_genotype" / "0.0.0").write_bytes(b"junk"),
            "a.vcz/call_genotype/0.0.0: 4 bytes, and Blosc's header tells of more",
        ),
        (
            lambda z: (z / "call_genotype" / "0.0.0").write_bytes(bytes(16)),
            "a.vcz: array call_genotype, rows 0 to 6: can't be read",
        ),
        (
            lambda z: swap(z / "variant_contig" / ".zarray", "6", "5"),
            r"a.vcz: array variant_contig has shape \(5,\), expected",
        ),
    ],
)
def test_vcz(
    harm: Callable[[Path], object], expected: str, small_panel: Panel, tmp_path: Path
) -> None:
    write_panel(small_panel, tmp_path / "a.vcz")
    harm(tmp_path / "a.vcz")
    with pytest.raises(FormatError, match=expected):
        read_panel(tmp_path / "a.vcz")
    one_line(tmp_path / "a.vcz")


def test_vcz_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.vcz").write_text("x")
    assert "found a file, expected a folder" in one_line(tmp_path / "a.vcz")
