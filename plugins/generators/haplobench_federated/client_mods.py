"""What lies around a client's training, as Flower mods: the bound on its update, and attacks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from flwr.app import ArrayRecord, Context, Message
from flwr.clientapp.typing import ClientAppCallable, Mod

from haplobench_federated.client_app import ClientSite
from haplobench_federated.compression import compression_mod
from haplobench_federated.homomorphic import homomorphic_mod, homomorphic_stages
from haplobench_federated.params import FederatedParams
from haplobench_federated.robust_params import AttackParams
from haplobench_federated.secure_aggregation_client import secagg_mod, secagg_stages
from haplobench_federated.seeds import derive
from haplobench_federated.shared_noise import least_clients, shares_noise, summed_step
from haplobench_federated.training import People
from haplobench_federated.updates import (
    Update,
    arrays_of,
    asks_frequencies,
    difference,
    flat,
    is_training,
    moved,
)


def update_norm_mod(bound: float) -> Mod:
    """A mod that scales a client's update down to an L2 norm of `bound`."""

    def change(update: Update, context: Context) -> Update:
        norm = float(np.linalg.norm(flat(update)))
        factor = min(1.0, bound / norm) if norm else 1.0
        return {name: factor * value for name, value in update.items()}

    return _changing(change, only_weights=True)


def attack_mod(attack: AttackParams) -> Mod:
    """A mod that makes the first clients hostile; those that flip labels are so by their data."""
    factors = {"sign_flip": -attack.factor, "scale": attack.factor, "free_ride": 0.0}

    def change(update: Update, context: Context) -> Update:
        hostile = int(context.node_config["partition-id"]) < attack.clients
        factor = factors.get(attack.kind, 1.0) if hostile else 1.0
        return {name: factor * value for name, value in update.items()}

    return _changing(change)


def poisoned(people: People, populations: int) -> People:
    """People with alleles 0 and 1 exchanged and the next population's label."""
    haplotypes = people.haplotypes
    flipped = np.where(haplotypes >= 0, 1 - haplotypes, haplotypes).astype(np.int8)
    return People(np.ascontiguousarray(flipped), (people.population + 1) % populations)


def client_mods(params: FederatedParams, site_of: Callable[[Context], ClientSite]) -> list[Mod]:
    """The mods that parameters ask for, outermost first; `site_of` finds a client's seed."""
    mods: list[Mod] = []
    if params.secure.kind == "secagg":
        mods.append(secagg_mod)
    elif params.secure.kind == "homomorphic":
        mods.append(homomorphic_mod)
    if params.edge.compression != "none":
        mods.append(
            compression_mod(
                params.edge,
                lambda context, number: derive(site_of(context).seed, "compression", number),
            )
        )
    if params.attack.kind not in ("none", "label_flip"):
        mods.append(attack_mod(params.attack))
    if params.robust.update_norm is not None:
        mods.append(update_norm_mod(params.robust.update_norm))
    return mods


def client_stages(
    params: FederatedParams, people_of: Callable[[Context], int]
) -> dict[str, ClientAppCallable]:
    """Handlers of queries by action; `people_of` counts a client's people."""
    if params.secure.kind == "secagg":
        return secagg_stages(people_of, max(2, least_clients(params)))
    if params.secure.kind == "homomorphic":
        return homomorphic_stages(people_of, summed_step(params) if shares_noise(params) else 0.0)
    return {}


def _changing(change: Callable[[Update, Context], Update], *, only_weights: bool = False) -> Mod:
    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if not is_training(message) or (only_weights and asks_frequencies(message)):
            return call_next(message, context)
        start = ArrayRecord(dict(arrays_of(message).items()))
        reply = call_next(message, context)
        if reply.has_content():
            update = change(difference(arrays_of(reply), start), context)
            reply.content["arrays"] = moved(start, update)
        return reply

    return mod
