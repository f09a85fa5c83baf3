"""Lists of people who withdrew, as programs and people write them: nobody stays in."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from haplobench import BenchError, FormatError, Panel
from haplobench.data.consent import (
    PeopleList,
    WithdrawnSetting,
    withdrawal_text,
    without_names,
)
from haplobench.data.formats import read_panel, write_panel
from haplobench.testing import example_panel

GONE = {"P000", "P001"}
# Each names P000 and P001, of P000 to P059.
FORMS = {
    "a name a line": "P000\nP001\n",
    "no end of line": "P000\nP001",
    "byte order mark": "\ufeffP000\nP001\n",
    "byte order mark before a header": "\ufeffIID\nP000\nP001\n",
    "byte order marks of joined files": "\ufeffP000\n\ufeffP001\n",
    "CR LF": "P000\r\nP001\r\n",
    "CR alone": "P000\rP001\r",
    "FID IID": "P000 P000\nP001 P001\n",
    "FID IID of families": "F1 P000\nF2\tP001\n",
    "FID IID, tab-separated": "F1\tP000\nF1\tP001\n",
    "FID 0": "0 P000\n0\tP001\n",
    ".fam": "F1 P000 P007 P008 1 -9\nF1 P001 0 0 2 -9\n",
    "#IID": "#IID\nP000\nP001\n",
    "#FID IID": "#FID\tIID\nP002\tP000\nF1\tP001\n",
    "FID IID as header": "FID IID\nF1 P000\nF1 P001\n",
    ".psam": "##version\n#IID\tSEX\nP000\t1\nP001\t2\n",
    "sample": "sample\nP000\nP001\n",
    "csv with header": "sample,reason,date\nP000,moved,2024-01-02\nP001,\"asked, twice\",\n",
    "csv with the names in the middle": "date,Sample ID,reason\n2024-01-02,P000,x\n,P001,\n",
    "csv of a biobank": "eid\nP000\nP001\n",
    "semicolons": "IID;reason\r\nP000;moved, by letter\r\nP001;\r\n",
    "semicolons without header": "P000;moved\nP001;\n",
    "Excel's sep=": "sep=;\nIID;reason\nP000;\nP001;x\n",
    "tab-separated with header": "Sample name\tWhy\nP000\tx\nP001\t\n",
    "trailing commas": "P000,\nP001,,,\n,,,\n",
    "quotes": '"P000"\n\'P001\'\n',
    "quotes around FID and IID": '"FID" "IID"\n"F1" "P000"\n"F1" "P001"\n',
    "comments": "# who left in 2024\nP000 # by letter\n\n#\nP001\t# by phone\n# end\n",
    "a comment that has a column's name": "# sample list\nP000\nP001\n",
    "remarks": "P000 moved away\nP001, asked us\n",
    "blanks": "  P000  \n\n \t \n\tP001\n",
    "non-breaking blanks": "\u00a0P000\u00a0\nP001\u202f\n",
    "no-width marks": "P000\u200b\n\u2060P001\n",
    "in one line": "P000,P001\n",
    "in one line with blanks": "P000, P001,\n",
    "header twice, of joined files": "IID,why\nP000,x\nIID,why\nP001,y\n",
    "FID_IID": "F1_P000\nP001_P001\n",
}  # fmt: skip


def people(n: int = 60, prefix: str = "") -> Panel:
    panel = example_panel(n, n_sites=4)
    names = [f"{prefix}P{i:03}" for i in range(n)]
    return panel.with_haplotypes(
        panel.haplotypes,
        samples=names,
        population=panel.population,
        superpopulation=panel.superpopulation,
    )


def left(panel: Panel, path: Path, *, allow_unknown: bool = False) -> tuple[set[str], str]:
    """Who is gone, and the counts in words."""
    listed = PeopleList.read(path)
    (stays,), counts = listed.leave_out(panel, allow_unknown=allow_unknown, key="withdrawn")
    gone = set(panel.samples.tolist()) - set(stays.samples.tolist())
    assert stays.n_samples == panel.n_samples - len(gone)
    return gone, withdrawal_text(counts)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("form", FORMS)
def test_nobody_stays_in(form: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(FORMS[form].encode(encoding))
    assert left(people(), path) == (GONE, "2 of 2 withdrawn people left out")


@pytest.mark.parametrize("prefix", ["F1_", "0_"])
@pytest.mark.parametrize(
    "form", sorted(set(FORMS) - {"FID_IID", "FID IID of families", "#FID IID"})
)
def test_nobody_stays_in_where_samples_are_named_by_family_too(
    form: str, prefix: str, tmp_path: Path
) -> None:
    text = FORMS[form]
    if prefix == "F1_":
        for family in ("P000 P000", "P001 P001"):
            text = text.replace(family, f"F1 {family[:4]}")
    path = tmp_path / "list.txt"
    path.write_text(text, encoding="utf-8", newline="")
    gone, text = left(people(prefix=prefix), path)
    assert gone == {f"{prefix}P000", f"{prefix}P001"}
    assert text == "2 of 2 withdrawn people left out"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("p000\nP01\n", "2 of 2 match nobody of the 60 people: line 1 'p000', line 2 'P01'"),
        ("IID\nP000\n\nP60\n", "1 of 2 match nobody of the 60 people: line 4 'P60' (mend them"),
        ("#FID IID\nF1 P000\nF1 X\n", "1 of 2 match nobody of the 60 people: line 3 'F1 X'"),
        ("number\nP000\n", "line 1 'number'"),
        ("P002 P000\nP001\n", "line 1 'P002 P000' may be P000 or P002 (write one name a line"),
        ("P000,moved,P001\n", "line 1 'P000 moved P001' may be P000 or P001"),
        ("P000 P001 P002\n", "may be P001 or P000 or P002"),
        ("P000\nP001 sample\nP002 family P003\n", "line 3"),
    ],
)  # fmt: skip
def test_what_matches_nobody_or_more_than_one_is_named(
    content: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "list.txt"
    path.write_text(content)
    with pytest.raises(BenchError) as error:
        left(people(), path)
    assert str(error.value).startswith(f"withdrawn: {path}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_header_that_is_somebodys_name_is_refused(tmp_path: Path) -> None:
    panel = people(4)
    named = panel.with_haplotypes(
        panel.haplotypes,
        samples=["sample", "A", "B", "C"],
        population=panel.population,
        superpopulation=panel.superpopulation,
    )
    path = tmp_path / "list.txt"
    path.write_text("sample\nA\n")
    with pytest.raises(BenchError, match="line 1 'sample' may be sample or a header"):
        left(named, path)
    assert left(panel, path, allow_unknown=True)[0] == set()


def test_one_name_of_several_families(tmp_path: Path) -> None:
    panel = people(4)
    named = panel.with_haplotypes(
        panel.haplotypes,
        samples=["F1_1", "F2_1", "F2_2", "3"],
        population=panel.population,
        superpopulation=panel.superpopulation,
    )
    path = tmp_path / "list.txt"
    path.write_text("1\n")
    with pytest.raises(BenchError, match="line 1 '1' may be F1_1 or F2_1"):
        left(named, path, allow_unknown=True)
    path.write_text("F2 1\nF7 3\n")
    assert left(named, path)[0] == {"F2_1", "3"}
    path.write_text("F3 1\n")
    with pytest.raises(BenchError, match="line 1 'F3 1'"):
        left(named, path)


def test_counts(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("P000\nP001\nF1 P000\nsomebody\nsomebody\n")
    assert left(people(), path, allow_unknown=True) == (
        GONE,
        "2 of 3 withdrawn people left out; 1 match nobody in the panel; 2 listed more than once",
    )


def test_a_list_of_nobody_or_everybody_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    for content in ("", "\n\n", "# nobody yet\n", "IID\n", "\ufeff", ",,\n"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(FormatError, match=r"list.txt: holds no names \(leave the setting out"):
            PeopleList.read(path)
    path.write_text("sample,reason\nP000,x\n,y\n")
    with pytest.raises(FormatError, match=r"list.txt:3: no name in the column"):
        PeopleList.read(path)
    path.write_text('P000,"moved\nwith P001"\n')
    with pytest.raises(FormatError, match=r"list.txt:1: a quoted cell doesn't end on its line"):
        PeopleList.read(path)
    path.write_bytes("P000\n".encode("utf-16-le"))
    with pytest.raises(FormatError, match=r"list.txt: can't be read: not text"):
        PeopleList.read(path)
    with pytest.raises(FormatError, match=r"nowhere.txt: no such file"):
        PeopleList.read(tmp_path / "nowhere.txt")
    path.write_text("\n".join(people(5).samples))
    with pytest.raises(BenchError, match="everybody in the panel withdrew"):
        left(people(5), path)


def test_of_several_panels_each_name_has_to_be_in_one() -> None:
    panel = people()
    first, second = panel.select_samples(np.arange(30)), panel.select_samples(np.arange(30, 60))
    listed = PeopleList.of(["P000", "P059"])
    kept, counts = listed.leave_out(first, second, allow_unknown=False, key="--withdrawn")
    assert [each.n_samples for each in kept] == [29, 29]
    assert counts == {"listed": 2, "left_out": 2, "unknown": 0, "repeated": 0}


def test_names_are_not_told_where_they_would_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("P000\nsecret\nP002 P001\n")
    listed = PeopleList.read(path)
    assert "P000" not in repr(listed)
    for panel in (people(), people(2)):
        with pytest.raises(BenchError) as error:
            listed.leave_out(panel, allow_unknown=False, key="withdrawn", private=True)
        assert not any(name in str(error.value) for name in ("secret", "P000", "P001", "P002"))
    for given in ("withdrawn=[P0,P1]", "withdrawn.names=[P0]", "filters={withdrawn: [P0]}"):
        told = without_names(f"bench run s --set 'datasets[0].filters.{given}' --jobs 2")
        assert "P0" not in told
        assert told.endswith("--jobs 2")
    assert without_names("--set a.withdrawn=list.txt") == "--set a.withdrawn=list.txt"


def test_a_list_that_changed_is_not_taken_for_the_one_that_was_read(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("P000\n")
    job = PeopleList.read(path).as_job()
    assert PeopleList.from_job(job).digest == job["digest"]
    path.write_text("P001\n")
    with pytest.raises(BenchError, match="the list changed while the run was starting"):
        PeopleList.from_job(job)
    assert PeopleList.from_job(PeopleList.of(["P000", "F1 X"]).as_job()) == (
        PeopleList.of(["P000", "F1 X"])
    )


PLINK_LISTS = (
    "FAM1 P000\nFAM2 P001\n",
    "#FID IID\nFAM1 P000\nFAM2 P001\n",
    "#FID\tIID\tWHY\nFAM1\tP000\tx\nFAM2\tP001\ty\n",
    "FID IID\nFAM1 P000\nFAM2 P001\n",
)


@pytest.mark.skipif(shutil.which("plink2") is None, reason="plink2 isn't installed")
def test_who_goes_is_who_plink_removes(tmp_path: Path) -> None:
    """People of families, exported by PLINK as VCF, which names them FID_IID."""
    write_panel(people(6), tmp_path / "p.pgen")
    psam = tmp_path / "p.psam"
    families = ["FAM1", "FAM2", "FAM2", "FAM3", "FAM3", "FAM4"]
    rows = [f"{family}\tP{i:03}\tNA" for i, family in enumerate(families)]
    psam.write_text("#FID\tIID\tSEX\n" + "\n".join(rows) + "\n")

    def exported(name: str, *options: str) -> Panel:
        out = tmp_path / name
        command = ["plink2", "--pfile", tmp_path / "p", *options, "--export", "vcf", "bgz"]
        subprocess.run([*command, "--out", out], check=True, capture_output=True)
        return read_panel(Path(f"{out}.vcf.gz"))[0]

    everybody = exported("all")
    assert everybody.samples[0] == "FAM1_P000"
    for i, content in enumerate(PLINK_LISTS):
        path = tmp_path / f"list{i}.txt"
        path.write_text(content)
        stays = exported(f"stays{i}", "--remove", str(path))
        gone = set(everybody.samples.tolist()) - set(stays.samples.tolist())
        assert len(gone) == 2
        assert left(everybody, path)[0] == gone


@pytest.mark.parametrize(
    ("key", "remedy"), [("--withdrawn", "give --allow-unknown"), ("withdrawn", "set allow_unknown")]
)
def test_the_remedy_is_that_of_the_place(key: str, remedy: str) -> None:
    with pytest.raises(BenchError) as caught:
        PeopleList.of(["P0000"]).leave_out(people(), allow_unknown=False, key=key)
    assert remedy in caught.value.hint


@pytest.mark.parametrize("name", [1001, 1e3, True, None])
def test_a_name_that_yaml_takes_for_a_number_is_to_be_quoted(name: object) -> None:
    with pytest.raises(ValidationError, match="isn't text but YAML's .*; quote the name"):
        TypeAdapter(WithdrawnSetting).validate_python(["P000", name])


def test_a_list_in_a_code_page_names_its_line_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "withdrawn.txt"
    path.write_bytes("P000\nMüller\n".encode("cp1252"))
    with pytest.raises(FormatError, match=r"line 2 isn't UTF-8 .*save the file as UTF-8"):
        PeopleList.read(path)
