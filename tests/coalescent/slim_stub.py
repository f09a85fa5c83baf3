"""Plays SLiM's part as far as stdpopsim asks, quickly: its trees are msprime's.

Called as `slim [-s SEED] SCRIPT` or `slim -v`. Populations of 100 people split from the first one
150 generations ago. The script, the seed and the trees stay beside the program, for a test.
"""

import json
import re
import sys
from pathlib import Path

import msprime
import pyslim

HERE = Path(sys.argv[0]).parent
PEOPLE, SPLIT, TICKS = 100, 150, 100_000


def main() -> None:
    if sys.argv[1:] == ["-v"]:
        print("SLiM version 4.3, built Nov  4 2024 11:28:01.")
        return
    script = Path(sys.argv[-1]).read_text()
    seed = int(sys.argv[sys.argv.index("-s") + 1])
    (HERE / "asked.json").write_text(json.dumps({"script": script, "seed": seed}))
    target, names, episodes, ends = (
        re.search(pattern, script, re.DOTALL)[1]
        for pattern in (
            r'"trees_file", "(.*?)"',
            r'"pop_names", c\((.*?)\)',
            r'"sampling_episodes", array\(c\(\s*// pop, n_inds, time\s*(.*?)\s*\), c\(3',
            r"_recombination_ends = c\((.*?)\)",
        )
    )
    people = {int(pop): int(n) for pop, n, _ in re.findall(r"c\((\d+), (\d+), (\d+)\)", episodes)}
    demography = msprime.Demography()
    for name in json.loads(f"[{names}]"):
        demography.add_population(name=name, initial_size=PEOPLE)
    for pop in range(1, demography.num_populations):
        demography.add_mass_migration(time=SPLIT, source=pop, dest=0, proportion=1)
    trees = msprime.sim_ancestry(
        people,
        demography=demography,
        sequence_length=int(ends.split(",")[-1]) + 1,
        recombination_rate=1e-6,
        random_seed=seed,
    )
    tables = pyslim.annotate(trees, model_type="WF", tick=TICKS).dump_tables()
    tables.time_units = "generations"
    remembered = tables.individuals.flags | pyslim.INDIVIDUAL_REMEMBERED
    tables.individuals.flags = remembered.astype("uint32")
    populations = list(tables.populations)
    tables.populations.clear()
    for row, population in zip(populations, demography.populations, strict=True):
        tables.populations.append(row.replace(metadata=row.metadata | {"name": population.name}))
    for file in (target, HERE / "slim.trees"):
        tables.dump(file)


main()
