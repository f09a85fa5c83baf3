"""Time, throughput and memory from telemetry."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import haplobench_performance as specs
from haplobench import CohortSeries, MetricSpec, Params, PluginError, Telemetry
from haplobench.registry import resolve
from haplobench.report.style import FigureStyle

CELL = Telemetry(
    fit_wall=12.0,
    fit_cpu=20.0,
    sample_wall=0.5,
    sample_cpu=0.25,
    fit_peak_rss=900,
    sample_peak_rss=700,
    fit_base_rss=400,
    sample_base_rss=800,
    n_haplotypes=1000,
    n_sites=742,
    span=140_000,
    fit_ranks=[
        {
            "rank": rank,
            "wall": 12.0,
            "cpu": 8.0 + 4 * rank,
            "peak_rss": 400 + 100 * rank,
            "peak_gpu_memory": None,
            "communication": {
                "calls": 30,
                "bytes": 6000,
                "seconds": 1.5,
                "operations": {},
                "steps": {
                    "steps": 20.0,
                    "epochs": 4.0,
                    "data": 1.0,
                    "forward": 3.0,
                    "backward": 4.0,
                    "all_reduce": 1.0 + rank,
                    "optimiser": 0.5,
                },
            },
        }
        for rank in range(2)
    ],
)


def measure(spec: MetricSpec, telemetry: Telemetry) -> Any:
    return resolve(spec.target)(None, telemetry, Params(), None)


def values(spec: MetricSpec, telemetry: Telemetry) -> dict[str, float | None]:
    return {name: one.value for name, one in measure(spec, telemetry).measurements.items()}


def test_time_is_passed_on() -> None:
    assert values(specs.TIME, CELL) == {
        "fit_wall": 12.0,
        "fit_cpu": 20.0,
        "sample_wall": 0.5,
        "sample_cpu": 0.25,
    }


def test_rates() -> None:
    assert values(specs.THROUGHPUT, CELL) == {
        "alleles_per_second": 1_484_000.0,
        "haplotypes_per_second": 2000.0,
        "sequence_per_second": 280.0,
        "alleles_per_cpu_second": 2_968_000.0,
    }


def test_a_rate_over_no_time_is_not_applicable() -> None:
    instant = replace(CELL, sample_wall=0.0, sample_cpu=0.0)
    found = measure(specs.THROUGHPUT, instant)
    assert all(one.value is None for one in found.measurements.values())
    assert all("clock" in one.note for one in found.measurements.values())
    assert found.series["rate"]["alleles_per_second"].size == 0
    nothing = measure(specs.THROUGHPUT, replace(CELL, n_haplotypes=0))
    assert nothing.measurements["alleles_per_second"].note == "nothing was sampled"


def test_memory_whole_and_above_the_base() -> None:
    found = values(specs.PEAK_MEMORY, CELL)
    assert found == {
        "peak_rss": 900.0,
        "fit_peak_rss": 900.0,
        "sample_peak_rss": 700.0,
        "fit_added_rss": 500.0,
        "sample_added_rss": 0.0,
        "peak_gpu_memory": None,
    }
    assert values(specs.PEAK_MEMORY, replace(CELL, peak_gpu_memory=5))["peak_gpu_memory"] == 5.0


@pytest.mark.parametrize(("name", "value"), [("fit_wall", -1.0), ("sample_cpu", math.nan)])
def test_impossible_telemetry_is_refused(name: str, value: float) -> None:
    with pytest.raises(PluginError, match=name):
        measure(specs.TIME, replace(CELL, **{name: value}))


@pytest.mark.parametrize("spec", specs.SPECS, ids=lambda spec: str(spec.name))
def test_figures_show_every_generator(spec: MetricSpec) -> None:
    vl_convert = pytest.importorskip("vl_convert")
    labels = tuple(f"generator-{i}" for i in range(14))
    rng = np.random.default_rng(0)
    cohorts = [
        CohortSeries(
            label,
            "generator",
            seed,
            0,
            measure(
                spec,
                replace(CELL, sample_wall=float(10 ** rng.uniform(-3, 2)), fit_wall=0.0),
            ).series,
        )
        for label in labels
        for seed in range(3)
    ]
    for figure in spec.figures:
        draw = resolve(figure.target)
        svg = vl_convert.vegalite_to_svg(draw(cohorts, FigureStyle(order=labels)).to_dict())
        assert len(svg) < 100_000
        assert all(label in svg for label in labels)
        assert draw([], FigureStyle(order=labels)) is None


def test_a_generator_without_a_rate_leaves_the_others_drawn() -> None:
    instant = measure(specs.THROUGHPUT, replace(CELL, sample_wall=0.0)).series
    usual = measure(specs.THROUGHPUT, CELL).series
    draw = resolve(specs.THROUGHPUT.figures[0].target)
    style = FigureStyle(order=("a", "b"))
    assert draw([CohortSeries("a", "generator", 0, 0, instant)], style) is None
    chart = draw(
        [CohortSeries(n, "generator", 0, 0, s) for n, s in (("a", instant), ("b", usual))], style
    )
    assert "'b'" in str(chart.to_dict())


def labelled(telemetry: Telemetry, name: str) -> dict[str, Any]:
    return {
        next(iter(one.labels.values())): one
        for one in measure(specs.RANKS, telemetry).measurements[name]
    }


def test_ranks_share_their_steps_out() -> None:
    found = measure(specs.RANKS, CELL).measurements
    # 9.5 and 10.5 seconds of twenty steps, four epochs.
    assert found["step_time"].value == pytest.approx(10.0 / 20)
    assert found["epoch_time"].value == pytest.approx(10.0 / 4)
    shares = labelled(CELL, "step_share")
    assert sum(one.value for one in shares.values()) == pytest.approx(1.0)
    assert shares["all-reduce"].value == pytest.approx(0.15)
    assert found["bytes_per_step"].value == 300.0
    assert found["bytes_per_epoch"].value == 1500.0
    assert found["communication"].value == 1.5
    assert labelled(CELL, "imbalance")["fit"].value == pytest.approx(0.2)
    assert labelled(CELL, "peak_rss_of_rank")["fit"].value == 500.0


def test_what_ranks_do_not_have_is_not_applicable() -> None:
    one = {**CELL.fit_ranks[0], "communication": {"bytes": 0, "seconds": 0.0, "steps": {}}}
    alone = replace(CELL, fit_ranks=[one])
    found = measure(specs.RANKS, alone).measurements
    for name in ("step_time", "epoch_time", "bytes_per_step", "communication"):
        assert found[name].value is None
        assert found[name].note
    assert labelled(alone, "imbalance")["fit"].note == "one rank"
    assert labelled(alone, "gpu_utilisation")["fit"].note == "no GPU"
    assert measure(specs.RANKS, alone).series == {}


def test_gpus_of_ranks_are_put_together() -> None:
    ranks = [
        {**rank, "gpu_utilisation": share, "gpu_energy": 100.0, "gpu_note": ""}
        for rank, share in zip(CELL.fit_ranks, (0.8, 1.0), strict=True)
    ]
    with_gpus = replace(CELL, fit_ranks=ranks)
    assert labelled(with_gpus, "gpu_utilisation")["fit"].value == pytest.approx(0.9)
    assert labelled(with_gpus, "gpu_energy")["fit"].value == 200.0
    assert labelled(with_gpus, "gpu_energy")["sample"].value is None
