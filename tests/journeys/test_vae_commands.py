"""`bench generate` and `bench explore` of a fitted `vae`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from haplobench.cli import main
from haplobench.data.formats import read_panel

SUITE = """
name: tiny
seeds: [1]
datasets:
  - name: embedded
    label: eur
    params: {region: "20:1000000-1100000"}
    split: {holdout: 0.2, validation: 0.1, seed: 1}
generators:
  - {name: vae, params: {window: 32, codes: 16, dimension: 16, heads: 2, epochs: 2}}
metrics: [allele-frequency]
sample: {haplotypes: 20, draws: 1}
floor: {draws: 1}
"""


@pytest.mark.slow
def test_commands_explore_and_generate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(SUITE)

    def bench(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    ran = bench("run", "tiny.yaml", "--only", "vae", "--no-report")
    assert ran[0] == 0, ran
    for ending in ("bcf", "vcz", "pgen"):
        made = bench("generate", "tiny", "-g", "vae", "-n", "600", "--to", f"x.{ending}")
        assert made[0] == 0, made
        assert "600 haplotypes" in made[1]
    cohorts = [read_panel(tmp_path / f"x.{ending}")[0] for ending in ("bcf", "vcz", "pgen")]
    for cohort in cohorts:
        np.testing.assert_array_equal(cohort.haplotypes, cohorts[0].haplotypes)
    assert cohorts[0].samples[-1] == "synthetic300"
    part = bench(
        *("generate", "tiny", "-g", "vae", "-n", "40", "--start", "500", "--to", "part.vcz")
    )
    assert part[0] == 0, part
    found = read_panel(tmp_path / "part.vcz")[0]
    np.testing.assert_array_equal(found.haplotypes, cohorts[0].haplotypes[500:540])
    assert found.samples[0] == "synthetic251"

    names = ("HG00096", "HG00171")
    way = bench(
        *("explore", "tiny", "-g", "vae", "--from", names[0], "--until", names[1]),
        *("--steps", "5", "--to", "way"),
    )
    assert way[0] == 0, way
    steps = read_panel(tmp_path / "way" / "haplotypes.vcf.gz")[0]
    assert steps.samples.tolist() == [f"step{i}" for i in range(1, 6)]
    assert np.load(tmp_path / "way" / "latents.npy").shape[0] == 4
    assert (tmp_path / "way" / "pca.svg").read_text().startswith("<svg")
    rows = (tmp_path / "way" / "pca.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows] == ["person", *names, *steps.samples]
    walk = bench(
        *("explore", "tiny", "-g", "vae", "--from", names[0], "--latent", "0", "--to", "walk"),
        *("--format", "bcf"),
    )
    assert walk[0] == 0, walk
    assert read_panel(tmp_path / "walk" / "haplotypes.bcf")[0].n_samples == 9

    for arguments, message in (
        (["generate", "tiny", "-g", "vea", "-n", "4", "--to", "y.bcf"], "there are: eur/copycat"),
        (["generate", "tiny", "-g", "vae", "-n", "4", "--to", "y.bed"], "can't be streamed"),
        (["generate", "tiny", "-g", "vae", "-n", "4", "--to", "y.bcf", "--population", "JPT"],
         "'JPT' is asked for"),
        (["explore", "tiny", "-g", "independent", "--from", names[0], "--latent", "0",
          "--to", "z"], "no latent space to explore"),
        (["explore", "tiny", "-g", "vae", "--from", "Anna", "--latent", "0", "--to", "z"],
         "nobody is called 'Anna'"),
        (["explore", "tiny", "-g", "vae", "--from", names[0], "--to", "z"], "either --until"),
    ):  # fmt: skip
        code, _, complaint = bench(*arguments)
        assert code == 2, (arguments, complaint)
        assert message in complaint
        assert len(complaint.strip().splitlines()) == 1
