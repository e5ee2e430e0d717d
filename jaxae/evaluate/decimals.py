"""Decimals of figures that stand side by side in a row of a table."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxae.runs import format_figure

_MOST = 6  # decimals
_AT_MOST_ONE = ("accuracy", "precision", "recall", "ssim", "r_squared")
_COUNTS = ("parameters", "epochs", "active_units", "codes_used")


def format_row(known: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """Returns figures of one kind as text with equally many decimals, or a dash if one is missing.

    Four significant digits of the largest are shown, or more if the smallest would have less than
    two. Means ± standard deviations over replicas have two significant digits of the smallest
    deviation. Numbers that are at most 1 always have four decimals, and counts none.
    """
    finite = [name for name in names if math.isfinite(known.get(name, math.nan))]
    decimals = _decimals(known, finite)
    return tuple(
        "-"
        if name not in known
        else _format(known[name], known.get(f"{name}_std"), decimals)
        if name in finite
        else format_figure(known, name)
        for name in names
    )


def _decimals(known: Mapping[str, Any], names: Sequence[str]) -> int:
    """Returns the number of decimals of finite figures."""
    deviations = [known.get(f"{name}_std", 0) for name in names]
    deviations = [each for each in deviations if math.isfinite(each) and each > 0]
    if deviations:
        return _bounded(1 - _magnitude(min(deviations)))
    if any(name.endswith(_COUNTS) for name in names) and all(
        float(known[name]).is_integer() for name in names
    ):
        return 0
    if any(name.endswith(_AT_MOST_ONE) for name in names):
        return 4
    magnitudes = [_magnitude(known[name]) for name in names if known[name]]
    if not magnitudes:
        return 0
    return _bounded(max(3 - max(magnitudes), 1 - min(magnitudes)))


def _magnitude(value: float) -> int:
    """Returns the place of the first digit: 0 for 1 to 9, and -1 for tenths."""
    return math.floor(math.log10(abs(value)))


def _bounded(decimals: int) -> int:
    return min(max(decimals, 0), _MOST)


def _format(value: float, deviation: float | None, decimals: int) -> str:
    """Returns a figure as text, with its deviation if it has one."""
    comma = "," if abs(value) >= 10_000 else ""
    text = f"{value:{comma}.{decimals}f}"
    return text if deviation is None else f"{text} ± {deviation:.{decimals}f}"
