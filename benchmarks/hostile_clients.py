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
from pathlib import Path
from typing import Any

import numpy as np

from haplobench import Panel, Reference, RunContext, SampleRequest
from haplobench.data.split import split_panel
from haplobench.registry import load_registry, resolve
from haplobench_federated.generator import Federated
from haplobench_federated.params import FederatedParams

CLIENTS, HOSTILE, DRAWS = 8, 2, 5
ATTACKS = {
    "sign_flip": {"kind": "sign_flip", "clients": HOSTILE, "factor": 5.0},
    "scale": {"kind": "scale", "clients": HOSTILE, "factor": 1000.0},
    "label_flip": {"kind": "label_flip", "clients": HOSTILE},
    "free_ride": {"kind": "free_ride", "clients": HOSTILE},
}
RULES = {
    "mean": {},
    "screen": {"screen": True},
    "krum": {"rule": "krum", "hostile": HOSTILE},
    "multi_krum": {"rule": "multi_krum", "hostile": HOSTILE},
    "trimmed_mean": {"rule": "trimmed_mean", "hostile": HOSTILE},
    "median": {"rule": "median", "hostile": HOSTILE},
}


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


def measure(train: Panel, holdout: Panel, params: FederatedParams, seed: int) -> dict[str, Any]:
    """LD-decay RMSE of a federation's model, over cohorts, and what was quarantined."""
    registry = load_registry()
    spec = registry.metric("ld-decay")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        log = logging.getLogger("hostile")
        log.setLevel(logging.ERROR)
        started = time.process_time()
        ctx = RunContext(seed=seed, artifacts=here, scratch=here, log=log)
        fitted = Federated().fit(train, params, ctx)
        seconds = time.process_time() - started
        report = json.loads((here / "federation.json").read_text())
        values = []
        for draw in range(DRAWS):
            ctx = RunContext(seed=seed * 1000 + draw, artifacts=here, scratch=here)
            request = SampleRequest(holdout.n_haplotypes, populations=holdout.haplotype_populations)
            cohort = holdout.with_haplotypes(np.concatenate(list(fitted.sample(request, ctx))))
            metric = resolve(spec.target)(Reference(train, holdout), spec.params(), ctx)
            metric.update(cohort)
            found = metric.result().measurements["rmse"]
            values.append(float(found[0].value if isinstance(found, list) else found.value))
    return {
        "rmse": float(np.mean(values)),
        "deviation": float(np.std(values, ddof=1)),
        "quarantined": report["quarantined"],
        "epsilon": fitted.statement.epsilon if params.noised else None,
        "cpu_seconds": seconds,
        "bytes_up": report["bytes_up"] / report["rounds_done"] / params.clients,
        "bytes_down": report["bytes_down"] / report["rounds_done"] / params.clients,
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
    common: dict[str, Any] = {"clients": CLIENTS, "privacy": "none"}
    if options.epsilon:
        common |= {"privacy": "local", "epsilon": options.epsilon}
    return train, holdout, common | json.loads(options.params)


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
        params = FederatedParams.model_validate(
            common | {"attack": ATTACKS.get(attack, {}), "robust": RULES[rule]}
        )
        one = found[f"{attack}/{rule}"] = measure(train, holdout, params, options.seed)
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
