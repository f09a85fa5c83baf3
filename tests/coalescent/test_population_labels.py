"""Panel labels and the catalogue's populations."""

from __future__ import annotations

import pytest
import stdpopsim

from haplobench import PluginError
from haplobench_coalescent.catalogue import (
    SUPERPOPULATIONS,
    find_name,
    match_population,
    present_day,
)

OOA = ("YRI", "CEU", "CHB")
ADMIXTURE = ("AFR", "EUR", "ASIA", "ADMIX")


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
