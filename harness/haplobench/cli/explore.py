"""`bench explore`: encode people, walk between two of them, change one latent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from haplobench.cli.generate import (
    DatasetOption,
    GeneratorOption,
    OutOption,
    RunArgument,
    SeedOption,
)
from haplobench.cli.output import echo


def explore(
    run: RunArgument,
    to: Annotated[Path, typer.Option("--to", help="Folder for haplotypes, latents and plot.")],
    first: Annotated[str, typer.Option("--from", help="A person: where the way begins.")],
    second: Annotated[
        str, typer.Option("--until", help="Another: where it ends. Or give --latent.")
    ] = "",
    latent: Annotated[
        int | None, typer.Option("--latent", min=0, help="Change this latent, from end to end.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=2, help="Points on the way.")] = 9,
    generator: GeneratorOption = "",
    dataset: DatasetOption = "",
    seed: SeedOption = None,
    format_: Annotated[
        str, typer.Option("--format", help="Of the haplotypes: vcf.gz, bcf, vcz, pgen …")
    ] = "vcf.gz",
    device: Annotated[str, typer.Option("--device", help="cpu or cuda:N.")] = "cpu",
    out: OutOption = Path("results"),
) -> None:
    """Look into a fitted generator's latent space: a way between two people, or one latent's."""
    from haplobench.errors import BenchError
    from haplobench.registry import load_registry
    from haplobench.results.run_folder import resolve_run
    from haplobench.runner.exploring import Question, write_explored
    from haplobench.runner.exploring import explore as ask
    from haplobench.runner.models import find_model

    if bool(second) == (latent is not None):
        raise BenchError("expected either --until PERSON or --latent NUMBER")
    folder = resolve_run(run, out)
    noted = find_model(folder, generator=generator, dataset=dataset, seed=seed)
    people = (first, second) if second else (first,)
    question = Question(people, steps, latent, device)
    found = ask(folder, noted, load_registry(), question)
    for path in write_explored(found, to, f".{format_.lstrip('.')}"):
        echo(str(path))
