"""`bench generate`: a cohort of any size from a fitted generator, streamed to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from haplobench.cli.output import RUNS, RunArgument, RunsOption, echo, make_console
from haplobench.errors import BenchError

GeneratorOption = Annotated[
    str, typer.Option("--generator", "-g", help="Take the generator of this label.")
]
DatasetOption = Annotated[
    str, typer.Option("--dataset", "-d", help="Take the dataset of this label.")
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", min=0, help="Take the fit of this seed (default: the lowest)."),
]


def generate(
    run: RunArgument,
    haplotypes: Annotated[
        int, typer.Option("--haplotypes", "-n", min=1, help="Sample so many haplotypes.")
    ],
    to: Annotated[
        Path, typer.Option("--to", help="Write this file: .vcz, .bcf, .vcf.gz or .pgen.")
    ],
    generator: GeneratorOption = "",
    dataset: DatasetOption = "",
    seed: SeedOption = None,
    population: Annotated[
        list[str] | None,
        typer.Option(
            "--population",
            help="Sample only this (super)population (repeatable; conditional generators).",
        ),
    ] = None,
    sampling_seed: Annotated[
        int, typer.Option("--sampling-seed", help="Seed the draws with this number.")
    ] = 1,
    start: Annotated[
        int, typer.Option("--start", min=0, help="Go on from this haplotype of the same draws.")
    ] = 0,
    batch: Annotated[
        int, typer.Option("--batch", min=1, help="Hold so many haplotypes in memory at once.")
    ] = 1024,
    device: Annotated[
        str, typer.Option("--device", help="Compute on this device: cpu or cuda:N.")
    ] = "cpu",
    part: Annotated[
        str,
        typer.Option(
            "--part",
            help="Write this part of how many, such as 3/8; the last to end makes the file.",
        ),
    ] = "1/1",
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Share the work among so many processes.")
    ] = 1,
    programs: Annotated[
        bool,
        typer.Option(
            "--run-programs",
            help="Run the command lines that a model of `command` holds; do so only for runs "
            "that you trust.",
        ),
    ] = False,
    out: RunsOption = RUNS,
) -> None:
    """Sample a fitted generator of a run into a file, in memory that doesn't grow with it.

    After a kill, the same command goes on where it stopped.
    """
    import time

    from haplobench.data.formats.streaming import Part
    from haplobench.fitted.generate import Order, write_cohort
    from haplobench.fitted.models import find_model
    from haplobench.registry import load_registry
    from haplobench.results.run_folder import resolve_run

    folder = resolve_run(run, out)
    noted = find_model(folder, generator=generator, dataset=dataset, seed=seed)
    order = Order(
        haplotypes=haplotypes,
        start=start,
        seed=sampling_seed,
        populations=tuple(population or ()),
        batch_size=batch,
        device=device,
    )
    began = time.perf_counter()
    with make_console(stderr=True).status(f"{noted.text}: loading") as status:
        made = write_cohort(
            folder,
            noted,
            load_registry(),
            order,
            to,
            status.update,
            part=Part.parse(part),
            jobs=jobs,
            programs=programs,
        )
    took = time.perf_counter() - began
    if made.waits:
        echo(
            f"{to}: part {part} is there after {took:.1f} s; other parts have yet to write "
            f"{made.waits:.0%}, and whichever comes last makes the file"
        )
        return
    echo(
        f"{to}: {made.n_haplotypes:,} haplotypes at {made.n_sites:,} sites of {noted.text} "
        f"in {took:.1f} s ({made.n_haplotypes * made.n_sites / took / 1e6:.1f} M alleles/s)"
    )


def explore(
    run: RunArgument,
    to: Annotated[
        Path, typer.Option("--to", help="Write haplotypes, latents and plot into this folder.")
    ],
    first: Annotated[str, typer.Option("--from", help="Begin the path at this person.")],
    second: Annotated[
        str, typer.Option("--until", help="End the path at this person, or else give --latent.")
    ] = "",
    latent: Annotated[
        int | None, typer.Option("--latent", min=0, help="Change this latent, from end to end.")
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", min=2, help="Take so many points on the path.")
    ] = 9,
    generator: GeneratorOption = "",
    dataset: DatasetOption = "",
    seed: SeedOption = None,
    format_: Annotated[
        str,
        typer.Option("--format", help="Write haplotypes in this format: vcf.gz, bcf, vcz, pgen …."),
    ] = "vcf.gz",
    device: Annotated[
        str, typer.Option("--device", help="Compute on this device: cpu or cuda:N.")
    ] = "cpu",
    out: RunsOption = RUNS,
) -> None:
    """Look into a fitted generator's latent space: a path between two people, or one latent's."""
    from haplobench.fitted.explore import Question, write_explored
    from haplobench.fitted.explore import explore as ask
    from haplobench.fitted.models import find_model
    from haplobench.registry import load_registry
    from haplobench.results.run_folder import resolve_run

    if bool(second) == (latent is not None):
        raise BenchError("expected either --until PERSON or --latent NUMBER")
    folder = resolve_run(run, out)
    noted = find_model(folder, generator=generator, dataset=dataset, seed=seed)
    people = (first, second) if second else (first,)
    question = Question(people, steps, latent, device)
    found = ask(folder, noted, load_registry(), question)
    for path in write_explored(found, to, f".{format_.lstrip('.')}"):
        echo(str(path))
