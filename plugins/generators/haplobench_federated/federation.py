"""A federation within one process: people to clients, clients and server run, result gathered."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context
from flwr.clientapp.typing import Mod
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from haplobench import BenchError, FormatError, Panel, Populations, PrivacyStatement, RunContext
from haplobench.files import numbered_lines, read_text
from haplobench.plugin.privacy import caution_of
from haplobench_federated.accounting import Ledger, least_delta, privacy_statement
from haplobench_federated.client_app import ClientSite, client_app, client_mods, client_stages
from haplobench_federated.client_panels import Harmonised, harmonise, partition
from haplobench_federated.grid import Failures, InProcessGrid, new_context
from haplobench_federated.model import ModelFamily, PublicFacts
from haplobench_federated.params import FederatedParams, ModelParams
from haplobench_federated.seeds import derive
from haplobench_federated.server_app import FederationCheckpoint, Progress, ServerPlan, run_rounds
from haplobench_federated.training import People, distil, student_model


@dataclass(frozen=True, eq=False)
class Federated:
    """What a federation leaves.

    Attributes
    ----------
    model_params : ModelParams
        Of that model: the student's where there is one.
    facts : PublicFacts
        Frequencies as they were released, if they were.
    report : dict
        Clients, rounds, bytes, CPU seconds, memory and what harmonisation lost, as plain values.
    """

    model: nn.Module = field(repr=False)
    model_params: ModelParams
    facts: PublicFacts
    statement: PrivacyStatement
    report: dict[str, Any]


@dataclass(frozen=True)
class Simulation:
    """What an experiment does to the clients of a federation; no parameter asks for it.

    Attributes
    ----------
    failures : Failures or None
        Messages that get lost.
    typed : callable or None
        What a client, by name, has of its panel: a panel of fewer sites and alleles.
    taught : callable or None
        What a client, by number, trains on in place of its people.
    mods : sequence of Mod
        Change updates, beyond the bound that clients put on their own.
    """

    failures: Failures | None = None
    typed: Callable[[str, Panel], Panel] | None = None
    taught: Callable[[int, People], People] | None = None
    mods: Sequence[Mod] = ()


def federate(
    train: Panel,
    params: FederatedParams,
    ctx: RunContext,
    family: ModelFamily,
    simulation: Simulation | None = None,
) -> Federated:
    """Run all rounds; goes on from a checkpoint in `ctx.checkpoint` where one fits.

    `train` holds nobody who withdrew. `simulation` is for tests and benchmarks.

    Raises BenchError for partitions, files or budgets that the user must mend.
    """
    delta = checked_delta(params, train.n_samples, ctx.log)
    populations = Populations.of(train)
    facts = public_facts(train, params, ctx, populations)
    simulated = simulation or Simulation()
    people, harmonised = _clients(train, params, ctx, populations, simulated)
    checkpoint = None
    if ctx.checkpoint is not None:
        # Names of people who withdrew are kept nowhere.
        kept = params.model_dump(mode="json", exclude={"federation": {"withdrawn"}})
        identity = {"generator": "vae-federated", "params": kept, "seed": ctx.seed}
        checkpoint = FederationCheckpoint(ctx.checkpoint, identity | {"train": train.digest})
    # A round that was broken off may have been seen, and with noise of its own the next one is
    # another release: charges outlive the process. Repeated noise gives the same release again.
    ledgers_kept = checkpoint.ledgers() if checkpoint and params.unrepeatable() else None
    sites = [
        ClientSite(
            name=name,
            people=own,
            facts=facts,
            params=params,
            family=family,
            delta=delta,
            seed=ctx.seed_for("federated", "client", name),
            repeatable_seed=ctx.seed_for("federated", "noise", name)
            if params.privacy.repeatable_noise
            else None,
            device=ctx.device,
            ledger_file=ledgers_kept / f"client-{client}.json" if ledgers_kept else None,
        )
        for client, (name, own) in enumerate(people.items())
    ]
    contexts = {client: new_context(client, {}) for client in range(len(sites))}

    def site_of(context: Context) -> ClientSite:
        return sites[int(context.node_config["partition-id"])]

    stages = client_stages(params, lambda context: len(site_of(context).people))
    app = client_app(site_of, client_mods(params, site_of, simulated.mods), stages)
    progress = checkpoint.read(contexts) if checkpoint is not None else None
    progress = Progress() if progress is None else progress
    of_server = ledgers_kept / "server.json" if ledgers_kept else None
    if of_server is not None and of_server.is_file():
        progress.ledger = Ledger.from_json(of_server.read_text())

    def before_release(ledger: Ledger) -> None:
        if of_server is not None:
            ledger.save(of_server)

    def after_round(now: Progress) -> None:
        if checkpoint is not None:
            checkpoint.write(now, contexts)
        ctx.progress(
            now.rounds_done / params.training.rounds,
            f"round {now.rounds_done} of {params.training.rounds}",
        )

    def build(frequencies: NDArray[np.float64] | None) -> nn.Module:
        known = facts if frequencies is None else replace(facts, frequencies=frequencies)
        return first_model(family, known, params, ctx.seed)

    plan = ServerPlan(
        params=params,
        clients=len(sites),
        delta=delta,
        n_sites=train.n_sites,
        seed=ctx.seed_for("federated", "server"),
        build=build,
        repeatable_seed=ctx.seed_for("federated", "noise")
        if params.privacy.repeatable_noise
        else None,
        before_release=before_release,
        after_round=after_round,
        log=ctx.log,
    )
    grid = InProcessGrid(app, contexts, simulated.failures)
    started = time.process_time()
    run_rounds(grid, plan, progress)
    if progress.stopped:
        ctx.log.warning(
            "vae-federated: stopped after %d rounds: %s", progress.rounds_done, progress.stopped
        )
    if progress.frequencies is not None:
        facts = replace(facts, frequencies=progress.frequencies)
    if not progress.rounds_done:
        raise BenchError(f"vae-federated: no round was done: {progress.stopped}")
    model = family.build(facts, params.training.model, 0)
    model.load_state_dict(progress.model_weights)
    sizes = {"parameters": _size(model)}
    model_params, student = params.training.model, params.training.student
    if student is not None:
        model = distil(model.eval(), facts, populations, params, student, family, ctx)
        model_params = student_model(params, student)
        sizes["student_parameters"] = _size(model)
    if params.privacy.kind == "central":
        ledgers = {site.name: progress.ledger for site in sites}
    else:
        ledgers = {site.name: site.ledger(contexts[client]) for client, site in enumerate(sites)}
    noise = [
        max((2 * c.noise_multiplier for c in progress.ledger.charges), default=0.0)
        if params.privacy.kind == "central"
        else site.noise_multiplier(contexts[client])
        for client, site in enumerate(sites)
        if params.privacy.noised
    ]
    of_frequencies = sites[0].frequencies_noise()
    statement = privacy_statement(params, delta, train.n_samples, ledgers, noise, of_frequencies)
    if params.privacy.from_seed:  # no finite ε is left unqualified
        for cost in progress.costs:
            for said in cost["clients"].values():
                said["epsilon"] = None
    report = {
        "clients": {
            site.name: {
                "people": len(site.people),
                "epsilon": spent if math.isfinite(spent) else None,
                **({"sites": asdict(harmonised[site.name])} if harmonised else {}),
            }
            for site in sites
            for spent in (statement.per_client[site.name],)
        },
        "random": _random(params),
        "rounds_asked": params.training.rounds,
        "rounds_done": progress.rounds_done,
        "stopped": progress.stopped,
        "quarantined": _quarantined(progress.costs, [site.name for site in sites]),
        "bytes_down": sum(cost["bytes_down"] for cost in progress.costs),
        "bytes_up": sum(cost["bytes_up"] for cost in progress.costs),
        "cpu_seconds": time.process_time() - started,
        "model": sizes,
        "rounds": progress.costs,
    }
    return Federated(model.eval(), model_params, facts, statement, report)


def _random(params: FederatedParams) -> dict[str, str]:
    """What another run with the same seed draws anew, and what it repeats."""
    fixed = (
        "weights to begin with, people's shares among clients, clients drawn for a round, "
        "what is drawn from the model"
    )
    secret = "protective noise, people drawn for private steps"
    if not params.privacy.noised:
        return {"source": "seed", "repeats": fixed + ", people drawn for steps", "differs": ""}
    if params.privacy.repeatable_noise:
        return {"source": "seed", "repeats": f"{fixed}, {secret}", "differs": ""}
    return {"source": "operating system's entropy", "repeats": fixed, "differs": secret}


def _quarantined(costs: list[dict[str, Any]], names: list[str]) -> dict[str, dict[str, int]]:
    """How often each client's updates were left out, by reason."""
    counts: dict[str, dict[str, int]] = {}
    for cost in costs:
        for one in cost["quarantined"]:
            of_client = counts.setdefault(names[one["client"]], {})
            of_client[one["reason"]] = of_client.get(one["reason"], 0) + 1
    return counts


def _size(model: nn.Module) -> int:
    return sum(value.numel() for value in model.state_dict().values())


def checked_delta(params: FederatedParams, people: int, log: logging.Logger) -> float:
    """δ of the run: given, or the least of 1e-6 and 1 / n².

    Warns of a δ that is large for so many people.

    Raises BenchError for a δ above 1 / n, which allows to publish a random person outright.
    """
    if params.privacy.delta is None:
        return least_delta(people)
    if params.privacy.delta > 1 / people and params.privacy.noised:
        raise BenchError(
            f"delta: {params.privacy.delta:g} for {people} people; expected at most 1 / {people} = "
            f"{1 / people:.3g}, and better {least_delta(people):.2g} or less"
        )
    caution = caution_of(params.privacy.delta, people)
    if caution and params.privacy.noised:
        log.warning("vae-federated: %s", caution)
    return params.privacy.delta


def public_facts(
    train: Panel, params: FederatedParams, ctx: RunContext, populations: Populations
) -> PublicFacts:
    """What every client and the server know beforehand."""
    return PublicFacts(
        train.positions,
        populations.names,
        train.ploidy,
        ctx.recombination_map,
        public_frequencies(params, train.positions),
    )


def public_frequencies(
    params: FederatedParams, positions: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Alternate allele frequencies of the file that the parameters name; None where they don't."""
    if params.privacy.frequencies != "file":
        return None
    assert params.privacy.frequencies_file is not None  # checked by the parameters
    return read_frequencies(Path(params.privacy.frequencies_file), positions)


def first_model(
    family: ModelFamily, facts: PublicFacts, params: FederatedParams, seed: int
) -> nn.Module:
    """The model that a federation begins with: new, or with the weights of a saved one.

    Raises BenchError if there is no saved one, or it is of another shape.
    """
    model = family.build(facts, params.training.model, derive(seed, "federated", "weights"))
    if params.training.initial is not None:
        path = Path(params.training.initial) / "model.safetensors"
        try:
            model.load_state_dict(load_file(path))
        except (OSError, RuntimeError, ValueError) as error:
            said = " ".join(str(error).split())[:200]
            raise BenchError(f"initial: {path}: not a checkpoint of this model: {said}") from None
    return model


def read_frequencies(path: Path, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Alternate allele frequencies at `positions`; 0.5 at sites that the file lacks.

    Raises FormatError for lines that aren't a position and a frequency.
    """
    known: dict[int, float] = {}
    for number, line in numbered_lines(read_text(path)):
        if not line.strip():
            continue
        try:
            position, frequency = line.split("\t")
            known[int(position)] = float(frequency)
            sound = 0 <= known[int(position)] <= 1
        except ValueError:
            sound = False
        if not sound:
            raise FormatError(
                f"{path}: line {number}: found {line[:60]!r}, expected position and frequency "
                "(0 to 1), separated by a tab"
            )
    return np.array([known.get(int(position), 0.5) for position in positions])


def _clients(
    train: Panel,
    params: FederatedParams,
    ctx: RunContext,
    populations: Populations,
    simulated: Simulation,
) -> tuple[dict[str, People], dict[str, Harmonised]]:
    """People by client, and what harmonising cost each where they don't have the same sites."""
    parts = partition(train, params.federation, ctx.rng("federated", "partition"))
    harmonised: dict[str, Harmonised] = {}
    people = {}
    for client, (name, index) in enumerate(parts.items()):
        panel = train.select_samples(index)
        if simulated.typed is not None:
            panel, harmonised[name] = harmonise(simulated.typed(name, panel), train, name)
        own = people_of(panel, populations)
        people[name] = own if simulated.taught is None else simulated.taught(client, own)
    return people, harmonised


def people_of(panel: Panel, populations: Populations) -> People:
    """A panel's people as a client trains on them."""
    haplotypes = np.asarray(panel.haplotypes).reshape(panel.n_samples, panel.ploidy, panel.n_sites)
    return People(np.ascontiguousarray(haplotypes), populations.index(panel.population))
