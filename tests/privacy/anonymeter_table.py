"""A small table, and what anonymeter 1.1.0 (PyPI) says of it: run by itself, prints JSON.

Needs anonymeter, which wants numpy < 1.27 and so can't be installed beside haplobench.
"""

import json

import numpy as np
from numpy.typing import NDArray

N_SITES = 768
Table = NDArray[np.int8]


def table() -> tuple[Table, Table, Table]:
    """Training and held-out people, and a cohort half of noisy copies; rows are haplotypes.

    Nobody has two nearest rows of the cohort in either half of the sites: anonymeter takes any
    one of them, haplobench all together.
    """
    rng = np.random.default_rng(20)
    frequency = rng.uniform(0.05, 0.5, N_SITES)
    real = (rng.random((400, N_SITES)) < frequency).astype(np.int8)
    cohort = (rng.random((240, N_SITES)) < frequency).astype(np.int8)
    cohort[:120] = real[:120] ^ (rng.random((120, N_SITES)) < 0.3)
    single = np.ones(400, bool)
    for half in (slice(0, N_SITES // 2), slice(N_SITES // 2, N_SITES)):
        distances = (real[:, None, half] != cohort[None, :, half]).sum(axis=2)
        single &= (distances == distances.min(axis=1, keepdims=True)).sum(axis=1) == 1
    return real[:240][single[:240]], real[240:][single[240:]], cohort


def predicates() -> NDArray[np.int64]:
    """Sites at which somebody has to carry the allele: (400, 4)."""
    rng = np.random.default_rng(21)
    return np.array([np.sort(rng.choice(N_SITES, 4, replace=False)) for _ in range(400)])


def main() -> None:
    import pandas as pd
    import polars as pl
    from anonymeter.evaluators import LinkabilityEvaluator
    from anonymeter.evaluators.singling_out_evaluator import _evaluate_queries
    from anonymeter.stats.confidence import EvaluationResults

    columns = [f"s{i}" for i in range(N_SITES)]
    train, holdout, cohort = (pd.DataFrame(part.astype(str), columns=columns) for part in table())
    halves = columns[: N_SITES // 2], columns[N_SITES // 2 :]
    found = {}
    for name, people in (("train", train), ("holdout", holdout)):
        attack = LinkabilityEvaluator(
            ori=people, syn=cohort, aux_cols=halves, n_attacks=len(people), n_neighbors=1
        ).evaluate(n_jobs=1)
        found[f"linked_{name}"] = attack.results().n_success
        queries = [
            pl.all_horizontal([pl.col(columns[site]) == "1" for site in sites])
            for sites in predicates()
        ]
        counts = _evaluate_queries(pl.DataFrame(people), queries)
        found[f"singled_out_{name}"] = sum(count == 1 for count in counts)
    results = EvaluationResults(
        (len(train), len(train), len(holdout)), found["linked_train"], 0, found["linked_holdout"]
    )
    risk = results.risk()
    print(json.dumps({**found, "risk": risk.value, "low": risk.ci[0], "high": risk.ci[1]}))


if __name__ == "__main__":
    main()
