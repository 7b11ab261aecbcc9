"""Arithmetic of results, without clock or process."""

import math
from statistics import median, quantiles

__all__ = ["formatted", "median", "percentile", "ratio"]


def ratio(value: float | None, base: float | None) -> float | None:
    """How many times `base` a value is; None where either is missing or the base is 0."""
    return value / base if value is not None and base else None


def percentile(values: list[float], percent: int) -> float:
    """The value that `percent` of all do not exceed; ValueError for none."""
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def formatted(value: float | None, digits: int) -> str:
    """A figure for people; a dash for one that is missing or endless."""
    return "-" if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"
