"""Suites: everything that is wrong is named at once, with file, line and key."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from suite_plugin import GOOD, load, problems

import haplobench
from haplobench import (
    SuiteError,
)
from haplobench.registry import Registry
from haplobench.suite.load import load_suite
from haplobench.suite.source import shipped_suites


def test_a_good_suite_is_resolved(tmp_path: Path, registry: Registry) -> None:
    suite = load(tmp_path, registry, GOOD)
    assert [(g.label, g.role, g.seeds) for g in suite.generators] == [
        ("independent", "control", (1, 2)),
        ("copycat", "control", (1, 2)),
        ("markov", "generator", (1, 2)),
        ("vae-256", "generator", (5,)),
    ]
    vae = suite.generators[-1]
    assert vae.params == {"window": 256, "latent_size": 16, "widths": [1, 2]}
    assert (vae.limits.time, vae.limits.memory) == (300, 4 << 30)
    assert suite.generators[2].limits.time == 600
    (dataset,) = suite.datasets
    assert (dataset.label, dataset.split.validation, dataset.filters.max_missing) == (
        "chr20",
        10,
        0,
    )
    assert [(m.name, dict(m.params)) for m in suite.metrics] == [
        ("ld-decay", {}),
        ("k-mers", {"k": 11}),
    ]
    assert "6 + 1" not in suite.describe()
    assert "8 cells" in suite.describe()  # floor, 2 × 2 controls, 2 of markov, 1 of the VAE


@pytest.mark.parametrize("name", ["profile", "torch_profile"])
def test_profiling_by_torch_may_have_its_old_name(
    tmp_path: Path, registry: Registry, name: str
) -> None:
    suite = load(tmp_path, registry, GOOD, f"generators[0].{name}=true")
    assert [entry.torch_profile for entry in suite.generators[-2:]] == [True, False]
    both = f"generators[0]={{name: markov, {name}: 3}}"
    (problem,) = problems(tmp_path, registry, GOOD, both)
    assert "torch_profile: " in problem
    assert "found 3" in problem


def test_profiles_and_overrides(tmp_path: Path, registry: Registry) -> None:
    quick = load(tmp_path, registry, GOOD, "profile=quick")
    assert (quick.seeds, quick.sample.draws, quick.sample.batch_size) == ((1,), 1, 256)
    named_in_file = load(tmp_path, registry, GOOD + "profile: quick\n")
    assert named_in_file.seeds == (1,)
    more = load(
        tmp_path,
        registry,
        GOOD,
        "profile=quick",
        "seeds=[3, 4]",
        "generators[1].params.window=128",
        "generators[0].params={}",
        "floor.draws=9",
    )
    assert more.seeds == (3, 4)
    assert more.sample.draws == 1
    assert more.floor.draws == 9
    assert more.generators[-1].params["window"] == 128
    assert quick.digest != more.digest


def test_the_digest_is_of_what_is_asked(tmp_path: Path, registry: Registry) -> None:
    suite = load(tmp_path, registry, GOOD)
    assert load(tmp_path, registry, GOOD, "title=Other", "limits.time=1h").digest == suite.digest
    assert load(tmp_path, registry, GOOD, "verdict.level=0.01").digest == suite.digest
    assert load(tmp_path, registry, GOOD, "datasets[0].split.seed=8").digest != suite.digest
    assert load(tmp_path, registry, GOOD, only=("markov",)).digest != suite.digest


def test_all_problems_at_once_with_file_line_key_and_near_names(
    tmp_path: Path, registry: Registry
) -> None:
    found = problems(
        tmp_path,
        registry,
        """\
        name: bad
        sedes: [1]
        seeds: [1, 1]
        datasets:
          - name: embeded
          - name: file
            params: {pth: x}
          - name: embedded
            filters: {min_maf: 0.7}
            split: {holdout: 1.5}
        generators:
          - markow
          - name: vae-paper
            params:
              latent: 3
              window: wide
          - markov
          - name: markov
          - name: reads-art
          - {name: floor}
          - {name: parallel, world_size: [2, 2]}
          - {name: vae-paper, label: wide, world_size: 2}
        metrics: [ld-dekay, k-mers, {name: k-mers, params: {k: [1]}}, needy]
        sample: {haplotypes: some, draws: 0}
        limits: {time: soon, memory: 4 elephants}
        """,
    )
    text = "\n".join(found)
    for expected in (
        "s.yaml:2: sedes: unknown key; did you mean seeds?",
        "s.yaml:3: seeds: expected one or more different seeds, found [1, 1]",
        "s.yaml:5: datasets[0].name: no dataset is named 'embeded'",
        "did you mean embedded?",
        "s.yaml:7: datasets[1].params.pth: unknown key; did you mean path?",
        "datasets[1].params.path: missing, but required",
        "s.yaml:9: datasets[2].filters.min_maf: expected less than or equal to 0.5, found 0.7",
        "s.yaml:10: datasets[2].split.holdout: expected a share below 1 or a whole count",
        "s.yaml:12: generators[0].name: no generator is named 'markow'",
        "did you mean markov?",
        "s.yaml:15: generators[1].params.latent: unknown key; did you mean latent_size?",
        "s.yaml:16: generators[1].params.window: expected a valid integer",
        "found 'wide'",
        "s.yaml:18: generators[3]: the label 'markov' is taken by generators[2]",
        "s.yaml:19: generators[4]: reads-art needs program no-such-art (apt-get install art)",
        "s.yaml:20: generators[5]: the label 'floor' is the harness's own",
        "s.yaml:21: generators[6].world_size: expected a number of ranks, or a list of different",
        "s.yaml:22: generators[7].world_size: vae-paper runs on one rank only",
        "s.yaml:23: metrics[0].name: no metric is named 'ld-dekay'",
        "did you mean ld-decay?",
        "s.yaml:23: metrics[2]: k-mers is named twice",
        "s.yaml:23: metrics[2].params.k: expected a valid integer, found [1]",
        "s.yaml:23: metrics[3]: needy needs program no-such-mash",
        "s.yaml:24: sample.haplotypes: expected holdout or a positive number of haplotypes",
        "s.yaml:24: sample.draws: expected greater than or equal to 1, found 0",
        "s.yaml:25: limits.time: expected a duration such as 90s, 10m or 1h30m, found 'soon'",
        "s.yaml:25: limits.memory: expected a size such as 4GiB or 500MB",
    ):
        assert expected in text, expected
    # A plugin that failed to load is named where a name isn't found.
    assert "no_such_plugin_module" in text
    # In the order of the file, one line each.
    lines = [int(problem.split(":")[1]) for problem in found]
    assert lines == sorted(lines)
    assert not any("\n" in problem for problem in found)


@pytest.mark.parametrize(
    ("change", "most"),
    [
        ("sample.haplotypes=999999999999999999999", "a positive number of haplotypes of at most"),
        ("sample.draws=1000000000000", "less than or equal to 1000000"),
        ("sample.batch_size=1000000000000", "less than or equal to 1000000000"),
        ("floor.draws=1000000000000", "less than or equal to 1000000"),
        ("shadows=1000000000000", "less than or equal to 1000000"),
    ],
)
def test_counts_that_no_run_would_reach_are_refused(
    tmp_path: Path, registry: Registry, change: str, most: str
) -> None:
    (found,) = problems(tmp_path, registry, GOOD, change)
    assert most in found


def test_rules_of_the_verdict_speak_of_evidence(tmp_path: Path, registry: Registry) -> None:
    loaded = load(tmp_path, registry, GOOD, "verdict.material={k-mers.auc: 0.6}")
    assert loaded.verdict.material == {"k-mers.auc": 0.6}
    found = problems(
        tmp_path, registry, GOOD, "verdict.material={k-mers.auk: 0.6, ld-decay.x: 1.0}"
    )
    assert len(found) == 2
    assert "'k-mers.auk' of a metric is evidence of a leak; did you mean k-mers.auc" in found[0]
    assert "'ld-decay.x'" in found[1]
    (order,) = problems(tmp_path, registry, GOOD, "verdict.in_part=0.9")
    assert order.endswith("in_part 0.9 is more than faithful 0.8")


def test_a_profile_lies_in_wait_for_nobody(tmp_path: Path, registry: Registry) -> None:
    found = problems(
        tmp_path,
        registry,
        """\
        name: a
        datasets: [embedded]
        profiles:
          quick:
            sample: {drws: 1}
        """,
    )
    assert found == ["s.yaml:5: sample.drws: unknown key; did you mean draws? (profile quick)"]
    scalar = GOOD.replace("quick: {seeds: [1], ", "quick: {title: {main: x}, ")
    assert problems(tmp_path, registry, scalar) == [
        "s.yaml:21: profiles.quick: title: is 'A suite', so it can't have keys"
    ]
    near = problems(tmp_path, registry, GOOD, "profile=quik")
    assert near == ["--set profile: profile: no profile is named 'quik'; did you mean quick?"]


def test_optional_and_all(tmp_path: Path, registry: Registry) -> None:
    suite = load(
        tmp_path,
        registry,
        """\
        name: a
        datasets: [embedded]
        generators: [{name: reads-art, optional: true}]
        metrics: [all, {name: k-mers, params: {k: 5}}]
        """,
    )
    art = suite.generators[-1]
    assert art.missing == ("program no-such-art (apt-get install art)",)
    assert [(m.name, bool(m.missing)) for m in suite.metrics] == [
        ("ld-decay", False),
        ("k-mers", False),
        ("needy", True),
    ]
    assert suite.metrics[1].params == {"k": 5}
    assert "left out, needs program no-such-art" in suite.describe()
    everything = load(tmp_path, registry, "name: a\ndatasets: [embedded]\n")
    assert [m.name for m in everything.metrics] == ["ld-decay", "k-mers", "needy"]


def test_only_some_generators_or_datasets(tmp_path: Path, registry: Registry) -> None:
    only = load(tmp_path, registry, GOOD, only=("vae-256",))
    assert [g.label for g in only.generators] == ["independent", "copycat", "vae-256"]
    # What isn't asked for may lack what it needs.
    text = GOOD.replace("  - markov\n", "  - reads-art\n")
    assert load(tmp_path, registry, text, only=("vae-256",)).generators[-1].label == "vae-256"
    both = GOOD.replace("generators:", "  - {name: embedded, label: chr1}\ngenerators:", 1)
    suite = load(tmp_path, registry, both, only=("chr1",))
    assert [d.label for d in suite.datasets] == ["chr1"]
    with pytest.raises(SuiteError, match="--only vae: .*did you mean vae-256"):
        load(tmp_path, registry, GOOD, only=("vae",))


def test_a_generator_of_one_dataset_is_told_and_counted_there_alone(
    tmp_path: Path, registry: Registry
) -> None:
    text = """
        name: two
        datasets: [{name: embedded, label: a}, {name: embedded, label: b}]
        generators: [markov, {name: vae-paper, datasets: [b], seeds: [1, 2]}]
    """
    told = load(tmp_path, registry, text).describe()
    assert "  generator  vae-paper: seeds 1, 2, on b" in told
    # Two floors; the controls and markov on both; two seeds on b.
    assert "  10 cells: 2 of the floor" in told


def test_environment_variables_expand_in_dataset_parameters(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """\
        name: a
        datasets:
          - name: file
            params:
              path: ${PANELS}/chr1.vcf.gz
        """
    monkeypatch.setenv("PANELS", "/data")
    here = load(tmp_path, registry, text)
    assert here.datasets[0].values == {"path": "/data/chr1.vcf.gz", "odd": None}
    assert here.datasets[0].params == {"path": "${PANELS}/chr1.vcf.gz"}
    # The same suite, wherever the files are.
    monkeypatch.setenv("PANELS", "/mnt")
    assert load(tmp_path, registry, text).digest == here.digest
    monkeypatch.delenv("PANELS")
    assert problems(tmp_path, registry, text) == [
        "s.yaml:5: datasets[0].params.path: ${PANELS}/chr1.vcf.gz: the environment variable PANELS "
        "is not set"
    ]
    default = text.replace("${PANELS}", "${PANELS:-../panels}")
    assert load(tmp_path, registry, default).datasets[0].values["path"] == "../panels/chr1.vcf.gz"


def test_suites_are_found_by_path_or_name(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "haplobench"
    (package / "suites").mkdir(parents=True)
    (package / "suites" / "tiny.yaml").write_text("name: tiny\ntitle: T\ndatasets: [embedded]\n")
    monkeypatch.setattr(haplobench, "__file__", str(package / "__init__.py"))
    assert shipped_suites() == ("tiny",)
    assert load_suite("tiny", [], registry).name == "tiny"
    for text, says in (
        ("tinny", "tinny: neither a file nor a shipped suite; did you mean tiny?"),
        ("suites/tiny.yml", "suites/tiny.yml: no such file; did you mean tiny?"),
        (str(tmp_path), "a folder; expected a suite's YAML file"),
    ):
        with pytest.raises(SuiteError) as caught:
            load_suite(text, [], registry)
        assert says in str(caught.value)
    # In a checkout they lie at its root.
    monkeypatch.setattr(haplobench, "__file__", str(tmp_path / "repo/harness/haplobench/x.py"))
    (tmp_path / "repo" / "suites").mkdir(parents=True)
    (tmp_path / "repo" / "suites" / "big.yaml").write_text("title: B\n")
    assert shipped_suites() == ("big",)


def test_the_shipped_suites_validate_against_the_schema() -> None:
    from haplobench.suite.load import check_profiles, expand_shorthands
    from haplobench.suite.schema import SuiteFile
    from haplobench.suite.source import read_marked

    folder = Path(sys.modules["haplobench"].__file__ or "").parents[2] / "suites"
    files = sorted(folder.glob("*.yaml"))
    if not files:
        pytest.skip("not a checkout: no suites/ folder")
    for path in files:
        tree = read_marked(path, path.name)
        expand_shorthands(tree.root)
        SuiteFile.model_validate(tree.root)
        assert tree.problems == check_profiles(tree) == []


def genome(contigs: str, path: str = "chr{contig}.vcf.gz", more: str = "") -> str:
    return f"""\
        name: a
        datasets:
          - name: file
            label: g
            contigs: {contigs}
            params: {{path: "{path}"}}
            {more}
        """


def test_a_genome_has_a_dataset_a_contig(tmp_path: Path, registry: Registry) -> None:
    suite = load(tmp_path, registry, genome("[chr1..chr3, X]", "{contig}.vcf.gz"))
    (entry,) = suite.datasets
    assert entry.contigs == ("chr1", "chr2", "chr3", "X")
    parts = entry.parts
    assert [part.label for part in parts] == ["g-chr1", "g-chr2", "g-chr3", "g-X"]
    assert [part.values["path"] for part in parts][-1] == "X.vcf.gz"
    assert parts[0].params["path"] == "chr1.vcf.gz"
    folder = load(tmp_path, registry, genome("[1, 2]", "${DIR:-chr}{contig}.vcf"))
    assert folder.datasets[0].parts[1].values["path"] == "chr2.vcf"
    assert {part.contig for part in parts} == {*entry.contigs}
    assert "g (file), 4 contigs" in suite.describe()
    # What is written of it loads as the same; folds have contigs each.
    (again := tmp_path / "again.yaml").write_text(suite.to_yaml())
    assert load_suite(again, [], registry) == suite
    folds = load(tmp_path, registry, genome("1..22", more="split: {folds: 2}"))
    assert [one.label for one in folds.datasets[1].parts][:2] == ["g-fold2-1", "g-fold2-2"]
    assert {part.split.fold for part in folds.datasets[1].parts} == {2}


@pytest.mark.parametrize(
    ("contigs", "path", "why"),
    [
        ("[1, 2, chr1]", "{contig}.vcf", "'chr1' is given twice, as '1'"),
        ("[7]", "{contig}.vcf", "expected two or more contigs, found '7' alone"),
        ("22..1", "{contig}.vcf", "'22..1' is no range of contigs; expected one such as 1..22"),
        ("[1, 'a/b']", "{contig}.vcf", "'a/b' is no name of a contig"),
        ("[1, 1.5]", "{contig}.vcf", "expected names of contigs, or a range such as 1..22"),
        ("[1, 2]", "all.vcf", "no parameter has {contig} in it, so that all contigs would be"),
    ],
)
def test_contigs_that_are_none_are_refused(
    tmp_path: Path, registry: Registry, contigs: str, path: str, why: str
) -> None:
    (problem,) = problems(tmp_path, registry, genome(contigs, path))
    assert problem.startswith("s.yaml:5: datasets[0].contigs: ")
    assert why in problem


def test_a_contig_of_another_label_is_refused(tmp_path: Path, registry: Registry) -> None:
    text = genome("[1, 2]", "{contig}.vcf") + "  - {name: embedded, label: g-2}\n"
    (problem,) = problems(tmp_path, registry, text)
    assert "the label 'g-2' of a contig of g is another dataset's" in problem
