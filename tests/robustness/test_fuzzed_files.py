"""Suites, results, models and programs' outputs, changed at random: read, or refused in a line."""

from __future__ import annotations

import io
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import TOKENS, fuzz, mutate_bytes, mutate_json
from rich.console import Console

from haplobench import Panel
from haplobench.compare.baseline import render_baseline
from haplobench.compare.compare import compare
from haplobench.compare.exchange import render
from haplobench.compare.sources import open_side
from haplobench.fitted.generate import Order, write_cohort
from haplobench.registry import load_registry
from haplobench.results.notes import find_model, read_costs
from haplobench.results.run_folder import RunFolder, find_runs, resolve_run
from haplobench.runner.run import run_suite
from haplobench.suite.load import load_suite
from haplobench_command.generator import read_own_sites, read_rows

ROOT = Path(__file__).resolve().parents[2]


def contents(*paths: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in paths}


# --- suites ---------------------------------------------------------------------------------


def mutate_yaml(content: bytes, rng: random.Random) -> bytes:
    """A suite with a value replaced by something else, or changed byte by byte."""
    if rng.random() < 0.4:
        return mutate_bytes(content, rng)
    lines = content.decode().splitlines()
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(lines))
        key, colon, _ = lines[at].partition(":")
        lines[at] = f"{key}{colon} {rng.choice(TOKENS)}"
    return "\n".join(lines).encode()


@pytest.mark.parametrize("shipped", ["1kg", "privacy"])
def test_suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: str) -> None:
    monkeypatch.setenv("HAPLOBENCH_DATA", str(tmp_path))
    registry = load_registry()
    path = tmp_path / "suite.yaml"
    path.write_bytes((ROOT / "suites" / f"{shipped}.yaml").read_bytes())

    def read() -> None:
        suite = load_suite(path, [], registry)
        suite.describe()
        path.write_text(suite.to_yaml())
        assert load_suite(path, [], registry).digest == suite.digest

    fuzz(f"suites {shipped}", contents(path), {"load": read}, mutate_yaml)


def test_overrides(tmp_path: Path) -> None:
    registry = load_registry()
    path = tmp_path / "override"
    keys = (b"seeds", b"generators[0].params.order", b"limits.time", b"datasets[0].split.holdout")
    path.write_bytes(b"\n".join(key + b"=[1]" for key in keys))

    def read() -> None:
        lines = path.read_text(errors="surrogateescape").splitlines()
        suite = load_suite("smoke", [line for line in lines if line], registry)
        suite.describe()

    fuzz("overrides", contents(path), {"load": read})


# --- results --------------------------------------------------------------------------------

SUITE = """
name: toy
datasets: [{name: toy, filters: {min_maf: 0.05}, split: {holdout: 0.25, validation: 0.1}}]
generators: [frequency, {name: frequency, label: broken, params: {misbehave: raise}}]
metrics: [difference, spectrum, cost, people]
floor: {draws: 3}
"""


@pytest.fixture(scope="module")
def run(module_toys: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder, with a failed cell in it."""
    registry = module_toys.registry()
    suite = load_suite(module_toys.suite_file(SUITE), (), registry)
    return run_suite(suite, registry, tmp_path_factory.mktemp("results")).run_folder


def shown(draw: Callable[[Console], object]) -> None:
    draw(Console(file=io.StringIO(), markup=False))


@pytest.mark.slow
def test_results(run: Path, tmp_path: Path) -> None:
    from haplobench.compare.show import print_comparison
    from haplobench.history.reading import read_history
    from haplobench.history.show import print_history
    from haplobench.report.summary import summarise
    from haplobench.report.terminal import print_summary
    from haplobench.report.write import write_report
    from haplobench.results.table import load_run
    from haplobench.scaling.curves import scaling_curves

    out = tmp_path / "results"
    here = out / "toy" / run.name
    shutil.copytree(run, here)
    whole = open_side(str(run))

    def compared() -> None:
        comparison = compare(open_side(str(here)), whole)
        shown(lambda console: print_comparison(comparison, console, everything=True))
        for form in ("md", "junit", "json", "bencher"):
            render(comparison, form, everything=True)

    def resumed() -> None:
        RunFolder(here).records()
        for found in find_runs(out):
            found.info()
        resolve_run("toy", out)

    readers = {
        "show": lambda: shown(lambda console: print_summary(summarise(load_run(here)), console)),
        "compare": compared,
        "baseline": lambda: render_baseline(open_side(str(here)), "toy"),
        "history": lambda: shown(
            lambda console: print_history(
                read_history([here / "records.jsonl"]), console, plots=False
            )
        ),
        "report": lambda: write_report(here, tmp_path / "report", ("csv", "md")),
        "costs": lambda: (read_costs(RunFolder(here)), scaling_curves(here)),
        "resume": resumed,
    }
    files = (here / "records.jsonl", here / "run.json", here / "suite.yaml")
    costs = sorted((*here.glob("costs/*.json"), *here.glob("series/*/0/*.npz")))
    fuzz("results", contents(*files[:2], *files, *costs), readers, mutate_json_or_bytes)


def mutate_json_or_bytes(content: bytes, rng: random.Random) -> bytes:
    return (mutate_json if content.startswith(b"{") else mutate_bytes)(content, rng)


def test_baselines(tmp_path: Path) -> None:
    path = tmp_path / "baseline.jsonl"
    source = ROOT / "tests/compare/fixtures/baseline-schema1.jsonl"
    path.write_bytes(source.read_bytes())
    whole = open_side(str(source))

    def read() -> None:
        comparison = compare(open_side(str(path)), whole)
        render(comparison, "md", everything=True)
        render_baseline(open_side(str(path)), "again")

    fuzz("baselines", contents(path), {"read": read}, mutate_json)


# --- models ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_models(run: Path, tmp_path: Path, module_toys: Any) -> None:
    registry = load_registry(["haplobench_baselines", "haplobench.datasets"])
    suite = load_suite(
        module_toys.suite_file(
            "name: models\nseeds: [1]\n"
            "datasets: [{name: embedded, params: {region: '20:1000000-1050000'}}]\n"
            "generators: [markov, li-stephens]\nmetrics: []\nfloor: {draws: 1}\n"
        ),
        (),
        registry,
    )
    folder = run_suite(suite, registry, tmp_path / "results").run_folder
    store = folder.parent / "stages"
    fitted = sorted(path for path in store.glob("fit/*/model/**/*") if path.is_file())
    panels = sorted(path for path in store.glob("prepare/*/**/*") if path.is_file())
    notes = sorted(folder.glob("models/*.json"))

    def generate(label: str) -> Callable[[], object]:
        def read() -> None:
            noted = find_model(folder, generator=label)
            order = Order(haplotypes=4)
            write_cohort(folder, noted, registry, order, tmp_path / "cohort.vcf")

        return read

    readers = {label: generate(label) for label in ("markov", "li-stephens")}
    for read in readers.values():
        read()
    fuzz("models", contents(*fitted, *notes, *panels), readers, mutate_json_or_bytes)


# --- outputs of programs --------------------------------------------------------------------


@pytest.mark.parametrize("form", ["matrix", "ms", "hapt"])
def test_command_outputs(tmp_path: Path, form: str) -> None:
    from haplobench.data.formats import write_panel

    rng = np.random.default_rng(1)
    haplotypes = rng.integers(0, 2, (8, 30), dtype=np.int8)
    haplotypes[0], haplotypes[1] = 0, 1
    sites = Panel(
        haplotypes,
        1000 + 7 * np.arange(30),
        "20",
        np.array([f"p{i}" for i in range(4)]),
        ref=np.full(30, "A"),
        alt=np.full(30, "C"),
    )
    path = tmp_path / f"output.{form}"
    if form == "matrix":
        path.write_text("\n".join("".join(map(str, row)) for row in haplotypes) + "\n")
    elif form == "ms":
        positions = " ".join(f"{(i + 0.5) / 30:.4f}" for i in range(30))
        rows = "\n".join("".join(map(str, row)) for row in haplotypes)
        path.write_text(f"ms 8 1\n1 2 3\n\n//\nsegsites: 30\npositions: {positions}\n{rows}\n")
    else:
        write_panel(sites, path)

    def read() -> None:
        # What a reader leaves in its folder is a run's scratch.
        if form == "ms":
            read_own_sites(path, form, 8, sites)
        else:
            rows = read_rows(path, form, 8, sites, "refuse")
            assert rows.shape == (8, 30)
            assert set(np.unique(rows)) <= {0, 1}

    beside = sorted(other for other in tmp_path.iterdir() if other.is_file())
    fuzz(f"command {form}", contents(*beside), {"read": read})
