"""How often `bench compare` raises a false alarm, and how often it catches a planted regression.

    python benchmarks/aa_study/study.py run --seeds 40 --few-seeds 30 --out results
    python benchmarks/aa_study/study.py analyse --out results

`run` runs suite.yaml, few.yaml and timing.yaml with the harness, in pieces of ten seeds.
`analyse` draws two disjoint sets of seeds for each comparison, hands one to either side as its
seeds 1 to n, as if the code's random numbers had changed between the two, and compares. For an A/A
comparison both sides are the same generators; for a planted regression head's generator is its
worsened double (see aa_plants.py). It counts as caught if that generator regresses in the family
that should notice, else as said to be beyond the power of the runs if numbers of that family are
among those that can't be told. Writes aa_study.json and aa_study.md beside this file; of a suite
without runs in `--out` they keep what they say.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from haplobench.compare.compare import compare
from haplobench.compare.model import Cohort, Number, Side, SideData, gather
from haplobench.compare.statistics import compare_numbers
from haplobench.results.description import SubmetricInfo, submetrics_of
from haplobench.results.records import FLOOR
from haplobench.results.run_folder import RunFolder, find_runs
from haplobench.results.table import RunTable
from haplobench.suite.schema import CompareSettings

HERE = Path(__file__).parent
SETTINGS = CompareSettings()
PIECE = 10


@dataclass(frozen=True)
class Plant:
    """A worsened generator, whose place it takes, and the family that should notice."""

    name: str
    replaces: str
    family: str
    what: str

    @property
    def key(self) -> str:
        """Its name in the results."""
        return f"{self.replaces} -> {self.name}" if self in FEW else self.name


FEW = (
    Plant("plant-blunt", "markov", "fidelity", "LD-decay RMSE .013 to .231"),
    Plant("plant-shift", "plant-chain", "fidelity", "thresholds moved by .15"),
    Plant("plant-blunt", "plant-chain", "fidelity", "thresholds 15 % of the way to no LD"),
)
PLANTS = (
    Plant("plant-noise", "li-stephens", "fidelity", "LD 10 % lower (noise on alleles)"),
    Plant("plant-leak", "markov", "privacy", "5 % of people copied from training"),
    Plant("plant-slow", "markov", "performance", "1.3 times the processor time"),
)


def run(name: str, seeds: int, out: Path) -> None:
    """Run a suite of this folder with seeds 1 to `seeds`."""
    sys.path.insert(0, str(HERE))
    from haplobench.registry import load_registry
    from haplobench.runner.run import run_suite
    from haplobench.suite.load import load_suite

    installed = [entry.value for entry in importlib.metadata.entry_points(group="haplobench")]
    registry = load_registry([*installed, "aa_plants"])
    if name != "suite.yaml":
        for control in [spec.name for spec in registry.generators.values() if spec.control]:
            del registry.generators[control]  # of no use here, and half of the time
    for first in range(1, seeds + 1, PIECE):
        piece = list(range(first, min(first + PIECE, seeds + 1)))
        suite = load_suite(HERE / name, [f"seeds={piece}"], registry)
        outcome = run_suite(suite, registry, out)
        print(f"{name}, seeds {piece[0]}-{piece[-1]}: {outcome.run_folder}", flush=True)


def read(runs: Sequence[RunFolder]) -> SideData:
    """Several runs as one, without numbers for information, which baselines leave out too."""
    records = [
        record for folder in runs for record in folder.records() if record.direction != "info"
    ]
    measured = gather(RunTable.of(records), Side("study"))
    measured.definitions = submetrics_of(runs[-1].info())
    return measured


def side(
    measured: SideData,
    seeds: Sequence[int],
    generators: Sequence[str],
    plant: Plant | None = None,
    draws: int | None = None,
) -> SideData:
    """A run of some seeds, called 1 to n; a planted generator under the name of the sound one.

    `draws`: of each seed, the first so many; None: all.
    """
    taken = {name: name for name in generators}
    if plant is not None:
        del taken[plant.replaces]
        taken[plant.name] = plant.replaces
    made = replace(measured, cohorts={}, numbers={}, failures={})
    for (dataset, generator), cohort in measured.cohorts.items():
        name = taken.get(generator)
        if name is not None:
            # Controls are left out: they are not gated, and corrected apart from what is.
            made.cohorts[dataset, name] = Cohort(
                role=cohort.role,
                cells={at: f"{name}-{at}" for at in range(1, len(seeds) + 1)},
                hardware=cohort.hardware,
            )
    for key, number in measured.numbers.items():
        name = taken.get(key.generator)
        if key.generator == FLOOR:
            made.cohorts[key.dataset, FLOOR] = measured.cohorts[key.dataset, FLOOR]
            made.numbers[key] = number
        elif name is not None:
            values = {
                at: dict(list(number.values[seed].items())[:draws])
                for at, seed in enumerate(seeds, 1)
                if seed in number.values
            }
            made.numbers[replace(key, generator=name)] = Number(
                **{**vars(number), "values": values}
            )
    return made


def rates(
    measured: SideData,
    n: int,
    repeats: int,
    plants: Sequence[Plant],
    generators: Sequence[str],
    draws: int | None = None,
) -> dict[str, Any]:
    """Alarms in A/A comparisons, and catches of each plant, with `n` seeds a side.

    Each plant is tried in every eighth comparison.
    """
    rng = np.random.default_rng(n)
    wanted = {*generators, *(plant.name for plant in plants)}
    cells = [set(cohort.cells) for key, cohort in measured.cohorts.items() if key[1] in wanted]
    seeds = sorted(set.intersection(*cells))
    alarms, improvements, powerless, tried = 0, 0, 0, 0
    where: dict[str, int] = {}
    untold: list[float] = []
    hits = dict.fromkeys((plant.key for plant in plants), 0)
    said, beside = dict(hits), dict(hits)
    for repeat in range(repeats):
        drawn = [int(seed) for seed in rng.choice(seeds, size=2 * n, replace=False)]
        base = side(measured, drawn[:n], generators, draws=draws)
        comparison = compare(base, side(measured, drawn[n:], generators, draws=draws), SETTINGS)
        alarms += bool(comparison.failing)
        improvements += any(row.gated and row.status == "improved" for row in comparison.rows)
        powerless += comparison.exit_code == 3
        gated = [row for row in comparison.rows if row.gated and not row.relative_threshold]
        untold.append(sum(row.status == "can't tell" for row in gated) / max(len(gated), 1))
        for row in comparison.failing:
            where[row.key] = where.get(row.key, 0) + 1
        if repeat % 8:
            continue
        tried += 1
        for plant in plants:
            found = compare(base, side(measured, drawn[n:], generators, plant, draws), SETTINGS)
            its = [
                row
                for row in found.rows
                if row.gated and row.generator == plant.replaces and row.family == plant.family
            ]
            caught = any(row.fails for row in its)
            hits[plant.key] += caught
            said[plant.key] += not caught and any(row.status == "can't tell" for row in its)
            beside[plant.key] += any(row.generator != plant.replaces for row in found.failing)
    return {
        "seeds_per_side": n,
        "draws": draws,
        "comparisons": repeats,
        "seeds": len(seeds),
        "correction": comparison.correction,
        "false_alarms": interval(alarms, repeats),
        "false_improvements": interval(improvements, repeats),
        "exit_code_3": interval(powerless, repeats),
        "untold": float(np.mean(untold)),
        "false_alarms_by_number": dict(sorted(where.items(), key=lambda item: -item[1])[:10]),
        "caught": {name: interval(count, tried) for name, count in hits.items()},
        "said": {name: interval(count, tried) for name, count in said.items()},
        "alarms_of_other_generators": {
            name: interval(count, tried) for name, count in beside.items()
        },
    }


def interval(count: int, total: int) -> dict[str, Any]:
    """A share with its 95 % interval (Wilson, JASA 22, 209-212, 1927)."""
    from scipy.stats import binomtest

    low, high = binomtest(count, total).proportion_ci(0.95, "wilson")
    return {"count": count, "share": count / total, "low": float(low), "high": float(high)}


def analyse(out: Path, repeats: int, sizes: Sequence[int], found: dict[str, Any]) -> dict[str, Any]:
    """All rates, by number of seeds a side: of numbers, of few seeds, and of times alone.

    `found`: those of an earlier call, for suites without runs.
    """
    cheap = ("markov", "li-stephens")
    for name, plants, generators in (
        ("aa-few", FEW, (*cheap, "plant-chain", "vae-paper")),
        ("aa-study", PLANTS[:2], cheap),
        ("aa-timing", PLANTS[2:], ("markov",)),
    ):
        runs = find_runs(out, name)
        if not runs:
            continue
        measured = read(runs)
        n_seeds = min(
            len(cohort.cells) for key, cohort in measured.cohorts.items() if key[1] != "floor"
        )
        found[name] = {
            "runs": [run.run_id for run in runs],
            "git": runs[-1].info()["git"]["sha"],
            "machine": runs[-1].info()["hardware"]["cpu"],
            "rates": [],
        }
        few = name == "aa-few"
        for n, draws in product((1, 2, 3, 5) if few else sizes, (1, 2) if few else (None,)):
            if 2 * n <= n_seeds and (name != "aa-timing" or n >= 7):
                rate = rates(measured, n, repeats, plants, generators, draws)
                found[name]["rates"].append(rate)
                print(json.dumps(rate), flush=True)
        if name == "aa-timing":
            found[name]["cpu_seconds"] = spread(measured)
            found[name]["simulated"] = simulated(repeats)
    return found


def simulated(repeats: int) -> list[dict[str, Any]]:
    """How noisy a machine's times may be: alarms and catches of a 1.3 times slow-down.

    Times are drawn (log-normal, of a given coefficient of variation) and compared as one number.
    """
    timed = SubmetricInfo(
        "fit_cpu", "Fit", unit="s", direction="lower", family="performance",
        min_effect=SETTINGS.slower,
    )  # fmt: skip
    found = []
    for noise in (0.02, 0.05, 0.1, 0.15, 0.2, 0.35):
        for n in (7, 10, 20):
            rng = np.random.default_rng(n)
            counts = {1.0: 0, 1.3: 0}
            for _ in range(repeats):
                for factor in counts:
                    seconds = rng.lognormal(0, np.sqrt(np.log1p(noise**2)), size=(2, n))
                    sides = [
                        {seed: {0: float(value)} for seed, value in enumerate(side)}
                        for side in (seconds[0], seconds[1] * factor)
                    ]
                    outcome = compare_numbers(*sides, timed, SETTINGS, timed=True)
                    counts[factor] += outcome.beyond and outcome.worse
            found.append(
                {
                    "noise": noise,
                    "repeats": n,
                    "false_alarms": interval(counts[1.0], repeats),
                    "caught": interval(counts[1.3], repeats),
                }
            )
    return found


def spread(measured: SideData) -> dict[str, Any]:
    """Processor seconds of fitting in the runs: quartiles, and how noisy they are."""
    found = {}
    for key, number in measured.numbers.items():
        if key.submetric == "fit_cpu" and key.generator in ("markov", "plant-slow"):
            seconds = [draw for seed in number.values.values() for draw in seed.values()]
            low, middle, high = np.percentile(seconds, [25, 50, 75])
            found[key.generator] = {
                "n": len(seconds), "median": middle, "quartiles": [low, high],
            }  # fmt: skip
    return found


def render(found: dict[str, Any]) -> str:
    """The study's tables as Markdown."""
    titles = {plant.key: plant.what for plant in (*FEW, *PLANTS)}
    parts = ["# False alarms and missed regressions of `bench compare`\n"]
    parts.append(
        "\nMade by `benchmarks/aa_study/study.py`; shares with 95 % Wilson intervals. Base and "
        "head are real runs with disjoint seeds, drawn anew for each comparison.\n"
    )
    for name, part in found.items():
        plants = list(part["rates"][0]["caught"]) if part["rates"] else []
        parts.append(f"\n## {name}: commit {part['git'][:9]}, {part['machine']}\n\n")
        few = bool(part["rates"]) and "said" in part["rates"][0]
        heads = ["seeds a side", *(["draws", "numbers that can't be told"] if few else [])]
        heads += ["A/A with any regression"]
        heads += [f"caught{' + said' if few else ''}: {titles[plant]}" for plant in plants]
        heads += ["alarms beside a plant", "comparisons", "seeds to draw from"]
        parts.append("| " + " | ".join(heads) + " |\n" + "|--:" * len(heads) + "|\n")
        for rate in part["rates"]:
            beside = rate["alarms_of_other_generators"].values()
            cells = [str(rate["seeds_per_side"])]
            cells += [str(rate["draws"] or "all"), f"{rate['untold']:.0%}"] if few else []
            cells.append(share(rate["false_alarms"]))
            for plant in plants:
                also = f" + {100 * rate['said'][plant]['share']:.0f} %" if few else ""
                cells.append(share(rate["caught"][plant]) + also)
            cells.append(", ".join(share(item) for item in beside))
            cells += [str(rate["comparisons"]), str(rate["seeds"])]
            parts.append("| " + " | ".join(cells) + " |\n")
        for generator, seconds in part.get("cpu_seconds", {}).items():
            low, high = seconds["quartiles"]
            parts.append(
                f"\n{generator}: fit takes {seconds['median']:.3f} processor seconds "
                f"(quartiles {low:.3f}-{high:.3f}, {seconds['n']} runs)\n"
            )
        if part.get("simulated"):
            parts.append(
                "\nWhat noise of times a machine may have (simulated, one number, log-normal):\n\n"
                "| coefficient of variation | repeats a side | false alarms | 1.3 times caught |\n"
                "|--:|--:|--:|--:|\n"
            )
            parts += [
                f"| {row['noise']:.0%} | {row['repeats']} | {share(row['false_alarms'])} | "
                f"{share(row['caught'])} |\n"
                for row in part["simulated"]
            ]
    return "".join(parts)


def share(item: dict[str, Any]) -> str:
    """`1.5 % (0.5-4.3)`."""
    return f"{100 * item['share']:.1f} % ({100 * item['low']:.1f}-{100 * item['high']:.1f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["run", "analyse"])
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--few-seeds", type=int, default=30)
    parser.add_argument("--timing-seeds", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 5, 7, 10])
    parser.add_argument("--out", type=Path, default=Path("results"))
    given = parser.parse_args()
    if given.command == "run":
        run("suite.yaml", given.seeds, given.out)
        run("few.yaml", given.few_seeds, given.out)
        run("timing.yaml", given.timing_seeds, given.out)
    else:
        kept = HERE / "aa_study.json"
        earlier = json.loads(kept.read_text()) if kept.is_file() else {}
        results = analyse(given.out, given.repeats, given.sizes, earlier)
        kept.write_text(json.dumps(results, indent=1) + "\n")
        (HERE / "aa_study.md").write_text(render(results))
