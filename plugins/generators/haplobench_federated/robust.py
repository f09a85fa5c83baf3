"""Rules that combine updates of which some may be hostile; Flower's, on updates in float64.

Flower's Krum finds distances by |x|² + |y|² - 2 x·y: on float32 weights, which are long beside
what a round changes, that is mostly rounding error. Updates differ from weights by the same
vector for all clients, so that all rules here give the same of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flwr.app import Array, ArrayRecord, Message
from flwr.serverapp.strategy import FedAvg, FedMedian, FedTrimmedAvg, Krum, MultiKrum

from haplobench_federated.robust_params import RobustParams
from haplobench_federated.updates import arrays_of, difference, message_of, moved, people_of


def combine(
    params: RobustParams,
    round_number: int,
    start: ArrayRecord,
    kept: Sequence[Message],
    quarantined: int,
) -> list[Message]:
    """What the strategy is to aggregate: all replies for the mean, else one that stands for them.

    Nothing where too few are left for the rule. The rule has to bear `params.hostile` clients less
    those quarantined already.
    """
    if params.rule == "mean":
        # Flower refuses all replies where one has metrics that the others lack.
        return [message_of(arrays_of(reply), people_of(reply)) for reply in kept]
    if not kept:
        return []
    hostile = max(0, params.hostile - quarantined)
    if len(kept) < params.least_clients(hostile):
        return []
    updates = [_as_update(reply, start) for reply in kept]
    arrays, _ = _rule(params.rule, hostile, len(kept)).aggregate_train(round_number, updates)
    assert arrays is not None  # there are replies, none of them an error
    update = {name: array.numpy() for name, array in arrays.items()}
    return [message_of(moved(start, update), sum(people_of(reply) for reply in kept))]


def _rule(name: str, hostile: int, clients: int) -> FedAvg:
    if name == "krum":
        return Krum(num_malicious_nodes=hostile)
    if name == "multi_krum":
        return MultiKrum(num_malicious_nodes=hostile, num_nodes_to_select=clients - hostile)
    if name == "trimmed_mean":
        # Flower rounds beta n down: a little more keeps exactly `hostile` at either end.
        return FedTrimmedAvg(beta=(hostile + 0.25) / clients)
    return FedMedian()


def _as_update(reply: Message, start: ArrayRecord) -> Message:
    update = difference(arrays_of(reply), start)
    arrays = ArrayRecord({name: Array(np.asarray(value)) for name, value in update.items()})
    return message_of(arrays, people_of(reply))
