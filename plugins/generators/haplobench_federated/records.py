"""Weights and state as Flower's records, and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from torch import Tensor, nn


def to_record(tensors: Mapping[str, Tensor]) -> ArrayRecord:
    """Named tensors as an ArrayRecord, sorted by name.

    Flower's clipping pairs the weights of two records by their order, not by name.
    """
    return ArrayRecord(
        {
            name: Array(np.array(value.detach().cpu().numpy()))
            for name, value in sorted(tensors.items())
        }
    )


def to_tensors(record: ArrayRecord) -> dict[str, Tensor]:
    """An ArrayRecord as named tensors that own their memory."""
    return {name: torch.from_numpy(np.array(array.numpy())) for name, array in record.items()}


def load_weights(model: nn.Module, record: ArrayRecord) -> None:
    """Set a model's weights.

    Raises RuntimeError where names or shapes differ.
    """
    model.load_state_dict(to_tensors(record))
