"""Numbers whose names had hyphens: old records, descriptions, baselines and rules read as new."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from test_records import record

from haplobench.compare.sources import open_side
from haplobench.history.reading import read_history, select
from haplobench.registry import load_registry
from haplobench.results.records import HYPHENATED, append_records, current_name, read_records
from haplobench.results.run_folder import RunFolder
from haplobench.results.table import read
from haplobench.suite.schema import CompareSettings

COMPARISON = Path(__file__).parents[1] / "compare" / "fixtures"
BASELINE = Path(__file__).parents[2] / "results" / "baselines" / "smoke.jsonl"
OLD = ("allele-frequency", "rmse-by-superpopulation")


def test_every_old_name_leads_to_a_number_of_today() -> None:
    metrics = load_registry().metrics
    for metric, names in HYPHENATED.items():
        today = {submetric.name for submetric in metrics[metric].submetrics}
        assert {current_name(metric, name) for name in names} <= today
        assert not today & set(names)
    built_in = [spec for name, spec in metrics.items() if spec.target.startswith("haplobench_")]
    assert len(built_in) > 20
    assert not [s.name for spec in built_in for s in spec.submetrics if "-" in s.name]


def test_old_records_are_read_under_the_new_name_and_others_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    rows = [
        ("allele-frequency", "sites-lost"),
        ("haplotype-words", "distinct-ratio-20"),
        ("haplotype-statistics", "h2-h1-rmse"),
        ("someones-own", "sites-lost"),
        ("ld-matrix", "blocks"),
    ]
    append_records(path, [record(metric=m, submetric=s, value=0.5) for m, s in rows])
    assert "distinct-ratio-20" in path.read_text()
    names = ["sites_lost", "distinct_ratio_20", "h2_h1_rmse", "sites-lost", "blocks"]
    assert [one.submetric for one in read_records(path)] == names
    table = [(one.metric, one.submetric) for one in read(path).records]
    assert table == list(zip([metric for metric, _ in rows], names, strict=True))


def test_old_runs_and_baselines_are_compared_under_the_new_name() -> None:
    for text in ("records-schema1.jsonl", "baseline-schema1.jsonl"):
        assert "rmse-by-superpopulation" in (COMPARISON / text).read_text()
        side = open_side(str(COMPARISON / text))
        names = {(key.metric, key.submetric) for key in side.numbers}
        assert ("allele-frequency", "rmse_by_superpopulation") in names
        assert OLD not in names
    today = {
        (spec.name, submetric.name)
        for spec in load_registry().metrics.values()
        for submetric in spec.submetrics
    }
    # A part of one that was committed before, and the one that is.
    assert '"jsd-10"' in (COMPARISON / "baseline-hyphens.jsonl").read_text()
    for path in (COMPARISON / "baseline-hyphens.jsonl", BASELINE):
        side = open_side(str(path))
        assert len(side.numbers) > 50
        assert {(key.metric, key.submetric) for key in side.numbers} <= today
        assert set(side.definitions) <= today


def test_old_rules_and_descriptions_name_the_number_of_today(tmp_path: Path) -> None:
    rules = [
        {"metric": "ld-matrix", "submetric": "cross-border", "min_effect": 0.02},
        {"metric": "someones-own", "submetric": "cross-border", "ignore": True},
    ]
    settings = CompareSettings.model_validate({"rules": rules})
    assert [rule.submetric for rule in settings.rules] == ["cross_border", "cross-border"]
    assert settings.rules[0].fits("markov", "ld-matrix", "cross_border")
    entry = {"family": "fidelity", "submetrics": [{"name": "sites-lost", "title": "Sites lost"}]}
    info = {"metrics": {"allele-frequency": entry, "someones-own": entry}}
    (tmp_path / "run.json").write_text(json.dumps(info))
    read = RunFolder(tmp_path).info()["metrics"]
    assert read["allele-frequency"]["submetrics"][0]["name"] == "sites_lost"
    assert read["someones-own"]["submetrics"][0]["name"] == "sites-lost"


def test_a_history_joins_both_names_and_knows_the_old_one_when_asked(tmp_path: Path) -> None:
    old = tmp_path / "old.jsonl"
    shutil.copy(COMPARISON / "records-schema1.jsonl", old)
    new = tmp_path / "new.jsonl"
    text = old.read_text().replace("rmse-by-superpopulation", "rmse_by_superpopulation")
    new.write_text(text.replace("20260101T000000Z-aa", "20260201T000000Z-bb"))
    history = read_history([old, new], [])
    for asked in ("rmse-by-superpopulation", "rmse_by_superpopulation"):
        chosen = select(history, metrics=[f"allele-frequency/{asked}"]).series
        assert {series.key.submetric for series in chosen} == {"rmse_by_superpopulation"}
        assert all(len(series.points) == 2 for series in chosen)
        assert len(chosen) == 4
