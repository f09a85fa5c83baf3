"""Text files with a byte order mark, as Windows' editors and spreadsheets save them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from haplobench import Panel, RecombinationMap
from haplobench.data.formats import read_panel, write_panel
from haplobench.datasets.file import read_sequence
from haplobench.testing import example_panel
from haplobench_command.generator import read_matrix
from haplobench_federated.client_panels import SiteList
from haplobench_federated.federation import read_frequencies

BOM = b"\xef\xbb\xbf"


def marked(path: Path) -> Path:
    """The file, a mark put before it."""
    path.write_bytes(BOM + path.read_bytes())
    return path


@pytest.mark.parametrize(
    ("file", "companion"),
    [
        ("p.hapt", "p.hapt"),
        ("p.hapt", "p.legend"),
        ("p.pgen", "p.psam"),
        ("p.pgen", "p.pvar"),
        ("p.bed", "p.bim"),
        ("p.bed", "p.fam"),
    ],
)
def test_panels(file: str, companion: str, tmp_path: Path) -> None:
    write_panel(example_panel(6, n_sites=9), tmp_path / file)
    before = read_panel(tmp_path / file)[0]
    marked(tmp_path / companion)
    after, skipped = read_panel(tmp_path / file)
    assert after.digest == before.digest
    assert after.samples.tolist() == before.samples.tolist()
    assert after.population.tolist() == before.population.tolist()
    assert skipped == {}


def _map(path: Path, panel: Panel) -> object:
    return RecombinationMap.read(path, "20").centimorgans.tolist()


def _fasta(path: Path, panel: Panel) -> object:
    return read_sequence(path, panel).bases.tobytes()


def _matrix(path: Path, panel: Panel) -> object:
    return read_matrix(path, 2, 3).tolist()


def _frequencies(path: Path, panel: Panel) -> object:
    return read_frequencies(path, np.array([5, 7])).tolist()


def _site_list(path: Path, panel: Panel) -> object:
    return SiteList.read(path).sites.positions.tolist()


@pytest.mark.parametrize(
    ("content", "read"),
    [
        ("pos chr cM\n5 20 0.1\n50 20 0.5\n", _map),
        (">20\n" + "A" * 60 + "\n", _fasta),
        ("0\t1\t0\n1\t1\t0\n", _matrix),
        ("5\t0.25\n7\t0.5\n", _frequencies),
        ("", _site_list),
    ],
)
def test_side_files(content: str, read: Callable[[Path, Panel], object], tmp_path: Path) -> None:
    panel = Panel(
        np.array([[0, 1], [1, 0]], np.int8),
        np.array([5, 50]),
        "20",
        np.array(["person"]),
        ref=np.array(["A", "A"]),
        alt=np.array(["C", "G"]),
    )
    path = tmp_path / "file.txt"
    path.write_text(content)
    if not content:
        SiteList.of(panel).write(path)
    assert read(marked(path), panel) == read(_unmarked(path), panel)


def _unmarked(path: Path) -> Path:
    path.write_bytes(path.read_bytes().removeprefix(BOM))
    return path
