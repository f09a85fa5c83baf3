"""Updates: what a client's weights differ by from the server's, and Flower messages of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

Update = dict[str, NDArray[np.float64]]


STAGE = "stage"  # key of a training message's config
FREQUENCIES = "frequencies"


def is_training(message: Message) -> bool:
    """Whether a message asks for a round's training."""
    return str(message.metadata.message_type).split(".")[0] == "train"


def asks_frequencies(message: Message) -> bool:
    """Whether a training message asks for allele frequencies, in place of weights."""
    config = message.content.get("config")
    return isinstance(config, ConfigRecord) and config.get(STAGE) == FREQUENCIES


def arrays_of(message: Message) -> ArrayRecord:
    """The weights that a message carries. Raises KeyError or TypeError where it has none."""
    record = message.content["arrays"]
    if not isinstance(record, ArrayRecord):
        raise TypeError(f"arrays: found {type(record).__name__}, expected an ArrayRecord")
    return record


def number_in(message: Message, key: str) -> float:
    """A number among a message's metrics, NaN where there is none."""
    record = message.content.get("metrics")
    value = record.get(key) if isinstance(record, MetricRecord) else None
    return value if isinstance(value, int | float) else math.nan


def people_of(message: Message) -> float:
    """How many people a reply says it was trained on."""
    return number_in(message, "num-examples")


def difference(arrays: ArrayRecord, start: ArrayRecord) -> Update:
    """`arrays` less `start`, by name.

    Raises ValueError where names, shapes or types of numbers differ.
    """
    if list(arrays) != list(start):
        raise ValueError(f"arrays: found {sorted(arrays)}, expected {sorted(start)}")
    update = {}
    for name, array in arrays.items():
        value, before = array.numpy(), start[name].numpy()
        if value.shape != before.shape or value.dtype.kind != "f":
            raise ValueError(
                f"{name}: found {value.dtype} {value.shape}, expected {before.dtype} {before.shape}"
            )
        update[name] = value.astype(np.float64) - before.astype(np.float64)
    return update


def moved(start: ArrayRecord, update: Mapping[str, NDArray[np.floating]]) -> ArrayRecord:
    """`start` plus an update, in the types of `start`."""
    return ArrayRecord(
        {
            name: Array(np.asarray(array.numpy() + update[name], array.numpy().dtype))
            for name, array in start.items()
        }
    )


def flat(update: Mapping[str, NDArray[np.floating]]) -> NDArray[np.float64]:
    """All values of an update, (n_parameters,) float64."""
    return np.concatenate([np.asarray(v, np.float64).ravel() for v in update.values()])


def unflat(vector: NDArray[np.float64], start: ArrayRecord) -> Update:
    """Undo `flat`, in the shapes of `start`."""
    update, first = {}, 0
    for name, array in start.items():
        shape = tuple(array.shape)
        size = int(np.prod(shape, dtype=np.int64))
        update[name] = vector[first : first + size].reshape(shape)
        first += size
    return update


def message_of(arrays: ArrayRecord, people: float) -> Message:
    """A reply, as of one client with all the people, that strategies can aggregate."""
    metrics = MetricRecord({"num-examples": people})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), 1, "train")
