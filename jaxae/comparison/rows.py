"""The rows of a comparison: runs that differ only in their seeds, and which of them are best."""

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxae import runs
from jaxae.comparison.listing import Listed
from jaxae.errors import UserError

DIRECTIONS = {
    "train_loss": -1,
    "validation_loss": -1,
    "test_loss": -1,
    "test_mse": -1,
    "test_psnr": 1,
    "test_ssim": 1,
    "test_r_squared": 1,
    "negative_log_likelihood": -1,
    "linear_probe_accuracy": 1,
    "neighbour_accuracy": 1,
    "fid": -1,
    "mixture_fid": -1,
    "reconstruction_fid": -1,
    "kid": -1,
    "recall": 1,
    "inception_score": 1,
}
"""The figures whose best value is marked: 1 if larger is better, -1 if smaller is."""

# Options whose values say which option it is.
_CLEAR = ("experiment", "dataset", "objective")

_WHOLE = ("parameters", "epoch")


@dataclass(frozen=True)
class Row:
    """Runs that differ only in their seeds."""

    runs: tuple[Listed, ...]
    options: Mapping[str, str]  # all that tell it apart from other rows, as text
    values: Mapping[str, Mapping[int, float]]  # each figure by seed; finite or not
    compared_with: tuple[Any, ...]

    @property
    def name(self) -> str:
        """The folder of the first run, and how many more there are."""
        return _name([run.folder.as_posix() for run in self.runs])

    @property
    def seed_count(self) -> int:
        """The number of seeds that have any figure."""
        return max(map(len, self.values.values()), default=0)

    def values_of(self, figure: str) -> list[float]:
        """Returns a figure's values over seeds; none if it was not measured."""
        return list(self.values.get(figure, {}).values())

    def mean(self, figure: str) -> float:
        """Returns a figure's mean over seeds; NaN if it was not measured, or is not finite."""
        values = self.values_of(figure)
        return statistics.fmean(values) if values and _all_finite(values) else math.nan

    def deviation(self, figure: str) -> float:
        """Returns a figure's sample standard deviation over seeds.

        NaN for fewer than two seeds, or if a value is not finite.
        """
        values = self.values_of(figure)
        return statistics.stdev(values) if len(values) > 1 and _all_finite(values) else math.nan

    def text(self, figure: str) -> str:
        """Returns a figure as a number, or as mean ± std over seeds; a dash if there is none.

        It says how many seeds have it if some have not.
        """
        values = self.values_of(figure)
        if not values:
            return "-"
        if figure in _WHOLE and len(set(values)) == 1:
            return f"{values[0]:,.0f}"
        spread = {figure: self.mean(figure), f"{figure}_std": self.deviation(figure)}
        some = f" ({len(values)} of {self.seed_count})" if len(values) < self.seed_count else ""
        return f"{runs.format_figure(spread, figure)}{some}"


@dataclass(frozen=True)
class Comparison:
    """Rows of runs, and the columns that a table of them has."""

    rows: tuple[Row, ...]
    options: tuple[str, ...]  # those that differ between rows
    figures: tuple[str, ...]
    shared: Mapping[str, str]  # the options that have one value
    left_out: tuple[str, ...] = ()  # why runs are left out
    probabilities: Mapping[int, float] | None = None  # of equality with the best, by row
    tested: str | None = None  # the figure that they are about

    @property
    def labels(self) -> list[str]:
        """A short name of each row: its options, with its folder where they are not enough."""
        texts = [describe_options(row.options) for row in self.rows]
        return [
            text if text and texts.count(text) == 1 else ", ".join(filter(None, [text, name]))
            for text, name in zip(texts, self.names, strict=True)
        ]

    @cached_property
    def names(self) -> list[str]:
        """The name of each row, with the part of its folder below the one that all runs share."""
        return [_name([self.place_of(run) for run in row.runs]) for row in self.rows]

    def place_of(self, run: Listed) -> str:
        """Returns a run's folder below the one that all runs share, or all of it if none is."""
        below = run.folder.is_relative_to(self.folder)
        return (run.folder.relative_to(self.folder) if below else run.folder).as_posix()

    @cached_property
    def folder(self) -> Path:
        """The folder that all runs are below; the current one if there is no other."""
        parents = [run.folder.parent for row in self.rows for run in row.runs]
        if len({parent.is_absolute() for parent in parents}) > 1:
            return Path()
        return Path(os.path.commonpath(parents))

    def best(self, figure: str) -> set[int]:
        """Returns the rows with the best mean of a figure, of each group that compares."""
        found: set[int] = set()
        for group in self.groups(figure):
            means = {n: DIRECTIONS[figure] * self.rows[n].mean(figure) for n in group}
            best = max(filter(math.isfinite, means.values()))
            found |= {n for n, mean in means.items() if mean == best}
        return found

    def groups(self, figure: str) -> list[list[int]]:
        """Returns groups of rows whose means of a figure compare, two or more of them finite.

        Losses compare between runs of one objective with the same weights, likelihood and dataset;
        other figures if all runs that have them are of one dataset. A figure without a better side
        has no groups.
        """
        if figure not in DIRECTIONS:
            return []
        groups: dict[Any, list[int]] = {}
        for number, row in enumerate(self.rows):
            if figure in row.values:
                key = row.compared_with if is_loss(figure) else row.compared_with[0]
                groups.setdefault(key, []).append(number)
        if len(groups) > 1 and not is_loss(figure):
            return []
        finite = {n for n, row in enumerate(self.rows) if math.isfinite(row.mean(figure))}
        return [group for group in groups.values() if len(finite & set(group)) > 1]


def is_loss(figure: str) -> bool:
    """Returns whether a figure is a loss, which objectives and their weights change."""
    return figure.endswith("_loss")


def describe_options(options: Mapping[str, str]) -> str:
    """Returns options in a few words; those that a run does not have are left out."""
    return ", ".join(
        value if name in _CLEAR else f"{runs.spell_out(name)} {value}"
        for name, value in options.items()
        if value != "-"
    )


def measured_in(rows: Sequence[Row]) -> set[str]:
    """Returns the names of the figures that any row has."""
    return {name for row in rows for name in row.values}


def check_measured(rows: Sequence[Row], figure: str) -> None:
    """Raises `UserError` for a figure that no row has."""
    measured = measured_in(rows)
    if figure not in measured:
        raise UserError(
            f"no run has the figure {figure}: give some of {', '.join(sorted(measured))}"
        )


def _name(folders: Sequence[str]) -> str:
    """Returns the first of the folders of a row, and how many more there are."""
    first, *others = folders
    return f"{first} and {len(others)} more" if others else first


def _all_finite(values: Sequence[float]) -> bool:
    """Returns whether no value is NaN or infinite, as those of diverged runs are."""
    return all(map(math.isfinite, values))
