"""Description of the metric `ranks`, light to import."""

from __future__ import annotations

from haplobench import FigureSpec, MetricSpec, SubmetricSpec

RANKS = MetricSpec(
    name="ranks",
    version="1",
    target="haplobench_performance.ranks:Ranks",
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
            name="step-time",
            title="Time of a training step",
            caption="Seconds of all training steps by part, a bar per rank.",
            target="haplobench_performance.rank_figures:draw_steps",
        ),
    ),
    submetrics=(
        SubmetricSpec(
            name="step_time",
            title="Step",
            definition="Mean seconds of a training step, validation and checkpoints left out.",
            unit="s",
            direction="lower",
        ),
        SubmetricSpec(
            name="epoch_time",
            title="Epoch",
            definition="Mean seconds of an epoch's training steps.",
            unit="s",
            direction="lower",
        ),
        SubmetricSpec(
            name="step_share",
            title="Share of a step",
            definition=(
                "Share of the steps' time in data, forward, backward, all-reduce (communication "
                "that was waited for) and optimiser."
            ),
            direction="info",
        ),
        SubmetricSpec(
            name="bytes_per_step",
            title="Sent per step",
            definition=(
                "Bytes that a rank hands over to collectives while fitting, after compression, "
                "over training steps."
            ),
            unit="bytes",
            direction="lower",
        ),
        SubmetricSpec(
            name="bytes_per_epoch",
            title="Sent per epoch",
            definition="Bytes that a rank hands over to collectives while fitting, over epochs.",
            unit="bytes",
            direction="lower",
        ),
        SubmetricSpec(
            name="communication",
            title="Communication",
            definition=(
                "Seconds of a rank's collectives while fitting, from the call to its end, those "
                "that overlap computing counted in full."
            ),
            unit="s",
            direction="lower",
        ),
        SubmetricSpec(
            name="imbalance",
            title="Imbalance",
            definition="Processor seconds of the busiest rank over the mean of all, less 1.",
            direction="lower",
        ),
        SubmetricSpec(
            name="peak_rss_of_rank",
            title="Peak memory of a rank",
            definition="Peak resident set of the rank that has the largest.",
            unit="bytes",
            direction="lower",
        ),
        SubmetricSpec(
            name="gpu_utilisation",
            title="GPU utilisation",
            definition=(
                "Share of the time in which a kernel ran on the GPU, by NVML every 0.2 s; mean "
                "over ranks."
            ),
            direction="higher",
        ),
        SubmetricSpec(
            name="gpu_energy",
            title="GPU energy",
            definition="Joules that the ranks' GPUs used, by NVML, all together.",
            unit="J",
            direction="lower",
        ),
    ),
)
