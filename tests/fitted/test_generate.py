"""`bench generate`: memory doesn't grow with the cohort, and requests are cut without a trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from haplobench.cli import main
from haplobench.data.formats import read_panel
from haplobench.data.formats.plink import read_psam
from haplobench.fitted import generate

SUITE = """
name: tiny
seeds: [1]
datasets:
  - {name: embedded, label: eur, params: {region: "20:1000000-1300000"}, filters: {min_maf: 0.01}}
generators:
  - independent
  - {name: li-stephens, params: {within: population}}
metrics: [allele-frequency]
sample: {haplotypes: holdout, draws: 1}
floor: {draws: 1}
"""
# Not getrusage: its peak begins at the parent's.
PROGRAM = r"""
import re, sys
from haplobench.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    assert not stop.code, stop.code
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generating")
    (folder / "tiny.yaml").write_text(SUITE)
    out = folder / "results"
    with pytest.raises(SystemExit) as stop:
        main(["run", str(folder / "tiny.yaml"), "--out", str(out), "--no-report"])
    assert not stop.value.code
    return next(path for path in (out / "tiny").iterdir() if (path / "run.json").is_file())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("generator", "ending", "more"),
    [
        ("independent", "vcz", 12),
        ("independent", "pgen", 12),
        ("li-stephens", "vcz", 12),
        # htslib keeps the names of a header's people, 90 bytes for each haplotype.
        ("independent", "bcf", 24),
    ],
)
def test_memory_does_not_grow_with_the_cohort(
    run: Path, tmp_path: Path, generator: str, ending: str, more: float
) -> None:
    peaks = []
    for n in (40_000, 160_000):
        command = [sys.executable, "-c", PROGRAM, "generate", str(run), "-g", generator]
        command += ["-n", str(n), "--to", str(tmp_path / f"x{n}.{ending}")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.splitlines()[-1]) / 1024)
    print(f"{generator}, {ending}: {peaks[0]:.0f} and {peaks[1]:.0f} MiB")
    # The haplotypes would be about 100 MiB more.
    assert peaks[1] < peaks[0] + more


def test_a_cohort_does_not_depend_on_how_its_requests_are_cut(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohorts = []
    for name, piece in (("whole", 1 << 16), ("cut", 70)):
        monkeypatch.setattr(generate, "_PIECE", piece)
        path = tmp_path / f"{name}.pgen"
        arguments = ["generate", str(run), "-g", "li-stephens", "-n", "600", "--start", "30"]
        with pytest.raises(SystemExit) as stop:
            main([*arguments, "--batch", "50", "--to", str(path)])
        assert not stop.value.code
        cohorts.append((read_panel(path)[0], path.with_suffix(".psam").read_text()))
    (whole, people), (cut, same_people) = cohorts
    np.testing.assert_array_equal(whole.haplotypes, cut.haplotypes)
    assert people == same_people
    names, labels = read_psam(tmp_path / "cut.psam")
    assert (names[0], names[-1]) == ("synthetic16", "synthetic315")
    # People of the training panel in turn.
    assert labels is not None
    assert {label.superpopulation for label in labels} == {"EUR"}
    populations = [label.population for label in labels]
    assert len(set(populations)) > 1
    assert populations[:15] == populations[240:255]


@pytest.mark.parametrize("ending", ["vcz", "vcf", "pgen"])
def test_a_generator_that_gives_too_few_is_named(
    run: Path,
    ending: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    usual = generate._batches
    monkeypatch.setattr(generate, "_batches", lambda *given: [next(iter(usual(*given)))[:3]])
    to = tmp_path / f"cohort.{ending}"
    with pytest.raises(SystemExit) as stop:
        main(["generate", str(run), "-g", "independent", "-n", "8", "--to", str(to)])
    assert stop.value.code
    said = " ".join(capsys.readouterr().err.split())
    assert "generator independent: 3 haplotypes, expected 8" in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())
