"""What a run will take, by what earlier ones took."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from haplobench.data.prepared import FACTS_FILE, PrepareFacts
from haplobench.results.notes import CellCost
from haplobench.results.provenance import provenance
from haplobench.runner.estimate import estimate_run, estimate_text
from haplobench.runner.plan import Keys
from haplobench.runner.run import SuiteSource, hardware_of
from haplobench.suite.load import load_suite

GENOME = (
    "datasets=[{name: toy, label: g, contigs: [1, 2], params: {contig: '{contig}'}}]",
    "generators=[frequency]",
    "sample.draws=3",
)
FACTS = PrepareFacts(
    digest="", content="", contig="1", build="", start=1, end=9, ploidy=2, phased=True,
    n_sites=1000, n_common_sites=1000, n_train_haplotypes=100, n_holdout_haplotypes=20,
    n_validation_haplotypes=0, populations={}, superpopulations={}, min_maf=0.01, skipped={},
    provenance={}, recombination_map=False, surrogate_sequence=True,
)  # fmt: skip


def cost(dataset: str, n_sites: int) -> CellCost:
    work: dict[str, Any] = {"wall": 1.0, "cpu": 1.0, "peak_rss": 300, "base_rss": 100}
    work |= {"peak_gpu_memory": None}
    rank = work | {"communication": {}, "gpu_utilisation": None}
    stage = work | {"ranks": [rank], "n_haplotypes": 20, "n_sites": n_sites, "span": 9}
    params = {"misbehave": "", "where": "fit", "pause": 0.0}
    return CellCost(
        dataset, "frequency", "frequency", 1, 1, params, "", "strong", 100, stage, (stage,)
    )


def test_time_and_memory_are_in_proportion_to_alleles(
    toys: Any, suite_text: str, tmp_path: Path
) -> None:
    registry = toys.registry()
    suite = load_suite(toys.suite_file(suite_text), GENOME, registry)
    assert {one.seconds for one in estimate_run(suite, registry, tmp_path)} == {None}
    stages = tmp_path / "toy" / "stages"
    keys = Keys(hardware_of(suite, provenance()), suite.threads)
    (genome,) = SuiteSource(suite, registry).datasets(keys)
    # Contig 1 has twice the sites that it had when it ran last; contig 2 never ran.
    for part, n_sites in zip(genome.parts, (1000, 3000), strict=True):
        folder = stages / "prepare" / part.key
        folder.mkdir(parents=True)
        facts = FACTS.plain() | {"n_sites": n_sites}
        (folder / FACTS_FILE).write_text(json.dumps(facts))
    timings = {"g-1/floor": 10.0, "g-1/frequency/seed1": 30.0}
    (stages / "timings.json").write_text(json.dumps(timings))
    run = tmp_path / "toy" / "20260101T000000.000000Z-aa"
    (run / "contigs" / "costs").mkdir(parents=True)
    (run / "run.json").write_text("{}")
    old = cost("g-1", 500)
    (run / "contigs" / "costs" / "g-1.frequency.seed1.json").write_text(old.to_json())
    first, second, whole = estimate_run(suite, registry, tmp_path)
    assert (first.dataset, first.alleles, first.seconds) == ("g-1", 100_000, 80.0)
    assert (second.dataset, second.alleles, second.seconds) == ("g-2", 300_000, 240.0)
    # 100 bytes were there before, 200 came with the work.
    assert (first.memory, second.memory) == (500, 1300)
    # Training and held-out people; two generators' three draws and one cohort of train's size.
    assert first.disk == 1000 * (100 + 20 + 2 * (3 * 20 + 100))
    assert (first.unknown, second.unknown) == (
        ("g-1/independent/seed1",),
        ("g-2/independent/seed1",),
    )
    assert whole.alleles is None
    assert "not prepared" in estimate_text([first, second, whole])
    other = load_suite(
        toys.suite_file(suite_text),
        [*GENOME, "generators=[{name: frequency, params: {pause: 0.5}}]"],
        registry,
    )
    assert "g-1/frequency/seed1" in estimate_run(other, registry, tmp_path)[0].unknown
