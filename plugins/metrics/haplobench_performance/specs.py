"""Descriptions of the performance metrics, light to import."""

from __future__ import annotations

from haplobench import FigureSpec, MetricSpec, SubmetricSpec
from haplobench_performance.rank_specs import RANKS

TIME = MetricSpec(
    name="time",
    version="1",
    target="haplobench_performance.cost:Time",
    summary=(
        "Wall and processor seconds of fitting and of sampling, without starting Python or "
        "reading the panel. Compare on equal hardware only."
    ),
    family="performance",
    input="telemetry",
    site_matched=False,
    phased=False,
    figures=(
        FigureSpec(
            name="time",
            title="Time to fit and to sample",
            caption="Wall seconds (log scale), a point per seed: fitting against sampling.",
            target="haplobench_performance.figures:draw_time",
        ),
    ),
    submetrics=(
        SubmetricSpec(
            name="fit_wall",
            title="Fit",
            definition="Wall seconds of fitting.",
            unit="s",
            direction="lower",
            headline=True,
        ),
        SubmetricSpec(
            name="fit_cpu",
            title="Fit, processor",
            definition="Processor seconds of fitting, all threads and child processes together.",
            unit="s",
            direction="lower",
        ),
        SubmetricSpec(
            name="sample_wall",
            title="Sample",
            definition="Wall seconds of sampling the cohort.",
            unit="s",
            direction="lower",
        ),
        SubmetricSpec(
            name="sample_cpu",
            title="Sample, processor",
            definition="Processor seconds of sampling, all threads and child processes together.",
            unit="s",
            direction="lower",
        ),
    ),
)

THROUGHPUT = MetricSpec(
    name="throughput",
    version="1",
    target="haplobench_performance.cost:Throughput",
    summary=(
        "How fast a fitted generator samples. Alleles per second allow for the number of sites; "
        "it rises with the size of the cohort where sampling has fixed costs."
    ),
    family="performance",
    input="telemetry",
    site_matched=False,
    phased=False,
    figures=(
        FigureSpec(
            name="throughput",
            title="Sampling throughput",
            caption="Alleles sampled per wall second (log scale), a point per seed and draw.",
            target="haplobench_performance.figures:draw_throughput",
        ),
    ),
    submetrics=(
        SubmetricSpec(
            name="alleles_per_second",
            title="Alleles per second",
            definition="Sampled haplotypes times sites over wall seconds of sampling.",
            unit="alleles/s",
            direction="higher",
            headline=True,
        ),
        SubmetricSpec(
            name="haplotypes_per_second",
            title="Haplotypes per second",
            definition="Sampled haplotypes over wall seconds of sampling.",
            unit="haplotypes/s",
            direction="higher",
        ),
        SubmetricSpec(
            name="sequence_per_second",
            title="Sequence per second",
            definition=(
                "Haplotypes times the region's length over wall seconds of sampling: millions of "
                "bases of haplotype sequence, variant or not."
            ),
            unit="Mb/s",
            direction="higher",
        ),
        SubmetricSpec(
            name="alleles_per_cpu_second",
            title="Alleles per processor second",
            definition="Sampled haplotypes times sites over processor seconds of sampling.",
            unit="alleles/s",
            direction="higher",
        ),
    ),
)

PEAK_MEMORY = MetricSpec(
    name="peak-memory",
    version="1",
    target="haplobench_performance.cost:PeakMemory",
    summary=(
        "Largest resident memory while fitting and while sampling. The base holds the "
        "interpreter, libraries and the panel; what a generator adds stands above it."
    ),
    family="performance",
    input="telemetry",
    site_matched=False,
    phased=False,
    figures=(
        FigureSpec(
            name="peak-memory",
            title="Peak memory",
            caption=(
                "Peak resident memory of fitting and of sampling (filled), and the base before "
                "the generator was called (hollow); mean over seeds."
            ),
            target="haplobench_performance.figures:draw_peak_memory",
        ),
    ),
    submetrics=(
        SubmetricSpec(
            name="peak_rss",
            title="Peak memory",
            definition="The larger of the peak resident sets of fitting and of sampling.",
            unit="bytes",
            direction="lower",
            headline=True,
        ),
        SubmetricSpec(
            name="fit_peak_rss",
            title="Peak memory, fit",
            definition="Peak resident set of the process that fits.",
            unit="bytes",
            direction="lower",
        ),
        SubmetricSpec(
            name="sample_peak_rss",
            title="Peak memory, sample",
            definition="Peak resident set of the process that samples.",
            unit="bytes",
            direction="lower",
        ),
        SubmetricSpec(
            name="fit_added_rss",
            title="Memory added, fit",
            definition="Peak resident set of fitting above what was resident just before it.",
            unit="bytes",
            direction="lower",
        ),
        SubmetricSpec(
            name="sample_added_rss",
            title="Memory added, sample",
            definition="Peak resident set of sampling above what was resident just before it.",
            unit="bytes",
            direction="lower",
        ),
        SubmetricSpec(
            name="peak_gpu_memory",
            title="Peak GPU memory",
            definition="Peak memory allocated on the GPU.",
            unit="bytes",
            direction="lower",
        ),
    ),
)

SPECS = (TIME, THROUGHPUT, PEAK_MEMORY, RANKS)
