"""What programs write, held against the panel's sites: matrices, panels, the output of ms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_cases import fit, rows

from haplobench import FormatError, Panel, RunContext
from haplobench.data.formats import write_panel
from haplobench.testing import example_context, example_panel
from haplobench_command.formats import read_matrix, read_ms, read_rows, write_matrix


@pytest.fixture
def panel() -> Panel:
    return example_panel(n_samples=30, n_sites=80)


@pytest.fixture
def ctx(tmp_path: Path, panel: Panel) -> RunContext:
    return example_context(tmp_path, panel)


@pytest.fixture
def files(tmp_path: Path, panel: Panel) -> Path:
    pytest.importorskip("cyvcf2")
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def served(panel: Panel, ctx: RunContext, made: Panel, folder: Path, **params: Any) -> Any:
    write_panel(made, folder / "made.vcf.gz")
    line = {"shell": f": {{n_samples}}; cp {folder}/made.vcf.gz {{output}}"}
    fitted = fit(ctx, panel, sample=line, block=8, **params)
    return rows(fitted, 8, ctx)


def test_a_cohort_is_aligned_to_the_panels_sites(
    panel: Panel, ctx: RunContext, files: Path
) -> None:
    made = panel.with_haplotypes(np.array(panel.haplotypes[:8]))
    np.testing.assert_array_equal(served(panel, ctx, made, files), made.haplotypes)


def test_absent_sites_are_refused_or_reference(panel: Panel, tmp_path: Path, files: Path) -> None:
    made = panel.with_haplotypes(np.array(panel.haplotypes[:8]))
    keep = np.ones(panel.n_sites, bool)
    keep[[3, 50]] = False
    part = made.select_sites(keep)
    with pytest.raises(FormatError, match=rf"2 of the panel's 80 sites.*:{panel.positions[3]} \("):
        served(panel, example_context(tmp_path / "a", panel), part, files)
    filled = served(
        panel, example_context(tmp_path / "b", panel), part, files, absent_sites="reference"
    )
    np.testing.assert_array_equal(filled[:, keep], part.haplotypes)
    assert not filled[:, ~keep].any()


def test_missing_calls_are_no_absent_sites(panel: Panel, tmp_path: Path, files: Path) -> None:
    haplotypes = np.array(panel.haplotypes[:8])
    haplotypes[3, 5] = -1
    made = panel.with_haplotypes(haplotypes)
    expected = f"{panel.contig}:{panel.positions[5]} has missing alleles, expected 0 and 1"
    for rule in ("refuse", "reference"):
        with pytest.raises(FormatError, match=expected):
            served(panel, example_context(tmp_path / rule, panel), made, files, absent_sites=rule)


@pytest.mark.parametrize(
    ("sites", "expected"),
    [
        (["A\tC,G\t0|1\t2|0"], "1 multi-allelic"),
        (["A\tC\t0|1\t0|0", "A\tG\t0|0\t1|0"], "2 duplicate position"),
        (["A\t.\t.\t."], ""),
    ],
)
def test_records_that_cant_be_read_are_no_absent_sites(
    sites: list[str], expected: str, panel: Panel, tmp_path: Path
) -> None:
    """Only a record without alternate allele says that nobody carries one."""
    where = panel.select_sites(np.arange(2))
    first, second = (
        f"{where.contig}\t{where.positions[i]}\t.\t{where.ref[i]}\t{where.alt[i]}\t.\t.\t.\tGT\t"
        for i in range(2)
    )
    path = tmp_path / "made.vcf"
    body = [first + "0|1\t1|1\n"]
    for site in sites:
        ref, alt, *calls = site.split("\t")
        line = second.replace(f"\t{where.ref[1]}\t{where.alt[1]}\t", f"\t{ref}\t{alt}\t")
        body.append(line + "\t".join(calls) + "\n")
    path.write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=1>\n##contig=<ID=20>\n"
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="G">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\n" + "".join(body)
    )
    if not expected:
        rows = read_rows(path, "vcf", 4, where, "reference")
        assert rows.tolist() == [[0, 0], [1, 0], [1, 0], [1, 0]]
        return
    with pytest.raises(FormatError, match=f"can't be a site of the panel: {expected}"):
        read_rows(path, "vcf", 4, where, "reference")


def test_other_sites_and_alleles_are_refused(panel: Panel, tmp_path: Path, files: Path) -> None:
    from dataclasses import replace

    made = panel.with_haplotypes(np.array(panel.haplotypes[:8]))
    moved = made.positions.copy()
    moved[-1] += 5
    with pytest.raises(FormatError, match="1 sites that the panel doesn't have"):
        served(panel, example_context(tmp_path / "a", panel), replace(made, positions=moved), files)
    swapped = replace(made, ref=made.alt, alt=made.ref)
    with pytest.raises(FormatError, match="in the panel"):
        served(panel, example_context(tmp_path / "b", panel), swapped, files)
    few = made.select_samples(np.arange(2))
    with pytest.raises(FormatError, match="4 haplotypes, expected 8"):
        served(panel, example_context(tmp_path / "c", panel), few, files)


# --- plain formats ----------------------------------------------------------------------------


def test_matrices_round_trip(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    haplotypes = rng.integers(0, 2, (1030, 37)).astype(np.int8)
    write_matrix(haplotypes, tmp_path / "m")
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "m", dtype=np.int8), haplotypes)
    np.testing.assert_array_equal(read_matrix(tmp_path / "m", 1030, 37), haplotypes)


def test_ms_as_msprime_writes_it(tmp_path: Path) -> None:
    msprime = pytest.importorskip("msprime")
    trees = msprime.sim_ancestry(10, sequence_length=1e5, recombination_rate=1e-8,
                                 population_size=1e4, random_seed=3)  # fmt: skip
    trees = msprime.sim_mutations(trees, rate=2e-8, random_seed=4, model="binary")
    genotypes = trees.genotype_matrix().T
    with (tmp_path / "ms").open("w") as out:
        out.write("mspms 20 1\n1 2 3\n\n//\n")
        out.write(f"segsites: {trees.num_sites}\npositions: ")
        relative = trees.sites_position / 1e5
        out.write(" ".join(f"{x:.9f}" for x in relative) + "\n")
        out.write("\n".join("".join(map(str, row)) for row in genotypes) + "\n")
    like = example_panel(n_samples=4)
    read = read_ms(tmp_path / "ms", 20, like)
    np.testing.assert_array_equal(read.haplotypes, genotypes)
    expected = like.positions[0] + relative * like.span
    assert np.abs(read.positions - expected).max() < 3
    with pytest.raises(FormatError, match="20 haplotypes, expected 22"):
        read_ms(tmp_path / "ms", 22, like)
    (tmp_path / "none").write_text("ms\n\n//\nsegsites: 0\n\n")
    with pytest.raises(FormatError, match="no segregating sites"):
        read_ms(tmp_path / "none", 20, like)
