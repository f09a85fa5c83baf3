"""What a suite says of its split, down to the prepared people: lists, folds, relatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haplobench import BenchError, FormatError, Panel, SuiteError
from haplobench.data.formats import ReadOptions, read_panel, write_panel
from haplobench.data.prepared import Prepared
from haplobench.data.relatives import relatives_text
from haplobench.data.split import keep_together
from haplobench.registry import load_registry
from haplobench.report.facts import dataset_facts
from haplobench.runner.plan import plan_cells
from haplobench.runner.worker.job import Job
from haplobench.runner.worker.prepare import part_prepared, prepare, shadow_prepared
from haplobench.suite.load import load_suite
from haplobench.suite.schema import DatasetEntry
from haplobench.testing import example_context, example_panel

REGISTRY = load_registry()


@pytest.fixture(scope="module")
def vcf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 people: person1 to person50, and the first ten of them again as twin1 to twin10."""
    panel = example_panel(50, n_sites=400, seed=4)
    twins = panel.with_haplotypes(
        np.concatenate([panel.haplotypes, panel.haplotypes[:20]]),
        samples=[*panel.samples, *(f"twin{i + 1}" for i in range(10))],
    )
    path = tmp_path_factory.mktemp("vcf") / "twins.vcf.gz"
    write_panel(twins, path)
    return path


def entries(folder: Path, vcf: Path, split: str, params: str = "") -> tuple[DatasetEntry, ...]:
    suite = folder / "s.yaml"
    suite.write_text(
        "name: split\ngenerators: [markov]\ndatasets:\n  - name: file\n    label: mine\n"
        f"    params: {{path: {vcf}{params}}}\n    split: {split}\n"
    )
    return load_suite(suite, (), REGISTRY).datasets


def prepared(folder: Path, entry: DatasetEntry) -> Prepared:
    output = folder / f"output-{entry.label}"
    output.mkdir()
    job = Job(
        stage="prepare",
        plugins=("haplobench.datasets",),
        output=str(output),
        scratch=str(folder),
        artifacts=str(folder),
        status=str(folder / "status"),
        error=str(folder / "error"),
        time_limit=60,
        name="file",
        params=dict(entry.values),
        settings={
            "filters": {"min_maf": 0.01, "max_missing": 0},
            "split": entry.split.model_dump(),
            "listed": {key: people.as_job() for key, people in entry.listed.items()},
        },
    )
    prepare(job, REGISTRY, example_context(folder, example_panel(4, n_sites=4)))
    return Prepared.load(output)


def people(folder: Path, vcf: Path, split: str, params: str = "") -> Prepared:
    (entry,) = entries(folder, vcf, split, params)
    return prepared(folder, entry)


def twins_apart(data: Prepared) -> int:
    sides = [set(panel.samples.tolist()) for panel in (data.train, data.holdout)]
    return sum((f"twin{i}" in sides[0]) != (f"person{i}" in sides[0]) for i in range(1, 11))


def test_duplicates_are_kept_together_told_refused_or_ignored(tmp_path: Path, vcf: Path) -> None:
    by_setting: dict[str, Prepared] = {}
    for setting in ("together", "warn", "ignore"):
        folder = tmp_path / setting
        folder.mkdir()
        by_setting[setting] = people(folder, vcf, f"{{relatives: {setting}, holdout: 0.4}}")
    facts: dict[str, Any] = {name: one.facts.relatives for name, one in by_setting.items()}
    assert twins_apart(by_setting["together"]) == 0
    assert (facts["together"]["families"], facts["together"]["people"]) == (10, 20)
    assert facts["together"]["across"] == 0
    assert twins_apart(by_setting["warn"]) > 0
    assert facts["warn"]["across"] >= twins_apart(by_setting["warn"])
    assert "on two sides of the split" in relatives_text(facts["warn"])
    assert twins_apart(by_setting["ignore"]) > 0
    assert "not looked for, as asked" in relatives_text(facts["ignore"])
    text = relatives_text(facts["together"])
    assert "10 pairs with the same genotypes" in text
    assert "10 families of 20 people kept on one side" in text
    assert ("Relatives", text) in [
        tuple(fact[:2]) for fact in dataset_facts(by_setting["together"].facts.plain())
    ]
    with pytest.raises(BenchError, match=r"split\.relatives: 10 pairs .* person\d+ and twin\d+"):
        people(tmp_path, vcf, "{relatives: refuse}")


def test_declared_families_are_not_refused(tmp_path: Path, vcf: Path) -> None:
    pedigree = tmp_path / "p.fam"
    pedigree.write_text(
        "".join(f"F{i} {name}{i} 0 0 0 -9\n" for i in range(1, 11) for name in ("person", "twin"))
    )
    data = people(tmp_path, vcf, "{relatives: refuse}", f", pedigree_file: {pedigree}")
    assert twins_apart(data) == 0
    assert (data.facts.relatives or {})["declared"] == 10
    assert relatives_text(data.facts.relatives or {}).startswith("10 families declared")


def test_shadows_and_validation_keep_families_together(tmp_path: Path, vcf: Path) -> None:
    data = people(tmp_path, vcf, "{holdout: 0.3, validation: 0.3}")
    parts = (part_prepared(data, 0.5), part_prepared(data, 0.31))
    assert 0.4 * data.train.n_samples < parts[0].train.n_samples <= 0.5 * data.train.n_samples
    for one in (data, shadow_prepared(data, 0), shadow_prepared(data, 1), *parts):
        assert twins_apart(one) == 0 or one in parts
        apart = set(one.train.family[one.validation].tolist()) - {""}
        others = np.delete(np.arange(one.train.n_samples), one.validation)
        assert not apart & set(one.train.family[others].tolist())


def test_lists_of_people(tmp_path: Path, vcf: Path) -> None:
    held = [f"person{i}" for i in range(11, 31)]
    (tmp_path / "held.csv").write_text("\ufeffsample,remark\n" + "".join(f"{n},x\n" for n in held))
    data = people(
        tmp_path, vcf, f"{{holdout: {tmp_path}/held.csv, validation: [person40, person41]}}"
    )
    assert sorted(data.holdout.samples) == sorted(held)
    assert sorted(data.train.samples[data.validation]) == ["person40", "person41"]
    # What was asked is the list's content, wherever it lies.
    (tmp_path / "there").mkdir()
    there = tmp_path / "there" / "list.csv"
    there.write_bytes((tmp_path / "held.csv").read_bytes())
    asked = [
        entries(tmp_path, vcf, f"{{holdout: {at}}}")[0] for at in (there, f"{tmp_path}/held.csv")
    ]
    assert asked[0].asked_split() == asked[1].asked_split()
    there.write_text("person1\nperson2\n")
    assert (
        entries(tmp_path, vcf, f"{{holdout: {there}}}")[0].asked_split() != asked[1].asked_split()
    )


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (
            "{holdout: [person11, persn12]}",
            r"split\.holdout: 1 of 2 match nobody .*name 2 'persn12'",
        ),
        ("{holdout: FILE}", r"split\.holdout: .*held\.txt: 1 of 3 match nobody .*line 3 'NA1'"),
        ("{validation: [person11, person12], holdout: [person12, person13]}", "are held out"),
        ("{holdout: [person1, person20, person21]}", "1 family with people on two sides"),
        ("{holdout: [person21]}", "holds out 1"),
    ],
)
def test_lists_that_cannot_be(tmp_path: Path, vcf: Path, split: str, message: str) -> None:
    (tmp_path / "held.txt").write_text("person11\nperson12\nNA1\n")
    with pytest.raises(BenchError, match=message):
        people(tmp_path, vcf, split.replace("FILE", str(tmp_path / "held.txt")))


def test_lists_may_tear_families_where_that_is_asked(tmp_path: Path, vcf: Path) -> None:
    data = people(tmp_path, vcf, "{holdout: [person1, person20], relatives: warn, validation: 0}")
    assert (data.facts.relatives or {})["across"] == 1


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (
            "{holdout: none.txt}",
            r"s\.yaml:7: datasets\[0\]\.split\.holdout: none\.txt: no such file",
        ),
        ("{holdout: []}", r"split\.holdout: expected a share, a file or a list of names"),
        ("{holdout: [3]}", r"split\.holdout: expected a share, a file or a list of names"),
        ("{holdout: 1.5}", r"split\.holdout: expected a share"),
        ("{folds: 1}", "expected 2 folds or more"),
        ("{folds: 5, fold: 6}", "a fold among them"),
        ("{folds: 5, holdout: 0.2}", "exclude each other"),
        ("{relatives: apart}", r"split\.relatives"),
    ],
)
def test_settings_that_mean_nothing(tmp_path: Path, vcf: Path, split: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        entries(tmp_path, vcf, split)


def test_folds_are_datasets_of_their_own(tmp_path: Path, vcf: Path) -> None:
    folds = entries(tmp_path, vcf, "{folds: 3}")
    assert [entry.label for entry in folds] == ["mine-fold1", "mine-fold2", "mine-fold3"]
    parts = [prepared(tmp_path, entry) for entry in folds]
    held = [name for part in parts for name in part.holdout.samples.tolist()]
    assert sorted(held) == sorted([*parts[0].train.samples.tolist(), *parts[0].holdout.samples])
    assert not any(map(twins_apart, parts))
    suite = load_suite(tmp_path / "s.yaml", (), REGISTRY, only=["mine-fold2", "markov"])
    assert [entry.label for entry in suite.datasets] == ["mine-fold2"]
    whole = load_suite(tmp_path / "s.yaml", (), REGISTRY, only=["mine"])
    assert [entry.label for entry in whole.datasets] == [entry.label for entry in folds]
    assert len({cell.cell_id for cell in plan_cells(whole)}) == len(plan_cells(whole))
    assert "mine-fold3 (file): MAF >= 0.01, fold 3 of 3" in whole.describe()
    # A run's own suite names each fold, and asks the same again.
    again = tmp_path / "again.yaml"
    again.write_text(whole.to_yaml())
    assert load_suite(again, (), REGISTRY).digest == whole.digest


def test_a_plan_does_not_tell_every_one_of_many_folds(tmp_path: Path, vcf: Path) -> None:
    assert len(entries(tmp_path, vcf, "{folds: 12}")) == 12
    told = load_suite(tmp_path / "s.yaml", (), REGISTRY).describe()
    lines = [line for line in told.splitlines() if "fold" in line]
    assert len(lines) == 3
    assert "mine-fold1 (file): MAF >= 0.01, fold 1 of 12" in lines[0]
    assert "12 folds in all" in lines[1]
    assert "mine-fold12 (file): MAF >= 0.01, fold 12 of 12" in lines[2]


def test_a_suite_without_such_settings_asks_what_it_did(tmp_path: Path, vcf: Path) -> None:
    (entry,) = entries(tmp_path, vcf, "{holdout: 0.2, validation: 0.1, seed: 1}")
    assert entry.asked_split() == {"holdout": 0.2, "validation": 0.1, "seed": 1}


def odd_haplotypes(folder: Path) -> Path:
    panel = example_panel(30, n_sites=60, seed=6)
    path = folder / "set.hapt"
    write_panel(panel, path)
    rows = path.read_text().splitlines()
    path.write_text("\n".join(rows[:-1]) + "\n")
    return path


def test_sets_split_by_haplotype(tmp_path: Path) -> None:
    path = odd_haplotypes(tmp_path)
    with pytest.raises(FormatError, match="odd number of haplotypes"):
        read_panel(path)
    panel, _ = read_panel(path, ReadOptions(haploid=True))
    assert (panel.ploidy, panel.n_samples) == (1, 59)
    listed = "{holdout: [person1_A, person2_B, person3_A], validation: [person1_B]}"
    data = people(tmp_path, path, listed, ", haploid: true")
    assert data.holdout.samples.tolist() == ["person1_A", "person2_B", "person3_A"]
    assert data.train.n_haplotypes == 56


def test_haplotypes_of_any_format(tmp_path: Path) -> None:
    panel = keep_together(example_panel(5, n_sites=20, seed=1), np.array([[0, 1]]))
    write_panel(panel, tmp_path / "p.vcf.gz")
    haploid, _ = read_panel(tmp_path / "p.vcf.gz", ReadOptions(haploid=True))
    assert haploid.samples.tolist()[:3] == ["person1_A", "person1_B", "person2_A"]
    np.testing.assert_array_equal(haploid.haplotypes, panel.haplotypes)
    assert isinstance(haploid, Panel)
    assert (panel.as_haploid().family == "").all()
    write_panel(panel, tmp_path / "p.bed")
    with pytest.raises(FormatError, match=r"p\.bed: unphased, so that it can't be read as haploid"):
        read_panel(tmp_path / "p.bed", ReadOptions(haploid=True))
