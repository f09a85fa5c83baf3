"""People by label and name, and what is wrong with their tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from malformed_files import HEADER, record

from haplobench import FormatError
from haplobench.data.formats import ReadOptions, read_panel
from haplobench.data.formats.people import write_labels
from haplobench.data.labels import read_labels


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    path = tmp_path / "a.vcf"
    path.write_text(HEADER + record(5))
    return path


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", r"panel.tsv:1: found columns none, expected"),
        ("name\tpop\nA\tGBR\n", r"panel.tsv:1: found columns name, pop, expected"),
        ("sample pop super_pop\n", "panel.tsv: holds no samples"),
        (
            "sample,reason\nA,moved\n",
            "panel.tsv:1: found columns sample, reason, expected sample, pop",
        ),
        ("A\tGBR\nB\tGBR\n", "panel.tsv:1: found columns A, GBR, expected"),
        ("sample\tpop\tsuper_pop\n", "holds no samples"),
        ("sample\tpop\tsuper_pop\nA\tGBR\n", "panel.tsv:2: found 'A.+GBR', expected a sample"),
        ("sample\tpop\tsuper_pop\nA\t\tEUR\n", "panel.tsv:2: "),
        ("sample\tpop\nA\tGBR\nB\tNaN\n", "panel.tsv:3: found 'B.+NaN', expected a sample"),
        ("sample\tpop\nA\tGBR\nB\tgbr\n", "'B' is of population 'gbr', others are of 'GBR'"),
        (
            "indv pop super_pop\nA GBR Eur\nB FIN EUR\n",
            "'B' is of superpopulation 'EUR', others are of 'Eur' .spell a label in one way",
        ),
        ("sample\tpop\nA\tGBR\nA\tGBR\n", "panel.tsv:3: sample 'A' occurs a second time"),
        ("sample\tpop\nA\tGBR\nC\tGBR\n", "panel.tsv: no line for sample 'B' of .*a.vcf"),
        (
            "sample\tpop\n\xff\tGBR\n".encode("latin-1"),
            r"panel.tsv: can't be read: line 2 .* \(byte 0xff\); save the file as UTF-8",
        ),
    ],
)
def test_population_labels(table: str | bytes, expected: str, pair: Path, tmp_path: Path) -> None:
    path = tmp_path / "panel.tsv"
    path.write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.raises(FormatError, match=expected):
        read_panel(pair, ReadOptions(panel_file=path))
    with pytest.raises(FormatError, match="absent.tsv: no such file"):
        read_panel(pair, ReadOptions(panel_file=tmp_path / "absent.tsv"))


def test_people_asked_for(pair: Path, tmp_path: Path) -> None:
    labels = tmp_path / "panel.tsv"
    labels.write_text(
        "sample\tpop\tsuper_pop\tgender\t\t\nA\tGBR\tEUR\tmale\nB\tYRI\tAFR\tmale\nZ\tYRI\tAFR\tmale\n"
    )
    options = ReadOptions(panel_file=labels)
    panel, _ = read_panel(pair, options.model_copy(update={"superpopulations": ("AFR",)}))
    assert panel.samples.tolist() == ["B"]
    assert panel.haplotypes.tolist() == [[1], [1]]
    assert panel.population.tolist() == ["YRI"]
    for update, expected in (
        ({"populations": ("GBS",)}, r"panel.tsv: no population is named 'GBS' \(did you mean GBR"),
        ({"superpopulations": ("EAS",)}, "no superpopulation is named 'EAS'"),
        ({"samples": ("HG1",)}, r"a.vcf: no sample is named 'HG1' \(there are A, B\)"),
        ({"samples": ("Z",)}, "a.vcf: no sample is named 'Z'"),
        ({"samples": ("A",), "populations": ("YRI",)}, "none of its 2 samples"),
    ):
        with pytest.raises(FormatError, match=expected):
            read_panel(pair, options.model_copy(update=update))
    with pytest.raises(FormatError, match="no labels are given.*set panel_file"):
        read_panel(pair, ReadOptions(populations=("GBR",)))


def test_labels_round_trip(pair: Path, tmp_path: Path) -> None:
    panel, _ = read_panel(pair)
    with pytest.raises(FormatError, match="without a population label"):
        write_labels(panel, tmp_path / "out.tsv")
    labelled = panel.with_haplotypes(
        panel.haplotypes, samples=panel.samples, population=["X", "Y"], superpopulation=["S", "S"]
    )
    write_labels(labelled, tmp_path / "out.tsv")
    again, _ = read_panel(pair, ReadOptions(panel_file=tmp_path / "out.tsv"))
    assert again.digest == labelled.digest
    assert list(read_labels(tmp_path / "out.tsv")) == ["A", "B"]
