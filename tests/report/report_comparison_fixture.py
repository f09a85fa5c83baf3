"""A comparison with a row of every kind."""

from __future__ import annotations

from haplobench.compare.model import Comparison, Row, Side

HOSTILE = "<script>alert('x')</script> & \"quoted\""


def build_comparison(hostile: bool = False, copies: int = 1) -> Comparison:
    """All statuses, gated and not; `copies` multiplies the unchanged rows by labels."""
    name = HOSTILE if hostile else "main"
    base = Side(name, "results/baselines/demo.jsonl", "demo", "r1", "a" * 40, seeds=(1, 2, 3))
    head = Side("work", "results/demo/r2", "demo", "r2", "b" * 40, True, seeds=(1, 2, 3))
    common = {"dataset": "chr1", "metric": "ld-decay", "family": "fidelity", "headline": True}
    rows = [
        Row(generator="chain", status="regressed", submetric="rmse", title="LD decay RMSE",
            direction="lower", ideal=0.0, base=0.003, head=0.009, base_n=3, head_n=3,
            difference=0.006, relative=2.0, low=0.005, high=0.007, p_value=1e-5, q_value=1e-4,
            n_pairs=3, test="paired", min_effect=0.001, gated=True, **common),
        Row(generator="network", status="improved", submetric="corr", title="LD r in window",
            direction="higher", ideal=1.0, base=0.90, head=0.96, difference=0.06, relative=0.067,
            low=0.04, high=0.08, p_value=0.001, q_value=0.004, min_effect=0.01, gated=True,
            **common),
        Row(generator="slowpoke", status="failed", gated=True, role="generator", dataset="chr1",
            reason="ValueError: shapes differ", title="slowpoke"),
        Row(generator="gone", status="missing", dataset="chr1", reason="not in head"),
        Row(generator="fresh", status="new", dataset="chr1", reason=HOSTILE if hostile else ""),
        Row(generator="chain", status="incomparable", dataset="chr2", metric="time",
            family="performance", submetric="fit", title="Fit", unit="s", direction="lower",
            base=4.0, head=5.0, reason="other hardware", relative_threshold=True, min_effect=0.15,
            headline=True),
        Row(generator="network", status="regressed", dataset="chr2", metric="time",
            family="performance", submetric="fit", title="Fit", unit="s", direction="lower",
            base=4.0, head=5.2, difference=1.2, relative=0.3, low=0.9, high=1.5, p_value=0.001,
            relative_threshold=True, min_effect=0.15, headline=True, test="ranks"),
    ]  # fmt: skip
    rows.append(
        Row(generator="network", status="can't tell", dataset="chr1", metric="ld-matrix",
            family="fidelity", submetric="r", title="LD r across borders", direction="higher",
            base=0.9, head=0.88, difference=-0.02, low=-0.2, high=0.16, p_value=0.4, q_value=1.0,
            detectable=0.4, min_effect=0.01, gated=True, headline=True, test="borrowed")
    )  # fmt: skip
    rows += [
        Row(dataset="chr1", generator="chain", status="unchanged", metric="frequency",
            family="fidelity", submetric="r", title=f"AF r ({i})", direction="higher", base=0.99,
            head=0.99, difference=0.0, relative=0.0, low=-0.001, high=0.001, p_value=0.9,
            q_value=1.0, min_effect=0.01, gated=True, labels={"bin": str(i)} if i else {})
        for i in range(copies)
    ]  # fmt: skip
    return Comparison(base, head, tuple(rows), correction="Benjamini-Hochberg over 3 numbers",
                      warnings=("head ran with uncommitted changes",))  # fmt: skip
