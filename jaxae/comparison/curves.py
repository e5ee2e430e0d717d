"""Figures over epochs, of all rows of a comparison: means and deviations over seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxae import runs
from jaxae.comparison.rows import Comparison

_USUAL = ("test_loss", "validation_loss", "train_loss", "test_mse")


@dataclass(frozen=True)
class Curve:
    """A row's figure at the E epochs where all its seeds that have any have one that is finite."""

    epochs: np.ndarray  # int [E], ascending
    means: np.ndarray  # float [E]
    deviations: np.ndarray | None  # float [E]; None of one seed


@dataclass(frozen=True)
class Curves:
    """A figure over epochs."""

    figure: str
    by_row: tuple[Curve, ...]  # one for each row of the comparison


def read_curves(comparison: Comparison) -> tuple[Curves, ...]:
    """Reads the losses, the MSE, and the comparison's figures over epochs, as far as recorded.

    Raises `UserError` if a run's metrics.jsonl is invalid.
    """
    records = [
        [(run.seeds[0], runs.read_records(run.folder)) for run in row.runs]
        for row in comparison.rows
    ]
    names = dict.fromkeys((*_USUAL, *comparison.figures))
    found = [
        Curves(name, tuple(_join(by_seed, name) for by_seed in records))
        for name in names
        if name not in ("epoch", "seconds")
    ]
    return tuple(each for each in found if any(curve.epochs.size for curve in each.by_row))


def _join(records: Sequence[tuple[int, Sequence[Mapping[str, Any]]]], figure: str) -> Curve:
    """Returns the curve of runs, each with its first seed; of equal seeds, the last run's."""
    by_seed: dict[int, dict[int, float]] = {}
    for seed, lines in records:
        tested = [line for line in lines if figure in line]
        epochs = [line["epoch"] for line in tested]
        for replica, values in enumerate(runs.curve(tested, figure) if tested else ()):
            by_seed[seed + replica] = dict(zip(epochs, map(float, values), strict=True))
    epochs = sorted(set().union(*by_seed.values()))
    table = np.full((max(1, len(by_seed)), len(epochs)), math.nan)
    for place, values in enumerate(by_seed.values()):
        table[place] = [values.get(epoch, math.nan) for epoch in epochs]
    kept = np.isfinite(table).all(axis=0)
    table = table[:, kept]
    return Curve(
        np.array(epochs, int)[kept],
        table.mean(axis=0),
        table.std(axis=0, ddof=1) if len(table) > 1 else None,
    )
