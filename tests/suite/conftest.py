"""The registry that suites of these tests are read with."""

from __future__ import annotations

import pytest
from suite_plugin import names_plugin

from haplobench.registry import Registry, load_registry


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry([names_plugin(), "no_such_plugin_module"])
