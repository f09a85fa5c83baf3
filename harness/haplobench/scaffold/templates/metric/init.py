"""The metric $name: what it is."""

# Every `bench` command imports this module: import nothing heavy here.

from haplobench import MetricSpec, SubmetricSpec, hookimpl


@hookimpl
def haplobench_metrics() -> list[MetricSpec]:
    """Describe the metric."""
    return [
        MetricSpec(
            name="$name",
            version="1",  # raise it whenever the same haplotypes give other values
            target="$module.metric:$title",
            summary="How far mean allele frequencies are from the held-out people's. "
            "0 is perfect; compare with the floor.",
            family="fidelity",
            submetrics=(
                SubmetricSpec(
                    name="difference",
                    title="Mean AF difference",
                    definition="Mean over sites of |synthetic - held-out allele frequency|.",
                    direction="lower",
                    ideal=0.0,
                    min_effect=0.005,
                    headline=True,
                ),
            ),
        )
    ]
