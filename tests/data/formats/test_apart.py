"""A library that dies while it reads costs one clear error, not the process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from haplobench import FormatError, Panel
from haplobench.data.formats import ReadOptions, read_panel, write_panel
from haplobench.data.formats.apart import read_apart


def panel() -> Panel:
    return Panel(
        haplotypes=np.array([[0, 1], [1, 1]], np.int8),
        positions=np.array([5, 9]),
        contig="20",
        samples=np.array(["A"]),
    )


def test_a_reading_comes_back(tmp_path: Path) -> None:
    found, skipped = read_apart(lambda: (panel(), {"indel": 2}), tmp_path / "a", tmp_path)
    assert (found.digest, skipped) == (panel().digest, {"indel": 2})
    found.haplotypes[0, 0] = 1  # as of any array
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "signal SIGSEGV"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "signal SIGKILL"),
        (lambda: os._exit(0), "exit status 0"),
        (lambda: os._exit(3), "exit status 3"),
    ],
)
def test_a_library_that_dies(end: Callable[[], None], cause: str, tmp_path: Path) -> None:
    def read() -> tuple[Panel, dict[str, int]]:
        end()
        return panel(), {}

    with pytest.raises(FormatError, match=rf"a.vcf: the library that reads it ended.*\({cause}"):
        read_apart(read, tmp_path / "a.vcf", tmp_path)
    assert not list(tmp_path.iterdir())


def test_errors_come_back_whole(tmp_path: Path) -> None:
    def mistake() -> tuple[Panel, dict[str, int]]:
        raise FormatError("a.vcf: no", hint="mend it")

    def fault() -> tuple[Panel, dict[str, int]]:
        raise KeyError("inside")

    with pytest.raises(FormatError, match=r"a.vcf: no \(mend it\)"):
        read_apart(mistake, tmp_path / "a", None)
    with pytest.raises(KeyError, match="inside") as caught:
        read_apart(fault, tmp_path / "a", None)
    assert "in fault" in caught.value.__notes__[0]


LIBRARIES = {
    "a.vcf.gz": "cyvcf2.VCF",
    "a.bcf": "cyvcf2.VCF",
    "a.pgen": "pgenlib.PgenReader",
    "a.bed": "bed_reader.open_bed",
    "a.vcz": "zarr.open_group",
}


@pytest.mark.parametrize(("name", "opens"), LIBRARIES.items())
def test_every_library_is_kept_apart(
    name: str, opens: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    path = tmp_path / name
    written = replace(panel(), ref=np.array(["A", "C"]), alt=np.array(["G", "T"]))
    write_panel(written, path)
    allowed = ReadOptions(allow_unphased=True)
    assert read_panel(path, allowed)[0].n_sites == 2
    monkeypatch.setattr(opens, dies)
    with pytest.raises(FormatError, match=f"{name}: the library that reads it.*SIGSEGV"):
        read_panel(path, allowed)
