"""Populations of a training panel: labels asked for, drawn by share."""

from __future__ import annotations

import numpy as np
import pytest

from haplobench import Panel, PluginError, Populations

LABELS = ["YRI", "FIN", "GBR", "FIN", "FIN", "LWK"]
ABOVE = ["AFR", "EUR", "EUR", "EUR", "EUR", ""]


@pytest.fixture(scope="module")
def populations() -> Populations:
    panel = Panel(
        np.zeros((2 * len(LABELS), 1), np.int8),
        np.array([1]),
        "20",
        np.arange(len(LABELS)).astype(str),
        population=np.array(LABELS),
        superpopulation=np.array(ABOVE),
    )
    return Populations.of(panel)


def test_they_are_those_of_the_panel(populations: Populations) -> None:
    assert populations.names == ("FIN", "GBR", "LWK", "YRI")
    # Where there is no superpopulation, the population's own name stands in.
    assert populations.superpopulations == ("EUR", "EUR", "LWK", "AFR")
    assert populations.people == (3, 1, 1, 1)
    assert populations.superpopulation_of == (1, 1, 2, 0)
    np.testing.assert_array_equal(populations.index(np.array(LABELS)), [3, 0, 1, 0, 0, 2])


def test_a_superpopulation_is_drawn_by_shares_and_a_population_is_itself(
    populations: Populations,
) -> None:
    n = 10_000
    level = (np.arange(n) + 0.5) / n
    drawn = populations.draw(np.full(n, "EUR"), level)
    np.testing.assert_array_equal(np.bincount(drawn, minlength=4), [7500, 2500, 0, 0])
    drawn = populations.draw(None, level)
    np.testing.assert_allclose(np.bincount(drawn), n * np.array([3, 1, 1, 1]) / 6, atol=1)
    mixed = np.array(["YRI", "EUR", "GBR", "LWK"])
    np.testing.assert_array_equal(populations.draw(mixed, np.full(4, 0.9)), [3, 1, 1, 2])
    # A level that rounds up to 1 still gives somebody.
    np.testing.assert_array_equal(populations.draw(np.array(["EUR"]), np.array([1.0])), [1])


def test_a_label_nobody_has_is_refused_by_name(populations: Populations) -> None:
    with pytest.raises(PluginError, match=r"'JPT' is asked for.*\(there are: FIN, GBR, LWK, YRI\)"):
        populations.draw(np.array(["FIN", "JPT"]), np.zeros(2))
    nobody = Populations(("",), ("",), (4,))
    with pytest.raises(PluginError, match="none: no labels"):
        nobody.draw(np.array(["FIN"]), np.zeros(1))
    np.testing.assert_array_equal(nobody.draw(None, np.array([0.2, 0.8])), [0, 0])
