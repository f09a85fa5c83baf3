"""Simulated panels: reproducible, labelled, and what coalescent theory expects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from haplobench import BenchError, RecombinationMap, RunContext
from haplobench.testing import check_dataset

pytest.importorskip("stdpopsim")

from haplobench.datasets import SimulatedParams
from haplobench.datasets.simulated import Simulated

MAP = "pos\tchr\tcM\n1\t20\t0\n1000000\t20\t1.0\n1200000\t20\t5.0\n64000000\t20\t60.0\n"


@pytest.fixture
def ctx(tmp_path: Path) -> RunContext:
    return RunContext(seed=11, artifacts=tmp_path, scratch=tmp_path / "scratch")


def test_same_seed_same_panel(ctx: RunContext, tmp_path: Path) -> None:
    params = SimulatedParams(people=30, length=200_000)
    first = Simulated().load(params, ctx)
    assert first.panel.digest == Simulated().load(params, ctx).panel.digest
    other = RunContext(seed=12, artifacts=tmp_path, scratch=tmp_path)
    assert Simulated().load(params, other).panel.digest != first.panel.digest
    offset = params.model_copy(update={"seed_offset": 1})
    assert Simulated().load(offset, ctx).panel.digest != first.panel.digest
    assert Simulated().fingerprint(params) != Simulated().fingerprint(offset)


def test_populations_are_the_models(ctx: RunContext) -> None:
    params = SimulatedParams(samples={"CHB": 3, "YRI": 4, "CEU": 0}, length=100_000)
    loaded = Simulated().load(params, ctx)
    panel = loaded.panel
    assert panel.population.tolist() == ["YRI"] * 4 + ["CHB"] * 3  # in the model's order
    assert panel.superpopulation.tolist() == ["AFR"] * 4 + ["EAS"] * 3
    assert panel.samples.tolist()[3:5] == ["YRI_4", "CHB_1"]
    assert panel.n_haplotypes == 14
    assert loaded.provenance["mutation_rate"].startswith("2.35e-08")  # the model's own
    assert "Gutenkunst" in loaded.provenance["citation"]
    shared = Simulated().load(SimulatedParams(people=8, length=100_000), ctx).panel
    names, counts = np.unique(shared.population, return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {"YRI": 3, "CEU": 3, "CHB": 2}


def test_sites(ctx: RunContext) -> None:
    loaded = Simulated().load(SimulatedParams(people=200, length=400_000), ctx)
    panel = loaded.panel
    assert (panel.positions >= 1).all()
    assert panel.positions[-1] <= 400_000
    assert set(np.unique(panel.ref)) == set("ACGT")
    assert (panel.ref != panel.alt).all()
    assert panel.frequencies.min() > 0
    assert panel.frequencies.max() < 1
    assert loaded.skipped["multi-allelic"] > 0
    common = Simulated().load(SimulatedParams(people=200, length=400_000, min_count=8), ctx)
    counts = panel.allele_counts[0]
    kept = np.minimum(counts, panel.n_haplotypes - counts) >= 8
    assert common.panel.digest == panel.select_sites(kept).digest
    assert common.skipped["fewer than 8 copies"] == int((~kept).sum())


def test_diversity_is_that_of_the_model(ctx: RunContext) -> None:
    """E[pi] = 2 u T, T the mean age of two lineages' common ancestor: a sum over epochs."""
    stdpopsim = pytest.importorskip("stdpopsim")
    model = stdpopsim.get_species("DroMel").get_demographic_model("African3Epoch_1S16")
    params = SimulatedParams(species="DroMel", model=model.id, people=20, length=200_000)
    panel = Simulated().load(params, ctx).panel
    generations, apart = 0.0, 1.0  # apart: probability of no ancestor yet
    for epoch in model.model.debug().epochs:
        size = 2 * epoch.populations[0].start_size
        ends = np.exp(-(epoch.end_time - epoch.start_time) / size)
        generations += apart * size * (1 - ends)
        apart *= ends
    alternate, called = panel.allele_counts
    diversity = (alternate * (called - alternate) / (called * (called - 1) / 2)).sum()
    # Sites of three alleles are left out: a per cent or two at this diversity.
    assert diversity / params.length == pytest.approx(
        2 * model.mutation_rate * generations, rel=0.1
    )
    # Of another species' populations we say nothing: each is its own group.
    assert panel.superpopulation.tolist() == panel.population.tolist()


def test_region_with_a_map(ctx: RunContext, tmp_path: Path) -> None:
    path = tmp_path / "map.txt"
    path.write_text(MAP)
    params = SimulatedParams(people=60, region="chr20:900001-1300000", map=str(path))
    loaded = Simulated().load(params, ctx)
    panel = loaded.panel
    assert panel.contig == "20"
    assert panel.positions[0] >= 900_001
    assert panel.positions[-1] <= 1_300_000
    assert loaded.recombination_map is not None
    whole = RecombinationMap.read(path, "20")
    np.testing.assert_allclose(
        loaded.recombination_map.at(panel.positions), whole.at(panel.positions)
    )
    # Twenty times the rate from 1.0 to 1.2 Mb: neighbours there are less correlated.
    positions, haplotypes = panel.positions, panel.haplotypes

    def mean_r2(start: int, end: int) -> float:
        chosen = (positions >= start) & (positions < end) & (panel.maf > 0.1)
        block = haplotypes[:, chosen].astype(float)
        gaps = np.subtract.outer(positions[chosen], positions[chosen])
        near = (gaps > 5_000) & (gaps < 20_000)
        return float((np.corrcoef(block, rowvar=False)[near] ** 2).mean())

    assert mean_r2(1_000_000, 1_200_000) < 0.6 * mean_r2(900_001, 1_000_000)


def test_region_without_a_map_takes_the_chromosomes_rate(ctx: RunContext) -> None:
    loaded = Simulated().load(SimulatedParams(people=6, region="20:5000001-5100000"), ctx)
    assert loaded.recombination_map is not None
    chromosome = pytest.importorskip("stdpopsim").get_species("HomSap").genome.get_chromosome("20")
    low, high = loaded.recombination_map.at([5_000_001, 5_100_000])
    assert high - low == pytest.approx(100 * chromosome.recombination_rate * 99_999)
    assert loaded.panel.build.startswith("GRCh38")
    assert loaded.panel.positions[0] > 5_000_000


def test_a_generic_contig_recombines_as_asked(ctx: RunContext) -> None:
    """What is kept back is the same panel's: alleles don't change."""
    loaded = Simulated().load(SimulatedParams(people=40, length=200_000, cm_per_mb=10), ctx)
    assert loaded.recombination_map is not None
    assert np.diff(loaded.recombination_map.at([1, 100_001]))[0] == pytest.approx(1.0)
    assert "1e-07 per bp" in loaded.provenance["recombination"]
    params = SimulatedParams(people=40, length=200_000, cm_per_mb=10, told=())
    untold = Simulated().load(params, ctx)
    assert untold.recombination_map is None
    assert not untold.panel.labelled
    np.testing.assert_array_equal(untold.panel.haplotypes, loaded.panel.haplotypes)

    def decay(rate: float) -> float:
        panel = Simulated().load(SimulatedParams(people=40, length=200_000, cm_per_mb=rate), ctx)
        common = panel.panel.select_sites(panel.panel.maf > 0.1)
        gaps = np.subtract.outer(common.positions, common.positions)
        far = (gaps > 20_000) & (gaps < 60_000)
        return float((np.corrcoef(common.haplotypes.T.astype(float))[far] ** 2).mean())

    assert decay(0.1) > 2 * decay(10)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (
            {"species": "HomSpa"},
            r"params.species: no species is named 'HomSpa' \(did you mean HomSap",
        ),
        ({"model": "OutOfAfrica_3G9"}, r"'OutOfAfrica_3G9' \(did you mean OutOfAfrica_3G09"),
        ({"samples": {"CEV": 5}}, r"params.samples: no population .*'CEV' \(did you mean CEU"),
        ({"contig": "Y7"}, "params.contig: no chromosome of HomSap is named 'Y7'"),
        ({"region": "21:999999999-"}, "lies beyond the end of chromosome 21"),
        ({"region": "21:1-1000", "map": "/absent.map"}, "/absent.map: no such recombination map"),
        ({"length": 1}, "no site in 1 bp"),
    ],
)
def test_what_the_catalogue_has_not(
    params: dict[str, object], expected: str, ctx: RunContext
) -> None:
    with pytest.raises(BenchError, match=expected):
        Simulated().load(SimulatedParams.model_validate({"people": 2} | params), ctx)


@pytest.mark.parametrize(
    "params",
    [
        *({"samples": {"CEU": -1}}, {"samples": {"CEU": 0}}, {"map": "a"}, {"people": 0}, {"x": 1}),
        *({"cm_per_mb": 0}, {"cm_per_mb": 1, "contig": "20"}, {"told": ["ancestry"]}),
    ],
)
def test_params_are_checked(params: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SimulatedParams.model_validate(params)


def test_keeps_the_contract_of_datasets() -> None:
    assert check_dataset("simulated", params={"people": 6, "length": 50_000})


@pytest.mark.slow
def test_all_of_phase_3_in_number(ctx: RunContext) -> None:
    panel = Simulated().load(SimulatedParams(people=2_504), ctx).panel
    assert panel.n_haplotypes == 5_008
    assert isinstance(panel.haplotypes, np.memmap)
    assert int((panel.maf >= 0.01).sum()) > 10_000
