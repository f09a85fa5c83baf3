"""What allele and LD metrics say beside a number: what it rests on, or why there is none."""

from __future__ import annotations

from collections.abc import Iterable

from haplobench import Measurement, MetricResult


def not_applicable(submetrics: Iterable[str], note: str) -> MetricResult:
    """A result without values: every submetric not applicable for one reason."""
    return MetricResult({name: Measurement(None, note=note) for name in submetrics})


def basis(n_synthetic: int, n_real: int, *details: str) -> str:
    """A note: haplotypes on each side, then further details."""
    sides = f"{n_synthetic:,} synthetic against {n_real:,} held-out haplotypes"
    return "; ".join([sides, *(detail for detail in details if detail)])


def measured(value: float | None, n: int, note: str, why_not: str) -> Measurement:
    """A measurement, or one that is not applicable for the reason `why_not`."""
    if value is None:
        return Measurement(None, n=n, note=why_not)
    return Measurement(float(value), n=n, note=note)
