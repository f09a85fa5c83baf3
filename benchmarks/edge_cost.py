"""What `vae-federated` costs at the edge, and what saving it costs: bytes, CPU, LD-decay RMSE.

    python benchmarks/edge_cost.py --out edge.json

Bytes are those of a client in a round, as serialised for the wire.
"""

from __future__ import annotations

import json
from typing import Any

from hostile_clients import begun, measure, merged, parser_of_trainings

from haplobench_federated.params import FederatedParams

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "quantised to 8 bits": {"aggregation": {"compression": {"kind": "quantise", "bits": 8}}},
    "quantised to 4 bits": {"aggregation": {"compression": {"kind": "quantise", "bits": 4}}},
    "top 10 %": {"aggregation": {"compression": {"kind": "top_k", "top_share": 0.1}}},
    "top 1 %": {"aggregation": {"compression": {"kind": "top_k", "top_share": 0.01}}},
    "8 codes": {"training": {"model": {"codes": 8}}},
    "student of 8 codes": {"training": {"student": {"window": 16, "codes": 8}}},
    "SecAgg+": {"aggregation": {"secure": {"kind": "secagg"}}},
    "SecAgg+, 4 neighbours": {"aggregation": {"secure": {"kind": "secagg", "neighbours": 4}}},
    "CKKS": {"aggregation": {"secure": {"kind": "homomorphic"}}},
}


def main() -> None:
    """Run all cases and print a table."""
    parser = parser_of_trainings()
    parser.add_argument("--cases", default=",".join(name for name in CASES if "," not in name))
    options = parser.parse_args()
    train, holdout, common = begun(options)
    found = {}
    for name in options.cases.split(","):
        params = FederatedParams.model_validate(merged(common, CASES[name]))
        one = found[name] = measure(train, holdout, params, options.seed)
        print(
            f"{name:22s} RMSE {one['rmse']:.4f} ± {one['deviation']:.4f}  "
            f"up {one['bytes_up'] / 1000:8.1f} kB  down {one['bytes_down'] / 1000:8.1f} kB  "
            f"{one['cpu_seconds']:.0f} s CPU  {one['parameters']}",
            flush=True,
        )
        if options.out:
            options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
