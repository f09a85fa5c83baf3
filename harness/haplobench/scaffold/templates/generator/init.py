"""The generator $name: what it is."""

# Every `bench` command imports this module: import nothing heavy here.

from haplobench import GeneratorSpec, hookimpl


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """Describe the generator."""
    return [
        GeneratorSpec(
            name="$name",
            version="1",  # raise it whenever the same parameters give other haplotypes
            target="$module.generator:$title",
            summary="Independent sites: every allele drawn by its frequency, without LD.",
        )
    ]
