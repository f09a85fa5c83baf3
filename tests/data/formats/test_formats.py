"""What is no file in any format is told of as that."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from haplobench import FormatError, Panel, RecombinationMap
from haplobench.data.consent import PeopleList
from haplobench.data.formats import ReadOptions, read_panel, write_panel
from haplobench.data.labels import read_labels
from haplobench.datasets.file import read_sequence


@pytest.mark.parametrize(
    "name", ["a.vcf", "a.vcf.gz", "a.bcf", "a.bed", "a.pgen", "a.hapt", "a.hapt.gz"]
)
@pytest.mark.parametrize("made", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_never_ends_is_no_file(
    name: str, made: Callable[[Path], object], small_panel: Panel, tmp_path: Path
) -> None:
    """Whichever of a format's files it stands for, and for tables, maps and sequences beside it."""
    write_panel(small_panel, tmp_path / name)
    region = ReadOptions(allow_unphased=True, region=f"{small_panel.contig}:1-")
    for each in sorted(tmp_path.iterdir()):
        each.rename(tmp_path / "away")
        made(each)
        with pytest.raises(FormatError, match=f"{each.name}: found a pipe or a device, expected"):
            read_panel(tmp_path / name, region)
        (tmp_path / "away").replace(each)
    made(tmp_path / "a.tsv")
    for read in (
        read_labels,
        RecombinationMap.read,
        PeopleList.read,
        lambda path: read_sequence(path, small_panel),
    ):
        with pytest.raises(FormatError, match="a.tsv: found a pipe or a device, expected a file"):
            read(tmp_path / "a.tsv")
