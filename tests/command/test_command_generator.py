"""Programs in any language: a script, bcftools and a coalescent simulator, run for real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_cases import fit, need, rows

from haplobench import BenchError, Panel, RunContext, SampleRequest
from haplobench.testing import check_generator, example_context, example_panel
from haplobench_command.generator import CommandGenerator
from haplobench_command.specs import (
    SPECS,
    ConditionalCommandParams,
    OwnSitesCommandParams,
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
