"""What two hostile clients of eight cost `vae-federated`, by rule of aggregation: LD-decay RMSE.

    python benchmarks/hostile_clients.py --region 20:1000000-1200000 --out hostile.json

Trains the model anew for every case, all with the same people, seeds and schedule, and measures
cohorts of the held-out people's size against them. All that isn't given is vae-federated's default.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Context

from haplobench import Panel, Reference, RunContext, SampleRequest
from haplobench.data.panel import MISSING
from haplobench.data.split import split_panel
from haplobench.registry import load_registry, resolve
from haplobench_federated.federation import Simulation
from haplobench_federated.generator import Federated
from haplobench_federated.params import FederatedParams
from haplobench_federated.training import People
from haplobench_federated.updates import Vector, moved, update_mod

CLIENTS, HOSTILE, DRAWS = 8, 2, 5
ATTACKS = {"sign_flip": -5.0, "scale": 1000.0, "label_flip": 1.0, "free_ride": 0.0}
"""By what a hostile client multiplies its updates; who flips labels is hostile by its data."""
RULES = {
    "mean": {},
    "screen": {"screen": True},
    "krum": {"rule": "krum", "hostile": HOSTILE},
    "multi_krum": {"rule": "multi_krum", "hostile": HOSTILE},
    "trimmed_mean": {"rule": "trimmed_mean", "hostile": HOSTILE},
    "median": {"rule": "median", "hostile": HOSTILE},
}


def attacked(kind: str, clients: int, factor: float, populations: int) -> Simulation:
    """A federation whose first `clients` attack it, its updates multiplied by `factor`.

    `label_flip`: they train on their people with alleles exchanged and the next population's label.
    """

    def taught(client: int, people: People) -> People:
        return poisoned(people, populations) if client < clients else people

    def change(update: Vector, start: ArrayRecord, context: Context, number: int) -> ArrayRecord:
        hostile = int(context.node_config["partition-id"]) < clients
        return moved(start, (factor if hostile else 1.0) * update)

    if kind == "label_flip":
        return Simulation(taught=taught)
    return Simulation(mods=[update_mod(change, frequencies=True)])


def poisoned(people: People, populations: int) -> People:
    """People with alleles 0 and 1 exchanged and the next population's label."""
    haplotypes = people.haplotypes
    flipped = np.where(haplotypes >= 0, 1 - haplotypes, haplotypes).astype(np.int8)
    return People(np.ascontiguousarray(flipped), (people.population + 1) % populations)


def uneven(lacking: float, missing: float, ctx: RunContext) -> Simulation:
    """A federation whose clients' panels differ: each, at random, lacks sites and alleles."""

    def typed(name: str, panel: Panel) -> Panel:
        return thinned(panel, lacking, missing, ctx.rng("federated", "sites", name))

    return Simulation(typed=typed)


def thinned(panel: Panel, lacking: float, missing: float, rng: np.random.Generator) -> Panel:
    """A panel as a client might have it: some sites not typed, some alleles not called."""
    typed = rng.random(panel.n_sites) >= lacking
    if not typed.any():
        typed[rng.integers(panel.n_sites)] = True
    kept = panel.select_sites(typed)
    lost = rng.random(kept.haplotypes.shape) < missing
    return replace(kept, haplotypes=np.where(lost, np.int8(MISSING), kept.haplotypes))


def panels(options: argparse.Namespace, ctx: RunContext) -> tuple[Panel, Panel]:
    """Training and held-out people, at sites that are common among the former."""
    registry = load_registry()
    if options.vcf:
        spec = registry.dataset("file")
        params: dict[str, Any] = {"path": options.vcf, "panel_file": options.panel_file}
    else:
        spec = registry.dataset("embedded")
        params = {"region": options.region}
    panel = resolve(spec.target)().load(spec.params.model_validate(params), ctx).panel
    split = split_panel(panel, 0.2, 0.1, 1)
    train = panel.select_samples(split.train)
    sites = train.common_sites(options.min_maf)
    return train.select_sites(sites), panel.select_samples(split.holdout).select_sites(sites)


def measure(
    train: Panel,
    holdout: Panel,
    params: FederatedParams,
    seed: int,
    simulation: Simulation | None = None,
) -> dict[str, Any]:
    """LD-decay RMSE of a federation's model, over cohorts, and what was quarantined."""
    registry = load_registry()
    spec = registry.metric("ld-decay")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        log = logging.getLogger("hostile")
        log.setLevel(logging.ERROR)
        started = time.process_time()
        ctx = RunContext(seed=seed, artifacts=here, scratch=here, log=log)
        fitted = Federated(simulation=simulation).fit(train, params, ctx)
        seconds = time.process_time() - started
        report = json.loads((here / "federation.json").read_text())
        values = []
        for draw in range(DRAWS):
            ctx = RunContext(seed=seed * 1000 + draw, artifacts=here, scratch=here)
            request = SampleRequest(holdout.n_haplotypes, populations=holdout.haplotype_populations)
            cohort = holdout.with_haplotypes(np.concatenate(list(fitted.sample(request, ctx))))
            result = resolve(spec.target)(Reference(train, holdout), cohort, spec.params(), ctx)
            found = result.measurements["rmse"]
            values.append(float(found[0].value if isinstance(found, list) else found.value))
    return {
        "rmse": float(np.mean(values)),
        "deviation": float(np.std(values, ddof=1)),
        "quarantined": report["quarantined"],
        "epsilon": fitted.statement.epsilon if params.privacy.noised else None,
        "cpu_seconds": seconds,
        "bytes_up": report["bytes_up"] / report["rounds_done"] / CLIENTS,
        "bytes_down": report["bytes_down"] / report["rounds_done"] / CLIENTS,
        "parameters": report["model"],
    }


def parser_of_trainings() -> argparse.ArgumentParser:
    """Options of people, schedule and model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--region", default="20:1000000-1200000")
    parser.add_argument("--vcf")
    parser.add_argument("--panel-file")
    parser.add_argument("--min-maf", type=float, default=0.05)
    parser.add_argument("--epsilon", type=float, help="none: without privacy")
    parser.add_argument("--params", default="{}", help="of the generator, as JSON")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    return parser


def begun(options: argparse.Namespace) -> tuple[Panel, Panel, dict[str, Any]]:
    """People to train on, held-out people, and parameters that all cases share."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        train, holdout = panels(options, RunContext(seed=1, artifacts=here, scratch=here))
    print(f"{train.n_samples} people, {train.n_sites} sites, held out {holdout.n_samples}")
    privacy = {"epsilon": options.epsilon} if options.epsilon else {"kind": "none"}
    common = {"federation": {"clients": CLIENTS}, "privacy": privacy}
    return train, holdout, merged(common, json.loads(options.params))


def merged(common: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Parameters with changes, section by section."""
    both = {key for key in common if key in changes and isinstance(changes[key], dict)}
    return common | changes | {key: merged(common[key], changes[key]) for key in both}


def main() -> None:
    """Run the cases that are asked for and print a table."""
    parser = parser_of_trainings()
    parser.add_argument("--rules", default=",".join(RULES))
    parser.add_argument("--attacks", default=",".join(ATTACKS))
    options = parser.parse_args()
    train, holdout, common = begun(options)
    found: dict[str, Any] = {"options": {k: str(v) for k, v in vars(options).items()}}
    clean = None
    cases = [("none", "mean")] + [
        (attack, rule) for attack in options.attacks.split(",") for rule in options.rules.split(",")
    ]
    for attack, rule in cases:
        changes = {"aggregation": {"robust": RULES[rule]}}
        params = FederatedParams.model_validate(merged(common, changes))
        hostile = None
        if attack != "none":
            populations = np.unique(train.population).size
            hostile = attacked(attack, HOSTILE, ATTACKS[attack], populations)
        one = found[f"{attack}/{rule}"] = measure(train, holdout, params, options.seed, hostile)
        clean = clean or one["rmse"]
        left_out = {name: sum(of.values()) for name, of in one["quarantined"].items()}
        print(
            f"{attack:11s} {rule:13s} RMSE {one['rmse']:.4f} ± {one['deviation']:.4f}  "
            f"{one['rmse'] / clean:5.2f} × clean  {one['cpu_seconds']:.0f} s CPU  {left_out or ''}",
            flush=True,
        )
        if options.out:
            options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
