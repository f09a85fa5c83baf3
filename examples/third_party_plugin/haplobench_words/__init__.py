"""What there is: descriptions alone. Every `bench` command imports them, so nothing heavy here."""

from haplobench import GeneratorSpec, MetricSpec, SubmetricSpec, hookimpl

from haplobench_words.params import WordChainParams

WORD_CHAIN = GeneratorSpec(
    name="word-chain",
    version="1",
    target="haplobench_words.word_chain:WordChain",
    summary="A Markov chain of haplotype words, one word a window of sites.",
    params=WordChainParams,
)

INBREEDING = MetricSpec(
    name="inbreeding",
    version="1",
    target="haplobench_words.inbreeding:inbreeding",
    summary=(
        "How far the inbreeding coefficient of the cohort is from the held-out people's: whether "
        "two haplotypes make a person as two real ones do. 0 is perfect; compare with the floor."
    ),
    family="fidelity",
    submetrics=(
        SubmetricSpec(
            name="difference",
            title="Inbreeding F difference",
            definition="|F(synthetic) - F(held-out)|, F = 1 - sum of observed over sum of expected "
            "heterozygosity 2pq (Wright 1922).",
            direction="lower",
            ideal=0.0,
            min_effect=0.01,
            headline=True,
        ),
    ),
    site_matched=False,
    phased=False,
    citations=("Wright 1922, Am. Nat. 56:330-338",),
)


@hookimpl
def haplobench_generators() -> list[GeneratorSpec]:
    """Describe the generator."""
    return [WORD_CHAIN]


@hookimpl
def haplobench_metrics() -> list[MetricSpec]:
    """Describe the metric."""
    return [INBREEDING]
