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
    assert join_panels([panel("chr1"), panel("chr2", build="GRCh38")], tmp_path).build == "GRCh38"


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (panel("1"), "two contigs are one: chr1 and 1"),
        (panel("chr2", build="GRCh38"), "chr2: build 'GRCh38', but 'GRCh37' on contig chr1"),
        (panel("chr2").as_haploid(), "chr2: ploidy 1, but 2 on contig chr1"),
        (panel("chr2", samples=np.array(["a", "b", "c", "e"])),
         "1 people aren't there (d); 1 people are new (e)"),
        (panel("chr2", samples=np.array(["b", "a", "c", "d"])), "samples of person 1 is 'b'"),
        (panel("chr2", population=np.array(["FIN", "FIN", "FIN", "GBR"])),
         "population of person 2 is 'FIN', but 'GBR'"),
    ],
)  # fmt: skip
def test_what_is_not_of_one_genome_is_refused(tmp_path: Path, other: Panel, why: str) -> None:
    with pytest.raises(PanelError) as refusal:
        join_panels([panel("chr1", build="GRCh37"), other], tmp_path)
    assert why in str(refusal.value)
