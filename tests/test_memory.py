"""Remembered results: made once, the longest unused forgotten, by number and by bytes."""

from collections import OrderedDict

import numpy as np
import pytest

from haplobench import memory


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_kept", OrderedDict())


def test_a_result_is_made_once_unless_it_is_not_to_be_kept() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    assert [memory.remember("own", make, keep=False) for _ in range(2)] == [1, 2]
    assert [memory.remember("own", make) for _ in range(3)] == [3, 3, 3]
    assert memory.remember("own", make, keep=False) == 3


def test_the_longest_unused_go_by_number_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(257):
        memory.remember(i, lambda: "small")
        memory.remember(0, lambda: "anew")
    assert memory.remember(0, lambda: "anew") == "small"
    assert memory.remember(1, lambda: "anew") == "anew"
    monkeypatch.setattr(memory, "_BYTES", 100)
    for i in range(3):
        memory.remember(("large", i), lambda: np.zeros(60, np.int8))
    assert list(memory._kept) == [("large", 2)]
