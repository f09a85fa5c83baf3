"""What the tests of generators declared in a suite share."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from haplobench import Panel, RunContext, SampleRequest
from haplobench_command import (
    CommandParams,
)
from haplobench_command.generator import CommandGenerator, FittedCommand


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"program {program} is absent (scripts/install_oracles.sh)")


def rows(fitted: FittedCommand, n: int, ctx: RunContext, **changes: Any) -> NDArray[np.int8]:
    return np.concatenate(list(fitted.sample(SampleRequest(n, **changes), ctx)))


def fit(ctx: RunContext, panel: Panel, **params: Any) -> FittedCommand:
    return CommandGenerator().fit(panel, CommandParams(**params), ctx)
