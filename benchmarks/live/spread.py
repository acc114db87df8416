"""Two percentiles of many times."""

from __future__ import annotations

from statistics import median, quantiles


def spread(values: list[float]) -> dict[str, float]:
    """p50 and p95, rounded to two decimals."""
    high = quantiles(values, n=20)[-1] if len(values) > 1 else values[0]
    return {"p50_ms": round(median(values), 2), "p95_ms": round(high, 2)}
