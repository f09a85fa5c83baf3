"""Files of every format, changed at random: read as other programs read them, or refused.

Where bcftools or PLINK 2 reads the changed file too, each site read must be theirs, allele by
allele.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pysam
import pytest
from fuzzing import fuzz, mutate_bytes

from haplobench import FormatError, Panel, RecombinationMap
from haplobench.data.formats import ReadOptions, read_panel, write_panel
from haplobench.datasets.file import read_sequence

N_PEOPLE, N_SITES = 6, 40
NAMES = [f"P{i}" for i in range(N_PEOPLE)]
TOGETHER = 50
LOOSE = ReadOptions(max_missing=1.0, allow_unphased=True)
READINGS = {
    "strictly": ReadOptions(),
    "loosely": LOOSE,
    "all variants": LOOSE.model_copy(update={"snps_only": False}),
    "a region": LOOSE.model_copy(update={"region": "20:1100-1300"}),
    "some people": LOOSE.model_copy(update={"samples": ("P1", "P4")}),
}
CELLS = (
    *(
        "",
        ".",
        "0",
        "1",
        "-1",
        "2",
        "0|1",
        "0/1",
        "1|",
        "|1",
        "0|2",
        "1|99999",
        "0|1|1",
        "./.",
        ".|1",
    ),
    *(
        "A",
        "a",
        "C",
        "N",
        "*",
        "AT",
        "<DEL>",
        "A[20:9[",
        "C,G",
        "nan",
        "inf",
        "1e3",
        "1e400",
        "1_0",
    ),
    *("20", "chr20", "X", "0x1", "2147483648", "99999999999999999999", "P1", "GT", "PS", "GT:PS"),
    *("é", "\x00", " ", "#", "##", "'", "1,5", "-", "+1", "³"),
)


def mutate_table(content: bytes, rng: random.Random) -> bytes:
    """A text with some cells or lines changed, or changed byte by byte."""
    if rng.random() < 0.2:
        return mutate_bytes(content, rng)
    lines = content.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(lines))
        cells = re.split(rb"([\t ]+)", lines[at])
        match rng.randrange(8):
            case 0:
                lines[at : at + 1] = [lines[at]] * 2
            case 1:
                del lines[at]
                lines = lines or [b""]
            case 2:
                other = rng.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                lines[at] = b"".join(cells[: rng.randrange(len(cells)) + 1])
            case _:
                place = 2 * rng.randrange((len(cells) + 1) // 2)
                cells[place] = rng.choice(CELLS).encode()
                lines[at] = b"".join(cells)
    return b"\n".join(lines)


def mutate_bgzf(content: bytes, rng: random.Random) -> bytes:
    """A compressed text changed before or after compression."""
    if rng.random() < 0.4:
        return mutate_bytes(content, rng)
    from haplobench.data.formats.bgzf import compress
    from haplobench.data.formats.options import BGZF_END

    text = zlib.decompressobj(31)
    plain, rest = b"", content
    while rest:
        plain += text.decompress(rest)
        rest, text = text.unused_data, zlib.decompressobj(31)
    return compress(mutate_table(plain, rng)) + BGZF_END


@pytest.fixture
def panel() -> Panel:
    rng = np.random.default_rng(1)
    ref = rng.integers(0, 4, N_SITES)
    bases = np.array(list("ACGT"))
    return Panel(
        haplotypes=rng.integers(0, 2, (2 * N_PEOPLE, N_SITES)).astype(np.int8),
        positions=1_000 + np.cumsum(rng.integers(1, 30, N_SITES)),
        contig="20",
        samples=np.array(NAMES),
        ref=bases[ref],
        alt=bases[(ref + rng.integers(1, 4, N_SITES)) % 4],
    )


def contents(folder: Path, *names: str) -> dict[Path, bytes]:
    return {folder / name: (folder / name).read_bytes() for name in names}


def vcf_lines(panel: Panel) -> str:
    """The panel, with records of other kinds among its sites."""
    head = [
        "##fileformat=VCFv4.2",
        "##contig=<ID=20,length=63025520>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        '##FORMAT=<ID=PS,Number=1,Type=Integer,Description="Phase set">',
        "#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT ".replace(" ", "\t") + "\t".join(NAMES),
    ]
    rng = np.random.default_rng(2)
    for i, position in enumerate(panel.positions.tolist()):
        ref, alt = str(panel.ref[i]), str(panel.alt[i])
        pairs = panel.haplotypes[:, i].reshape(-1, 2).tolist()
        calls = [f"{a}|{b}" for a, b in pairs]
        if i % 7 == 3:
            ref, alt = ref + "T", ref
        if i % 7 == 4:
            alt = ",".join(sorted(set("ACGT") - {ref})[:2])
        if i % 7 == 5:
            calls[rng.integers(N_PEOPLE)] = "./."
        if i % 7 == 6:
            calls[rng.integers(N_PEOPLE)] = "0/1"
        head.append("\t".join(["20", str(position), ".", ref, alt, ".", "PASS", ".", "GT", *calls]))
    return "\n".join(head) + "\n"


def same_as_bcftools(path: Path, found: Panel, counted: int | None) -> None:
    """Hold what was read against what bcftools says of the same file, if it reads it."""
    if shutil.which("bcftools") is None:
        return
    done = subprocess.run(
        ["bcftools", "query", "-f", "%CHROM\t%POS\t%REF\t%ALT[\t%GT]\n", str(path)],
        capture_output=True,
    )
    names = subprocess.run(["bcftools", "query", "-l", str(path)], capture_output=True)
    if done.returncode or b"[W::" in done.stderr or b"[E::" in done.stderr:
        return
    people = names.stdout.decode(errors="replace").split("\n")[:-1]
    rows = [line.split("\t") for line in done.stdout.decode(errors="replace").split("\n")[:-1]]
    mine = [row for row in rows if row[0] == found.contig]
    if counted is not None:
        assert len(mine) == found.n_sites + counted, f"{len(mine)} records"
    at = {}
    for row in mine:
        at.setdefault((int(row[1]), row[2].upper(), row[3].upper()), row)
    index = [4 + people.index(name) for name in found.samples.tolist()]
    for i, position in enumerate(found.positions.tolist()):
        row = at[position, found.ref[i].upper(), found.alt[i].upper()]
        calls = [re.split(r"[|/]", row[each]) for each in index]
        theirs = [-1 if allele == "." else int(allele) for call in calls for allele in call]
        ours = found.haplotypes[:, i].tolist()
        if not found.phased:
            theirs, ours = (
                [sorted(each[k : k + found.ploidy]) for k in range(0, len(each), found.ploidy)]
                for each in (theirs, ours)
            )
        assert ours == theirs or "." in [row[each] for each in index], f"{position}: {row}"


def read_as(
    path: Path, oracle: Callable[..., None] | None = None
) -> dict[str, Callable[[], object]]:
    def reader(name: str, options: ReadOptions) -> Callable[[], object]:
        def read() -> None:
            found, skipped = read_panel(path, options)
            if oracle is not None:
                everything = name in ("strictly", "loosely", "all variants")
                oracle(path, found, sum(skipped.values()) if everything else None)

        return read

    return {name: reader(name, options) for name, options in READINGS.items()}


@pytest.mark.parametrize("name", ["a.vcf", "a.vcf.gz", "a.bcf"])
def test_vcf(name: str, panel: Panel, tmp_path: Path) -> None:
    plain, path = tmp_path / "plain.vcf", tmp_path / name
    plain.write_text(vcf_lines(panel))
    files = [name]
    if name == "a.bcf":
        with (
            pysam.VariantFile(str(plain)) as records,
            pysam.VariantFile(str(path), "wb", header=records.header) as out,
        ):
            for record in records:
                out.write(record)
        pysam.tabix_index(str(path), preset="bcf", csi=True)
        files = [name, name, f"{name}.csi"]
    elif name == "a.vcf.gz":
        with pysam.BGZFile(str(path), "wb") as packed:
            packed.write(plain.read_bytes())
        pysam.tabix_index(str(path), preset="vcf")
        files = [name, name, f"{name}.tbi"]
    else:
        path.write_bytes(plain.read_bytes())
    mutate = mutate_table if name == "a.vcf" else mutate_bgzf
    readers = read_as(path, same_as_bcftools)
    fuzz(f"readers {name}", contents(tmp_path, *files), readers, mutate, together=TOGETHER)


def same_as_plink(path: Path, found: Panel, counted: int | None) -> None:
    """Hold genotypes against those that PLINK 2 exports, if it reads the files."""
    if shutil.which("plink2") is None:
        return
    kind = "--pfile" if path.suffix == ".pgen" else "--bfile"
    out = path.with_name("theirs")
    done = subprocess.run(
        [
            *("plink2", kind, str(path.with_suffix("")), "--export", "vcf", "--out", str(out)),
            *("--allow-extra-chr", "--threads", "1", "--memory", "640"),
        ],
        capture_output=True,
    )
    exported = out.with_suffix(".vcf")
    if done.returncode or not exported.exists():
        return
    text = exported.read_bytes().decode(errors="replace")
    exported.unlink()
    rows = [line.split("\t") for line in text.split("\n") if line and not line.startswith("##")]
    people = rows[0][9:]
    names = found.samples.tolist()
    if len(set(people)) != len(people) or not set(names) <= set(people):
        return  # FID_IID
    at: dict[int, list[list[str]]] = {}
    for row in rows[1:]:
        at.setdefault(int(row[1]), []).append(row)
    dosages = found.dosages()
    for i, position in enumerate(found.positions.tolist()):
        theirs = []
        # PLINK passes over control characters.
        mine = [re.sub(r"[\x00-\x1f]", "", str(each[i])).upper() for each in (found.ref, found.alt)]
        if mine[0] in ("0", "."):  # not known
            mine[0] = "N"
        for row in at[position]:
            calls = [re.split(r"[|/]", row[9 + people.index(name)]) for name in names]
            if [text.upper() for text in row[3:5]] == mine:
                theirs.append([-1 if "." in call else sum(map(int, call)) for call in calls])
        assert dosages[:, i].tolist() in theirs, (
            f"{found.ref[i]!r} {found.alt[i]!r} {dosages[:, i]} {at[position]}"
        )


def mutate_plink(content: bytes, rng: random.Random) -> bytes:
    binary = content[:2] == b"\x6c\x1b"
    return (mutate_bytes if binary else mutate_table)(content, rng)


@pytest.mark.parametrize(
    ("name", "others"), [("a.pgen", ("a.pvar", "a.psam")), ("a.bed", ("a.bim", "a.fam"))]
)
def test_plink(name: str, others: tuple[str, ...], panel: Panel, tmp_path: Path) -> None:
    write_panel(panel, tmp_path / name)
    files = contents(tmp_path, name, *others)
    readers = read_as(tmp_path / name, same_as_plink)
    fuzz(f"readers {name}", files, readers, mutate_plink, together=TOGETHER)


def test_vcf_zarr(panel: Panel, tmp_path: Path) -> None:
    write_panel(panel, tmp_path / "a.vcz")
    files = sorted(path for path in (tmp_path / "a.vcz").rglob("*") if path.is_file())
    fuzz(
        "readers vcz",
        {path: path.read_bytes() for path in files},
        read_as(tmp_path / "a.vcz"),
        together=TOGETHER,
    )


@pytest.mark.parametrize("name", ["a.hapt", "a.hapt.gz"])
def test_hapt(name: str, panel: Panel, tmp_path: Path) -> None:
    write_panel(panel, tmp_path / name)
    mutate = mutate_table if name == "a.hapt" else mutate_bytes
    fuzz(f"readers {name}", contents(tmp_path, name, "a.legend"), read_as(tmp_path / name), mutate)


SHAPEIT = "pos\tchr\tcM\n" + "".join(f"{1000 + 50 * i}\t20\t{i / 100}\n" for i in range(30))
HAPMAP = "Chromosome\tPosition(bp)\tRate(cM/Mb)\tMap(cM)\n" + "".join(
    f"chr20\t{1000 + 50 * i}\t200\t{i / 100}\n" for i in range(30)
)
BEDGRAPH = "chrom\tchromStart\tchromEnd\tvalue\n" + "".join(
    f"20\t{1000 + 50 * i}\t{1050 + 50 * i}\t200\n" for i in range(30)
)


@pytest.mark.parametrize("text", [SHAPEIT, HAPMAP, BEDGRAPH])
def test_maps(text: str, tmp_path: Path) -> None:
    path = tmp_path / "map.txt"
    path.write_text(text)

    def read() -> None:
        found = RecombinationMap.read(path, "20")
        assert np.isfinite(found.centimorgans).all()
        assert (np.diff(found.centimorgans) >= 0).all()
        assert (np.diff(found.positions) > 0).all()

    fuzz(f"readers map {text[:4]}", contents(tmp_path, "map.txt"), {"read": read}, mutate_table)


@pytest.mark.parametrize("indexed", [True, False])
def test_fasta(indexed: bool, panel: Panel, tmp_path: Path) -> None:
    path = tmp_path / "r.fa"
    bases = np.random.default_rng(3).choice(list("ACGT"), 2_500)
    bases[panel.positions - 1] = panel.ref
    text = "".join(bases)
    lines = "\n".join(text[i : i + 60] for i in range(0, len(text), 60))
    path.write_text(f">19\nACGT\n>20\n{lines}\n>21\nACGT\n")
    if indexed:
        pysam.faidx(str(path))

    def read() -> None:
        found = read_sequence(path, panel)
        assert set(found.bases.tobytes()) <= set(b"ACGTN")
        assert found.bases.size == panel.positions[-1] - panel.positions[0] + 1

    files = ("r.fa", "r.fa.fai") if indexed else ("r.fa",)
    fuzz(f"readers fasta {indexed}", contents(tmp_path, *files), {"read": read}, mutate_table)


def test_oracle_sees_a_wrong_reading(panel: Panel, tmp_path: Path) -> None:
    if shutil.which("bcftools") is None or shutil.which("plink2") is None:
        pytest.skip("bcftools or plink2 isn't installed (make oracles)")
    write_panel(panel, tmp_path / "a.vcf.gz")
    write_panel(panel, tmp_path / "a.pgen")
    same_as_bcftools(tmp_path / "a.vcf.gz", panel, 0)
    same_as_plink(tmp_path / "a.pgen", panel, 0)
    haplotypes = panel.haplotypes.copy()
    haplotypes[3, 7] ^= 1
    wrong = panel.with_haplotypes(haplotypes, samples=panel.samples)
    for oracle, name in ((same_as_bcftools, "a.vcf.gz"), (same_as_plink, "a.pgen")):
        with pytest.raises(AssertionError):
            oracle(tmp_path / name, wrong, None)
    with pytest.raises(FormatError):
        read_panel(tmp_path / "a.absent")
