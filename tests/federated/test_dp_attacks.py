"""The attacks of `benchmarks/dp_attacks.py`, small: they find nobody, and somebody where they may.

Noise is the operating system's, so that a run differs from the next: a test fails by chance once
in a million runs. The benchmark has the figures of more and larger trials.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dp_attacks import ATTACKS, Setting, run

SMALL: dict[str, Any] = {
    "delta": 1e-6,
    "rounds": 2,
    "clients": 2,
    "accountant": "rdp",
    "model": {"window": 8, "codes": 4},
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_finds_nobody(tmp_path: Path, attack: str) -> None:
    found = run(attack, Setting(tmp_path, 300, 60, SMALL), 25)
    assert found["ks_p"] > 1e-6, found


@pytest.mark.parametrize("attack", ATTACKS)
def test_where_noise_repeats_it_finds_its_person(tmp_path: Path, attack: str) -> None:
    found = run(attack, Setting(tmp_path, 300, 60, SMALL, repeatable=True), 12)
    assert found["ks_p"] < 1e-6, found
    assert found["first"] >= 6, found


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a hundred pairs of fits by the defaults: some five minutes
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_finds_nobody_among_300_by_the_defaults(tmp_path: Path, attack: str) -> None:
    assert run(attack, Setting(tmp_path), 100)["ks_p"] > 1e-6
