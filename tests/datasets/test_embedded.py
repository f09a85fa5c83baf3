"""The panels in the package: what their sources give, whole, and light to read."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from haplobench import BenchError, FormatError, RunContext
from haplobench.data.formats import ReadOptions, read_panel
from haplobench.data.genome import RecombinationMap
from haplobench.datasets import EmbeddedParams, embedded
from haplobench.datasets.embedded import STEMS, Embedded, decode, encode
from haplobench.testing import check_dataset

DATA = Path(embedded.__file__).parent / "data"
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_embedded_panel.py"


@pytest.fixture
def ctx(tmp_path: Path) -> RunContext:
    return RunContext(seed=0, artifacts=tmp_path, scratch=tmp_path)


SOURCES = {
    "chr20-eur": ("1kg_p3_chr20_1-4Mb_EUR300.vcf.gz", "20", 6, 9_349),
    "chr1-all": ("1kg_p3_chr1_11.70-11.84Mb.vcf.gz", "1", 0, 4_294),
}
"""File, contig, least count of the minor allele, and sites as bcftools counts."""


@pytest.mark.parametrize("name", SOURCES)
def test_is_what_the_source_gives(data_dir: Path, ctx: RunContext, name: str) -> None:
    file, contig, least, n_sites = SOURCES[name]
    loaded = Embedded().load(EmbeddedParams.model_validate({"panel": name}), ctx)
    options = ReadOptions(panel_file=data_dir / "1kg_p3.panel.tsv", build="GRCh37")
    source, skipped = read_panel(data_dir / file, options)
    counts = source.dosages().sum(axis=0)
    common = source.select_sites((counts >= least) & (counts <= source.n_haplotypes - least))
    assert loaded.panel.n_sites == common.n_sites == n_sites
    assert loaded.panel.digest == common.digest
    left = {"MAF below 1 %": source.n_sites - common.n_sites} if least else {}
    assert loaded.skipped == skipped | left
    whole = RecombinationMap.read(data_dir / f"chr{contig}.b37.gmap.gz", contig)
    assert loaded.recombination_map is not None
    np.testing.assert_allclose(
        loaded.recombination_map.at(common.positions), whole.at(common.positions), atol=1e-6
    )


@pytest.mark.parametrize("name", ["chr20-eur", pytest.param("chr1-all", marks=pytest.mark.slow)])
def test_script_writes_the_same_bytes(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file, contig, *_ = SOURCES[name]
    arguments = {
        "--vcf": data_dir / file,
        "--map": data_dir / f"chr{contig}.b37.gmap.gz",
        "--panel-file": data_dir / "1kg_p3.panel.tsv",
        "--out": tmp_path,
    }
    words = [str(word) for pair in arguments.items() for word in pair]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), name, *words])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    stem = STEMS[name]
    made, packaged = (json.loads((at / f"{stem}.json").read_text()) for at in (tmp_path, DATA))
    assert made["panel_digest"] == packaged["panel_digest"]
    assert made["source_sha256"] == packaged["source_sha256"]
    if made["sha256"] != packaged["sha256"]:
        pytest.skip("this machine's zlib compresses otherwise than the one of the packaged file")
    for ending in (".npz", ".json"):
        assert (tmp_path / (stem + ending)).read_bytes() == (DATA / (stem + ending)).read_bytes()


def test_people_and_size(ctx: RunContext) -> None:
    panel = Embedded().load(EmbeddedParams(), ctx).panel
    populations, counts = np.unique(panel.population, return_counts=True)
    assert dict(zip(populations.tolist(), counts.tolist(), strict=True)) == {
        "CEU": 3,
        "FIN": 99,
        "GBR": 91,
        "IBS": 107,
    }
    assert set(panel.superpopulation) == {"EUR"}
    assert panel.maf.min() >= 0.01
    assert (panel.contig, panel.build, panel.n_haplotypes) == ("20", "GRCh37", 600)
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 1_000_000
    about = json.loads((DATA / f"{STEMS['chr20-eur']}.json").read_text())
    assert about["panel_digest"] == panel.digest


def test_all_people_have_their_labels(ctx: RunContext) -> None:
    panel = Embedded().load(EmbeddedParams(panel="chr1-all"), ctx).panel
    superpopulations, counts = np.unique(panel.superpopulation, return_counts=True)
    # As the 1000 Genomes Project published them: Nature 526, 68-74 (2015), extended data.
    assert dict(zip(superpopulations.tolist(), counts.tolist(), strict=True)) == {
        "AFR": 661,
        "AMR": 347,
        "EAS": 504,
        "EUR": 503,
        "SAS": 489,
    }
    assert np.unique(panel.population).size == 26
    assert int((panel.maf > 0.01).sum()) == 741


def test_region_and_populations(ctx: RunContext) -> None:
    whole = Embedded().load(EmbeddedParams(), ctx).panel
    params = EmbeddedParams(region="chr20:2000000-2,500,000", populations=("FIN", "CEU"))
    loaded = Embedded().load(params, ctx)
    inside = (whole.positions >= 2_000_000) & (whole.positions <= 2_500_000)
    people = np.isin(whole.population, ["FIN", "CEU"])
    assert loaded.panel.digest == whole.select_samples(people).select_sites(inside).digest
    assert loaded.recombination_map is not None
    assert loaded.recombination_map.positions[0] <= loaded.panel.positions[0]
    assert loaded.recombination_map.positions[-1] >= loaded.panel.positions[-1]
    assert Embedded().fingerprint(params) != Embedded().fingerprint(EmbeddedParams())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"region": "21"}, "no contig '21'; it holds 20"),
        ({"region": "20:1-1000"}, "no site to read in 20:1-1000; it holds 20:1000"),
        ({"populations": ("FIM",)}, r"no population is named 'FIM' \(did you mean FIN\?\)"),
    ],
)
def test_what_is_not_in_it(params: dict[str, object], message: str, ctx: RunContext) -> None:
    with pytest.raises(FormatError, match=message):
        Embedded().load(EmbeddedParams.model_validate(params), ctx)


def test_damage_is_noticed(monkeypatch: pytest.MonkeyPatch, ctx: RunContext) -> None:
    read = embedded._data

    def damaged(name: str) -> bytes:
        data = bytearray(read(name))
        if name.endswith(".npz"):
            data[len(data) // 2] ^= 1
        return bytes(data)

    monkeypatch.setattr(embedded, "_data", damaged)
    with pytest.raises(BenchError, match="SHA-256 .*install it again"):
        Embedded().load(EmbeddedParams(), ctx)


def test_encoding_turns_back(ctx: RunContext) -> None:
    loaded = Embedded().load(EmbeddedParams(populations=("CEU",), region="20:1-1200000"), ctx)
    assert loaded.recombination_map is not None
    panel, genetic = decode(
        encode(loaded.panel, loaded.recombination_map), contig="20", build="GRCh37"
    )
    assert panel.digest == loaded.panel.digest
    np.testing.assert_allclose(
        genetic.centimorgans, loaded.recombination_map.centimorgans, atol=5e-7
    )
    with pytest.raises(FormatError, match="only diploid"):
        encode(panel.with_haplotypes(-np.ones_like(panel.haplotypes)), genetic)


def test_keeps_the_contract_of_datasets() -> None:
    assert check_dataset("embedded", params={"populations": ["GBR"]})


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        (
            "import haplobench.datasets as d; list(d.haplobench_datasets())",
            "cyvcf2 pysam zarr bed_reader pgenlib msprime stdpopsim tskit numba scipy torch "
            "pandas altair urllib.request haplobench.data.formats.vcf",
        ),
        (
            "from haplobench.datasets.embedded import Embedded as E, EmbeddedParams as P; "
            "assert E().load(P(), None).panel.n_sites",
            "cyvcf2 pysam zarr bed_reader pgenlib msprime stdpopsim tskit numba scipy torch",
        ),
    ],
)
def test_imports_stay_light(statement: str, heavy: str) -> None:
    code = f"{statement}; import sys; print(*(set({heavy.split()!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
