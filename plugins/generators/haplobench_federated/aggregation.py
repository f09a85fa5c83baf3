"""How the server combines a round's updates: screened, by a rule or a strategy, and noised.

*Screening.* Updates that no average may hold are quarantined, with the reason. Some reasons need no
comparison between clients: an update that isn't the model's shape, isn't finite, belongs to another
round, is longer than the declared bound, or spent more ε than agreed. Norm and direction are held
against the other clients of the round, where the screen is on; honest clients with very different
people may be caught by it, and a client that copies an honest update, or adds noise like DP-SGD's
to nothing, is not.

ε and numbers of people are what a client says of itself: a liar is not found by them.

*Rules* are Flower's, on updates in float64. Flower's Krum finds distances by |x|² + |y|² - 2 x·y:
on float32 weights, which are long beside what a round changes, that is mostly rounding error.
Updates differ from weights by the same vector for all clients, so that all rules here give the same
of them.

*Central noise.* A trusted server clips clients' updates and noises their sum. Flower 1.41 has a
strategy for it, whose noise comes from numpy's global generator and is added in floating point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, Message
from flwr.serverapp.strategy import (
    FedAdam,
    FedAvg,
    FedMedian,
    FedProx,
    FedTrimmedAvg,
    Krum,
    MultiKrum,
    Strategy,
)
from numpy.typing import NDArray

from haplobench import PrivacyCharge
from haplobench.noise import NoiseSource, cut, fine_step, noised
from haplobench_federated.accounting import noise_for
from haplobench_federated.grid import client_of
from haplobench_federated.params import FederatedParams, RobustParams
from haplobench_federated.updates import (
    Vector,
    arrays_of,
    message_of,
    moved,
    number_in,
    people_of,
    sizes_of,
    update_of,
)

_ROUNDING = 1e-5  # of a norm, relative: weights travel as float32


@dataclass(frozen=True)
class Quarantined:
    """An update that was left out.

    Attributes
    ----------
    reason : str
        `malformed`, `stale`, `not-finite`, `bound`, `budget`, `people`, `long`, `short` or
        `direction`; of secure aggregation also `share` (changed) and `protocol` (the client
        stopped, as somebody broke the protocol).
    found : str
        What was found and expected.
    """

    client: int
    reason: str
    found: str


def screen(
    round_number: int, start: ArrayRecord, replies: Sequence[Message], params: FederatedParams
) -> tuple[list[Message], list[Quarantined]]:
    """Divide a round's replies into those that may be combined and those that may not.

    `start` are the weights that clients started from; replies have content.
    """
    kept: list[tuple[Message, Vector]] = []
    quarantined: list[Quarantined] = []
    for reply in replies:
        try:
            update = update_of(reply, start)
        except (KeyError, TypeError, ValueError) as error:
            reason, found = "malformed", " ".join(str(error).split())
        else:
            reason, found = said_beside(round_number, reply, params)
            if not reason:
                reason, found = _by_itself(update, params.aggregation.robust)
            if not reason:
                kept.append((reply, update))
                continue
        quarantined.append(Quarantined(_client(reply), reason, found))
    if params.aggregation.robust.screen and len(kept) > 1:
        judged = _among_others([update for _, update in kept], params.aggregation.robust)
        quarantined += [
            Quarantined(_client(reply), reason, found)
            for (reply, _), (reason, found) in zip(kept, judged, strict=True)
            if reason
        ]
        kept = [one for one, (reason, _) in zip(kept, judged, strict=True) if not reason]
    quarantined.sort(key=lambda one: one.client)
    return [reply for reply, _ in kept], quarantined


def _client(reply: Message) -> int:
    return client_of(reply.metadata.src_node_id)


def said_beside(round_number: int, reply: Message, params: FederatedParams) -> tuple[str, str]:
    """What is wrong with what a reply says beside its update: reason and finding, or empty."""
    said = number_in(reply, "server-round")
    if said != round_number:
        return "stale", f"round {said:g}, expected {round_number}"
    people = people_of(reply)
    if not (math.isfinite(people) and people > 0):
        return "people", f"{people:g}, expected a positive number"
    if params.privacy.kind == "central" and people != 1:
        return "people", f"weight {people:g}, expected 1 with central privacy"
    if params.privacy.local and params.privacy.epsilon is not None:
        spent = number_in(reply, "epsilon")
        if not spent <= params.privacy.epsilon:
            return "budget", f"epsilon {spent:g}, expected at most {params.privacy.epsilon:g}"
    return "", ""


def _by_itself(update: Vector, robust: RobustParams) -> tuple[str, str]:
    if not np.isfinite(update).all():
        return "not-finite", f"{int((~np.isfinite(update)).sum())} values of {update.size}"
    norm, bound = float(np.linalg.norm(update)), robust.update_norm
    if bound is not None and norm > bound * (1 + _ROUNDING):
        return "bound", f"norm {norm:.4g}, declared at most {bound:g}"
    return "", ""


def _among_others(updates: Sequence[Vector], robust: RobustParams) -> list[tuple[str, str]]:
    stacked = np.stack(updates)
    norms = np.linalg.norm(stacked, axis=1)
    typical = float(np.median(norms))
    middle = np.median(stacked, axis=0)
    length = float(np.linalg.norm(middle))
    judged = []
    for vector, norm in zip(stacked, norms, strict=True):
        cosine = float(vector @ middle) / (norm * length) if norm and length else 0.0
        reason, found = "", ""
        if not typical / robust.norm_factor <= norm <= typical * robust.norm_factor:
            reason = "long" if norm > typical else "short"
            found = f"norm {norm:.4g}, median of the round {typical:.4g}"
        elif cosine < robust.least_cosine:
            reason = "direction"
            found = f"cosine {cosine:.3f}, expected at least {robust.least_cosine:g}"
        judged.append((reason, found))
    return judged


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
    updates = [
        message_of(ArrayRecord({"update": Array(update_of(reply, start))}), people_of(reply))
        for reply in kept
    ]
    arrays, _ = _rule(params.rule, hostile, len(kept)).aggregate_train(round_number, updates)
    assert arrays is not None  # there are replies, none of them an error
    people = sum(people_of(reply) for reply in kept)
    return [message_of(moved(start, arrays["update"].numpy()), people)]


def _rule(name: str, hostile: int, clients: int) -> FedAvg:
    if name == "krum":
        return Krum(num_malicious_nodes=hostile)
    if name == "multi_krum":
        return MultiKrum(num_malicious_nodes=hostile, num_nodes_to_select=clients - hostile)
    if name == "trimmed_mean":
        # Flower rounds beta n down: a little more keeps exactly `hostile` at either end.
        return FedTrimmedAvg(beta=(hostile + 0.25) / clients)
    return FedMedian()


def make_strategy(params: FederatedParams, clients: int) -> Strategy:
    """The strategy that the parameters name."""
    asked, fraction = params.aggregation, params.federation.fraction
    common = {
        "fraction_train": fraction,
        "fraction_evaluate": 0.0,  # an evaluation on people would be a release
        "min_train_nodes": max(1, math.floor(fraction * clients)),
        "min_available_nodes": clients,
    }
    if asked.strategy == "fedprox":
        return FedProx(proximal_mu=asked.proximal_mu, **common)
    if asked.strategy == "fedadam":
        # Adam's own constants, for steps of the size that one client's Adam would take.
        return FedAdam(eta=asked.server_learning_rate, beta_1=0.9, beta_2=0.999, tau=1e-8, **common)
    return FedAvg(**common)


def set_rate(strategy: Strategy, params: FederatedParams, round_number: int) -> None:
    """Set a server's learning rate for a round, counted from 1."""
    if isinstance(strategy, FedAdam):
        rate = params.aggregation.server_learning_rate
        strategy.eta = rate * params.training.rate_factor(round_number)


def strategy_state(strategy: Strategy) -> dict[str, NDArray[np.float32]]:
    """Arrays that a strategy keeps between rounds: FedAdam's moments."""
    if not isinstance(strategy, FedAdam):
        return {}
    moments = {"first": strategy.m_t or {}, "second": strategy.v_t or {}}
    return {f"{m}/{name}": value for m, held in moments.items() for name, value in held.items()}


def restore_strategy(strategy: Strategy, state: Mapping[str, NDArray[np.float32]]) -> None:
    """Undo `strategy_state`."""
    if isinstance(strategy, FedAdam) and state:
        strategy.m_t = _under("first/", state)
        strategy.v_t = _under("second/", state)


def _under(prefix: str, state: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


_ARITHMETIC = 2.0**-30  # of a norm in float64, with room


def central_noise(params: FederatedParams, delta: float) -> float:
    """Noise multiplier of the server's noise: given, or what all rounds need."""
    privacy = params.privacy
    if privacy.noise_multiplier is not None:
        return privacy.noise_multiplier
    assert privacy.epsilon is not None  # checked by the parameters
    return 2 * noise_for(privacy.epsilon, delta, 1.0, params.training.rounds, privacy.accountant)


def central_charge(noise_multiplier: float) -> PrivacyCharge:
    """What a person is charged for a round of central noise.

    The clipped update of a client lies in a ball of the clipping norm's radius; a person more or
    less may move it across, by twice the norm. So a person is protected by half the noise
    multiplier. Which clients are drawn is known to the server: no amplification.
    """
    return PrivacyCharge(noise_multiplier / 2, 1.0)


def noised_average(
    replies: Sequence[Message],
    start: ArrayRecord,
    norm: float,
    noise_multiplier: float,
    source: NoiseSource,
) -> Message:
    """The average of updates clipped to `norm`, all weights equal, with noise on their sum.

    `replies` have finite weights like `start`'s, which the clients started from; noise has a
    standard deviation of `noise_multiplier` per `norm`, the bound of an update's L2 norm.
    """
    size = sum(sizes_of(start))
    step, total = fine_step(norm, size), np.zeros(size, np.int64)
    for reply in replies:
        vector = update_of(reply, start)
        length = float(np.linalg.norm(vector))
        total += cut(vector * min(1.0, norm / length if length else 1.0), step)
    released = noised(total, noise_multiplier, norm * (1 + _ARITHMETIC) / step, source)
    average = np.asarray(released * (step / len(replies)), np.float64)
    return message_of(moved(start, average), len(replies))
