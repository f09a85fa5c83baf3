"""X, Y and mitochondria: a man's one copy is read once, from every format that writes it twice."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from haplobench import FormatError, Panel
from haplobench.data.formats import ReadOptions, read_panel, write_panel

CASES = Path(__file__).parents[1] / "cases"
PEOPLE = [f"P{i}" for i in range(8)]
MEN = tuple(PEOPLE[::2])
WOMEN = tuple(PEOPLE[1::2])
N_SITES = 60


def alleles(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (N_SITES, 8, 2))


def vcf(
    path: Path,
    *,
    contig: str = "X",
    first: int = 3_000_000,
    doubled: bool = False,
    men: bool = True,
) -> Path:
    """People of both sexes; men's genotypes are one allele, or it twice."""
    lines = [
        "##fileformat=VCFv4.2",
        f"##contig=<ID={contig},length=155270560>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        "\t".join([*"#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT".split(), *PEOPLE]),  # noqa: SIM905
    ]
    for i, row in enumerate(alleles()):
        calls = [f"{a}|{b}" for a, b in row]
        if men:
            calls[::2] = [f"{a}|{a}" if doubled else f"{a}" for a, _ in row[::2]]
        lines.append(
            "\t".join([contig, str(first + 100 * i), ".", "A", "C", ".", ".", ".", "GT", *calls])
        )
    path.write_text("\n".join(lines) + "\n")
    return path


def labels(folder: Path) -> Path:
    path = folder / "panel.tsv"
    rows = [f"{name}\tGBR\tEUR\t{'fe' * (i % 2)}male\n" for i, name in enumerate(PEOPLE)]
    path.write_text("sample\tpop\tsuper_pop\tgender\n" + "".join(rows))
    return path


def run(*words: object, cwd: Path) -> None:
    if shutil.which(str(words[0])) is None:
        pytest.skip(f"{words[0]} isn't installed (make oracles)")
    subprocess.run([str(word) for word in words], capture_output=True, check=True, cwd=cwd)


def converted(source: Path, kind: str) -> Path:
    """The same records as BCF by bcftools, VCF Zarr by bio2zarr, PLINK files by plink2."""
    folder = source.parent
    if kind == "vcf":
        return source
    if kind in ("bcf", "vcz"):
        ending = "bcf" if kind == "bcf" else "vcf.gz"
        compressed = folder / f"a.{ending}"
        run(
            "bcftools",
            "view",
            "-O",
            ending[0] if kind == "bcf" else "z",
            "-o",
            compressed,
            source,
            cwd=folder,
        )
        run("bcftools", "index", "-f", compressed, cwd=folder)
        if kind == "vcz":
            bio2zarr = pytest.importorskip("bio2zarr.vcf")
            bio2zarr.convert([str(compressed)], folder / "a.vcz", worker_processes=0)
        return folder / f"a.{kind}"
    (folder / "sex.txt").write_text(
        "#IID\tSEX\n" + "".join(f"{name}\t{1 + i % 2}\n" for i, name in enumerate(PEOPLE))
    )
    make = "--make-pgen" if kind == "pgen" else "--make-bed"
    run("plink2", "--vcf", source, "--update-sex", "sex.txt", make, "--out", "a", cwd=folder)
    return folder / f"a.{kind}"


@pytest.mark.parametrize("kind", ["vcf", "bcf", "vcz", "pgen", "bed"])
@pytest.mark.parametrize("contig", ["X", "chr23"])
def test_men_alone_are_haploid(kind: str, contig: str, tmp_path: Path) -> None:
    path = converted(vcf(tmp_path / "a.vcf", contig=contig), kind)
    options = ReadOptions(samples=MEN, build="GRCh37")
    panel, skipped = read_panel(path, options)
    assert (panel.ploidy, panel.n_haplotypes, skipped) == (1, 4, {})
    np.testing.assert_array_equal(panel.haplotypes.T, alleles()[:, ::2, 0])
    women, _ = read_panel(path, ReadOptions(samples=WOMEN, build="GRCh37"))
    assert women.ploidy == 2
    np.testing.assert_array_equal(women.dosages().T, alleles()[:, 1::2].sum(axis=2))
    with pytest.raises(FormatError, match=r"sample P\d: ploidy \d, expected \d.*women only or men"):
        read_panel(path, ReadOptions(build="GRCh37"))


def test_men_of_a_vcf_that_writes_them_twice(tmp_path: Path) -> None:
    path = vcf(tmp_path / "a.vcf", doubled=True)
    known = ReadOptions(panel_file=labels(tmp_path), build="hg19")
    panel, _ = read_panel(path, known.model_copy(update={"samples": MEN}))
    assert panel.ploidy == 1
    np.testing.assert_array_equal(panel.haplotypes.T, alleles()[:, ::2, 0])
    with pytest.raises(FormatError, match="ploidy 1, expected 2"):
        read_panel(path, known)
    # Without their sexes the genotypes tell.
    with pytest.raises(FormatError, match="4 of 8 people who aren't known to be women have no"):
        read_panel(path)
    assert read_panel(path, ReadOptions(samples=WOMEN))[0].ploidy == 2


def test_men_have_two_pseudo_autosomal_copies(tmp_path: Path) -> None:
    path = vcf(tmp_path / "a.vcf", first=2_000_000, men=False)
    panel, _ = read_panel(path, ReadOptions(panel_file=labels(tmp_path), build="GRCh38"))
    assert (panel.ploidy, panel.n_samples) == (2, 8)
    across = vcf(tmp_path / "b.vcf", first=2_696_600, men=False)
    options = ReadOptions(panel_file=labels(tmp_path), samples=MEN, build="GRCh37")
    with pytest.raises(FormatError, match="a region in or outside the pseudo-autosomal ones"):
        read_panel(across, options)
    with pytest.raises(
        FormatError, match="X:2696600 is pseudo-autosomal in some builds.*set build"
    ):
        read_panel(across, options.model_copy(update={"build": ""}))


def test_a_heterozygous_man_is_missing_and_counted(tmp_path: Path) -> None:
    path = vcf(tmp_path / "a.vcf", doubled=True)
    lines = path.read_text().split("\n")
    fields = lines[10].split("\t")
    fields[9 + 2] = "0|1"
    lines[10] = "\t".join(fields)
    path.write_text("\n".join(lines))
    options = ReadOptions(panel_file=labels(tmp_path), samples=MEN, build="GRCh37")
    panel, skipped = read_panel(path, options)
    assert panel.n_sites == N_SITES - 1
    assert skipped == {"heterozygous where people have one copy": 1}
    panel, skipped = read_panel(path, options.model_copy(update={"max_missing": 0.5}))
    assert (int((panel.haplotypes < 0).sum()), skipped) == (1, {})


@pytest.mark.parametrize(("contig", "people"), [("Y", MEN), ("24", MEN), ("MT", ()), ("chrM", ())])
def test_y_and_mitochondria_are_haploid(
    contig: str, people: tuple[str, ...], tmp_path: Path
) -> None:
    path = vcf(tmp_path / "a.vcf", contig=contig, doubled=True)
    lines = [line.split("\t") for line in path.read_text().split("\n")[:-1]]
    for fields in lines[4:]:
        fields[10::2] = [f"{call[0]}|{call[0]}" for call in fields[10::2]]
    path.write_text("\n".join("\t".join(fields) for fields in lines) + "\n")
    panel, _ = read_panel(path, ReadOptions(samples=people))
    assert (panel.ploidy, panel.n_haplotypes) == (1, len(people) or 8)
    if people:
        with pytest.raises(FormatError, match="sample P1 is a woman, and the contig is"):
            read_panel(path, ReadOptions(panel_file=labels(tmp_path)))


def test_plink_x_is_haploid_in_men_even_in_pseudo_autosomal_places() -> None:
    with pytest.raises(FormatError, match="30 of 30 people who aren't known to be women.*men only"):
        read_panel(CASES / "xmale.pgen")
    names = [line.split() for line in (CASES / "xmale.psam").read_text().split("\n")[1:-1]]
    men, _ = read_panel(
        CASES / "xmale.pgen", ReadOptions(samples=tuple(name for name, sex in names if sex == "1"))
    )
    assert (men.ploidy, men.n_haplotypes) == (1, 30)
    women, _ = read_panel(
        CASES / "xmale.pgen", ReadOptions(samples=tuple(name for name, sex in names if sex == "2"))
    )
    theirs, _ = read_panel(CASES / "x_women.vcf.gz")
    assert women.digest == theirs.digest


@pytest.mark.parametrize("name", ["a.vcf.gz", "a.bcf", "a.vcz", "a.hapt", "a.hapt.gz"])
def test_haploid_panels_round_trip(name: str, tmp_path: Path) -> None:
    panel = Panel(
        haplotypes=alleles()[:, :, 0].T.astype(np.int8),
        positions=np.arange(3_000_000, 3_000_000 + N_SITES),
        contig="X",
        samples=np.array(PEOPLE),
        ref=np.full(N_SITES, "A"),
        alt=np.full(N_SITES, "C"),
        ploidy=1,
    )
    write_panel(panel, tmp_path / name)
    assert read_panel(tmp_path / name)[0].digest == panel.digest
