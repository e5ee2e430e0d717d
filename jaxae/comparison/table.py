"""A table of runs: the options that differ, and figures as means over seeds."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scipy import stats

from jaxae import runs
from jaxae.comparison.listing import Listed, listed
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

_DEFAULT = (
    "test_loss",
    "validation_loss",
    "test_mse",
    "negative_log_likelihood",
    "active_units",
    "codes_used",
    "linear_probe_accuracy",
    "fid",
    "mixture_fid",
    "training_seconds",
)

# Options that do not change what a run measures, or that seeds stand for.
_GROUPS = ("data", "run", "several devices", "debugging")
_IGNORED = {"seed", "replicas", *(name for group in _GROUPS for name in runs.OPTION_GROUPS[group])}

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
        first = self.runs[0].folder.as_posix()
        return first if len(self.runs) == 1 else f"{first} and {len(self.runs) - 1} more"

    def values_of(self, figure: str) -> list[float]:
        """Returns a figure's values over seeds; none if it was not measured."""
        return list(self.values.get(figure, {}).values())

    def mean(self, figure: str) -> float:
        """Returns a figure's mean over seeds; NaN if it was not measured."""
        values = self.values_of(figure)
        return statistics.fmean(values) if values else math.nan

    def deviation(self, figure: str) -> float:
        """Returns a figure's sample standard deviation over seeds; NaN for fewer than two."""
        values = self.values_of(figure)
        return statistics.stdev(values) if len(values) > 1 else math.nan

    def text(self, figure: str) -> str:
        """Returns a figure as a number, or as mean ± std over seeds; a dash if there is none."""
        values = self.values_of(figure)
        if not values:
            return "-"
        if figure in _WHOLE and len(set(values)) == 1:
            return f"{values[0]:,.0f}"
        spread = {figure: self.mean(figure), f"{figure}_std": self.deviation(figure)}
        return runs.format_figure(spread, figure)


@dataclass(frozen=True)
class Comparison:
    """Rows of runs, and the columns that a table of them has."""

    rows: tuple[Row, ...]
    options: tuple[str, ...]  # those that differ between rows
    figures: tuple[str, ...]
    shared: Mapping[str, str]  # the options that have one value
    probabilities: Mapping[int, float] | None = None  # of equality with the best, by row
    tested: str | None = None  # the figure that they are about

    @property
    def labels(self) -> list[str]:
        """A short name of each row: its options, with its folder where they are not enough."""
        texts = [describe_options(row.options) for row in self.rows]
        return [
            text if text and texts.count(text) == 1 else ", ".join(filter(None, [text, row.name]))
            for text, row in zip(texts, self.rows, strict=True)
        ]

    def best(self, figure: str) -> set[int]:
        """Returns the rows with the best mean of a figure, if all rows that have it compare.

        Losses compare only between runs of one objective with the same weights, likelihood and
        dataset.
        """
        direction = DIRECTIONS.get(figure)
        known = {n: row.mean(figure) for n, row in enumerate(self.rows)}
        known = {n: mean for n, mean in known.items() if math.isfinite(mean)}
        alike = {self.rows[n].compared_with for n in known}
        datasets = {key[0] for key in alike}
        if direction is None or len(known) < 2 or len(datasets) > 1:
            return set()
        if figure.endswith("_loss") and len(alike) > 1:
            return set()
        best = max(direction * mean for mean in known.values())
        return {n for n, mean in known.items() if direction * mean == best}


def describe_options(options: Mapping[str, str]) -> str:
    """Returns options in a few words; those that a run does not have are left out."""
    return ", ".join(
        value if name in _CLEAR else f"{name.replace('_', ' ')} {value}"
        for name, value in options.items()
        if value != "-"
    )


def compare(
    folders: Sequence[Path],
    figures: Sequence[str] | None = None,
    *,
    significance: str | None = None,
) -> Comparison:
    """Reads runs, and joins those that differ only in their seeds.

    Args:
      folders: runs.
      figures: the names of figures, of records or evaluations; by default those that any run has
        of a usual choice.
      significance: a figure whose rows are compared with its best row by a paired t-test over the
        seeds that both have.

    Raises:
      UserError: a file is invalid, no run has a figure, or significance has no best row.
    """
    read = [(run, *_read(run)) for run in map(listed, folders)]
    differing = _differing([options for _, options, _ in read])
    groups: dict[tuple[Any, ...], list[tuple[Listed, dict[str, dict[int, float]]]]] = {}
    for run, options, values in read:
        key = (tuple(options.get(name, "-") for name in differing), run.compared_with)
        groups.setdefault(key, []).append((run, values))
    rows = tuple(
        Row(
            tuple(run for run, _ in members),
            dict(zip(differing, shown, strict=True)),
            _joined([values for _, values in members]),
            compared_with,
        )
        for (shown, compared_with), members in groups.items()
    )
    shared = {
        name: value
        for _, options, _ in read
        for name, value in options.items()
        if name not in differing
    }
    measured = measured_in(rows)
    chosen = tuple(figures or (name for name in _DEFAULT if name in measured))
    for name in chosen if significance is None else (*chosen, significance):
        check_measured(rows, name)
    comparison = Comparison(rows, tuple(differing), chosen, shared)
    if significance is None:
        return comparison
    probabilities = _probabilities(comparison, significance)
    return replace(comparison, probabilities=probabilities, tested=significance)


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


def _read(run: Listed) -> tuple[dict[str, str], dict[str, dict[int, float]]]:
    """Returns a run's options as text, and its figures by name and seed."""
    flat = _flattened(run.config.values["options"])
    options = {"experiment": run.config.experiment, "dataset": run.config.dataset.name}
    options |= {name: _shown(value) for name, value in flat.items() if name not in _IGNORED}
    figures = dict(run.figures)
    if (run.folder / "evaluation.json").exists():
        figures |= runs.read_evaluation(run.folder).figures
    first = run.seeds[0]
    return options, {
        name: found for name in figures if (found := _by_seed(figures, name, first)) is not None
    }


def _flattened(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options without the groups that they are in."""
    flat = {}
    for name, value in options.items():
        flat |= _flattened(value) if isinstance(value, dict) else {name: value}
    return flat


def _by_seed(figures: Mapping[str, Any], name: str, seed: int) -> dict[int, float] | None:
    """Returns a figure by seed: its replicas', else the run's own; None if it is no number."""
    if name.endswith(("_std", "_replicas")):
        return None
    replicas = figures.get(f"{name}_replicas")
    if replicas is not None:
        return {seed + n: float(value) for n, value in enumerate(replicas)}
    value = figures[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return {seed: float(value)}


def _shown(value: Any) -> str:
    """Returns an option as a command line has it."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "default" if value is None else str(value)


def _differing(options: Sequence[Mapping[str, str]]) -> list[str]:
    """Returns the names of options that differ between the runs that have them."""
    names = dict.fromkeys(itertools.chain.from_iterable(options))
    return [name for name in names if len({each[name] for each in options if name in each}) > 1]


def _joined(
    figures: Sequence[Mapping[str, Mapping[int, float]]],
) -> dict[str, dict[int, float]]:
    """Returns the figures of several runs by name and seed; of equal seeds, the last run's."""
    joined: dict[str, dict[int, float]] = {}
    for each in figures:
        for name, values in each.items():
            joined.setdefault(name, {}).update(values)
    return joined


def _probabilities(comparison: Comparison, figure: str) -> dict[int, float]:
    """Returns the p-value of a paired t-test of each row with the best one, by row.

    The rows need two seeds or more in common; a row without them is left out.
    """
    best = comparison.best(figure)
    if not best:
        raise UserError(
            f"--significance {figure}: there is no best row to compare with; give a figure that "
            f"two rows of one dataset have, of {', '.join(DIRECTIONS)}"
        )
    first = min(best)
    theirs = comparison.rows[first].values[figure]
    found = {}
    for number, row in enumerate(comparison.rows):
        ours = row.values.get(figure, {})
        shared = sorted(set(ours) & set(theirs))
        if number == first or len(shared) < 2:
            continue
        differences = [ours[seed] - theirs[seed] for seed in shared]
        if len(set(differences)) == 1:  # the test would divide by 0
            found[number] = 0.0 if differences[0] else 1.0
            continue
        test = stats.ttest_rel([ours[s] for s in shared], [theirs[s] for s in shared])
        found[number] = float(test.pvalue)
    return found
