"""Updates: what a client's weights differ by from the server's, as Flower messages of few bytes.

Compressed (stochastic quantisation, top-k with error feedback), a client compresses the difference
to the weights it got; the server undoes it before it looks at the update. Both follow what
`haplobench_federated.params` says.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp.typing import ClientAppCallable, Mod
from numpy.typing import NDArray
from torch import Tensor, nn

from haplobench_federated.params import CompressionParams


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


Vector = NDArray[np.float64]

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


def update_of(message: Message, start: ArrayRecord) -> Vector:
    """What a message's weights are less `start`, one after the other: (n_parameters,) float64.

    Raises KeyError, TypeError or ValueError where names, shapes or types of numbers differ.
    """
    arrays, parts = arrays_of(message), []
    if list(arrays) != list(start):
        raise ValueError(f"arrays: found {sorted(arrays)}, expected {sorted(start)}")
    for name, array in arrays.items():
        value, before = array.numpy(), start[name].numpy()
        if value.shape != before.shape or value.dtype.kind != "f":
            raise ValueError(
                f"{name}: found {value.dtype} {value.shape}, expected {before.dtype} {before.shape}"
            )
        parts.append((value.astype(np.float64) - before.astype(np.float64)).ravel())
    return np.concatenate(parts)


def sizes_of(record: ArrayRecord) -> list[int]:
    """How many values each array has."""
    return [math.prod(array.shape) for array in record.values()]


def moved(start: ArrayRecord, update: Vector) -> ArrayRecord:
    """`start` plus an update, in the types of `start`."""
    parts = np.split(update, np.cumsum(sizes_of(start))[:-1])
    return ArrayRecord(
        {
            name: Array(np.asarray(array.numpy() + part.reshape(array.shape), array.numpy().dtype))
            for (name, array), part in zip(start.items(), parts, strict=True)
        }
    )


def message_of(arrays: ArrayRecord, people: float) -> Message:
    """A reply, as of one client with all the people, that strategies can aggregate."""
    metrics = MetricRecord({"num-examples": people})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), 1, "train")


_RESIDUAL = "residual"


def update_mod(
    change: Callable[[Vector, ArrayRecord, Context, int], ArrayRecord], *, frequencies: bool = False
) -> Mod:
    """A mod that changes what a client's training gives.

    `change` is called with update, weights it started from, context and round, and gives what is
    sent; `frequencies`: of allele frequencies, too.
    """

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if not is_training(message) or (asks_frequencies(message) and not frequencies):
            return call_next(message, context)
        start = ArrayRecord(dict(arrays_of(message).items()))
        config = message.content.get("config", {})
        number = int(config.get("server-round", 0))
        reply = call_next(message, context)
        if reply.has_content():
            reply.content["arrays"] = change(update_of(reply, start), start, context, number)
        return reply

    return mod


def compression_mod(params: CompressionParams, seed_of: Callable[[Context, int], int]) -> Mod:
    """A mod that compresses a client's update; `seed_of` (context, round) seeds its rounding."""

    def sent(update: Vector, start: ArrayRecord, context: Context, number: int) -> ArrayRecord:
        if params.kind == "quantise":
            rng = np.random.default_rng(seed_of(context, number))
            return quantised(update, sizes_of(start), params.bits, rng)
        # What earlier rounds left out.
        kept = context.state.get(_RESIDUAL)
        if isinstance(kept, ArrayRecord):
            update = update + np.asarray(kept["values"].numpy(), np.float64)
        chosen = largest(update, params.top_share)
        left = update - restored(chosen, start, params)
        context.state[_RESIDUAL] = ArrayRecord({"values": Array(left.astype(np.float32))})
        return chosen

    return update_mod(sent)


def decompressed(reply: Message, start: ArrayRecord, params: CompressionParams) -> Message:
    """A reply with its update as weights again, in place.

    A reply that can't be read keeps what it has, which no screening lets pass.
    """
    if params.kind != "none" and reply.has_content():
        with contextlib.suppress(KeyError, TypeError, ValueError, IndexError):
            reply.content["arrays"] = moved(start, restored(arrays_of(reply), start, params))
    return reply


def quantised(vector: Vector, sizes: list[int], bits: int, rng: np.random.Generator) -> ArrayRecord:
    """A vector of arrays of `sizes` as levels (uint8, two to a byte at 4 bits) and their ranges."""
    levels = 2**bits - 1
    codes, ranges, first = [], [], 0
    for size in sizes:
        part = vector[first : first + size]
        low, high = (float(part.min()), float(part.max())) if size else (0.0, 0.0)
        ranges += [low, high]
        place = (part - low) / (high - low) * levels if high > low else np.zeros(size)
        # NaN stays visible through its array's range.
        codes.append(np.floor(np.nan_to_num(place) + rng.random(size)).clip(0, levels))
        first += size
    code = np.concatenate(codes).astype(np.uint8)
    if bits == 4:
        code = np.append(code, np.zeros(code.size % 2, np.uint8))
        code = np.asarray(code[0::2] << 4 | code[1::2], np.uint8)
    return ArrayRecord({"levels": Array(code), "ranges": Array(np.array(ranges))})


def largest(vector: Vector, share: float) -> ArrayRecord:
    """The values of greatest magnitude, a `share` of all and at least one, and where they are."""
    k = max(1, round(share * vector.size))
    chosen = np.sort(np.argpartition(-np.abs(vector), k - 1)[:k])
    return ArrayRecord(
        {
            "places": Array(chosen.astype(np.uint32)),
            "values": Array(vector[chosen].astype(np.float32)),
        }
    )


def restored(sent: ArrayRecord, start: ArrayRecord, params: CompressionParams) -> Vector:
    """The update (n_parameters,) that `quantised` or `largest` wrote.

    Raises KeyError, ValueError or IndexError if it isn't one of weights like `start`.
    """
    sizes = sizes_of(start)
    n = sum(sizes)
    vector = np.zeros(n)
    if params.kind == "top_k":
        places, values = sent["places"].numpy(), sent["values"].numpy()
        if places.dtype != np.uint32 or np.unique(places).size != places.size:
            raise ValueError("places: expected each value once, as uint32")
        vector[places] = values
        return vector
    code, ranges = sent["levels"].numpy(), sent["ranges"].numpy().reshape(-1, 2)
    if code.dtype != np.uint8 or len(ranges) != len(sizes):
        raise ValueError("levels: expected uint8, and a range for each array")
    if params.bits == 4:
        code = np.stack([code >> 4, code & 15], axis=1).ravel()[:n]
    if code.size != n:
        raise ValueError(f"levels: found {code.size}, expected {n}")
    low, high = np.repeat(ranges, sizes, axis=0).T
    return np.asarray(low + code * ((high - low) / (2**params.bits - 1)), np.float64)
