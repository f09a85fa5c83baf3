"""The toy plugins of the runner's tests, for those who mistreat them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_SOURCE = Path(__file__).resolve().parents[1] / "runner" / "conftest.py"
_spec = importlib.util.spec_from_file_location("runner_toys", _SOURCE)
assert _spec is not None
assert _spec.loader is not None
_toys = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_toys)
module_toys = _toys.module_toys
toys = _toys.toys
