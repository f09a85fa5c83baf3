"""Malformed input: one clear line with the place, exit code 2, no traceback, nothing lost."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from cli_checks import Bench, assert_one_clear_error

HEADER = (
    "##fileformat=VCFv4.2\n"
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    "##contig=<ID=20>\n"
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tHG1\tHG2\tHG3\tHG4\tHG5\tHG6\n"
)


def record(position: int, alt: str = "C", genotypes: str = "0|1 1|0 0|0") -> str:
    """A record of six people: those given, and three more."""
    genotypes += " 0|1 1|1 0|0"
    fixed = f"20\t{position}\t.\tA\t{alt}\t.\tPASS\t.\tGT\t"
    return fixed + "\t".join(genotypes.split()) + "\n"


def vcf(folder: Path, *records: str, header: str = HEADER) -> Path:
    path = folder / "people.vcf"
    path.write_text(header + "".join(records))
    return path


def suite(folder: Path, path: Path, extra: str = "", generator: str = "copycat") -> Path:
    text = (
        "name: tiny\nseeds: [1]\n"
        f"datasets:\n  - name: file\n    params: {{path: {path}{extra}}}\n"
        "    split: {holdout: 2, validation: 0}\n"
        f"generators: [{generator}]\nmetrics: [allele-frequency]\n"
    )
    out = folder / "tiny.yaml"
    out.write_text(text)
    return out


def test_truncated_gzip(bench: Bench, tmp_path: Path) -> None:
    whole = gzip.compress((HEADER + "".join(record(p) for p in range(1, 9000))).encode())
    path = tmp_path / "people.vcf.gz"
    path.write_bytes(whole[: len(whole) // 2])
    assert_one_clear_error(bench("run", suite(tmp_path, path)), str(path), "truncated")


def test_missing_header(bench: Bench, tmp_path: Path) -> None:
    path = vcf(tmp_path, record(5), header="")
    assert_one_clear_error(bench("run", suite(tmp_path, path)), str(path), "header")


def test_unphased(bench: Bench, tmp_path: Path) -> None:
    path = vcf(tmp_path, record(5), record(7, genotypes="0|0 0/1 0|0"))
    assert_one_clear_error(
        bench("run", suite(tmp_path, path)), str(path), "20:7", "HG2", "unphased"
    )


def test_multi_allelic_where_the_user_wants_no_record_left_out(
    bench: Bench, tmp_path: Path
) -> None:
    path = vcf(tmp_path, record(5), record(7, alt="C,G"))
    done = bench("run", suite(tmp_path, path, extra=", strict: true"))
    assert_one_clear_error(done, str(path), "20:7", "multi-allelic")


def test_nothing_but_multi_allelic(bench: Bench, tmp_path: Path) -> None:
    path = vcf(tmp_path, record(5, alt="C,G"), record(7, alt="C,G"))
    assert_one_clear_error(bench("run", suite(tmp_path, path)), str(path), "2 multi-allelic")


def test_duplicate_positions(bench: Bench, tmp_path: Path) -> None:
    path = vcf(tmp_path, record(5), record(7), record(7, alt="G"))
    done = bench("run", suite(tmp_path, path, extra=", strict: true"))
    assert_one_clear_error(done, str(path), "20:7", "duplicate position")


def test_positions_out_of_order(bench: Bench, tmp_path: Path) -> None:
    path = vcf(tmp_path, record(9), record(7))
    assert_one_clear_error(bench("run", suite(tmp_path, path)), str(path), "20:7", "order")


def test_wrong_ploidy(bench: Bench, tmp_path: Path) -> None:
    path = vcf(tmp_path, record(5), record(7, genotypes="0|0 1 0|0"))
    assert_one_clear_error(bench("run", suite(tmp_path, path)), str(path), "20:7", "HG2", "ploid")


def test_unknown_sample_in_the_panel_file(bench: Bench, tmp_path: Path) -> None:
    labels = tmp_path / "people.tsv"
    labels.write_text("sample\tpop\tsuper_pop\nHG1\tGBR\tEUR\nHG2\tGBR\tEUR\n")
    path = vcf(tmp_path, record(5))
    done = bench("run", suite(tmp_path, path, extra=f", panel_file: {labels}"))
    assert_one_clear_error(done, str(labels), "HG3")


def test_unknown_yaml_key(bench: Bench, tmp_path: Path) -> None:
    out = suite(tmp_path, vcf(tmp_path, record(5)))
    out.write_text(out.read_text().replace("seeds:", "seedz:"))
    assert_one_clear_error(bench("validate", out), str(out), "seedz", "seeds")
    assert_one_clear_error(bench("run", out), str(out), "seedz", "seeds")


def test_wrong_type(bench: Bench, tmp_path: Path) -> None:
    out = suite(tmp_path, vcf(tmp_path, record(5)))
    out.write_text(out.read_text().replace("seeds: [1]", "seeds: [one]"))
    assert_one_clear_error(bench("run", out), str(out), "seeds[0]", "one")


def test_missing_file(bench: Bench, tmp_path: Path) -> None:
    out = suite(tmp_path, tmp_path / "absent.vcf.gz")
    assert_one_clear_error(bench("run", out), "absent.vcf.gz")
    assert_one_clear_error(bench("run", tmp_path / "absent.yaml"), "absent.yaml")


def test_broken_yaml_names_the_line(bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "bad.yaml"
    out.write_text("name: x\nseeds: [1\ndatasets:\n")
    assert_one_clear_error(bench("validate", out), f"{out}:3")


def test_unknown_generator_suggests_a_near_one(bench: Bench, tmp_path: Path) -> None:
    out = suite(tmp_path, vcf(tmp_path, record(5)), generator="markof")
    assert_one_clear_error(bench("run", out), "generators[0]", "did you mean markov")


def test_several_mistakes_are_named_at_once(bench: Bench, tmp_path: Path) -> None:
    out = suite(tmp_path, vcf(tmp_path, record(5)), generator="markof")
    out.write_text(out.read_text().replace("seeds:", "seedz:") + "limitz: {}\n")
    done = bench("run", out)
    assert done.returncode == 2
    assert {word for word in ("markof", "seedz", "limitz") if word in done.stderr} == {
        "markof",
        "seedz",
        "limitz",
    }


def test_an_error_in_a_later_dataset_loses_nothing(bench: Bench, tmp_path: Path) -> None:
    good = "".join(record(p, genotypes="0|1 1|0 0|1") for p in range(1, 40))
    out = suite(tmp_path, vcf(tmp_path, good), generator="markov")
    assert bench("run", out, "--no-report").returncode == 0
    kept = sorted(p for p in (tmp_path / "results").rglob("records.jsonl"))
    before = [p.read_bytes() for p in kept]
    out.write_text(out.read_text().replace("people.vcf", "absent.vcf"))
    assert_one_clear_error(bench("run", out), "absent.vcf")
    assert [p.read_bytes() for p in kept] == before


@pytest.mark.parametrize("arguments", [["run"], ["nonsense"], ["show", "no-such-run"]])
def test_usage_errors_exit_2(bench: Bench, arguments: list[str]) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_folders_that_can_not_be_written_are_one_line(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = bench("data", "get", "embedded", "--to", tmp_path / "file" / "panel.vcf")
    assert_one_clear_error(done, "file")
    assert_one_clear_error(bench("data", "info", "embedded", "--set", "region=["), "not YAML")


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_how_to_go_on(
    tmp_path: Path, sign: signal.Signals, code: int
) -> None:
    running = subprocess.Popen(
        [
            str(Path(sys.executable).parent / "bench"),
            "run",
            "smoke",
            "--only",
            "markov",
            "--no-report",
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background jobs ignore interrupts, and so would their children.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )
    assert running.stdout is not None
    assert "cells, results in" in running.stdout.readline()
    running.send_signal(sign)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == code
    assert errors.splitlines()[-1] == "error: interrupted; run the same command again to resume"
    (description,) = tmp_path.glob("results/*/*/run.json")
    assert json.loads(description.read_text())["status"] == "incomplete"
