"""Performance metrics: what fitting and sampling cost.

Descriptions of the performance metrics, light to import.
"""

from __future__ import annotations

from functools import partial

from haplobench import FigureSpec, MetricSpec, SubmetricSpec, hookimpl

_lower = partial(SubmetricSpec, direction="lower")
_higher = partial(SubmetricSpec, direction="higher")
_info = partial(SubmetricSpec, direction="info")

TIME = MetricSpec(
    name="time",
    version="1",
    target="haplobench_performance.cost:time",
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
            "time",
            "Time to fit and to sample",
            "Wall seconds (log scale), a point per seed: fitting against sampling.",
            "haplobench_performance.figures:draw_time",
        ),
    ),
    submetrics=(
        _lower("fit_wall", "Fit", "Wall seconds of fitting.", unit="s", headline=True),
        _lower(
            "fit_cpu",
            "Fit, processor",
            "Processor seconds of fitting, all threads and child processes together.",
            unit="s",
        ),
        _lower("sample_wall", "Sample", "Wall seconds of sampling the cohort.", unit="s"),
        _lower(
            "sample_cpu",
            "Sample, processor",
            "Processor seconds of sampling, all threads and child processes together.",
            unit="s",
        ),
    ),
)

THROUGHPUT = MetricSpec(
    name="throughput",
    version="1",
    target="haplobench_performance.cost:throughput",
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
            "throughput",
            "Sampling throughput",
            "Alleles sampled per wall second (log scale), a point per seed and draw; at the right, "
            "the median.",
            "haplobench_performance.figures:draw_throughput",
        ),
    ),
    submetrics=(
        _higher(
            "alleles_per_second",
            "Alleles per second",
            "Sampled haplotypes times sites over wall seconds of sampling.",
            unit="alleles/s",
            headline=True,
        ),
        _higher(
            "haplotypes_per_second",
            "Haplotypes per second",
            "Sampled haplotypes over wall seconds of sampling.",
            unit="haplotypes/s",
        ),
        _higher(
            "sequence_per_second",
            "Sequence per second",
            "Haplotypes times the region's length over wall seconds of sampling: millions of "
            "bases of haplotype sequence, variant or not.",
            unit="Mb/s",
        ),
        _higher(
            "alleles_per_cpu_second",
            "Alleles per processor second",
            "Sampled haplotypes times sites over processor seconds of sampling.",
            unit="alleles/s",
        ),
    ),
)

PEAK_MEMORY = MetricSpec(
    name="peak-memory",
    version="1",
    target="haplobench_performance.cost:peak_memory",
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
            "peak-memory",
            "Peak memory",
            "Peak resident memory of fitting and of sampling (filled), and the base before the "
            "generator was called (hollow); mean over seeds.",
            "haplobench_performance.figures:draw_peak_memory",
        ),
    ),
    submetrics=(
        _lower(
            "peak_rss",
            "Peak memory",
            "The larger of the peak resident sets of fitting and of sampling.",
            unit="bytes",
            headline=True,
        ),
        _lower(
            "fit_peak_rss",
            "Peak memory, fit",
            "Peak resident set of the process that fits.",
            unit="bytes",
        ),
        _lower(
            "sample_peak_rss",
            "Peak memory, sample",
            "Peak resident set of the process that samples.",
            unit="bytes",
        ),
        _lower(
            "fit_added_rss",
            "Memory added, fit",
            "Peak resident set of fitting above what was resident just before it.",
            unit="bytes",
        ),
        _lower(
            "sample_added_rss",
            "Memory added, sample",
            "Peak resident set of sampling above what was resident just before it.",
            unit="bytes",
        ),
        _lower(
            "peak_gpu_memory", "Peak GPU memory", "Peak memory allocated on the GPU.", unit="bytes"
        ),
    ),
)

RANKS = MetricSpec(
    name="ranks",
    version="1",
    target="haplobench_performance.cost:ranks",
    summary=(
        "Where the time of several ranks goes, how evenly work is shared out, and what they "
        "communicate; `bench scale` puts cells of different world sizes side by side."
    ),
    family="performance",
    input="telemetry",
    site_matched=False,
    phased=False,
    figures=(
        FigureSpec(
            "step-time",
            "Time of a training step",
            "Seconds of all training steps by part, a bar per rank (first seed).",
            "haplobench_performance.figures:draw_steps",
        ),
    ),
    submetrics=(
        _lower(
            "step_time",
            "Step",
            "Mean seconds of a training step, validation and checkpoints left out.",
            unit="s",
        ),
        _lower("epoch_time", "Epoch", "Mean seconds of an epoch's training steps.", unit="s"),
        _info(
            "step_share",
            "Share of a step",
            "Share of the steps' time in data, forward, backward, all-reduce (communication that "
            "was waited for) and optimiser.",
        ),
        _lower(
            "bytes_per_step",
            "Sent per step",
            "Bytes that a rank hands over to collectives while fitting, after compression, over "
            "training steps.",
            unit="bytes",
        ),
        _lower(
            "bytes_per_epoch",
            "Sent per epoch",
            "Bytes that a rank hands over to collectives while fitting, over epochs.",
            unit="bytes",
        ),
        _lower(
            "communication",
            "Communication",
            "Seconds of a rank's collectives while fitting, from the call to its end, those that "
            "overlap computing counted in full.",
            unit="s",
        ),
        _lower(
            "imbalance",
            "Imbalance",
            "Processor seconds of the busiest rank over the mean of all, less 1.",
        ),
        _lower(
            "peak_rss_of_rank",
            "Peak memory of a rank",
            "Peak resident set of the rank that has the largest.",
            unit="bytes",
        ),
        _higher(
            "gpu_utilisation",
            "GPU utilisation",
            "Share of the time in which a kernel ran on the GPU, by NVML every 0.2 s; mean over "
            "ranks.",
        ),
        _lower(
            "gpu_energy",
            "GPU energy",
            "Joules that the ranks' GPUs used, by NVML, all together.",
            unit="J",
        ),
    ),
)

SPECS = (TIME, THROUGHPUT, PEAK_MEMORY, RANKS)


@hookimpl
def haplobench_metrics() -> list[MetricSpec]:
    """All performance metrics, in the order of the report."""
    return list(SPECS)
