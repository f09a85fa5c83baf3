"""A `vae` whose ranks keep a part each is the one whose ranks keep all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rank_programs import started, torchrun

pytest.importorskip("torch", reason="torch trains")
SCRIPT = Path(__file__).with_name("sharded_script.py")


@pytest.mark.slow
def test_losses_and_weights_are_those_of_ranks_that_keep_all(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    for name in ("whole", "sharded", "resumed"):
        for rank in range(2):
            (tmp_path / name / f"rank{rank}").mkdir(parents=True)
    (tmp_path / "checkpoint").mkdir()
    started(SCRIPT, tmp_path, torchrun(2))

    def history(name: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((tmp_path / name / "training.json").read_text())
        return told

    expected = history("whole")
    weights = load_file(tmp_path / "whole" / "model.safetensors")
    for name in ("sharded", "resumed"):
        for loss in ("validation_code_loss_nats", "validation_allele_loss_nats"):
            assert len(expected[loss]) == 4
            assert expected[loss][-1] < expected[loss][0]
            np.testing.assert_allclose(history(name)[loss], expected[loss], rtol=1e-6)
        own = load_file(tmp_path / name / "model.safetensors")
        assert own.keys() == weights.keys()
        for key, values in weights.items():
            np.testing.assert_allclose(own[key], values, atol=1e-5, err_msg=key)
