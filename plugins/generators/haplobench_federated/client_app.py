"""The ClientApp: what a hospital runs. Its people's data never leave it.

Messages: `train` takes the server's weights and gives back the client's after its local steps,
or, where the server asks for that, its noised allele frequencies, for which secure aggregation
works in the same way. A client keeps its own ledger, decides itself how
much noise its budget asks for, and refuses, with an error, what would exceed the budget.

It never reports a training loss: that would be a release of its own.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable, Mod
from numpy.typing import NDArray
from torch import nn

from haplobench import BenchError, PrivacyCharge
from haplobench.noise import NoiseSource, cut, fine_step, noised
from haplobench_federated.accounting import Ledger, noise_for, share_noise
from haplobench_federated.homomorphic import homomorphic_mod, homomorphic_stages
from haplobench_federated.model import ModelFamily, PublicFacts
from haplobench_federated.params import FederatedParams
from haplobench_federated.secagg import secagg_mod, secagg_stages
from haplobench_federated.seeds import derive, noise_source
from haplobench_federated.shared_noise import (
    frequencies_scale,
    frequencies_step,
    gradient_step,
    least_clients,
    misfit_of_frequencies,
    misfit_of_updates,
    own_noise,
    summed_step,
)
from haplobench_federated.training import LocalState, People, train_locally
from haplobench_federated.updates import (
    FREQUENCIES,
    Vector,
    asks_frequencies,
    compression_mod,
    load_weights,
    moved,
    to_record,
    to_tensors,
    update_mod,
)

_COUNTED = 2**21  # alleles that are counted at a time: 16 MB
BUDGET_SPENT = 9001  # error code of a client that refuses


@dataclass(frozen=True, eq=False)
class ClientSite:
    """What a client has.

    Attributes
    ----------
    seed : int
        Of what protects nobody: batches without privacy, what the model itself draws, rounding.
    repeatable_seed : int or None
        Of noise and private batches, where they are to be repeated. None: they come from the
        operating system's entropy.
    ledger_file : Path or None
        Where the ledger outlives runs of the federation. None: it lives in the run's state.
    """

    name: str
    people: People
    facts: PublicFacts
    params: FederatedParams
    family: ModelFamily
    delta: float
    seed: int
    repeatable_seed: int | None = None
    device: str = "cpu"
    ledger_file: Path | None = None

    def ledger(self, context: Context) -> Ledger:
        """What was released so far: of the file where there is one, else of the state."""
        if self.ledger_file is not None and self.ledger_file.is_file():
            return Ledger.from_json(self.ledger_file.read_text())
        record = context.state.get("ledger")
        return (
            Ledger.from_json(str(record["json"])) if isinstance(record, ConfigRecord) else Ledger()
        )

    def noise_multiplier(self, context: Context) -> float:
        """The noise of every local step: given, or what the whole schedule needs.

        Searched once, before the first round, with what was already spent.
        """
        privacy, training = self.params.privacy, self.params.training
        if privacy.noise_multiplier is not None:
            return privacy.noise_multiplier
        record = context.state.get("noise")
        if isinstance(record, ConfigRecord):
            return float(record["multiplier"])
        assert privacy.epsilon is not None  # checked by the parameters
        spent = tuple(self.ledger(context).charges)
        if privacy.shared:
            # What clients add has to be alike: what one spent elsewhere can only make it refuse.
            noised = privacy.frequencies == "noised"
            spent = (PrivacyCharge(self.frequencies_noise(), 1.0),) if noised else ()
        rate, steps = training.sampling_rate, training.rounds * training.local_steps
        noise = noise_for(privacy.epsilon, self.delta, rate, steps, privacy.accountant, spent)
        context.state["noise"] = ConfigRecord({"multiplier": noise})
        return noise

    def noise(self, *key: str | int) -> NoiseSource:
        """What noise and private batches are drawn from; `key` tells repeatable ones apart."""
        return noise_source(self.repeatable_seed, *key)

    def frequencies_noise(self) -> float:
        """The noise multiplier of allele frequencies; 0 without privacy."""
        privacy, training = self.params.privacy, self.params.training
        if not privacy.noised:
            return 0.0
        given = privacy.noise_multiplier or 0.0
        assert given or privacy.epsilon is not None  # checked by the parameters
        others = PrivacyCharge(
            given, training.sampling_rate, training.rounds * training.local_steps
        )
        share, budget = privacy.frequencies_share, privacy.epsilon
        return share_noise(share, budget, self.delta, privacy.accountant, others)

    def charged(
        self, charge: PrivacyCharge, context: Context, misfit: str = ""
    ) -> tuple[float, str]:
        """Enter a release into the ledger before it is made: ε with it, and why it is refused."""
        privacy, ledger = self.params.privacy, self.ledger(context)
        spent = ledger.epsilon(self.delta, privacy.accountant, charge)
        if privacy.epsilon is not None and spent > privacy.epsilon:
            return spent, (
                f"budget: the round would exceed epsilon {privacy.epsilon:g} at delta "
                f"{self.delta:g}"
            )
        if misfit:
            return spent, misfit
        ledger.add(charge)
        context.state["ledger"] = ConfigRecord({"json": ledger.to_json()})
        if self.ledger_file is not None:
            ledger.save(self.ledger_file)
        return spent, ""


def client_app(
    site_of: Callable[[Context], ClientSite],
    mods: Sequence[Mod] = (),
    stages: Mapping[str, ClientAppCallable] = MappingProxyType({}),
) -> ClientApp:
    """A ClientApp; `site_of` finds the client's people by its context.

    `mods` lie around all it does; `stages` are more queries that it answers, by action.
    """
    app = ClientApp(mods=list(mods))
    for action, answer in stages.items():
        app.query(action)(answer)

    @app.train()  # type: ignore[untyped-decorator]
    def train(message: Message, context: Context) -> Message:
        site = site_of(context)
        params = site.params
        started = time.process_time()
        config = message.content["config"]
        assert isinstance(config, ConfigRecord)
        if asks_frequencies(message):
            return _frequencies(message, context, site)
        round_number = int(config["server-round"])
        model = site.family.build(site.facts, params.training.model, 0)
        size = sum(value.numel() for value in model.parameters() if value.requires_grad)
        spent, noise = 0.0, 0.0
        if params.privacy.local:
            try:
                noise = site.noise_multiplier(context)
            except BenchError as error:
                return _refusal(message, f"budget: {error}")
            charge = PrivacyCharge(
                noise, params.training.sampling_rate, params.training.local_steps
            )
            misfit = misfit_of_updates(params, len(site.people), size, noise)
            spent, refused = site.charged(charge, context, misfit)
            if refused:
                return _refusal(message, refused)
        arrays = message.content["arrays"]
        assert isinstance(arrays, ArrayRecord)
        load_weights(model, arrays)
        left = train_locally(
            model,
            site.people,
            params,
            _local_state(context),
            round_number=round_number,
            noise_multiplier=own_noise(params, noise),
            proximal_mu=float(config.get("proximal-mu", 0.0)),
            seed=site.seed,
            noise=site.noise("round", round_number),
            grid_step=gradient_step(params, round_number) if params.privacy.shared else None,
            device=site.device,
        )
        _keep_local_state(left, context)
        metrics = MetricRecord(
            {
                # Equal weights where the server noises: the largest weight is the sensitivity.
                "num-examples": 1 if params.privacy.kind == "central" else len(site.people),
                "epsilon": spent,
                "server-round": round_number,
                "cpu-seconds": time.process_time() - started,
                "peak-rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
        trained = to_record(model.state_dict())
        if params.privacy.shared:
            trained = _stepped(model, arrays, left, params.client_rate(round_number))
        reply = RecordDict({"arrays": trained, "metrics": metrics})
        return Message(reply, reply_to=message)

    return app


def _frequencies(message: Message, context: Context, site: ClientSite) -> Message:
    """Noised allele frequencies less 1/2, as an update of what the message has."""
    params, people, n_sites = site.params, len(site.people), site.facts.n_sites
    noise, spent = site.frequencies_noise(), 0.0
    if params.privacy.noised:
        misfit = misfit_of_frequencies(params, people, n_sites, noise)
        spent, refused = site.charged(PrivacyCharge(noise, 1.0), context, misfit)
        if refused:
            return _refusal(message, refused)
    counts = noised_counts(
        site.people.haplotypes,
        own_noise(params, noise),
        site.noise(FREQUENCIES),
        frequencies_step(params, n_sites) if params.privacy.shared else None,
    )
    metrics = MetricRecord({"num-examples": people, "epsilon": spent, "server-round": 0})
    scaled = counts * (frequencies_scale(n_sites) / people)
    arrays = ArrayRecord({FREQUENCIES: Array(scaled)})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


def _stepped(model: nn.Module, start: ArrayRecord, left: LocalState, rate: float) -> ArrayRecord:
    """Weights after the one step of SGD that clients with shared noise take, in float64.

    Float32 would round what is whole steps of the secure sum's grid.
    """
    assert left.gradient is not None  # shared noise is private
    sizes = [value.numel() for value in model.parameters()]
    parts = np.split(-rate * left.gradient, np.cumsum(sizes)[:-1])
    steps = dict(zip(dict(model.named_parameters()), parts, strict=True))
    return ArrayRecord(
        {
            name: Array(array.numpy().astype(np.float64) + steps[name].reshape(array.shape))
            for name, array in start.items()
        }
    )


def noised_counts(
    haplotypes: NDArray[np.int8],
    noise_multiplier: float,
    source: NoiseSource,
    step: float | None = None,
) -> NDArray[np.float64]:
    """Sums over people of the mean allele less 1/2 at each site, noised: (n_sites,) float64.

    Parameters
    ----------
    haplotypes : (n, ploidy, n_sites) int8
        A person without a called allele at a site adds 0.
    noise_multiplier : float
        Times the sensitivity sqrt(n_sites) / 2: no person's vector is longer. 0: no noise.
    step : float or None
        Of the grid that people's alleles are cut to and noise is added on. None: a fine one.
    """
    n_sites = haplotypes.shape[2]
    norm = math.sqrt(n_sites) / 2
    step = step or fine_step(norm, n_sites)
    total = np.zeros(n_sites, np.int64)
    people = max(1, _COUNTED // n_sites)
    for first in range(0, len(haplotypes), people):
        some = haplotypes[first : first + people]
        called = (some >= 0).sum(axis=1)
        mean = (some == 1).sum(axis=1) / np.maximum(called, 1) - 0.5
        total += cut(np.where(called > 0, mean, 0.0), step).sum(axis=0)
    if noise_multiplier:
        total = noised(total, noise_multiplier, norm / step, source)
    return np.asarray(total * step, np.float64)


def _refusal(message: Message, why: str) -> Message:
    return Message(Error(BUDGET_SPENT, why), reply_to=message)


def _local_state(context: Context) -> LocalState:
    moments = context.state.get("optimiser")
    clipping = context.state.get("clipping")
    return LocalState(
        to_tensors(moments) if isinstance(moments, ArrayRecord) else {},
        float(clipping["norm"]) if isinstance(clipping, ConfigRecord) else None,
    )


def _keep_local_state(state: LocalState, context: Context) -> None:
    context.state["optimiser"] = to_record(state.optimiser)
    if state.clipping_norm is not None:
        context.state["clipping"] = ConfigRecord({"norm": state.clipping_norm})


def update_norm_mod(bound: float) -> Mod:
    """A mod that scales a client's update down to an L2 norm of `bound`."""

    def bounded(update: Vector, start: ArrayRecord, context: Context, number: int) -> ArrayRecord:
        norm = float(np.linalg.norm(update))
        return moved(start, min(1.0, bound / norm if norm else 1.0) * update)

    return update_mod(bounded)


def client_mods(
    params: FederatedParams,
    site_of: Callable[[Context], ClientSite],
    beyond_bound: Sequence[Mod] = (),
) -> list[Mod]:
    """The mods that parameters ask for, outermost first; `site_of` finds a client's seed.

    `beyond_bound` changes updates after their client has put its own bound on them.
    """
    asked = params.aggregation
    mods: list[Mod] = []
    if asked.secure.kind != "none":
        mods.append(secagg_mod if asked.secure.kind == "secagg" else homomorphic_mod)
    if asked.compression.kind != "none":
        mods.append(
            compression_mod(
                asked.compression,
                lambda context, number: derive(site_of(context).seed, "compression", number),
            )
        )
    mods += beyond_bound
    if asked.robust.update_norm is not None:
        mods.append(update_norm_mod(asked.robust.update_norm))
    return mods


def client_stages(
    params: FederatedParams, people_of: Callable[[Context], int]
) -> dict[str, ClientAppCallable]:
    """Handlers of queries by action; `people_of` counts a client's people."""
    if params.aggregation.secure.kind == "secagg":
        return secagg_stages(people_of, max(2, least_clients(params)))
    if params.aggregation.secure.kind == "homomorphic":
        return homomorphic_stages(people_of, summed_step(params) if params.privacy.shared else 0.0)
    return {}
