"""`bench generate`: memory doesn't grow with the cohort, and requests are cut without a trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from haplobench.cli import main
from haplobench.data.formats import read_panel, streaming
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
  - admixture
  - {name: msprime, optional: true}
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
    for n in (80_000, 200_000):
        command = [sys.executable, "-c", PROGRAM, "generate", str(run), "-g", generator]
        command += ["-n", str(n), "--to", str(tmp_path / f"x{n}.{ending}")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.splitlines()[-1]) / 1024)
    print(f"{generator}, {ending}: {peaks[0]:.0f} and {peaks[1]:.0f} MiB")
    # The haplotypes would be about 100 MiB more.
    assert peaks[1] < peaks[0] + more


def files(store: Path) -> dict[str, bytes]:
    """What a cohort's files hold, the folder of a VCF Zarr or a file with those beside it."""
    paths = store.rglob("*") if store.is_dir() else store.parent.glob(f"{store.stem}.*")
    return {str(p.relative_to(store.parent)): p.read_bytes() for p in paths if p.is_file()}


def generated(run: Path, to: Path, *more: str) -> dict[str, bytes]:
    """The files of 1,500 haplotypes, in three columns."""
    with pytest.raises(SystemExit) as stop:
        main(["generate", str(run), "-g", "li-stephens", "-n", "1500", "--to", str(to), *more])
    assert not stop.value.code
    return files(to) if to.exists() else {}


@pytest.fixture
def small_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_HELD_BYTES", 512 * 1000)


@pytest.mark.parametrize("ending", ["vcz", "pgen"])
def test_parts_and_an_end_in_between_leave_no_trace(
    run: Path,
    small_columns: None,
    ending: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = generated(run, tmp_path / "whole" / f"x.{ending}")
    to = tmp_path / "parts" / f"x.{ending}"
    asked: list[tuple[int, int]] = []
    usual, add = generate._batches, streaming.Columns.add

    def batches(cohort, start, stop, ctx):
        asked.append((start, stop))
        return usual(cohort, start, stop, ctx)

    def killed(columns, column, haplotypes):
        if column == 2:
            raise KeyboardInterrupt
        add(columns, column, haplotypes)

    monkeypatch.setattr(generate, "_batches", batches)
    assert not generated(run, to, "--part", "1/3")
    assert "other parts have yet to write 67%" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(streaming.Columns, "add", killed)
        with pytest.raises((SystemExit, KeyboardInterrupt)):
            main(["generate", str(run), "-g", "li-stephens", "-n", "1500", "--to", str(to)])
    # The command without a part does what is left.
    assert generated(run, to) == whole
    assert asked == [(0, 512), (512, 1500), (1024, 1500)]
    assert not (to.parent / f"{to.name}.unfinished").exists()


@pytest.mark.slow
def test_several_processes_make_the_same_store(run: Path, tmp_path: Path) -> None:
    alone = generated(run, tmp_path / "alone" / "x.vcz")
    together = generated(run, tmp_path / "together" / "x.vcz", "--jobs", "2")
    assert alone == together


@pytest.mark.slow
def test_a_cohort_killed_three_times_equals_an_unbroken_one(run: Path, tmp_path: Path) -> None:
    def command(to: Path) -> list[str]:
        program = [sys.executable, "-c", PROGRAM, "generate", str(run), "-g", "li-stephens"]
        return [*program, "-n", "200000", "--jobs", "2", "--to", str(to)]

    unbroken, broken = tmp_path / "a" / "x.vcz", tmp_path / "b" / "x.vcz"
    subprocess.run(command(unbroken), check=True, capture_output=True)
    notes = broken.with_name("x.vcz.unfinished") / "columns"
    written = [0]
    for _ in range(3):
        process = subprocess.Popen(command(broken), start_new_session=True)
        while len(list(notes.glob("*.npz"))) < written[-1] + 2:
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        written.append(len(list(notes.glob("*.npz"))))
    assert not broken.exists()
    subprocess.run(command(broken), check=True, capture_output=True)
    assert files(broken) == files(unbroken)


def test_what_a_generator_leaves_lies_beside_the_cohort(run: Path, tmp_path: Path) -> None:
    for generator in ("admixture", "independent"):
        to = tmp_path / f"{generator}.vcf"
        with pytest.raises(SystemExit) as stop:
            main(["generate", str(run), "-g", generator, "-n", "30", "--to", str(to)])
        assert not stop.value.code
    table = (tmp_path / "admixture.vcf.artifacts" / "local-ancestry-0.tsv").read_text()
    numbers = {int(line.split("\t")[0]) for line in table.splitlines()[1:]}
    assert numbers == set(range(30))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "admixture.vcf",
        "admixture.vcf.artifacts",
        "independent.vcf",
    ]


def test_what_is_simulated_together_has_no_parts(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("msprime")
    arguments = ["generate", str(run), "-g", "msprime", "-n", "40", "--to"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, str(tmp_path / "x.vcz"), "--part", "1/2"])
    assert stop.value.code
    assert "leave out --part and --jobs" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit) as stop:
        main([*arguments, str(tmp_path / "x.vcz")])
    assert not stop.value.code
    panel, _ = read_panel(tmp_path / "x.vcz")
    attributes = json.loads((tmp_path / "x.vcz" / ".zattrs").read_text())
    assert attributes["haplobench_haplotypes_sha256"] == streaming.haplotypes_digest(panel)


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
