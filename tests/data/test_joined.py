"""Panels of several contigs as one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from haplobench import Panel, PanelError
from haplobench.data.joined import STEP, contig_of_sites, contigs_of, join_panels


def panel(contig: str, n_sites: int = 5, **more: object) -> Panel:
    rng = np.random.default_rng(n_sites)
    whole = Panel(
        rng.integers(0, 2, (8, n_sites)).astype(np.int8),
        100 * np.arange(1, n_sites + 1),
        contig,
        np.array(["a", "b", "c", "d"]),
        population=np.array(["FIN", "GBR", "FIN", "GBR"]),
    )
    return replace(whole, **more)  # type: ignore[arg-type]


def test_contigs_come_back_as_they_were(tmp_path: Path) -> None:
    parts = [panel("chr1", 5), panel("chr2", 3), panel("X", 7)]
    joined = join_panels(parts, tmp_path)
    joined.save(tmp_path / "saved")
    for whole in (joined, Panel.load(tmp_path / "saved")):
        assert whole.contig == "chr1,chr2,X"
        assert contig_of_sites(whole).tolist() == [0] * 5 + [1] * 3 + [2] * 7
        assert np.array_equal(whole.haplotypes, np.hstack([one.haplotypes for one in parts]))
        assert [one.digest for one in contigs_of(whole)] == [one.digest for one in parts]
    # People may be chosen of it as of any panel, and no window in bp spans two contigs.
    assert contigs_of(joined.select_samples([2]))[1].samples.tolist() == ["c"]
    assert np.diff(joined.positions)[[4, 7]].min() > STEP - 1000
    assert contigs_of(parts[0]) == [parts[0]]
    assert not contig_of_sites(parts[0]).any()


def test_a_contig_of_no_known_build_is_of_the_others(tmp_path: Path) -> None:
    known, unknown = panel("chr1", build="GRCh38"), panel("chr2")
    for parts in ([known, unknown], [unknown, known]):
        assert join_panels(parts, tmp_path).build == "GRCh38"
    with pytest.raises(PanelError, match="contig chr3: build 'GRCh37', expected 'GRCh38'"):
        join_panels([unknown, known, panel("chr3", build="GRCh37")], tmp_path)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (panel("1"), "two contigs are one: chr1 and 1"),
        (panel("chr2", build="GRCh38"), "contig chr2: build 'GRCh38', expected 'GRCh37'"),
        (panel("chr2").as_haploid(), "contig chr2: ploidy 1, expected 2"),
        (panel("chr2", samples=np.array(["a", "b", "c", "e"])),
         "1 person isn't there (d); 1 person is new (e)"),
        (panel("chr2").select_samples([1, 0, 2, 3]),
         "person 1 is b, but a on contig chr1, the first"),
        (panel("chr2", population=np.array(["FIN", "FIN", "FIN", "GBR"])),
         "population of b is 'FIN', but 'GBR' on contig chr1, the first"),
    ],
)  # fmt: skip
def test_what_is_not_of_one_genome_is_refused(tmp_path: Path, other: Panel, why: str) -> None:
    with pytest.raises(PanelError) as refusal:
        join_panels([panel("chr1", build="GRCh37"), other], tmp_path)
    assert why in str(refusal.value)
