"""Recombination maps: published formats, interpolation."""

from __future__ import annotations

import gzip
from pathlib import Path

import msprime
import numpy as np
import pytest

from haplobench import FormatError, RecombinationMap

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
