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


@pytest.mark.parametrize("text", [SHAPEIT, HAPMAP, PLINK])
def test_three_published_formats_read_alike(tmp_path: Path, text: str) -> None:
    path = tmp_path / "map.txt"
    path.write_text(text)
    found = RecombinationMap.read(path, "20")
    assert found.positions.tolist() == [100, 200, 400]
    assert found.centimorgans.tolist() == [0.0, 0.5, 0.7]
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello there\n", "map.txt:1: .*expected a recombination map"),
        ("pos chr cM\n1 20 0\nx 20 1\n", "map.txt:3: expected bp, contig and cM"),
        ("pos chr cM\n1 20 0\n", "no positions for contig"),
        ("pos chr cM\n5 20 0\n4 20 1\n", "bp must increase"),
    ],
)
def test_malformed_maps_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "map.txt"
    path.write_text(text)
    with pytest.raises(FormatError, match=message):
        RecombinationMap.read(path, "20")
