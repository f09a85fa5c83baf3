"""Recombination maps: published formats, interpolation."""

from __future__ import annotations

import gzip
from itertools import pairwise, product
from pathlib import Path

import msprime
import numpy as np
import pytest
from tree_panels import panel_of_trees

from haplobench import FormatError, Panel, RecombinationMap
from haplobench.data.genome import estimate_map, expected_switches

SHAPEIT = "pos\tchr\tcM\n100\t20\t0.0\n200\t20\t0.5\n400\t20\t0.7\n"
HAPMAP = (
    "Chromosome Position(bp) Rate(cM/Mb) Map(cM)\nchr20 100 5000 0.0\nchr20 200 1000 0.5\n"
    "chr20 400 0 0.7\n"
)
PLINK = "20 . 0.0 100\n20 . 0.5 200\n20 . 0.7 400\n"


EAGLE = (
    "chr position COMBINED_rate(cM/Mb) Genetic_Map(cM)\n20 100 5000 0.0\n20 200 1000 0.5\n"
    "20 400 0 0.7\n"
)
IMPUTE2 = "position COMBINED_rate(cM/Mb) Genetic_Map(cM)\n100 5000 0.0\n200 1000 0.5\n400 0 0.7\n"
RATES = "Chromosome\tPosition(bp)\tRate(cM/Mb)\n20\t100\t5000\n20\t200\t1000\n20\t400\t0\n"
BEDGRAPH = (
    "track type=bedGraph name=map\nchrom\tchromStart\tchromEnd\tvalue\n"
    "chr20\t100\t200\t5000\nchr20\t200\t400\t1000\n"
)
DECODE = "# a comment\nChr Begin End cMperMb cM\nchr20 100 200 5000 0.5\nchr20 200 400 1000 0.7\n"
OTHERS = "pos\tchr\tcM\n100\t1\t0.0\n900\t1\t9.0\n100\t20\t0.0\n200\t20\t0.5\n400\t20\t0.7\n"


def body(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if line[:1].isdigit()) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        SHAPEIT,
        HAPMAP,
        PLINK,
        EAGLE,
        IMPUTE2,
        RATES,
        BEDGRAPH,
        DECODE,
        OTHERS,
        body(SHAPEIT),
        body(OTHERS),
        body(EAGLE),
        body(IMPUTE2),
        body(BEDGRAPH.replace("chr20", "20")),
        "20 100 0.0\n20 200 0.5\n20 400 0.7\n",
        "\ufeff" + SHAPEIT,
        SHAPEIT.replace("100", "1e2"),
        SHAPEIT.replace("\n200", "\n100\t20\t0.0\n200"),
        HAPMAP.replace("chr20", "NC_000020.10").replace(" 0 0.7", " NaN 0.7"),
    ],
)
def test_published_formats_read_alike(tmp_path: Path, text: str) -> None:
    path = tmp_path / "map.txt"
    path.write_text(text, encoding="utf-8")
    found = RecombinationMap.read(path, "20")
    assert found.positions.tolist() == [100, 200, 400]
    np.testing.assert_allclose(found.centimorgans, [0.0, 0.5, 0.7], atol=1e-12)
    assert np.allclose(found.at([150, 300, 400]), [0.25, 0.6, 0.7])


def test_beyond_the_ends_the_mean_rate_holds(tmp_path: Path) -> None:
    found = RecombinationMap(np.array([100, 200]), np.array([1.0, 2.0]))
    assert np.allclose(found.at([50, 300]), [0.5, 3.0])


def test_real_map_agrees_with_msprime(data_dir: Path) -> None:
    path = data_dir / "chr20.b37.gmap.gz"
    found = RecombinationMap.read(path, "20")
    with gzip.open(path, "rt") as lines:
        rows = [line.split() for line in lines][1:]
    bp = np.array([int(row[0]) for row in rows], float)
    morgans = np.array([float(row[2]) for row in rows]) / 100
    oracle = msprime.RateMap(position=np.r_[0, bp], rate=np.r_[0, np.diff(morgans) / np.diff(bp)])
    at = np.array([1_000_226, 2_345_678, 3_999_849])
    expected = oracle.get_cumulative_mass(at) * 100
    assert np.allclose(found.at(at) - found.at(bp[0]), expected, atol=1e-9)


def test_rates_are_summed_as_msprime_sums_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    bp = np.cumsum(rng.integers(1, 10_000, 50))
    rows = [f"chr20\t{at}\t{rate:.6f}\n" for at, rate in zip(bp, [*rng.random(49), 0], strict=True)]
    path = tmp_path / "map.txt"
    path.write_text("Chromosome\tPosition(bp)\tRate(cM/Mb)\n" + "".join(rows))
    found = RecombinationMap.read(path, "chr20")
    oracle = msprime.RateMap.read_hapmap(str(path), position_col=1, rate_col=2)
    at = np.linspace(bp[0], bp[-1], 99)
    expected = 100 * (oracle.get_cumulative_mass(at) - oracle.get_cumulative_mass(bp[0]))
    np.testing.assert_allclose(found.at(at), expected, atol=1e-12)


def test_bedgraph_holds_rates() -> None:
    path = Path(__file__).parent / "cases" / "map_bedgraph.txt"
    found = RecombinationMap.read(path, "20")
    # 10 kb each of 9.01, 9.02 and 9.03 cM/Mb.
    assert found.at(1_030_000) - found.at(1_000_000) == pytest.approx(0.2706)


def test_between_intervals_stands_their_mean_rate(tmp_path: Path) -> None:
    path = tmp_path / "map.bed"
    path.write_text("20 0 1000 2\n20 1000 2000 2\n20 4000 5000 5\n20 5000 6000 3\n")
    found = RecombinationMap.read(path, "20")
    assert found.positions.tolist() == [0, 1000, 2000, 4000, 5000, 6000]
    assert found.at(4_000) - found.at(2_000) == pytest.approx(2_000 * 3 / 1e6)
    assert found.at(6_000) == pytest.approx(0.018)


def test_a_region_says_how_much_of_it_the_map_covers() -> None:
    found = RecombinationMap(np.array([100, 200]), np.array([1.0, 2.0]))
    third = found.region(150, 300)
    assert third.covered == pytest.approx(1 / 3)
    assert third.remark == "covers 33% of the region, beyond it stands its mean rate"
    assert found.region(110, 190).remark == ""
    with pytest.raises(FormatError, match="covers 100 to 200 bp, nothing of 500 to 600"):
        found.region(500, 600)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20 . 0 1000000\n20 . 0.005 1500000\n20 . 0.015 2000000\n", "0.015"),  # Morgans
        ("pos chr cM\n1000 20 0\n1500 20 0.5\n2000 20 1.5\n", "1.5e.03"),  # kb
    ],
)
def test_maps_in_other_units_are_refused(tmp_path: Path, text: str, rate: str) -> None:
    (tmp_path / "x.map").write_text(text)
    with pytest.raises(FormatError, match=f"are {rate} cM/Mb; people's chromosomes have about 1"):
        RecombinationMap.read(tmp_path / "x.map", "20")
    slow = "pos chr cM\n1 20 0\n2000001 20 0.1\n"  # none slower is among people's
    (tmp_path / "x.map").write_text(slow)
    assert RecombinationMap.read(tmp_path / "x.map", "20").centimorgans[-1] == 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pos chr cM\n1 20 0\n2 20 nan\n", "map.txt:3: .*column 3 is no number of cM"),
        ("pos chr cM\n1 20 0\n2 20 inf\n", "map.txt:3: .*column 3 is no number of cM"),
        ("pos chr cM\n1 20 0\n2.5 20 1\n", "map.txt:3: .*column 1 is no position in bp"),
        ("pos chr cM\n1 20 0\n-2 20 1\n", "map.txt:3: .*column 1 is no position in bp"),
        ("pos chr cM\n1 20 0\n1_0 20 1\n", "map.txt:3: .*column 1 is no position in bp"),
        ("pos chr cM\n1 20 0\n2 20\n", "map.txt:3: .*found .2 20.: 2 columns, expected 3 or more"),
        ("pos chr cM\n1 20 0\n5 20 2\n9 20 1\n", "map.txt:4: cM must not decrease, found '9 20 1'"),
        ("pos chr cM\n1 20 0\n5 20 2\n5 20 3\n", "map.txt:4: one position has two values of cM"),
        ("pos chr cM\n1 20 0\n5 20 0\n", "every position of contig '20' has 0 cM"),
        ("pos chr cM\n1 21 0\n5 22 0\n", "no positions for contig '20'; it holds 21, 22"),
        ("1 5 3\n2 4 1\n3 9 2\n", "map.txt:1: found '1 5 3', .*no known order of columns"),
        ("1 2\n3 4\n", "map.txt:1: .*no known order of columns"),
        (
            "chrom start end rate\n20 1 5 1e-8\n20 5 9 2e-8\n",
            "rates of at most 2e-08, expected cM/Mb",
        ),
        ("chrom start end value\n20 1 5 1\n20 3 9 2\n", "map.txt:3: intervals must not overlap"),
        ("chrom start end value\n20 1 5 1\n20 5 9 -2\n", "map.txt:3: the rate is negative"),
        ("", "the file is empty"),
        (b"\xff\xfe\x00", "not a text file"),
        ("hello there\n", "map.txt:1: .*expected a recombination map"),
        ("pos chr cM\n1 20 0\nx 20 1\n", "map.txt:3: expected bp, contig and cM"),
        ("pos chr cM\n1 20 0\n", "no positions for contig"),
        ("pos chr cM\n5 20 0\n4 20 1\n", "bp must increase"),
    ],
)
def test_malformed_maps_name_the_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "map.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FormatError, match=message):
        RecombinationMap.read(path, "20")


NE = 10_000


def people(rate: float | msprime.RateMap, n: int, length: int, seed: int = 1) -> Panel:
    """Simulated people; `rate` in cM/Mb."""
    trees = msprime.sim_ancestry(
        n,
        population_size=NE,
        sequence_length=length,
        recombination_rate=rate * 1e-8 if isinstance(rate, float) else rate,
        random_seed=seed,
    )
    trees = msprime.sim_mutations(
        trees, rate=1.25e-8, random_seed=seed, model=msprime.BinaryMutationModel()
    )
    return panel_of_trees(trees)


def mean_rate(panel: Panel) -> float:
    groups = np.zeros(panel.n_haplotypes, np.int64)
    estimated = estimate_map(panel, groups, NE, np.random.default_rng(1))
    start, end = panel.positions[[0, -1]]
    return float(np.diff(estimated.at([start, end]))[0] / (end - start) * 1e6)


@pytest.mark.parametrize(
    ("rate", "length", "low", "high"),
    [(0.1, 600_000, 0.5, 4), (1.0, 400_000, 0.5, 2), (10.0, 200_000, 0.3, 1.5)],
)
def test_the_mean_rate_is_that_of_the_simulation(
    rate: float, length: int, low: float, high: float
) -> None:
    found = [mean_rate(people(rate, 100, length, seed)) for seed in (1, 2)]
    assert low < np.exp(np.mean(np.log(found))) / rate < high, found


def test_a_hot_spot_is_where_it_is() -> None:
    rates = msprime.RateMap(position=[0, 3e5, 3.2e5, 6e5], rate=[0.2e-8, 60e-8, 0.2e-8])
    panel = people(rates, 150, 600_000, 5)
    groups = np.zeros(panel.n_haplotypes, np.int64)
    estimated = estimate_map(panel, groups, NE, np.random.default_rng(1))
    pieces = np.linspace(0, 600_000, 13)
    found = np.diff(estimated.at(pieces))
    assert found.argmax() in (5, 6), found
    assert found[[5, 6]].sum() > 3 * np.median(found) * 2, found


def test_groups_keep_to_themselves() -> None:
    """Haplotypes of another population explain nobody: pooled, they seem to switch more."""
    demography = msprime.Demography()
    for name in ("pop_0", "pop_1", "old"):
        demography.add_population(name=name, initial_size=NE)
    demography.add_population_split(4 * NE, derived=["pop_0", "pop_1"], ancestral="old")
    trees = msprime.sim_ancestry(
        {"pop_0": 60, "pop_1": 60},
        demography=demography,
        sequence_length=400_000,
        recombination_rate=1e-8,
        random_seed=2,
    )
    trees = msprime.sim_mutations(
        trees, rate=1.25e-8, random_seed=2, model=msprime.BinaryMutationModel()
    )
    panel = panel_of_trees(trees)
    own = estimate_map(panel, np.repeat([0, 1], 120), NE, np.random.default_rng(1))
    length = np.ptp(own.at(panel.positions))
    assert 0.5 < length / 0.4 < 2.5, length


def testexpected_switches_are_those_of_all_paths() -> None:
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 2, (5, 2)).astype(np.int8)
    sources = rng.integers(0, 2, (5, 2, 3)).astype(np.int8)
    targets[1, 0] = -1
    expected, miscopied = np.array([0.1, 0.9, 0.4, 0.2]), 0.07
    found, errors = expected_switches(targets, sources, expected, miscopied)
    jump = 1 - np.exp(-expected)
    switches, wrong = np.zeros(4), 0.0
    for t in range(2):
        total, here, off = 0.0, np.zeros(4), 0.0
        for path, jumps in product(product(range(3), repeat=5), product([0, 1], repeat=4)):
            if any(not j and a != b for j, (a, b) in zip(jumps, pairwise(path), strict=True)):
                continue
            p = 1 / 3
            for j, x in zip(jumps, jump, strict=True):
                p *= x / 3 if j else 1 - x
            missed = 0
            for site, source in enumerate(path):
                fits = targets[site, t] in (-1, sources[site, t, source])
                p *= 1 - miscopied if fits else miscopied
                missed += not fits
            total += p
            here += p * np.array(jumps)
            off += p * missed
        switches += here / total
        wrong += off / total
    np.testing.assert_allclose(found, switches * expected / jump, rtol=1e-4)
    assert errors == pytest.approx(wrong / 9, rel=1e-4)


def test_panels_with_little_to_go_by_get_one_centimorgan_per_megabase() -> None:
    panel = people(1.0, 50, 100_000).select_samples(np.arange(1))
    assert mean_rate(panel) == pytest.approx(1)
    few = people(1.0, 50, 100_000)
    few = few.select_sites(np.arange(5))
    assert mean_rate(few) == pytest.approx(1)


def test_haplotypes_of_as_many_labels_as_people_are_one_group() -> None:
    """Haploid people of a population each: nobody has another of the group to be copied from."""
    panel = people(1.0, 30, 100_000)
    alone = np.arange(panel.n_haplotypes)
    found, pooled = (
        estimate_map(panel, groups, NE, np.random.default_rng(1))
        for groups in (alone, np.zeros_like(alone))
    )
    np.testing.assert_array_equal(found.centimorgans, pooled.centimorgans)
