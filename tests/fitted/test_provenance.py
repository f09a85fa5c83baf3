"""What leaves says what made it: headers, as other programs read them, and labels."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from haplobench import Panel
from haplobench.cli import main
from haplobench.data.formats import labels_beside, read_panel, write_panel
from haplobench.data.labels import read_labels
from haplobench.fitted.generate import Order, provenance
from haplobench.plugin import GeneratorSpec, Params, PrivacyStatement
from haplobench.results.notes import FittedModel
from haplobench.testing import example_panel

SUITE = """
name: leaving
seeds: [4]
datasets:
  - {name: embedded, label: eur, params: {region: "20:1000000-1050000"}, filters: {min_maf: 0.05}}
generators: [{name: li-stephens, label: mosaic, params: {within: population}}]
metrics: [allele-frequency]
sample: {haplotypes: 20, draws: 1}
floor: {draws: 1}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leaving")
    (folder / "leaving.yaml").write_text(SUITE)
    out = folder / "results"
    with pytest.raises(SystemExit) as stop:
        main(["run", str(folder / "leaving.yaml"), "--out", str(out), "--no-report"])
    assert not stop.value.code
    return next(path for path in (out / "leaving").iterdir() if (path / "run.json").is_file())


def printed(*command: str | Path) -> str:
    program = str(command[0])
    if shutil.which(program) is None:
        pytest.skip(f"{program} isn't installed: `make oracles` installs it")
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=True).stdout


def header(path: Path) -> dict[str, str]:
    """What a file says of itself, read by somebody else's program."""
    if path.suffix == ".vcz":
        import zarr

        lines = ["=".join(pair) for pair in zarr.open_group(path).attrs["vcf_meta_information"]]
    elif path.suffix == ".pgen":
        # Through PLINK 2, which must pass such lines over, and on.
        made = path.with_name("again")
        printed("plink2", "--pfile", path.with_suffix(""), "--make-just-pvar", "--out", made)
        lines = [
            line.removeprefix("##") for line in path.with_suffix(".pvar").read_text().splitlines()
        ]
    else:
        lines = [
            line.removeprefix("##") for line in printed("bcftools", "view", "-h", path).splitlines()
        ]
    pairs = (line.partition("=") for line in lines if line.startswith("haplobench_"))
    return {key.removeprefix("haplobench_"): value for key, _, value in pairs}


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["vcf.gz", "bcf", "vcz", "pgen"])
def test_a_generated_file_names_its_maker_and_keeps_its_labels(
    run: Path, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"cohort.{ending}"
    arguments = ["-g", "mosaic", "-n", "90", "--start", "10", "--sampling-seed", "7"]
    with pytest.raises(SystemExit) as stop:
        main(["generate", str(run), *arguments, "--to", str(path)])
    assert not stop.value.code
    panel, _ = read_panel(path)
    said, info = header(path), json.loads((run / "run.json").read_text())
    assert said["generator"] == "li-stephens (called mosaic)"
    assert said["run"] == f"leaving/{info['run_id']}"
    assert said["commit"] == info["git"]["sha"]
    assert said["dataset"] == f"eur, digest {info['datasets']['eur']['digest']}"
    assert said["seed"].startswith("fitted with seed 4, drawn with seed 7 from haplotype 10 on")
    assert json.loads(said["params"])["within"] == "population"
    assert "epsilon" not in said
    # 90 haplotypes and fewer than 1,000 sites are one block.
    block = hashlib.sha256(panel.haplotypes.tobytes()).digest()
    assert said["haplotypes_sha256"] == hashlib.sha256(block).hexdigest()
    # People of the training panel in turn: every format gives their labels back.
    assert panel.labelled
    assert set(panel.superpopulation.tolist()) == {"EUR"}
    assert len(set(panel.population.tolist())) > 1
    assert labels_beside(path).is_file() == (ending in ("vcf.gz", "bcf"))
    if ending != "vcz":
        assert read_panel(tmp_path / f"cohort.{ending}")[0].samples[0] == "synthetic6"


@pytest.mark.parametrize("ending", ["vcf", "vcf.gz", "bcf", "vcz", "pgen", "bed"])
def test_labels_come_back_and_go_with_the_panel_they_were_of(tmp_path: Path, ending: str) -> None:
    panel = example_panel(12, n_sites=30, populations=("FIN", "YRI"))
    path = tmp_path / f"p.{ending}"
    write_panel(panel, path)
    back, _ = read_panel(path, None) if ending != "bed" else (None, None)
    if back is None:
        from haplobench.data.formats import ReadOptions

        back, _ = read_panel(path, ReadOptions(allow_unphased=True))
    assert back.population.tolist() == panel.population.tolist()
    assert back.superpopulation.tolist() == panel.superpopulation.tolist()
    if labels_beside(path).exists():
        table = read_labels(labels_beside(path))
        assert {name: one.population for name, one in table.items()} == dict(
            zip(panel.samples, panel.population, strict=True)
        )
    nobody = panel.with_haplotypes(panel.haplotypes, samples=panel.samples)
    write_panel(nobody, path)
    assert not labels_beside(path).exists()


@pytest.mark.slow
def test_epsilon_is_stated_or_why_there_is_none(run: Path) -> None:
    class Fitted:
        def __init__(self, statement: PrivacyStatement | None) -> None:
            self.statement = statement

        def privacy_statement(self) -> PrivacyStatement | None:
            return self.statement

    spec = GeneratorSpec("li-stephens", "1", "nowhere:Nobody", "", Params)
    noted = FittedModel("eur", "mosaic", "li-stephens", 4, 1, "../x/model", "../x/prepared")
    claim = PrivacyStatement(
        epsilon=8.0, delta=1e-6, unit="person", adjacency="add-remove", accountant="PRV",
        mechanism="DP-SGD", sampling="Poisson", noise_source="entropy",
    )  # fmt: skip
    said = provenance(run, noted, spec, Fitted(claim), Order(2))
    assert said["epsilon"] == "8, delta 1e-06, per person (add-remove), by PRV"
    seeded = replace(claim, epsilon=math.inf, noise_source="seed")
    assert "none: the noise comes from the seed" in provenance(
        run, noted, spec, Fitted(seeded), Order(2)
    ).get("epsilon", "")
    assert "epsilon" not in provenance(run, noted, spec, Fitted(None), Order(2))


def test_notes_are_one_line_each_whatever_they_hold(tmp_path: Path) -> None:
    panel = Panel(np.array([[0], [1]], np.int8), np.array([5]), "20", np.array(["a"]))
    write_panel(panel, tmp_path / "x.vcf", {"params": "a\n#CHROM\tb"})
    assert "##haplobench_params=a #CHROM b\n" in (tmp_path / "x.vcf").read_text()
    assert read_panel(tmp_path / "x.vcf")[0].n_sites == 1
