"""The privacy that a fitted federation claims, and what it does not cover."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from haplobench import PrivacyStatement
from haplobench.plugin.privacy import NoiseSource, greatest_charges
from haplobench_federated.accounting import Ledger
from haplobench_federated.params import FederatedParams
from haplobench_federated.shared_noise import least_clients, shares_noise

_SHARED = (
    "noise of the sum of {least} clients or more: holds against the server and outsiders given "
    "secure aggregation and {least} answering clients that are honest, and not against clients "
    "that collude beyond that; discrete noise on the sum's own grid, nothing rounded after it"
)


def privacy_statement(
    params: FederatedParams,
    delta: float,
    people: int,
    ledgers: Mapping[str, Ledger],
    noise: Sequence[float],
    frequencies_noise: float = 0.0,
) -> PrivacyStatement:
    """The claim after a run, for adding or removing one person.

    Parameters
    ----------
    params : FederatedParams
    delta : float
    people : int
        Training people of all clients.
    ledgers : mapping
        What each client (or, for central noise, each client by the server) was charged. A person
        is at one client, so that ε is the largest of theirs (parallel composition).
    noise : sequence of float
        Noise multiplier of each client's steps; empty where they are the clients' secret.
    frequencies_noise : float
        Of allele frequencies; 0 where that is a secret, too.
    """
    spent = {
        name: ledger.epsilon(delta, params.accountant) if params.noised else math.inf
        for name, ledger in ledgers.items()
    }
    nominal = max(spent.values(), default=math.inf)
    mechanism = _mechanism(params, noise, frequencies_noise)
    if params.seeded_noise:
        spent = dict.fromkeys(spent, math.inf)
        mechanism += (
            f"; for nobody but who has neither the seed nor a second run, epsilon is {nominal:.4g}"
        )
    library = f"opacus {version('opacus')}"
    source: NoiseSource = "none"
    if params.noised:
        source = "seed" if params.seeded_noise else "entropy"
    return PrivacyStatement(
        epsilon=max(spent.values(), default=math.inf),
        delta=delta if params.noised else 0.0,
        unit="person",
        accountant=f"{params.accountant.upper()} ({library})"
        if params.noised
        else "none: no noise",
        mechanism=mechanism,
        sampling=_sampling(params),
        n_records=people,
        per_client=spent,
        choices=_choices(params),
        noise_source=source,
        charges=greatest_charges(one.charges for one in ledgers.values()) if params.noised else (),
    )


def _mechanism(params: FederatedParams, noise: Sequence[float], frequencies_noise: float) -> str:
    if not params.noised:
        return "none"
    levels = sorted({round(value, 4) for value in noise if value}) or [0.0]
    multipliers = " to ".join(f"{value:g}" for value in dict.fromkeys((levels[0], levels[-1])))
    if not noise:
        multipliers = "of each client's own choice"
    if params.privacy == "central":
        text = (
            f"central Gaussian noise {multipliers} on clients' updates, {params.clipping} clipping "
            f"{params.clipping_norm:g}; a person is charged for half the noise multiplier"
        )
    else:
        text = (
            f"DP-SGD at each client, {params.clipping} clipping {params.clipping_norm:g}, "
            f"noise multiplier {multipliers}"
        )
    if params.frequencies == "noised":
        level = f"{frequencies_noise:.4g} " if frequencies_noise else ""
        text += f"; Gaussian noise {level}on allele counts"
    if shares_noise(params):
        text += f"; {_SHARED.format(least=least_clients(params))}"
    return text


def _sampling(params: FederatedParams) -> str:
    if not params.noised:
        return "none claimed"
    if params.privacy == "central":
        return "clients drawn without claiming amplification"
    return (
        f"Poisson, rate {params.sampling_rate:g} per step, each person by itself; drawing clients "
        "is not counted as amplification"
    )


def _choices(params: FederatedParams) -> dict[str, str]:
    """What depends on data, and whether it is public, paid, off or not covered."""
    noised = params.noised
    frequencies = {"half": "off", "file": "public", "noised": "paid" if noised else "not covered"}
    return {
        "sites": "public: the panel's site list is taken as given to all clients",
        "MAF filter": "not covered: the suite's filter was computed on the training people",
        "allele frequencies at the start": frequencies[params.frequencies],
        "number of people of each client": "public",
        "population labels and their numbers": "public",
        "early stopping": "off",
        "hyper-parameters": (
            "public: fixed before the run; a search over runs on the same people is not covered"
        ),
        "starting weights": "public: a checkpoint given" if params.initial else "off",
        "training losses": "off: never leave a client",
        "clients' CPU time and memory": "not covered: reported for this simulation",
    }
