"""Programs in any language: a script, bcftools and a coalescent simulator, run for real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_cases import fit, need, rows

from haplobench import BenchError, FormatError, Panel, RunContext, SampleRequest
from haplobench.data.formats import write_panel
from haplobench.testing import check_generator, example_context, example_panel
from haplobench_command import SPECS, ConditionalCommandParams, OwnSitesCommandParams
from haplobench_command.generator import (
    CommandGenerator,
    read_matrix,
    read_ms,
    read_rows,
    write_matrix,
)

COMMAND, COMMAND_POPULATIONS, COMMAND_OWN_SITES = SPECS
RESAMPLE = str(Path(__file__).with_name("resample.awk"))
AWK = ["awk", "-v", "n={n_haplotypes}", "-v", "seed={seed}", "-f", RESAMPLE]
MATRIX: dict[str, Any] = {"input_format": "matrix", "output_format": "matrix"}
# Draws whole people: a random column of the VCF for each.
BCFTOOLS = (
    "bcftools view {model}.bcf | awk -v n={n_samples} -v seed={seed} "
    '\'BEGIN {OFS="\\t"; srand(seed)} /^##/ {print; next} '
    "!k[1] {for (i=1; i<=n; i++) k[i] = 10 + int(rand() * (NF - 9))} "
    "{line = $1; for (i=2; i<10; i++) line = line OFS $i; "
    'for (i=1; i<=n; i++) line = line OFS (/^#/ ? "s" i : $(k[i])); print line}\' > {output}'
)
SCRM = ["scrm", "{n_haplotypes}", "1", "-t", "30", "-r", "30", "{length}", "-seed", "{seed}"]
POPULATIONS = (
    # Alleles 1 for those of the first population asked for, 0 for others, at every site.
    "awk -v sites={n_sites} 'NR == 1 {{next}} NR == 2 {first = $2} "
    '{line = ""; for (i = 0; i < sites; i++) line = line ($2 == first ? 1 : 0); print line; '
    "print line}' {populations} > {output}"
)


@pytest.fixture
def panel() -> Panel:
    return example_panel(n_samples=30, n_sites=80)


@pytest.fixture
def ctx(tmp_path: Path, panel: Panel) -> RunContext:
    return example_context(tmp_path, panel)


def test_a_script_keeps_the_contract_and_copies_training_people(
    panel: Panel, ctx: RunContext
) -> None:
    need("awk")
    params = {"sample": [*AWK, "{train}"], **MATRIX}
    check_generator(COMMAND, params=params, n_haplotypes=300)
    sampled = rows(fit(ctx, panel, **params), 300, ctx)
    real = {row.tobytes() for row in panel.haplotypes}
    assert {row.tobytes() for row in sampled} <= real
    assert len(np.unique(sampled, axis=0)) > 10


def test_a_shell_may_be_asked_for(panel: Panel, ctx: RunContext) -> None:
    need("awk")
    line = f"awk -v n={{n_haplotypes}} -v seed={{seed}} -f {RESAMPLE} < {{train}} > {{output}}"
    by_shell = rows(fit(ctx, panel, sample={"shell": line}, **MATRIX), 40, ctx)
    other = example_context(ctx.scratch / "other", panel)
    printed = rows(fit(other, panel, sample=[*AWK, "{train}"], **MATRIX), 40, other)
    np.testing.assert_array_equal(by_shell, printed)


def test_bcftools_fits_and_samples_people(panel: Panel, ctx: RunContext) -> None:
    need("bcftools", "awk")
    pytest.importorskip("cyvcf2")
    params = {
        "fit": ["bcftools", "view", "{train}", "-Ob", "-o", "{model}.bcf"],
        "sample": {"shell": BCFTOOLS},
        "output_format": "vcf",
        "block": 64,
    }
    check_generator(COMMAND, params=params, n_haplotypes=140)
    sampled = rows(fit(ctx, panel, **params), 64, ctx)
    people = {panel.haplotypes[2 * i : 2 * i + 2].tobytes() for i in range(panel.n_samples)}
    assert {sampled[2 * i : 2 * i + 2].tobytes() for i in range(32)} <= people


def test_scrm_with_sites_of_its_own(panel: Panel, ctx: RunContext) -> None:
    need("scrm")
    params = {"sample": SCRM, "output_format": "ms"}
    check_generator(COMMAND_OWN_SITES, params=params, n_haplotypes=60)
    fitted = CommandGenerator().fit(panel, OwnSitesCommandParams(**params), ctx)
    pi, n = [], 40
    for draw in range(30):
        (cohort,) = fitted.sample(SampleRequest(n, start=draw * n), ctx)
        assert isinstance(cohort, Panel)
        assert cohort.contig == panel.contig
        assert (
            panel.positions[0] <= cohort.positions[0] < cohort.positions[-1] <= panel.positions[-1]
        )
        p = cohort.frequencies
        pi.append(float((2 * p * (1 - p)).sum() * n / (n - 1)))
    # E[pi] = theta; its variance with no recombination, which is an upper bound (Tajima 1983).
    theta = 30.0
    variance = (n + 1) / (3 * (n - 1)) * theta + 2 * (n**2 + n + 3) / (9 * n * (n - 1)) * theta**2
    assert abs(np.mean(pi) - theta) < 4 * np.sqrt(variance / 30)


def test_populations_are_handed_on_person_by_person(panel: Panel, ctx: RunContext) -> None:
    need("awk")
    params = ConditionalCommandParams(
        sample={"shell": POPULATIONS}, output_format="matrix", block=64
    )
    fitted = CommandGenerator().fit(panel, params, ctx)
    asked = np.repeat(np.where(np.arange(32) % 3 == 0, "CEU", "YRI"), 2)
    sampled = rows(fitted, 64, ctx, populations=asked)
    np.testing.assert_array_equal(sampled[:, 0], asked == "CEU")
    assert COMMAND_POPULATIONS.conditional


def test_a_failure_quotes_the_program(panel: Panel, ctx: RunContext) -> None:
    said = wrong(panel, ctx, "echo nothing; echo 'no luck: line 7' >&2; exit 3")
    assert "exited with 3" in said
    assert said.endswith("no luck: line 7")
    assert "ended by signal 9" in wrong(panel, example_context(ctx.scratch, panel), "kill -9 $$")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("true", "wrote nothing to {output}"),
        ("echo 0101", "output.matrix:1: found b'0101\\n', 4 characters; expected 80 alleles"),
        ("yes 2 | head -80 | tr -d '\\n'", "expected 80 alleles 0 or 1"),
        ("yes 1 | head -80 | tr -d '\\n'", "1 haplotypes, expected 256"),
    ],
)
def test_wrong_matrices(line: str, words: str, panel: Panel, ctx: RunContext) -> None:
    assert words in wrong(panel, ctx, line)


def test_the_environment_is_small_and_stated(
    panel: Panel, ctx: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAPLOBENCH_SECRET", "hidden")
    seen = wrong(panel, ctx, "env >&2; pwd >&2; exit 1", environment={"COLOUR": "green"})
    assert "COLOUR=green" in seen
    assert "hidden" not in seen
    assert "OMP_NUM_THREADS=1" in seen
    assert str(Path.cwd()) in seen


# --- what goes wrong --------------------------------------------------------------------------


def wrong(panel: Panel, ctx: RunContext, line: str, **params: Any) -> str:
    sample = {"shell": f": {{n_samples}}; {line}"}
    fitted = fit(ctx, panel, sample=sample, **({"output_format": "matrix"} | params))
    with pytest.raises(BenchError) as caught:
        rows(fitted, 8, ctx)
    return str(caught.value)


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
