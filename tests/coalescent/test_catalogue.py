"""stdpopsim: whom a label stands for, and people as different as the demography makes them."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import allel
import numpy as np
import pytest
import stdpopsim
import tskit
from coalescent_cases import REGISTRY, context, fitted, region_panel, sampled
from pydantic import ValidationError

from haplobench import Panel, PluginError, RecombinationMap, SuiteError
from haplobench.registry import load_registry, resolve
from haplobench.suite.load import load_suite
from haplobench.testing import check_generator
from haplobench_coalescent import StdpopsimParams
from haplobench_coalescent.catalogue import (
    SUPERPOPULATIONS,
    find_name,
    match_population,
    present_day,
)

LABELS = {
    "population": np.array(["YRI", "GBR", "CHB", "GBR"]),
    "superpopulation": np.array(["AFR", "EUR", "EAS", "EUR"]),
}
TRAIN = region_panel(2_000_001, 2_400_000, **LABELS)
OOA = ("YRI", "CEU", "CHB")
ADMIXTURE = ("AFR", "EUR", "ASIA", "ADMIX")


def fst(panel, one, other):
    """Hudson's Fst (scikit-allel) between two groups of haplotypes."""
    counts = [
        allel.HaplotypeArray(panel.haplotypes[rows].T).count_alleles(max_allele=1)
        for rows in (one, other)
    ]
    numerator, denominator = allel.hudson_fst(*counts)
    return numerator.sum() / denominator.sum()


@pytest.fixture(scope="module")
def three_populations(tmp_path_factory):
    """120 people, their labels shuffled."""
    ctx = context(tmp_path_factory.mktemp("catalogue"))
    labels = np.random.default_rng(0).permutation(np.repeat(["YRI", "GBR", "CHB", "FIN"], 30))
    panel = sampled(fitted("stdpopsim", TRAIN, ctx), ctx, 240, populations=np.repeat(labels, 2))
    return panel, labels


def test_conformance():
    assert "determinism" in check_generator("stdpopsim", registry=REGISTRY)


def test_labels_are_those_asked_for(three_populations):
    panel, labels = three_populations
    assert np.array_equal(panel.population, labels)
    above = {"YRI": "AFR", "GBR": "EUR", "CHB": "EAS", "FIN": "EUR"}
    assert panel.superpopulation.tolist() == [above[label] for label in labels]
    assert panel.positions[0] >= 2_000_001
    assert panel.positions[-1] <= 2_400_000


def test_populations_differ_as_the_model_says(three_populations):
    """YRI from CEU more than CHB from CEU; GBR and FIN are both the model's CEU."""
    panel, _ = three_populations
    of = {
        name: np.flatnonzero(panel.haplotype_populations == name)
        for name in ("YRI", "GBR", "CHB", "FIN")
    }
    europe_africa = fst(panel, of["GBR"], of["YRI"])
    europe_asia = fst(panel, of["GBR"], of["CHB"])
    assert europe_africa > europe_asia > 0.03
    assert abs(fst(panel, of["GBR"], of["FIN"])) < 0.02
    assert fst(panel, of["YRI"][::2], of["YRI"][1::2]) < 0.01
    diversity = {
        name: allel.mean_pairwise_difference(
            allel.HaplotypeArray(panel.haplotypes[rows].T).count_alleles(max_allele=1)
        ).sum()
        for name, rows in of.items()
    }
    assert diversity["YRI"] > 1.1 * diversity["GBR"]


def test_people_are_whole(three_populations):
    """Rows keep a person's two haplotypes together and each simulated person occurs once."""
    panel, _ = three_populations
    assert np.unique(panel.haplotypes, axis=0).shape[0] > 0.97 * 240


def test_diversity_against_stdpopsims_own_engine(tmp_path):
    """The same model run by stdpopsim itself has the same mean diversity."""
    species = stdpopsim.get_species("HomSap")
    model = species.get_demographic_model("OutOfAfrica_3G09")
    contig = species.get_contig(
        length=400_000, mutation_rate=model.mutation_rate, recombination_rate=1e-8
    )
    theirs = [
        stdpopsim.get_engine("msprime")
        .simulate(model, contig, {"CEU": 10}, seed=seed)
        .diversity(span_normalise=True)
        for seed in range(1, 26)
    ]
    ctx = context(tmp_path, recombination_map=RecombinationMap.uniform(2_000_001, 2_400_001, 1.0))
    generator = fitted("stdpopsim", TRAIN, ctx)
    populations = np.full(20, "GBR")
    ours = []
    for start in range(0, 500, 20):
        panel = sampled(generator, ctx, 20, start, populations)
        counts = allel.HaplotypeArray(panel.haplotypes.T).count_alleles()
        ours.append(allel.mean_pairwise_difference(counts).sum() / 400_000)
    error = np.hypot(np.std(ours), np.std(theirs)) / 5
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=3.5 * error)
    assert error < 0.15 * np.mean(theirs)


def test_proportional_where_none_is_asked_for(tmp_path):
    ctx = context(tmp_path)
    panel = sampled(fitted("stdpopsim", TRAIN, ctx), ctx, 24)
    labels, counts = np.unique(panel.population, return_counts=True)
    assert dict(zip(labels.tolist(), counts.tolist(), strict=True)) == {
        "CHB": 3,
        "GBR": 6,
        "YRI": 3,
    }


def test_unlabelled_panels_stay_unlabelled(tmp_path):
    ctx = context(tmp_path)
    generator = fitted("stdpopsim", region_panel(1, 200_000), ctx, population="YRI")
    panel = sampled(generator, ctx, 20)
    assert not panel.labelled
    as_asked = sampled(generator, ctx, 20, populations=np.full(20, "YRI"))
    assert np.array_equal(panel.haplotypes, as_asked.haplotypes)


def test_unknown_label_of_the_panel_is_an_error_at_fit(tmp_path):
    train = region_panel(1, 100_000, population=np.array(["YRI", "Orcadian", "YRI", "YRI"]))
    with pytest.raises(
        PluginError, match="'Orcadian' has no counterpart in model OutOfAfrica_3G09"
    ):
        fitted("stdpopsim", train, context(tmp_path))
    fitted("stdpopsim", train, context(tmp_path), populations={"Orcadian": "CEU"})


def test_stand_ins_are_logged(tmp_path, caplog):
    train = region_panel(1, 100_000, population=np.array(["YRI", "MXL", "YRI", "YRI"]))
    with caplog.at_level(logging.WARNING):
        fitted("stdpopsim", train, context(tmp_path))
    assert "no population for MXL: CEU stands in" in caplog.text


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"species": "HomoSap"}, "no species is named 'HomoSap' .*HomSap"),
        ({"model": "OutOfAfrica_3G10"}, "no model is named .*OutOfAfrica_3G09"),
        ({"model": "AncientEurope_4A21"}, "no present-day population"),
        ({"populations": {"GBR": "FIN"}}, "populations.GBR"),
    ],
)
def test_wrong_params_are_one_line(params, message, tmp_path):
    with pytest.raises(PluginError, match=message) as raised:
        fitted("stdpopsim", TRAIN, context(tmp_path), **params)
    assert "\n" not in str(raised.value)


def test_mutation_rate_is_the_models_own(tmp_path):
    ctx = context(tmp_path)
    assert fitted("stdpopsim", TRAIN, ctx).mutation_rate == 2.35e-8
    assert fitted("stdpopsim", TRAIN, ctx, mutation_rate=1e-8).mutation_rate == 1e-8


def test_saved_and_loaded_samples_the_same(tmp_path):
    recombination_map = RecombinationMap.uniform(2_000_001, 2_400_000, 2.5)
    ctx = context(tmp_path, recombination_map=recombination_map)
    generator = fitted("stdpopsim", TRAIN, ctx, populations={"CHB": "YRI"})
    generator.save(tmp_path)
    loaded = resolve(REGISTRY.generator("stdpopsim").target)().load(tmp_path, context(tmp_path))
    labels = np.repeat(["CHB", "GBR", "YRI"], 4)
    panels = [sampled(g, ctx, 12, 36, labels) for g in (generator, loaded)]
    assert panels[0].digest == panels[1].digest


def matched(label, populations, superpopulation="", **overrides):
    return match_population(
        label, superpopulation, model="m", populations=populations, overrides=overrides
    )


def test_the_thousand_genomes_labels_are_those_of_the_panel_file(data_dir):
    lines = (data_dir / "1kg_p3.panel.tsv").read_text().splitlines()[1:]
    assert {tuple(line.split("\t")[1:3]) for line in lines} == set(SUPERPOPULATIONS.items())


@pytest.mark.parametrize(
    ("label", "populations", "expected"),
    [
        ("CEU", OOA, "CEU"),
        ("GBR", OOA, "CEU"),
        ("LWK", OOA, "YRI"),
        ("JPT", OOA, "CHB"),
        ("JPT", (*OOA, "JPT"), "JPT"),
        ("EUR", OOA, "CEU"),
        ("GBR", ADMIXTURE, "EUR"),
        ("MXL", ADMIXTURE, "ADMIX"),
        ("KHV", ADMIXTURE, "ASIA"),
        ("AMR", ADMIXTURE, "ADMIX"),
    ],
)
def test_matches(label, populations, expected):
    found = matched(label, populations)
    assert (found.population, found.nearest) == (expected, "")


@pytest.mark.parametrize(("label", "populations"), [("PUR", OOA), ("GIH", OOA), ("ITU", ADMIXTURE)])
def test_stand_ins_say_so(label, populations):
    found = matched(label, populations)
    assert (found.population, found.nearest) == (
        "EUR" if "EUR" in populations else "CEU",
        "EUR",
    )


def test_superpopulation_of_the_panel_decides_for_unknown_labels():
    assert matched("Orcadian", OOA, superpopulation="EUR").population == "CEU"


def test_overrides_go_first():
    assert matched("GBR", OOA, GBR="CHB").population == "CHB"
    assert matched("GBR", OOA, EUR="YRI").population == "YRI"
    assert matched("x", OOA, superpopulation="y", y="YRI").population == "YRI"
    with pytest.raises(PluginError, match="populations.GBR: model m has no .*'FIN'.*YRI, CEU, CHB"):
        matched("GBR", OOA, GBR="FIN")


def test_no_counterpart_lists_the_models_populations():
    with pytest.raises(PluginError, match="'Orcadian' has no counterpart.*YRI, CEU, CHB"):
        matched("Orcadian", OOA)


def test_a_models_only_population_takes_everyone():
    found = matched("Orcadian", ("generic",))
    assert (found.population, found.nearest) == ("generic", "m")


def lacks(label, populations):
    try:
        matched(label, populations)
    except PluginError:
        return True
    return False


def test_which_1000_genomes_labels_the_human_models_lack():
    """Whole superpopulations at a time; a model with one population takes everyone."""
    species = stdpopsim.get_species("HomSap")
    found = {}
    for model in species.demographic_models:
        populations = present_day(model)
        if not populations:
            continue
        labels = {label for label in SUPERPOPULATIONS if lacks(label, populations)}
        groups = {SUPERPOPULATIONS[label] for label in labels}
        assert labels == {label for label, group in SUPERPOPULATIONS.items() if group in groups}
        if groups:
            found[model.id] = groups
    assert found.pop("AncientEurasia_9K19") == {"AFR", "AMR", "EUR", "SAS"}
    assert found.pop("OutOfAfrica_2T12") == {"EAS"}
    assert found.pop("OutOfAfricaExtendedNeandertalAdmixturePulse_3I21", {"EAS"}) == {"EAS"}
    assert not found


def test_near_names():
    with pytest.raises(PluginError, match="no model is named 'OutOfAfrica_3G9'.*OutOfAfrica_3G09"):
        find_name("model", "OutOfAfrica_3G9", ["OutOfAfrica_3G09", "Zigzag_1S14"])


# --- SLiM, which no package registry has: played by a program that writes trees of msprime's -----


def program(folder, text, monkeypatch):
    """Make `slim` a program of that text, the only one on PATH."""
    path = folder / "slim"
    path.write_text(text)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.fixture
def slim(tmp_path, monkeypatch):
    """The folder of a `slim` that keeps what it was asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    stub = Path(__file__).with_name("slim_stub.py").read_text()
    program(folder, f"#!{sys.executable}\n{stub}", monkeypatch)
    return folder


def asked(folder):
    """What the program was asked: the seed, and lines of the script without what aligns them."""
    kept = json.loads((folder / "asked.json").read_text())
    return kept["seed"], [" ".join(line.split()) for line in kept["script"].splitlines()]


def test_slim_is_asked_for_the_model_the_region_and_the_people(slim, tmp_path):
    ctx = context(tmp_path, recombination_map=RecombinationMap.uniform(2_000_001, 2_400_001, 2.0))
    params = {"engine": "slim", "scaling_factor": 20, "burn_in": 3}
    labels = np.random.default_rng(0).permutation(np.repeat(["YRI", "GBR", "CHB", "FIN"], 6))
    generator = fitted("stdpopsim", TRAIN, ctx, **params)
    panel = sampled(generator, ctx, 48, populations=np.repeat(labels, 2))
    seed, lines = asked(slim)
    for line in (
        "* Demographic model: OutOfAfrica_3G09",
        'defineConstant("Q", 20.0);',
        'defineConstant("burn_in", 3.0);',
        "2e-08);",  # recombination, up to the last base pair
        "399999);",
    ):
        assert line in lines
    at = lines.index("// pop, n_inds, time")
    assert lines[at + 1 : at + 4] == ["c(0, 6, 0),", "c(1, 12, 0),", "c(2, 6, 0)"]

    assert panel.haplotypes.shape == (48, panel.n_sites)
    assert np.array_equal(panel.population, labels)
    assert panel.positions[0] >= 2_000_001
    assert panel.positions[-1] <= 2_400_000
    of = {name: np.flatnonzero(panel.haplotype_populations == name) for name in set(labels)}
    for one, other in (("YRI", "GBR"), ("GBR", "CHB"), ("YRI", "CHB")):
        assert fst(panel, of[one], of[other]) > 0.25
    assert fst(panel, of["GBR"], of["FIN"]) < 0.1
    # SLiM's generations last twenty of the model's, and mutations are there once.
    generations = 20 * tskit.load(slim / "slim.trees").diversity(mode="branch")
    counts = allel.HaplotypeArray(panel.haplotypes.T).count_alleles()
    diversity = allel.mean_pairwise_difference(counts).sum() / 400_000
    assert diversity == pytest.approx(2.35e-8 * generations, rel=0.25)

    again = sampled(generator, ctx, 48, populations=np.repeat(labels, 2))
    assert (again.digest, asked(slim)[0]) == (panel.digest, seed)
    other = sampled(generator, ctx, 48, 48, np.repeat(labels, 2))
    assert other.digest != panel.digest
    assert asked(slim)[0] != seed
    generator.save(tmp_path)
    loaded = resolve(REGISTRY.generator("stdpopsim").target)().load(tmp_path, ctx)
    assert sampled(loaded, ctx, 48, populations=np.repeat(labels, 2)).digest == panel.digest


def test_a_haploid_panel_takes_both_haplotypes_of_slims_people(slim, tmp_path):
    train = Panel(
        haplotypes=np.eye(2, dtype=np.int8),
        positions=np.array([1, 100_000]),
        contig="chrX",
        samples=np.array(["a", "b"]),
        ploidy=1,
    )
    ctx = context(tmp_path)
    panel = sampled(fitted("stdpopsim", train, ctx, engine="slim"), ctx, 9)
    assert panel.n_haplotypes == 9
    assert "c(1, 5, 0)" in asked(slim)[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "echo 'ERROR: The population size of p2 (CHB) is zero at tick 9.' >&2\n"
            "printf 'ERROR (Eidos_ExecuteFunction_stop): stop() called.\\n\\n  ^^^^\\n' >&2\n"
            "exit 1",
            r"slim exited with code 1: ERROR: The population size of p2 \(CHB\) is zero",
        ),
        ("echo 'no memory' >&2\nkill -9 $$", "slim exited with code -9: no memory"),
        ("exit 3", "slim exited with code 3: it said nothing"),
        ("exit 0", "slim wrote no tree sequence: .*No such file"),
    ],
)
def test_what_slim_says_when_it_fails(text, message, tmp_path, monkeypatch):
    version = '[ "$1" = -v ] && echo SLiM version 4.0, built today && exit 0'
    program(tmp_path, f"#!/bin/sh\n{version}\n{text}\n", monkeypatch)
    ctx = context(tmp_path)
    with pytest.raises(PluginError, match=message) as raised:
        sampled(fitted("stdpopsim", TRAIN, ctx, engine="slim"), ctx, 8)
    assert "\n" not in str(raised.value)


def test_slims_warnings_reach_the_log(slim, tmp_path, caplog):
    ctx = context(tmp_path)
    with caplog.at_level(logging.WARNING):
        sampled(fitted("stdpopsim", TRAIN, ctx, engine="slim", scaling_factor=5), ctx, 8)
    assert "stdpopsim: You're using a scaling factor (5.0)" in caplog.text


@pytest.mark.parametrize(
    "text", ["echo slim version 1.3.6", "echo SLiM version 3.7.1, built", "echo slim", "exit 1"]
)
def test_another_program_named_slim_is_refused_at_fit(text, tmp_path, monkeypatch):
    program(tmp_path, f"#!/bin/sh\n{text}\n", monkeypatch)
    with pytest.raises(PluginError, match=r"expected SLiM's, 4 or later .*login manager"):
        fitted("stdpopsim", TRAIN, context(tmp_path), engine="slim")


def test_without_slim_a_suite_says_so_or_leaves_it_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PluginError, match=r"engine slim needs program slim \(SLiM 4 or later"):
        fitted("stdpopsim", TRAIN, context(tmp_path), engine="slim")
    suite, registry = tmp_path / "suite.yaml", load_registry()
    text = """
        name: a
        datasets: [{name: embedded}]
        generators: [{name: stdpopsim, params: {engine: slim}OPTIONAL}]
    """
    suite.write_text(text.replace("OPTIONAL", ""))
    with pytest.raises(
        SuiteError, match=r"stdpopsim needs program slim \(SLiM 4 or later.*optional"
    ):
        load_suite(suite, [], registry)
    suite.write_text(text.replace("OPTIONAL", ", optional: true"))
    entry = next(e for e in load_suite(suite, [], registry).generators if e.name == "stdpopsim")
    assert [need.split(" (")[0] for need in entry.missing] == ["program slim"]


def test_a_results_key_rests_on_the_program_only_where_it_is_the_engine(slim):
    assert StdpopsimParams().fingerprint() == ""
    assert StdpopsimParams().needed() == ()
    assert StdpopsimParams(engine="slim").fingerprint()


@pytest.mark.parametrize("name", ["scaling_factor", "burn_in"])
def test_what_only_slim_knows_is_refused_without_it(name):
    with pytest.raises(ValidationError, match=f"{name}: 5 is SLiM's; expected none without"):
        StdpopsimParams(**{name: 5})
