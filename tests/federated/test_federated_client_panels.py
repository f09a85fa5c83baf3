"""Partitions, site lists and harmonisation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_fixture import params
from hypothesis import given, settings
from hypothesis import strategies as st

from haplobench import BenchError, FormatError, Panel
from haplobench_federated.client_panels import SiteList, common_sites, harmonise, partition


def labelled(people: Panel) -> Panel:
    number = np.arange(people.n_samples)
    return replace(
        people,
        population=np.array([f"P{i}" for i in number % 6]),
        superpopulation=np.array([f"S{i}" for i in number % 3]),
    )


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["iid", "population", "superpopulation", "dirichlet"]),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_everybody_is_at_one_client(people: Panel, kind: str, clients: int, seed: int) -> None:
    panel = labelled(people)
    chosen = params(partition=kind, clients=clients, concentration=50.0).federation
    parts = partition(panel, chosen, np.random.default_rng(seed))
    everybody = np.sort(np.concatenate(list(parts.values())))
    assert np.array_equal(everybody, np.arange(panel.n_samples))
    again = partition(panel, chosen, np.random.default_rng(seed))
    assert all(np.array_equal(parts[name], again[name]) for name in parts)
    labels = {"population": panel.population, "superpopulation": panel.superpopulation}
    if kind in labels:
        homes = [set(labels[kind][part]) for part in parts.values()]
        assert sum(map(len, homes)) == len(set(labels[kind]))
    if kind == "iid":
        sizes = [part.size for part in parts.values()]
        assert max(sizes) - min(sizes) <= 1


def test_small_concentrations_give_uneven_clients(people: Panel) -> None:
    panel = labelled(people)

    def spread(concentration: float) -> float:
        found = []
        for seed in range(20):
            try:
                parts = partition(
                    panel,
                    params(partition="dirichlet", concentration=concentration).federation,
                    np.random.default_rng(seed),
                )
            except BenchError:
                continue
            found.append(np.std([part.size for part in parts.values()]))
        return float(np.mean(found))

    assert spread(0.3) > 3 * spread(100.0)


def test_a_file_says_who_is_where(people: Panel, tmp_path: Path) -> None:
    path = tmp_path / "clients.tsv"
    rows = [f"{name}\t{'north' if i % 4 else 'south'}" for i, name in enumerate(people.samples)]
    path.write_text("\n".join([*rows, "stranger\teast"]) + "\n")
    chosen = params(partition="file", partition_file=str(path)).federation
    parts = partition(people, chosen, np.random.default_rng(0))
    assert {name: part.size for name, part in parts.items()} == {"north": 36, "south": 12}
    path.write_text("\n".join(rows[1:]))
    with pytest.raises(BenchError, match=f"first is {people.samples[0]}"):
        partition(people, chosen, np.random.default_rng(0))
    path.write_text(f"{rows[0]}\n{people.samples[0]}\twest\n")
    with pytest.raises(FormatError, match="line 2.*one client per person"):
        partition(people, chosen, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clients": 99}, "48 people for 99 clients"),
        ({"partition": "population", "clients": 9}, "expected at most 6"),
        ({"partition": "dirichlet", "clients": 9, "concentration": 0.01}, "has no people"),
    ],
)
def test_partitions_that_cannot_be(people: Panel, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BenchError, match=said):
        partition(labelled(people), params(**changes).federation, np.random.default_rng(0))


def test_harmonised_panels_have_the_list_and_say_what_was_lost(people: Panel) -> None:
    panel = replace(
        people,
        ref=np.array(["A"] * people.n_sites),
        alt=np.array(["C"] * people.n_sites),
    )
    own = panel.select_sites(np.arange(panel.n_sites) % 4 != 0)
    alleles = own.haplotypes.copy()
    ref, alt = own.ref.copy(), own.alt.copy()
    ref[1], alt[1] = "C", "A"
    alleles[:, 1] = 1 - alleles[:, 1]
    alt[2] = "G"
    odd = replace(own, haplotypes=alleles, ref=ref, alt=alt)
    sites = panel.select_sites(np.arange(panel.n_sites) != 5)
    found, report = harmonise(odd, sites)
    assert found.same_sites(sites)
    absent = (sites.haplotypes != found.haplotypes).any(axis=0)
    assert (found.haplotypes[:, absent] == -1).all()
    assert report.absent == absent.sum() == 11
    assert (report.sites, report.swapped, report.conflicting, report.dropped) == (30, 1, 1, 1)
    assert report.missing == pytest.approx(11 / 39)
    shared = common_sites({"a": panel, "b": odd})
    assert shared.n_sites == 29
    assert shared.n_samples == 0


def test_a_site_list_is_read_as_written(people: Panel, tmp_path: Path) -> None:
    SiteList.of(people).write(tmp_path / "list.json")
    found = SiteList.read(tmp_path / "list.json")
    assert found.sites.n_samples == 0
    assert found.sites.same_sites(people)
    assert found.people == people.n_samples
    assert "person" not in (tmp_path / "list.json").read_text()
    (tmp_path / "broken.json").write_text('{"format": 1}')
    with pytest.raises(FormatError, match=r"broken\.json: not a site list"):
        SiteList.read(tmp_path / "broken.json")
